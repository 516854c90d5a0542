"""The grammar of positional transforms of queries and keys, (B * H, T, head_dim)."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join

BASE = Knob("base", 10000.0, (100.0, 1000.0, 10000.0, 100000.0), "ratio of slowest to fastest turn")
PART = Knob("part", 0.5, (0.25, 0.5, 0.75), "share of the planes that turn")

_FREQUENCIES = {
    "": Fragment(
        doc="Turns pairs of channels by an angle (rotary position, arXiv 2104.09864).",
        knobs=(BASE,),
        init="self.base = base",
        forward="""
            plane = torch.arange(half, dtype=X.dtype, device=X.device)
            frequency = self.base ** (-plane / half)
        """,
    ),
    "Learned": Fragment(
        word="Learned",
        doc="Turns pairs of channels by an angle whose frequencies are learned.",
        init="self.rate = nn.Parameter(torch.linspace(0, -7, max(1, d_model // 2), **kw))",
        forward="frequency = self.rate.exp()",
    ),
    "Partial": Fragment(
        word="Partial",
        doc="Turns some pairs of channels by an angle and leaves the others without position.",
        knobs=(BASE, PART),
        init="self.base, self.part = base, part",
        forward="""
            plane = torch.arange(half, dtype=X.dtype, device=X.device)
            turning = max(1.0, self.part * half)
            frequency = torch.where(plane < turning, self.base ** (-plane / turning), 0.0)
        """,
    ),
}
_ANGLES = {
    "": Fragment(
        doc="The angle grows with time.",
        forward="angle = time[:, None] * frequency",
    ),
    "Logarithmic": Fragment(
        word="Logarithmic",
        doc="The angle grows with the logarithm of time: far positions are told apart coarsely.",
        forward="angle = 8 * torch.log1p(time)[:, None] * frequency",
    ),
    "Selective": Fragment(
        word="Selective",
        doc="Each token decides how far the angle moves on.",
        init="self.advance = nn.Linear(d_model, 1, bias=False, **kw)",
        forward="""
            clock = (2 * torch.sigmoid(self.advance(X))).cumsum(1)
            angle = clock * frequency
        """,
    ),
    "Root": Fragment(
        word="Root",
        doc="The angle grows with the square root of time.",
        forward="angle = 4 * time.sqrt()[:, None] * frequency",
    ),
}
_LAYOUTS = (
    Fragment(
        forward="""
            first, second = X[..., :half], X[..., half : 2 * half]
            turned = (first * cos - second * sin, second * cos + first * sin, X[..., 2 * half :])
            y = torch.cat(turned, -1)
        """,
    ),
    Fragment(
        word="Interleaved",
        doc="A plane is two neighbouring channels.",
        forward="""
            first, second = X[..., 0 : 2 * half : 2], X[..., 1 : 2 * half : 2]
            turned = torch.stack([first * cos - second * sin, second * cos + first * sin], -1)
            y = torch.cat([turned.flatten(-2), X[..., 2 * half :]], -1)
        """,
    ),
)
_LENGTHS = (
    Fragment(),
    Fragment(
        word="Scaled",
        doc="Vectors grow with the logarithm of time, which keeps long attention sharp.",
        init="self.growth = nn.Parameter(torch.full((1,), 0.1, **kw))",
        forward="y = y * (1 + self.growth * torch.log1p(time)[:, None])",
    ),
    Fragment(
        word="Weighted",
        doc="Each channel has a learned weight in the scores.",
        init="self.weight = nn.Parameter(torch.ones(d_model, **kw))",
        forward="y = y * self.weight",
    ),
)
_START = Fragment(
    forward="""
        half = X.shape[-1] // 2
        time = torch.arange(X.shape[1], dtype=X.dtype, device=X.device)
    """
)


def position(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a positional transform."""
    frequency = rng.choice(tuple(_FREQUENCIES.values()))
    turn = Fragment(forward="cos, sin = angle.cos(), angle.sin()")
    parts = [_START, frequency, rng.choice(tuple(_ANGLES.values())), turn]
    parts += [rng.choice(_LAYOUTS), rng.choice(_LENGTHS)]
    return join([*parts, Fragment(word="Rotation", forward="return y, Z")])
