"""Training: what is counted, what is learnt, when it ends, what lies on the disk."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from training_support import CONTEXT, TinyModel

from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.api import TrainBudget, TrialDiverged
from genesys_engine.plugins.checkpoint import load_checkpoint, save_checkpoint
from genesys_engine.plugins.corpus import Batch
from genesys_engine.plugins.trainers.live_curve import LIVE_CURVE
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
from genesys_engine.plugins.trainers.recipe import rate_share


def train(corpus, folder, *, tokens=20_000, lr=5e-3, seed=1, model=None, **options):
    model = model or TinyModel(corpus.vocab_size)
    budget = TrainBudget(tokens=tokens, batch_tokens=4 * CONTEXT, peak_lr=lr, seed=seed)
    trainer = TorchTrainer(TorchTrainerOptions(**options))
    return model, trainer.train(model, corpus, budget, folder / "model.safetensors")


def test_the_loss_falls_and_real_tokens_are_counted(corpus, tmp_path):
    _, result = train(corpus, tmp_path)
    losses = [loss for _, loss in result.curve]
    assert abs(losses[0] - math.log(corpus.vocab_size)) < 1
    assert np.mean(losses[-5:]) < losses[0] - 1
    batches = corpus.batches(1, 4, CONTEXT)
    counted = sum(next(batches).real_tokens for _ in range(result.steps))
    assert result.tokens == counted < result.steps * 4 * CONTEXT
    assert 20_000 <= result.tokens < 20_000 + 4 * CONTEXT
    assert result.curve[-1][0] == result.tokens


def test_the_curve_has_at_most_200_points(corpus, tmp_path):
    _, result = train(corpus, tmp_path, tokens=60_000)
    assert result.steps > 200 >= len(result.curve) > 50


class FixedBatches:
    """A corpus whose batches are given."""

    def __init__(self, batch):
        self.batch = batch

    def batches(self, seed, batch_size, context, start=0):
        while True:
            yield self.batch


def test_masked_positions_are_neither_trained_on_nor_counted(corpus, tmp_path):
    original = next(corpus.batches(0, 4, CONTEXT))
    mask = original.mask.copy()
    mask[:, ::3] = False
    rng = np.random.default_rng(0)
    noise = np.where(mask, original.targets, rng.integers(0, 512, mask.shape))
    trained = []
    for targets in (original.targets, noise):
        batch = Batch(original.inputs, targets, mask)
        model, result = train(FixedBatches(batch), tmp_path, tokens=2_000, model=TinyModel(512))
        assert result.tokens == result.steps * mask.sum()
        trained.append(model.state_dict())
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_two_runs_are_equal_bit_for_bit(corpus, tmp_path):
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, result = train(corpus, tmp_path / name, tokens=5_000)
        runs.append((result.curve, result.checkpoint.read_bytes()))
    assert runs[0] == runs[1]
    _, other = train(corpus, tmp_path, tokens=5_000, seed=2)
    assert other.curve != runs[0][0]


def test_gradient_accumulation_is_the_large_batch(corpus, tmp_path):
    whole, _ = train(corpus, tmp_path, tokens=1_500)
    parts, _ = train(corpus, tmp_path, tokens=1_500, micro_batch=1)
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, parts.state_dict()[name], atol=2e-4), name


class Poisoned(TinyModel):
    """Turns to NaN after some steps."""

    steps = 0

    def forward(self, tokens):
        self.steps += 1
        return super().forward(tokens) * (math.nan if self.steps > 20 else 1.0)


def test_a_loss_that_is_not_finite_ends_the_trial(corpus, tmp_path):
    with pytest.raises(TrialDiverged, match="loss is nan after"):
        train(corpus, tmp_path, model=Poisoned(corpus.vocab_size))
    assert [path.name for path in tmp_path.iterdir()] == [LIVE_CURVE]


def test_a_loss_that_explodes_ends_the_trial(corpus, tmp_path):
    with pytest.raises(TrialDiverged, match="rose from"):
        train(corpus, tmp_path, lr=5.0, optimizer="adamw", explode_factor=1.5, grad_clip=1e9)


def test_the_schedule_warms_up_and_falls_to_a_tenth():
    options = TorchTrainerOptions()
    shares = [rate_share(p / 1000, options) for p in range(1001)]
    assert 0 < shares[0] < 0.2
    assert shares[20] == max(shares) == 1.0
    assert shares[-1] == pytest.approx(0.1)
    assert shares[510] == pytest.approx(0.55, abs=1e-3)
    assert all(a >= b for a, b in pairwise(shares[20:]))


def test_a_checkpoint_restores_every_tensor(tmp_path):
    model, fresh = TinyModel(300, seed=1), TinyModel(300, seed=2)
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    load_checkpoint(fresh, path)
    assert fresh.head.weight is fresh.embedding.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(nn.Linear(3, 3), path)
    with pytest.raises(InputError, match="embedding"):
        load_checkpoint(TinyModel(300), path)


def test_a_checkpoint_that_reads_back_differently_does_not_count(tmp_path, monkeypatch):
    import safetensors.torch

    real = safetensors.torch.load_file

    def damaged(path):
        state = real(path)
        state["norm.bias"][3] += 1
        return state

    monkeypatch.setattr(safetensors.torch, "load_file", damaged)
    with pytest.raises(EnvironmentProblem, match=r"norm\.bias"):
        save_checkpoint(TinyModel(300), tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()
