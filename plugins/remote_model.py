"""A candidate's model as evaluators see it: an `nn.Module` whose answers come from another process.

Imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genesys_engine.plugins.sandbox.subject import Asked, BadAnswer

MOST_BYTES = 64 << 20  # of logits that are asked for at a time, but for a text that has more


class Watch(Protocol):
    """An observer of a model's questions and answers."""

    def note(self, tokens: Tensor, rows: Tensor, places: Tensor, likely: Tensor) -> None:
        """Note log-probabilities (n, V) of the tokens after n places of tokens (B, T)."""

    def note_all(self, tokens: Tensor, likely: Tensor) -> None:
        """Note log-probabilities (B, T, V) of the tokens after every place."""


@dataclass(frozen=True)
class RemoteConfig:
    """The part of a model's configuration that evaluators read."""

    context: int
    vocab_size: int


class RemoteModel(nn.Module):
    """Answers with the log-probabilities of a model that a subject serves (`model_subject`).

    The subject's logits are normalised here, so that no answer holds more than probability 1, and
    their number, shape and type are checked.  They are on the CPU, wherever the model is, and have
    no gradient; the model has no parameters here.

    Args:
        subject: the process that serves the model.
        config: context and vocab_size.
        watch: sees every answer.
    """

    here: Tensor

    def __init__(
        self, subject: Asked, config: Mapping[str, Any], watch: Watch | None = None
    ) -> None:
        super().__init__()
        self.config = RemoteConfig(int(config["context"]), int(config["vocab_size"]))
        self._subject = subject
        self._watch = watch
        self.register_buffer("here", torch.zeros(()))  # tells where tensors are

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T), int64, to log-probabilities (B, T, V), float32.

        Raises:
            SubjectRaised: the model raised.
            MemoryError: it found no memory.
            SubjectEnded, SubjectStopped, BadAnswer: there is no answer; the job ends with it.
        """
        length, size = tokens.shape[1], self.config.vocab_size
        cut = torch.split(tokens, self.rows(length))
        parts = [self._asked((len(part), length, size), part) for part in cut]
        likely = torch.cat(parts) if len(parts) > 1 else parts[0]
        if self._watch is not None:
            self._watch.note_all(tokens, likely)
        return likely

    def rows(self, length: int) -> int:
        """Return how many texts of a length are asked about at a time."""
        return max(1, MOST_BYTES // (4 * self.config.vocab_size * length))

    def logits_at(self, tokens: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Map tokens (B, T) to log-probabilities (n, V) at n places; see `forward`."""
        likely = self._asked((len(rows), self.config.vocab_size), tokens, rows, places)
        if self._watch is not None:
            self._watch.note(tokens, rows, places, likely)
        return likely

    def generate(self, tokens: Tensor, max_new_tokens: int) -> Tensor:
        """Append the likeliest tokens: (B, T) -> (B, T + max_new_tokens)."""
        rows = torch.arange(len(tokens))
        for _ in range(max_new_tokens):
            seen = tokens[:, -self.config.context :]
            last = torch.full_like(rows, seen.shape[1] - 1)
            new = self.logits_at(seen, rows, last).argmax(dim=-1, keepdim=True)
            tokens = torch.cat((tokens, new), dim=1)
        return tokens

    def _asked(self, shape: tuple[int, ...], *tensors: Tensor) -> Tensor:
        _, answer = self._subject.ask("logits", {}, tensors)
        return log_likelihoods(answer, shape)


def log_likelihoods(answer: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Return the log-probabilities that the logits of an answer stand for.

    Raises:
        BadAnswer: it does not hold one tensor of this shape, in float32.
    """
    if [(part.shape, part.dtype) for part in answer] != [(shape, torch.float32)]:
        raise BadAnswer("the logits are not what was asked for")
    return F.log_softmax(answer[0], dim=-1)
