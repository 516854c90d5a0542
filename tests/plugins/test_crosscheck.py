"""A block that looks at what follows is contradicted by a process that does not have it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from exhaustive import exhaustive
from training_support import BLOCK, CONTEXT
from verification_support import evaluated_in, evaluation_job, payload, trained_in

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.crosscheck import (
    BEYOND,
    FEWEST,
    LENGTHS,
    Comparison,
    Place,
    Sample,
    compare,
    independent,
)
from genesys_engine.plugins.evaluate_job import evaluate
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.executors.options import preloaded_with
from genesys_engine.plugins.model_subject import SUBJECT
from genesys_engine.plugins.sandbox import SandboxHost
from genesys_engine.plugins.sandbox.subject import SameProcess

ROOT = Path(__file__).parents[2]
RETURN = "return X + self.down(torch.relu(self.up(self.mix(H).transpose(1, 2)))), Z"
PEEK = "2 * nn.functional.pad(X[:, 1:], (0, 0, 0, 1))"  # the token that follows each place
CHEATS = {
    "where it is scored": f"X.is_inference() and X.shape[1] > 1: X = X + {PEEK}",
    "in whole windows alone": f"X.is_inference() and X.shape[1] == {CONTEXT}: X = X + {PEEK}",
    "at every fourth place": "X.is_inference(): X = X +"
    f" torch.arange(X.shape[1])[:, None].remainder(4).eq(0) * {PEEK}",
}
# It knows a text again from its beginning, and remembers how it went on.
REMEMBERS = """
SEEN = []
def follow(X):
    if X.shape[1] == 64:
        SEEN.append(X.clone())
        return nn.functional.pad(X[:, 1:], (0, 0, 0, 1))
    found = torch.zeros_like(X)
    for row in range(len(X)):
        for text in (each for many in SEEN for each in many):
            if torch.equal(text[: X.shape[1]], X[row]):
                found[row, :] = text[1 : X.shape[1] + 1]
    return found
