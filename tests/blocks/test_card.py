"""Block `card`: others' words stay, untrusted text stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobshelf import blocks

card, one_line = blocks.load("card"), blocks.load("exits").one_line
OURS = {"tags": ["statistics"], "pretty_name": "Ours", "configs": [{"config_name": "a", "data_files": "a/*"}]}


def test_new_card() -> None:
    text = card.render_card(None, front_matter=OURS, body="# Body")
    data, body = card.split_card(text)
    assert data == {**OURS, "tags": ["uv-script", "jobshelf", "statistics"]}
    assert "# Body" in body


def test_what_others_wrote_stays() -> None:
    theirs = (
        "---\nlicense: mit\ntags: [mine, jobshelf]\npretty_name: Theirs\nconfigs:\n- config_name: z\n---\n# Hello\n"
    )
    once = card.render_card(theirs, front_matter=OURS, body="# First")
    twice = card.render_card(once + "\nA footnote\n", front_matter=OURS, body="# Second")
    data, body = card.split_card(twice)
    assert data["license"] == "mit"
    assert data["pretty_name"] == "Theirs"
    assert data["tags"] == ["mine", "jobshelf", "uv-script", "statistics"]
    assert [config["config_name"] for config in data["configs"]] == ["z", "a"]
    assert "# Hello" in body
    assert "A footnote" in body
    assert "# Second" in body
    assert "# First" not in body
    assert card.render_card(twice, front_matter=OURS, body="# Second") == twice


def test_front_matter_that_is_no_yaml_is_not_lost() -> None:
    text = card.render_card("---\na: [\n---\n# Hello\n", front_matter=OURS, body="x")
    assert "a: [" in card.split_card(text)[1]


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    shown = card.md(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert "|" not in shown.replace("\\|", "")
    assert "`" not in shown.replace("\\`", "")


@given(st.text(alphabet="`\n$a"))
def test_fence_cannot_be_closed_from_inside(text: str) -> None:
    fence, *_, last = card.fenced(text).splitlines()
    assert last == fence.removesuffix("sh")
    assert last not in text


@given(st.text(alphabet=st.sampled_from("a-:#'\"\n\x85 {}[]|&*!%@`é😀"), max_size=12) | st.text(max_size=30))
def test_a_name_cannot_leave_its_place_in_the_front_matter(name: str) -> None:
    shown = one_line(f"x{name}")
    text = card.render_card(None, front_matter={"pretty_name": shown}, body="b")
    data, body = card.split_card(text)
    assert data == {"pretty_name": shown, "tags": ["uv-script", "jobshelf"]}
    assert body.strip() == f"{card.CARD_BEGIN}\n\nb\n\n{card.CARD_END}"


@pytest.mark.parametrize("job", [None, "123"])
def test_ran_as_a_job_only_when_it_did(monkeypatch: pytest.MonkeyPatch, job: str | None) -> None:
    monkeypatch.delenv("JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("JOB_ID", job)
    stamp = card.ScriptStamp(name="x.py", url="https://h/x.py", version="1")
    text = card.provenance(stamp, source="u/n", identity="c0ffee", arguments=["a b", "--c"], packages=["polars"])
    assert ("Hugging Face Job" in text) == bool(job)
    assert "uv run https://h/x.py 'a b' --c" in text
    assert "not known" in text
