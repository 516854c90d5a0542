"""The recipe: what is a matrix, what Muon does to it, which options fit each other."""

import math
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from training_support import TinyModel

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.model import LanguageModel
from genesys_engine.gab.scales import ModelConfig
from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.trainers.muon import MuonAdamW, orthogonalised
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.pytorch import TorchTrainer
from genesys_engine.plugins.trainers.recipe import make_optimizer, set_rates
from genesys_engine.plugins.trainers.roles import MIN_SIDE, matrix_shape, roles_of

BUDGET = TrainBudget(tokens=1000, batch_tokens=256, peak_lr=3e-3, seed=0)


def seed_model(name, width=64):
    config = ModelConfig(d_model=width, n_blocks=2, vocab_size=97, context=64)
    return LanguageModel(load_block(compose(library.seed(name))), config)


def names(model, roles):
    known = {id(p): name for name, p in model.named_parameters()}
    return {
        "matrices": {known[id(p)] for p, _ in roles.matrices},
        "tables": {known[id(p)] for p in roles.tables},
        "vectors": {known[id(p)] for p in roles.vectors},
    }


class EveryKind(nn.Module):
    """One weight of each kind that units have."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.positions = nn.Embedding(64, 32)
        self.linear = nn.Linear(32, 48)
        self.per_head = nn.Linear(32, 4)
        self.short = nn.Conv1d(32, 32, 4, groups=32)
        self.dense = nn.Conv1d(32, 32, 4)
        self.experts = nn.Parameter(torch.randn(8, 32, 64))
        self.decay = nn.Parameter(torch.randn(4, 32))
        self.mix = nn.Parameter(torch.randn(5, 32))
        self.inner = nn.Parameter(torch.randn(2, 16, 16))
        self.gain = nn.Parameter(torch.ones(32))
        self.rate = nn.Parameter(torch.randn(32, 32, dtype=torch.complex64))
        self.frozen = nn.Parameter(torch.randn(32, 32), requires_grad=False)


def test_every_kind_of_weight_has_its_role():
    model = EveryKind()
    found = names(model, roles_of(model))
    assert found["matrices"] == {"linear.weight", "dense.weight", "experts", "inner"}
    assert found["tables"] == {"embedding.weight", "positions.weight"}
    assert found["vectors"] == {
        "linear.bias", "per_head.weight", "per_head.bias", "short.weight", "short.bias",
        "dense.bias", "decay", "mix", "gain", "rate",
    }  # fmt: skip
    shapes = {tuple(p.shape): shape for p, shape in roles_of(model).matrices}
    assert shapes == {
        (48, 32): (1, 48, 32), (32, 32, 4): (1, 32, 128),
        (8, 32, 64): (8, 32, 64), (2, 16, 16): (2, 16, 16),
    }  # fmt: skip


@pytest.mark.parametrize("name", library.seed_names())
def test_every_weight_of_a_seed_has_one_role_and_the_tied_embedding_is_a_table(name):
    model = seed_model(name)
    roles = roles_of(model)
    found = names(model, roles)
    every = [p for group in found.values() for p in group]
    assert sorted(every) == sorted(name for name, _ in model.named_parameters())
    assert found["tables"] == {"embedding.weight"}
    assert {n.rsplit(".", 1)[-1] for n in found["vectors"]}.isdisjoint({"out.weight", "qkv.weight"})
    assert all(min(shape[1:]) >= MIN_SIDE for _, shape in roles.matrices)


def test_a_scalar_and_a_thin_matrix_are_vectors():
    assert matrix_shape(torch.tensor(1.0)) is None
    assert matrix_shape(torch.zeros(MIN_SIDE - 1, 500)) is None
    assert matrix_shape(torch.zeros(MIN_SIDE, 500)) == (1, MIN_SIDE, 500)


@pytest.mark.parametrize("shape", [(1, 24, 24), (3, 16, 80), (2, 80, 16)])
def test_newton_schulz_gives_the_nearest_orthogonal_matrix(shape):
    G = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    U, _, V = torch.linalg.svd(G, full_matrices=False)
    got = orthogonalised(G)
    assert got.shape == G.shape
    sizes = torch.linalg.svdvals(got)
    # The smallest singular values of a square random matrix are reached last.
    assert (sizes < 1.3).all()
    assert ((sizes > 0.6).double().mean() > 0.9).all()
    cosine = (got * (U @ V)).sum() / (got.norm() * (U @ V).norm())
    assert cosine > 0.95
    assert torch.equal(orthogonalised(torch.zeros(shape)), torch.zeros(shape))


def test_matrices_of_one_shape_step_together_as_they_would_alone():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(24, 32, generator=generator) for _ in range(3)]
    stack = torch.stack(weights)
    gradients = [torch.randn(24, 32, generator=generator) for _ in range(3)]

    def stepped(parameters, shapes, slopes):
        group = {"params": parameters, "shapes": shapes, "lr": 0.1, "weight_decay": 0.1}
        optimizer = MuonAdamW([group])
        for _ in range(3):
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.grad = slope.clone()
            optimizer.step()
        return torch.stack([p.detach() for p in parameters]).reshape(3, 24, 32)

    together = stepped([nn.Parameter(w.clone()) for w in weights], [(1, 24, 32)] * 3, gradients)
    as_experts = stepped([nn.Parameter(stack.clone())], [(3, 24, 32)], [torch.stack(gradients)])
    alone = torch.cat([
        stepped_alone(w, slope, stepped_group={"lr": 0.1, "weight_decay": 0.1})
        for w, slope in zip(weights, gradients, strict=True)
    ])  # fmt: skip
    assert torch.allclose(together, as_experts, atol=1e-6)
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together, stack, atol=0.1)


def stepped_alone(weight, slope, stepped_group):
    parameter = nn.Parameter(weight.clone())
    optimizer = MuonAdamW([{"params": [parameter], "shapes": [(1, 24, 32)], **stepped_group}])
    for _ in range(3):
        parameter.grad = slope.clone()
        optimizer.step()
    return parameter.detach()[None]


def test_a_first_update_has_the_size_that_the_rate_says_and_balanced_rows():
    parameter = nn.Parameter(torch.zeros(64, 16))
    parameter.grad = torch.randn(64, 16, generator=torch.Generator().manual_seed(3))
    parameter.grad[:32] *= 100  # some neurons would else dominate
    group = {"params": [parameter], "shapes": [(1, 64, 16)], "lr": 0.5, "weight_decay": 0.0}
    MuonAdamW([group]).step()
    rows = parameter.detach().norm(dim=-1)
    assert rows.max() / rows.min() < 1.05
    # 16 singular values near 1, times lr, times sqrt(64 / 16)
    assert float(parameter.detach().norm()) == pytest.approx(0.5 * 2 * math.sqrt(16), rel=0.25)


def test_a_matrix_without_a_gradient_does_not_stop_its_kin():
    idle, busy = nn.Parameter(torch.ones(16, 16)), nn.Parameter(torch.ones(16, 16))
    group = {"params": [idle, busy], "shapes": [(1, 16, 16)] * 2, "lr": 0.1, "weight_decay": 0.0}
    optimizer = MuonAdamW([group])
    busy.grad = torch.randn(16, 16)
    optimizer.step()
    assert torch.equal(idle.detach(), torch.ones(16, 16))
    assert torch.isfinite(busy).all()
    assert not torch.equal(busy.detach(), torch.ones(16, 16))


def test_the_vectors_half_is_the_adamw_of_pytorch():
    start = torch.randn(40, generator=torch.Generator().manual_seed(5))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = MuonAdamW([{"params": [mine], "lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.9)}])
    other = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), fused=True)
    for step in range(5):
        for parameter, optimizer in ((mine, ours), (theirs, other)):
            parameter.grad = torch.sin(parameter.detach() + step)
            optimizer.step()
    assert torch.equal(mine.detach(), theirs.detach())


def test_complex_weights_train():
    weight = nn.Parameter(torch.ones(4, 4, dtype=torch.complex64))
    for optimizer in (
        MuonAdamW([{"params": [weight], "lr": 0.1, "weight_decay": 0.0}]),
        make_optimizer(nn.ParameterList([weight]), BUDGET, TorchTrainerOptions(optimizer="adamw")),
    ):
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        optimizer.step()
        assert not torch.equal(weight.detach(), before)


def test_gains_and_biases_do_not_decay():
    model = TinyModel(300, width=32)
    for options in (TorchTrainerOptions(), TorchTrainerOptions(recipe="published")):
        optimizer = make_optimizer(model, BUDGET, options)
        decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
        assert len(decay) == len(list(model.parameters()))
        assert all((decay[id(p)] > 0) == (p.ndim > 1) for p in model.parameters())


def test_a_rung_that_asks_for_twice_its_rate_gets_twice_of_every_rate():
    model = seed_model("gpt")
    usual, twice = (
        make_optimizer(model, replace(BUDGET, lr_scale=scale), TorchTrainerOptions())
        for scale in (1.0, 2.0)
    )
    for one, two in zip(usual.param_groups, twice.param_groups, strict=True):
        assert two["peak_lr"] == 2 * one["peak_lr"] > 0
    set_rates(twice, 0.5)
    assert [g["lr"] for g in twice.param_groups] == [g["peak_lr"] for g in usual.param_groups]


def test_the_published_recipe_is_adamw_at_the_rate_of_the_rung():
    options = TorchTrainerOptions(recipe="published")
    assert (options.optimizer, options.final_lr_fraction) == ("adamw", 0.1)
    optimizer = make_optimizer(seed_model("gpt"), BUDGET, options)
    assert type(optimizer) is torch.optim.AdamW
    assert {group["peak_lr"] for group in optimizer.param_groups} == {3e-3}
    assert TorchTrainerOptions(recipe="published", weight_decay=0.2).weight_decay == 0.2


@pytest.mark.parametrize(
    "given", [{"optimizer": "adamw", "matrix_lr": 0.1}, {"recipe": "published", "momentum": 0.5},
              {"peak_lr": 1e-3}],
)  # fmt: skip
def test_an_option_that_no_optimiser_would_use_is_refused(given):
    with pytest.raises(ValidationError, match="no effect with optimizer"):
        TorchTrainerOptions(**given)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_it_learns_more_than_adamw_from_the_same_tokens(corpus, tmp_path):
    tail = {}
    for recipe in ("measured", "published"):
        model = seed_model("gpt", width=32)
        model = LanguageModel(
            load_block(compose(library.seed("gpt"))),
            ModelConfig(d_model=32, n_blocks=2, vocab_size=corpus.vocab_size, context=64),
        )
        budget = TrainBudget(tokens=24_576, batch_tokens=256, peak_lr=3e-3, seed=1)
        trainer = TorchTrainer(TorchTrainerOptions(recipe=recipe))
        result = trainer.train(model, corpus, budget, tmp_path / f"{recipe}.safetensors")
        losses = [loss for _, loss in result.curve]
        tail[recipe] = sum(losses[-20:]) / 20
    assert tail["measured"] < tail["published"] - 0.1
