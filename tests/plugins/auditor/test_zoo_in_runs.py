"""The check of a run over the zoo: what it refuses, and exactly what is left to the full audit.

One bad block of each code here, all of them in `make test-all`.
"""

import pytest
from exhaustive import exhaustive
from zoo_blocks import BAD, BY_CODE, GOOD, code_of

from genesys_engine.engine.check.design_check import CHECK, failed_report
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

pytestmark = pytest.mark.slow

SCALES = ("0.2M",)

# The ladder trains every design longer than the audit does, next to the same controls; a second,
# shorter training would cost each child a third more and say less.
LEFT = {"training.flat", "training.slow", "training.too_good"}
# A run composes its blocks itself, so their class is in order; here another stage finds it out.
SAID_OTHERWISE = {
    "static.constructor": "build.error",
    "static.forward": "forward.error",
    "static.no_class": "load.error",
}


@pytest.fixture(scope="module")
def checks(selected, tmp_path_factory):
    """Submit everything at once; path -> future of an outcome."""
    preload = ("torch", "torch._dynamo", "genesys_engine.plugins.check_job")
    options = ProcessOptions(preload=preload)
    executor = ProcessExecutor(options, workers=2)
    scratch = tmp_path_factory.mktemp("zoo-in-runs")
    yield {
        path: executor.submit(
            CHECK,
            {"source": path.read_text("utf-8"), "scales": SCALES, "vocab_size": 512, "seed": 0},
            scratch / path.stem,
            judged(Limits()),
        )
        for path in selected("path")
    }
    executor.close()


def errors(outcome):
    if outcome.value is None:
        return set(failed_report(outcome).errors)
    return set(DesignReport.read(outcome.value, SCALES).errors)


@pytest.mark.parametrize("path", exhaustive(BAD, but=BY_CODE.values()), ids=lambda path: path.stem)
def test_a_bad_block_is_no_design(checks, path):
    code = code_of(path)
    wanted = set() if code in LEFT else {SAID_OTHERWISE.get(code, code)}
    assert errors(checks[path].result(280)) == wanted


@pytest.mark.parametrize("path", exhaustive(GOOD, but=GOOD[1::3]), ids=lambda path: path.stem)
def test_a_good_block_is_a_design(checks, path):
    if path.stem == "answers_with_x_alone":  # allowed in a file; a run composes (X, Z)
        assert errors(checks[path].result(280)) == {"reply.wrong"}
    else:
        assert errors(checks[path].result(280)) == set()
