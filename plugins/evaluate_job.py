"""The evaluation job: score the checkpoint that a training job left, next to its untrained control.

The job's process holds held-out text, items and evaluators, and runs no code of the candidate: that
answers from processes of its own (`model_subject`), which get tokens and give back logits.  Two of
them: one is asked what the evaluators ask, the other one a sample of it again, without what follows
(`crosscheck`).  JSON in, JSON out; everything in the reply but `facts` depends on the payload, the
checkpoint and the corpus alone.

Imports torch: workers only.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import BlockScores, Evaluator, Score
from genesys_engine.plugins.as_trained import looks_ahead
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.crosscheck import Sample, asked_again, compare, independent
from genesys_engine.plugins.evaluators.heldout import METRIC
from genesys_engine.plugins.learned import count_learned
from genesys_engine.plugins.remote_model import RemoteModel, Watch
from genesys_engine.plugins.sandbox.subject import Asked
from genesys_engine.plugins.students import Students
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.train_job import Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    Rows = NDArray[np.float64]

SAMPLES = "samples.safetensors"
MODEL = ("source", "model", "seed", "device")  # keys that a subject is given
SECRET_BYTES = 1 << 20  # of held-out text that a draw depends on
Scores = dict[str, Score]


def evaluate(
    payload: Mapping[str, Any], scratch: Path, asked: Asked, blind: Asked
) -> dict[str, Any]:
    """Score one design as `payload` says; `scratch` receives, in `SAMPLES`, the scores of single
    items that evaluators keep.

    Payload: `source` (composed module), `model` (d_model, n_blocks, vocab_size, context),
    `seed` (of the untrained weights), `device`, `corpus` (folder), `checkpoint` (path),
    `batch_tokens` (of a training step), `micro_batch` (sequences of a forward pass there; left out:
    the trainer's default), `evaluators` (list of name, target, options).

    The status is `failed` where a score is not finite, where the trained model is not better than
    the same model untrained, or (cause `contradicted`) where the sample contradicts a score, the
    checkpoint the number of parameters, or a training step looks ahead.

    Args:
        asked: serves the models that are scored (`model_subject`).
        blind: serves the trained one again, for the sample; it has seen none of the texts.

    Raises:
        InputError: the payload does not fit the corpus, or no evaluator gives bits per byte.
        SubjectRaised: the design's own code raised, or the checkpoint is not of this model.
    """
    corpus = Corpus.open(payload["corpus"])
    evaluators = _evaluators(payload["evaluators"])
    clock = Clock()
    of_block = _of_block(asked, payload, evaluators)  # first: nothing held out was shown yet
    facts: dict[str, Any] = {"students_s": clock.lap()} if of_block.trained else {}
    fewer = [getattr(each, "for_control", lambda each=each: each)() for each in evaluators]
    fresh = _built(asked, payload, None)
    learned = count_learned(asked, payload["checkpoint"])
    untrained = {**_scores(fresh, corpus, fewer), **of_block.untrained}
    before = _bits(fewer)
    facts["untrained_s"] = clock.lap()
    trained, samples = _watched(asked, payload, corpus, evaluators)
    trained |= of_block.trained
    asked.end()  # before the other one is asked: they could tell each other by their use of time
    facts["trained_s"] = clock.lap()
    cause, problem = "training", _what_is_wrong(trained, untrained)
    if not problem:
        problem = _not_better(trained, untrained, _bits(evaluators), before)
    if not problem:
        cause = "contradicted"
        again = _built(blind, payload, payload["checkpoint"])
        problem = learned.contradiction() or _contradiction(again, payload, samples)
        problem = problem or _looks_ahead(blind, payload, corpus)
    facts["blind_s"] = clock.lap()
    facts["eval_s"] = sum(facts.values())
    _write_samples(evaluators, scratch / SAMPLES)
    return {
        "status": "failed" if problem else "ok",
        "cause": cause if problem else "",
        "reason": problem,
        "scores": _as_json(trained),
        "controls": {"untrained": _as_json(untrained)},
        "parameters": learned.parameters,
        "facts": facts,
    }


def _looks_ahead(subject: Asked, payload: Mapping[str, Any], corpus: Corpus) -> str:
    """Say how the trained model, or the one that it began as, looks ahead in a training step.

    Each is built for it: a model that was ever in eval mode could know that.
    """
    secret, problem = _secret(payload, corpus), ""
    for checkpoint in (payload["checkpoint"], None):
        if not problem:
            _built(subject, payload, checkpoint)
            untrained = checkpoint is None
            problem = looks_ahead(subject, payload, corpus, secret, untrained=untrained)
    return problem


def confirm(
    payload: Mapping[str, Any], scratch: Path, asked: Asked, blind: Asked
) -> dict[str, Any]:
    """Compare a model's answers with and without the continuation in its input, in a larger sample.

    Payload: as for `evaluate`, with the number of `texts` in the place of `evaluators`.  Returns
    what `Comparison.to_json` says of the places whose tokens are text.
    """
    corpus = Corpus.open(payload["corpus"])
    sample = Sample(_secret(payload, corpus), payload["texts"])
    model = _built(asked, payload, payload["checkpoint"], sample)
    windows = corpus.heldout_windows(model.config.context, payload["texts"])
    at_once = model.rows(model.config.context)
    for start in range(0, len(windows.inputs), at_once):
        model(torch.from_numpy(windows.inputs[start : start + at_once]))
    asked.end()
    end = corpus.end_of_text
    places = [p for p in independent(sample.places) if end not in (p.before[-1], p.following)]
    again = _built(blind, payload, payload["checkpoint"])
    return compare(places, asked_again(again, places)).to_json(corpus.byte_lengths)


def controls(payload: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """Score the bigram control: payload `corpus`, `context`, `evaluators`.

    It is the first model that the evaluators score, so that what they cannot use is found here,
    before any training: `{"refused": {message, where, hint}}` in place of `{"bigram": {metric:
    score}, "not_finite": [metric]}`.  Where models of a block are trained, guessing stands for it.
    """
    from genesys_engine.plugins.controls import BigramModel

    corpus = Corpus.open(payload["corpus"])
    model = BigramModel(corpus, int(payload["context"]))
    try:
        evaluators = _evaluators(payload["evaluators"])
        scores = _scores(model, corpus, evaluators)
        for evaluator in filter(_trains, evaluators):
            scores.update(evaluator.guessed())
    except InputError as error:
        refusal = {"message": error.message, "where": error.where, "hint": error.hint}
        return {"refused": refusal}
    found = _as_json(scores)
    return {"bigram": found, "not_finite": sorted(scores.keys() - found.keys())}


# --- the models that are asked -------------------------------------------------------------------


def _built(
    subject: Asked, payload: Mapping[str, Any], checkpoint: str | None, watch: Watch | None = None
) -> RemoteModel:
    """Have a subject build the model, with the weights of a checkpoint or with random ones.

    Both begin with the very same random weights: were the file not read, the scores would tie, and
    a tie is a failure.
    """
    subject.ask("build", {**{key: payload[key] for key in MODEL}, "checkpoint": checkpoint})
    return RemoteModel(subject, payload["model"], watch)


def _secret(payload: Mapping[str, Any], corpus: Corpus) -> list[int]:
    """Return the seed of a draw: of this verification, and not to be known without the text that
    is held out."""
    digest = hashlib.sha256(f"{payload['seed']}\n{payload['source']}\n".encode())
    digest.update(corpus.heldout[: SECRET_BYTES // corpus.heldout.itemsize].tobytes())
    return list(digest.digest())


def _watched(
    asked: Asked, payload: Mapping[str, Any], corpus: Corpus, evaluators: Sequence[Evaluator]
) -> tuple[Scores, list[Sample]]:
    """Return the trained model's scores, and a sample of each evaluator's questions."""
    secret = _secret(payload, corpus)
    samples = [Sample([*secret, number]) for number in range(len(evaluators))]
    _built(asked, payload, payload["checkpoint"])
    scores: Scores = {}
    for evaluator, sample in zip(evaluators, samples, strict=True):
        if _trains(evaluator):
            continue
        scores.update(evaluator.evaluate(RemoteModel(asked, payload["model"], sample), corpus))
    return scores, samples


def _contradiction(
    model: RemoteModel, payload: Mapping[str, Any], samples: Sequence[Sample]
) -> str:
    """Say how a sample contradicts the scores, asked of a model that has seen none of the texts."""
    drawn = [(number, p) for number, sample in enumerate(samples) for p in sample.places]
    kept = set(map(id, independent([place for _, place in drawn])))
    drawn = [(number, place) for number, place in drawn if id(place) in kept]
    if not drawn:
        return ""
    again = asked_again(model, [place for _, place in drawn])
    for number, entry in enumerate(payload["evaluators"]):
        own = [i for i, (of, _) in enumerate(drawn) if of == number]
        found = compare([drawn[i][1] for i in own], [again[i] for i in own])
        if problem := found.contradiction():
            return f"{entry['name']}: {problem}"
    return ""


def _trains(evaluator: Any) -> bool:
    """Tell whether an evaluator trains models of the block, and looks at no other one."""
    return hasattr(evaluator, "evaluate_block")


def _of_block(asked: Asked, payload: Mapping[str, Any], evaluators: Sequence[Any]) -> BlockScores:
    """Return the scores of the evaluators that train models of the block."""
    trained: Scores = {}
    untrained: Scores = {}
    students = Students(asked, payload)
    for evaluator in filter(_trains, evaluators):
        found = evaluator.evaluate_block(students)
        trained.update(found.trained)
        untrained.update(found.untrained)
    return BlockScores(trained, untrained)


# --- scores --------------------------------------------------------------------------------------


def _evaluators(entries: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Construct the evaluators that a payload lists."""
    return [build(entry["target"], entry["options"]) for entry in entries]


def _scores(model: nn.Module, corpus: Corpus, evaluators: Sequence[Evaluator]) -> Scores:
    """Return the scores of all evaluators by metric.

    Raises:
        InputError: none of them gives bits per byte, which every verdict needs.
    """
    scores: Scores = {}
    for evaluator in evaluators:
        if not _trains(evaluator):
            scores.update(evaluator.evaluate(model, corpus))
    if METRIC not in scores:
        raise InputError(
            f"no evaluator gives {METRIC}", where="evaluators", hint="add the evaluator `heldout`"
        )
    return scores


def _write_samples(evaluators: Sequence[Evaluator], path: Path) -> None:
    """Write the last model's scores of single items; evaluators without any have no `samples`."""
    from safetensors.numpy import save_file

    samples: dict[str, Any] = {}
    for evaluator in evaluators:
        samples.update(getattr(evaluator, "samples", {}))
    if samples:
        rows = {name: np.asarray(row, dtype=np.float32).ravel() for name, row in samples.items()}
        save_file(rows, path)


def _what_is_wrong(trained: Scores, untrained: Scores) -> str:
    """Return why the trained scores are invalid, or ""."""
    for metric, score in trained.items():
        if not math.isfinite(score.value):
            return f"{metric} of the trained model is {score.value}"
    for metric in sorted(trained.keys() ^ untrained.keys()):
        return f"{metric} was scored of the trained or of the untrained model alone"
    return ""


def _bits(evaluators: Sequence[Evaluator]) -> Rows:
    """Return the bits per byte of single windows of the model evaluated last, () for none."""
    for evaluator in evaluators:
        if METRIC in (samples := getattr(evaluator, "samples", {})):
            return np.asarray(samples[METRIC], dtype=np.float64).ravel().copy()
    return np.empty(0)


def _not_better(trained: Scores, untrained: Scores, after: Rows, before: Rows) -> str:
    """Say that training has gained nothing, or "".

    The control is scored on fewer windows.  Where both have the scores of single ones, these decide
    over the windows that both have, so that equal weights tie.
    """
    new, old = trained[METRIC].value, untrained[METRIC].value
    if len(after) and len(before):
        shared = after[:: math.ceil(len(after) / len(before))]
        if len(shared) == len(before):
            new, old = float(np.nanmean(shared)), float(np.nanmean(before))
    if not math.isfinite(old) or new < old:
        return ""
    return (
        f"trained model does not beat its untrained control: {new:.4f} against {old:.4f} held-out"
        " bits per byte"
    )


def _as_json(scores: Scores) -> dict[str, dict[str, Any]]:
    """Return finite scores as JSON objects; JSON has no NaN."""
    return {name: asdict(s) for name, s in scores.items() if math.isfinite(s.value)}
