"""The grammar of norms: what is subtracted, what it is divided by, what is learned."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join

GROUPS = Knob("groups", 4, (2, 4, 8), "groups of channels that are normalised on their own")
_CENTRES = (
    Fragment(forward="x = X"),
    Fragment(forward="x = X"),
    Fragment(
        word="Centred",
        doc="The mean over the channels is subtracted first.",
        forward="x = X - X.mean(-1, keepdim=True)",
    ),
    Fragment(
        word="PartlyCentred",
        doc="A learned share of the mean over the channels is subtracted first.",
        init="self.centre = nn.Parameter(torch.full((1,), 0.5, **kw))",
        forward="x = X - self.centre * X.mean(-1, keepdim=True)",
    ),
)
_SIZES = {
    "Rms": (
        "root mean square (Zhang & Sennrich 2019, arXiv 1910.07467)",
        "x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)",
    ),
    "Absolute": (
        "mean absolute value",
        "x = x / (x.abs().mean(-1, keepdim=True) + 1e-6)",
    ),
    "Maximum": (
        "largest absolute value, softened by half the root mean square",
        "size = x.abs().amax(-1, keepdim=True) + (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()"
        "\nx = 2 * x / size",
    ),
    "Quartic": (
        "fourth root of the mean fourth power",
        "x = x * (x.square().square().mean(-1, keepdim=True) + 1e-6).pow(-0.25)",
    ),
    "HalfPower": (
        "root mean square to the power 1/2, which keeps part of the length",
        "x = x * (x.square().mean(-1, keepdim=True) + 1e-6).pow(-0.25)",
    ),
}
_BOUNDS = {
    "DynamicTanh": ("tanh (Zhu et al. 2025, arXiv 2503.10622)", "torch.tanh(self.slope * x)"),
    "DynamicSoftsign": ("softsign", "F.softsign(self.slope * x)"),
    "DynamicRoot": ("x / sqrt(1 + x^2)", "self.slope * x * torch.rsqrt(1 + (self.slope * x) ** 2)"),
}


def norm(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a norm."""
    centre = rng.choice(_CENTRES)
    size = rng.choices((_divided, _grouped, _partial, _bounded, _powered), (4, 2, 1, 2, 1))[0](rng)
    body = Fragment(size.word, "", size.init, size.forward, size.knobs, (), size.helpers)
    title = Fragment(doc=size.doc)
    return join([title, centre, body, *_learned(rng), Fragment(word="Norm", forward="return x, Z")])


def _divided(rng: random.Random) -> Fragment:
    word = rng.choice(tuple(_SIZES))
    doc, code = _SIZES[word]
    return Fragment(word=word, doc=f"Divides each vector by its {doc}.", forward=code)


def _grouped(rng: random.Random) -> Fragment:
    word = rng.choice(tuple(_SIZES))
    doc, code = _SIZES[word]
    return Fragment(
        word=f"Grouped{word}",
        doc=f"Divides groups of channels, each by its {doc}.",
        knobs=(GROUPS,),
        init="self.groups = largest_divisor(d_model, groups)",
        forward=f"x = x.unflatten(-1, (self.groups, -1))\n{code}\nx = x.flatten(-2)",
        helpers=("largest_divisor",),
    )


def _partial(rng: random.Random) -> Fragment:
    return Fragment(
        word="PartialRms",
        doc="Divides each vector by the root mean square of its first quarter (pRMSNorm,"
        " arXiv 1910.07467).",
        forward="""
            size = x[..., : max(1, x.shape[-1] // 4)].square().mean(-1, keepdim=True)
            x = x * torch.rsqrt(size + 1e-3)
        """,
    )


def _bounded(rng: random.Random) -> Fragment:
    word = rng.choice(tuple(_BOUNDS))
    doc, code = _BOUNDS[word]
    return Fragment(
        word=word,
        doc=f"Bounds each channel by {doc} at a learned slope; no statistic is taken.",
        init="self.slope = nn.Parameter(torch.full((1,), 0.5, **kw))",
        forward=f"x = {code}",
    )


def _powered(rng: random.Random) -> Fragment:
    return Fragment(
        word="LearnedPower",
        doc="Divides each vector by a learned power of its root mean square.",
        init="self.power = nn.Parameter(torch.full((1,), 0.9, **kw))",
        forward="x = x * (x.square().mean(-1, keepdim=True) + 1e-6) ** (-0.5 * self.power)",
    )


def _learned(rng: random.Random) -> tuple[Fragment, Fragment]:
    """Return a gain and perhaps an offset."""
    channel = Fragment(
        init="self.gain = nn.Parameter(torch.ones(d_model, **kw))", forward="x = x * self.gain"
    )
    single = Fragment(
        word="Scalar",
        doc="One learned gain serves all channels.",
        init="self.gain = nn.Parameter(torch.ones(1, **kw))",
        forward="x = x * self.gain",
    )
    offset = Fragment(
        word="Offset",
        doc="A learned offset is added.",
        init="self.offset = nn.Parameter(torch.zeros(d_model, **kw))",
        forward="x = x + self.offset",
    )
    none = Fragment()
    return rng.choice((channel, channel, single)), rng.choice((none, none, offset))
