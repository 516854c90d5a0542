"""Checkers of plugins in the check job: their findings count, their faults are their own."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genesys_engine.engine.check.design_check import refuse_faulty_checker
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.api import CheckSubject, Finding
from genesys_engine.plugins.auditor import SERVED
from genesys_engine.plugins.check_job import check
from genesys_engine.plugins.sandbox.subject import SameProcess


def finding(severity: Any, **evidence: Any) -> Finding:
    return Finding("mine.found", severity, "found.", "Change it.", evidence=evidence)


class Warns:
    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        block = subject.block(64)
        assert sum(map(math.prod, block.parameters.values())) > 10_000
        yield finding("warning", units=len(block.units), scales=len(subject.fits))


class LooksAhead:
    """Runs the block: outputs, Z, gradients and modes."""

    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        block = subject.block(64, (0, 2), dtype="float64").eval()
        generator = torch.Generator().manual_seed(subject.seed)
        X = torch.randn(2, 9, 64, generator=generator, dtype=torch.float64)
        other = torch.cat([X[:, :5], -X[:, 5:]], 1)
        one, two = (block(each)[0][:, :5] for each in (X, other))
        weights = torch.zeros_like(X)
        weights[:, :5] = 1.0
        Y, slope = block.gradients(X, weights)
        assert torch.equal(Y, block(X, **block(X)[1])[0])
        assert slope is not None
        late = float(slope[:, 5:].abs().max())
        yield finding("warning", change=float((one - two).abs().max()), late=late)


class Refuses:
    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        yield finding("error", seed=subject.seed)


class Raises:
    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        raise ValueError("mine alone")


class MakesTheBlockRaise:
    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        subject.block(64)(torch.zeros(1, 4, 5))
        yield finding("warning")


class SaysNaN:
    def check(self, subject: CheckSubject) -> Iterator[Finding]:
        yield finding("warning", value=math.nan)


class SaysNothing:
    def check(self, subject: CheckSubject) -> list[Any]:
        return ["bad"]


def report(*names: str) -> dict[str, Any]:
    entries = [{"name": n, "target": f"{__name__}:{n}", "options": {}} for n in names]
    payload = {
        "source": compose(library.seed("gpt")),
        "vocab_size": 512,
        "seed": 3,
        "scales": ["0.2M"],
        "checkers": entries,
    }
    return check(payload, Path(), SameProcess(SERVED, Path()))


def test_findings_are_added_and_an_error_refuses() -> None:
    told = report("Warns", "Refuses", "Raises")  # the last is not asked any more
    assert [f["severity"] for f in told["findings"]] == ["warning", "error"]
    assert told["findings"][0]["evidence"]["scales"] == 1
    assert told["findings"][0]["evidence"]["units"] >= 3
    assert told["findings"][1]["evidence"] == {"seed": 3}
    assert told["passed"] is False
    refuse_faulty_checker(DesignReport.from_json(told), ["Warns", "Refuses", "Raises"])


def test_a_checker_has_the_block_run_and_judges_what_comes_back() -> None:
    (found,) = report("LooksAhead")["findings"]
    assert found["evidence"] == {"change": 0.0, "late": 0.0}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Raises", "ValueError: mine alone"),
        ("SaysNaN", "ValueError"),
        ("SaysNothing", "TypeError: a checker returns findings, not str"),
        ("NotThere", "PluginError: cannot import"),
    ],
)
def test_a_fault_of_the_checker_is_not_the_design_s(name: str, said: str) -> None:
    found = DesignReport.from_json(report("Warns", name))
    assert found.passed
    refuse_faulty_checker(found, ["Warns"])  # nobody may blame what is not there
    with pytest.raises(PluginError, match="update the plugin") as caught:
        refuse_faulty_checker(found, ["Warns", name])
    assert caught.value.where == f"checker {name}"
    assert said in caught.value.message


def test_what_the_block_raises_is_the_block_s() -> None:
    told = report("MakesTheBlockRaise")
    assert [f["code"] for f in told["findings"]] == ["forward.error"]
    assert told["findings"][0]["line"]
    refuse_faulty_checker(DesignReport.from_json(told), ["MakesTheBlockRaise"])
