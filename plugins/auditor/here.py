"""The checks with the block in this very process: for code that is trusted, and for tests.

What checks the code of anybody else asks another process (`plugins.check_job`,
`plugins.audit_job`): a verdict that is found where a block runs is worth what the block is.
"""

from __future__ import annotations

from collections.abc import Sequence

from genesys_engine.gab.checks.report import CheckReport
from genesys_engine.plugins.auditor import audit, run
from genesys_engine.plugins.auditor.audit import Audit, Order
from genesys_engine.plugins.auditor.candidate import here


def check_block(source: str, *, vocab_size: int, seed: int, scales: Sequence[str]) -> CheckReport:
    """Return what `run.check_block` finds."""
    return run.check_block(
        source, vocab_size=vocab_size, seed=seed, scales=scales, candidate=here()
    )


def audit_block(order: Order) -> Audit:
    """Return what `audit.audit_block` finds."""
    return audit.audit_block(order, here())
