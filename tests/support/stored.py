"""Records as a run stores them, with what a test does not care about filled in."""

from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.jobs.results import DesignResult
from genesys_engine.engine.jobs.scores import Score
from genesys_engine.engine.jobs.tasks import DesignTask

NOTHING_DONE = DesignResult()


def design_report(measurements=None, findings=(), *, passed=None):
    """Return the report of a check; it has passed where no finding is an error."""
    found = list(findings)
    failed = any(each["severity"] == "error" for each in found)
    data = {
        "passed": not failed if passed is None else passed,
        "findings": found,
        "measurements": measurements or {},
    }
    return DesignReport.from_json(data)


def design_task(seed=None):
    """Return the task of a design without parents."""
    return DesignTask((), seed, known_before=0, verified_before=0, applied_before=0)


def score(value, *, stderr=None, up=False, n=1):
    """Return a score; less is better, as for bits per byte."""
    return Score(value, stderr, higher_is_better=up, n=n)
