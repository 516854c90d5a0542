"""What an executor offers, for `genesys-engine doctor --executor NAME`.

An executor whose jobs run on nodes has a static method `survey(options)`, which yields these.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """One thing that was looked at; `usable` says whether a run could have it as it is."""

    name: str
    usable: bool
    found: str
    fix: str = ""
