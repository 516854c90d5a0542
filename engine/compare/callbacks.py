"""How a study talks to whoever began it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.compare.store import Result


@dataclass(frozen=True)
class Callbacks:
    """How a study talks to whoever began it.

    `on_plan` gets (arm, results planned) for every arm and the results there are already.
    """

    on_plan: Callable[[Sequence[tuple[str, int]], Sequence[Result]], None]
    on_result: Callable[[Result], None]
    say: Callable[[str], None]
    should_stop: Callable[[], str | None]
