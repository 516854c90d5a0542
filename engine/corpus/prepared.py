"""What a run records of its text, once it is prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesys_engine.plugins.corpus import Corpus


@dataclass(frozen=True)
class PreparedCorpus:
    """Where the tokens lie, what they are, and how many; `tasks` are the folders with the data of
    tasks that do not come from the text, by the list of tasks."""

    folder: str
    vocab_size: int
    digest: str = ""
    source: str = ""
    train_tokens: int = 0
    heldout_tokens: int = 0
    tasks: Mapping[str, str] = field(default_factory=dict)


def prepared(corpus: Corpus, source: str, tasks: Mapping[str, str]) -> PreparedCorpus:
    """Return what a run records of a corpus from this source."""
    return PreparedCorpus(
        folder=str(corpus.folder),
        vocab_size=corpus.vocab_size,
        digest=corpus.digest,
        source=source,
        train_tokens=len(corpus.train),
        heldout_tokens=corpus.heldout_tokens,
        tasks=tasks,
    )
