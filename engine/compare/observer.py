"""How a study reports its progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.compare.results import AnyResult


@dataclass(frozen=True)
class StudyObserver:
    """How a study reports its progress, and learns that it should stop.

    `on_plan` gets (arm, planned results) for every arm, and the results that exist already;
    `should_stop` returns a reason to stop the study, which can be resumed, or None.
    """

    on_plan: Callable[[Sequence[tuple[str, int]], Sequence[AnyResult]], None]
    on_result: Callable[[AnyResult], None]
    say: Callable[[str], None]
    should_stop: Callable[[], str | None]
