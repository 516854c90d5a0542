"""Edits of a coder: lines of the unit to search for, and lines to put in their place.

    <<<<<<< SEARCH
    lines as they are
    =======
    lines as they should be
    >>>>>>> REPLACE

What an edit does not touch cannot break.  The form is strict: whole lines that occur exactly once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

_SEARCH = re.compile(r"<{5,9} ?SEARCH")
_MIDDLE = re.compile(r"={5,9}")
_REPLACE = re.compile(r">{5,9} ?REPLACE")
_SHOWN = 80  # characters of a line in a fault


class EditFault(Exception):
    """A reply's edits are malformed or do not apply; the message says which, and why."""


class EditCut(EditFault):
    """The reply ended within an edit."""


@dataclass(frozen=True)
class Edit:
    """Replace the lines `old`, which occur once, by the lines `new`."""

    old: tuple[str, ...]
    new: tuple[str, ...]


def has_edits(text: str) -> bool:
    """Tell whether a reply begins an edit."""
    return any(_SEARCH.fullmatch(line.strip()) for line in text.splitlines())


def read_edits(text: str) -> list[Edit]:
    """Return the edits of a reply in order; text around them does not count.

    Raises:
        EditFault: a marker is missing, or an edit searches for nothing.
    """
    found: list[Edit] = []
    parts: list[list[str]] = []  # of the edit that is open: what it searches for, and the rest
    for line in text.splitlines():
        marker, number = line.strip(), len(found) + 1
        if _SEARCH.fullmatch(marker):
            if parts:
                raise EditFault(f"Edit {number} has no line `>>>>>>> REPLACE`.")
            parts = [[]]
        elif len(parts) == 1 and _MIDDLE.fullmatch(marker):
            parts.append([])
        elif parts and _REPLACE.fullmatch(marker):
            if len(parts) == 1:
                raise EditFault(f"Edit {number} has no line `=======`.")
            found.append(_edit(parts, number))
            parts = []
        elif parts:
            parts[-1].append(line.rstrip())
    if parts:
        raise EditCut(f"Edit {len(found) + 1} has no line `>>>>>>> REPLACE`.")
    return found


def apply_edits(edits: Sequence[Edit], source: str) -> str:
    """Return the source with all edits made; they are looked for in `source` as it is given.

    Raises:
        EditFault: the lines of an edit do not occur, occur more than once, or are another's too.
    """
    lines = [line.rstrip() for line in source.splitlines()]
    places = [(_place(edit, n, lines), edit) for n, edit in enumerate(edits, 1)]
    done, at = list[str](), 0
    for start, edit in sorted(places, key=lambda each: each[0]):
        if start < at:
            raise EditFault(f"Two edits change the line `{_short(lines[start])}`: make them one.")
        done += [*lines[at:start], *edit.new]
        at = start + len(edit.old)
    return "\n".join([*done, *lines[at:]]).strip("\n") + "\n"


def _edit(parts: Sequence[Sequence[str]], number: int) -> Edit:
    old, new = (tuple(part) for part in parts)
    if not any(old):
        raise EditFault(f"Edit {number} searches for nothing: copy the lines that it replaces.")
    return Edit(old, new)


def _place(edit: Edit, number: int, lines: Sequence[str]) -> int:
    """Return where the lines of an edit begin."""
    size = len(edit.old)
    starts = [n for n in range(len(lines) - size + 1) if tuple(lines[n : n + size]) == edit.old]
    if len(starts) == 1:
        return starts[0]
    first = next(line for line in edit.old if line)
    if starts:
        raise EditFault(
            f"Edit {number}: `{_short(first)}` occurs {len(starts)} times. Copy more lines with it."
        )
    unknown = next((line for line in edit.old if line and line not in lines), first)
    near = difflib.get_close_matches(unknown, [line for line in lines if line], 1)
    nearest = f" The nearest line is `{near[0][:_SHOWN]}`." if near else ""
    raise EditFault(f"Edit {number}: `{_short(unknown)}` is not in the unit like that.{nearest}")


def _short(line: str) -> str:
    return line.strip()[:_SHOWN]
