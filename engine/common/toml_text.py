"""Data as TOML text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from genesys_engine.engine.common.options import TomlTable


def tables_to_toml(tables: TomlTable) -> str:
    """Return an experiment in the JSON that `Experiment.to_json` gives (and a run keeps)."""
    return "\n".join(_tables((), tables)).lstrip("\n") + "\n"


def _tables(path: tuple[str, ...], table: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines of a table: its own values first, then the tables in it."""
    inner = {key: value for key, value in table.items() if _is_tables(value)}
    if path and (len(inner) < len(table) or not inner):
        yield f"[{'.'.join(map(toml_key, path))}]"
    for key, value in table.items():
        if key not in inner and value is not None:
            yield f"{toml_key(key)} = {toml_value(value)}"
    for key, value in inner.items():
        if isinstance(value, Mapping):
            yield ""
            yield from _tables((*path, key), value)
            continue
        for item in value if isinstance(value, list) else ():
            yield ""
            yield f"[[{'.'.join(map(toml_key, (*path, key)))}]]"
            yield from (
                f"{toml_key(k)} = {toml_value(v)}" for k, v in item.items() if v is not None
            )


def _is_tables(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def toml_key(key: str) -> str:
    """Return a key as TOML has it, in quotes where it needs some."""
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else toml_value(key)


def toml_value(value: Any) -> str:
    """Return JSON data as a TOML value on one line.

    A TOML basic string knows all escapes that JSON writes; only DEL needs one more.
    """
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items() if v is not None
        )
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # inf and nan, which JSON calls otherwise
    return json.dumps(value)
