"""The grammar of inner recurrences: values in X, `queries`, `keys`, `log_decay` in Z.

Shapes: X (N, T, d_model), queries and keys (N, T, K), log_decay (N, T, 1) or (N, T, K), never
positive; several channels of decay are averaged to one.
"""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, join

INPUTS = ("queries", "keys", "log_decay")

_FADES = (
    Fragment(forward='fade = Z["log_decay"].mean(-1)'),
    Fragment(
        word="Tempered",
        doc="The decay is raised to a learned power.",
        init="self.power = nn.Parameter(torch.zeros(1, **kw))",
        forward='fade = Z["log_decay"].mean(-1) * 2 * torch.sigmoid(self.power)',
    ),
    Fragment(
        word="Floored",
        doc="A step forgets at most a learned share, whatever the decay.",
        init="self.floor = nn.Parameter(torch.zeros(1, **kw))",
        forward="""
            limit = torch.exp(self.floor)
            fade = limit * torch.tanh(Z["log_decay"].mean(-1) / limit)
        """,
    ),
)
_SCORES = {
    "Linear": "scores = q @ k.mT",
    "Unit": "scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT",
    "Squared": "scores = (q @ k.mT).square() / q.shape[-1]",
    "Positive": "scores = (F.elu(q) + 1) @ (F.elu(k) + 1).mT",
    "Exponential": "scores = torch.exp(8 * torch.tanh(q @ k.mT / (8 * q.shape[-1] ** 0.5)))",
}
_SUMMABLE = ("Squared", "Positive", "Exponential")
_READS = (
    Fragment(),
    Fragment(),
    Fragment(
        word="Skip",
        doc="The present value is added, scaled per channel.",
        init="self.skip = nn.Parameter(torch.ones(d_model, **kw))",
        forward="y = y + self.skip * X",
    ),
    Fragment(
        word="Bounded",
        doc="What is read is bounded by a tanh.",
        init="self.bound = nn.Parameter(torch.full((1,), 4.0, **kw))",
        forward="y = self.bound * torch.tanh(y / self.bound)",
    ),
)


def recurrence(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of an inner recurrence."""
    word = rng.choice(tuple(_SCORES))
    summed = word in _SUMMABLE and rng.random() < 0.5
    title = Fragment(
        doc="Recurrent memory of keys and values that fades, in the form of masked attention.\n"
        "Reads queries and keys (N, T, K) and log_decay (N, T, 1 or K) from Z; X are the values."
    )
    scores = Fragment(
        word=word + ("Average" if summed else ""),
        doc="The read-out is divided by the sum of its weights." if summed else "",
        forward=_read(word, summed),
        helpers=("decay_mask",),
    )
    parts = [title, rng.choice(_FADES), scores, rng.choice(_READS)]
    return join([*parts, Fragment(word="Recurrence", forward="return y, Z")])


def _read(word: str, summed: bool) -> str:
    """Return the code that reads the memory."""
    read = "y = weight @ X"
    if summed:
        read = "y = weight @ X / (weight.sum(-1, keepdim=True) + 1e-6)"
    take = 'q, k = Z["queries"], Z["keys"]'
    return "\n".join((take, _SCORES[word], "weight = scores * decay_mask(fade)", read))
