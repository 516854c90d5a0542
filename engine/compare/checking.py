"""The check shared by all arms of a study: that of a run, in isolated workers, once per source."""

from __future__ import annotations

import itertools

from genesys_engine.engine.check.design_check import DesignCheck
from genesys_engine.engine.compare.check_reports import CheckReports
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.task_result import patiently
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree


class StudyCheck:
    """Called with a tree, returns its report; several threads may call it.

    Equal sources are checked once: a report depends only on the source, the scales and the seed.
    Equal trees may differ in comments, and hence in the lines that a report names.  Sources that
    have a report are not checked again.
    """

    def __init__(self, check: DesignCheck, reports: CheckReports) -> None:
        self._check = check
        self._reports = reports
        self._numbers = itertools.count()

    def __call__(self, tree: GABTree) -> DesignReport:
        """Return the report of `tree`.

        Raises:
            EnvironmentProblem: the machine could not run the check.
        """
        source = compose(tree)
        known = self._reports.find(source)
        if known is None:
            known = self._checked(source)
            self._reports.add(source, known)
        return known

    def _checked(self, source: str) -> DesignReport:
        return patiently(
            lambda _: self._check.report(source, str(next(self._numbers))),
            "a check",
            "fix the cause (see `genesys-engine doctor`), then resume",
        )
