"""Muon for matrices and AdamW for the rest, as one optimiser.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers") replaces the momentum of a matrix
by the nearest orthogonal matrix, so that all of its directions learn at one speed; row norms are
then balanced by a running second moment (NorMuon: Li et al. 2025, arXiv 2510.05491).  AdamW is
Loshchilov & Hutter 2019, arXiv 1711.05101.

`torch.optim.Muon` is not used: it computes in bfloat16, which a processor without such units
emulates at several times the cost, takes one matrix after the other where small models have dozens
of one shape, and takes no stacks of matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

Shape = tuple[int, int, int]

# Coefficients of the quintic iteration, and how often it is applied: singular values end between
# 0.7 and 1.2, which is as good as 1 for an optimiser (Jordan et al. 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
_TINY = 1e-7


class MuonAdamW(torch.optim.Optimizer):
    """One optimiser over groups of two kinds.

    A group with `shapes` holds matrices, read as (stack, rows, columns): Muon takes it.  AdamW
    takes the others.  A weight without a gradient in a step counts as one whose gradient is zero
    in the first kind, and stays as it is in the second.

    Args:
        groups: each with `params`, `lr`, `weight_decay`, and `shapes` or `betas`.
        momentum: of Muon (Nesterov's form).
        row_decay: decay rate of the second moment of a row's update.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], *, momentum: float = 0.95, row_decay: float = 0.95
    ) -> None:
        defaults = {"shapes": None, "betas": (0.9, 0.95), "momentum": momentum}
        super().__init__(groups, {**defaults, "row_decay": row_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; `closure`, where given, computes the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["shapes"] is None:
                self._adamw(group)
            else:
                self._muon(group)
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        """Step the matrices; those of one shape together, since a small one costs as much alone."""
        alike: dict[tuple[int, int], list[tuple[Tensor, Shape]]] = {}
        for weight, shape in zip(group["params"], group["shapes"], strict=True):
            alike.setdefault(shape[1:], []).append((weight, shape))
        for (rows, columns), members in alike.items():
            weights = [weight for weight, _ in members]
            gradient = torch.cat([_gradient(weight).reshape(shape) for weight, shape in members])
            update = self._direction(group, weights[0], gradient)
            size = group["lr"] * max(1.0, rows / columns) ** 0.5
            parts = torch.split(update, [shape[0] for _, shape in members])
            updates = [part.reshape(w.shape) for part, w in zip(parts, weights, strict=True)]
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, updates, alpha=-size)

    def _direction(self, group: dict[str, Any], key: Tensor, gradient: Tensor) -> Tensor:
        """Return the orthogonal update (stack, rows, columns), its rows balanced.

        The state of all matrices of a shape lies with the first of them, `key`.
        """
        state = self.state[key]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
            state["row_moment"] = torch.zeros_like(gradient[..., :1])
            state["step"] = torch.zeros((), dtype=torch.float32)
        state["step"] += 1
        momentum, moment = state["momentum"], state["row_moment"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = orthogonalised(gradient.lerp(momentum, group["momentum"]))
        length = update.norm(dim=(-2, -1), keepdim=True)
        moment.lerp_(update.square().mean(-1, keepdim=True), 1 - group["row_decay"])
        unbiased = moment / (1 - group["row_decay"] ** float(state["step"]))
        update = update * unbiased.clamp_min(_TINY).rsqrt()
        balanced: Tensor = update * (
            length / update.norm(dim=(-2, -1), keepdim=True).clamp_min(_TINY)
        )
        return balanced

    def _adamw(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
                state["exp_avg"] = torch.zeros_like(weight)
                state["exp_avg_sq"] = torch.zeros_like(weight)
        states = [self.state[weight] for weight in weights]
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=not any(weight.is_complex() for weight in weights),  # has no complex kernel
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonalised(matrices: Tensor, steps: int = NEWTON_SCHULZ_STEPS) -> Tensor:
    """Return about U V^T of each matrix U S V^T in (stack, rows, columns).

    Newton-Schulz iteration in the matrices' own precision on a processor, in bfloat16 on a GPU.
    A matrix of zeros stays one.
    """
    wide = matrices.shape[-2] > matrices.shape[-1]
    X = matrices.mT if wide else matrices  # the smaller side first: (stack, small, large)
    if X.is_cuda:
        X = X.bfloat16()
    X = X / X.norm(dim=(-2, -1), keepdim=True).clamp_min(_TINY)
    a, b, c = _QUINTIC
    for _ in range(steps):
        gram = X @ X.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        X = torch.baddbmm(X, polynomial, X, beta=a)
    return (X.mT if wide else X).to(matrices.dtype)


def _gradient(weight: Tensor) -> Tensor:
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
