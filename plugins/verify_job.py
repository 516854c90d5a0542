"""The verification job: train one design, reload its checkpoint, score it beside its controls.

Runs in an isolated worker process; JSON in, JSON out.  Everything in the reply but `facts`
depends on the payload alone.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Evaluator, Score, TrainBudget, Trainer, TrialDiverged
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.evaluators.heldout import METRIC
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.trainers.together import train_together

if TYPE_CHECKING:
    from torch import nn

CHECKPOINT = "model.safetensors"
SAMPLES = "samples.safetensors"
Scores = dict[str, Score]


def verify(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Train and score one design as `payload` says; `scratch` receives the checkpoint and, in
    `SAMPLES`, the scores of single items that evaluators keep.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `corpus` (folder), `seed`, `budget` (tokens, batch_tokens, peak_lr), `trainer` (target,
    options), `evaluators` (list of name, target, options).

    The status is `failed` where training diverged, a score is not finite, or the trained model
    is not better than the same model untrained.  Scores are those of a fresh model that was
    filled from the checkpoint file.

    Raises:
        InputError: the payload does not fit the corpus, or no evaluator gives bits per byte.
        Exception: whatever the design's own code raises.
    """
    corpus = Corpus.open(payload["corpus"])
    trainer: Trainer = build(payload["trainer"]["target"], payload["trainer"]["options"])
    evaluators = _evaluators(payload["evaluators"])
    clock = _Clock()
    model = build_model(payload)
    device = next((p.device.type for p in model.parameters()), "cpu")
    facts: dict[str, float | int | str] = {"build_s": clock.lap(), "device": device}
    untrained = _scores(model, corpus, evaluators)
    facts["eval_s"] = eval_s = clock.lap()
    budget = TrainBudget(seed=payload["seed"], **payload["budget"])
    reply: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "checkpoint": CHECKPOINT,
        "controls": {"untrained": _as_json(untrained)},
        "facts": facts,
    }
    try:
        if (processes := payload["trainer"]["options"].get("processes", 1)) > 1:
            result = train_together(payload, scratch / CHECKPOINT, processes)
        else:
            result = trainer.train(model, corpus, budget, scratch / CHECKPOINT)
    except TrialDiverged as problem:
        return {**reply, **_verdict(str(problem))}
    facts["train_s"] = train_s = clock.lap()
    seen = result.tokens - int(result.facts.get("resumed_at_tokens", 0))  # in these seconds
    facts["tokens_per_s"] = seen / max(train_s, 1e-9)
    facts.update(result.facts)
    trained = _scores(_reload(payload, result.checkpoint), corpus, evaluators)
    _write_samples(evaluators, scratch / SAMPLES)
    facts["eval_s"] = eval_s + clock.lap()
    facts["max_rss_bytes"] = _peak_memory()
    return {
        **reply,
        **_verdict(_what_is_wrong(trained, untrained)),
        "scores": _as_json(trained),
        "curve": [list(point) for point in result.curve],
        "tokens": result.tokens,
        "steps": result.steps,
    }


