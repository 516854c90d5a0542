"""The grammar of gates: what is projected, how, and through which function."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join

RANK = Knob("rank", 16, (8, 16, 32), "rank of the projection")
GROUPS = Knob("groups", 4, (2, 4, 8), "groups of channels")

_FUNCTIONS = {
    "Sigmoid": ("a sigmoid", "torch.sigmoid(u)"),
    "DoubleSigmoid": ("twice a sigmoid, 1 at rest", "2 * torch.sigmoid(u)"),
    "Silu": ("a SiLU", "F.silu(u)"),
    "Tanh": ("1 + tanh", "1 + torch.tanh(u)"),
    "Softplus": ("softplus", "F.softplus(u)"),
    "Elu": ("ELU + 1", "F.elu(u) + 1"),
    "Exponential": ("exp of a tanh, between 1/e and e", "torch.exp(torch.tanh(u))"),
    "SquaredRelu": ("a squared ReLU", "F.relu(u).square()"),
    "Softmax": ("a softmax over the channels, 1 on average", "u.softmax(-1) * u.shape[-1]"),
    "Linear": ("the projection itself", "u"),
}
_SOURCES = (
    Fragment(forward="x = X"),
    Fragment(forward="x = X"),
    Fragment(
        word="Normed",
        doc="The input's length is taken out first.",
        forward="x = F.rms_norm(X, X.shape[-1:], eps=1e-6)",
    ),
    Fragment(
        word="Magnitude",
        doc="The gate looks at squares: at how large a channel is, not at its sign.",
        forward="x = X.square() / (X.square().mean(-1, keepdim=True) + 1e-6)",
    ),
)
_PROJECTIONS = (
    Fragment(
        init="self.project = nn.Linear(d_model, d_model, bias=False, **kw)",
        forward="u = self.project(x)",
    ),
    Fragment(
        word="LowRank",
        doc="The projection has a low rank.",
        knobs=(RANK,),
        init="""
            self.reduce = nn.Linear(d_model, rank, bias=False, **kw)
            self.project = nn.Linear(rank, d_model, bias=False, **kw)
        """,
        forward="u = self.project(self.reduce(x))",
    ),
    Fragment(
        word="Diagonal",
        doc="Each channel gates itself.",
        init="self.scale = nn.Parameter(torch.ones(d_model, **kw))",
        forward="u = self.scale * x",
    ),
    Fragment(
        word="Shared",
        doc="All channels of a group share one gate.",
        knobs=(GROUPS,),
        init="""
            self.groups = largest_divisor(d_model, groups)
            self.project = nn.Linear(d_model, self.groups, bias=False, **kw)
        """,
        forward="u = self.project(x).repeat_interleave(x.shape[-1] // self.groups, -1)",
        helpers=("largest_divisor",),
    ),
)
_OFFSETS = (
    Fragment(),
    Fragment(
        word="Offset",
        doc="A learned offset sets where each channel rests.",
        init="self.offset = nn.Parameter(torch.ones(d_model, **kw))",
        forward="u = u + self.offset",
    ),
)


def gate(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a gate."""
    word = rng.choice(tuple(_FUNCTIONS))
    doc, code = _FUNCTIONS[word]
    title = Fragment(word=word, doc=f"Gate whose values are {doc} of a projection of the input.")
    parts = [title, rng.choice(_SOURCES), rng.choice(_PROJECTIONS), rng.choice(_OFFSETS)]
    return join([*parts, Fragment(word="Gate", forward=f"return {code}, Z")])
