"""How a study talks to whoever started it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from genesys_engine.engine.compare.results import AnyResult


@dataclass(frozen=True)
class StudyObserver:
    """How a study talks to whoever started it.

    `on_plan` gets (arm, results planned) for every arm and the results there are already; a reason
    from `should_stop` ends the study, which can be continued.
    """

    on_plan: Callable[[Sequence[tuple[str, int]], Sequence[AnyResult]], None]
    on_result: Callable[[AnyResult], None]
    say: Callable[[str], None]
    should_stop: Callable[[], str | None]