def pace(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Train for a few steps and say how fast that went; nothing is scored.

    Payload: as for `verify` without `evaluators`, and in the place of `model` the name of a
    `scale` and `vocab_size`, to which the block is fitted.  Returns `tokens_per_s` and `build_s`.

    Raises:
        ScaleError: the block cannot be brought to this scale.
        TrialDiverged: the training failed within these steps.
    """
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.scales import fit_scale, get_scale

    scale = get_scale(payload["scale"])
    fit = fit_scale(load_block(payload["source"]), scale, payload["vocab_size"])
    corpus = Corpus.open(payload["corpus"])
    trainer: Trainer = build(payload["trainer"]["target"], payload["trainer"]["options"])
    clock = _Clock()
    model = build_model({**payload, "model": asdict(fit.config)})
    build_s = clock.lap()
    budget = TrainBudget(seed=payload["seed"], **payload["budget"])
    result = trainer.train(model, corpus, budget, scratch / CHECKPOINT)
    facts = {"tokens_per_s": result.tokens / max(clock.lap(), 1e-9), **result.facts}
    return {"tokens_per_s": facts["tokens_per_s"], "build_s": build_s}


def controls(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Score the bigram control: payload `corpus`, `context`, `evaluators`.

    It is the first model that the evaluators score, so that what they cannot use is found here,
    before any training: `{"refused": {message, where, hint}}` in place of `{"bigram": {metric:
    score}, "not_finite": [metric]}`.
    """
    from genesys_engine.plugins.controls import BigramModel

    corpus = Corpus.open(payload["corpus"])
    model = BigramModel(corpus, int(payload["context"]))
    try:
        scores = _scores(model, corpus, _evaluators(payload["evaluators"]))
    except InputError as error:
        told = {"message": error.message, "where": error.where, "hint": error.hint}
        return {"refused": told}
    found = _as_json(scores)
    return {"bigram": found, "not_finite": sorted(scores.keys() - found.keys())}


def build_model(payload: Mapping[str, Any]) -> nn.Module:
    """Return the untrained language model around the composed block."""
    from genesys_engine.gab.compose import load_block
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import ModelConfig
    from genesys_engine.plugins.models import resolve_device

    device = resolve_device(payload["trainer"]["options"].get("device", "auto"))
    block = load_block(payload["source"])
    config = ModelConfig(**payload["model"])
    return LanguageModel(block, config, seed=payload["seed"]).to(device)


def _reload(payload: Mapping[str, Any], checkpoint: Path) -> nn.Module:
    """Return a new model, filled from the checkpoint file.

    It starts with the very weights of the untrained control: were the file not read, the scores
    would tie, and a tie is a failure.
    """
    from genesys_engine.plugins.checkpoint import load_checkpoint

    model = build_model(payload)
    load_checkpoint(model, checkpoint)
    return model


def _evaluators(entries: Sequence[Mapping[str, Any]]) -> list[Evaluator]:
    """Construct the evaluators that a payload lists."""
    return [build(entry["target"], entry["options"]) for entry in entries]


def _scores(model: nn.Module, corpus: Corpus, evaluators: Sequence[Evaluator]) -> Scores:
    """Return the scores of all evaluators by metric.

    Raises:
        InputError: none of them gives bits per byte, which every verdict needs.
    """
    scores: Scores = {}
    for evaluator in evaluators:
        scores.update(evaluator.evaluate(model, corpus))
    if METRIC not in scores:
        raise InputError(
            f"no evaluator gives {METRIC}", where="evaluators", hint="add the evaluator `heldout`"
        )
    return scores


def _write_samples(evaluators: Sequence[Evaluator], path: Path) -> None:
    """Write the last model's scores of single items; evaluators without any have no `samples`."""
    import numpy as np
    from safetensors.numpy import save_file

    samples: dict[str, Any] = {}
    for evaluator in evaluators:
        samples.update(getattr(evaluator, "samples", {}))
    if samples:
        rows = {name: np.asarray(row, dtype=np.float32).ravel() for name, row in samples.items()}
        save_file(rows, path)


def _what_is_wrong(trained: Scores, untrained: Scores) -> str:
    """Return why the trained scores are no result, or ""."""
    for metric, score in trained.items():
        if not math.isfinite(score.value):
            return f"{metric} of the trained model is {score.value}"
    for metric in sorted(trained.keys() ^ untrained.keys()):
        return f"{metric} was scored of the trained or of the untrained model alone"
    for metric, score in trained.items():
        if score.n != untrained[metric].n:
            counts = (
                f"{score.n} items of the trained model and {untrained[metric].n} of it untrained"
            )
            return f"{metric} was scored with {counts}"
    after, before = trained[METRIC].value, untrained[METRIC].value
    if math.isfinite(before) and not after < before:
        return (
            f"trained model does not beat its untrained control: {after:.4f} against "
            f"{before:.4f} held-out bits per byte"
        )
    return ""


def _verdict(problem: str) -> dict[str, str]:
    """Return status and reason."""
    return {"status": "failed" if problem else "ok", "reason": problem}


def _as_json(scores: Scores) -> dict[str, dict[str, Any]]:
    """Return finite scores as JSON objects; JSON has no NaN."""
    return {name: asdict(s) for name, s in scores.items() if math.isfinite(s.value)}


def _peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class _Clock:
    """Measures laps in seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self._last = self._last, time.monotonic()
        return self._last - before
