"""The knowledge base of a run, or the one of the user: what it finds."""

from __future__ import annotations

import threading
from dataclasses import asdict

from genesys_engine.engine.common.cache import cache_folder
from genesys_engine.engine.config.schema import KnowledgeSection
from genesys_engine.engine.dashboard.catalogue import Entry
from genesys_engine.engine.propose.lookup import Lookup
from genesys_engine.gab.errors import InputError

MOST_WORDS = 400
PASSAGES = 10


class Bases:
    """The bases that were asked, each opened once; the first search of all is slow."""

    def __init__(self) -> None:
        self._open: dict[str, Lookup] = {}
        self._lock = threading.Lock()

    def search(self, entry: Entry | None, query: str) -> dict[str, object]:
        """Return passages near to a query, best first.

        Raises:
            InputError: there is nothing to search for.
        """
        query = query.strip()[:MOST_WORDS]
        if not query:
            raise InputError("there is nothing to search for", hint="give a few words")
        section = KnowledgeSection()
        if entry is not None:
            with entry.watch.moment() as moment:
                kept = moment.meta("experiment").get("knowledge") or {}
            section = KnowledgeSection.model_validate(kept)
        section = section.model_copy(update={"limit": PASSAGES})
        with self._lock:
            if section.base not in self._open:
                self._open[section.base] = Lookup(section, cache_folder() / "knowledge")
            lookup = self._open[section.base]
        return {
            "base": section.base or "the reference cards that come along",
            "hits": [asdict(found) for found in lookup.search(query, PASSAGES)],
        }
