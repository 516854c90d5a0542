"""What an executor whose jobs run on nodes tells while it works; it decides nothing.

The engine writes it into the log next to the decisions, outside the digest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from genesys_engine.plugins.sandbox import Isolation


@dataclass(frozen=True)
class NodeJoined:
    """A node meets the terms of the run and gets work; `slots` jobs at a time."""

    node: str
    isolation: Isolation
    slots: int
    gpus: float = 0.0


@dataclass(frozen=True)
class NodeRefused:
    """A node gets no work, and why."""

    node: str
    reason: str


@dataclass(frozen=True)
class NodeLost:
    """A node, or what ran there, is gone; its jobs are run again."""

    node: str
    reason: str


@dataclass(frozen=True)
class NodeDiffers:
    """A node has another file where a job reads `path`; it was sent the right one."""

    node: str
    path: str


@dataclass(frozen=True)
class JobPlaced:
    """The job with this scratch folder starts on a node."""

    scratch: str
    node: str


@dataclass(frozen=True)
class Waiting:
    """No job runs and none can: what is asked for, and what there is."""

    reason: str


News = NodeJoined | NodeRefused | NodeLost | NodeDiffers | JobPlaced | Waiting
Tell = Callable[[News], None]
"""Takes news, from any thread."""


def untold(news: News) -> None:
    """Stand in for an engine that does not want to know."""
