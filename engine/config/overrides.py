"""`--set section.key=VALUE`."""

from __future__ import annotations

import pathlib
from typing import Any

import tomli

from genesys_engine.engine.config.document import Document, Override
from genesys_engine.engine.config.hints import toml_hint
from genesys_engine.engine.config.positions import Path, parse_key


def apply_override(document: Document, text: str, folder: pathlib.Path | None = None) -> None:
    """Put one override into `document.data`; a fault is reported there.

    VALUE is TOML; what is not is taken as a string, so `run.name=first` needs no quotes.  A
    number addresses an item of a list: `ladder.rungs.0.verifications=8`; the one behind the last
    begins a new table: `ladder.rungs.2.scale=4M`.

    Args:
        folder: what a relative path in VALUE is relative to; None: the working folder.
    """
    source = "--set " + text.encode("utf-8", "backslashreplace").decode()
    if source != f"--set {text}":
        document.report_source(source, "not UTF-8 text")
        return
    key, equals, raw = text.partition("=")
    parts = parse_key(key.strip())
    if not equals or parts is None:
        document.report_source(source, "not of the form section.key=VALUE")
        return
    try:
        value = _value(raw.strip())
    except tomli.TOMLDecodeError as error:
        hint = toml_hint(error.doc, error.pos)
        document.report_source(source, f"the value is not TOML: {error.msg}", hint)
        return
    try:
        path = _put(document.data, parts, value)
    except LookupError as error:
        document.report_source(source, str(error.args[0]))
        return
    document.overrides.pop(path, None)  # so that the newest stands last
    document.overrides[path] = Override(source, folder or pathlib.Path.cwd())


def _value(raw: str) -> Any:
    try:
        read = tomli.loads(f"v = {raw}")
        return read["v"] if len(read) == 1 else raw  # a line break may begin another key
    except tomli.TOMLDecodeError:
        if raw[:1] in tuple("[{\"'"):  # meant as TOML, so not silently a string
            raise
        return raw


def _put(data: Any, parts: tuple[str, ...], value: Any) -> Path:
    """Set the value in place and return its path; missing tables are made."""
    path: list[str | int] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        key: str | int = part
        if isinstance(data, list):
            if part == str(len(data)) and not last and all(isinstance(i, dict) for i in data):
                data.append({})
            key = _index(data, part, path)
        elif not isinstance(data, dict):
            raise LookupError(f"{_dotted(path)!r} is not a table")
        path.append(key)
        if last:
            data[key] = value
        elif isinstance(data, dict):
            data = data.setdefault(part, {})
        else:
            data = data[key]
    return tuple(path)


def _index(items: list[Any], part: str, path: list[str | int]) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise LookupError(
            f"{_dotted(path)!r} is a list of {len(items)}; {part!r} is none of its items"
        )
    return int(part)


def _dotted(path: list[str | int]) -> str:
    return ".".join(map(str, path))
