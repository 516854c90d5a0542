"""What an evaluator promises."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest

from genesys_engine.plugins.api import Corpus, Score
from genesys_engine.plugins.targets import load_target, read_options
from genesys_engine.plugins.testing.contract import Contract, fresh_process
from genesys_engine.plugins.testing.samples import small_model, small_students, weights_digest

_ELSEWHERE = """
import json, sys
from dataclasses import asdict
import torch
torch.set_num_threads(1)
from genesys_engine.plugins.api import Corpus
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.testing.samples import small_model
given = json.load(sys.stdin)
corpus = Corpus.open(given["corpus"])
scores = build(given["target"], given["options"]).evaluate(small_model(corpus.vocab_size), corpus)
print(json.dumps({name: asdict(score) for name, score in scores.items()}))
"""


class EvaluatorContract(Contract):
    """Finite scores, equal at every call and in every process; never one for a broken model."""

    kind = "evaluator"

    def test_scores_are_finite_and_counted(self, tiny_corpus: Corpus) -> None:
        """At least one metric, each with a value, a standard error or None, and its count."""
        scores = self.create().evaluate(small_model(tiny_corpus.vocab_size), tiny_corpus)
        assert scores
        for name, score in scores.items():
            assert isinstance(score, Score), name
            assert math.isfinite(score.value), name
            assert score.stderr is None or math.isfinite(score.stderr), name
            assert score.n > 0, name

    def test_it_gives_the_scores_that_it_declares(self, tiny_corpus: Corpus) -> None:
        """No others, if its class has `metrics`; a name that ends in `*` stands for several."""
        ask = getattr(load_target(self.description().target), "metrics", None)
        if ask is None:
            pytest.skip("it does not say beforehand which scores it gives")
        options = read_options(self._model(), self.options)
        declared = set(ask(options, str(tiny_corpus.manifest["settings"].get("use"))))
        assert all(isinstance(name, str) for name in declared)
        given = set(self.create().evaluate(small_model(tiny_corpus.vocab_size), tiny_corpus))
        assert {name for name in declared if not name.endswith("*")} <= given
        for name in given - declared:
            assert any(each.endswith("*") and name.startswith(each[:-1]) for each in declared), name

    def test_its_control_gives_the_same_metrics(self, tiny_corpus: Corpus) -> None:
        """What scores the untrained model gives the same names, on as many items or fewer."""
        whole = self.create()
        if not hasattr(whole, "for_control"):
            pytest.skip("it scores the untrained model as it scores the trained one")
        model = small_model(tiny_corpus.vocab_size)
        scores = whole.evaluate(model, tiny_corpus)
        control = whole.for_control().evaluate(model, tiny_corpus)
        assert control.keys() == scores.keys()
        assert all(control[name].n <= score.n for name, score in scores.items())

    def test_it_repeats_itself_in_another_process(self, tiny_corpus: Corpus) -> None:
        """Equal models and an equal corpus give equal scores; the model is left as it was."""
        model = small_model(tiny_corpus.vocab_size)
        before = weights_digest(model)
        first, again = (self.create().evaluate(model, tiny_corpus) for _ in range(2))
        assert weights_digest(model) == before, "it changes the model"
        assert first == again
        given = {**self.payload(), "corpus": str(tiny_corpus.folder)}
        elsewhere = fresh_process(_ELSEWHERE, given)
        assert set(elsewhere) == set(first)
        for name, score in first.items():
            value = asdict(score)["value"]
            assert math.isclose(elsewhere[name]["value"], value, rel_tol=1e-5), name

    def test_a_model_that_gives_nan_has_no_score(self, tiny_corpus: Corpus) -> None:
        """It raises, or its values are not finite: the engine then records a failure."""
        model = small_model(tiny_corpus.vocab_size)
        for parameter in model.parameters():
            parameter.data.fill_(math.nan)
        try:
            scores = self.create().evaluate(model, tiny_corpus)
        except Exception:
            return
        finite = [name for name, score in scores.items() if math.isfinite(score.value)]
        assert finite == [], "a model that gives NaN has a score"


_TAUGHT_ELSEWHERE = """
import json, sys
from dataclasses import asdict
import torch
torch.set_num_threads(1)
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.testing.samples import small_students
given = json.load(sys.stdin)
scores = build(given["target"], given["options"]).evaluate_block(small_students()).trained
print(json.dumps({name: asdict(score) for name, score in scores.items()}))
"""


class BlockEvaluatorContract(Contract):
    """Finite scores of models that it trains, with their controls, equal in every process.

    It trains in every test: give options that take a second.
    """

    kind = "evaluator"

    def test_scores_are_finite_and_have_controls(self) -> None:
        """The same metrics trained, untrained and guessed, and those that it declares."""
        evaluator = self.create()
        found = evaluator.evaluate_block(small_students())
        assert found.trained
        assert set(found.trained) == set(found.untrained) == set(evaluator.guessed())
        for name, score in found.trained.items():
            assert math.isfinite(score.value), name
            assert score.n > 0, name
            assert score.n == found.untrained[name].n, name
        ask = getattr(load_target(self.description().target), "metrics", None)
        if ask is not None:
            declared = set(ask(read_options(self._model(), self.options), ""))
            assert declared == set(found.trained)

    def test_it_repeats_itself_in_another_process(self) -> None:
        """An equal block gives equal scores."""
        first = self.create().evaluate_block(small_students()).trained
        elsewhere = fresh_process(_TAUGHT_ELSEWHERE, self.payload())
        assert set(elsewhere) == set(first)
        for name, score in first.items():
            assert math.isclose(elsewhere[name]["value"], score.value, rel_tol=1e-5), name
