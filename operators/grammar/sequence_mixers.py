"""The grammar of sequence mixers: local step, core, norm, gate, output; or two cores at once."""

from __future__ import annotations

import random
from collections.abc import Callable

from genesys_engine.operators.grammar.attention import softmax_attention
from genesys_engine.operators.grammar.convolutions import (
    dilated_convolutions,
    dynamic_convolution,
    head_convolution,
    long_convolution,
)
from genesys_engine.operators.grammar.fragment import (
    Fragment,
    Knob,
    SlotDraft,
    join,
    lines,
    render_path,
)
from genesys_engine.operators.grammar.linear_attention import delta_rule, linear_attention
from genesys_engine.operators.grammar.pooling import (
    attention_free,
    cumulative_pool,
    multi_shift,
    timescales,
)
from genesys_engine.operators.grammar.recurrences import EXPAND, gated_recurrence

Production = Callable[[random.Random, bool], Fragment]

# How often each family is drawn: wide families more often than narrow ones.
_CORES: tuple[tuple[Production, int], ...] = (
    (linear_attention, 5),
    (softmax_attention, 4),
    (gated_recurrence, 4),
    (delta_rule, 2),
    (long_convolution, 2),
    (dilated_convolutions, 1),
    (dynamic_convolution, 1),
    (head_convolution, 1),
    (attention_free, 1),
    (timescales, 1),
    (multi_shift, 1),
    (cumulative_pool, 1),
)

LOCAL_KERNEL = Knob("local_kernel", 4, (2, 3, 4), "taps of the short convolution before the core")
_LOCALS = (
    Fragment(),
    Fragment(
        word="Shifted",
        doc="First each channel takes a learned share of the token before (RWKV, 2305.13048).",
        init="self.share = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward="x = x + self.share * (shift(x, 1) - x)",
        helpers=("shift",),
    ),
    Fragment(
        word="Convolved",
        doc="First a short depthwise convolution and a SiLU, as in Mamba (arXiv 2312.00752).",
        knobs=(LOCAL_KERNEL,),
        init="self.local = nn.Conv1d(d_model, d_model, local_kernel, groups=d_model, **kw)",
        forward="x = F.silu(causal_convolution(x, self.local))",
        helpers=("causal_convolution",),
    ),
)
_LOCAL_SLOT = Fragment(
    word="Local",
    slots=(SlotDraft("local", "local_mixer", "close past that is added to what the core reads"),),
    init="self.local = local(d_model)",
    forward="""
        near, Z = self.local(x, **Z)
        x = x + near
    """,
)
_NORM_SLOT = Fragment(
    word="Normed",
    slots=(SlotDraft("out_norm", "norm", "normalises the core's result"),),
    init="self.out_norm = out_norm({width})",
    forward="y, Z = self.out_norm(y, **Z)",
)
_GATE_SLOT = Fragment(
    word="Gated",
    slots=(SlotDraft("gate", "gate", "multiplies the core's result"),),
    init="self.gate = gate(d_model)",
    forward="""
        share, Z = self.gate(X, **Z)
        y = share * y
    """,
)
_GATES = {
    "SiluGate": ("F.silu(self.gate(X))", "a SiLU"),
    "SigmoidGate": ("torch.sigmoid(self.gate(X))", "a sigmoid"),
}


