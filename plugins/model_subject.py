"""The operations of an evaluation's subject: a candidate's model in a process of its own.

It gets tokens and answers with logits; what follows a text, which answer is right, and what the
scores are is known to the judge alone (`evaluate_job`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.models import build_model, device_of

if TYPE_CHECKING:
    from torch import Tensor

    from genesys_engine.gab.sandbox.subject import Operations


SUBJECT = "genesys_engine.plugins.model_subject:operations"
SUBJECTS = 2
"""Processes that an evaluation asks: one all that its evaluators ask, one a sample of it again."""


def operations(scratch: Path) -> Operations:
    """Return the operations `build` and `logits`, which have one model in common."""
    served = _Served()
    return {"build": served.build, "logits": served.logits}


class _Served:
    """The model that is asked."""

    def __init__(self) -> None:
        self._model: Any = None

    def build(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Build a model in the place of the one before: with random weights, or, where a
        `checkpoint` is named, with those of the file.

        Arguments: `source`, `model`, `seed`, `device`, `checkpoint` (a path, or None).
        """
        from genesys_engine.plugins.checkpoint import load_checkpoint

        model = build_model(arguments, arguments["device"])
        if arguments["checkpoint"] is not None:
            load_checkpoint(model, Path(arguments["checkpoint"]))
        self._model = model.eval()
        return {}, []

    def logits(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Return logits in float32: of tokens (B, T) all, (B, T, V); with tensors of `rows` and
        `places` (n,) those at n places, (n, V)."""
        import torch

        model = self._model
        assert model is not None, "a model is built before it is asked"
        device = device_of(model)
        with torch.inference_mode():
            tokens, *where = (tensor.to(device) for tensor in tensors)
            made = model.logits_at(tokens, *where) if where else model(tokens)
            return {}, [made.float()]
