"""The chunked linear recurrences equal a plain loop over time, and survive extreme decays."""

import pytest
import torch
from seed_support import draw, largest_difference, make

RECURRENCES = ("scalar_decay_recurrence", "channel_decay_recurrence")
LENGTHS = (1, 2, 3, 5, 8, 9, 16, 17, 31, 32, 33, 64, 67, 97)


def step_by_step(values, queries, keys, log_decay):
    state = torch.zeros(values.shape[0], keys.shape[-1], values.shape[-1], dtype=values.dtype)
    results = []
    for t in range(values.shape[1]):
        state = log_decay[:, t].exp().unsqueeze(-1) * state
        state = state + keys[:, t].unsqueeze(-1) * values[:, t].unsqueeze(-2)
        results.append(torch.einsum("nk,nkv->nv", queries[:, t], state))
    return torch.stack(results, dim=1)


def inputs(length, dtype=torch.float64, channels=8):
    q, k = (draw(3, length, 8, seed=s, dtype=dtype) for s in (1, 2))
    v = draw(3, length, 6, seed=3, dtype=dtype)
    return v, q, k, -(draw(3, length, channels, seed=4, dtype=dtype) * 1.5).exp()


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", RECURRENCES)
def test_chunks_equal_a_loop_over_steps(name, length):
    v, q, k, decay = inputs(length, channels=1 if name.startswith("scalar") else 8)
    expected = step_by_step(v, q, k, decay)
    for chunk in (8, 32):
        unit = make(name, 6, hyper={"chunk": chunk})
        result, _ = unit(v, queries=q, keys=k, log_decay=decay)
        assert largest_difference(result, expected) < 1e-8


def test_the_two_agree_where_all_channels_decay_alike():
    v, q, k, decay = inputs(45, channels=1)
    z = {"queries": q, "keys": k, "log_decay": decay}
    scalar, _ = make(RECURRENCES[0], 6)(v, **z)
    channel, _ = make(RECURRENCES[1], 6)(v, **z)
    assert largest_difference(scalar, channel) < 1e-8


@pytest.mark.parametrize("strength", [0.0, 1e-6, 5.0, 29.0, 1e4, 1e30])
@pytest.mark.parametrize("name", RECURRENCES)
def test_any_decay_is_finite_and_exact_in_single_precision(name, strength):
    """Strong decays beside weak ones: the weak must keep their digits."""
    v, q, k, decay = inputs(70, dtype=torch.float32, channels=1)
    decay = torch.where(torch.rand(decay.shape, generator=torch.Generator().manual_seed(5)) < 0.3,
                        torch.tensor(-strength), decay * 0.1)  # fmt: skip
    for tensor in (v, q, k, decay):
        tensor.requires_grad_()
    result, _ = make(name, 6, dtype=torch.float32)(v, queries=q, keys=k, log_decay=decay)
    expected = step_by_step(*(tensor.double() for tensor in (v, q, k, decay)))
    assert largest_difference(result.double(), expected) < 2e-3 * float(
        expected.detach().abs().max()
    )
    result.square().sum().backward()
    assert all(bool(torch.isfinite(tensor.grad).all()) for tensor in (v, q, k, decay))
