"""TTT-Linear in its dual form equals gradient descent by autograd, token by token."""

import pytest
import torch
import torch.nn.functional as F
from seed_support import draw, largest_difference, make, randomise
from test_seed_gpt import turned


def inner_model(x, weight, bias, gain, offset):
    return x + F.layer_norm(x @ weight + bias, x.shape[-1:], gain, offset, eps=1e-6)


def one_head(q, k, v, eta, rate, weight, bias, gain, offset, mini_batch):
    """Read every token of one sequence (T, D) after the inner step on it."""
    start, results = (weight, bias), []
    for t in range(q.shape[0]):
        if t % mini_batch == 0:
            start = (weight, bias)
            total = [torch.zeros_like(weight), torch.zeros_like(bias)]
        leaves = [p.detach().requires_grad_() for p in start]
        loss = 0.5 * (inner_model(k[t], *leaves, gain, offset) - v[t]).square().sum()
        for kind, gradient in enumerate(torch.autograd.grad(loss, leaves)):
            total[kind] = total[kind] + eta[t] * gradient
        step = rate[t % mini_batch]
        weight, bias = start[0] - step * total[0], start[1] - step * total[1]
        results.append(inner_model(q[t], weight, bias, gain, offset))
    return torch.stack(results)


def step_by_step(unit, x, width=16):
    length, mini_batch = x.shape[1], unit.mini_batch
    q, k, v = (part.unflatten(-1, (-1, width)) for part in (x @ unit.qkv.weight.T).chunk(3, -1))
    eta = torch.sigmoid(x @ unit.eta.weight.T + unit.eta.bias) / width
    count = torch.arange(1, mini_batch + 1, dtype=x.dtype)
    rate = (1 / count + unit.rate_offset).clamp(min=0)
    rows = []
    for b in range(x.shape[0]):
        joined = []
        for h in range(q.shape[2]):
            placed = [
                torch.cat([turned(piece[None])[0] for piece in part[b, :, h].split(mini_batch)])
                for part in (q, k)
            ]
            inner = (unit.inner_weight, unit.inner_bias, unit.norm_weight, unit.norm_bias)
            start = (inner[0][h], *(part[h, 0] for part in inner[1:]))
            joined.append(one_head(*placed, v[b, :, h], eta[b, :, h], rate, *start, mini_batch))
        rows.append(torch.cat(joined, -1))
    y = torch.stack(rows)
    assert y.shape[1] == length
    norm = unit.out_norm
    return F.layer_norm(y, y.shape[-1:], norm.weight, norm.bias, 1e-5) @ unit.out.weight.T


@pytest.mark.parametrize(("length", "mini_batch"), [(1, 8), (7, 8), (8, 8), (9, 8), (37, 16)])
@torch.no_grad()
def test_dual_form_equals_descent_token_by_token(length, mini_batch):
    hyper = {"head_dim": 16, "mini_batch": mini_batch}
    unit = randomise(make("ttt_linear", 32, hyper=hyper))
    x = draw(2, length, 32)
    with torch.enable_grad():
        expected = step_by_step(unit, x).detach()
    assert largest_difference(unit(x)[0], expected) < 1e-8


@torch.no_grad()
def test_the_inner_model_learns():
    """Shown the same 16 pairs again and again, it comes to turn each key into its value."""
    unit = make("ttt_linear", 32, hyper={"head_dim": 16})
    k, v = (draw(1, 1, 2, 16, 16, seed=seed).repeat(100, 1, 1, 1, 1) for seed in (1, 2))
    rate = torch.full(k.shape[:-1], 1 / 16, dtype=k.dtype)
    read = k + unit._norm(unit._descend(k, k, v, rate))
    loss = (read - v).square().mean((1, 2, 3, 4))
    untaught = (k[0] + unit._norm(k[0] @ unit.inner_weight) - v[0]).square().mean()
    assert float(loss[-1]) < 0.8 * float(loss[0]) < 0.4 * float(untaught)
