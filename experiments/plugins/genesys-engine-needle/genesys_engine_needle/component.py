"""The evaluator and its options.  torch is imported where it is used: in the worker."""

import math
from collections.abc import Mapping

from genesys_engine.plugins import api

KEY = 2  # tokens of the key


class NeedleOptions(api.Options):
    """What an experiment may set beside `use`; unknown keys and wrong types are refused."""

    items: int = api.Field(default=64, ge=2, description="questions at each length")
    shortest: int = api.Field(default=16, ge=8, description="tokens; doubled up to the context")
    choices: int = api.Field(default=4, ge=2, description="answers to choose from")
    seed: int = api.Field(default=0, ge=0, description="of the needles and where they lie")


class Needle:
    """Needle in a haystack: a key with its value is hidden in held-out text, the key comes again
    at the end, and the model has to find the value among tokens of the same text.

    `needle:N:acc` is the share found in N tokens; 1 / `choices` is chance.
    """

    Options = NeedleOptions

    def __init__(self, options: NeedleOptions) -> None:
        self.options = options

    @staticmethod
    def metrics(options: NeedleOptions, corpus: str) -> tuple[str, ...]:
        """Return the names of the scores; how many lengths there are, the context decides."""
        return ("needle:*",)

    def evaluate(self, model, corpus: api.Corpus) -> Mapping[str, api.Score]:
        """Return a score for every length that the context holds."""
        length, scores = self.options.shortest, {}
        while length <= api.context_of(model):
            scores[f"needle:{length}:acc"] = self._recall(model, corpus, length)
            length *= 2
        if not scores:
            raise ValueError(f"the context of {api.context_of(model)} is below `shortest`")
        return scores

    def questions(self, corpus: api.Corpus, length: int):
        """Return inputs (N, length) int64 and answers (N, choices) int64, the right one first."""
        import numpy as np

        rng = np.random.default_rng([self.options.seed, length])
        text = np.asarray(corpus.heldout, dtype=np.int64)
        inputs, answers = [], []
        for _ in range(self.options.items):
            start = rng.integers(0, len(text) - length)
            hay = text[start : start + length - 2 * KEY - 1]
            key = rng.integers(0, corpus.vocab_size, KEY)
            # Wrong answers stand in the text too: having seen a token is not enough.
            others = rng.permutation(np.unique(hay))[: self.options.choices - 1]
            value = rng.choice(np.setdiff1d(np.arange(corpus.vocab_size), np.unique(hay)))
            missing = self.options.choices - 1 - len(others)
            others = np.append(others, rng.integers(0, corpus.vocab_size, missing))
            at = rng.integers(0, len(hay) + 1)
            inputs.append(np.concatenate([hay[:at], key, [value], hay[at:], key]))
            answers.append(np.append(value, others))
        return np.stack(inputs), np.stack(answers).astype(np.int64)

    def _recall(self, model, corpus: api.Corpus, length: int) -> api.Score:
        import torch

        inputs, answers = self.questions(corpus, length)
        model.eval()
        with torch.inference_mode():
            tokens = torch.from_numpy(inputs).to(api.device_of(model))
            last = torch.cat([model(part)[:, -1].float().cpu() for part in tokens.split(32)])
        logits = last.gather(1, torch.from_numpy(answers))
        found = (logits[:, :1] > logits[:, 1:]).all(dim=1).double()
        n, value = len(found), found.mean().item()
        if not torch.isfinite(logits).all():
            value = math.nan
        stderr = math.sqrt(max(0.0, value * (1 - value)) / n)
        return api.Score(value, stderr, higher_is_better=True, n=n)
