"""What is wrong with an experiment: every fault at once, each with its place and a way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genesys_engine.engine.config.positions import Place
from genesys_engine.gab.errors import InputError


@dataclass(frozen=True)
class Problem:
    """One fault.  `source` is the file or the `--set` that holds it.

    A `--set` has no place, and neither has a default that does not work here.
    """

    message: str
    source: str
    place: Place | None = None
    hint: str | None = None

    @property
    def where(self) -> str:
        """file:line:column, or the source alone."""
        place = self.place
        return f"{self.source}:{place.line}:{place.column}" if place else self.source

    def __str__(self) -> str:
        """Return the message, the line with a caret below what is meant, and the hint."""
        lines = [f"{self.where}: {self.message}"]
        if self.place:
            number = f"{self.place.line:>5}"
            # A tab before the caret stays a tab, so that the caret stands below its word.
            before = self.place.text[: self.place.column - 1]
            pad = "".join("\t" if character == "\t" else " " for character in before)
            lines.append(f"{number} | {self.place.text}")
            lines.append(f"{' ' * len(number)} | {pad}{'^' * self.place.width}")
        if self.hint:
            lines.append(f"  help: {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, str | int | None]:
        """Return it as a JSON object; line and column are null without a place."""
        return {
            "message": self.message,
            "source": self.source,
            "line": self.place.line if self.place else None,
            "column": self.place.column if self.place else None,
            "hint": self.hint,
        }


class ConfigError(InputError):
    """The experiment is not usable; `problems` says everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} faults in the experiment")
        self.problems = tuple(sorted(problems, key=_order))

    def __str__(self) -> str:
        """Return all faults, in the order of the file, and how many there are."""
        count = len(self.problems)
        end = [] if count == 1 else [f"{count} faults; nothing was started"]
        return "\n".join([*map(str, self.problems), *end])


def _order(problem: Problem) -> tuple[bool, int, int]:
    place = problem.place
    return (place is None, place.line if place else 0, place.column if place else 0)
