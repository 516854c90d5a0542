"""Ending a trial that is too slow: against the seed gpt of the same width and depth, beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from genesys_engine.plugins.api import TrialDiverged
from genesys_engine.plugins.trainers.stepping import IGNORED, micro_batches, usual_micro_batch

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.corpus import Batch

WARM_UP = 3  # steps that are not measured: the first ones allocate
MEASURED = 8  # steps


class Pace:
    """Measures the first steps of a trial; does nothing where `slowest_ratio` is None."""

    def __init__(self, model: nn.Module, slowest_ratio: float | None, device: torch.device) -> None:
        self._model = model
        self._slowest = slowest_ratio
        self._device = device
        self._steps = 0
        self._started = 0.0

    def check(self, batch: Batch) -> None:
        """Note the end of a step.

        Raises:
            TrialDiverged: the steps took too long.
        """
        if self._slowest is None:
            return
        self._steps += 1
        if self._steps == WARM_UP:
            self._started = self._now()
        elif self._steps == WARM_UP + MEASURED:
            mine = (self._now() - self._started) / MEASURED
            ratio = self._reference(batch) / mine
            if ratio < self._slowest:
                raise TrialDiverged(
                    f"too slow: {ratio:.3f} of the speed of the seed gpt of the same width and "
                    f"depth; {self._slowest} is the least"
                )

    def _reference(self, batch: Batch) -> float:
        """Return the seconds that the seed gpt needs for such a step."""
        import torch
        import torch.nn.functional as F

        from genesys_engine.gab.compose import compose, load_block
        from genesys_engine.gab.library import seed
        from genesys_engine.gab.model import LanguageModel

        config = cast(Any, self._model).config
        states = torch.get_rng_state()
        gpt = LanguageModel(load_block(compose(seed("gpt"))), config).to(self._device).train()
        optimizer = torch.optim.AdamW(gpt.parameters(), lr=1e-4, fused=True)
        pieces = [
            (inputs.to(self._device), targets.to(self._device).flatten())
            for inputs, targets in micro_batches(batch, usual_micro_batch(gpt, self._device))
        ]
        for step in range(WARM_UP + MEASURED):
            if step == WARM_UP:
                started = self._now()
            on_cuda = self._device.type == "cuda"
            for inputs, targets in pieces:
                with torch.autocast(self._device.type, torch.bfloat16, enabled=on_cuda):
                    logits = gpt(inputs).flatten(0, 1)
                loss = F.cross_entropy(logits.float(), targets, ignore_index=IGNORED)
                loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seconds = (self._now() - started) / MEASURED
        torch.set_rng_state(states)
        return seconds

    def _now(self) -> float:
        """Return the time when the device has done what it was given."""
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()
