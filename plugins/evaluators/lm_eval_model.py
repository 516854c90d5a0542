"""Our language models as lm-eval sees them.  Imports torch and lm-eval: workers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import LM

from genesys_engine.plugins.models import context_of, device_of

if TYPE_CHECKING:
    from torch import nn

    from genesys_engine.plugins.corpus import Corpus


class CorpusLM(LM):  # type: ignore[misc]  # lm-eval has no types
    """A model with the tokenizer of its corpus.

    Texts longer than the model's context lose their beginning; a text without context is
    conditioned on the end-of-text token, which stands before every document in training.
    """

    def __init__(self, model: nn.Module, corpus: Corpus, batch_tokens: int) -> None:
        super().__init__()
        self.model = model.eval()
        self.corpus = corpus
        self.batch_tokens = batch_tokens
        self.context = context_of(model)
        self._device = device_of(model)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, whether greedy decoding gives it) per request."""
        rows = []
        for context, continuation in (request.args for request in requests):
            before = self._encode(context) or [self.corpus.end_of_text]
            rows.append((before, self._encode(continuation)))
        return self._score(rows)

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Return the log-likelihood of whole texts, in disjoint windows of a full context."""
        totals = []
        for (text,) in (request.args for request in requests):
            ids = [self.corpus.end_of_text, *self._encode(text)]
            starts = range(0, len(ids) - 1, self.context)
            rows = [(ids[i : i + 1], ids[i + 1 : i + 1 + self.context]) for i in starts]
            totals.append(sum(score for score, _ in self._score(rows)))
        return totals

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Continue texts greedily up to a stop string, `max_gen_toks` or a document's end."""
        replies = []
        for prompt, settings in (request.args for request in requests):
            stops = settings.get("until") or []
            stops = [stops] if isinstance(stops, str) else stops
            replies.append(self._generate(prompt, stops, int(settings.get("max_gen_toks", 64))))
        return replies

    def _generate(self, prompt: str, stops: Sequence[str], count: int) -> str:
        """Return the greedy continuation of one prompt."""
        ids = (self._encode(prompt) or [self.corpus.end_of_text])[-self.context :]
        tokens = torch.tensor([ids], device=self._device)
        with torch.inference_mode():
            made = self.model.generate(tokens, count)[0, len(ids) :].tolist()  # type: ignore[operator]
        if self.corpus.end_of_text in made:
            made = made[: made.index(self.corpus.end_of_text)]
        text: str = self.corpus.tokenizer.decode(made)
        return text[: min((text.find(stop) for stop in stops if stop in text), default=None)]

    def _encode(self, text: str) -> list[int]:
        """Return token ids; context and continuation are encoded apart."""
        ids: list[int] = self.corpus.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _score(self, rows: Sequence[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """Score continuations, in batches of similar length."""
        cut = [(before + after)[-(self.context + 1) :] for before, after in rows]
        scores: list[tuple[float, bool]] = [(0.0, True)] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(cut[i]))
        for some in _groups(order, [len(ids) for ids in cut], self.batch_tokens):
            parts = self._score_batch([cut[i] for i in some], [len(rows[i][1]) for i in some])
            for i, part in zip(some, parts, strict=True):
                scores[i] = part
        return scores

    def _score_batch(
        self, texts: Sequence[list[int]], lengths: Sequence[int]
    ) -> list[tuple[float, bool]]:
        """Score the last `lengths` tokens of each text; padding on the right is never read."""
        width = max(len(ids) for ids in texts)
        pad = self.corpus.end_of_text
        tokens = torch.tensor([ids + [pad] * (width - len(ids)) for ids in texts])
        tokens = tokens.to(self._device)
        with torch.inference_mode():
            logits = self.model(tokens[:, :-1]).float()
        results = []
        for row, (ids, length) in enumerate(zip(texts, lengths, strict=True)):
            last = len(ids) - 1
            length = min(length, last)
            kept = logits[row, last - length : last].log_softmax(-1)
            wanted = tokens[row, last - length + 1 : last + 1]
            score = kept.double().gather(-1, wanted[:, None]).sum()
            results.append((float(score), bool((kept.argmax(-1) == wanted).all())))
        return results


def _groups(order: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Cut `order` (ascending lengths) into groups of at most `tokens` padded tokens."""
    group: list[int] = []
    for i in order:
        if group and (len(group) + 1) * lengths[i] > tokens:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
