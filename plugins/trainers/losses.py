"""The losses of a trial: its curve, and the reasons in them to end it early."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from genesys_engine.plugins.api import TrialDiverged
from genesys_engine.plugins.trainers.live_curve import CURVE_POINTS, LiveCurve

if TYPE_CHECKING:
    import torch

READ_LOSS_EVERY = 8  # steps; reading waits for the device


@dataclass
class Losses:
    """Collects losses (nats per token), ends the trial when they run away or stall.

    `points` holds (tokens seen, loss) of every step; with those of an earlier session it continues
    as if there had been no break.  `live` gets the curve as it grows.
    """

    explode_factor: float
    stall_tokens: int | None = None
    points: list[tuple[int, float]] = field(default_factory=list)
    live: LiveCurve | None = None
    _pending: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    def add(self, tokens: int, loss: torch.Tensor) -> None:
        """Note the loss of a step that ended at `tokens` seen."""
        self._pending.append((tokens, loss))
        if len(self._pending) >= READ_LOSS_EVERY or not self.points:
            self.read()

    def read(self) -> None:
        """Fetch pending losses from the device and check them.

        Raises:
            TrialDiverged: a loss is not finite, exploded, or has stopped falling.
        """
        for tokens, tensor in self._pending:
            loss = float(tensor)
            self._check(tokens, loss)
            self.points.append((tokens, loss))
        self._pending.clear()
        if self.stall_tokens is not None:
            self._check_stall(self.stall_tokens)
        if self.live is not None and self.live.is_due:
            self.tell()

    def tell(self) -> None:
        """Report the curve so far; a trial that ends early does so at its end."""
        if self.live is not None:
            self.live.write(self.curve())

    def curve(self) -> tuple[tuple[int, float], ...]:
        """Return at most CURVE_POINTS points, each the mean of the steps since the last one."""
        per_point = -(-len(self.points) // CURVE_POINTS) or 1
        runs = [self.points[i : i + per_point] for i in range(0, len(self.points), per_point)]
        return tuple((run[-1][0], sum(loss for _, loss in run) / len(run)) for run in runs)

    def _check(self, tokens: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrialDiverged(f"the training loss is {loss} after {tokens:,} tokens")
        if self.points and not loss <= self.explode_factor * self.points[0][1]:
            raise TrialDiverged(
                f"the training loss rose from {self.points[0][1]:.3f} to {loss:.3f} nats per "
                f"token after {tokens:,} tokens"
            )

    def _check_stall(self, stretch: int) -> None:
        """Compare the newest whole stretch of tokens with all before it."""
        means = self._stretches(stretch)
        if len(means) > 1 and not means[-1] < min(means[:-1]):
            raise TrialDiverged(
                f"the training loss has stalled: {means[-1]:.4f} nats per token over the last "
                f"{stretch:,} tokens against {min(means[:-1]):.4f} before"
            )

    def _stretches(self, stretch: int) -> list[float]:
        """Return the mean loss of every whole stretch of `stretch` tokens."""
        sums: dict[int, list[float]] = {}
        for tokens, loss in self.points:
            sums.setdefault((tokens - 1) // stretch, []).append(loss)
        whole = range(self.points[-1][0] // stretch) if self.points else range(0)
        return [sum(sums[i]) / len(sums[i]) for i in whole if i in sums]
