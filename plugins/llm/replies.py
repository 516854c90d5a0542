"""Reading replies of language models: the JSON object and the blocks of code in free text."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
_CODE = re.compile(r"^(?:from|import|class|def|@|\"\"\"|#)", re.MULTILINE)
_LANGUAGES = frozenset({"", "python", "py", "python3", "pytorch"})


def extract_json(text: str) -> Any:
    """Return the first JSON object in `text`: bare, in a fence, or among prose.

    Raises:
        ValueError: there is none.
    """
    decoder = json.JSONDecoder()
    for at in (match.start() for match in re.finditer(r"\{", text)):
        try:
            value, _ = decoder.raw_decode(text, at)
        except ValueError:
            continue
        return value
    raise ValueError("the reply holds no JSON object")


def extract_code_blocks(text: str) -> list[str]:
    """Return the Python sources in `text`, in order: what stands between fences.

    A fence that another language is named for is left out; one that is never closed (a cut
    reply) ends with the text; without fences the text from its first line of code on is one.
    """
    marks = list(_FENCE.finditer(text))
    blocks, at = [], 0
    while at < len(marks):
        opened = marks[at]
        closed = next((m for m in marks[at + 1 :] if m[1][:3] == opened[1][:3] and not m[2]), None)
        body = text[opened.end() : closed.start() if closed else len(text)]
        if opened[2].lower() in _LANGUAGES and body.strip():
            blocks.append(textwrap.dedent(body).strip("\n") + "\n")
        at = marks.index(closed) + 1 if closed else len(marks)
    first = _CODE.search(text)
    if not marks and first:
        return [text[first.start() :].strip("\n") + "\n"]
    return blocks
