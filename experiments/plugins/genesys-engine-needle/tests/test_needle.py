import math
from types import SimpleNamespace

import numpy as np
import torch

from genesys_engine.plugins.testing import EvaluatorContract


class TestNeedle(EvaluatorContract):
    name = "needle"
    options = {"items": 32}

    def test_the_length_grows_up_to_the_context(self, small_model, tiny_corpus):
        scores = self.create().evaluate(small_model, tiny_corpus)
        assert list(scores) == ["needle:16:acc", "needle:32:acc", "needle:64:acc"]
        assert all(score.n == 32 for score in scores.values())

    def test_the_needle_lies_in_the_text(self, tiny_corpus):
        inputs, answers = self.create().questions(tiny_corpus, 32)
        assert inputs.shape == (32, 32)
        for row, choices in zip(inputs, answers, strict=True):
            key, body = row[-2:], row[:-2]
            at = [i for i in range(29) if (body[i : i + 2] == key).all()]
            assert choices[0] in [body[i + 2] for i in at]
            assert len(set(choices.tolist())) == 4

    def test_a_model_that_looks_back_finds_it_and_one_that_cannot_guesses(self, tiny_corpus):
        found = self.create().evaluate(Lookup(tiny_corpus.vocab_size), tiny_corpus)
        guessed = self.create().evaluate(Blind(tiny_corpus.vocab_size), tiny_corpus)
        assert all(score.value > 0.9 for score in found.values())
        assert all(score.value < 0.6 for score in guessed.values())

    def test_a_context_that_is_too_short_is_told(self, tiny_corpus):
        model = Blind(tiny_corpus.vocab_size)
        model.config.context = 8
        try:
            self.create().evaluate(model, tiny_corpus)
        except ValueError as error:
            said = str(error)
        assert "context of 8" in said


class Blind(torch.nn.Module):
    """Random logits that do not follow the input."""

    def __init__(self, vocabulary):
        super().__init__()
        self.config = SimpleNamespace(context=64)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.vocabulary = vocabulary

    def forward(self, tokens):
        noise = np.random.default_rng(0).normal(size=(*tokens.shape, self.vocabulary))
        return torch.from_numpy(noise).float()


class Lookup(Blind):
    """Gives what followed the last pair of tokens when it came before: an induction head."""

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, self.vocabulary)
        for row, seen in enumerate(tokens.tolist()):
            for i in range(len(seen) - 3, -1, -1):
                if seen[i : i + 2] == seen[-2:]:
                    logits[row, -1, seen[i + 2]] = math.pi
                    break
        return logits
