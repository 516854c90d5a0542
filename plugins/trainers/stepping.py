"""One optimiser step over the effective batch, with whatever memory is available.

A batch is cut into micro-batches, and the loss of each is divided by the real tokens of the whole
batch: how it is cut changes rounding and nothing else.  A processor is faster with what its cache
holds, a GPU with all at once.  What does not fit is reduced in this order: half the micro-batch,
down to one sequence; then the activations, which are computed again in the backward pass; then the
trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import in_a_line
from genesys_engine.gab.memory import is_memory_error
from genesys_engine.plugins.models import context_of
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.recipe import set_rates

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.corpus import Batch
    from genesys_engine.plugins.trainers.team import Team

IGNORED = -100  # target of a position without a loss
IN_CACHE = 2048  # tokens whose activations a processor's cache holds (docs/performance.md)


class Stepper:
    """Takes steps; a context manager, which leaves the model as it was but for its weights.

    `memory_fallbacks` holds the options that memory forced: a trial that resumes later starts
    with them, and so with the same rounding.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: TorchTrainerOptions,
        device: torch.device,
        team: Team,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._options = options
        self._device = device
        self._team = team
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._blocks = list(getattr(model, "blocks", ()))
        self._micro = options.micro_batch or usual_micro_batch(model, device)
        self.memory_fallbacks: dict[str, Any] = {}
        self._checkpointing = False
        self._compiled = options.compile == "always" or (
            options.compile == "auto" and device.type == "cuda"
        )
        self._not_compiled = ""
        if options.activation_checkpointing == "always":
            self._checkpoint_activations()
        self._prepare()

    def __enter__(self) -> Stepper:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the wrapping of the blocks back."""
        for block in self._blocks:
            block.__dict__.pop("forward", None)

    @property
    def facts(self) -> dict[str, float | int | str]:
        """How the steps were taken on this machine."""
        compiled = self._not_compiled or ("yes" if self._compiled else "no")
        return {
            "micro_batch": self._micro or 0,
            "activation_checkpointing": "yes" if self._checkpointing else "no",
            "compiled": compiled,
        }

    def clone_for(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Stepper:
        """Return a stepper for another model, configured like this one."""
        same = {**self.memory_fallbacks, "compile": "always" if self._compiled else "never"}
        options = self._options.model_copy(update=same)
        return Stepper(model, optimizer, options, self._device, self._team)

    def step(self, batch: Batch, share: float) -> torch.Tensor:
        """Take one step at a share of the peak rates; return the mean loss (nats), on the device.

        Raises:
            MemoryError: not even one sequence fits.
        """
        set_rates(self._optimizer, share)
        while True:
            before = _generators(self._device)
            try:
                return self._attempt(batch)
            except Exception as error:
                self._reduce_memory(
                    error, len(self._team.share(batch).inputs), batch.inputs.shape[1]
                )
            # Here the error is gone, and with it the frames that held what did not fit.
            self._optimizer.zero_grad(set_to_none=True)
            _restore_generators(before, self._device)

    def _attempt(self, batch: Batch) -> torch.Tensor:
        import torch

        loss = torch.zeros((), device=self._device)
        pieces = list(micro_batches(self._team.share(batch), self._micro))
        for number, (inputs, targets) in enumerate(pieces, 1):
            with self._team.together(self._forward, number == len(pieces)):
                loss += self._backward(inputs, targets, batch.real_tokens)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._options.grad_clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return self._team.total(loss)

    def _backward(
        self, inputs: torch.Tensor, targets: torch.Tensor, real_tokens: int
    ) -> torch.Tensor:
        """Add the gradient of one micro-batch; return its part of the mean loss."""
        import torch
        import torch.nn.functional as F

        on_cuda = self._device.type == "cuda"
        if on_cuda:
            inputs = inputs.pin_memory().to(self._device, non_blocking=True)
            targets = targets.pin_memory().to(self._device, non_blocking=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=on_cuda):
            logits = self._forward(inputs)
        part = F.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        ) / max(1, real_tokens)
        # Several processes average their gradients, and their losses are parts of one sum.
        (part * self._team.size).backward()  # type: ignore[no-untyped-call]
        return part.detach()

    def _prepare(self) -> None:
        """Return the callable for the logits: the model, distributed and compiled as requested."""
        import torch

        self._forward: Any = self._team.share_model(self._model, self._device)
        if self._compiled:
            self._forward = torch.compile(self._forward, backend=self._options.compile_backend)

    def _reduce_memory(self, error: Exception, rows: int, context: int) -> None:
        """Give something up so that the step can be tried again.

        Raises:
            MemoryError: nothing is left to give up.
            Exception: `error` itself, where it is neither memory nor the compiler.
        """
        import torch

        if is_memory_error(error):
            micro = min(self._micro or rows, rows)
            if micro > 1:
                self.memory_fallbacks["micro_batch"] = self._micro = -(-micro // 2)
            elif self._may_checkpoint():
                self.memory_fallbacks["activation_checkpointing"] = "always"
                self._checkpoint_activations()
                self._prepare()
            else:
                raise MemoryError(
                    f"out of memory with a micro-batch of one sequence of {context} tokens"
                ) from error
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        elif self._compiled:
            self._not_compiled = f"no: {in_a_line(error)}"
            self._compiled = False
            self._prepare()
        else:
            raise error

    def _may_checkpoint(self) -> bool:
        wanted = self._options.activation_checkpointing == "auto"
        return wanted and bool(self._blocks) and not self._checkpointing

    def _checkpoint_activations(self) -> None:
        """Wrap every block so that the backward pass computes its activations again."""
        from torch.utils.checkpoint import checkpoint

        for block in self._blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        self._checkpointing = bool(self._blocks)


def usual_micro_batch(model: nn.Module, device: torch.device) -> int | None:
    """Return the default number of sequences per forward pass; None for the whole batch."""
    return max(1, IN_CACHE // context_of(model)) if device.type == "cpu" else None


def micro_batches(batch: Batch, size: int | None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (inputs, targets) of at most `size` sequences; targets without a loss are IGNORED."""
    import numpy as np
    import torch

    inputs = torch.from_numpy(np.ascontiguousarray(batch.inputs))
    targets = torch.from_numpy(np.where(batch.mask, batch.targets, IGNORED))
    size = size or len(inputs)
    for start in range(0, len(inputs), size):
        yield inputs[start : start + size], targets[start : start + size]


def _generators(device: torch.device) -> list[torch.Tensor]:
    import torch

    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _restore_generators(states: list[torch.Tensor], device: torch.device) -> None:
    import torch

    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
