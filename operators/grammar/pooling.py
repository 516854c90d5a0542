"""Sequence cores that pool the past: averages, soft maxima, attention-free mixing, shifts."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, Knob

SHIFTS = Knob("shifts", 6, (4, 6, 8), "shifts 0, 1, 2, 4, ... that are mixed")
SCALES = Knob("scales", 4, (2, 4, 8), "time scales of the averages")
_VALUE = "self.value = nn.Linear(d_model, d_model, bias=False, **kw)"


def cumulative_pool(rng: random.Random, leaf: bool) -> Fragment:
    """Return a pool over the whole past: mean, soft maximum, or root mean square."""
    word, doc, code = rng.choice(
        (
            (
                "Mean",
                "the mean",
                "y = self.value(x).cumsum(1) / count",
            ),
            (
                "SoftMaximum",
                "a soft maximum (log-sum-exp)",
                "y = torch.logcumsumexp(self.value(x), 1) - count.log()",
            ),
            (
                "Energy",
                "the root mean square",
                "y = (self.value(x).square().cumsum(1) / count + 1e-6).sqrt()",
            ),
        )
    )
    pool = Fragment(
        word=f"{word}Pool",
        doc=f"Pools the whole past of each channel to {doc}.",
        init=_VALUE,
        forward=f"""
            count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)[:, None]
            {code}
        """,
    )
    contrast = Fragment(
        word="Contrast",
        doc="The token is compared with its past: the pool is subtracted.",
        forward="y = self.value(x) - y",
    )
    return pool + contrast if rng.random() < 0.5 else pool


def attention_free(rng: random.Random, leaf: bool) -> Fragment:
    """Return attention-free mixing: with or without a decay, with or without a bonus."""
    decays, bonus = rng.random() < 0.6, rng.random() < 0.5
    body = Fragment(
        word=("Decayed" if decays else "") + ("Bonus" if bonus else "") + "AttentionFree",
        doc="Averages values with one learned positive weight per channel and token"
        " (AFT, Zhai et al. 2021, arXiv 2105.14103).",
        init="self.key_value = nn.Linear(d_model, 2 * d_model, bias=False, **kw)",
        forward="""
            k, v = self.key_value(x).chunk(2, -1)
            weight = torch.exp(8 * torch.tanh(k / 8))
        """,
        helpers=("linear_scan",),
    )
    fade = Fragment(
        doc="Weights fade at a learned rate per channel.",
        init="self.decay = nn.Parameter(torch.linspace(-6, 1, d_model, **kw))",
        forward="""
            kept = torch.exp(-F.softplus(self.decay)).expand_as(v)
            top, bottom = linear_scan(kept, weight * v), linear_scan(kept, weight)
        """,
    )
    total = Fragment(forward="top, bottom = (weight * v).cumsum(1), weight.cumsum(1)")
    extra = Fragment(
        doc="The present token has an extra weight of its own (RWKV-4, arXiv 2305.13048).",
        init="self.bonus = nn.Parameter(torch.zeros(d_model, **kw))",
        forward="""
            present = weight * torch.exp(self.bonus)
            top, bottom = top + present * v, bottom + present
        """,
    )
    end = Fragment(forward="y = top / bottom")
    return body + (fade if decays else total) + (extra if bonus else Fragment()) + end


def multi_shift(rng: random.Random, leaf: bool) -> Fragment:
    """Return a mix of copies shifted by 0, 1, 2, 4, ...: fixed or token-set weights."""
    if rng.random() < 0.5:
        word, init = "Static", "torch.ones(shifts, d_model, **kw) / shifts"
        code = f"self.weight = nn.Parameter({init})"
        mix = "y = (past * self.weight).sum(2)"
        doc = "learned per channel"
    else:
        word = "Routed"
        code = "self.weight = nn.Linear(d_model, shifts, bias=False, **kw)"
        mix = "y = (past * self.weight(x).softmax(-1).unsqueeze(-1)).sum(2)"
        doc = "set by the token through a softmax"
    return Fragment(
        word=f"{word}MultiShift",
        doc=f"Mixes copies of the past shifted by 0, 1, 2, 4, ... with weights {doc}.",
        knobs=(SHIFTS,),
        init=f"{_VALUE}\n{code}\nself.steps = [0] + [2**i for i in range(shifts - 1)]",
        forward=f"""
            v = self.value(x)
            past = torch.stack([shift(v, step) for step in self.steps], 2)
            {mix}
        """,
        helpers=("shift",),
    )


def timescales(rng: random.Random, leaf: bool) -> Fragment:
    """Return moving averages at several time scales, mixed per token or compared."""
    word, doc, mix = rng.choice(
        (
            ("Routed", "mixed by a softmax that the token sets", "self.route(x).softmax(-1)"),
            ("Signed", "mixed by a tanh that the token sets", "torch.tanh(self.route(x))"),
            ("Gated", "gated by sigmoids that the token sets", "torch.sigmoid(self.route(x))"),
        )
    )
    band = rng.random() < 0.5
    difference = "h = torch.cat([h[..., :1, :], h.diff(dim=2)], 2)" if band else ""
    return Fragment(
        word=("Band" if band else "") + f"{word}Timescales",
        doc=f"Exponential moving averages at several learned time scales, {doc}."
        + ("\nNeighbouring averages are subtracted: each is a frequency band." if band else ""),
        knobs=(SCALES,),
        init=f"""
            {_VALUE}
            self.route = nn.Linear(d_model, scales, bias=False, **kw)
            self.decay = nn.Parameter(torch.linspace(-1, 5, scales, **kw))
        """,
        forward=f"""
            kept = torch.sigmoid(self.decay)[:, None].expand(*x.shape[:2], -1, x.shape[2])
            h = linear_scan(kept, (1 - kept) * self.value(x).unsqueeze(2))
            {difference}
            y = (h * {mix}.unsqueeze(-1)).sum(2)
        """,
        helpers=("linear_scan",),
    )
