"""What a block could see of how it is run: the same in a training and where it is judged.

A block that looks ahead only where it sees a training must meet a judge there.  So everything that
the language lets a block read, and more that it does not, is noted in real trainings and in the
runs that decide on them; all signs together must come in one as in the other.  What differs all the
same is no block's to read: the names of callers, and where a process may write.
"""

import builtins
import threading

import pytest
import torch
from training_support import BLOCK, CONTEXT
from verification_support import evaluation_job, payload, training_job

from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.plugins.auditor import causality
from genesys_engine.plugins.auditor.candidate import here
from genesys_engine.plugins.auditor.subject import Subject
from genesys_engine.plugins.evaluate_job import evaluate
from genesys_engine.plugins.model_subject import SUBJECT
from genesys_engine.plugins.sandbox.subject import SameProcess
from genesys_engine.plugins.train_job import train

MICRO_BATCH = 2
NOTING = BLOCK.replace("        H = nn", "        note_conditions(self, X, Z)\n        H = nn")
NOTING = NOTING.replace("__init__()", "__init__()\n        self.first = block_loc[0] == 0", 1)


def signs(block, X, Z):
    """Return what can be seen from inside a block's forward pass; shapes apart."""
    equal = (X[:, :, None] == X[:, None]).all(-1).sum() > X.shape[0] * X.shape[1]
    return {
        "mode": block.training,
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), X.is_inference()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "graph": (X.requires_grad, X.is_leaf, X.grad_fn.name() if X.grad_fn else "", X.output_nr),
        "dtypes": (X.dtype, block.up.weight.dtype, torch.get_default_dtype()),
        "layout": (X.is_contiguous(), X.stride(-1), X.storage_offset(), X.is_shared()),
        "words that come again": bool(equal),
        "parameters": tuple((p.requires_grad, p.is_leaf) for p in block.parameters()),
        "hooks": (len(block._forward_hooks), len(block._forward_pre_hooks), len(vars(block))),
        "Z": tuple(Z),
        "threads": (torch.get_num_threads(), threading.current_thread().name),
    }


class Noted:
    """The signs of every run, by who asked for it."""

    def __init__(self):
        self.who = ""
        self.seen = {}

    def note(self, block, X, Z):
        if block.first and not X.is_meta:  # what comes from the first has no words any more
            row = {**signs(block, X, Z), "shape": X.shape[:2], "adds up": added_up(block)}
            self.seen.setdefault(self.who, []).append(row)

    def of(self, who, *without):
        kept = [{k: v for k, v in row.items() if k not in without} for row in self.seen[who]]
        return {repr(row) for row in kept}


def added_up(block):
    return all(p.grad is not None for p in block.parameters())


@pytest.fixture(scope="module")
def noted(corpus, tmp_path_factory):
    found, folder = Noted(), tmp_path_factory.mktemp("noted")
    patch = pytest.MonkeyPatch()
    patch.setattr(builtins, "note_conditions", found.note, raising=False)
    real = SameProcess.ask_all

    def ask_all(self, questions):
        found.who = questions[0].operation if questions else found.who
        return real(self, questions)

    job = payload(corpus, source=NOTING, tokens=6_000, micro_batch=MICRO_BATCH)
    found.who = "training"
    weights = folder / train(training_job(job), folder)["checkpoint"]
    patch.setattr(SameProcess, "ask_all", ask_all)
    subjects = [SameProcess(SUBJECT, folder) for _ in range(2)]
    assert evaluate(evaluation_job(job, weights), folder, *subjects)["status"] == "ok"
    patch.setattr(SameProcess, "ask_all", real)
    subject = Subject(here(NOTING, form="plain"), SourceMap(NOTING), CONTEXT, 0)
    found.who = "audit"
    assert subject.shared
    found.who = "probe"
    assert list(causality.check_causality_as_trained(subject)) == []
    yield found
    patch.undo()


def test_a_step_that_is_run_again_cannot_be_told_from_the_training(noted):
    """It decides on the future and on neighbours: both are other text there."""
    apart = ("shape", "adds up")
    assert noted.of("step", *apart) == noted.of("training", *apart)
    assert {row["shape"] for row in noted.seen["step"]} == {(MICRO_BATCH, CONTEXT)}
    assert (MICRO_BATCH, CONTEXT) in {row["shape"] for row in noted.seen["training"]}


def test_gradients_are_there_or_not_in_both(noted):
    assert {row["adds up"] for row in noted.seen["training"]} == {True, False}
    assert {row["adds up"] for row in noted.seen["step"]} <= {True, False}


def test_a_probe_of_the_check_shows_the_signs_of_a_training(noted):
    apart = ("shape", "adds up")
    assert noted.of("probe", *apart) & noted.of("training", *apart)


def test_the_sample_is_asked_as_the_score_is_made(noted):
    apart = ("shape", "words that come again")
    whole = noted.of("logits", *apart)
    assert len(whole) == 1, "those that are scored and those that are asked again"
