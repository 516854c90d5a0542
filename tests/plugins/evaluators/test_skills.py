"""Skill tasks: items that follow from what came before, and blocks scored on what they can do."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from verification_support import (
    EVALUATE,
    EVALUATORS,
    PRELOAD,
    evaluation_job,
    payload,
    serving,
    trained_in,
)

from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.library import seed
from genesys_engine.plugins.evaluators import options as skill_options
from genesys_engine.plugins.evaluators import skills
from genesys_engine.plugins.evaluators.skill_tasks import (
    IGNORED,
    TASKS,
    Memorisation,
    MultiQueryRecall,
    NoisyRecall,
    SelectiveCopying,
)
from genesys_engine.plugins.sandbox import Limits, SandboxHost
from genesys_engine.plugins.testing.samples import small_students

BASE = "genesys_engine.plugins.evaluators.skills"
SMALL = {
    "mqar": MultiQueryRecall(pairs=4, length=32, vocabulary=20),
    "copying": SelectiveCopying(tokens=5, length=24, vocabulary=8),
    "recall_noisy": NoisyRecall(length=40, keys=4, noise_tokens=6, noise=0.3),
    "memorise": Memorisation(length=10, keys=6, values=4),
}
NO_MIXING = """
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None, **kwargs):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.norm = nn.RMSNorm(embed_dim, **made)
        self.up = nn.Linear(embed_dim, 4 * embed_dim, **made)
        self.down = nn.Linear(4 * embed_dim, embed_dim, **made)

    def forward(self, X, **Z):
        return X + self.down(F.gelu(self.up(self.norm(X)))), Z
