"""What to write instead, where a text is no TOML."""

from __future__ import annotations

import json
import re

import tomli

_ASSIGNMENT = re.compile(r"\s*(?P<key>[^=#\s][^=#]*?)\s*=\s*(?P<value>[^#]*?)\s*(#.*)?")
_WORD = re.compile(r"[^\s,\[\]{}#=]+")
_CURLY = "“”„‟‘’‚«»"


def toml_hint(text: str, offset: int) -> str | None:
    """Return a suggestion, if the text at the fault implies one.

    Args:
        text: of the whole file.
        offset: of the fault in it.
    """
    start = text.rfind("\n", 0, offset) + 1
    line = text[start:].partition("\n")[0]
    if any(quote in line for quote in _CURLY):
        return 'use straight quotes: "'
    found = _ASSIGNMENT.fullmatch(line)
    if found and found["value"][:1] not in tuple("[{\"'"):
        return _instead(found["key"], found["value"])
    word = _WORD.match(text, offset)
    if word and word[0][0] not in "\"'" and not _is_toml(word[0]):
        return f"put text in quotes: {_quoted(word[0])}"
    return None


def _instead(key: str, value: str) -> str | None:
    """Return how a value that stands without quotes is written."""
    if not value:
        return f"give {key} a value, or omit the line"
    if value.lower() in ("true", "false"):
        return f"write {key} = {value.lower()}"
    return None if _is_toml(value) else f"put text in quotes: {key} = {_quoted(value)}"


def _is_toml(value: str) -> bool:
    try:
        tomli.loads(f"v = {value}")
    except tomli.TOMLDecodeError:
        return False
    return True


def _quoted(text: str) -> str:
    return json.dumps(text.strip("\"'"), ensure_ascii=False)
