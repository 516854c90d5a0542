"""Does the knowledge base find the right paper, and how fast?

    python experiments/bench/retrieval.py --papers papers.jsonl.gz [--embedding hashed]

8,605 papers (path by --papers or GENESYS_PAPERS) are loaded as `genesys-engine knowledge add`
loads them.  Each of the 293 papers on architectures is then a query by its title; relevant are
the papers that it cites and itself.  Since its own title is easily found, the same is shown for
the cited papers alone.  Printed for hybrid, vectors only, full text only and a plain BM25 of our
own (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75, no stemming, no stop words): recall@10, MRR,
and the median and 95th percentile of a warm search.

--base keeps the base: a load that is killed goes on where it was.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.plugins.knowledge.base import MODES, KnowledgeBase
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.folder import FolderSource

TOP = 10
DEPTH = 100  # how far down the reciprocal rank looks

Ranking = list[str]
Query = tuple[str, str, set[str]]  # title, its own id, ids of the cited


def main() -> None:
    """Load, ask and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", default=os.environ.get("GENESYS_PAPERS", ""))
    parser.add_argument("--embedding", default="hashed")
    parser.add_argument("--base", type=Path)
    given = parser.parse_args()
    papers = Path(given.papers)
    if not papers.is_file():
        raise SystemExit("no papers: give --papers FILE or set GENESYS_PAPERS")
    with tempfile.TemporaryDirectory() as scratch:
        base = KnowledgeBase(given.base or Path(scratch), given.embedding)
        measure(base, papers)


def measure(base: KnowledgeBase, papers: Path) -> dict[str, list[float]]:
    """Print the figures of one embedding and return those of quality."""
    documents = [one for one in FolderSource().fetch(str(papers)) if isinstance(one, Document)]
    base.embedding.embed(["warm up"])
    started = time.perf_counter()
    added = base.add(documents)
    seconds = time.perf_counter() - started
    print(
        f"embedding {base.facts.embedding}: {added.new} added and {added.unchanged} known", end=""
    )
    print(f" in {seconds:.1f} s ({len(documents) / seconds:.0f}/s)")
    queries = read_queries(papers)
    print(f"{len(queries)} queries, {statistics.fmean(len(q[2]) for q in queries):.1f} cited each")
    plain = Bm25(documents)
    searchers: dict[str, Callable[[str], Ranking]] = {
        mode: (lambda query, mode=mode: [h.id for h in base.search(query, DEPTH, mode=mode)])
        for mode in MODES
    }
    searchers["plain BM25"] = plain.search
    print(f"{'':12} recall@10    MRR   cited only: recall@10    MRR   p50 ms  p95 ms")
    quality = {name: row(name, search, queries) for name, search in searchers.items()}
    ten = [timed(lambda q: base.search(q, TOP), query[0])[1] for query in queries]
    print(f"hybrid, ten hits: p50 {statistics.median(ten):.1f} ms")
    return quality


def row(name: str, search: Callable[[str], Ranking], queries: Sequence[Query]) -> list[float]:
    """Print one line of the table; return recall and MRR, with and without the paper itself."""
    search("warm up")
    asked = [timed(search, title) for title, _, _ in queries]
    both = [
        (recall(found, {own} | cited), reciprocal_rank(found, {own} | cited))
        for (found, _), (_, own, cited) in zip(asked, queries, strict=True)
    ]
    alone = [
        (recall(others, cited), reciprocal_rank(others, cited))
        for (found, _), (_, own, cited) in zip(asked, queries, strict=True)
        if cited and (others := [one for one in found if one != own]) is not None
    ]
    times = sorted(ms for _, ms in asked)
    figures = [statistics.fmean(column) for column in (*zip(*both), *zip(*alone))]  # noqa: B905
    print(
        f"{name:12} {figures[0]:9.3f} {figures[1]:6.3f} {figures[2]:23.3f} {figures[3]:6.3f}"
        f" {statistics.median(times):8.1f} {times[int(0.95 * len(times))]:7.1f}"
    )
    return figures


def read_queries(papers: Path) -> list[Query]:
    """Return the titles of the core papers with their own and their cited papers' ids."""
    with gzip.open(papers, "rt", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = [json.loads(line) for line in file]
    at = papers.resolve()
    core = [row for row in rows if row.get("core") and row.get("key")]
    name = {row["key"]: f"file:{at}#{row['id'] or row['key']}" for row in core}
    return [
        (r["title"], name[r["key"]], {name[key] for key in r.get("cites", []) if key in name})
        for r in core
    ]


def recall(found: Ranking, relevant: set[str]) -> float:
    """Return the share of the relevant among the first ten."""
    return len(set(found[:TOP]) & relevant) / len(relevant)


def reciprocal_rank(found: Ranking, relevant: set[str]) -> float:
    """Return 1 / the rank of the first relevant one, 0 if there is none."""
    return next((1 / rank for rank, one in enumerate(found, 1) if one in relevant), 0.0)


def timed(search: Callable[[str], Any], query: str) -> tuple[Any, float]:
    """Return (answer, milliseconds)."""
    started = time.perf_counter()
    answer = search(query)
    return answer, 1000 * (time.perf_counter() - started)


class Bm25:
    """Plain BM25 over title and abstract: the baseline."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.ids = [document.id for document in documents]
        self.postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = []
        for i, document in enumerate(documents):
            words = Counter(_words(f"{document.title} {document.text}"))
            lengths.append(words.total())
            for word, count in words.items():
                self.postings[word].append((i, count))
        mean = statistics.fmean(lengths)
        self.norms = [1.2 * (0.25 + 0.75 * length / mean) for length in lengths]

    def search(self, query: str) -> Ranking:
        """Return the ids of the best documents."""
        scores: Counter[int] = Counter()
        for word in _words(query):
            found = self.postings.get(word, [])
            idf = math.log(1 + (len(self.ids) - len(found) + 0.5) / (len(found) + 0.5))
            for i, count in found:
                scores[i] += idf * count * 2.2 / (count + self.norms[i])  # type: ignore[assignment]
        return [self.ids[i] for i, _ in scores.most_common(DEPTH)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


if __name__ == "__main__":
    main()
