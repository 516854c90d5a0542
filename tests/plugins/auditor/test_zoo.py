"""The zoo: every bad block is found out with the code in its name, every good one passes.

They are audited by one warm executor with two workers, as `genesys-engine check` does it: one of
each code here, all of them in `make test-all`.
"""

from pathlib import Path

import pytest
from exhaustive import exhaustive

from genesys_engine.engine.check import audit
from genesys_engine.gab import library
from genesys_engine.gab.checks import exceptions
from genesys_engine.gab.checks.report import ADVICE
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

HERE = Path(__file__).parents[2] / "zoo"
BAD = sorted((HERE / "bad").glob("*.py"))
GOOD = sorted((HERE / "good").glob("*.py"))
SEEDS = [f"{name} {width}" for name in library.seed_names() for width in (64, 192)]
BY_CODE = {".".join(path.name.split(".")[:2]): path for path in BAD}  # the last of each code
del BY_CODE["cost.quadratic_loop"]  # ten seconds

# Told by the worker's end and not by the block, or needing a parent: tested in test_audit.py.
ELSEWHERE = {code for code in ADVICE if code.startswith("check.")} | {"function.same"}
WARNINGS = {
    *("static.left_out", "static.unused", "gradient.partial", "unit.unreached", "device.bound"),
    "gradient.differs",
    "machine.unsupported",  # an error where nothing can be probed: test_machine.py
    *("cost.loop", "cost.flops", "cost.memory", "cost.slow"),
}


def code_of(path):
    return ".".join(path.name.split(".")[:2])


@pytest.fixture(scope="module")
def audits(selected, tmp_path_factory):
    """Submit everything at once; name -> future of an outcome."""
    executor = ProcessExecutor(ProcessOptions(preload=audit.PRELOAD), workers=2)
    scratch = tmp_path_factory.mktemp("zoo")
    orders = {str(path): {"source": path.read_text("utf-8")} for path in selected("path")}
    for seed in selected("seed"):
        name, width = seed.split()
        orders[seed] = {"source": compose(library.seed(name)), "d_model": int(width)}
    reference = audit.reference_source()
    yield {
        name: executor.submit(
            audit.AUDIT,
            {**order, "reference": reference},
            scratch / str(i),
            audit.LIMITS,
        )
        for i, (name, order) in enumerate(orders.items())
    }
    executor.close()


def errors(audits, name):
    result = audit.read_outcome(audits[str(name)].result(280))
    return [found for found in result.report.findings if found.severity == "error"]


@pytest.mark.parametrize("path", exhaustive(BAD, but=BY_CODE.values()), ids=lambda path: path.stem)
def test_bad_block_fails_with_the_code_in_its_name(audits, path):
    found = errors(audits, path)
    assert {each.code for each in found} == {code_of(path)}
    by_exception = {advice for _, _, advice in exceptions._RULES}
    assert all(each.advice == ADVICE[each.code] or each.advice in by_exception for each in found)


@pytest.mark.parametrize("path", exhaustive(GOOD, but=GOOD[::3]), ids=lambda path: path.stem)
def test_good_block_passes(audits, path):
    assert [str(each) for each in errors(audits, path)] == []


@pytest.mark.parametrize("seed", exhaustive(SEEDS, but=SEEDS[::2]), ids=str)
def test_seed_passes(audits, seed):
    assert [str(each) for each in errors(audits, seed)] == []


def test_the_zoo_is_large_and_shows_every_error_there_is():
    assert len(BAD) >= 45
    assert len(GOOD) >= 25
    assert {code_of(path) for path in BAD} == set(ADVICE) - ELSEWHERE - WARNINGS
