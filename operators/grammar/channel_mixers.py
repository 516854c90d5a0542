"""The grammar of channel mixers: shift, projections, hidden function, norm, gate, output."""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.activations import choose_activation
from genesys_engine.operators.grammar.fragment import Fragment, Knob, SlotDraft, join

EXPAND = Knob("expand", 2.667, (1.0, 2.0, 2.667, 4.0), "hidden width in multiples of d_model")
RANK = Knob("rank", 4, (2, 4, 8), "d_model divided by the rank of a factorised projection")
GROUPS = Knob("groups", 4, (2, 4, 8), "blocks of a block-diagonal projection")
EXPERTS = Knob("experts", 4, (2, 4, 8), "groups of hidden channels that a router weighs")

_HIDDEN = Fragment(
    knobs=(EXPAND,),
    init="hidden = 16 * max(1, round(expand * d_model / 16))",
)
_SHIFTS = (
    Fragment(),
    Fragment(),
    Fragment(
        word="Shifted",
        doc="First each channel takes a learned share of the token before (RWKV, 2305.13048).",
        init="self.share = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward="x = x + self.share * (shift(x, 1) - x)",
        helpers=("shift",),
    ),
)
_LOCAL_SLOT = Fragment(
    word="Local",
    slots=(SlotDraft("local", "local_mixer", "close past that is added to what is projected"),),
    init="self.local = local(d_model)",
    forward="""
        near, Z = self.local(x, **Z)
        x = x + near
    """,
)


