"""Models that an evaluator trains: small ones of the candidate's block, in the subject's process.

The evaluator draws the items and knows the right answers; the subject gets the training examples
and only the inputs of a test.

Imports torch: workers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genesys_engine.plugins.remote_model import RemoteModel
from genesys_engine.plugins.sandbox.subject import Asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tokens = NDArray[np.int64]


class Student:
    """One model that is taught and tested; it serves until the next one is built."""

    def __init__(self, subject: Asked, config: Mapping[str, Any]) -> None:
        self._subject = subject
        self._model = RemoteModel(subject, config)

    def teach(self, inputs: Tokens, targets: Tokens, progress: float) -> None:
        """Take one optimiser step on inputs and targets (rows, length); -100 is not scored.

        Args:
            progress: share of the training that is over, 0 to 1: it decides the learning rate.

        Raises:
            SubjectRaised: the model raised.
        """
        tensors = [torch.from_numpy(inputs), torch.from_numpy(targets)]
        self._subject.ask("teach", {"progress": progress}, tensors)

    def answers(self, inputs: Tokens) -> Tokens:
        """Return the likeliest token behind every place of inputs (rows, length), same shape."""
        likely: Tokens = self._model(torch.from_numpy(inputs)).argmax(-1).numpy()
        return likely


class Students:
    """Builds students of one block.

    Args:
        subject: the process that serves models (`model_subject`).
        block: `source` of the composed module, and `device`.
    """

    def __init__(self, subject: Asked, block: Mapping[str, Any]) -> None:
        self._subject = subject
        self._block = {key: block[key] for key in ("source", "device")}

    def build(
        self, *, vocabulary: int, context: int, width: int, blocks: int, seed: int
    ) -> Student:
        """Build a model with random weights, in the place of the one before.

        Raises:
            SubjectRaised: the block cannot be built at this width.
        """
        config = {
            "d_model": width,
            "n_blocks": blocks,
            "vocab_size": vocabulary,
            "context": context,
        }
        order = {**self._block, "model": config, "seed": seed, "checkpoint": None}
        self._subject.ask("build", order)
        return Student(self._subject, config)
