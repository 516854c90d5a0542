"""Units of the grammar and children of operators, composed and run: shape, causality, gradients."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import torch

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators import grammar
from genesys_engine.operators.grammar import torch_helpers as helpers
from genesys_engine.operators.growth import Grower, GrowthOptions
from genesys_engine.plugins.api import OperatorContext, OperatorNotApplicable
from tests.operators.variation_support import OPERATORS, parents_of

RECURRENT = {"queries": (2, 16), "keys": (2, 16), "log_decay": (2, 1)}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def randomise(block: torch.nn.Module, seed: int) -> None:
    """Fill weights as training starts and move everything off its special values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.1 * noise)


def z_values(tree: GABTree, time: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return the Z values that a lone inner recurrence reads."""
    if tree[0].ret != "recurrence":
        return {}
    draw = {
        name: torch.randn(batch, time, width, generator=generator, dtype=torch.float64)
        for name, (batch, width) in RECURRENT.items()
    }
    return {**draw, "log_decay": -draw["log_decay"].abs()}


def check_block(tree: GABTree, width: int, time: int, seed: int) -> None:
    """Assert shape, finiteness, causality and a gradient for every parameter, in fp64."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    block = load_block(compose(tree))(width, (1, 3), dtype=torch.float64)
    randomise(block, seed)
    X = torch.randn(2, time, width, generator=generator, dtype=torch.float64)
    Z = z_values(tree, time, generator)
    out, _ = block(X, **Z)
    assert out.shape == X.shape
    assert torch.isfinite(out).all()
    for cut in {1, time // 2, time - 1}:
        check_causal(block, X, Z, out, cut, generator)
    parameters = dict(block.named_parameters())
    if parameters:
        (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum().backward()
    for name, parameter in parameters.items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def check_causal(
    block: torch.nn.Module,
    X: torch.Tensor,
    Z: Mapping[str, torch.Tensor],
    out: torch.Tensor,
    cut: int,
    generator: torch.Generator,
) -> None:
    """Assert that a random future, from `cut` on, changes nothing before it."""

    def replaced(value: torch.Tensor) -> torch.Tensor:
        future = torch.randn(value[:, cut:].shape, generator=generator, dtype=value.dtype)
        return torch.cat([value[:, :cut], 3 * future], 1)

    other = {name: replaced(value) for name, value in Z.items()}
    if "log_decay" in other:
        other["log_decay"] = -other["log_decay"].abs()
    with torch.no_grad():
        again, _ = block(replaced(X), **other)
    assert (again[:, :cut] - out[:, :cut]).abs().max() < 1e-9
    assert (again[:, cut:] - out[:, cut:]).abs().max() > 1e-9


def grown(interface: str, rng: random.Random, *, wrapper: bool = False) -> GABTree:
    """Return a tree under a unit of the grammar with random hyper-parameters."""
    grower = Grower(GrowthOptions(grammar_share=0.8, tune_share=1.0), rng)
    write = grammar.write_wrapper if wrapper else grammar.write_unit
    return grower.around(write(interface, rng), {}, 3)


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_written_units_run_causally_with_gradients(interface: str) -> None:
    rng = random.Random(interface)
    count = {"sequence_mixer": 40, "channel_mixer": 12, "block": 10}.get(interface, 8)
    for number in range(count):
        tree = grown(interface, rng, wrapper=number % 5 == 4)
        width, time = rng.choice([(16, 9), (32, 17), (48, 33), (80, 20)])
        try:
            check_block(tree, width, time, number)
        except AssertionError as error:
            raise AssertionError(
                f"width {width}, time {time}\n{tree.describe()}\n{error}"
            ) from error


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_written_units_take_one_position_and_keep_fp32(interface: str) -> None:
    rng = random.Random(interface)
    for _ in range(6):
        tree = grown(interface, rng)
        block = load_block(compose(tree))(32)
        X = torch.randn(2, 1, 32)
        Z = {name: value.float() for name, value in z_values(tree, 1, torch.Generator()).items()}
        out, _ = block(X, **Z)
        assert out.shape == X.shape
        assert out.dtype == torch.float32
        assert torch.isfinite(out).all()


def test_children_of_operators_run_causally_with_gradients() -> None:
    for number, seed in enumerate(library.seed_names() * 2):
        rng = random.Random(number)
        tree, other = library.seed(seed), library.seed("gpt")
        for _ in range(4):
            operator = rng.choice(list(OPERATORS.values()))
            parents = parents_of([tree, other][: operator.arity[0]])
            try:
                tree = operator(parents, OperatorContext(rng)).tree
            except OperatorNotApplicable:
                continue
        try:
            check_block(tree, 32, 19, number)
        except AssertionError as error:
            raise AssertionError(f"{tree.describe()}\n{error}") from error


# --- the helpers against plain recurrences --------------------------------------------------------


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


@pytest.mark.parametrize("time", [1, 2, 7, 16, 33])
def test_linear_scan_equals_the_recurrence(time: int) -> None:
    decay, value = torch.sigmoid(draw(2, time, 3)), draw(2, time, 3)
    state, expected = torch.zeros(2, 3).double(), []
    for t in range(time):
        state = decay[:, t] * state + value[:, t]
        expected.append(state)
    torch.testing.assert_close(helpers.linear_scan(decay, value), torch.stack(expected, 1))


@pytest.mark.parametrize("time", [1, 15, 16, 17, 50])
def test_channel_decayed_attention_equals_the_recurrence(time: int) -> None:
    q, k, v = draw(2, 3, time, 4), draw(2, 3, time, 4), draw(2, 3, time, 5)
    log_decay = -torch.sigmoid(draw(2, 3, time, 4))
    state, expected = torch.zeros(2, 3, 4, 5).double(), []
    for t in range(time):
        written = k[:, :, t, :, None] * v[:, :, t, None, :]
        state = log_decay[:, :, t, :, None].exp() * state + written
        expected.append((q[:, :, t, :, None] * state).sum(-2))
    out = helpers.channel_decayed_attention(q, k, v, log_decay)
    torch.testing.assert_close(out, torch.stack(expected, 2))


@pytest.mark.parametrize("time", [1, 2, 24])
def test_delta_rule_equals_the_recurrence(time: int) -> None:
    q, k, v = draw(2, 3, time, 4), draw(2, 3, time, 4), draw(2, 3, time, 4)
    k = torch.nn.functional.normalize(k, dim=-1)
    beta, log_decay = 2 * torch.sigmoid(draw(2, 3, time, 1)), -torch.sigmoid(draw(2, 3, time))
    state, expected = torch.zeros(2, 3, 4, 4).double(), []
    for t in range(time):
        state = log_decay[:, :, t, None, None].exp() * state
        recalled = (state @ k[:, :, t, :, None]).squeeze(-1)
        error = beta[:, :, t] * (v[:, :, t] - recalled)
        state = state + error[..., :, None] * k[:, :, t, None, :]
        expected.append((state @ q[:, :, t, :, None]).squeeze(-1))
    out = helpers.delta_rule(q, k, v, beta, helpers.decay_mask(log_decay))
    torch.testing.assert_close(out, torch.stack(expected, 2))


def test_toeplitz_convolves() -> None:
    kernel, x = draw(2, 6), draw(2, 6, 3)
    expected = torch.stack(
        [
            torch.stack(
                [(kernel[h, : t + 1].flip(0)[:, None] * x[h, : t + 1]).sum(0) for t in range(6)]
            )
            for h in range(2)
        ]
    )
    torch.testing.assert_close(helpers.toeplitz(kernel) @ x, expected)


def test_time_windows_and_shift_look_back_only() -> None:
    x = torch.arange(1.0, 5.0).reshape(1, 4, 1)
    windows = helpers.time_windows(x, 3)[0, :, 0].tolist()
    assert windows == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert helpers.shift(x, 2).flatten().tolist() == [0, 0, 1, 2]
    assert helpers.shift(x, 9).flatten().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("number", "limit", "expected"), [(12, 5, 4), (25, 4, 1), (7, 9, 7), (6, 0, 1)]
)
def test_largest_divisor(number: int, limit: int, expected: int) -> None:
    assert helpers.largest_divisor(number, limit) == expected
