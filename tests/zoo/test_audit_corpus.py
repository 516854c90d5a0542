"""The corpus of `experiments/bench/audit_corpus`: large, and with both sides of every kind."""

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "experiments/bench/audit_corpus.py"
spec = importlib.util.spec_from_file_location("audit_corpus", PATH)
bench = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = bench  # its dataclasses look themselves up
spec.loader.exec_module(bench)

BLOCKS = bench.read_corpus()


def test_the_corpus_is_large_and_every_kind_has_both_sides():
    assert len(BLOCKS) >= 60
    kinds = {block.kind for block in BLOCKS}
    assert len(kinds) >= 8
    for kind in kinds - {"Promises"}:  # kept promises only: a broken one is another kind's fault
        assert {bool(block.code) for block in BLOCKS if block.kind == kind} == {True, False}


@pytest.fixture(scope="module")
def results():
    return dict(zip((block.name for block in BLOCKS), bench.audit(BLOCKS), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_block_is_judged_right(results, block):
    assert results[block.name].judge(block) == "right", results[block.name].errors
