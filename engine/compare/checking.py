"""The check that all arms of a study share: the run's own, in isolated workers, once per source."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from genesys_engine.engine.compare.check_reports import CheckReports
from genesys_engine.engine.designer import (
    CHECK,
    InfrastructureFailure,
    failed_report,
    refuse_infrastructure,
)
from genesys_engine.engine.replies import CheckReply
from genesys_engine.gab.checks import judged
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.gab.sandbox.scratch import remove
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.api import Executor, Limits, Outcome

RETRIES = 3


class StudyCheck:
    """Called with a tree, returns its report as JSON; several threads may call it.

    Equal sources are checked once: a report depends on the source, the scales and the seed alone.
    Equal trees may differ in comments, and then in the lines that a report names.  What `reports`
    has is not checked again.
    """

    def __init__(
        self,
        executor: Executor,
        scratch: Path,
        reports: CheckReports,
        *,
        scales: Sequence[str],
        vocab_size: int,
        seed: int,
        limits: Limits,
    ) -> None:
        self._executor = executor
        self._scratch = scratch
        self._scales = tuple(scales)
        self._order = {"scales": list(scales), "vocab_size": vocab_size, "seed": seed}
        self._limits = limits
        self._reports = reports
        self._numbers = itertools.count()

    def __call__(self, tree: GABTree) -> Mapping[str, Any]:
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

    def _checked(self, source: str) -> Mapping[str, Any]:
        for left in reversed(range(RETRIES + 1)):
            try:
                return self._attempt(source)
            except InfrastructureFailure as failure:
                if not left:
                    raise EnvironmentProblem(
                        f"a check could not be run: {failure}",
                        hint="mend the cause (see `genesys-engine doctor`), then go on",
                    ) from None
        raise AssertionError("the last try returns or raises")

    def _attempt(self, source: str) -> Mapping[str, Any]:
        scratch = self._scratch / f"check-{next(self._numbers)}"
        scratch.mkdir(parents=True)
        payload = {"source": source, **self._order}
        try:
            outcome = self._executor.submit(CHECK, payload, scratch, judged(self._limits)).result()
            refuse_infrastructure(outcome, scratch, self._limits)
        finally:
            remove(scratch)
        if outcome.status != "ok" or outcome.value is None:
            return failed_report(outcome)
        try:
            return CheckReply.read(outcome.value, self._scales)
        except ValidationError as error:
            reason = f"the reply is malformed: {error.errors()[0]['msg']}"
            return failed_report(Outcome("bad_reply", None, reason))
