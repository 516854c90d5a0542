"""The built-in trackers against the real libraries, offline, read back by those libraries."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.api import TrackedRun
from genesys_engine.plugins.host import freeze
from genesys_engine.plugins.trackers.series import numbers, require, sentence

FINISHED = {"design": 0, "rung": 0, "replicate": 0, "verification": 0, "seq": 1}
EVENTS: list[dict[str, Any]] = [
    {"kind": "run.started", "payload": {"seed": 1}},
    {"kind": "design.accepted", "payload": {"design": 0, "change": "Seed design gpt."}},
    {
        "kind": "verification.finished",
        "payload": {**FINISHED, "fitness": 0.0, "scores": {"bits_per_byte": 2.5}},
    },
    {"kind": "verification.failed", "payload": {**FINISHED, "cause": "timeout", "reason": "slow"}},
    {
        "kind": "verification.finished",
        "payload": {**FINISHED, "fitness": 1.25, "scores": {"bits_per_byte": 2.25}},
    },
    {"kind": "best.changed", "payload": {"design": 1, "rung": 0, "fitness": 1.25}},
    {"kind": "run.finished", "payload": {"verdict": "nothing is better"}},
]
LOG = [freeze({"id": n, "at": 1_790_000_000.0 + n, **event}) for n, event in enumerate(EVENTS, 1)]


def needs(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'genesys-engine[{module}]'")


@pytest.fixture
def run(tmp_path: Path) -> TrackedRun:
    return TrackedRun("sample", tmp_path, freeze({"run": {"seed": 1, "marks": [1, 2]}}))


def follow(tracker: Any, events: list[Any]) -> None:
    for event in events:
        tracker.on_event(event)
    tracker.close()
    tracker.close()


def test_an_event_as_numbers_and_as_a_sentence() -> None:
    assert numbers(LOG[2]) == {"rung-0/fitness": 0.0, "rung-0/bits_per_byte": 2.5}
    assert numbers(LOG[3]) == {"rung-0/failed": 1.0}
    assert numbers(LOG[0]) == {}
    assert sentence(LOG[1]) == "design 0: Seed design gpt."
    bad = {**EVENTS[2], "payload": {**EVENTS[2]["payload"], "fitness": float("nan")}}
    assert numbers(bad) == {"rung-0/bits_per_byte": 2.5}


def test_a_missing_library_is_told_with_the_extra() -> None:
    with pytest.raises(PluginError, match=r"pip install 'genesys-engine\[wandb\]'"):
        require("wandb_that_is_not_there", "wandb")


def test_tensorboard_reads_what_was_written(run: TrackedRun) -> None:
    needs("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from genesys_engine.plugins.trackers.tensorboard import TensorboardOptions, TensorboardTracker

    follow(TensorboardTracker(TensorboardOptions(), run=run), LOG[:4])
    follow(TensorboardTracker(TensorboardOptions(), run=run), LOG[4:])  # a resumed run
    read = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    bits = read.Scalars("rung-0/bits_per_byte")
    assert [(s.step, s.value) for s in bits] == [(3, 2.5), (5, 2.25)]
    assert bits[0].wall_time == LOG[2]["at"]
    assert [s.value for s in read.Scalars("best/fitness")] == [1.25]
    texts = [t.tensor_proto.string_val[0].decode() for t in read.Tensors("log")]
    assert texts == ["design 0: Seed design gpt.", "nothing is better"]


def test_wandb_offline_keeps_the_run(run: TrackedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("wandb")
    from genesys_engine.plugins.trackers.wandb import WandbOptions, WandbTracker

    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(run.folder / "wandb-home"))
    follow(WandbTracker(WandbOptions(), run=run), LOG)
    (file,) = run.folder.rglob("*.wandb")
    end = time.monotonic() + 60  # wandb's own process writes the file, after `finish`
    while b"nothing is better" not in (kept := file.read_bytes()) and time.monotonic() < end:
        time.sleep(0.1)
    for text in (b"rung-0/bits_per_byte", b"2.25", b"best/fitness", b"1.25", b"nothing is better"):
        assert text in kept


def test_mlflow_keeps_the_run_in_a_local_file(run: TrackedRun) -> None:
    needs("mlflow")
    pytest.importorskip("sqlalchemy", reason="pip install 'genesys-engine[mlflow]'")
    from mlflow.tracking import MlflowClient

    from genesys_engine.plugins.trackers.mlflow import RUN_ID, MlflowOptions, MlflowTracker

    follow(MlflowTracker(MlflowOptions(), run=run), LOG[:4])
    follow(MlflowTracker(MlflowOptions(), run=run), LOG[4:])  # a resumed run
    client = MlflowClient(tracking_uri=f"sqlite:///{run.folder / 'mlflow.sqlite'}")
    mine = (run.folder / RUN_ID).read_text()
    history = client.get_metric_history(mine, "rung-0/bits_per_byte")
    assert [(m.step, m.value) for m in history] == [(3, 2.5), (5, 2.25)]
    kept = client.get_run(mine)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["run"] == '{"marks": [1, 2], "seed": 1}'
