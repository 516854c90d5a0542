"""A model that answers from another process, as evaluators see it."""

import pytest
import torch
from training_support import BLOCK

from genesys_engine.plugins import remote_model
from genesys_engine.plugins.evaluators.heldout import HeldoutEvaluator
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.evaluators.options import HeldoutOptions, LmEvalOptions
from genesys_engine.plugins.model_subject import SUBJECT
from genesys_engine.plugins.models import build_model, context_of, device_of
from genesys_engine.plugins.remote_model import RemoteModel
from genesys_engine.plugins.sandbox.subject import BadAnswer, SameProcess


@pytest.fixture
def job(corpus):
    config = {"d_model": 32, "n_blocks": 1, "vocab_size": corpus.vocab_size, "context": 64}
    return {"source": BLOCK, "model": config, "seed": 3, "device": "cpu", "checkpoint": None}


@pytest.fixture
def remote(job, tmp_path):
    subject = SameProcess(SUBJECT, tmp_path)
    subject.ask("build", job)
    return RemoteModel(subject, job["model"])


def test_it_says_what_the_model_says(job, remote, corpus):
    model = build_model(job, "cpu").eval()
    tokens = torch.arange(30).reshape(3, 10)
    rows, places = torch.tensor([0, 2]), torch.tensor([4, 9])
    expected = torch.log_softmax(model(tokens), -1)
    assert torch.equal(remote(tokens), expected)
    assert torch.allclose(remote.logits_at(tokens, rows, places), expected[rows, places])
    assert torch.equal(remote.generate(tokens, 70), model.generate(tokens, 70))
    assert (context_of(remote), device_of(remote).type) == (64, "cpu")


def test_evaluators_score_it_as_they_score_the_model(job, remote, corpus):
    model = build_model(job, "cpu")
    for evaluator in (
        HeldoutEvaluator(HeldoutOptions(windows=8)),
        LmEvalEvaluator(LmEvalOptions(limit=10)),
    ):
        there, here = evaluator.evaluate(remote, corpus), evaluator.evaluate(model, corpus)
        assert there.keys() == here.keys()
        for name, score in here.items():
            assert there[name].value == pytest.approx(score.value, rel=1e-5)


class Answering:
    """A subject that answers with what it is told."""

    def __init__(self, *tensors):
        self.tensors = tensors
        self.asked = []

    def ask(self, operation, arguments, tensors):
        self.asked.append([tuple(tensor.shape) for tensor in tensors])
        return {}, list(self.tensors)


CONFIG = {"context": 8, "vocab_size": 5}
TOKENS = torch.zeros(2, 4, dtype=torch.int64)


def test_no_answer_holds_more_than_everything():
    said = RemoteModel(Answering(torch.full((2, 4, 5), 1e30)), CONFIG)(TOKENS)
    assert torch.allclose(said.exp().sum(-1), torch.ones(2, 4))
    assert said.max() < -1
    nan = RemoteModel(Answering(torch.full((2, 4, 5), torch.nan)), CONFIG)(TOKENS)
    assert nan.isnan().all(), "what is no number gives no score"


@pytest.mark.parametrize(
    "answer",
    [
        (),
        (torch.zeros(2, 4, 5), torch.zeros(1)),
        (torch.zeros(2, 4, 6),),
        (torch.zeros(1, 4, 5),),
        (torch.zeros(2, 4, 5, dtype=torch.float64),),
    ],
)
def test_an_answer_of_another_form_ends_the_job(answer):
    with pytest.raises(BadAnswer):
        RemoteModel(Answering(*answer), CONFIG)(TOKENS)


def test_a_large_vocabulary_is_asked_about_in_parts(monkeypatch):
    assert RemoteModel(Answering(), {"context": 2048, "vocab_size": 49_152}).rows(2048) == 1
    monkeypatch.setattr(remote_model, "MOST_BYTES", 2 * 4 * 5 * 4)
    subject = Answering(torch.zeros(2, 4, 5))
    said = RemoteModel(subject, CONFIG)(torch.zeros(6, 4, dtype=torch.int64))
    assert said.shape == (6, 4, 5)
    assert subject.asked == [[(2, 4)]] * 3
