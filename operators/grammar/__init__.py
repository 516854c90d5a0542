"""A probabilistic grammar of units, which writes Python source.

Each interface has a module of productions: `sequence_mixers` (with its cores in `attention`,
`linear_attention`, `recurrences`, `convolutions` and `pooling`), `channel_mixers`, `norms`,
`gates`, `local_mixers`, `positions`, `inner_recurrences` and `blocks`; `wrappers` writes units
around a unit of any interface.  A production draws choices from one generator and returns a
`fragment.Fragment`; fragments are joined in the order of computation and rendered as a unit with
a docstring that says what it is.  Sizes are hyper-parameters with legal values, so that they
evolve without a new unit.  Equal draws give equal source.

Every unit is causal, works for any d_model that is a multiple of 16 and any length, and takes
time in matrix form, by convolution, cumulative sum, or a scan of logarithmic depth.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from genesys_engine.gab.errors import InputError
from genesys_engine.gab.unit import Unit, parse_unit
from genesys_engine.operators.grammar import inner_recurrences
from genesys_engine.operators.grammar.blocks import block
from genesys_engine.operators.grammar.channel_mixers import channel_mixer
from genesys_engine.operators.grammar.fragment import Fragment, render_unit
from genesys_engine.operators.grammar.gates import gate
from genesys_engine.operators.grammar.local_mixers import local_mixer
from genesys_engine.operators.grammar.norms import norm
from genesys_engine.operators.grammar.positions import position
from genesys_engine.operators.grammar.sequence_mixers import sequence_mixer
from genesys_engine.operators.grammar.wrappers import wrapper

__all__ = ["PRODUCTIONS", "write_source", "write_unit", "write_wrapper"]

PRODUCTIONS: Mapping[str, Callable[[random.Random, bool], Fragment]] = MappingProxyType(
    {
        "block": block,
        "channel_mixer": channel_mixer,
        "gate": gate,
        "local_mixer": local_mixer,
        "norm": norm,
        "position": position,
        "recurrence": inner_recurrences.recurrence,
        "sequence_mixer": sequence_mixer,
    }
)
_SHAPES = {
    "position": "X (batch * heads, T, head_dim) -> same shape.",
    "recurrence": "X (N, T, d_model), heads folded into N -> same shape.",
}
_SHAPE = "X (B, T, d_model) -> same shape."


def write_unit(interface: str, rng: random.Random, *, leaf: bool = False) -> Unit:
    """Return a new unit of `interface`; with `leaf`, one without child slots (not for blocks).

    Raises:
        InputError: the grammar has no productions for this interface.
    """
    return parse_unit(write_source(interface, rng, leaf=leaf), where=f"<grammar:{interface}>")


def write_source(interface: str, rng: random.Random, *, leaf: bool = False) -> str:
    """Return the source of a new unit, as `write_unit` does."""
    body = _production(interface)(rng, leaf)
    return _render(interface, body)


def write_wrapper(interface: str, rng: random.Random, *, leaf: bool = False) -> Unit:
    """Return a new unit with a slot `inner` of its own interface; with `leaf`, no other slot.

    Raises:
        InputError: the grammar has no productions for this interface.
    """
    _production(interface)
    source = _render(interface, wrapper(interface, rng, leaf))
    return parse_unit(source, where=f"<grammar:{interface} wrapper>")


def _render(interface: str, body: Fragment) -> str:
    reads = inner_recurrences.INPUTS if interface == "recurrence" and _reads_z(body) else ()
    return render_unit(interface, _SHAPES.get(interface, _SHAPE), body, inputs=reads)


def _reads_z(body: Fragment) -> bool:
    return 'Z["' in body.forward


def _production(interface: str) -> Callable[[random.Random, bool], Fragment]:
    if interface not in PRODUCTIONS:
        raise InputError(
            f"the grammar has no productions for the interface {interface!r}",
            hint=f"it writes {', '.join(PRODUCTIONS)}",
        )
    return PRODUCTIONS[interface]
