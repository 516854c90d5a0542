"""What a trainer promises."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from genesys_engine.plugins.api import Corpus, TrainResult, TrialDiverged
from genesys_engine.plugins.testing.contract import Contract, fresh_process
from genesys_engine.plugins.testing.samples import BUDGET, small_model, weights_digest
from genesys_engine.plugins.trainers.live_curve import LIVE_CURVE

_ELSEWHERE = """
import json, sys, tempfile
from pathlib import Path
import torch
torch.set_num_threads(1)
from genesys_engine.plugins.api import Corpus
from genesys_engine.plugins.targets import build
from genesys_engine.plugins.testing.samples import BUDGET, small_model, weights_digest
given = json.load(sys.stdin)
corpus = Corpus.open(given["corpus"])
model = small_model(corpus.vocab_size)
with tempfile.TemporaryDirectory() as folder:
    build(given["target"], given["options"]).train(model, corpus, BUDGET, Path(folder) / "w")
print(json.dumps(weights_digest(model)))
"""


class TrainerContract(Contract):
    """Learns, keeps its budget, repeats itself bit for bit, and gives up on NaN."""

    kind = "trainer"

    def train(self, corpus: Corpus, folder: Path, model: Any = None) -> tuple[Any, TrainResult]:
        """Train a small model; return it and the result."""
        model = small_model(corpus.vocab_size) if model is None else model
        return model, self.create().train(model, corpus, BUDGET, folder / "model.safetensors")

    def test_it_learns_within_its_budget(self, tiny_corpus: Corpus, tmp_path: Path) -> None:
        """The loss falls; no more than a batch beyond the tokens; a short, finite curve."""
        _, result = self.train(tiny_corpus, tmp_path)
        assert 0 < result.tokens <= BUDGET.tokens + BUDGET.batch_tokens
        assert result.steps > 0
        losses = [loss for _, loss in result.curve]
        assert 2 <= len(losses) <= 200
        assert all(map(math.isfinite, losses))
        assert losses[-1] < losses[0]

    def test_the_checkpoint_holds_the_trained_model(
        self, tiny_corpus: Corpus, tmp_path: Path
    ) -> None:
        """Read back, it gives the very weights; no partial file is left next to it."""
        from genesys_engine.plugins.checkpoint import load_checkpoint

        model, result = self.train(tiny_corpus, tmp_path)
        again = small_model(tiny_corpus.vocab_size, seed=9)
        load_checkpoint(again, result.checkpoint)
        assert weights_digest(again) == weights_digest(model.cpu())
        assert [path.name for path in tmp_path.iterdir()] == [result.checkpoint.name]

    def test_it_repeats_itself_in_another_process(
        self, tiny_corpus: Corpus, tmp_path: Path
    ) -> None:
        """Equal seeds give equal weights, bit for bit, here twice and in a fresh process."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums in another order are other sums
        try:
            one, two = (weights_digest(self.train(tiny_corpus, tmp_path)[0]) for _ in range(2))
        finally:
            torch.set_num_threads(threads)
        given = {**self.payload(), "corpus": str(tiny_corpus.folder)}
        assert one == two == fresh_process(_ELSEWHERE, given)

    def test_a_loss_that_is_not_finite_ends_it(self, tiny_corpus: Corpus, tmp_path: Path) -> None:
        """It raises `TrialDiverged` and writes no checkpoint; its curve so far may be there."""
        model = small_model(tiny_corpus.vocab_size)
        for parameter in model.parameters():
            parameter.data.fill_(math.nan)
        try:
            self.train(tiny_corpus, tmp_path, model)
        except TrialDiverged:
            left = {path.name for path in tmp_path.iterdir()}
            assert left <= {LIVE_CURVE}
        else:
            raise AssertionError("it trained a model whose loss is NaN")
