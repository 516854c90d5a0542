"""The auditor: what a block does when it runs, found by probes that its code cannot influence.

`run.check_block` takes the composed source of a block and gives a `CheckReport`; `audit` is the
full audit.  They are the judge: they draw inputs, compare outputs and find the verdict, and run
nothing of the block.  That is done in another process (`plugins/sandbox/subject.py`), which is
asked by a `candidate.Candidate`; what is asked for is done in `served` and the modules that it
alone uses (`blame`, `flops`, `hooks`, `lifted`, `memory`, `operations`, `precision`, `trainee`,
`untouched`).  The probes stand one kind per module, in the order in which they run: `run.STAGES`.
What reading alone finds, and the catalogue of findings, is in `gab/checks/`.

May import `gab` and `plugins/sandbox`.
"""

from dataclasses import replace

from genesys_engine.plugins.sandbox.protocol import Limits

SERVED = "genesys_engine.plugins.auditor.served:operations"
"""What the subject of a job that judges a block serves."""


def judged(limits: Limits) -> Limits:
    """Return the limits of a job that judges a block, whose code gets a process of its own."""
    return replace(limits, subject=SERVED)
