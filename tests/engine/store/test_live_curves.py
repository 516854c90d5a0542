"""Curves of trials under way: in the row that their verification will have, and in `status`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import recorded_run
from click.testing import CliRunner
from recorded_run import Trial
from sample_run import SCALES, TOKENS, make_run

from genesys_engine.engine.cli.commands import status as status_command
from genesys_engine.engine.loop import evolution
from genesys_engine.engine.store.curves import POINTS, Curve, Curves
from genesys_engine.engine.store.event_types import VerificationStarted
from genesys_engine.engine.store.live_curves import LiveCurves
from genesys_engine.engine.store.run_store import Store, VerificationRow
from genesys_engine.engine.views.run import view
from genesys_engine.engine.views.status import status
from genesys_engine.plugins.testing.recorded import RecordedExecutor
from genesys_engine.plugins.trainers.live_curve import LiveCurve


class Telling(RecordedExecutor):
    """Its trials tell a point before they end: the loss is the number of the task."""

    def submit(self, target: str, payload: Any, scratch: Path, limits: Any) -> Any:
        if target.endswith(":train"):
            LiveCurve(scratch).write([(1.0, float(scratch.name.rpartition("-")[2]))])
        return super().submit(target, payload, scratch, limits)


def test_a_trial_under_way_stands_in_the_row_of_its_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, set[float]] = {}
    show = Curves.show

    def watched(self: Curves, verification: int, curve: Curve) -> None:
        show(self, verification, curve)
        assert self.read(verification) == curve
        shown.setdefault(verification, set()).add(curve[0][1])

    monkeypatch.setattr(Curves, "show", watched)
    monkeypatch.setattr(evolution, "LiveCurves", partial(LiveCurves, every_s=0.0))
    monkeypatch.setattr(recorded_run, "RecordedExecutor", Telling)
    trial = Trial(tmp_path / "run", workers=3, delay_s=0.02)
    trial.go()
    with Store.open(trial.folder) as store:
        tasks = {row.id: float(row.seq) for row in store.verifications()}
    assert len(shown) > 10
    assert shown == {number: {tasks[number]} for number in shown}


def test_the_whole_curve_takes_the_place_of_the_one_so_far(tmp_path: Path) -> None:
    told = ("ok", "", 0.0, {}, {}, 10, {})
    with Store.create(tmp_path / "run", {}) as store:
        store.curves.allocate(1)
        store.curves.show(2, [(float(i), 1.0) for i in range(POINTS)])
        assert len(store.curves.read(2)) == POINTS, "the array grows"
        with store.transaction():
            store.add_verification(VerificationRow(2, 5, 1, 0, 0, *told), [[10.0, 5.5]])
        store.curves.write()
    with Store.open(tmp_path / "run") as store:
        assert store.curves.read(2) == [(10.0, 5.5)]


def test_status_tells_how_far_a_trial_is(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", finish=False)
    with Store.open(folder, write=True) as store:
        done = view(store).verifications
        with store.transaction():
            for seq in (900, 901):
                about = {"seq": seq, "design": 1, "rung": 1, "replicate": 0}
                store.add_event(VerificationStarted(**about))
        store.curves.show(done, [(1000.0, 6.5), (TOKENS[1] / 4, 4.125)])
        found = status(store, now=view(store).last_at + 60).to_json()
        first, second = found["training"]
        told = CliRunner().invoke(status_command.command, [str(folder)]).output
    assert (first["seq"], first["name"], first["rung"]) == (900, "mamba2", SCALES[1])
    assert (first["tokens"], first["of"], first["loss"]) == (TOKENS[1] // 4, TOKENS[1], 4.125)
    assert (second["tokens"], second["loss"]) == (None, None)
    assert json.dumps(found["training"])
    assert f"training     mamba2 at {SCALES[1]}: 25 % of " in told
    assert "loss 4.125 nats per token" in told
    assert told.count("training  ") == 1, "one that waits for a worker tells nothing"
