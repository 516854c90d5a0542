"""The evaluation job: score the checkpoint that a training job left, beside its untrained control.

Runs in an isolated worker process; JSON in, JSON out.  Everything in the reply but `facts`
depends on the payload and the checkpoint alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Evaluator, Score
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.evaluators.heldout import METRIC
from genesys_engine.plugins.models import build_model
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.train_job import Clock

if TYPE_CHECKING:
    from torch import nn

SAMPLES = "samples.safetensors"
Scores = dict[str, Score]


def evaluate(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Score one design as `payload` says; `scratch` receives, in `SAMPLES`, the scores of single
    items that evaluators keep.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `seed` (of the untrained weights), `device`, `corpus` (folder), `checkpoint` (path),
    `evaluators` (list of name, target, options).

    The status is `failed` where a score is not finite, or the trained model is not better than the
    same model untrained.

    Raises:
        InputError: the payload does not fit the corpus, no evaluator gives bits per byte, or the
            checkpoint is not of this model.
        Exception: whatever the design's own code raises.
    """
    corpus = Corpus.open(payload["corpus"])
    evaluators = _evaluators(payload["evaluators"])
    clock = Clock()
    model = build_model(payload, payload["device"])
    facts: dict[str, Any] = {"build_s": clock.lap()}
    untrained = _scores(model, corpus, evaluators)
    trained = _scores(_reload(payload), corpus, evaluators)
    _write_samples(evaluators, scratch / SAMPLES)
    facts["eval_s"] = clock.lap()
    return {
        **_verdict(_what_is_wrong(trained, untrained)),
        "scores": _as_json(trained),
        "controls": {"untrained": _as_json(untrained)},
        "facts": facts,
    }


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


def _reload(payload: Mapping[str, Any]) -> nn.Module:
    """Return a new model, filled from the checkpoint file.

    It starts with the very weights of the untrained control: were the file not read, the scores
    would tie, and a tie is a failure.
    """
    from genesys_engine.plugins.checkpoint import load_checkpoint

    model = build_model(payload, payload["device"])
    load_checkpoint(model, Path(payload["checkpoint"]))
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
