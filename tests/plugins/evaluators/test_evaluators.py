"""Scores: closed forms, oracles, controls, the real lm-eval."""

import json
import math
import socket
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from pydantic import ValidationError
from torch import nn
from training_support import CONTEXT, TinyModel

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.controls import BigramModel
from genesys_engine.plugins.evaluators.heldout import HeldoutEvaluator
from genesys_engine.plugins.evaluators.lm_eval import LmEvalEvaluator
from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM
from genesys_engine.plugins.evaluators.options import HeldoutOptions, LmEvalOptions


class Uniform(nn.Module):
    """Every token is equally likely."""

    def __init__(self, corpus):
        super().__init__()
        self.config = SimpleNamespace(context=CONTEXT, vocab_size=corpus.vocab_size)
        self.register_buffer("zero", torch.zeros(1))

    def forward(self, tokens):
        return torch.zeros(*tokens.shape, self.config.vocab_size)


class Oracle(Uniform):
    """Knows the right answer of every item by heart, and nothing else."""

    def __init__(self, corpus, task):
        super().__init__(corpus)
        self.config.context = 128  # items are longer than the context of the other models
        self.known = {}
        for line in corpus.task_items(task).read_text().splitlines():
            item = json.loads(line)
            context, right = (
                corpus.tokenizer.encode(text).ids
                for text in (item["context"], item["choices"][item["label"]])
            )
            for i in range(len(right)):
                self.known[(*context, *right[:i])] = right[i]

    def forward(self, tokens):
        logits = super().forward(tokens)
        for row, ids in enumerate(tokens.tolist()):
            for t in range(len(ids)):
                following = self.known.get(tuple(ids[: t + 1]))
                if following is not None:
                    logits[row, t, following] = 20.0
        return logits


def test_bits_per_byte_of_a_uniform_model_is_the_closed_form(corpus):
    score = HeldoutEvaluator(HeldoutOptions(windows=None)).evaluate(Uniform(corpus), corpus)
    windows = corpus.heldout_windows(CONTEXT)
    text = corpus.byte_lengths[windows.targets[windows.mask]].sum()
    expected = windows.real_tokens * math.log2(corpus.vocab_size) / text
    assert score["bits_per_byte"].value == pytest.approx(expected, rel=1e-6)
    assert score["bits_per_byte"].n == len(windows.inputs)
    assert not score["bits_per_byte"].higher_is_better


def test_bits_per_byte_equals_the_likelihood_written_out(corpus, tiny_model):
    score = HeldoutEvaluator(HeldoutOptions(windows=6)).evaluate(tiny_model, corpus)
    windows = corpus.heldout_windows(CONTEXT, 6)
    bits = size = 0.0
    for inputs, targets in zip(windows.inputs, windows.targets, strict=True):
        logits = tiny_model(torch.tensor(inputs)[None])[0].detach().double().numpy()
        for t, target in enumerate(targets):
            if corpus.end_of_text not in (inputs[t], target):
                bits -= (logits[t, target] - np.logaddexp.reduce(logits[t])) / math.log(2)
                size += len(corpus.tokenizer.id_to_token(int(target)))
    assert score["bits_per_byte"].value == pytest.approx(bits / size, rel=1e-5)


def test_bits_per_byte_does_not_depend_on_the_batch(corpus, tiny_model):
    values = [
        HeldoutEvaluator(HeldoutOptions(windows=20, batch_tokens=n)).evaluate(tiny_model, corpus)
        for n in (1, 500, 8192)
    ]
    assert len({round(v["bits_per_byte"].value, 5) for v in values}) == 1


def test_the_standard_error_shrinks_with_the_windows(corpus):
    model = BigramModel(corpus, CONTEXT)
    few, many = (
        HeldoutEvaluator(HeldoutOptions(windows=n)).evaluate(model, corpus)["bits_per_byte"]
        for n in (20, 320)
    )
    assert 2 < few.stderr / many.stderr < 8
    assert abs(few.value - many.value) < 4 * few.stderr


