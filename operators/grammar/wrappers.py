"""The grammar of wrappers: units with one child `inner` of their own interface.

They are what insertion puts around a subtree and what removal takes away again.
"""

from __future__ import annotations

import random

from genesys_engine.operators.grammar.fragment import Fragment, SlotDraft, join

_NAMES = {
    "block": "Block",
    "sequence_mixer": "Mixer",
    "channel_mixer": "Mlp",
    "norm": "Norm",
    "gate": "Gate",
    "local_mixer": "Local",
    "position": "Position",
    "recurrence": "Recurrence",
}
_INNER = "y, Z = self.inner(x, **Z)"
_ADD_NEAR = "near, Z = self.local(x, **Z)\nx = x + near\n"
_CALL = Fragment(forward=_INNER)


def _slot(name: str, interface: str, requirement: str) -> tuple[SlotDraft, ...]:
    return (SlotDraft(name, interface, requirement),)


_NORM_BEFORE = Fragment(
    word="NormedInput",
    doc="Norms the input of its child.",
    slots=_slot("norm", "norm", "normalises what the inner unit reads"),
    init="self.norm = norm(d_model)",
    forward="x, Z = self.norm(x, **Z)\n" + _INNER,
)
_NORM_AFTER = Fragment(
    word="NormedOutput",
    doc="Norms the result of its child.",
    slots=_slot("norm", "norm", "normalises what the inner unit returns"),
    init="self.norm = norm(d_model)",
    forward=_INNER + "\ny, Z = self.norm(y, **Z)",
)
_GATED = Fragment(
    word="Gated",
    doc="Multiplies the result of its child by a gate on its input.",
    slots=_slot("gate", "gate", "weighs what the inner unit returns"),
    init="self.gate = gate(d_model)",
    forward="share, Z = self.gate(x, **Z)\n" + _INNER + "\ny = share * y",
)
_LOCAL_BEFORE = Fragment(
    word="LocalInput",
    doc="Adds a local mixer of the input to what its child reads.",
    slots=_slot("local", "local_mixer", "close past that is added to what the inner unit reads"),
    init="self.local = local(d_model)",
    forward=_ADD_NEAR + _INNER,
)
_LOCAL_BESIDE = Fragment(
    word="LocalPath",
    doc="Adds a local mixer beside its child.",
    slots=_slot("local", "local_mixer", "a short view of the past beside the inner unit"),
    init="self.local = local(d_model)",
    forward="near, Z = self.local(x, **Z)\n" + _INNER + "\ny = y + near",
)
_SCALED = _CALL + Fragment(
    word="Scaled",
    doc="Scales the result of its child per channel.",
    init="self.scale = nn.Parameter(torch.ones(d_model, **kw))",
    forward="y = self.scale * y",
)
_BLENDED = _CALL + Fragment(
    word="Blended",
    doc="Blends the result of its child with its input, at a learned share per channel.",
    init="self.share = nn.Parameter(torch.ones(d_model, **kw))",
    forward="y = X + torch.sigmoid(self.share) * (y - X)",
)
_SKIPPED = _CALL + Fragment(
    word="Skipped",
    doc="Adds its input to the result of its child, scaled per channel.",
    init="self.skip = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
    forward="y = y + self.skip * X",
)
_OFFSET = _CALL + Fragment(
    word="Offset",
    doc="Adds a learned offset to the result of its child.",
    init="self.offset = nn.Parameter(torch.zeros(d_model, **kw))",
    forward="y = y + self.offset",
)
_BOUNDED = _CALL + Fragment(
    word="Bounded",
    doc="Bounds the result of its child by a tanh at a learned height.",
    init="self.bound = nn.Parameter(torch.full((1,), 4.0, **kw))",
    forward="y = self.bound * torch.tanh(y / self.bound)",
)
_SOFTENED = _CALL + Fragment(
    word="Softened",
    doc="Pulls the gate of its child towards one, at a learned share per channel.",
    init="self.rest = nn.Parameter(torch.zeros(d_model, **kw))",
    forward="y = y + torch.sigmoid(self.rest) * (1 - y)",
)
_BOTTLENECK = Fragment(
    word="Projected",
    doc="Projects the input of its child and its result.",
    init="""
        self.enter = nn.Linear(d_model, d_model, bias=False, **kw)
        self.leave = nn.Linear(d_model, d_model, bias=False, **kw)
    """,
    forward="x = self.enter(x)\n" + _INNER + "\ny = self.leave(y)",
)
_REPEATED = Fragment(
    word="Repeated",
    doc="Runs its child twice with the same weights (Dehghani et al. 2018, arXiv 1807.03819).",
    forward="x, Z = self.inner(x, **Z)\n" + _INNER,
)
_STREAM_LOCAL = Fragment(
    word="LocalEntry",
    doc="Adds a local mixer of the stream before its child.",
    slots=_slot("local", "local_mixer", "mixes a few positions of the stream"),
    init="self.local = local(d_model)",
    forward=_ADD_NEAR + _INNER,
)

_MIXER_WRAPPERS = (
    _NORM_BEFORE,
    _NORM_AFTER,
    _GATED,
    _LOCAL_BEFORE,
    _LOCAL_BESIDE,
    _SCALED,
    _SKIPPED,
    _BOUNDED,
    _BOTTLENECK,
)
_WRAPPERS = {
    "block": (_BLENDED, _REPEATED, _STREAM_LOCAL, _NORM_BEFORE),
    "sequence_mixer": _MIXER_WRAPPERS,
    "channel_mixer": _MIXER_WRAPPERS,
    "local_mixer": (_SCALED, _SKIPPED, _BLENDED, _GATED, _BOUNDED),
    "norm": (_BLENDED, _OFFSET, _BOUNDED, _SCALED),
    "gate": (_SOFTENED, _NORM_BEFORE, _SCALED, _BOUNDED),
    "position": (_BLENDED, _SCALED, _NORM_BEFORE),
    "recurrence": (_SKIPPED, _NORM_AFTER, _SCALED, _BOUNDED),
}


def wrapper(interface: str, rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a unit with a child `inner` of its own interface.

    With `leaf`, it has no other child.
    """
    forms = [form for form in _WRAPPERS[interface] if not (leaf and form.slots)]
    inner = Fragment(
        slots=(SlotDraft("inner", interface, "the unit that is wrapped"),),
        init="self.inner = inner(d_model)",
        forward="x = X",
    )
    end = Fragment(word=_NAMES[interface], forward="return y, Z")
    return join([inner, rng.choice(forms), end])
