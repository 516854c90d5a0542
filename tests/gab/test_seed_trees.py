"""The five seeds as trees: size, causality through several blocks, exchangeable parts, scale."""

import functools
import random

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, randomise
from torch import nn

from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.library import seed, seed_names, unit, units
from genesys_engine.gab.scales import fit_scale, get_scale
from genesys_engine.gab.tree import GABTree, grow

SEEDS = ("gpt", "mamba2", "retnet", "rwkv6", "ttt")


@functools.cache
def block_class(tree_digest, source):
    return load_block(source)


def blocks(tree: GABTree, d_model: int, count: int, dtype=torch.float64) -> nn.ModuleList:
    torch.manual_seed(0)
    block = block_class(tree.digest, compose(tree))
    return nn.ModuleList(block(d_model, (i, count), dtype=dtype) for i in range(count))


def run(stack, x):
    z = {}
    for block in stack:
        x, z = block(x, **z)
    return x


def leak(stack, length, d_model):
    """Return how much earlier outputs move, and how much later ones, with a random new suffix."""
    cut = random.Random(length).randrange(1, max(2, length - 1))
    x = draw(2, length, d_model)
    other = torch.cat((x[:, :cut], draw(2, length, d_model, seed=8)[:, cut:]), 1)
    before, after = run(stack, x), run(stack, other)
    return (
        largest_difference(before[:, :cut], after[:, :cut]),
        largest_difference(before[:, cut:], after[:, cut:]),
    )


def child_of(kind):
    """Return the smallest subtree of a unit, with the first fitting leaf in every slot."""
    slots = {s.name: child_of(units(s.interface)[0]) for s in kind.slots}
    return grow(kind, slots)


def test_there_are_five_seeds():
    assert seed_names() == SEEDS


@pytest.mark.parametrize("name", SEEDS)
def test_four_to_eight_units_of_at_least_four_kinds(name):
    tree = seed(name)
    tree.validate()
    assert 4 <= len(tree.places()) <= 8
    assert len(tree.units()) >= 4
    assert seed(name).digest == tree.digest


@pytest.mark.parametrize("name", SEEDS)
def test_composed_blocks_are_causal_at_any_length(name):
    stack = randomise(blocks(seed(name), 32, 3), size=0.2)
    for length in (2, 3, 8, 17, 33, 67, 130):
        past, future = leak(stack, length, 32)
        assert past < 1e-9
        assert future > 1e-6
    assert run(stack, draw(2, 1, 32)).shape == (2, 1, 32)


@pytest.mark.parametrize("name", SEEDS)
def test_any_width_with_any_choices(name):
    """Twelve random settings of all hyper-parameters at random widths, in single precision."""
    rng = random.Random(name)
    for _ in range(12):
        tree, d_model = seed(name), 16 * rng.randrange(1, 14)
        for place in tree.places():
            chosen = {h.name: rng.choice(h.choices) for h in place.node.unit.hyperparameters}
            tree = tree.with_hyperparameters(place.index, chosen)
        x = draw(1, 37, d_model, dtype=torch.float32)
        y = run(blocks(tree, d_model, 1, torch.float32), x)
        assert y.shape == x.shape
        assert y.dtype == torch.float32
        assert bool(torch.isfinite(y).all()), tree.describe()


@pytest.mark.parametrize("name", SEEDS)
def test_gradient_reaches_every_parameter(name):
    stack = blocks(seed(name), 48, 2)
    run(stack, draw(2, 37, 48)).square().sum().backward()
    for label, parameter in stack.named_parameters():
        assert parameter.grad is not None, label
        assert bool(torch.isfinite(parameter.grad).all()), label
        assert bool((parameter.grad != 0).any()), label


@pytest.mark.parametrize("name", SEEDS)
def test_every_part_can_be_exchanged_for_any_other_of_its_interface(name):
    tree = seed(name)
    for place in tree.places()[1:]:
        for other in units(place.node.unit.interface):
            child = tree.replace(place.index, child_of(other))
            past, _ = leak(randomise(blocks(child, 32, 2), size=0.2), 21, 32)
            assert past < 1e-9, f"{place.path} <- {other.name}"


@pytest.mark.parametrize("name", SEEDS)
def test_runs_in_mixed_precision(name):
    stack = blocks(seed(name), 32, 2, torch.float32)
    x = draw(2, 70, 32, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = run(stack, x)
    y.float().square().mean().backward()
    assert largest_difference(y.float(), exact := run(stack, x)) < 0.1 * float(exact.abs().max())
    assert all(bool(torch.isfinite(p.grad).all()) for p in stack.parameters())


def test_the_two_recurrences_are_one_function_in_retnet():
    tree = seed("retnet")
    index = next(p.index for p in tree.places() if p.slot == "recurrence")
    other = tree.replace(index, grow(unit("channel_decay_recurrence")))
    x = draw(2, 45, 32)
    here, there = (run(randomise(blocks(t, 32, 2), size=0.2), x) for t in (tree, other))
    assert largest_difference(here, there) < 1e-8


def test_value_residual_reads_the_first_block_through_z():
    """Changing the first block's value weights alone changes what the second block computes."""
    attention = child_of(unit("value_residual_attention"))
    tree = seed("gpt")
    stack = blocks(tree.replace(tree.children(0)["mixer"], attention), 32, 2)
    x = draw(1, 9, 32)
    _, z = stack[0](x)
    with_first, _ = stack[1](x, **z)
    alone, _ = stack[1](x)
    assert z["first_values"].shape == x.shape
    assert largest_difference(with_first, alone) > 1e-6


@pytest.mark.parametrize("name", SEEDS)
def test_learns_to_continue_a_pattern(name):
    """Cycles of random length: the next token is clear only to a model that looks back."""
    generator = torch.Generator().manual_seed(1)
    stack, embed = blocks(seed(name), 32, 2, torch.float32), nn.Embedding(12, 32)
    optimiser = torch.optim.AdamW([*embed.parameters(), *stack.parameters()], lr=3e-3)
    losses = []
    for _ in range(80):
        cycle = torch.rand(16, 12, generator=generator).argsort(-1)[:, :5]
        tokens = cycle.repeat(1, 6)
        x = run(stack, embed(tokens[:, :-1]))
        logits = F.layer_norm(x, (32,)) @ embed.weight.T
        loss = F.cross_entropy(logits[:, 5:].flatten(0, 1), tokens[:, 6:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses[::10]


@pytest.mark.parametrize("scale", ["0.2M", "1M", "14M"])
@pytest.mark.parametrize("name", SEEDS)
def test_every_scale_is_met_within_a_fifth(name, scale):
    block = block_class(seed(name).digest, compose(seed(name)))
    fit = fit_scale(block, get_scale(scale), vocab_size=2048 if scale != "14M" else 32000)
    assert 0.8 <= fit.ratio <= 1.2
    assert fit.config.n_blocks >= 1
