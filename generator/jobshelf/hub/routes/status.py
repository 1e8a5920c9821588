"""A page that shows anybody on this machine what is public on the Hub."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, StrictUndefined, Template
from starlette.responses import HTMLResponse, Response

from jobshelf.hub.call import Call, route

_LATEST = 100
# names, labels and paths come from anybody: nothing on the page may run or load
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Embedded Hub</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
code { font-family: ui-monospace, monospace; }
</style>
</head>
<body>
<h1>Embedded Hub</h1>
<p>Clients use it with <code>HF_ENDPOINT={{ endpoint }}</code>.</p>
<h2>Public repos</h2>
<table>
<tr><th>Kind</th><th>Name</th><th>Visibility</th><th>Head</th><th>Changed</th></tr>
{% for kind, name, visibility, head, date, page in repos %}
<tr><td>{{ kind }}</td><td>{% if page %}<a href="/spaces/{{ name | urlencode }}/resolve/main/index.html">{{ name }}</a>{% else %}{{ name }}{% endif %}</td><td>{{ visibility }}</td><td><code>{{ head }}</code></td><td>{{ date }}</td></tr>
{% else %}
<tr><td colspan="5">none</td></tr>
{% endfor %}
</table>
<h2>Jobs</h2>
<table>
<tr><th>Id</th><th>Namespace</th><th>Stage</th><th>Flavor</th><th>Created</th></tr>
{% for job in jobs %}
<tr><td><code>{{ job.id }}</code></td><td>{{ job.namespace }}</td><td>{{ job.stage }}</td><td>{{ job.spec.flavor }}</td><td>{{ job.created_at }}</td></tr>
{% else %}
<tr><td colspan="5">none</td></tr>
{% endfor %}
</table>
</body>
</html>
"""


def status(call: Call) -> Response:
    """The public repos, and the latest Jobs without what they run: nobody has to say who they are to see this."""
    core = call.core
    page = _template().render(endpoint=core.endpoint, repos=_repos(call), jobs=core.jobs.latest(_LATEST))
    return HTMLResponse(page, headers=_HEADERS)


def _repos(call: Call) -> list[tuple[str, str, str, str, str, bool]]:
    shown = []
    for kind in ("model", "dataset", "space"):
        for repo in call.core.repos.all(kind).values():
            if repo.private:
                continue
            head = call.core.repos.resolve(repo, "main")
            visibility = f"gated ({repo.gated})" if repo.gated else "public"
            static = repo.sdk == "static" and visibility == "public"
            page = static and call.core.repos.file(head, "index.html") is not None
            shown.append((kind, repo.full_name, visibility, head.oid[:12], head.date, page))
    return shown


@cache
def _template() -> Template:
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)


ROUTES = [route("/", status, "GET")]
