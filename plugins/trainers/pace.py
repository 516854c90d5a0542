"""Ending a trial that is too slow: against the seed gpt of the same width and depth, next to it.

Both take their steps alike: as many sequences at once, compiled or not, shared by as many
processes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from genesys_engine.gab.memory import is_memory_error
from genesys_engine.plugins.api import TrainBudget, TrialDiverged
from genesys_engine.plugins.trainers.options import TorchTrainerOptions
from genesys_engine.plugins.trainers.recipe import make_optimizer

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesys_engine.plugins.corpus import Batch
    from genesys_engine.plugins.trainers.stepping import Stepper
    from genesys_engine.plugins.trainers.team import Team

WARM_UP = 3  # steps that are not measured: the first ones allocate and compile
MEASURED = 8  # steps
SHARE = 0.01  # of the peak rates, for the reference; any will do


class Pace:
    """Measures the first steps that `stepper` takes in a trial, unless `options.slowest_ratio` is
    None."""

    def __init__(
        self,
        model: nn.Module,
        budget: TrainBudget,
        stepper: Stepper,
        options: TorchTrainerOptions,
        device: torch.device,
        team: Team,
    ) -> None:
        self._model = model
        self._stepper = stepper
        self._budget = budget
        self._options = options
        self._slowest = options.slowest_ratio
        self._device = device
        self._team = team
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
            ratio = self._ratio(batch, self._now() - self._started)
            if ratio < self._slowest:
                raise TrialDiverged(
                    f"too slow: {ratio:.3f} of the speed of the seed gpt of the same width and "
                    f"depth; {self._slowest} is the least"
                )

    def _ratio(self, batch: Batch, seconds: float) -> float:
        """Return the share of the reference's speed, the same for all processes of a team, so
        that all of them continue or none; 1 where the reference does not fit next to the design."""
        import torch

        try:
            ratio = self._reference(batch) / seconds
        except Exception as error:
            if not is_memory_error(error):
                raise
            ratio = 1.0
        total = self._team.total(torch.tensor(ratio, device=self._device))
        return float(total) / self._team.size

    def _reference(self, batch: Batch) -> float:
        """Return the seconds that the seed gpt needs for as many such steps."""
        import torch

        from genesys_engine.gab.compose import compose, load_block
        from genesys_engine.gab.library import seed
        from genesys_engine.gab.model import LanguageModel

        config = cast(Any, self._model).config
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            gpt = LanguageModel(load_block(compose(seed("gpt"))), config).to(self._device).train()
            optimizer = make_optimizer(gpt, self._budget, self._options)
            with self._stepper.clone_for(gpt, optimizer) as stepper:
                for _ in range(WARM_UP):
                    stepper.step(batch, SHARE)
                started = self._now()
                for _ in range(MEASURED):
                    stepper.step(batch, SHARE)
                return self._now() - started

    def _now(self) -> float:
        """Return the time once the device has finished its work."""
        if self._device.type == "cuda":
            import torch

            torch.cuda.synchronize(self._device)
        return time.perf_counter()
