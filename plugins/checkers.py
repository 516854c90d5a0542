"""Runs the checkers of plugins on a block that has passed the built-in checks.

Checkers run with the judge: no code of the block is in their process, and they request what it
computes (`ProbedBlock`).  An exception in a checker is the checker's fault, not a finding, unless
the block's own code raised it: a broken plugin must not reject a design.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.checks.report import CheckReport, Finding
from genesys_engine.plugins.api import Checker, CheckSubject
from genesys_engine.plugins.targets import build

if TYPE_CHECKING:
    from torch import Tensor

    from genesys_engine.plugins.auditor.candidate import Candidate, Model

FAULT = "checker_fault"
"""Measurement that tells the engine which checker failed, and how."""


class ProbedBlock:
    """A block that is run in its own process; see `api.CheckedBlock`."""

    def __init__(self, candidate: Candidate, model: Model) -> None:
        self._candidate = candidate
        self._model = model

    @property
    def parameters(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of its parameters, by name."""
        return {each.name: each.shape for each in self._model.parameters}

    @property
    def units(self) -> Mapping[str, str]:
        """The classes of the units inside it, by path."""
        from genesys_engine.plugins.auditor.candidate import rows

        return dict(rows(self._candidate.of(self._model, "units")[0], "units", str, str))

    def train(self, mode: bool = True) -> ProbedBlock:
        """Have the next calls be in train mode, or in eval mode."""
        self._model.train(mode)
        return self

    def eval(self) -> ProbedBlock:
        """Have the next calls be in eval mode."""
        return self.train(False)

    def __call__(self, X: Tensor, **Z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run it without a gradient; of Z, what tensors it holds."""
        from genesys_engine.plugins.auditor.candidate import names, only

        answer, made = self._candidate.of(self._model, "call", X, *Z.values(), names=list(Z))
        named = names(answer, "names")
        Y, *values = only(made, 1 + len(named))
        return Y, dict(zip(named, values, strict=True))

    def gradients(self, X: Tensor, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Run it; return the output, and X's gradient of the mean of `weights` times the output."""
        from genesys_engine.plugins.auditor.candidate import found

        answer, (Y, *pulled) = self._candidate.of(self._model, "pull_block", X, weights)
        if not pulled:
            return Y, None
        return Y, found(answer, pulled, 1 + len(self._model.parameters))[0]


def check_subject(
    source: str, seed: int, fits: Mapping[str, Mapping[str, Any]], candidate: Candidate
) -> CheckSubject:
    """Return a checker's view of the block that `candidate` has loaded."""

    def block(
        embed_dim: int, block_loc: tuple[int, int] = (0, 1), *, dtype: str = "float32"
    ) -> ProbedBlock:
        index, blocks = block_loc
        shape = {"width": embed_dim, "index": index, "blocks": blocks, "dtype": dtype}
        return ProbedBlock(
            candidate, candidate.build("block", **shape, device="", seed=seed, placed=False)
        )

    return CheckSubject(source, block, seed, fits)


def with_checkers(
    report: CheckReport, payload: Mapping[str, Any], candidate: Candidate
) -> CheckReport:
    """Return `report` with the findings of the payload's `checkers` added.

    The first error ends it: later checkers may rely on earlier ones.
    """
    # Imports torch; the engine reads this module for `FAULT` alone.
    from genesys_engine.gab.checks.sourcemap import SourceMap
    from genesys_engine.plugins.sandbox.subject import SubjectRaised

    for entry in payload.get("checkers", ()) if report.passed else ():
        fits = report.measurements["fits"]
        subject = check_subject(payload["source"], payload["seed"], fits, candidate)
        try:
            found = _findings(build(entry["target"], entry["options"]), subject)
        except Exception as error:
            source = SourceMap(payload["source"])
            what = error.raised if isinstance(error, SubjectRaised) else None
            if what is None or source.place_of_error(what) == (None, None):
                fault = {"name": entry["name"], "reason": f"{type(error).__name__}: {error}"[:2000]}
                return CheckReport(report.findings, {**report.measurements, FAULT: fault})
            found = (source.fault("forward.error", what),)
        report = CheckReport((*report.findings, *found), report.measurements)
        if not report.passed:
            break
    return report


def _findings(checker: Checker, subject: CheckSubject) -> tuple[Finding, ...]:
    """Return the findings of a checker.

    Raises:
        TypeError, ValueError: it returns no findings, or some that are not JSON (NaN, tensors).
    """
    found = tuple(checker.check(subject))
    for finding in found:
        if not isinstance(finding, Finding):
            raise TypeError(f"a checker returns findings, not {type(finding).__name__}")
        if finding.severity not in ("error", "warning"):
            raise ValueError(f"severity {finding.severity!r} is neither 'error' nor 'warning'")
    json.dumps(CheckReport(found).to_json(), allow_nan=False)
    return found
