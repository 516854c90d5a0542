"""Verifications in tests: a training job, then an evaluation job, here or in a sandbox."""

import json
from pathlib import Path

from training_support import BLOCK, CONTEXT

from genesys_engine.engine.common.records import from_json, to_json
from genesys_engine.engine.jobs.subjects import serving
from genesys_engine.engine.jobs.worker_jobs import ComponentSpec, TrainJob, VerifyJob
from genesys_engine.plugins.api import run_job
from genesys_engine.plugins.corpus import TRAINING_FILES
from genesys_engine.plugins.sandbox import Limits
from genesys_engine.plugins.train_job import train

BASE = "genesys_engine.plugins"
PRELOAD = (
    "genesys_engine.gab.lean_torch", "safetensors.torch", f"{BASE}.train_job",
    f"{BASE}.evaluate_job",
)  # fmt: skip
"""For a template of a few jobs that need no lm-eval: it starts in a third of the time."""
TRAIN = f"{BASE}.train_job:train"
EVALUATE = f"{BASE}.evaluate_job:evaluate"
EVALUATORS = [
    {
        "name": "heldout",
        "target": f"{BASE}.evaluators.heldout:HeldoutEvaluator",
        "options": {"windows": 40},
    },
    {
        "name": "lm_eval",
        "target": f"{BASE}.evaluators.lm_eval:LmEvalEvaluator",
        "options": {"limit": 30},
    },
]


def payload(corpus, *, source=BLOCK, tokens=30_000, peak_lr=5e-3, **trainer):
    """Return the job of a verification."""
    return {
        "source": source,
        "model": {
            "d_model": 32,
            "n_blocks": 2,
            "vocab_size": corpus.vocab_size,
            "context": CONTEXT,
        },
        "corpus": str(corpus.folder),
        "seed": 3,
        "budget": {"tokens": tokens, "batch_tokens": 4 * CONTEXT, "peak_lr": peak_lr},
        "trainer": {"target": f"{BASE}.trainers.pytorch:TorchTrainer", "options": trainer},
        "evaluators": EVALUATORS,
    }


def training_job(job):
    """Return what the training job of a verification is asked."""
    return to_json(from_json(TrainJob, job))


def evaluation_job(job, weights):
    """Return what the evaluation job of a verification is asked, of the weights in a file."""
    evaluators = tuple(from_json(ComponentSpec, each) for each in job["evaluators"])
    return to_json(VerifyJob(from_json(TrainJob, job), evaluators).evaluation(weights))


def verify(job, folder):
    """Train and evaluate in this process; return both replies as one."""
    trained = train(training_job(job), Path(folder))
    if trained["status"] != "ok":
        return trained
    scored = evaluated_here(evaluation_job(job, Path(folder) / trained["checkpoint"]), Path(folder))
    return {**trained, **scored, "facts": {**trained["facts"], **scored["facts"]}}


def evaluated_here(asked, folder):
    """Evaluate in this process; return the reply."""
    return run_job(EVALUATE, asked, folder, serving(Limits(), asked["checkpoint"]))


def training_limits(corpus, **more):
    """Return what a training job may use: of the corpus, the training text alone."""
    return Limits(readable=tuple(str(corpus.folder / name) for name in TRAINING_FILES), **more)


def trained_in(host, job, corpus, folder, **limits):
    """Train in a sandbox; return the outcome."""
    limits = training_limits(corpus, **limits)
    return host.submit(TRAIN, training_job(job), Path(folder), limits).result(550)


def evaluated_in(host, job, corpus, folder, weights):
    """Evaluate in a sandbox; return the outcome."""
    asked = evaluation_job(job, weights)
    limits = serving(Limits(readable=(str(corpus.folder),)), asked["checkpoint"])
    return host.submit(EVALUATE, asked, Path(folder), limits).result(550)


def plain(reply):
    """Return what of a reply is the same on every machine, as JSON has it."""
    return json.loads(json.dumps({k: v for k, v in reply.items() if k != "facts"}))
