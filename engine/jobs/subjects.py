"""Jobs whose subjects serve models: what they may read besides."""

from __future__ import annotations

from dataclasses import replace

from genesys_engine.plugins.api import Limits
from genesys_engine.plugins.model_subject import SUBJECT, SUBJECTS


def serving(limits: Limits, weights: str | None) -> Limits:
    """Return the limits of a job whose subjects serve models with the weights in a file; the judge
    counts what is in it."""
    file = () if weights is None else (weights,)
    readable, served = (*limits.readable, *file), (*limits.subject_readable, *file)
    return replace(
        limits, readable=readable, subject=SUBJECT, subjects=SUBJECTS, subject_readable=served
    )