@pytest.mark.parametrize("task", ["continuation", "corruption"])
def test_an_oracle_is_always_right(corpus, task):
    evaluator = LmEvalEvaluator(LmEvalOptions(tasks=(task,), limit=40))
    score = evaluator.evaluate(Oracle(corpus, task), corpus)[f"{task}:acc"]
    assert (score.value, score.n, score.higher_is_better) == (1.0, 40, True)


def test_a_uniform_model_is_near_chance(corpus):
    scores = LmEvalEvaluator(LmEvalOptions(limit=None)).evaluate(Uniform(corpus), corpus)
    for name, chance in (("continuation:acc", 0.25), ("corruption:acc", 0.5)):
        score = scores[name]
        assert score.n == corpus.manifest["items"][name.removesuffix(":acc")] >= 100
        assert abs(score.value - chance) < 3.5 * score.stderr
        expected = math.sqrt(score.value * (1 - score.value) / (score.n - 1))
        assert score.stderr == pytest.approx(expected)


def test_the_bigram_control_finds_corruptions_and_compresses(corpus):
    model = BigramModel(corpus, CONTEXT)
    accuracy = LmEvalEvaluator().evaluate(model, corpus)["corruption:acc"]
    assert accuracy.value - 0.5 > 4 * accuracy.stderr
    bigram, uniform = (
        HeldoutEvaluator().evaluate(m, corpus)["bits_per_byte"].value
        for m in (model, Uniform(corpus))
    )
    assert bigram < uniform - 1


def test_bigram_probabilities_are_those_of_the_counts(corpus):
    model = BigramModel(corpus, CONTEXT)
    tokens = torch.tensor([[5, 77, 5], [200, 300, 511]])
    probabilities = model(tokens).double().exp()
    assert torch.allclose(probabilities.sum(-1), torch.ones(2, 3, dtype=torch.double), atol=1e-6)
    stream = np.asarray(corpus.train).astype(int)
    first, second = stream[:-1], stream[1:]
    inside = (first != corpus.end_of_text) & (second != corpus.end_of_text)
    unigram = np.bincount(second[inside], minlength=corpus.vocab_size) + 1.0
    unigram /= unigram.sum()
    row = np.bincount(second[inside & (first == 77)], minlength=corpus.vocab_size)
    distinct = np.count_nonzero(row)
    expected = (row + distinct * unigram) / (row.sum() + distinct)
    assert np.allclose(probabilities[0, 1].numpy(), expected, rtol=1e-5)


def requests(*arguments):
    return [Instance("loglikelihood", {}, args, i) for i, args in enumerate(arguments)]


def test_likelihoods_do_not_depend_on_what_else_is_in_the_batch(corpus, tiny_model):
    texts = [("import os\n", "import sys"), ("", "def"), ("x = [1, 2, 3]\nfor y in x", ": pass")]
    together = CorpusLM(tiny_model, corpus, 8192).loglikelihood(requests(*texts))
    for text, (score, greedy) in zip(texts, together, strict=True):
        alone = CorpusLM(tiny_model, corpus, 1).loglikelihood(requests(text))[0]
        assert (score, greedy) == (pytest.approx(alone[0], abs=1e-4), alone[1])
        # lm-eval's rule: spaces at the end of the context belong to what follows it
        before, whole = (corpus.tokenizer.encode(t).ids for t in (text[0].rstrip(), "".join(text)))
        after = whole[len(before) :]
        before = before or [corpus.end_of_text]
        logits = tiny_model(torch.tensor([before + after]))[0].log_softmax(-1)
        wanted = sum(float(logits[len(before) - 1 + i, t].detach()) for i, t in enumerate(after))
        assert score == pytest.approx(wanted, abs=1e-4)


