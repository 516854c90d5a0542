"""The cheap checks that every design passes before anything is spent on its training.

`run.check_block` takes the composed source of a block and gives a `CheckReport`.  It is the judge:
it draws inputs, compares outputs and finds the verdict, and runs nothing of the block.  That is
done in another process (`gab.sandbox.subject`), which it asks by a `candidate.Candidate`; what is
asked for is done in `served` and the modules that it alone uses (`blame`, `flops`, `hooks`,
`lifted`, `memory`, `operations`, `precision`, `trainee`, `untouched`).  The catalogue of findings
is `report.ADVICE`; the checks themselves stand one kind per module, in the order in which they
run: `run.STAGES`.
"""

from dataclasses import replace

from genesys_engine.gab.checks.report import ADVICE, CheckReport, Finding
from genesys_engine.gab.sandbox.protocol import Limits

__all__ = ["ADVICE", "SERVED", "CheckReport", "Finding", "judged"]

SERVED = "genesys_engine.gab.checks.served:operations"
"""What the subject of a job that judges a block serves."""


def judged(limits: Limits) -> Limits:
    """Return the limits of a job that judges a block, whose code gets a process of its own."""
    return replace(limits, subject=SERVED)