def channel_mixer(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a channel mixer."""
    shift = rng.choice(_SHIFTS if leaf else (*_SHIFTS, _LOCAL_SLOT))
    parts = [_title(), _HIDDEN, Fragment(forward="x = X"), shift]
    parts += [_hidden(rng, leaf), _experts(rng), _norm(rng, leaf)]
    parts.append(Fragment(init=_DOWN, forward="y = self.down(h)"))
    parts += [_receptance(rng), Fragment(word="Mlp", forward="return y, Z")]
    return join(parts)


_DOWN = "self.down = nn.Linear(hidden, d_model, bias=False, **kw)"


def _title() -> Fragment:
    return Fragment(doc="Feed-forward layer over the channels of each position.")


def _project(rng: random.Random, outputs: int) -> Fragment:
    """Return the projection from x to `u`, `outputs` times the hidden width."""
    times = "hidden" if outputs == 1 else f"{outputs} * hidden"
    dense = Fragment(
        init=f"self.up = nn.Linear(d_model, {times}, bias=False, **kw)", forward="u = self.up(x)"
    )
    factorised = Fragment(
        word="LowRank",
        doc="The projection up has a low rank.",
        knobs=(RANK,),
        init=f"""
            narrow = max(8, d_model // rank)
            self.reduce = nn.Linear(d_model, narrow, bias=False, **kw)
            self.up = nn.Linear(narrow, {times}, bias=False, **kw)
        """,
        forward="u = self.up(self.reduce(x))",
    )
    blocks = Fragment(
        word="Grouped",
        doc="The projection up is block-diagonal; the projection down mixes the groups.",
        knobs=(GROUPS,),
        init=f"""
            self.groups = groups
            shape = (groups, d_model // groups, {times} // groups)
            self.up = nn.Parameter(torch.empty(shape, **kw))
            nn.init.normal_(self.up, std=(2 / (5 * d_model)) ** 0.5 * groups**0.5)
        """,
        forward="""
            u = torch.einsum("btgi,gio->btog", x.unflatten(-1, (self.groups, -1)), self.up)
            u = u.flatten(2)
        """,
    )
    return rng.choices((dense, factorised, blocks), (4, 1, 1))[0]


def _hidden(rng: random.Random, leaf: bool) -> Fragment:
    """Return projections and the function that gives the hidden values `h`."""
    kind = rng.choices((_plain, _glu, _maxout, _polynomial, _deep, _slotted), (3, 5, 1, 1, 1, 1))[0]
    return _glu(rng) if leaf and kind is _slotted else kind(rng)


def _plain(rng: random.Random) -> Fragment:
    word, code = choose_activation(rng, "u")
    return _project(rng, 1) + Fragment(word=word, forward=f"h = {code}")


def _glu(rng: random.Random) -> Fragment:
    names = ("gate", "u") if rng.random() < 0.8 else ("u", "gate")
    word, code = ("Bilinear", "gate") if rng.random() < 0.1 else choose_activation(rng, "gate")
    both = names == ("u", "gate") and word != "Bilinear"
    split = Fragment(
        word=f"{word}Glu",
        doc="Hidden values are multiplied by a gate (Shazeer 2020, arXiv 2002.05202).",
        forward=f"gate, u = u.chunk(2, -1)\nh = {code} * u",
    )
    bounded = Fragment(
        word="Bounded",
        doc="The gated values are bounded by a tanh.",
        forward="h = torch.tanh(h)",
    )
    return _project(rng, 2) + split + (bounded if both else Fragment())


def _maxout(rng: random.Random) -> Fragment:
    return _project(rng, 2) + Fragment(
        word="Maxout",
        doc="The larger of two projections (Goodfellow et al. 2013, arXiv 1302.4389).",
        forward="h = torch.maximum(*u.chunk(2, -1))",
    )


def _polynomial(rng: random.Random) -> Fragment:
    return _project(rng, 1) + Fragment(
        word="Polynomial",
        doc="Each hidden channel has its own activation: a learned cubic of a bounded value.",
        init="self.powers = nn.Parameter(torch.ones(3, hidden, **kw))",
        forward="""
            u = u / (1 + u.square()).sqrt()
            h = u * (self.powers[0] + u * (self.powers[1] + u * self.powers[2]))
        """,
    )


def _deep(rng: random.Random) -> Fragment:
    word, code = choose_activation(rng, "u")
    second = Fragment(
        word=f"Deep{word}",
        doc="A second, thin hidden layer (rank 16) refines the first.",
        init="""
            self.reduce_hidden = nn.Linear(hidden, 16, bias=False, **kw)
            self.refine = nn.Linear(16, hidden, bias=False, **kw)
        """,
        forward=f"h = {code}\nh = h + self.refine(F.silu(self.reduce_hidden(h)))",
    )
    return _project(rng, 1) + second


def _slotted(rng: random.Random) -> Fragment:
    word, code = choose_activation(rng, "u")
    gate = Fragment(
        word=f"{word}Slot",
        slots=(SlotDraft("gate", "gate", "multiplies the hidden values"),),
        init="self.gate = gate(hidden)",
        forward=f"share, Z = self.gate(u, **Z)\nh = share * {code}",
    )
    return _project(rng, 1) + gate


def _experts(rng: random.Random) -> Fragment:
    """Return a per-token router over groups of hidden channels, or nothing."""
    if rng.random() < 0.75:
        return Fragment()
    word, doc, code = rng.choice(
        (
            ("Soft", "a softmax", "route.softmax(-1)"),
            ("Sigmoid", "sigmoids", "torch.sigmoid(route)"),
            (
                "TopTwo",
                "the two largest of a softmax",
                "route.softmax(-1) * (route >= route.topk(2)[0][..., 1:])",
            ),
        )
    )
    return Fragment(
        word=f"{word}Experts",
        doc=f"Groups of hidden channels are experts, weighed per token by {doc}"
        " (after Shazeer et al. 2017, arXiv 1701.06538).",
        knobs=(EXPERTS,),
        init="self.route = nn.Linear(d_model, experts, bias=False, **kw)",
        forward=f"""
            route = self.route(x)
            weight = {code} * route.shape[-1]
            h = (h.unflatten(-1, (route.shape[-1], -1)) * weight.unsqueeze(-1)).flatten(2)
        """,
    )


def _norm(rng: random.Random, leaf: bool) -> Fragment:
    draw = rng.random()
    if draw < 0.7:
        return Fragment()
    if draw < 0.85 or leaf:
        return Fragment(
            word="Rms",
            doc="Hidden values are normalised by their root mean square.",
            init="self.gain = nn.Parameter(torch.ones(hidden, **kw))",
            forward="h = F.rms_norm(h, h.shape[-1:], self.gain, 1e-6)",
        )
    return Fragment(
        word="Normed",
        slots=(SlotDraft("hidden_norm", "norm", "normalises the hidden values"),),
        init="self.hidden_norm = hidden_norm(hidden)",
        forward="h, Z = self.hidden_norm(h, **Z)",
    )


def _receptance(rng: random.Random) -> Fragment:
    if rng.random() < 0.8:
        return Fragment()
    return Fragment(
        word="Receptive",
        doc="A sigmoid of the token decides how much of the result is let through (RWKV).",
        init="self.receptance = nn.Linear(d_model, d_model, bias=False, **kw)",
        forward="y = torch.sigmoid(self.receptance(x)) * y",
    )
