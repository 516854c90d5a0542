"""The grammar of blocks: which sublayers, in which order, normed where, added how."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from genesys_engine.operators.grammar.fragment import Fragment, SlotDraft, join, lines

_REQUIREMENTS = {
    "sequence_mixer": "moves information between positions, causally",
    "channel_mixer": "transforms every position",
    "local_mixer": "mixes a few neighbouring positions",
}


@dataclass(frozen=True)
class _Order:
    """The sublayers of a block: (slot, interface) in their order; `parallel` read one norm."""

    word: str
    doc: str
    sublayers: tuple[tuple[tuple[str, str], ...], ...]


_MIXER, _MLP = ("mixer", "sequence_mixer"), ("mlp", "channel_mixer")
_ORDERS = (
    _Order("", "a sequence mixer, then a channel mixer.", ((_MIXER,), (_MLP,))),
    _Order("", "a sequence mixer, then a channel mixer.", ((_MIXER,), (_MLP,))),
    _Order("Reversed", "a channel mixer, then a sequence mixer.", ((_MLP,), (_MIXER,))),
    _Order("MixerOnly", "a sequence mixer and nothing else.", ((_MIXER,),)),
    _Order(
        "Parallel",
        "sequence mixer and channel mixer read the same input (arXiv 2204.02311).",
        ((_MIXER, _MLP),),
    ),
    _Order(
        "Macaron",
        "a sequence mixer between two channel mixers (Lu et al. 2019, arXiv 1906.02762).",
        ((("mlp_in", "channel_mixer"),), (_MIXER,), (_MLP,)),
    ),
    _Order(
        "LocalFirst",
        "a local mixer, then a sequence mixer, then a channel mixer.",
        ((("local", "local_mixer"),), (_MIXER,), (_MLP,)),
    ),
    _Order(
        "TwoMixer",
        "two sequence mixers after each other, then a channel mixer.",
        ((_MIXER,), (("mixer_2", "sequence_mixer"),), (_MLP,)),
    ),
    _Order(
        "SplitMixer",
        "two sequence mixers read the same input, then a channel mixer.",
        ((_MIXER, ("mixer_2", "sequence_mixer")), (_MLP,)),
    ),
)
_PLACEMENTS = {
    "PreNorm": "Each sublayer reads a normed input (pre-norm, arXiv 2002.04745).",
    "Sandwich": "Each sublayer stands between two norms (arXiv 2105.13290).",
    "BranchNorm": "Each sublayer's result is normed before it is added (arXiv 2111.09883).",
    "PostNorm": "The stream is normed after each addition (post-norm, arXiv 1706.03762).",
}


def block(rng: random.Random, leaf: bool) -> Fragment:
    """Return the body of a residual block; a block always has child slots."""
    order = rng.choice(_ORDERS)
    placement = rng.choices(tuple(_PLACEMENTS), (4, 2, 1, 1))[0]
    residual = rng.choices(_RESIDUALS, _RESIDUAL_WEIGHTS)[0]
    word, doc = residual(0).word, residual(0).doc
    title = Fragment(word=order.word + placement + word, doc=f"Residual block: {order.doc}")
    parts = [title, Fragment(doc=lines(_PLACEMENTS[placement], doc)), Fragment(forward="x = X")]
    for number, sublayers in enumerate(order.sublayers, 1):
        parts += _sublayer(number, sublayers, placement, _code(residual(number)))
    return join([*parts, Fragment(word="Block", forward="return x, Z")])


def _sublayer(
    number: int, sublayers: tuple[tuple[str, str], ...], placement: str, residual: Fragment
) -> list[Fragment]:
    """Return norm, sublayers, norm and addition of one step: stream x -> stream x."""
    before = placement in ("PreNorm", "Sandwich")
    after = placement in ("Sandwich", "BranchNorm")
    names = [name for name, _ in sublayers]
    what = " and ".join(names)
    norm_in = _norm(f"norm_{number}", f"what {what} reads", "n", "x")
    parts = [norm_in if before else Fragment(forward="n = x")]
    results = ["h"] if len(names) == 1 else [f"{name}_out" for name in names]
    parts += [_child(*sub, result) for sub, result in zip(sublayers, results, strict=True)]
    if len(names) > 1:
        parts.append(Fragment(forward=f"h = {' + '.join(results)}"))
    if after:
        name = f"norm_{number}_out" if before else f"norm_{number}"
        parts.append(_norm(name, f"the result of {what}", "h", "h"))
    parts.append(residual)
    if placement == "PostNorm":
        parts.append(_norm(f"norm_{number}", f"the stream after {what}", "x", "x"))
    return parts


def _child(name: str, interface: str, target: str) -> Fragment:
    return Fragment(
        slots=(SlotDraft(name, interface, _REQUIREMENTS[interface]),),
        init=f"self.{name} = {name}(d_model)",
        forward=f"{target}, Z = self.{name}(n, **Z)",
    )


def _norm(name: str, what: str, target: str, source: str) -> Fragment:
    return Fragment(
        slots=(SlotDraft(name, "norm", f"normalises {what}"),),
        init=f"self.{name} = {name}(d_model)",
        forward=f"{target}, Z = self.{name}({source}, **Z)",
    )


def _code(part: Fragment) -> Fragment:
    """Return the part without its word and sentence, which the block states once."""
    return Fragment("", "", part.init, part.forward, part.knobs, part.slots)


# --- how a sublayer's result h joins the stream x ------------------------------------------------


def _plain(number: int) -> Fragment:
    return Fragment(forward="x = x + h")


def _layer_scale(number: int) -> Fragment:
    return Fragment(
        word="LayerScale",
        doc="Results are scaled per channel before they are added (arXiv 2103.17239).",
        init=f"self.scale_{number} = nn.Parameter(torch.full((d_model,), 0.5, **kw))",
        forward=f"x = x + self.scale_{number} * h",
    )


def _depth_scale(number: int) -> Fragment:
    return Fragment(
        word="DepthScale",
        doc="Results are scaled by one over the root of the number of blocks.",
        init="self.scale = max(1, block_loc[1]) ** -0.5" if number <= 1 else "",
        forward="x = x + self.scale * h",
    )


def _gated(number: int) -> Fragment:
    return Fragment(
        word="Gated",
        doc="A gate on the sublayer's input decides how much of its result is added.",
        slots=(SlotDraft(f"gate_{number}", "gate", "weighs a result before it is added"),),
        init=f"self.gate_{number} = gate_{number}(d_model)",
        forward=f"share, Z = self.gate_{number}(n, **Z)\nx = x + share * h",
    )


def _highway(number: int) -> Fragment:
    return Fragment(
        word="Highway",
        doc="A gate chooses between stream and result (Srivastava et al. 2015, arXiv 1505.00387).",
        init=f"self.carry_{number} = nn.Linear(d_model, d_model, bias=False, **kw)",
        forward=f"share = torch.sigmoid(self.carry_{number}(n) - 1)\nx = x + share * (h - x)",
    )


def _scalar(number: int) -> Fragment:
    return Fragment(
        word="Weighted",
        doc="Stream and result each have one learned weight (after ReZero, arXiv 2003.04887).",
        init=f"self.weights_{number} = nn.Parameter(torch.ones(2, **kw))",
        forward=f"x = self.weights_{number}[0] * x + self.weights_{number}[1] * h",
    )


_RESIDUALS: tuple[Callable[[int], Fragment], ...] = (
    _plain,
    _layer_scale,
    _depth_scale,
    _gated,
    _highway,
    _scalar,
)
_RESIDUAL_WEIGHTS = (4, 2, 1, 2, 1, 1)
