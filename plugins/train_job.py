"""The training job: train one design and leave its checkpoint.

Runs in an isolated worker process; JSON in, JSON out.  It is given the training text alone: what
a design is scored with is in no process that trains, and `evaluate_job` scores the checkpoint.
Everything in the reply but `facts` depends on the payload alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesys_engine.plugins.api import TrainBudget, Trainer, TrainResult, TrialDiverged
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.models import build_model, device_of
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.trainers.together import train_together

CHECKPOINT = "model.safetensors"


def train(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Train one design as `payload` says; `scratch` receives the checkpoint.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `corpus` (folder), `seed`, `budget` (tokens, batch_tokens, peak_lr), `trainer` (target,
    options).

    The status is `failed` where training diverged.

    Raises:
        InputError: the payload does not fit the corpus.
        Exception: whatever the design's own code raises.
    """
    corpus = Corpus.open(payload["corpus"], training=True)
    options = payload["trainer"]["options"]
    trainer: Trainer = build(payload["trainer"]["target"], options)
    clock = Clock()
    model = build_model(payload, options.get("device", "auto"))
    facts: dict[str, Any] = {"build_s": clock.lap(), "device": device_of(model).type}
    reply = {"parameters": sum(p.numel() for p in model.parameters()), "facts": facts}
    try:
        if (processes := options.get("processes", 1)) > 1:
            result = train_together(payload, scratch / CHECKPOINT, processes)
        else:
            result = trainer.train(model, corpus, _budget(payload), scratch / CHECKPOINT)
    except TrialDiverged as problem:
        return {**reply, "status": "failed", "reason": str(problem)}
    facts |= {"train_s": (train_s := clock.lap()), "tokens_per_s": _speed(result, train_s)}
    facts.update(result.facts)
    return {
        **reply,
        "status": "ok",
        "checkpoint": CHECKPOINT,
        "curve": [list(point) for point in result.curve],
        "tokens": result.tokens,
        "steps": result.steps,
    }


def pace(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Train for a few steps and say how fast that went.

    Payload: as for `train`, and in the place of `model` the name of a `scale` and `vocab_size`, to
    which the block is fitted.  Returns `tokens_per_s`.

    Raises:
        ScaleError: the block cannot be brought to this scale.
        TrialDiverged: the training failed within these steps.
    """
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.scales import fit_scale, get_scale

    scale = get_scale(payload["scale"])
    fit = fit_scale(load_block(payload["source"]), scale, payload["vocab_size"])
    corpus = Corpus.open(payload["corpus"], training=True)
    options = payload["trainer"]["options"]
    trainer: Trainer = build(payload["trainer"]["target"], options)
    model = build_model({**payload, "model": asdict(fit.config)}, options.get("device", "auto"))
    clock = Clock()
    result = trainer.train(model, corpus, _budget(payload), scratch / CHECKPOINT)
    facts = {"tokens_per_s": _speed(result, clock.lap()), **result.facts}
    return {"tokens_per_s": facts["tokens_per_s"]}


def _budget(payload: Mapping[str, Any]) -> TrainBudget:
    return TrainBudget(seed=payload["seed"], **payload["budget"])


def _speed(result: TrainResult, seconds: float) -> float:
    """Return the tokens per second of an attempt of `seconds` that may resume an earlier one."""
    seen = result.tokens - int(result.facts.get("resumed_at_tokens", 0))
    return seen / max(seconds, 1e-9)


class Clock:
    """Measures laps in seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self._last = self._last, time.monotonic()
        return self._last - before
