"""Does the knowledge base find the right paper, and how fast?

    python experiments/bench/retrieval.py --papers papers.jsonl.gz [--embedding hashed]

8,605 papers (path by --papers or GENESYS_PAPERS) are loaded as `genesys-engine knowledge add`
loads them.  Each of the 293 papers on architectures is then a query by its title; relevant are
the papers that it cites and itself.  Since its own title is easily found, the same is shown for
the cited papers alone.  Printed for hybrid, vectors only, full text only and a plain BM25 of our
own (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75, no stemming, no stop words): recall@10, MRR,
and the median and 95th percentile of a warm search.

The weight of the vectors was chosen on one half of the queries, and the figures are those of the
other half: a query is of the tuning half where the SHA-256 of its title is even.  (The features of
`hashed` had been chosen on all queries before.)  Next to them stand the differences of
hybrid to the others, with intervals of 95 % from 2,000 paired bootstrap samples of the queries.

--base keeps the base: a load that is killed continues where it was.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import os
import random
import re
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genesys_engine.plugins.knowledge.base import MODES, KnowledgeBase, Mode
from genesys_engine.plugins.knowledge.documents import Document
from genesys_engine.plugins.knowledge.sources.folder import FolderSource

TOP = 10
DEPTH = 100  # how far down the reciprocal rank looks

Ranking = list[str]
Query = tuple[str, str, set[str]]  # title, its own id, ids of the cited
Column = list[float | None]  # one figure, per query; None where the query has no such figure


def main() -> None:
    """Load, ask and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--papers", default=os.environ.get("GENESYS_PAPERS", ""))
    parser.add_argument("--embedding", default="hashed")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--half", choices=("held out", "tuning", "all"), default="held out")
    given = parser.parse_args()
    papers = Path(given.papers)
    if not papers.is_file():
        raise SystemExit("no papers: give --papers FILE or set GENESYS_PAPERS")
    with tempfile.TemporaryDirectory() as scratch:
        base = KnowledgeBase(given.base or Path(scratch), given.embedding)
        measure(base, papers, given.half)


FIGURES = ("recall@10", "MRR", "cited recall@10", "cited MRR")
SAMPLES = 2000


def measure(base: KnowledgeBase, papers: Path, half: str = "held out") -> dict[str, list[float]]:
    """Print the figures of one embedding and return those of quality, in the order of FIGURES."""
    documents = [one for one in FolderSource().fetch(str(papers)) if isinstance(one, Document)]
    base.embedding.embed(["warm up"])
    started = time.perf_counter()
    added = base.add(documents)
    seconds = time.perf_counter() - started
    print(
        f"embedding {base.facts.embedding}: {added.new} added and {added.unchanged} known", end=""
    )
    print(f" in {seconds:.1f} s ({len(documents) / seconds:.0f}/s)")
    queries = [query for query in read_queries(papers) if half in ("all", half_of(query[0]))]
    cited = statistics.fmean(len(query[2]) for query in queries)
    print(f"{len(queries)} queries ({half}), {cited:.1f} cited each")
    plain = Bm25(documents)

    def search(mode: Mode, query: str) -> Ranking:
        return [hit.id for hit in base.search(query, DEPTH, mode=mode)]

    searchers: dict[str, Callable[[str], Ranking]] = {mode: partial(search, mode) for mode in MODES}
    searchers["plain BM25"] = plain.search
    print(f"{'':12} recall@10    MRR   cited only: recall@10    MRR   p50 ms  p95 ms")
    each = {name: row(name, search, queries) for name, search in searchers.items()}
    for name in each:
        if name != "hybrid":
            print_differences(name, each["hybrid"], each[name])
    ten = [timed(lambda q: base.search(q, TOP), query[0])[1] for query in queries]
    print(f"hybrid, ten hits: p50 {statistics.median(ten):.1f} ms")
    return {name: [mean(column) for column in columns] for name, columns in each.items()}


def row(name: str, search: Callable[[str], Ranking], queries: Sequence[Query]) -> list[Column]:
    """Print one line of the table; return recall and MRR per query, with and without itself."""
    search("warm up")
    asked = [timed(search, title) for title, _, _ in queries]
    columns: list[Column] = [[], [], [], []]
    for (found, _), (_, own, cited) in zip(asked, queries, strict=True):
        others = [one for one in found if one != own]
        columns[0].append(recall(found, {own} | cited))
        columns[1].append(reciprocal_rank(found, {own} | cited))
        columns[2].append(recall(others, cited) if cited else None)
        columns[3].append(reciprocal_rank(others, cited) if cited else None)
    times = sorted(ms for _, ms in asked)
    figures = [mean(column) for column in columns]
    print(
        f"{name:12} {figures[0]:9.3f} {figures[1]:6.3f} {figures[2]:23.3f} {figures[3]:6.3f}"
        f" {statistics.median(times):8.1f} {times[int(0.95 * len(times))]:7.1f}"
    )
    return columns


def print_differences(name: str, hybrid: Sequence[Column], other: Sequence[Column]) -> None:
    """Print hybrid minus `name` for each figure, and whether a difference is shown."""
    lines_out = []
    for figure, mine, theirs in zip(FIGURES, hybrid, other, strict=True):
        pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a is not None]
        low, high = interval([a - (b or 0.0) for a, b in pairs])
        verdict = "better" if low > 0 else "worse" if high < 0 else "within noise"
        lines_out.append(f"{figure} {low:+.3f} to {high:+.3f} ({verdict})")
    print(f"hybrid against {name}: {'; '.join(lines_out)}")


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean, by bootstrap over the queries."""
    rng = random.Random(0)
    means = sorted(
        statistics.fmean(rng.choices(differences, k=len(differences))) for _ in range(SAMPLES)
    )
    return means[int(0.025 * SAMPLES)], means[int(0.975 * SAMPLES) - 1]


def mean(column: Column) -> float:
    """Return the mean over the queries that have a value: those that cite something."""
    return statistics.fmean(value for value in column if value is not None)


def half_of(title: str) -> str:
    """Return the half of the queries that a title belongs to."""
    even = int(hashlib.sha256(title.encode()).hexdigest(), 16) % 2 == 0
    return "tuning" if even else "held out"


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
