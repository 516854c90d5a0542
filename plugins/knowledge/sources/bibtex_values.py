"""The values of BibTeX fields: concatenated, and inherited.

bibtexparser finds the entries and hands the values over as they were written: `{...}`, `"..."`, a
number, the name of a string, or several of them joined by `#`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
MONTHS = {name[:3].lower(): name for name in _MONTHS}
"""The strings that every style of BibTeX knows."""

INHERITED = ("title", "author", "year", "date", "journal", "journaltitle")
"""What an entry has from the one that `crossref` names, next to `booktitle`.

Not what belongs to that one alone, such as its abstract, its identifiers and its address.
"""

_BARE = re.compile(r"[^\s#{}\",=]+")
_NEXT_FIELD = re.compile(r"\s*([\w.:-]+)\s*=\s*")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Entry:
    """An entry with its fields by name in lower case; `line` counts from 1."""

    kind: str
    key: str
    line: int
    fields: Mapping[str, str]


class Strings:
    """The strings of a file (`@string`), looked up without regard to case."""

    def __init__(self, written: Mapping[str, str]) -> None:
        self._written = {name.lower(): value for name, value in written.items()}

    def fields(self, name: str, written: str) -> Iterator[tuple[str, str]]:
        """Yield the name and the value of a field as written, spaces around it left out.

        Where a comma is missing behind it, bibtexparser takes the next field for a part of it: that
        one is yielded too.
        """
        at = 0
        while True:
            value, at = self._value(written, at, ())
            yield name.lower(), value.strip()
            following = _NEXT_FIELD.match(written, at)
            if following is None:
                return
            name, at = following[1], following.end()

    def _value(self, written: str, at: int, inside: tuple[str, ...]) -> tuple[str, int]:
        """Return the pieces from `at` on put together, and where they end.

        Pieces without the `#` that should join them are put together with a space.
        """
        found, joint = "", ""
        while at < len(written):
            piece, at = self._piece(written, at, inside)
            found += joint + piece
            at = _SPACE.match(written, at).end()  # type: ignore[union-attr]  # matches anything
            if _NEXT_FIELD.match(written, at):
                break
            joint = " "
            if written[at : at + 1] == "#":
                at, joint = at + 1, ""
        return found, at

    def _piece(self, written: str, at: int, inside: tuple[str, ...]) -> tuple[str, int]:
        """Return one piece from `at` on and where it ends."""
        at = _SPACE.match(written, at).end()  # type: ignore[union-attr]
        if written[at : at + 1] in ('"', "{"):
            end = _closing(written, at)
            return written[at + 1 : end], end + 1
        bare = _BARE.match(written, at)
        if bare is None:  # a sign that has no place here
            return "", at + 1
        return self._named(bare[0], inside), bare.end()

    def _named(self, name: str, inside: tuple[str, ...]) -> str:
        """Return the string of a name; a number, and a name that is none, stand for themselves."""
        low = name.lower()
        if low in self._written and low not in inside:
            return self._value(self._written[low], 0, (*inside, low))[0]
        return MONTHS.get(low, name)


def _closing(text: str, at: int) -> int:
    """Return the position that closes the group opened at `at`, or the end of the text."""
    closing, depth = ("}" if text[at] == "{" else '"'), 0
    for found in re.finditer(r'\\.|[{}"]', text[at + 1 :], re.S):
        sign = found[0]
        if sign == closing and depth == 0:
            return at + 1 + found.start()
        depth += {"{": 1, "}": -1}.get(sign, 0)
    return len(text)


def with_inherited(
    entry: Entry, entries: Mapping[str, Entry], inside: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return the fields of an entry with those of `crossref` and `xdata`, its own before theirs.

    Args:
        entries: all entries by key in lower case.
        inside: keys of the entries that this one is asked for by.
    """
    fields = dict(entry.fields)
    for link in ("xdata", "crossref"):
        for key in entry.fields.get(link, "").split(","):
            parent = entries.get(key.strip().lower())
            if parent is None or parent.key in (*inside, entry.key):
                continue
            theirs = with_inherited(parent, entries, (*inside, entry.key))
            if link == "crossref":
                book = theirs.get("booktitle") or theirs.get("title")
                theirs = {name: theirs[name] for name in INHERITED if theirs.get(name)}
                theirs |= {"booktitle": book} if book else {}
            fields = theirs | {name: value for name, value in fields.items() if value}
    return fields
