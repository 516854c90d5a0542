"""Where each key and value of a TOML document stands.

tomli reads a document but keeps no positions, tomlkit keeps none it would tell, and the
tree-sitter grammar knows TOML 1.0 only, while tomli accepts 1.1.  So this small scanner goes
over a text *that tomli has accepted*: it needs to find things, not to judge them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import tomli

Path = tuple[str | int, ...]
Span = tuple[int, int]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_STRINGS = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*\'""", re.DOTALL
)
_BARE = re.compile(r"[^,\]}#\n]*")


@dataclass(frozen=True)
class Place:
    """A position in a text: line and column count from 1; `width` characters are meant."""

    line: int
    column: int
    width: int
    text: str


@dataclass(frozen=True)
class Positions:
    """Spans (start, end) of keys and values by path, as in ("ladder", "rungs", 0, "scale")."""

    text: str
    keys: Mapping[Path, Span]
    values: Mapping[Path, Span]

    def key(self, path: Path) -> Place | None:
        """Return the place of the key `path`, or of the nearest table above that is written.

        None if nothing of it is written: the fault is in a default.
        """
        return self._nearest(path, self.keys, self.values)

    def value(self, path: Path) -> Place | None:
        """Return the place of the value at `path`, or of what stands nearest above it, as `key`."""
        return self._nearest(path, self.values, self.keys)

    def _nearest(self, path: Path, *spans: Mapping[Path, Span]) -> Place | None:
        while path:
            for known in spans:
                if path in known:
                    return place(self.text, *known[path])
            path = path[:-1]
        return None


def place(text: str, start: int, end: int) -> Place:
    """Turn offsets into a `Place`; a span over several lines is cut at the first."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    width = max(1, min(end, line_end) - start)
    return Place(
        text.count("\n", 0, start) + 1, start - line_start + 1, width, text[line_start:line_end]
    )


def locate(text: str) -> Positions:
    """Return the positions in a valid TOML document with "\\n" as its line ends."""
    scan = _Scan(text)
    scan.document()
    return Positions(text, scan.keys, scan.values)


def parse_key(text: str) -> tuple[str, ...] | None:
    """Return the parts of a dotted TOML key, or None if `text` is not one."""
    scan = _Scan(text)
    try:
        parts = scan.key_parts()
    except ValueError:
        return None
    return tuple(part for part, _ in parts) if scan.at == len(text) else None


@dataclass
class _Scan:
    text: str
    at: int = 0
    keys: dict[Path, Span] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)
    lengths: dict[Path, int] = field(default_factory=dict)  # of arrays of tables

    def document(self) -> None:
        table: Path = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)

    def header(self) -> Path:
        """Read [a.b] or [[a.b]]; return the path of the table that it opens."""
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path: Path = ()
        parts = self.key_parts()
        self.at += 2 if array else 1
        for index, (part, span) in enumerate(parts):
            path = (*path, part)
            last = index == len(parts) - 1
            if last and array:
                self.lengths[path] = self.lengths.get(path, 0) + 1
            self.note_key(path, span, last)
            if path in self.lengths:  # a later part means the newest item of the array
                path = (*path, self.lengths[path] - 1)
                self.note_key(path, span, last)
        return path

    def pair(self, table: Path) -> None:
        """Read `a.b = value` inside `table`."""
        parts = self.key_parts()
        path = table
        for index, (part, span) in enumerate(parts):
            path = (*path, part)
            self.note_key(path, span, index == len(parts) - 1)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path)

    def note_key(self, path: Path, span: Span, defines: bool) -> None:
        """Keep the place that defines a table in preference to one that passes through it."""
        if defines or path not in self.keys:
            self.keys[path] = span

    def key_parts(self) -> list[tuple[str, Span]]:
        parts = []
        while True:
            self.skip(_SPACE)
            found = _KEY_PART.match(self.text, self.at)
            if not found:
                raise ValueError(f"no key at {self.at}")
            raw = found.group()
            name = str(tomli.loads(f"k = {raw}")["k"]) if raw[0] in "\"'" else raw
            parts.append((name, found.span()))
            self.at = found.end()
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def value(self, path: Path) -> None:
        start = self.at
        opening = self.text[start : start + 1]
        if opening in ("[", "{"):
            self.at += 1
            self.items(path, "]" if opening == "[" else "}")
        elif opening in ('"', "'"):
            self.skip(_STRINGS)
        else:
            self.skip(_BARE)
            self.at = start + len(self.text[start : self.at].rstrip())
        self.values[path] = (start, self.at)

    def items(self, path: Path, closing: str) -> None:
        """Read the inside of an array or of an inline table, and its end."""
        count = 0
        self.skip(_BLANK)
        while not self.text.startswith(closing, self.at):
            if closing == "]":
                self.value((*path, count))
            else:
                self.pair(path)
            count += 1
            self.skip(_BLANK)
            if self.text.startswith(",", self.at):
                self.at += 1
                self.skip(_BLANK)
        self.at += 1

    def skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
