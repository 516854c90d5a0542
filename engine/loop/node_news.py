"""The news of an executor whose jobs run on nodes, as the log holds them."""

from __future__ import annotations

import re
from pathlib import Path

from genesys_engine.engine.evaluate.verification import EVALUATION
from genesys_engine.engine.evaluate.verifier import SCRATCH
from genesys_engine.engine.store.event_types import EventRecord
from genesys_engine.engine.store.node_events import (
    NODES,
    ExecutorWaiting,
    NodeFileDiffers,
    NodeJoined,
    NodeLost,
    NodeRefused,
    TrialPlaced,
)
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.executors import news

_OF_TRIAL = re.compile(rf"{SCRATCH}(\d+)({EVALUATION})?")


def record_of_news(told: news.News) -> EventRecord | None:
    """Return what the log holds of news; None for a job that is no trial's."""
    match told:
        case news.NodeJoined(node, isolation, slots, gpus):
            return NodeJoined(node=node, level=isolation.level, slots=slots, gpus=gpus)
        case news.NodeRefused(node, reason):
            return NodeRefused(node=node, reason=reason)
        case news.NodeLost(node, reason):
            return NodeLost(node=node, reason=reason)
        case news.NodeDiffers(node, path):
            return NodeFileDiffers(node=node, path=path)
        case news.Waiting(reason):
            return ExecutorWaiting(reason=reason)
        case news.JobPlaced(scratch, node):
            of_trial = _OF_TRIAL.fullmatch(Path(scratch).name)
            if of_trial is None:
                return None
            stage = "evaluation" if of_trial[2] else "training"
            return TrialPlaced(seq=int(of_trial[1]), stage=stage, node=node)


def note_level(store: Store, joined: NodeJoined) -> None:
    """Put a node's level of isolation into the run's record."""
    sandbox = dict(store.meta("sandbox") or {})
    sandbox[NODES] = {**sandbox.get(NODES, {}), joined.node: joined.level}
    store.set_meta("sandbox", sandbox)
