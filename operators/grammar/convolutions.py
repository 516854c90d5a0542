"""Sequence cores that convolve over time: dilated stacks, long kernels, dynamic kernels."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob, join, lines

LAYERS = Knob("layers", 3, (2, 3, 4), "convolutions in the stack; the i-th has dilation 2^i")
KERNEL = Knob("kernel", 3, (2, 3, 4), "taps of each convolution")
TAPS = Knob("taps", 8, (4, 8, 16), "positions that a kernel covers")
MODES = Knob("modes", 4, (2, 4, 8), "terms that a kernel is a sum of")
HEADS_KNOB = Knob("heads", 8, (4, 8, 16), "kernels; each serves a group of channels")
_GROUPS = "self.heads = largest_divisor(d_model, heads)"
_VALUE = "self.value = nn.Linear(d_model, d_model, bias=False, **kw)"

_STACK = """
    self.stack = nn.ModuleList(
        nn.Conv1d(d_model, {}, kernel, dilation=2**i, groups=d_model, **kw)
        for i in range(layers)
    )
"""
_STEPS = {
    "Residual": ("each adds its SiLU to the stream", 1, "y = y + F.silu(u)"),
    "Glu": (
        "each is a gated linear unit (arXiv 1612.08083)",
        2,
        "y = y + u.chunk(2, -1)[0] * torch.sigmoid(u.chunk(2, -1)[1])",
    ),
    "Wavenet": (
        "each is gated as in WaveNet (arXiv 1609.03499)",
        2,
        "y = y + torch.tanh(u.chunk(2, -1)[0]) * torch.sigmoid(u.chunk(2, -1)[1])",
    ),
}


def dilated_convolutions(rng: random.Random, leaf: bool) -> Fragment:
    """Return a stack of dilated depthwise convolutions: kind of step, project first or not."""
    word = rng.choice(tuple(_STEPS))
    doc, factor, step = _STEPS[word]
    wide = "d_model" if factor == 1 else f"{factor} * d_model"
    project = rng.random() < 0.5
    return Fragment(
        word=("Projected" if project else "") + f"{word}Dilated",
        doc=f"Stack of dilated causal depthwise convolutions; {doc}.",
        knobs=(LAYERS, KERNEL),
        init=lines(_VALUE if project else "", _STACK.format(wide)),
        forward=f"""
            y = {"self.value(x)" if project else "x"}
            for i, convolution in enumerate(self.stack):
                u = causal_convolution(y, convolution, 2**i)
                {step}
        """,
        helpers=("causal_convolution",),
    )


_KERNELS = {
    "Exponential": (
        "a sum of decaying exponentials",
        "rate = torch.linspace(-6, 1, modes, **kw)",
        "basis = torch.exp(-F.softplus(self.rate)[..., None] * lag)",
    ),
    "Damped": (
        "a sum of damped cosines",
        "rate = torch.linspace(-6, 0, modes, **kw)\n"
        "self.frequency = nn.Parameter(torch.linspace(0.01, 1.5, modes, **kw)"
        ".repeat(self.heads, 1))",
        "decay = torch.exp(-F.softplus(self.rate)[..., None] * lag)\n"
        "basis = decay * torch.cos(self.frequency[..., None] * lag)",
    ),
    "PowerLaw": (
        "a sum of power laws",
        "rate = torch.linspace(-3, 1, modes, **kw)",
        "basis = torch.exp(-F.softplus(self.rate)[..., None] * torch.log1p(lag))",
    ),
    "Bump": (
        "a sum of bumps, evenly spread over the logarithm of the lag",
        "rate = torch.linspace(0, 6, modes, **kw)",
        "basis = torch.exp(-(torch.log1p(lag) - self.rate[..., None]).square())",
    ),
}


def long_convolution(rng: random.Random, leaf: bool) -> Fragment:
    """Return a convolution over the whole past: form of the kernel, multiplied inputs."""
    word = rng.choice(tuple(_KERNELS))
    doc, rate, basis = _KERNELS[word]
    gates = rng.choice(((1, "", "y = u"), (2, "Gated", "y = a * u"), (3, "Hyena", "y = a * u")))
    count, prefix, end = gates
    source = _SOURCES[count]
    kernel = Fragment(
        word=f"{prefix}{word}LongConvolution",
        doc="Causal convolution over the whole past, one kernel per group of channels.\n"
        f"A kernel is {doc}." + (_GATED_DOC[count]),
        knobs=(MODES, HEADS_KNOB),
        init=lines(
            _GROUPS, f"self.value = nn.Linear(d_model, {count} * d_model, bias=False, **kw)"
        ),
        forward=source,
        helpers=("largest_divisor", "split_heads", "merge_heads", "toeplitz"),
    )
    shape = Fragment(
        init=lines(
            rate,
            "self.rate = nn.Parameter(rate.repeat(self.heads, 1))",
            "self.weight = nn.Parameter(torch.ones(self.heads, modes, **kw) / modes)",
        ),
        forward=lines(
            "lag = torch.arange(x.shape[1], dtype=v.dtype, device=v.device)",
            basis,
            "kernel = (self.weight[..., None] * basis).sum(-2)",
            "u = merge_heads(toeplitz(kernel) @ split_heads(v, self.heads))",
            end,
        ),
    )
    return kernel + shape


_SOURCES = {
    1: "v = self.value(x)",
    2: "a, v = self.value(x).chunk(2, -1)",
    3: "a, b, v = self.value(x).chunk(3, -1)\nv = b * v",
}
_GATED_DOC = {
    1: "",
    2: " Its result is multiplied by a projection of the token.",
    3: " The input and the result are multiplied by projections of their tokens"
    " (Hyena, Poli et al. 2023, arXiv 2302.10866).",
}


def dynamic_convolution(rng: random.Random, leaf: bool) -> Fragment:
    """Return a short convolution whose taps the token sets: how the taps are normalised."""
    word, doc, taps = rng.choice(
        (
            ("Softmax", "positive and sum to one", "taps.softmax(-1)"),
            ("Tanh", "bounded by one", "torch.tanh(taps)"),
            ("Free", "unbounded", "taps * self.scale"),
        )
    )
    scale = "self.scale = nn.Parameter(torch.full((taps,), taps**-0.5, **kw))"
    title = Fragment(
        word=f"{word}DynamicConvolution",
        doc="Causal convolution whose taps are set by the token (Wu et al. 2019, arXiv 1901.10430)."
        f"\nTaps are {doc} and shared within a group of channels.",
        knobs=(TAPS, HEADS_KNOB),
        helpers=("largest_divisor", "time_windows"),
    )
    code = Fragment(
        init=lines(
            _GROUPS,
            _VALUE,
            "self.kernel = nn.Linear(d_model, self.heads * taps, bias=False, **kw)",
            "self.reach = taps",
            scale if word == "Free" else "",
        ),
        forward=f"""
            taps = self.kernel(x).unflatten(-1, (self.heads, 1, self.reach))
            past = time_windows(self.value(x), self.reach).unflatten(2, (self.heads, -1))
            y = (past * {taps}).sum(-1).flatten(2)
        """,
    )
    return join([title, code])


def head_convolution(rng: random.Random, leaf: bool) -> Fragment:
    """Return a grouped causal convolution that mixes the channels of a group too."""
    twice = rng.random() < 0.5
    body = Fragment(
        word="Grouped" + ("Double" if twice else "") + "Convolution",
        doc="Causal convolution that mixes time and the channels of a group in one step.",
        knobs=(TAPS, HEADS_KNOB),
        init=lines(
            _GROUPS, "self.first = nn.Conv1d(d_model, d_model, taps, groups=self.heads, **kw)"
        ),
        forward="y = causal_convolution(x, self.first)",
        helpers=("largest_divisor", "causal_convolution"),
    )
    if not twice:
        return body
    return body + Fragment(
        doc="A second one, after a SiLU, doubles the reach.",
        init="self.second = nn.Conv1d(d_model, d_model, taps, groups=self.heads, **kw)",
        forward="y = causal_convolution(F.silu(y), self.second)",
    )
