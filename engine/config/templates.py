"""The experiments that `init --template` writes: those of the repository, shipped with the package.

The files in `shipped` are links to `experiments/`, so that there is one of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent / "shipped"
_OWN = re.compile(r"experiments/(\w+\.toml)")
TEMPLATES: Mapping[str, str] = {
    "quickstart": "from GPT to something better: two CPU cores, no download, a few minutes",
    "ladder": "three rungs on English prose: two CPU cores, about half an hour",
    "llm": "children designed by a language model behind an API, with a cap in dollars",
    "discover": "a long search from five published designs, with a race against each of them",
    "gpu": "the published pyramid from 14M to 350M: a large GPU, weeks, text of the hub",
}
"""Name -> what it is for."""


def template_text(name: str, file: str) -> str:
    """Return the experiment of a template as it is to stand in `file`.

    Its commands name `file`, and other experiments of the repository by their template.
    """
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    own = {_source(each): each for each in TEMPLATES}

    def named(found: re.Match[str]) -> str:
        template = own.get(found[1])
        if template == name:
            return file
        return found[0] if template is None else f"init --template {template}"

    return _OWN.sub(named, text)


def _source(name: str) -> str:
    """Return the name of the repository's file: it stands in the file's own first command."""
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    found = re.search(r"genesys-engine run experiments/(\w+\.toml)", text)
    assert found is not None, "every experiment says how it is run"
    return found[1]
