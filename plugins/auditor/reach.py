"""Which parameters a gradient reaches, over several tries, and findings about the others.

A parameter is missed where no try reaches it in any block.  One of many alike (the experts of a
mixture) of which now these, now those are reached waits for its input, and is no fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from genesys_engine.gab.checks.report import Evidence, Finding, finding
from genesys_engine.plugins.auditor.subject import Subject

_ENOUGH = 3  # tries, where none of a kind is reached in one and not in another


class Reached:
    """The parameters that the tries so far have reached."""

    def __init__(self, subject: Subject) -> None:
        """Begin with no try."""
        self._subject = subject
        self._inner: dict[str, str] = {}  # name of a parameter -> its name inside its block
        self._tries: list[set[str]] = []

    def note(self, tried: Mapping[str, bool]) -> None:
        """Add a try: which parameters its gradient reaches."""
        self._inner |= {name: in_block(name) for name in tried}
        self._tries.append({name for name, reached in tried.items() if reached})

    def decided(self) -> bool:
        """Tell whether a further try would change nothing."""
        idle, in_turn = self._idle(), self._in_turn()
        waiting = any(_kind(self._inner[name]) in in_turn for name in idle)
        return not idle or (len(self._tries) >= _ENOUGH and not waiting)

    def findings(self) -> Iterator[Finding]:
        """Yield `gradient.missing` and `gradient.partial`, one for each cause."""
        idle, in_turn = self._idle(), self._in_turn()
        somewhere = {self._inner[name] for reached in self._tries for name in reached}
        nowhere = {inner for inner in self._inner.values() if inner not in somewhere}
        causes: dict[tuple[str, str], list[str]] = {}
        for name in idle:
            inner = self._inner[name]
            if inner in somewhere:
                if _kind(inner) not in in_turn:
                    causes.setdefault(("in some blocks", _kind(inner)), []).append(name)
            elif _kind(inner) in in_turn:
                causes.setdefault(
                    ("for some inputs", _kind(self._part(inner, nowhere))), []
                ).append(name)
            else:
                causes.setdefault(("", _kind(self._part(inner, nowhere))), []).append(name)
        for (where, _), names in causes.items():
            yield self._finding(where, names)

    def _idle(self) -> list[str]:
        return [name for name in self._inner if not any(name in each for each in self._tries)]

    def _in_turn(self) -> set[str]:
        """Return the kinds of which some parameter is reached in one try and not in another."""
        tries = [{self._inner[name] for name in reached} for reached in self._tries]
        always = {inner for inner in tries[0] if all(inner in each for each in tries)}
        return {_kind(inner) for each in tries for inner in each - always}

    def _part(self, inner: str, nowhere: set[str]) -> str:
        """Return the outermost part of the block all of whose parameters are in `nowhere`."""
        parts = inner.split(".")
        for end in range(1, len(parts)):
            part = ".".join(parts[:end])
            if all(n in nowhere for n in self._inner.values() if n.startswith(f"{part}.")):
                return part
        return inner

    def _finding(self, where: str, names: list[str]) -> Finding:
        inner = list(dict.fromkeys(self._inner[name] for name in names))
        blocks = sum(self._inner[name] == inner[0] for name in names)
        evidence: dict[str, Evidence] = {"parameter": inner[0], "blocks": blocks}
        what = f"The parameter {inner[0]!r} gets"
        if len(inner) > 1:
            evidence["parameters"] = len(inner)
            what = f"{len(inner)} parameters of one part ({inner[0]!r} and others) get"
        place = self._subject.place_of_parameter(self._subject.shared, names[0])
        if where:
            text = f"{what} a gradient {where} only."
            return finding("gradient.partial", text, evidence, place=place, severity="warning")
        return finding("gradient.missing", f"{what} no gradient.", evidence, place=place)


def in_block(name: str) -> str:
    """Return the name inside its block, so that all blocks' namesakes are one."""
    return re.sub(r"^blocks\.\d+(\.|$)", "", name)


def _kind(inner: str) -> str:
    """Return the name with all numbers alike: that of every expert of a list."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", inner)
