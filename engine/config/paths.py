"""Paths in an experiment: relative to its file, made whole once, where the file is read.

An option says by a mark of its field that it holds paths (`plugins.kinds.PATH`).  What `--set`
gives on a command line is relative to the working folder, as everything else on that line.
Everything behind `load_experiment` sees whole paths, and so do its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.config import positions
from genesys_engine.engine.config.validate import model_in
from genesys_engine.plugins.paths import exists, user_path
from genesys_engine.plugins.targets import path_options

if TYPE_CHECKING:
    from pydantic import BaseModel

    from genesys_engine.engine.config.document import Document

LONGEST_NAME = 255
"""Bytes of a file's name, on Linux and macOS."""


def whole_paths(
    document: Document, model: type[BaseModel], place: positions.Path, table: TomlTable
) -> TomlTable:
    """Return the table at `place`, which `model` is to read, with whole paths.

    They are remembered in `document.paths`; a fault in one is reported.
    """
    rules = path_options(model)
    made = dict(table)
    for key in table.keys() & model.model_fields.keys():
        inner = model_in(model.model_fields[key].annotation)
        change: Callable[[positions.Path, Any], Any]
        kind: type[Any]
        if key in rules:
            change, kind = partial(_whole, document, rules[key]), str
        elif inner is not None:
            change, kind = partial(whole_paths, document, inner), dict
        else:
            continue
        made[key] = _each((*place, key), table[key], kind, change)
    return made


def _each(
    place: positions.Path, value: Any, kind: type, change: Callable[[positions.Path, Any], Any]
) -> Any:
    """Change a value of that kind, or the values of that kind in a list or a table."""
    if isinstance(value, kind):
        return change(place, value)
    if isinstance(value, list):
        return [_each((*place, i), item, kind, change) for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {k: _each((*place, k), item, kind, change) for k, item in value.items()}
    return value


def _whole(document: Document, rule: str, place: positions.Path, text: str) -> str:
    """Return a path as a whole one, a name as it is; report what can be no path."""
    folder = document.folder_of(place)
    if not text or not _is_path(text, rule, folder):
        return text
    if "\0" in text or max(len(part.encode()) for part in text.split("/")) > LONGEST_NAME:
        fault = "it holds a zero byte" if "\0" in text else f"a name has over {LONGEST_NAME} bytes"
        document.report(place, f"{text!r} is not a path: {fault}", "correct it")
        return text
    whole = document.paths[place] = str(whole_path(text, folder))
    return whole


def _is_path(text: str, rule: str, folder: Path) -> bool:
    """Tell whether a text is a path by the rule of its option; see `plugins.kinds.PATH`."""
    if rule == "always" or text.startswith(("/", "./", "../", "~")) or text in (".", ".."):
        return True
    if rule != "there" or "\0" in text:
        return False
    return text.endswith(".json") or exists(whole_path(text, folder))


def whole_path(text: str, folder: Path) -> Path:
    """Return a path that is relative to `folder`; a last part that is a link keeps its name."""
    path = folder / user_path(text)
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
