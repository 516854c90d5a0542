"""Preparation of a corpus: documents to packed tokens, control counts and task items.

Runs in the engine's process, before any worker starts; workers read the result with
`genesys_engine.plugins.corpus.Corpus`.  May import `common`.
"""

from genesys_engine.engine.corpus.build import prepare
from genesys_engine.engine.corpus.options import CorpusOptions

__all__ = ["CorpusOptions", "prepare"]
