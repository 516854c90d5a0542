"""The curve of a trial under way: what trainers tell of it, and what is read from outside."""

import os
from array import array
from functools import partial

import pytest
from test_trainer import train
from training_support import CONTEXT, TinyModel

from genesys_engine.plugins.api import TrainBudget, TrialDiverged
from genesys_engine.plugins.trainers import hf, pytorch
from genesys_engine.plugins.trainers.live_curve import LIVE_CURVE, LiveCurve, read_live_curve
from genesys_engine.plugins.trainers.options import TorchTrainerOptions, TrainerOptions

POINTS = [(512.0, 6.5), (1024.0, 6.25)]


@pytest.fixture
def told(tmp_path):
    LiveCurve(tmp_path).write(POINTS)
    return tmp_path / LIVE_CURVE


def test_what_is_written_is_read(told):
    assert read_live_curve(told.parent) == POINTS
    assert [path.name for path in told.parent.iterdir()] == [LIVE_CURVE]


def test_a_trial_that_has_told_nothing_has_no_points(tmp_path):
    assert read_live_curve(tmp_path) == []
    assert read_live_curve(tmp_path / "away") == []


def _numbers(*numbers):
    return lambda path: path.write_bytes(array("d", numbers).tobytes())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: path.with_name("x").hardlink_to(path),
        _numbers(*range(402)),
        _numbers(512, float("nan")),
        _numbers(float("inf"), 6.5),
        _numbers(-1, 6.5),
        _numbers(1e300, 6.5),
    ],
)
def test_what_no_trainer_writes_is_not_used(told, spoil):
    spoil(told)
    assert read_live_curve(told.parent) == []


def test_half_a_point_is_left(told):
    told.write_bytes(told.read_bytes()[:-3])
    assert read_live_curve(told.parent) == POINTS[:1]


def test_the_curve_is_told_while_the_model_trains(corpus, tmp_path, monkeypatch):
    seen = []

    class Watched(LiveCurve):
        def write(self, curve):
            super().write(curve)
            seen.append(read_live_curve(tmp_path))

    monkeypatch.setattr(pytorch, "LiveCurve", partial(Watched, every_s=0.0))
    _, result = train(corpus, tmp_path)
    assert len(seen) > 5
    tokens = [curve[-1][0] for curve in seen]
    assert tokens == sorted(set(tokens))
    assert seen[-1] == list(result.curve)


def test_a_short_training_writes_nothing_but_its_checkpoint(corpus, tmp_path):
    train(corpus, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def _by_torch(model, corpus, budget, checkpoint):
    options = TorchTrainerOptions(recipe="published")
    return pytorch.TorchTrainer(options).train(model, corpus, budget, checkpoint)


def _by_hf(model, corpus, budget, checkpoint):
    options = TrainerOptions(recipe="published")
    return hf.HfTrainer(options).train(model, corpus, budget, checkpoint)


@pytest.mark.parametrize("by", [_by_torch, _by_hf])
def test_a_trial_that_runs_away_leaves_its_curve(corpus, tmp_path, by):
    budget = TrainBudget(tokens=40_000, batch_tokens=4 * CONTEXT, peak_lr=1e4, seed=1)
    with pytest.raises(TrialDiverged):
        by(TinyModel(corpus.vocab_size), corpus, budget, tmp_path / "model.safetensors")
    curve = read_live_curve(tmp_path)
    assert curve
    assert 0 < curve[-1][0] < 40_000
