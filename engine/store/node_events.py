"""What a log holds of the nodes that jobs run on: facts of machines, which decide nothing."""

from __future__ import annotations

from dataclasses import dataclass

from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.plugins import event_kinds as kinds

NODES = "nodes"
"""Key of the record `sandbox` of a run: node -> its level of isolation."""


@dataclass(frozen=True, kw_only=True)
class NodeJoined(EventRecord):
    """A node gets work, `slots` jobs at a time, at its `level` of isolation."""

    KIND = kinds.NODE_JOINED
    node: str
    level: str
    slots: int
    gpus: float


@dataclass(frozen=True, kw_only=True)
class NodeRefused(EventRecord):
    """A node does not meet the terms of the run, and gets no work."""

    KIND = kinds.NODE_REFUSED
    node: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NodeLost(EventRecord):
    """A node, or what ran there, is gone; its jobs are run again."""

    KIND = kinds.NODE_LOST
    node: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NodeFileDiffers(EventRecord):
    """A node has another file where jobs read `path`; it was sent the right one."""

    KIND = kinds.NODE_FILE_DIFFERS
    node: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TrialPlaced(EventRecord):
    """A job of the task `seq` starts on a node: its training (`train`) or its evaluation."""

    KIND = kinds.TRIAL_PLACED
    seq: int
    stage: str
    node: str


@dataclass(frozen=True, kw_only=True)
class ExecutorWaiting(EventRecord):
    """No job can run: what is asked for, and what there is."""

    KIND = kinds.EXECUTOR_WAITING
    reason: str
