"""What plugins decide of the loop: when to stop, and what becomes of an error."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.select.state import State
from genesys_engine.plugins.host import PluginHost

ON_ERROR, SHOULD_STOP = "genesys_on_error", "genesys_should_stop"
RETRY, FAIL, STOP = "retry", "fail", "stop"


@dataclass(frozen=True)
class Action:
    """What a plugin says of an error: `what` is to be done, and who decided it."""

    what: str
    by: str


@dataclass(frozen=True)
class TaskError:
    """An error that a run could survive, as plugins are asked about it; docs/hooks.md says more."""

    seq: int
    stage: str
    cause: str
    reason: str
    design: int | None
    rung: int | None
    replicate: int | None
    attempt: int


class Decisions:
    """Asks the plugins of a run; an answer of another form is an error that names the plugin."""

    def __init__(self, host: PluginHost) -> None:
        self._host = host

    def on_error(self, error: TaskError) -> Action | None:
        """Return what to do about an error; None leaves it to the engine.

        Raises:
            PluginError: a plugin raised, or gave another answer.
        """
        who, answer = self._host.decided(ON_ERROR, error=to_json(error))
        if who is None:
            return None
        if answer not in (RETRY, FAIL, STOP):
            raise self._host.wrong_answer(
                who, ON_ERROR, f"invalid return value: {answer!r}",
                'return "retry", "fail", "stop" or None',
            )  # fmt: skip
        return Action(answer, f"{who.distribution} {who.version}")

    def should_stop(self, state: State) -> str | None:
        """Return the reason to end the run, None to continue.

        Raises:
            PluginError: a plugin raised, or gave a reason that says nothing or is no text.
        """
        best = None if state.best is None else state.standings[state.best].fitness
        status = {
            "designs": state.counts.accepted,
            "verifications": state.counts.next_verification,
            "best_fitness": best,
        }
        who, answer = self._host.decided(SHOULD_STOP, status=status)
        if who is None:
            return None
        if not isinstance(answer, str) or not answer.strip():
            raise self._host.wrong_answer(
                who, SHOULD_STOP, f"invalid return value: {answer!r}",
                "return the reason as text, or None",
            )  # fmt: skip
        return answer
