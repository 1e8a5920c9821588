"""The shelf as an agent's skill: `SKILL.md` and its references, derived from the index and the tool's guides.

A skill is a folder that is installed by copying it (agentskills.io), so nothing in it links to a file outside of it but
by a full address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jobshelf.errors import EXIT_CODES
from jobshelf.forms import script_url
from jobshelf.guides import guides_for
from jobshelf.index import Index, words
from jobshelf.render import render
from jobshelf.shelf import Shelf

# Where agents look for skills in a checkout.
SKILLS: Final = Path(".agents") / "skills"
# From here on a person is asked before a Job is started.
ASK_FROM_HOURS, ASK_FROM_USD = 1, 5


def skill_files(index: Index) -> dict[str, bytes]:
    """Return the files of the skill, path below the folder of skills -> bytes: the same from the same index and tool."""
    guides = guides_for(index)
    texts = {
        "SKILL.md": render(
            "skill.md.jinja",
            index=index,
            base=script_url(index.dataset, ""),
            words=words,
            exit_codes=EXIT_CODES,
            guides=guides,
            hours=ASK_FROM_HOURS,
            usd=ASK_FROM_USD,
        ),
        "references/scripts.md": render("skill_scripts.md.jinja", index=index, words=words),
    }
    texts |= {f"references/{guide.name}.md": guide.text for guide in guides if guide.text is not None}
    return {f"{index.name}/{path}": text.encode() for path, text in texts.items()}


def skill_folder(shelf: Shelf) -> Path:
    """Return where a checkout keeps the skill of its shelf."""
    return shelf.root / SKILLS / shelf.name
