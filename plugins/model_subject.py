"""The operations of an evaluation's subject: a candidate's model in a process of its own.

It gets tokens and answers with logits.  Only the judge (`evaluate_job`) knows the continuation of a
text, the right answers and the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.api import TrainBudget
from genesys_engine.plugins.models import build_model, device_of

if TYPE_CHECKING:
    from torch import Tensor

    from genesys_engine.plugins.sandbox.subject import Operations


SUBJECT = "genesys_engine.plugins.model_subject:operations"
SUBJECTS = 2
"""Processes that an evaluation asks: one all that its evaluators ask, one a sample of it again."""


def operations(scratch: Path) -> Operations:
    """Return the operations, which have one model in common."""
    served = _Served()
    return {name: getattr(served, name) for name in ("build", "state", "teach", "step", "logits")}


_ANY_BUDGET = TrainBudget(tokens=1, batch_tokens=1, peak_lr=0.0, seed=0)
"""The default recipe has rates of its own, and reads none of it."""


class _Served:
    """The model that is asked."""

    def __init__(self) -> None:
        self._model: Any = None
        self._optimizer: Any = None

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
        self._model, self._optimizer = model, None  # in the mode that a training finds it in
        return {}, []

    def state(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Return the names of the model's `parameters`, and those of its `buffers` that a
        checkpoint holds, with their values."""
        parameters = [name for name, _ in self._model.named_parameters(remove_duplicate=False)]
        others = {k: v for k, v in self._model.state_dict().items() if k not in set(parameters)}
        values = [value.cpu() for value in others.values()]
        return {"parameters": parameters, "buffers": list(others)}, values

    def teach(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Take one step of the default recipe on inputs and targets (B, T); -100 is not scored.

        Arguments: `progress`, the share of the training that is over.
        """
        import torch
        from torch.nn import functional

        from genesys_engine.plugins.trainers.options import TrainerOptions
        from genesys_engine.plugins.trainers.recipe import make_optimizer, rate_share, set_rates

        options, model = TrainerOptions(), self._model.train()
        if self._optimizer is None:
            self._optimizer = make_optimizer(model, _ANY_BUDGET, options)
        inputs, targets = (tensor.to(device_of(model)) for tensor in tensors)
        loss = functional.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.grad_clip)
        set_rates(self._optimizer, rate_share(arguments["progress"], options))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return {}, []

    def step(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Run the forward pass of a training step on tokens (B, T); return the logits (n, V) in
        float32 at n `rows` and `places`.  It leaves the model as it was.

        Arguments: `seed`, of what is drawn; `adds_up`, whether parameters have gradients already,
        as they have behind the first part of a batch.
        """
        import torch

        from genesys_engine.plugins.auditor.memory import buffers_kept

        model = self._model
        trained = [p for p in model.parameters() if p.requires_grad]
        for parameter in trained if arguments["adds_up"] else ():
            parameter.grad = torch.zeros_like(parameter)
        device = device_of(model)
        on_cuda = device.type == "cuda"
        torch.manual_seed(arguments["seed"])
        with buffers_kept(model), torch.autocast(device.type, torch.bfloat16, enabled=on_cuda):
            made = model.train().logits_at(*(tensor.to(device) for tensor in tensors))
        model.zero_grad(set_to_none=True)
        return {}, [made.detach().float()]

    def logits(
        self, arguments: dict[str, Any], tensors: Sequence[Tensor]
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Return logits in float32: of tokens (B, T) all, (B, T, V); with tensors of `rows` and
        `places` (n,) those at n places, (n, V)."""
        import torch

        assert self._model is not None, "a model is built before it is asked"
        model = self._model.eval()
        device = device_of(model)
        with torch.inference_mode():
            tokens, *where = (tensor.to(device) for tensor in tensors)
            made = model.logits_at(tokens, *where) if where else model(tokens)
            return {}, [made.float()]