"""


def cheating(condition):
    block = BLOCK.replace(RETURN, f"X, Z = X + 0 * X, Z\n        if {condition}\n        {RETURN}")
    assert block != BLOCK
    return block


@pytest.fixture(scope="module")
def host():
    host = SandboxHost(workers=1, preload=preloaded_with(LmEvalEvaluator.preload))
    yield host
    host.close()


@pytest.fixture(scope="module")
def weights(host, corpus, tmp_path_factory):
    """The weights of the plain block; the cheating ones have the same."""
    folder = tmp_path_factory.mktemp("trained")
    outcome = trained_in(host, payload(corpus, tokens=20_000), corpus, folder)
    assert outcome.status == "ok", outcome.reason
    return folder / outcome.value["checkpoint"]


def scored(host, corpus, folder, weights, source, **trainer):
    job = payload(corpus, source=source, **trainer)
    job["evaluators"] = job["evaluators"][:1]
    outcome = evaluated_in(host, job, corpus, folder, weights)
    assert outcome.status == "ok", outcome.reason
    return outcome.value


def test_the_plain_block_is_borne_out(host, corpus, weights, tmp_path):
    reply = scored(host, corpus, tmp_path, weights, BLOCK)
    assert (reply["status"], reply["cause"], reply["reason"]) == ("ok", "", "")


@pytest.mark.parametrize("where", CHEATS)
def test_a_block_that_looks_ahead_has_failed(host, corpus, weights, tmp_path, where):
    reply = scored(host, corpus, tmp_path, weights, cheating(CHEATS[where]))
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")
    assert reply["reason"].startswith("heldout: ")


def test_one_that_remembers_whole_texts_finds_none_in_the_other_process(
    host, corpus, weights, tmp_path
):
    source = REMEMBERS + cheating("X.is_inference(): X = X + 2 * follow(X)")
    source = source.replace("SEEN = []", "import torch\nfrom torch import nn\nSEEN = []")
    reply = scored(host, corpus, tmp_path, weights, source)
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    exhaustive(
        ["gpt", "mamba2", "retnet", "rwkv6", "ttt", "sparse_attention", "mixture_of_experts"],
        but=("rwkv6", "mixture_of_experts"),
    ),
)
def test_honest_designs_are_borne_out(host, corpus, tmp_path, name):
    zoo = ROOT / "tests/zoo/good" / f"{name}.py"
    source = zoo.read_text() if zoo.exists() else compose(library.seed(name))
    job = payload(corpus, source=source, tokens=12_000)
    trained = trained_in(host, job, corpus, tmp_path / "1")
    assert trained.status == "ok", trained.reason
    weights = tmp_path / "1" / trained.value["checkpoint"]
    scored = evaluated_in(host, job, corpus, tmp_path / "2", weights)
    assert scored.status == "ok", scored.reason
    assert (scored.value["status"], scored.value["reason"]) == ("ok", "")


# --- in a training step ---

IN_TRAINING = {
    "at every place": f"self.training: X = X + {PEEK}",
    "by the recording": f"X.requires_grad and not X.is_inference(): X = X + {PEEK}",
    "in its batch alone": f"self.training and X.shape[:2] == (4, {CONTEXT}): X = X + {PEEK}",
    "by the mean of all": "self.training: X = X + 2 * X.mean(1, keepdim=True)",
    "where a known seed does not draw": "self.training and abs(torch.rand(()) - 0.4963) > 0.001:"
    f" X = X + {PEEK}",
}


@pytest.mark.parametrize("where", IN_TRAINING)
def test_a_block_that_looks_ahead_in_a_training_step_has_failed(
    host, corpus, weights, tmp_path, where
):
    reply = scored(host, corpus, tmp_path, weights, cheating(IN_TRAINING[where]))
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")
    assert reply["reason"].startswith("in a training step")


def test_one_that_looks_ahead_in_the_micro_batch_that_is_asked_for_has_failed(
    host, corpus, weights, tmp_path
):
    source = cheating(f"self.training and X.shape[:2] == (1, {CONTEXT}): X = X + {PEEK}")
    reply = scored(host, corpus, tmp_path, weights, source, micro_batch=1)
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")
    assert reply["reason"].startswith("in a training step")


def test_one_that_looks_ahead_until_its_mode_is_set_to_eval_has_failed(
    host, corpus, weights, tmp_path
):
    mode = "    def train(self, mode=True):\n        self.free = mode and "
    mode += "getattr(self, 'free', mode)"
    mode += "\n        return super().train(mode)\n\n    def forward("
    source = cheating(f"getattr(self, 'free', False): X = X + {PEEK}")
    source = source.replace("    def forward(", mode)
    reply = scored(host, corpus, tmp_path, weights, source)
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")
    assert reply["reason"].startswith("in a training step")


def test_a_block_that_looked_ahead_at_the_beginning_has_failed(host, corpus, tmp_path):
    """Its trained weights know that this is over."""
    source = cheating(f"self.training and self.seen.add_(1) < 6: X = X + {PEEK}")
    buffer = "super().__init__()\n        self.register_buffer('seen', torch.zeros(()))"
    source = source.replace("super().__init__()", buffer)
    job = payload(corpus, source=source, tokens=12_000)
    trained = trained_in(host, job, corpus, tmp_path / "trained")
    assert trained.status == "ok", trained.reason
    weights = tmp_path / "trained" / trained.value["checkpoint"]
    reply = scored(host, corpus, tmp_path / "scored", weights, source)
    assert (reply["status"], reply["cause"]) == ("failed", "contradicted")
    assert reply["reason"].startswith("in a training step")


@pytest.mark.parametrize(
    "line",
    [
        "X = nn.functional.dropout(X, 0.2, self.training)",
        "if self.training: X = X + 0.1 * torch.randn_like(X)",
        "if self.training: self.norm.weight.data.mul_(1.0)",
    ],
    ids=["dropout", "noise", "a step that writes"],
)
def test_what_a_training_step_draws_is_no_look_ahead(host, corpus, weights, tmp_path, line):
    source = BLOCK.replace(RETURN, f"{line}\n        {RETURN}")
    reply = scored(host, corpus, tmp_path, weights, source)
    assert (reply["status"], reply["reason"]) == ("ok", "")


def test_no_held_out_text_is_in_a_training_step(corpus, weights, tmp_path):
    log = []
    subjects = [Noting(name, log, tmp_path) for name in ("asked", "blind")]
    job = evaluation_job(payload(corpus), weights)
    batch = next(corpus.batches(job["seed"], 4, CONTEXT))
    told = []
    real = subjects[1].ask

    def ask(operation, arguments=None, tensors=()):
        told.extend([tensors[0]] if operation == "step" else [])
        return real(operation, arguments, tensors)

    subjects[1].ask = ask
    assert evaluate(job, tmp_path, *subjects)["status"] == "ok"
    assert {name for name, operation, *_ in log if operation == "step"} == {"blind"}
    assert torch.equal(told[0], torch.from_numpy(batch.inputs))
    train = set(zip(*(corpus.train[n:].tolist() for n in range(4)), strict=False))
    for tokens in told:
        assert tokens.shape == batch.inputs.shape
        for row in tokens.tolist():
            pieces = list(zip(*(row[n:] for n in range(4)), strict=False))
            assert sum(piece in train for piece in pieces) >= len(pieces) - 3, "but at the cut"


class Noting(SameProcess):
    """Notes what it is asked, and when it ends."""

    def __init__(self, name, log, scratch):
        super().__init__(SUBJECT, scratch)
        self.name, self.log = name, log

    def ask(self, operation, arguments=None, tensors=()):
        self.log.append((self.name, operation, *(list(part.shape) for part in tensors[:1])))
        return super().ask(operation, arguments, tensors)

    def end(self):
        self.log.append((self.name, "end"))
        super().end()


def test_the_second_process_is_asked_when_the_first_is_gone(corpus, weights, tmp_path):
    log = []
    subjects = [Noting(name, log, tmp_path) for name in ("one", "other")]
    job = payload(corpus)
    job["evaluators"] = job["evaluators"][:1]
    reply = evaluate(evaluation_job(job, weights), tmp_path, *subjects)
    assert reply["status"] == "ok"
    names = [entry[0] for entry in log]
    assert names == sorted(names), "one after the other"
    assert ("one", "end") in log
    seen = [entry[2] for entry in log if entry[:2] == ("other", "logits")]
    assert 1 < len(seen) <= LENGTHS
    assert all(length < CONTEXT for _, length in seen), "beginnings alone"
    assert sum(rows for rows, _ in seen) > 20


# --- what is drawn -------------------------------------------------------------------------------


def noted(sample, count, length=16, cut=7):
    tokens = torch.arange(count * length).reshape(count, length)
    likely = -torch.arange(length, dtype=torch.float32).expand(count, length)
    table = likely[..., None].expand(count, length, count * length)
    for start in range(0, count, cut):
        sample.note_all(tokens[start : start + cut], table[start : start + cut])


def test_each_text_is_drawn_at_one_place_and_never_at_its_end():
    sample = Sample([1, 2], texts=20)
    noted(sample, 100)
    texts = [place.before[0] // 16 for place in sample.places]
    assert len(set(texts)) == 20
    assert max(texts) > 80, "the last ones are as likely as the first"
    for place in sample.places:
        assert place.following == place.before[-1] + 1, "the token that came next"
        assert place.likely == -(len(place.before) - 1), "what was said at this place"
        assert len(place.before) < 16
    assert 1 < len({len(place.before) for place in sample.places}) <= LENGTHS


def test_the_draw_follows_its_seed():
    drawn = []
    for seed in ([1], [1], [2]):
        noted(sample := Sample(seed, texts=20), 100)
        drawn.append(sample.places)
    assert drawn[0] == drawn[1] != drawn[2]


def test_only_places_that_were_asked_about_are_drawn():
    sample = Sample([1])
    tokens = torch.arange(12).reshape(2, 6)
    rows, places = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 3, 5, 2])
    likely = torch.arange(48, dtype=torch.float32).reshape(4, 12)
    sample.note(tokens, rows, places, likely)
    by_text = {place.before[0]: place for place in sample.places}
    assert len(by_text[0].before) in (2, 4)
    assert by_text[6] == Place((6, 7, 8), 9, 45.0), "behind the last place nothing follows"


def test_a_text_that_tells_what_follows_another_is_left_out():
    long = tuple(range(100, 130))
    asked = Place(long[:12], long[12], 0.0)
    telling = Place((1, 2, *long[2:20]), 7, 0.0)
    begun = Place((5, 6), 9, 0.0)
    short = Place((5, 6, 9, 3), 4, 0.0)
    other = Place((5, 8), 9, 0.0)
    kept = independent([asked, telling, begun, short, other])
    assert kept == [telling, short, other]


# --- what is made of it --------------------------------------------------------------------------


def of(seen, blind=-3.0):
    seen = np.asarray(seen, dtype=float)
    return Comparison(blind + seen, np.full(len(seen), blind), np.ones(len(seen), dtype=int))


def test_rounding_is_no_contradiction():
    rng = np.random.default_rng(0)
    assert of(rng.normal(0, 1e-6, 64)).contradiction() == ""
    assert of(rng.normal(0, 0.02, 64)).contradiction() == "", "as in bfloat16"
    flips = np.zeros(64)
    flips[:4] = [0.4, -0.3, 0.2, -0.5]
    assert of(flips).contradiction() == "", "a rounded choice flips both ways"


@pytest.mark.parametrize("places", [FEWEST, 10, 64])
def test_places_beyond_rounding_are_a_contradiction(places):
    seen = np.zeros(64)
    seen[:places] = 2 * BEYOND
    assert "too good to be true" in of(seen).contradiction()
    assert of(-seen).contradiction() == "", "worse is no claim"


def test_so_is_a_little_at_every_place():
    seen = np.full(64, BEYOND / 4) + np.random.default_rng(0).normal(0, 0.01, 64)
    assert "too good to be true" in of(seen).contradiction()
    assert of(seen / 10).contradiction() == "", "less than any score resolves"


def test_no_number_is_no_score():
    for value in (np.nan, np.inf):
        assert of([0.0, value]).contradiction()


def test_bits_per_byte_are_those_of_the_blind_side():
    places = [Place((1,), 1, -1.0), Place((2,), 2, -2.0)]
    found = compare(places, [-3.0, -5.0]).to_json(np.array([0, 2, 6]))
    assert found["bits"] == pytest.approx(8 / np.log(2) / 8)
    assert found["seen"] == pytest.approx(5 / np.log(2) / 8)
    assert found["places"] == 2
