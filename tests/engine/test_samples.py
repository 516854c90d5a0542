"""Scores of single items: a row each, whatever their number, and nothing where nothing came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_process import ask, engine, write_experiment
from safetensors.numpy import save_file

from genesys_engine.engine.samples import pending_samples, read_samples, write_samples
from genesys_engine.engine.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.create(tmp_path / "run", {}) as store:
        store.curves.allocate(2)
    return tmp_path / "run"


def leave(folder: Path, seq: int, **arrays: np.ndarray) -> None:
    path = pending_samples(folder, seq)
    path.parent.mkdir(exist_ok=True)
    save_file({k.replace("__", "/"): np.asarray(v, np.float32) for k, v in arrays.items()}, path)


def test_each_verification_has_its_own_row(folder: Path) -> None:
    leave(folder, 4, acc=np.array([1, 0, 1]), group__task=np.array([0.5]))
    leave(folder, 9, acc=np.array([0, 0, 1, 1]))  # more items than before
    write_samples(folder, 9, 3)  # beyond the rows that were planned, and first
    write_samples(folder, 4, 0)
    first, last = read_samples(folder, 0), read_samples(folder, 3)
    assert first.keys() == {"acc", "group/task"}
    assert last.keys() == {"acc"}
    assert np.array_equal(first["acc"], [1, 0, 1, np.nan], equal_nan=True)
    assert np.array_equal(last["acc"], [0, 0, 1, 1])
    assert read_samples(folder, 1) == read_samples(folder, 99) == {}


def test_writing_again_after_a_kill_gives_the_same(folder: Path) -> None:
    leave(folder, 1, acc=np.array([1, 0]))
    write_samples(folder, 1, 0)
    write_samples(folder, 1, 0)
    assert np.array_equal(read_samples(folder, 0)["acc"], [1, 0])
    write_samples(folder, 2, 1)
    assert read_samples(folder, 1) == {}


@pytest.mark.slow
def test_a_run_keeps_them_and_their_mean_is_the_score(tmp_path: Path) -> None:
    tasks = '[[evaluators]]\nuse = "lm_eval"\ntasks = ["minimal_pairs/participle"]\nlimit = 30'
    experiment = write_experiment(tmp_path, verifications=2, designs=1, more=tasks)
    run = tmp_path / "run"
    assert engine("run", experiment, "--out", run).code in (0, 1)
    ids = [number for (number,) in ask(run, "SELECT id FROM verifications WHERE status = 'ok'")]
    assert ids
    with Store.open(run) as store:
        for row in store.verifications():
            samples = read_samples(run, row.id)
            pairs = samples["minimal_pairs/participle:acc"]
            score = row.scores["minimal_pairs/participle:acc"]
            assert len(pairs) == score["n"] == 30
            assert pairs.mean() == pytest.approx(score["value"])
            assert row.scores["minimal_pairs:acc"]["value"] == pytest.approx(score["value"])
            assert samples["bits_per_byte"].shape == (row.scores["bits_per_byte"]["n"],)
    assert not (run / "samples").exists(), "none is left waiting"