def sequence_mixer(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a sequence mixer; one in four has two paths."""
    draw = rng.random()
    if draw < 0.2:
        return _two_paths(rng)
    if draw < 0.26 and not leaf:
        return _two_children(rng)
    return _single(rng, leaf)


def choose_core(rng: random.Random, leaf: bool) -> Fragment:
    """Return one core, drawn by family."""
    weights = [weight for _, weight in _CORES]
    production, _ = rng.choices(_CORES, weights)[0]
    return production(rng, leaf)


def _single(rng: random.Random, leaf: bool) -> Fragment:
    core = choose_core(rng, leaf)
    wide = EXPAND in core.knobs
    local = rng.choice(_LOCALS if leaf else (*_LOCALS, _LOCAL_SLOT))
    norm = Fragment() if leaf or rng.random() < 0.7 else _wide(_NORM_SLOT, wide)
    gate = _gate(rng, wide, leaf)
    title = Fragment(doc=core.doc.splitlines()[0])
    rest = "\n".join(core.doc.splitlines()[1:])
    body = Fragment(core.word, rest, core.init, core.forward, core.knobs, core.slots, core.helpers)
    start = Fragment(forward="x = X")
    return join([title, start, local, body, norm, gate, _output(wide, "return self.out(y), Z")])


def _gate(rng: random.Random, wide: bool, leaf: bool) -> Fragment:
    """Return a gate on the core's result, or nothing."""
    draw = rng.random()
    if draw < 0.4:
        return Fragment()
    if draw < 0.6 and not wide and not leaf:
        return _GATE_SLOT
    word = rng.choice(tuple(_GATES))
    code, doc = _GATES[word]
    part = Fragment(
        word=word,
        doc=f"The result is multiplied by {doc} of a projection of the token.",
        init="self.gate = nn.Linear(d_model, {width}, bias=False, **kw)",
        forward=f"y = y * {code}",
    )
    return _wide(part, wide)


def _wide(part: Fragment, wide: bool) -> Fragment:
    """Return the part with the width of the core's result filled in."""
    init = part.init.format(width="width" if wide else "d_model")
    return Fragment(part.word, part.doc, init, part.forward, part.knobs, part.slots, part.helpers)


def _output(wide: bool, end: str) -> Fragment:
    project = "self.out = nn.Linear({width}, d_model, bias=False, **kw)"
    return _wide(Fragment(init=project, forward=end), wide)


# --- two paths ---------------------------------------------------------------------------------

_MERGES = (
    Fragment(
        word="Weighted",
        doc="Their results are added with one learned weight per path and channel.",
        init="self.weights = nn.Parameter(torch.ones(2, d_model, **kw))",
        forward="y = self.weights[0] * a + self.weights[1] * b",
    ),
    Fragment(
        word="Routed",
        doc="A sigmoid gate of the token chooses between their results, channel by channel.",
        init="self.route = nn.Linear(d_model, d_model, bias=False, **kw)",
        forward="""
            share = torch.sigmoid(self.route(X))
            y = share * a + (1 - share) * b
        """,
    ),
    Fragment(
        word="Multiplied",
        doc="The SiLU of the first result multiplies the second.",
        forward="y = F.silu(a) * b",
    ),
    Fragment(
        word="Joined",
        doc="Their results are concatenated and projected.",
        init="self.join = nn.Linear(2 * d_model, d_model, bias=False, **kw)",
        forward="y = self.join(torch.cat([a, b], -1))",
    ),
    Fragment(
        word="Contrasted",
        doc="A learned share of the second result is subtracted from the first"
        " (after the differential transformer, Ye et al. 2024, arXiv 2410.05258).",
        init="self.share = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward="y = a - self.share * b",
    ),
)
_LONGEST_PAIR = 60  # letters in the names of two cores: the unit is named after both
_CHAINED = Fragment(
    word="Chained",
    doc="The second path reads the token and the first result; both results are added.",
)


def _two_paths(rng: random.Random) -> Fragment:
    """Return two cores written into one unit."""
    first = second = choose_core(rng, True)
    while second.word == first.word or len(first.word + second.word) > _LONGEST_PAIR:
        second = choose_core(rng, True)
    merge = rng.choice((*_MERGES, _CHAINED))
    chained = merge is _CHAINED
    titles = [path.doc.splitlines()[0] for path in (first, second)]
    return Fragment(
        word=f"{merge.word}{first.word}And{second.word}",
        doc=lines(
            "Two sequence mixers on one input.",
            f"First path: {titles[0]} Second path: {titles[1]}",
            merge.doc,
        ),
        init=lines(
            f"self.first = FirstPath(d_model, block_loc, {_arguments(first)}**kw)",
            f"self.second = SecondPath(d_model, block_loc, {_arguments(second)}**kw)",
            merge.init,
        ),
        forward=lines(
            "a = self.first(X)",
            "b = self.second(X + a)" if chained else "b = self.second(X)",
            "y = a + b" if chained else merge.forward,
            "return y, Z",
        ),
        knobs=tuple(dict.fromkeys(first.knobs + second.knobs)),
        helpers=first.helpers + second.helpers,
        classes=(_path("FirstPath", first), _path("SecondPath", second)),
    )


def _arguments(path: Fragment) -> str:
    return "".join(f"{knob.name}={knob.name}, " for knob in path.knobs)


def _path(name: str, core: Fragment) -> str:
    return render_path(name, core + _output(EXPAND in core.knobs, "return self.out(y)"))


def _two_children(rng: random.Random) -> Fragment:
    """Return a unit that runs two child mixers and merges their results."""
    merge = rng.choice((*_MERGES, _CHAINED))
    second = "X + a" if merge is _CHAINED else "X"
    body = Fragment(
        doc="Two sequence mixers on one input.",
        slots=(
            SlotDraft("first", "sequence_mixer", "one view of the past"),
            SlotDraft("second", "sequence_mixer", "another view of the past"),
        ),
        init="""
            self.first = first(d_model)
            self.second = second(d_model)
        """,
        forward=f"""
            a, Z = self.first(X, **Z)
            b, Z = self.second({second}, **Z)
        """,
    )
    end = Fragment(forward="y = a + b" if merge is _CHAINED else "")
    return join([body, merge, end, Fragment(word="MixerPair", forward="return y, Z")])
