"""The training checkpoint: everything that a trial needs to resume exactly.

One safetensors file next to the final checkpoint: weights, optimiser state, the generators' states
and every loss so far; its metadata hold the position in the data, what the trial is, and a digest
over the tensors.  It is read back before it counts, and the file before it is replaced at once.
A file that is damaged, or of another trial, is not used.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.checkpoint import name_when_read_back

if TYPE_CHECKING:
    import torch
    from torch import nn

TRAINING = "training.safetensors"
FORMAT = "2"
MOST_OF_TIME = 0.05  # that may go into training checkpoints


@dataclass
class Progress:
    """How far a trial is: real tokens, steps, and (tokens, loss) of every step.

    `memory_fallbacks` holds, as options, what its steps reduced for want of memory.
    """

    tokens: int = 0
    steps: int = 0
    points: list[tuple[int, float]] = field(default_factory=list)
    memory_fallbacks: dict[str, Any] = field(default_factory=dict)


class TrainingCheckpoint:
    """Keeps the training checkpoint of one trial.

    Args:
        path: the file.
        identity: of the trial; a file with another one is not used.
        every_s: seconds between two checkpoints, more where one takes long; 0 writes none.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], every_s: float) -> None:
        self._path = path
        self._identity = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._every_s = every_s
        self._last = time.monotonic()
        self._last_took = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next one.

        The clock decides how much is done again after a kill, and nothing of the result.
        """
        pause = max(self._every_s, self._last_took / MOST_OF_TIME)
        return self._every_s > 0 and time.monotonic() - self._last >= pause

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Write the state of now.

        Raises:
            EnvironmentProblem: the file on the disk differs from what was written.
            OSError: the disk is full.
        """
        from safetensors.torch import save_file

        started = time.monotonic()
        tensors = {
            **{f"model.{name}": tensor.detach() for name, tensor in _tensors(model)},
            **_optimizer_tensors(optimizer),
            **_generators(),
            **_points(progress),
        }
        on_cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        metadata = {
            "format": FORMAT,
            "identity": self._identity,
            "tokens": str(progress.tokens),
            "steps": str(progress.steps),
            "given_up": json.dumps(progress.memory_fallbacks),
            "digest": _digest(on_cpu),
        }
        partial = self._path.with_name(self._path.name + ".partial")
        save_file(on_cpu, str(partial), metadata)
        name_when_read_back(partial, self._path, on_cpu)
        self._last = time.monotonic()
        self._last_took = self._last - started

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Progress, str]:
        """Put the saved state into model, optimiser and generators.

        Returns how far the trial was, and a word where a file is there and was not used.
        """
        if not self._path.exists():
            return Progress(), ""
        try:
            metadata, tensors = _read(self._path)
        except Exception as error:  # whatever lies there is no checkpoint of ours
            return Progress(), f"it cannot be read ({type(error).__name__})"
        if metadata.get("format") != FORMAT or metadata.get("identity") != self._identity:
            return Progress(), "it is of another trial"
        if metadata.get("digest") != _digest(tensors):
            return Progress(), "it is damaged"
        _restore(model, optimizer, tensors)
        points = [(int(tokens), loss) for tokens, loss in zip(
            tensors["points.tokens"].tolist(), tensors["points.loss"].tolist(), strict=True
        )]  # fmt: skip
        memory_fallbacks = json.loads(metadata["given_up"])
        return Progress(
            int(metadata["tokens"]), int(metadata["steps"]), points, memory_fallbacks
        ), ""

    def remove(self) -> None:
        """Remove the file: the trial is over."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every parameter and persistent buffer, tied ones once."""
    persistent = model.state_dict().keys()
    yield from model.named_parameters()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name in persistent)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimiser's state, which for AdamW is tensors alone, by the parameter's place."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{place}.{key}": tensor
        for place, entry in state.items()
        for key, tensor in entry.items()
    }


def _generators() -> dict[str, torch.Tensor]:
    """Return the states of the generators that dropout and the like draw from."""
    import torch

    states = {"generator.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {
            f"generator.cuda.{i}": torch.cuda.get_rng_state(i)
            for i in range(torch.cuda.device_count())
        }
    return states


def _points(progress: Progress) -> dict[str, torch.Tensor]:
    import torch

    tokens = [tokens for tokens, _ in progress.points]
    losses = [loss for _, loss in progress.points]
    return {
        "points.tokens": torch.tensor(tokens, dtype=torch.int64),
        "points.loss": torch.tensor(losses, dtype=torch.float64),
    }


def _restore(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]
) -> None:
    import torch

    with torch.no_grad():
        for name, tensor in _tensors(model):
            tensor.copy_(tensors[f"model.{name}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            place, _, key = rest.partition(".")
            state.setdefault(int(place), {})[key] = tensor
        elif kind == "generator":
            device, _, number = rest.partition(".")
            if device == "cpu":
                torch.set_rng_state(tensor)
            elif torch.cuda.is_available() and int(number) < torch.cuda.device_count():
                torch.cuda.set_rng_state(tensor, int(number))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(raw)
    return digest.hexdigest()
