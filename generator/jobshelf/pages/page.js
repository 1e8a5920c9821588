"use strict";
// The page is whole without this script. It adds search, filters, tabs, copying and a view of one script at a time.
// What scripts say of themselves goes into the document as text (textContent), never as markup.
(() => {
  const PARENT = "https://huggingface.co", STEP = 50, DAY = 864e5;
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement, list = $("#list"), box = $("#q");
  const data = JSON.parse($("#data").textContent);
  const items = [...list.children];
  // Out of the document, thousands of scripts cost nothing when something else changes.
  const articles = new Map();
  let opened = null;

  /** Make an element with properties; a `text` or child elements go inside. */
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  /** Storage may be refused: in a frame, from a file. */
  const keep = (key, value) => { try { localStorage.setItem(`jobshelf:${key}`, value); } catch { /* not kept */ } };
  const kept = (key) => { try { return localStorage.getItem(`jobshelf:${key}`); } catch { return null; } };
  const say = (text) => { $("#said").textContent = text; };
  const plain = (name) => name.toLowerCase().replace(/\.py$/, "").replace(/[-_.]+/g, "-");

  // Age: a proof is as good as it is young, and only the reader's clock knows.
  const daysSince = (date) => Math.max(0, Math.floor((Date.now() - Date.parse(date)) / DAY));
  const inWords = (days) => {
    if (days < 1) return "today";
    const [count, unit] = days < 60 ? [days, "day"] : [Math.floor(days / 30), "month"];
    return `${count} ${unit}${count > 1 ? "s" : ""} ago`;
  };
  const addAge = (time) => {
    const days = daysSince(time.dateTime);
    if (Number.isNaN(days)) return;
    const word = days > 180 ? "aged" : days > 60 ? "old" : "";
    time.after(make("span", { className: `age ${word}` }, ` (${inWords(days)}${word ? ", prove it again" : ""})`));
  };
  const proof = (row) => {
    const words = { never: "never rehearsed", stale: "changed since", failed: "failed" };
    if (row.proven !== "passed") return words[row.proven];
    const days = daysSince(row.date);
    return days <= 30 ? "in the last 30 days" : days <= 90 ? "in the last 90 days" : "longer ago";
  };

  const groups = Object.entries({ ...data.groups, proven: "Proven" });
  const order = { ...data.order, proven: ["in the last 30 days", "in the last 90 days", "longer ago"] };
  const rows = data.rows.map((row, at) => ({
    ...row,
    item: items[at],
    link: items[at].firstElementChild,
    name: row.title.toLowerCase(),
    hay: `${row.id} ${row.title} ${row.text}`.toLowerCase(),
    facets: [...row.facets, [proof(row)]],
  }));
  // The values of each group, in the order in which they are offered; a row keeps their numbers.
  const totals = groups.map((_, group) => {
    const counts = new Map();
    for (const row of rows) for (const value of row.facets[group]) counts.set(value, (counts.get(value) ?? 0) + 1);
    return counts;
  });
  const values = groups.map(([key], group) => {
    const known = order[key] ?? [], counts = totals[group];
    const place = (value) => known.indexOf(value) + 1 || known.length + 1;
    return [...counts.keys()].sort((a, b) => place(a) - place(b) || counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
  });
  const numbers = values.map((names) => new Map(names.map((name, at) => [name, at])));
  for (const row of rows) row.facets = row.facets.map((names, group) => names.map((name) => numbers[group].get(name)));
  const ids = new Set(rows.map((row) => row.id));
  let wish = { q: "", sort: "", chosen: {} };
  let listAt = "#/", shown = STEP, found = rows;

  // Where the reader is stands in the hash alone: it works from a file, and a Space's frame is told of it.
  const hashOf = ({ q, sort, chosen }) => {
    const words = new URLSearchParams();
    if (q) words.set("q", q);
    if (sort) words.set("sort", sort);
    for (const [key] of groups) for (const value of chosen[key] ?? []) words.append(key, value);
    return `#/${words.size ? `?${words}` : ""}`;
  };
  const wishOf = (query) => {
    const words = new URLSearchParams(query), chosen = {};
    for (const [key] of groups) if (words.has(key)) chosen[key] = new Set(words.getAll(key));
    return { q: words.get("q") ?? "", sort: words.get("sort") ?? "", chosen };
  };
  const tellParent = () => {
    if (window.parent !== window) window.parent.postMessage({ queryString: "", hash: location.hash }, PARENT);
  };
  // Writing the address costs more than a search: a typed word is written when the typing rests, or something is clicked.
  let writing = 0, typedAt = "";
  const flush = () => {
    if (!writing) return;
    clearTimeout(writing);
    writing = 0;
    if (location.hash !== typedAt) return; // the reader has opened another address since
    history.replaceState(null, "", hashOf(wish));
    tellParent();
  };
  const go = (changes, push) => {
    if (push) flush();
    wish = { ...wish, ...changes };
    shown = STEP;
    clearTimeout(writing);
    writing = push ? 0 : setTimeout(flush, 200);
    typedAt = location.hash;
    if (push) history.pushState(null, "", hashOf(wish));
    showList();
  };

  /** The rows that hold every word and match every filter, and for each filter how many it would leave. */
  const select = () => {
    const words = wish.q.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = groups.map(([key], group) => wish.chosen[key] && values[group].map((value) => wish.chosen[key].has(value)));
    const asked = chosen.flatMap((wanted, group) => (wanted ? [group] : []));
    const counts = values.map((names) => new Uint32Array(names.length));
    const rest = [];
    for (const row of rows) {
      if (!words.every((word) => row.hay.includes(word))) continue;
      let missed = 0, at = -1;
      for (const group of asked) if (!row.facets[group].some((value) => chosen[group][value])) { missed += 1; at = group; }
      if (missed === 1) for (const value of row.facets[at]) counts[at][value] += 1;
      if (missed) continue;
      for (let group = 0; group < groups.length; group += 1) for (const value of row.facets[group]) counts[group][value] += 1;
      rest.push(row);
    }
    return { rest: sorted(rest, words), counts };
  };
  const sorted = (rest, words) => {
    if (wish.sort === "usd") return rest.sort((a, b) => (a.usd ?? Infinity) - (b.usd ?? Infinity));
    if (wish.sort === "date") return rest.sort((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : 0));
    if (!words.length) return rest;
    const query = words.join(" "), start = plain(query), names = words.map(plain), ranks = [[], [], []];
    for (const row of rest) {
      const begins = row.name.startsWith(query) || row.id.startsWith(start);
      const named = begins || words.every((word, at) => row.name.includes(word) || row.id.includes(names[at]));
      ranks[begins ? 0 : named ? 1 : 2].push(row);
    }
    return ranks.flat();
  };

  const boxes = groups.map(() => []);
  const addFacets = () => groups.forEach(([key, label], group) => {
    if (values[group].length < 2) return;
    const holder = make("div", { className: "values" });
    boxes[group] = values[group].map((value) => {
      const input = make("input", { type: "checkbox" }), number = make("span");
      input.addEventListener("change", () => choose(key, value, input.checked));
      holder.append(make("label", {}, input, value, number));
      return { input, number };
    });
    $("#facets").append(make("fieldset", {}, make("legend", {}, label), holder));
  });
  const choose = (key, value, on) => {
    const wanted = new Set(wish.chosen[key]);
    wanted[on ? "add" : "delete"](value);
    const chosen = { ...wish.chosen, [key]: wanted };
    if (!wanted.size) delete chosen[key];
    go({ chosen }, true);
  };
  const chip = (key, label, value) => {
    const button = make("button", { type: "button" }, `${label}: ${value} ×`);
    button.setAttribute("aria-label", `Remove the filter ${label}: ${value}`);
    button.addEventListener("click", () => { choose(key, value, false); box.focus(); });
    return button;
  };

  const showRows = () => {
    list.replaceChildren(...found.slice(0, shown).map((row) => row.item));
    $("#more").hidden = found.length <= shown;
  };
  const close = () => {
    opened?.classList.remove("open");
    if (articles.size) opened?.remove();
    opened = null;
    root.classList.remove("reading");
  };
  const showList = () => {
    close();
    document.title = title;
    listAt = hashOf(wish);
    if (box.value !== wish.q) box.value = wish.q;
    $("#sort").value = wish.sort;
    const { rest, counts } = select();
    found = rest;
    showRows();
    boxes.forEach((made, group) => made.forEach(({ input, number }, at) => {
      const left = counts[group][at];
      input.checked = wish.chosen[groups[group][0]]?.has(values[group][at]) ?? false;
      input.disabled = !left && !input.checked;
      number.textContent = left;
    }));
    $("#chips").replaceChildren(...groups.flatMap(([key, label]) => [...(wish.chosen[key] ?? [])].map((value) => chip(key, label, value))));
    $("#count").textContent = `${found.length} of ${rows.length} scripts`;
    $("#none").hidden = found.length > 0;
    tellParent();
  };

  // One script: what it takes to use its commands is made when it is opened, so that thousands cost nothing.
  const QUOTES = {
    shell: (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replace(/'/g, `'"'"'`)}'`),
    python: (text) => (/^[^'\\\u0000-\u001f\u007f-\u009f]*$/.test(text) ? `'${text}'` : JSON.stringify(text)),
    json: (text) => JSON.stringify(text),
  };
  const copy = async (text, element) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* the older way */ }
    const area = make("textarea", { value: text, readOnly: true });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) getSelection().selectAllChildren(element);
    return done;
  };
  const copyButton = (words, label, element, text) => {
    const button = make("button", { type: "button", className: "copy" }, words);
    button.addEventListener("click", async () => {
      const done = await copy(text(), element);
      say(done ? `Copied: ${label}` : "Selected; copy it with the keyboard");
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(() => { button.textContent = words; }, 2000);
      button.focus();
    });
    return button;
  };
  const addCopy = (block, label) => {
    const code = $("code", block), button = copyButton("Copy", label, code, () => code.textContent);
    button.setAttribute("aria-label", `Copy the command: ${label}`);
    $("pre", block).after(button);
  };
  /** A script as Markdown, for a note or a model: all that is shown of it but its source, with the values filled in. */
  const markdown = (article) => {
    const line = (one) => one.textContent.replace(/\s+/g, " ").trim().replace(/[\\`*_[\]|<>~&]/g, "\\$&");
    const fenced = (text) => {
      const ticks = "`".repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((run) => run.length + 1)));
      return `${ticks}\n${text.trim()}\n${ticks}`;
    };
    const forms = {
      PRE: (one) => fenced(one.textContent),
      LI: (one) => `- ${line(one)}`,
      DT: (one) => `- ${line(one)}: ${line(one.nextElementSibling)}`,
      TR: (one) => `| ${[...one.cells].map(line).join(" | ")} |${one.closest("thead") ? "\n|---|---|---|" : ""}`,
      P: line,
    };
    const heading = (one) => `${"#".repeat(one.tagName[1] - 1)} ${line(one)}`;
    const parts = all("h2, h3, h4, p, pre, li, dt, tr", article).filter((one) => !one.closest(".back, .source"));
    return parts.reduce((text, one, at) => {
      const together = at && /LI|DT|TR/.test(one.tagName) && one.tagName === parts[at - 1].tagName;
      return `${text}${at ? (together ? "\n" : "\n\n") : ""}${(forms[one.tagName] ?? heading)(one)}`;
    }, "") + "\n";
  };
  const addTabs = (holder) => {
    const forms = [...holder.children], bar = make("div", { className: "tabs" });
    bar.setAttribute("role", "tablist");
    bar.setAttribute("aria-label", "Ways to start it");
    const tabs = forms.map((form) => {
      const label = $("h4", form).textContent, tab = make("button", { type: "button" }, label);
      form.id = `${holder.closest("article").id}/run/${form.dataset.form}`;
      tab.id = `${form.id}/tab`;
      tab.dataset.form = form.dataset.form;
      for (const [key, value] of [["role", "tab"], ["aria-controls", form.id]]) tab.setAttribute(key, value);
      for (const [key, value] of [["role", "tabpanel"], ["aria-labelledby", tab.id]]) form.setAttribute(key, value);
      tab.addEventListener("click", () => { pick(tab); keep("form", tab.dataset.form); });
      addCopy(form, label);
      return tab;
    });
    const pick = (chosen) => tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      forms[at].hidden = tab !== chosen;
    });
    bar.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(document.activeElement), last = tabs.length - 1;
      const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at > 0 ? at - 1 : last, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      tabs[next].focus();
      tabs[next].click();
    });
    bar.append(...tabs);
    holder.prepend(bar);
    holder.classList.add("tabbed");
    pick(tabs.find((tab) => tab.dataset.form === kept("form")) ?? tabs[0]);
  };
  const addFields = (article, holder) => {
    const fields = JSON.parse(article.dataset.fields), key = `values${article.id}`;
    if (!fields.length || !$("mark", holder)) return;
    let values = {};
    try { values = JSON.parse(kept(key)) ?? {}; } catch { /* none kept */ }
    const inputs = fields.map(({ value, label, example }) => {
      const marks = all(`mark[data-value="${value}"]`, holder);
      const input = make("input", { type: "text", placeholder: example, value: values[value] ?? example, autocomplete: "off", spellcheck: false });
      const write = () => {
        const text = input.value || example;
        for (const mark of marks) mark.textContent = QUOTES[mark.closest("[data-quoting]").dataset.quoting](text);
        values[value] = input.value && input.value !== example ? input.value : undefined;
      };
      input.addEventListener("input", () => { write(); keep(key, JSON.stringify(values)); });
      write();
      return make("label", {}, label, input);
    });
    holder.before(make("div", { className: "fields" }, ...inputs));
  };
  const addLines = (details, id) => {
    const code = $("code", details);
    if (code.className) return;
    const lines = code.textContent.replace(/\n$/, "").split("\n");
    code.className = "lines";
    code.replaceChildren(...lines.map((line, at) => make("span", { id: `/${id}/L${at + 1}` }, `${line}\n`)));
  };
  const prepare = (article, id) => {
    if (article.dataset.ready) return;
    article.dataset.ready = "yes";
    all("time", article).forEach(addAge);
    const holder = $(".forms", article), source = $(".source", article);
    addFields(article, holder);
    addTabs(holder);
    all("section", article).at(-1).append(copyButton("Copy as Markdown", "the script as Markdown", article, () => markdown(article)));
    source?.addEventListener("toggle", () => addLines(source, id), { once: true });
  };
  const showScript = (id, section) => {
    const article = articles.get(id) ?? document.getElementById(`/${id}`);
    if (!article) return; // still on its way: DOMContentLoaded routes again
    if (opened !== article) close();
    opened = article;
    if (!article.isConnected) $("main").append(article);
    prepare(article, id);
    article.classList.add("open");
    root.classList.add("reading");
    const heading = $("h2", article);
    document.title = `${heading.textContent} - ${title}`;
    $(".back a", article).setAttribute("href", listAt);
    const line = /^L\d+$/.test(section), source = $(".source", article);
    if (line && source && !source.open) {
      addLines(source, id);
      source.open = true;
    }
    const target = section && document.getElementById(`/${id}/${section}`);
    if (line) all(".here", article).forEach((one) => one.classList.remove("here"));
    if (line) target?.classList.add("here");
    heading.focus({ preventScroll: true });
    if (target) target.scrollIntoView(); else window.scrollTo(0, 0);
    tellParent();
  };

  const route = () => {
    const [, name, section, query] = /^#?\/?([^/?]*)\/?([^?]*)(?:\?(.*))?$/s.exec(location.hash) ?? [];
    let asked = name ?? "";
    try { asked = decodeURIComponent(asked); } catch { /* as it is written */ }
    const id = plain(asked);
    if (ids.has(id)) return showScript(id, section);
    if (Object.hasOwn(data.aliases, id)) return location.replace(`#/${data.aliases[id]}${section ? `/${section}` : ""}`);
    const back = opened?.id.slice(1);
    wish = asked ? { ...wish, q: asked } : wishOf(query);
    shown = STEP;
    showList();
    if (asked) say(`No script is called ${asked}; this is what holds the word.`);
    if (back) rows.find((row) => row.id === back)?.link.focus();
  };

  const THEMES = ["auto", "light", "dark"];
  const showTheme = (theme) => {
    root.dataset.theme = theme;
    $("#theme").textContent = `Theme: ${theme}`;
  };

  /** ↓ and ↑ go from the search box through the results and back. */
  const move = (event) => {
    const links = all("#list a"), at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && at + 1 < links.length) links[at + 1].focus();
    else if (event.key === "ArrowUp" && at >= 0) (links[at - 1] ?? box).focus();
    else return;
    event.preventDefault();
  };
  const listen = () => {
    box.addEventListener("input", () => go({ q: box.value }, false));
    $("#search").addEventListener("submit", (event) => {
      event.preventDefault();
      flush();
      if (found.length) location.hash = `#/${found[0].id}`;
    });
    $("#sort").addEventListener("change", (event) => go({ sort: event.target.value }, true));
    $("#more").addEventListener("click", () => {
      const next = found[shown];
      shown += STEP;
      showRows();
      next.link.focus();
    });
    $("#theme").addEventListener("click", () => {
      const next = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
      keep("theme", next);
      showTheme(next);
    });
    $("#browse").addEventListener("keydown", (event) => {
      if (event.target !== box && !event.target.closest("#list")) return;
      if (event.key === "Escape" && event.target !== box) box.focus();
      else if (event.key === "Escape") { event.preventDefault(); go({ q: "" }, false); }
      else move(event);
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest("input, textarea, select");
      const wanted = (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) || (event.key === "k" && (event.ctrlKey || event.metaKey));
      if (!wanted) return;
      event.preventDefault();
      if (opened) location.hash = listAt;
      close();
      box.focus();
      box.select();
    });
    document.addEventListener("click", flush, true);
    window.addEventListener("hashchange", route);
  };

  const title = document.title;
  root.classList.add("js");
  for (const id of ["search", "filters", "bar", "theme"]) $(`#${id}`).hidden = false;
  $("#filters").open = matchMedia("(min-width: 60rem)").matches;
  showTheme(THEMES.includes(kept("theme")) ? kept("theme") : "auto");
  addFacets();
  listen();
  route();
  // The scripts themselves stand below this one, and may not have arrived.
  document.addEventListener("DOMContentLoaded", () => {
    if (!opened && /^#\/[^?]/.test(location.hash)) route();
    for (const article of all("article")) {
      articles.set(article.id.slice(1), article);
      if (article !== opened) article.remove();
    }
  });
})();
