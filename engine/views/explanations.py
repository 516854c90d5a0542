"""What `genesys-engine explain` has found in a run."""

from __future__ import annotations

from genesys_engine.engine.common.records import from_json
from genesys_engine.engine.score.explanation import Explanation
from genesys_engine.engine.store.run_store import Store

EXPLANATIONS = "explanations"
"""Key of the metadata of a run: an `Explanation` by the design's number, as text."""


def explanations(store: Store) -> list[Explanation]:
    """Return all explanations that a run holds, by design."""
    kept = from_json(dict[int, Explanation], store.meta(EXPLANATIONS, {}))
    return [kept[design] for design in sorted(kept)]
