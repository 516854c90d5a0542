"""The interfaces that slots ask for and units offer, each with its contract in one sentence.

The set is open: a unit may name an interface that is not listed here, and a slot accepts exactly
the units that name the same one.  Listed are the interfaces that the library and the operators
speak.  Whatever the interface, a unit is the same type of map, (X, Z) -> (X, Z).
"""

from __future__ import annotations

ROOT_INTERFACE = "block"

INTERFACES: dict[str, str] = {
    "block": (
        "The whole residual block, root of a tree: (batch, time, d_model) in and out, "
        "adding what its children compute to the stream."
    ),
    "sequence_mixer": (
        "Moves information from earlier positions to later ones, causally; same width in and out, "
        "no residual connection of its own."
    ),
    "channel_mixer": (
        "Mixes the channels of each position by itself (or with its close past); "
        "same width in and out, no residual connection of its own."
    ),
    "norm": "Normalises each position's vector, never over time; same width in and out.",
    "gate": (
        "Position-wise multiplicative gate: returns the gate's values, of the width of its input, "
        "for the parent to multiply with."
    ),
    "local_mixer": (
        "Cheap causal mixing over a few positions (short convolution, token shift); "
        "same width in and out."
    ),
    "position": (
        "Positional transform of queries or keys, (batch * heads, time, head_dim) in and out."
    ),
    "recurrence": (
        "Inner linear recurrence over time on values that its parent hands over in Z; "
        "returns what is read from the state, of the width of its input."
    ),
}
