"""The implementers by name: `gp`, its ablations, and the direct-prompting baselines.

They all share the knowledge in the prompts, the mechanical repairs, the checker and the criterion
of success: a block that passes its check and is faithful to every change of the proposal.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from genesys_engine.gab.errors import InputError
from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.proposal import Implementer
from genesys_engine.operators.llm.unitwise import UnitByUnit
from genesys_engine.operators.llm.wholeblock import Way, WholeBlock

Make = Callable[[ImplementerOptions], Implementer]


def _without(**switched: bool) -> Make:
    """Return the maker of an ablation: the full designer with something switched off."""
    return lambda options: UnitByUnit(options.model_copy(update=switched))


def _whole(way: Way) -> Make:
    return lambda options: WholeBlock(options, way)


def _no_unitwise(options: ImplementerOptions) -> Implementer:
    way = Way(feedback=True, planned=options.planner, observed=options.observer)
    return WholeBlock(options, way)


IMPLEMENTERS: Mapping[str, Make] = {
    "gp": UnitByUnit,
    "direct": _whole(Way(replies=1)),
    "best_of_n": _whole(Way()),
    "sequential": _whole(Way(feedback=True)),
    "no_unitwise": _no_unitwise,
    "no_planner": _without(planner=False),
    "no_observer": _without(observer=False),
    "no_checker": _without(checker=False),
}
"""Name -> what makes the implementer from its options."""


def implementer(name: str, options: ImplementerOptions | None = None) -> Implementer:
    """Return the implementer of this name.

    Raises:
        InputError: it is unknown, or a template of the options is invalid.
    """
    if name not in IMPLEMENTERS:
        near = difflib.get_close_matches(name, IMPLEMENTERS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(IMPLEMENTERS)}"
        raise InputError(f"there is no implementer {name!r}", hint=hint)
    return IMPLEMENTERS[name](options or ImplementerOptions())
