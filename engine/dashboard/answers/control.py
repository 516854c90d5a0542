"""What may be asked of a run from its page: to stop it, and to pin a design."""

from __future__ import annotations

from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.dashboard.watch import Moment
from genesys_engine.engine.run.requests import (
    Refused,
    ask_to_pin,
    ask_to_stop,
    pin_is_asked,
    stop_is_asked,
)
from genesys_engine.engine.store.names import scale_names
from genesys_engine.engine.views.run import RUNNING, WAITING

POSSIBLE, ASKED, PINNED = "possible", "asked", "pinned"


def stop_state(moment: Moment, *, allowed: bool) -> str | None:
    """Return whether a run can be stopped, or is asked to; None where neither."""
    if not _is_running(moment):
        return None
    if stop_is_asked(moment.folder):
        return ASKED
    return POSSIBLE if allowed else None


def pin_state(moment: Moment, design: int, *, allowed: bool) -> str | None:
    """Return whether a design is pinned, asked to be, or can be; None where neither."""
    if design in moment.run.pinned:
        return PINNED
    if not _is_running(moment):
        return None
    if pin_is_asked(moment.folder, design):
        return ASKED
    return POSSIBLE if allowed and not _unpinnable(moment, design) else None


def stop(moment: Moment) -> dict[str, object]:
    """Ask the process that works on a run to stop.

    Raises:
        Refused: there is none.
    """
    _demand_running(moment)
    ask_to_stop(moment.folder)
    return {"stop": ASKED}


def pin(moment: Moment, design: int) -> dict[str, object]:
    """Ask the process that works on a run to promote a design before others.

    Raises:
        Refused: there is none, or the design cannot climb.
    """
    _demand_running(moment)
    if reason := _unpinnable(moment, design):
        raise Refused(reason, where=f"design {moment.run.label(design)}")
    if design in moment.run.pinned:
        return {"pin": PINNED}
    ask_to_pin(moment.folder, design)
    return {"pin": ASKED}


def _is_running(moment: Moment) -> bool:
    """Tell whether a process goes on with a run; one that explains a finished run does not."""
    return moment.being_written() and moment.run.state in (RUNNING, WAITING)


def _demand_running(moment: Moment) -> None:
    if not _is_running(moment):
        raise Refused(
            "this run is not running, so nothing would answer",
            where=str(moment.folder),
            hint=f"resume it first: genesys-engine resume {moment.folder}",
        )


def _unpinnable(moment: Moment, design: int) -> str:
    """Return why a design cannot be pinned, "" where it can."""
    row = moment.design(design)
    if not row.accepted:
        return "a rejected design does not climb"
    if design in moment.run.disqualified:
        return "a disqualified design does not climb"
    if row.rung == len(scale_names(moment)) - 1:
        return "it stands on the highest rung already"
    if StudyStore.exists(moment.folder.parent.parent):
        return "a pin would favour one arm of the study that this run belongs to"
    return ""
