"""What the knowledge base gave for a design."""

from __future__ import annotations

import json

from genesys_engine.engine.common.records import from_json
from genesys_engine.engine.jobs.retrieved import RETRIEVED, Retrieved, Search
from genesys_engine.engine.store.run_store import Store


def retrieved(store: Store, task: int) -> tuple[Search, ...]:
    """Return the searches of a design task; none where it looked nothing up."""
    kept = store.facts(task).get(RETRIEVED)
    return from_json(Retrieved, json.loads(kept)).searches if isinstance(kept, str) else ()