def test_texts_that_begin_alike_are_read_once_and_score_as_alone(corpus, tiny_model, monkeypatch):
    tokenizer, question = corpus.tokenizer, "x = [1, 2, 3]\nfor y in x"
    letters = [(question, letter) for letter in (" a", " b", " c", " d")]
    assert all(len(tokenizer.encode(letter).ids) == 1 for _, letter in letters)
    longer = [(question, " a b = c"), (question + " a b", " = c"), ("def", question[3:])]
    asked = [*letters, *longer, letters[0]]
    read = []
    forward = tiny_model.forward
    monkeypatch.setattr(tiny_model, "forward", lambda t: read.extend(t.tolist()) or forward(t))
    together = CorpusLM(tiny_model, corpus, 8192).loglikelihood(requests(*asked))
    assert len(read) == 2  # the longest text that begins with the question, and the one with "def"
    for text, (score, greedy) in zip(asked, together, strict=True):
        (alone,) = CorpusLM(tiny_model, corpus, 1).loglikelihood(requests(text))
        assert (score, greedy) == (pytest.approx(alone[0], abs=1e-4), alone[1])


def test_rolling_likelihood_scores_every_token_of_a_long_text_once(corpus):
    text = "for name in names:\n    print(name)\n" * 40
    model = Uniform(corpus)
    (score,) = CorpusLM(model, corpus, 512).loglikelihood_rolling(requests((text,)))
    tokens = len(corpus.tokenizer.encode(text).ids)
    assert tokens > 3 * CONTEXT
    assert score == pytest.approx(-tokens * math.log(corpus.vocab_size), rel=1e-6)


def test_a_text_longer_than_the_context_keeps_its_end(corpus, tiny_model):
    long = "value = 1\n" * 100
    lm = CorpusLM(tiny_model, corpus, 512)
    (score, _) = lm.loglikelihood(requests((long, " return")))[0]
    assert math.isfinite(score)
    assert score == pytest.approx(lm.loglikelihood(requests((long[20:], " return")))[0][0])


def test_generation_is_greedy_and_stops(corpus):
    lm = CorpusLM(BigramModel(corpus, CONTEXT), corpus, 512)
    settings = {"max_gen_toks": 12}
    (text,) = lm.generate_until(requests(("import", settings)))
    assert text == lm.generate_until(requests(("import", settings)))[0] != ""
    stop = text[3]
    (cut,) = lm.generate_until(requests(("import", {**settings, "until": [stop]})))
    assert cut == text[: text.index(stop)]


@pytest.mark.parametrize(
    ("name", "near"),
    [("helaswag", "hellaswag"), ("minimal_pair", "minimal_pairs"), ("ofline", "offline")],
)
def test_an_unknown_task_is_refused_with_near_names(name, near):
    with pytest.raises(ValidationError, match=f"'{name}'; did you mean '{near}'"):
        LmEvalOptions(tasks=(name,))


def test_a_task_whose_data_were_not_fetched_is_an_input_error(corpus):
    for name in ("hellaswag", "bigbench"):
        evaluator = LmEvalEvaluator(LmEvalOptions(tasks=(name,)))
        with pytest.raises(InputError, match="not prepared"):
            evaluator.evaluate(Uniform(corpus), corpus)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085"])
def test_a_text_may_hold_any_separator_but_a_line_feed(corpus, tmp_path, mark):
    item = {"context": f"One{mark}two:", "choices": [" yes", " no"], "label": 0}
    file = tmp_path / "bigbench" / "implicatures.jsonl"
    file.parent.mkdir()
    file.write_text(2 * (json.dumps(item, ensure_ascii=False) + "\n"), encoding="utf-8")
    options = LmEvalOptions(tasks=("bigbench/implicatures",), data=str(tmp_path))
    score = LmEvalEvaluator(options).evaluate(Uniform(corpus), corpus)
    assert score["bigbench/implicatures:acc"].n == 2


def test_lm_eval_needs_no_network_and_is_deterministic(corpus, monkeypatch, capfd):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = TinyModel(corpus.vocab_size)
    evaluator = LmEvalEvaluator(LmEvalOptions(limit=20))
    assert evaluator.evaluate(model, corpus) == evaluator.evaluate(model, corpus)
    assert capfd.readouterr() == ("", "")