"""


def drawn(task, rows=200, at=0):
    return task.draw(np.random.default_rng(at), rows)


def solved(name, task, row, table):
    """Answer one row as the paper says, from left to right: place -> token that is right there."""
    known, copied, found = {}, [], {}
    for place, token in enumerate(row.tolist()):
        if name == "mqar" and place >= 2 * task.pairs:
            found[place] = known.get(token)
        elif name == "mqar" and place % 2:
            known[row[place - 1]] = token
        elif name == "copying" and token == 1:
            found[place] = copied.pop(0)
        elif name == "copying" and token > 1:
            copied.append(token)
        elif name == "recall_noisy" and token < task.keys:
            found[place] = known.get(token)
        elif name == "recall_noisy" and token < 2 * task.keys:
            known[row[place - 1]] = token
        elif name == "memorise" and token == 0:
            found[place] = table[row[place - 1]]
    return found


@pytest.mark.parametrize("name", SMALL)
def test_what_is_right_follows_from_what_came_before(name):
    task = SMALL[name]
    items, lessons = drawn(task), drawn(task, at=1)
    asked = lessons.targets != IGNORED
    before = np.roll(lessons.inputs, 1, axis=1)[asked].tolist()
    table = dict(zip(before, lessons.targets[asked].tolist(), strict=True))
    assert items.inputs.shape == items.targets.shape == (200, task.length)
    assert items.inputs.min() >= 0
    assert max(items.inputs.max(), items.targets.max()) < task.vocabulary
    for row, right in zip(items.inputs, items.targets, strict=True):
        found = solved(name, task, row, table)
        places = np.flatnonzero(right != IGNORED)
        assert [found[place] for place in places] == right[places].tolist()


@pytest.mark.parametrize("name", SMALL)
def test_items_are_equal_for_equal_generators_and_new_ones_for_others(name):
    one, same, other = drawn(SMALL[name]), drawn(SMALL[name]), drawn(SMALL[name], at=1)
    assert (one.inputs == same.inputs).all()
    assert (one.targets == same.targets).all()
    assert (one.inputs != other.inputs).any()


def test_every_key_of_mqar_is_asked_once_and_mostly_soon():
    task = MultiQueryRecall(pairs=4, length=64, vocabulary=64)
    items = drawn(task, 2000)
    assert ((items.targets != IGNORED).sum(axis=1) == 4).all()
    first = (items.targets[:, 8] != IGNORED).mean()
    last = (items.targets[:, 62] != IGNORED).mean()
    assert first > 3 * last > 0


@pytest.mark.parametrize("name", SMALL)
def test_chance_is_what_guessing_scores(name):
    task, rng = SMALL[name], np.random.default_rng(5)
    items = drawn(task, 3000)
    asked = items.targets != IGNORED
    right = items.targets[asked]
    if name == "mqar":
        values = items.inputs[:, 1 : 2 * task.pairs : 2]
        guesses = rng.permuted(values, axis=1)[:, :1].repeat(task.length, 1)[asked]
    else:
        guesses = rng.choice(np.unique(right), len(right))
    assert (guesses == right).mean() == pytest.approx(task.chance, rel=0.1)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mqar", {"pairs": 20, "length": 64, "vocabulary": 64}),
        ("mqar", {"pairs": 9, "length": 64, "vocabulary": 16}),
        ("copying", {"tokens": 9, "length": 12, "vocabulary": 16}),
        ("recall_noisy", {"length": 16, "keys": 8, "noise_tokens": 4, "noise": 0.2}),
        ("memorise", {"length": 1, "keys": 8, "values": 4}),
    ],
)
def test_a_size_that_cannot_be_drawn_is_one_clear_error(name, given):
    with pytest.raises(InputError) as found:
        TASKS[name](**given)
    assert found.value.hint
    stem = evaluator(name).__name__.removesuffix("Evaluator")
    with pytest.raises(ValidationError, match="1 validation error"):
        getattr(skill_options, f"{stem}Options")(**given)


@pytest.mark.parametrize("name", SMALL)
def test_the_published_sizes_can_be_drawn(name):
    of = evaluator(name)(evaluator(name).Options(size="published"))
    items = of.task.draw(np.random.default_rng(0), 2)
    assert items.inputs.shape == (2, of.task.length)
    assert of.options.chosen("width") == 128


def evaluator(name):
    return {
        "mqar": skills.MqarEvaluator,
        "copying": skills.CopyingEvaluator,
        "recall_noisy": skills.RecallNoisyEvaluator,
        "memorise": skills.MemoriseEvaluator,
    }[name]


def scored(name, source="", **given):
    made = evaluator(name)(evaluator(name).Options(**given))
    found = made.evaluate_block(small_students(source))
    return found.trained[f"{name}:acc"], found.untrained[f"{name}:acc"]


def test_a_block_learns_what_it_can_and_one_that_mixes_nothing_stays_at_chance():
    easy = {"keys": 16, "values": 8, "length": 16, "width": 32, "steps": 40, "batch": 32}
    trained, untrained = scored("memorise", **easy)
    assert trained.value > 0.9
    assert untrained.value < 0.4
    blind, _ = scored("memorise", NO_MIXING, **easy)
    assert blind.value < 0.35  # it sees that it is asked, and not what


@pytest.mark.exhaustive
@pytest.mark.slow
def test_attention_recalls_more_pairs_than_a_small_state_can():
    trained, untrained = scored("mqar")
    assert trained.value > 0.9
    assert untrained.value < 0.1
    kept, _ = scored("mqar", compose(seed("retnet")))
    assert kept.value < 0.5


def test_a_verification_reports_skills_with_their_controls(corpus, tmp_path):
    job = payload(corpus, tokens=6_000)
    given = {"steps": 4, "batch": 4, "items": 8, "width": 32}
    target = {"name": "mqar", "target": f"{BASE}:MqarEvaluator", "options": given}
    job["evaluators"] = [EVALUATORS[0], target]
    host = SandboxHost(workers=1, preload=PRELOAD)
    try:
        (tmp_path / "train").mkdir()
        trained = trained_in(host, job, corpus, tmp_path / "train")
        assert trained.status == "ok", trained.reason
        asked = evaluation_job(job, tmp_path / "train" / trained.value["checkpoint"])
        limits = serving(Limits(readable=(str(corpus.folder),)), asked["checkpoint"])
        (tmp_path / "score").mkdir()
        done = host.submit(EVALUATE, asked, tmp_path / "score", limits).result(550)
    finally:
        host.close()
    assert done.status == "ok", done.reason
    assert set(done.value["scores"]) == {"bits_per_byte", "mqar:acc"}
    assert set(done.value["controls"]["untrained"]) == {"bits_per_byte", "mqar:acc"}
    assert done.value["scores"]["mqar:acc"]["n"] == 8
