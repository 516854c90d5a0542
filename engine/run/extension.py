"""What a run may become when it is resumed: more of the same, and nothing else.

A run can be extended by more designs, more verifications at its rungs, further rungs above the
last one, and more finalists or fresh seeds.  Every other difference would make it another
experiment, and is refused with both values.  The log of an extended run continues behind what it
holds: it is the same for any number of workers, but not that of a run that had the larger budgets
from the beginning, whose ladder would have opened its rungs at other moments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.engine.common.toml_text import toml_value
from genesys_engine.engine.jobs.tasks import VerifyTask
from genesys_engine.engine.store.event_types import ChangedKey, RunExtended, RunStarted
from genesys_engine.engine.store.replicates import is_fresh
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError

GROWS = re.compile(
    r"budget\.designs|ladder\.(finalists|finalist_seeds)|ladder\.rungs\.\d+\.verifications"
)
RUNG = re.compile(r"ladder\.rungs\.(?P<index>\d+)\.")


@dataclass(frozen=True)
class Change:
    """One key of the experiment that differs; None stands for a key that is not there."""

    key: str
    was: Any
    now: Any

    def __str__(self) -> str:
        """Return `key = NOW (began with WAS)`."""
        now, was = ("nothing" if v is None else toml_value(v) for v in (self.now, self.was))
        return f"{self.key} = {now} (the run has {was})"


def changes(was: TomlTable, now: TomlTable) -> list[Change]:
    """Return the keys that differ between two experiments (`Experiment.decisive`), in order."""
    before, after = dict(_flat(was)), dict(_flat(now))
    keys = dict.fromkeys([*after, *before])
    return [
        Change(key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); a table in a list has its index in the key, as --set takes it."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{index}")
    else:
        yield path, value


def demand_extension(found: Sequence[Change], rungs: int, where: str) -> None:
    """See that all changes extend a run of `rungs` rungs.

    Raises:
        InputError: some do not; each is named with both values, and how to undo it.
    """
    refused = [change for change in found if not _extends(change, rungs)]
    if not refused:
        return
    undo = [f"--set '{c.key}={toml_value(c.was)}'" for c in refused if c.was is not None]
    away = [c.key for c in refused if c.was is None]
    ways = [f"undo it with {' '.join(undo)}"] * bool(undo)
    ways += [f"take out {', '.join(away)}"] * bool(away)
    raise InputError(
        "the experiment has changed since this run started: " + "; ".join(map(str, refused)),
        where=where,
        hint=f"{', and '.join(ways)}, in the file or on the command line. A resumed run may have"
        " more budget.designs, ladder.rungs.N.verifications, ladder.finalists and"
        " ladder.finalist_seeds, further rungs, other run.workers, run.designers, executor.*,"
        " sandbox.*, rates and addresses of [llm] and other caps of [budget]; for everything else"
        " start another run ([population] from = the folder of this one takes over its designs)",
    )


def _extends(change: Change, rungs: int) -> bool:
    rung = RUNG.match(change.key)
    if rung and int(rung["index"]) >= rungs:
        return True
    return bool(GROWS.fullmatch(change.key)) and change.was is not None and change.now > change.was


def demand_room(store: Store, experiment: TomlTable, found: Sequence[Change]) -> None:
    """See that designs to come can be verified at all.

    Raises:
        InputError: the lowest rung has no verification left; the hint says how many it takes.
    """
    asked = next((c for c in found if c.key == "budget.designs"), None)
    if asked is None:
        return
    used = sum(
        task.rung == 0 and not is_fresh(task.replicate)
        for task in (row.task for row in store.tasks())
        if isinstance(task, VerifyTask)
    )
    lowest = experiment["ladder"]["rungs"][0]
    if used >= lowest["verifications"]:
        enough = used + asked.now - asked.was
        raise InputError(
            f"{asked.now - asked.was} more designs cannot be verified: all"
            f" {lowest['verifications']} verifications at {lowest['scale']} are used",
            where="[budget] designs",
            hint=f"give the lowest rung more as well: --set ladder.rungs.0.verifications={enough}",
        )


def extend(store: Store, found: Sequence[Change], begun: RunStarted) -> None:
    """Reopen a run within the caller's transaction: what its end has left is taken back.

    Args:
        begun: the event that a run with the changes would begin with.
    """
    for key in ("finished", "verdict", "sigma", "reference", "confirmation"):
        store.drop_meta(key)
    if (state := store.meta("state")) is not None:
        finals = dict.fromkeys(("finals", "finalists"))  # they open again
        fresh: dict[str, object] = {**finals, "warned": [], "failures_in_a_row": 0}
        store.set_meta("state", {**state, **fresh})
    if any(RUNG.match(change.key) and change.was is None for change in found):
        # A further rung has another context: who wins is looked at again, at that length.
        store.set_meta("looks_from", store.count("tasks"))
    changed = tuple(ChangedKey(change.key, change.was, change.now) for change in found)
    store.add_event(RunExtended(**vars(begun), changes=changed))
