"""The check of a design: its composed source is judged in isolated workers, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.task_result import refuse_infrastructure
from genesys_engine.engine.jobs.worker_jobs import CheckJob, ComponentSpec
from genesys_engine.gab.checks.report import ADVICE, Finding
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.api import Executor, Limits, Outcome
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.sandbox.scratch import remove

CHECK = "genesys_engine.plugins.check_job:check"


@dataclass(frozen=True)
class CheckSettings:
    """What a check needs to know of the experiment; designs must fit all the `scales`."""

    scales: tuple[str, ...]
    vocab_size: int
    seed: int
    limits: Limits
    checkers: tuple[ComponentSpec, ...] = ()


class DesignCheck:
    """Checks designs one by one; several threads may ask."""

    def __init__(self, executor: Executor, settings: CheckSettings, scratch: Path) -> None:
        self._executor = executor
        self._settings = settings
        self._scratch = scratch

    def report(self, source: str, name: str) -> DesignReport:
        """Return the check report of a composed tree.

        Args:
            name: of the scratch folder, which no other check uses at the same time.

        Raises:
            InfrastructureFailure: the machine could not run the check.
            PluginError: a plugin's checker is at fault.
        """
        scratch = self._scratch / f"check-{name}"
        scratch.mkdir(parents=True, exist_ok=True)
        limits = judged(self._settings.limits)
        try:
            job = to_json(self._job(source))
            outcome = self._executor.submit(CHECK, job, scratch, limits).result()
            refuse_infrastructure(outcome, scratch, limits)
        finally:
            remove(scratch)
        if outcome.status != "ok" or outcome.value is None:
            return failed_report(outcome)
        try:
            report = DesignReport.read(outcome.value, self._settings.scales)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return failed_report(Outcome("bad_reply", None, reason))
        refuse_faulty_checker(report, [entry.name for entry in self._settings.checkers])
        return report

    def _job(self, source: str) -> CheckJob:
        asked = self._settings
        return CheckJob(source, asked.scales, asked.vocab_size, asked.seed, asked.checkers)


def refuse_faulty_checker(report: DesignReport, checkers: Sequence[str]) -> None:
    """Raise `PluginError` where one of the plugins' `checkers`, and not the design, is at fault."""
    fault = report.measurements.checker_fault
    if fault is not None and fault.name in checkers:
        raise PluginError(
            fault.reason,
            where=f"checker {fault.name}",
            hint="the run needs all its checkers: fix or update the plugin and resume, or start"
            " another run without it",
        )


def failed_report(outcome: Outcome) -> DesignReport:
    """Return the report of a check that did not come to its end."""
    code = f"check.{outcome.status}"
    return DesignReport.refused(Finding(code, "error", outcome.reason, ADVICE[code]))
