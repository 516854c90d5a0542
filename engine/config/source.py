"""What an experiment is read from: a TOML file, or tables made in Python.

A run and a study keep its text, so that it can be resumed when the file has changed or was never
there.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.common.toml_text import tables_to_toml
from genesys_engine.engine.config.document import Document
from genesys_engine.engine.config.positions import Path as Keys
from genesys_engine.engine.config.positions import Place, Positions
from genesys_engine.engine.config.problems import ConfigError, Problem

NAME = "experiment"
"""What tables are called that come from no file."""


@dataclass(frozen=True)
class Source:
    """The text of an experiment and the overrides that change it.

    `name` is the file, as messages call it; `folder` is what relative paths in the text are
    relative to; `tables` is what the text was written from where it was no file.
    """

    name: str
    text: bytes
    folder: Path
    sets: tuple[str, ...] = ()
    tables: TomlTable | None = None


def tables_source(
    tables: Mapping[str, object], sets: Sequence[str] = (), folder: Path | None = None
) -> Source:
    """Return the source of an experiment that is given as nested tables.

    None leaves a key out; tuples count as lists, paths as their text, numbers of NumPy as numbers.

    Args:
        folder: what relative paths are relative to; None: the working folder.

    Raises:
        ConfigError: with every value that TOML has no form for.
    """
    if not isinstance(tables, Mapping):
        raise ConfigError([Problem(f"a {type(tables).__name__} in the place of tables", NAME)])
    plain = plain_value(tables)
    text = tables_to_toml(plain).encode("utf-8")
    return Source(NAME, text, folder or Path.cwd(), tuple(sets), plain)


def plain_value(value: object, at: Keys = ()) -> Any:
    """Return a value of Python in the types of TOML.

    Raises:
        ConfigError: with every value in it that TOML has no form for, by its keys behind `at`.
    """
    problems: list[Problem] = []
    plain = _plain(value, at, problems)
    if problems:
        raise ConfigError(problems)
    return plain


def _plain(value: object, at: Keys, problems: list[Problem]) -> Any:
    """Return a value in the types of TOML; what has none is reported."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                problems.append(Problem(f"the key {key!r} is no string", place_of(at)))
        named = {k: each for k, each in value.items() if isinstance(k, str) and each is not None}
        return {key: _plain(each, (*at, key), problems) for key, each in named.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, (*at, index), problems) for index, each in enumerate(value)]
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value), at, problems)
    if isinstance(value, str) and value != value.encode("utf-8", "replace").decode():
        problems.append(Problem("a text that is not Unicode", place_of(at)))
        return None
    if isinstance(value, str | bool | int | float):
        return value
    if callable(item := getattr(value, "item", None)) and getattr(value, "ndim", 0) == 0:
        return item()
    hint = "give text, a number, a truth value, a list or a table"
    message = f"a value of the type {type(value).__name__}"
    problems.append(Problem(message, place_of(at), None, hint))
    return None


def place_of(at: Keys) -> str:
    """Return where a value is, as Python writes it: experiment["run"]["seed"]."""
    return NAME + "".join(f"[{json.dumps(key)}]" for key in at)


class Tables(Document):
    """Tables under examination: a fault is where its keys lead, since there are no lines."""

    def __init__(self, tables: TomlTable, folder: Path) -> None:
        super().__init__(NAME, tables, Positions("", {}, {}))
        self._folder = folder

    def folder_of(self, path: Keys) -> pathlib.Path:
        """Return the folder that the value at `path`, if it is a path, is relative to."""
        override = self._override(path)
        return override.folder if override else self._folder

    def _add(self, path: Keys, place: Place | None, message: str, hint: str | None) -> None:
        override = self._override(path)
        if override:
            self.report_source(override.source, message, hint)
            return
        written = self._written(path)
        if not written:
            message = f"{message} (the default of [{path[0]}])"
        self.problems.append(Problem(message, place_of(written), None, hint or None))

    def _written(self, path: Keys) -> Keys:
        """Return as much of `path` as the tables have."""
        inside: Any = self.data
        for depth, key in enumerate(path):
            try:
                inside = inside[key]
            except (KeyError, IndexError, TypeError):
                return path[:depth]
        return path
