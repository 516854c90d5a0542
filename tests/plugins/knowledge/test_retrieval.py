"""The retrieval benchmark on its real collection, where that is there, on the held-out queries."""

import os
import runpy
from pathlib import Path

import pytest

from genesys_engine.plugins.knowledge.base import KnowledgeBase

ROOT = Path(__file__).resolve().parents[3]
PAPERS = os.environ.get("GENESYS_PAPERS", "")


@pytest.mark.slow
@pytest.mark.skipif(not Path(PAPERS).is_file(), reason="GENESYS_PAPERS names no file of papers")
def test_hybrid_is_above_both_rankings_and_plain_bm25(tmp_path):
    bench = runpy.run_path(str(ROOT / "experiments" / "bench" / "retrieval.py"))
    quality = bench["measure"](KnowledgeBase(tmp_path, "hashed"), Path(PAPERS))
    for figure in (0, 1):  # recall@10, MRR
        others = [quality[name][figure] for name in ("vector", "text", "plain BM25")]
        assert quality["hybrid"][figure] > max(others)
