"""The grammar of local mixers: cheap causal mixing of a few positions, then a function."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.activations import choose_activation
from genesys_engine.operators.grammar.fragment import Fragment, Knob, join

KERNEL = Knob("kernel", 4, (2, 3, 4, 8), "positions that are mixed, the present one included")
DILATION = Knob("dilation", 2, (2, 4, 8), "step between the positions that are mixed")

_MIXERS = (
    Fragment(
        word="Depthwise",
        doc="Short causal convolution, one kernel per channel.",
        knobs=(KERNEL,),
        init="self.mix = nn.Conv1d(d_model, d_model, kernel, groups=d_model, **kw)",
        forward="y = causal_convolution(X, self.mix)",
        helpers=("causal_convolution",),
    ),
    Fragment(
        word="Dilated",
        doc="Causal convolution over spaced positions, one kernel per channel.",
        knobs=(KERNEL, DILATION),
        init="""
            self.dilation = dilation
            self.mix = nn.Conv1d(
                d_model, d_model, kernel, dilation=dilation, groups=d_model, **kw
            )
        """,
        forward="y = causal_convolution(X, self.mix, self.dilation)",
        helpers=("causal_convolution",),
    ),
    Fragment(
        word="Shift",
        doc="Each channel takes a learned share of the token before (RWKV, arXiv 2305.13048).",
        init="self.share = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward="y = X + self.share * (shift(X, 1) - X)",
        helpers=("shift",),
    ),
    Fragment(
        word="DynamicShift",
        doc="Each channel takes a share of the token before that the token sets"
        " (after RWKV-6, arXiv 2404.05892).",
        init="""
            self.reduce = nn.Linear(d_model, 16, bias=False, **kw)
            self.share = nn.Linear(16, d_model, bias=False, **kw)
        """,
        forward="y = X + torch.sigmoid(self.share(self.reduce(X))) * (shift(X, 1) - X)",
        helpers=("shift",),
    ),
    Fragment(
        word="Fading",
        doc="Weighted mean of the last positions, weights fading at a learned rate per channel.",
        knobs=(KERNEL,),
        init="""
            self.kernel = kernel
            self.decay = nn.Parameter(torch.linspace(-2, 2, d_model, **kw))
        """,
        forward="""
            lag = torch.arange(self.kernel - 1, -1, -1, dtype=X.dtype, device=X.device)
            weight = (-F.softplus(self.decay)[:, None] * lag).softmax(-1)
            y = (time_windows(X, self.kernel) * weight).sum(-1)
        """,
        helpers=("time_windows",),
    ),
    Fragment(
        word="Routed",
        doc="Weighted mean of the last positions, weights set by the token through a softmax.",
        knobs=(KERNEL,),
        init="""
            self.kernel = kernel
            self.route = nn.Linear(d_model, kernel, bias=False, **kw)
        """,
        forward="""
            weight = self.route(X).softmax(-1).unsqueeze(2)
            y = (time_windows(X, self.kernel) * weight).sum(-1)
        """,
        helpers=("time_windows",),
    ),
    Fragment(
        word="Difference",
        doc="The change since the token before, scaled per channel, is added to the token.",
        init="self.rate = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward="y = X + self.rate * (X - shift(X, 1))",
        helpers=("shift",),
    ),
    Fragment(
        word="Peak",
        doc="A learned share of the largest value among the last positions, per channel.",
        knobs=(KERNEL,),
        init="""
            self.kernel = kernel
            self.share = nn.Parameter(torch.full((d_model,), 0.5, **kw))
        """,
        forward="y = X + self.share * (time_windows(X, self.kernel).amax(-1) - X)",
        helpers=("time_windows",),
    ),
)
_NONE = Fragment()
_SKIP = Fragment(
    word="Skip",
    doc="The token itself is added, scaled per channel.",
    init="self.skip = nn.Parameter(torch.ones(d_model, **kw))",
    forward="y = y + self.skip * X",
)
_GATED = Fragment(
    word="Gated",
    doc="A sigmoid of the token, channel by channel, scales the result.",
    init="self.slope = nn.Parameter(torch.ones(d_model, **kw))",
    forward="y = y * torch.sigmoid(self.slope * X)",
)


def local_mixer(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a local mixer."""
    mixer = rng.choice(_MIXERS)
    word, code = choose_activation(rng, "y")
    function = Fragment(word=word, forward=f"y = {code}") if rng.random() < 0.5 else _NONE
    end = rng.choice((_NONE, _SKIP, _GATED))
    return join([mixer, function, end, Fragment(word="Local", forward="return y, Z")])
