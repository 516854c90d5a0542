"""Our language models as lm-eval sees them.  Imports torch and lm-eval: workers only.

Texts are tokenised as by lm-eval's own `HFLM`, so that an exported model gets the same scores there
(docs/evaluation.md); only the batching differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.models import context_of, device_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genesys_engine.plugins.corpus import Corpus

Row = tuple[Sequence[int], Sequence[int]]
GENERATED_AT_ONCE = 16  # tokens between two looks for a stop string
MOST_GENERATED = 256  # tokens, where a task says nothing: lm-eval's own default


class Text(NamedTuple):
    """A text of which the last `scored` tokens are scored; a token stands before each of them."""

    ids: tuple[int, ...]
    scored: int

    @property
    def places(self) -> range:
        """The places whose next token is scored."""
        last = len(self.ids) - 1
        return range(last - self.scored, last)


class CorpusLM(TemplateLM):  # type: ignore[misc]  # lm-eval has no types
    """A model with the tokenizer of its corpus.

    Every token of a continuation is scored.  If it exceeds the model's context together with the
    text before it, that text is cut at its start; a continuation that is too long by itself is
    scored window by window.  A text without context is conditioned on the end-of-text token, which
    precedes every document in training.
    """

    def __init__(self, model: nn.Module, corpus: Corpus, batch_tokens: int) -> None:
        super().__init__()
        self.model = model.eval()
        self.corpus = corpus
        self.batch_tokens = batch_tokens
        self.context = context_of(model)
        self._device = device_of(model)

    @property
    def eot_token_id(self) -> int:
        """Id of the end-of-text token."""
        return self.corpus.end_of_text

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Return the token ids of a text; nothing is added to it."""
        ids: list[int] = self.corpus.tokenizer.encode(string, add_special_tokens=False).ids
        return ids

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, whether greedy decoding gives it) per request.

        Raises:
            InputError: a continuation is empty, which every model would give for certain.
        """
        pairs = [self._encode_pair(*request.args) for request in requests]
        for request, (_, after) in zip(requests, pairs, strict=True):
            if not after:
                raise _empty(request)
        return self._score_whole([self._rows(*pair) for pair in pairs])

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return the token ids of a context, never none, and of its continuation.

        As lm-eval has it, spaces at the end of the context belong to the continuation, and both
        are encoded together.  Where a token then reaches across the boundary, the rest of the
        tokens would be another continuation ("b" in place of "reb" after "the" where "there" is a
        token, and nothing at all of "re"), so that the continuation is encoded alone.
        """
        kept = context.rstrip()
        moved = context[len(kept) :] + continuation
        before, whole = self.tok_encode(kept), self.tok_encode(kept + moved)
        together = whole[: len(before)] == before
        after = whole[len(before) :] if together else self.tok_encode(moved)
        return before or [self.eot_token_id], after

    def _rows(self, before: list[int], after: list[int]) -> list[Row]:
        """Return rows that score each token of `after` once: all of it, or one row per window."""
        if len(after) <= self.context:
            return [(before, after)]
        windows = get_rolling_token_windows(after, before[-1], self.context, context_len=1)
        return [make_disjoint_window(window) for window in windows]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of whole texts, each token counted once."""
        texts = [self.tok_encode(text) for (text,) in (request.args for request in requests)]
        rows = [self._rows([self.eot_token_id], text) if text else [] for text in texts]
        return [score for score, _ in self._score_whole(rows)]

    def _score_whole(self, texts: Sequence[Sequence[Row]]) -> list[tuple[float, bool]]:
        """Score texts of one or more windows; all texts' windows go together, by length."""
        scored = iter(self._score([row for rows in texts for row in rows]))
        found = []
        for rows in texts:
            parts = [next(scored) for _ in rows]
            found.append((sum(score for score, _ in parts), all(greedy for _, greedy in parts)))
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Continue texts greedily up to a stop string, `max_gen_toks` or a document's end.

        Prompts of one length and one limit go together: a block knows nothing of padding.
        """
        prompts = [self._prompt(*request.args) for request in requests]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, (ids, count, _) in enumerate(prompts):
            groups.setdefault((len(ids), count), []).append(i)
        replies = [""] * len(prompts)
        for (length, count), members in sorted(groups.items()):
            size = max(1, self.batch_tokens // (length + count))
            for start in range(0, len(members), size):
                some = members[start : start + size]
                texts = self._generate(
                    [prompts[i][0] for i in some], count, [prompts[i][2] for i in some]
                )
                for i, text in zip(some, texts, strict=True):
                    replies[i] = text
        return replies

    def _prompt(self, text: str, settings: dict[str, Any]) -> tuple[list[int], int, list[str]]:
        """Return (token ids, most new tokens, stop strings) of a request.

        As in lm-eval the context has room for all that may be generated; where that alone fills
        it, the whole context is kept, and moves along as the model writes.

        Raises:
            ValueError: the task wants samples, and scores must not depend on chance.
        """
        asked = normalize_gen_kwargs(settings, MOST_GENERATED)
        if asked.get("do_sample"):
            raise ValueError("do_sample = true is not supported: generation is greedy")
        count = int(asked["max_gen_toks"])
        ids = self.tok_encode(text) or [self.eot_token_id]
        kept = self.context - count if count < self.context else self.context
        return ids[-kept:], count, handle_stop_sequences(asked.get("until"), eos=None)

    def _generate(
        self, prompts: Sequence[list[int]], count: int, stops: Sequence[list[str]]
    ) -> list[str]:
        """Return the greedy continuations of prompts of one length, cut at their stop strings."""
        tokens = torch.tensor(prompts, device=self._device)
        length = tokens.shape[1]
        texts: list[str] = []
        for made in range(0, count, GENERATED_AT_ONCE):
            step = min(GENERATED_AT_ONCE, count - made)
            with torch.inference_mode():
                tokens = self.model.generate(tokens, step)  # type: ignore[operator]
            found = [
                self._cut(row, stop)
                for row, stop in zip(tokens[:, length:].tolist(), stops, strict=True)
            ]
            texts = [text for text, _ in found]
            if all(ended for _, ended in found):
                break
        return texts

    def _cut(self, made: list[int], stops: Sequence[str]) -> tuple[str, bool]:
        """Return the text of generated tokens up to its end, and whether it has one."""
        ended = self.eot_token_id in made
        if ended:
            made = made[: made.index(self.eot_token_id)]
        text: str = self.corpus.tokenizer.decode(made)
        places = [text.find(stop) for stop in stops if stop and stop in text]
        return text[: min(places, default=None)], ended or bool(places)

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, **_: object
    ) -> list[tuple[float, bool]]:
        """Return (log-likelihood in nats, whether greedy decoding gives it) per request."""
        return self._score_whole([self._rows(before, after) for _, before, after in requests])

    def _score(self, rows: Sequence[Row]) -> list[tuple[float, bool]]:
        """Score continuations, in batches of similar length.

        A causal model's states of a text hold those of every text that it begins with, so that
        such texts, as the answers of one token to a question, are read in one forward pass.
        """
        texts = [
            Text(tuple([*before, *after][-(self.context + 1) :]), len(after))
            for before, after in rows
        ]
        inputs = {i: text.ids[:-1] for i, text in enumerate(texts)}
        readers = _readers(inputs)
        scores: list[tuple[float, bool]] = [(0.0, True)] * len(rows)
        order = sorted(readers, key=lambda i: len(texts[i].ids))
        for some in _groups(order, [len(text.ids) for text in texts], self.batch_tokens):
            members = [(row, i) for row, reader in enumerate(some) for i in readers[reader]]
            parts = self._score_batch(
                [inputs[i] for i in some], [(row, texts[i]) for row, i in members]
            )
            for (_, i), part in zip(members, parts, strict=True):
                scores[i] = part
        return scores

    def _score_batch(
        self, inputs: Sequence[tuple[int, ...]], texts: Sequence[tuple[int, Text]]
    ) -> list[tuple[float, bool]]:
        """Score texts, each from the states of the row of `inputs` that begins as it does.

        Rows are padded on the right, which is never read.
        """
        width = max(len(ids) for ids in inputs)
        tokens = torch.tensor([[*ids, *[self.eot_token_id] * (width - len(ids))] for ids in inputs])
        rows = torch.tensor([row for row, text in texts for _ in text.places])
        places = torch.tensor([place for _, text in texts for place in text.places])
        wanted = torch.tensor([text.ids[place + 1] for _, text in texts for place in text.places])
        wanted = wanted.to(self._device)
        with torch.inference_mode():
            logits = self._logits(
                tokens.to(self._device), rows.to(self._device), places.to(self._device)
            )
            likely = -F.cross_entropy(logits, wanted, reduction="none")
            greedy = logits.argmax(-1) == wanted
        counts = [len(text.places) for _, text in texts]
        parts = torch.split(likely.double().cpu(), counts)
        same = torch.split(greedy.cpu(), counts)
        return [
            (float(part.sum()), bool(hits.all())) for part, hits in zip(parts, same, strict=True)
        ]

    def _logits(self, tokens: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Return the logits (n, vocabulary) at the n places that are scored.

        The head costs as much as the blocks of a small model, and most positions are context, so
        models that support it compute only the positions that are needed.
        """
        at_places = getattr(self.model, "logits_at", None)
        logits: Tensor = (
            self.model(tokens)[rows, places]
            if at_places is None
            else at_places(tokens, rows, places)
        )
        return logits.float()


def _empty(request: Any) -> InputError:
    """Return the fault of a request whose continuation has no token."""
    context, continuation = request.args
    task = f" of the task {request.task_name}" if request.task_name else ""
    item = "an item" if request.doc_id is None else f"item {request.doc_id}"
    return InputError(
        f"{item}{task}: nothing can be scored of its answer {request.idx + 1}, {continuation!r}"
        f" after {context[-40:]!r}",
        where="evaluators",
        hint="give each answer some text, or leave the item out (process_docs)",
    )


def _readers(inputs: Mapping[int, tuple[int, ...]]) -> dict[int, list[int]]:
    """Return the inputs to read, each with the inputs that are prefixes of it or equal to it.

    In lexicographic order the extensions of a text follow it immediately.
    """
    readers: dict[int, list[int]] = {}
    reader = -1
    for i in sorted(inputs, key=lambda i: inputs[i], reverse=True):
        if reader < 0 or inputs[reader][: len(inputs[i])] != inputs[i]:
            reader = i
        readers.setdefault(reader, []).append(i)
    return readers


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
