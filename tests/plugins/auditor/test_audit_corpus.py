"""The corpus of `experiments/bench/audit_corpus`: large, and with both sides of every kind."""

import importlib.util
import sys
from pathlib import Path

import pytest
from exhaustive import exhaustive

PATH = Path(__file__).parents[3] / "experiments/bench/audit_corpus.py"
spec = importlib.util.spec_from_file_location("audit_corpus", PATH)
bench = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = bench  # its dataclasses look themselves up
spec.loader.exec_module(bench)

BLOCKS = {block.name: block for block in bench.read_corpus()}
FIRST = {(block.kind, bool(block.code)): name for name, block in reversed(BLOCKS.items())}.values()


def test_the_corpus_is_large_and_every_kind_has_both_sides():
    assert len(BLOCKS) >= 60
    kinds = {block.kind for block in BLOCKS.values()}
    assert len(kinds) >= 8
    for kind in kinds - {"Promises"}:  # kept promises only: a broken one is another kind's fault
        sides = {bool(block.code) for block in BLOCKS.values() if block.kind == kind}
        assert sides == {True, False}


@pytest.fixture(scope="module")
def results(selected):
    names = selected("name")
    found = bench.audit([BLOCKS[name] for name in names])
    return dict(zip(names, found, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", exhaustive(BLOCKS, but=FIRST))
def test_every_block_is_judged_right(results, name):
    """One of each side of each kind; all of them in `make test-all`."""
    assert results[name].judge(BLOCKS[name]) == "right", results[name].errors
