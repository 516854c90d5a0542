"""The cheap checks that every design passes before anything is spent on its training.

`run.check_block` takes the composed source of a block and gives a `CheckReport`.  It executes
that source, so it is only ever called in an isolated worker (`gab.sandbox`).  The catalogue of
findings is `report.ADVICE`; the checks themselves stand one kind per module, in the order in
which they run: `run.STAGES`.
"""

from genesys_engine.gab.checks.report import ADVICE, CheckReport, Finding

__all__ = ["ADVICE", "CheckReport", "Finding"]
