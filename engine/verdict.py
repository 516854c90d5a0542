"""What a run has found, said with the care that the noise asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.state import Standing, State
from genesys_engine.engine.views.noise import SIGMAS


@dataclass(frozen=True)
class Verdict:
    """The best design, the best child, and whether it beats the reference."""

    best: int | None
    best_child: int | None
    rung: int | None
    fitness: float | None
    reference: int | None
    sigma: float | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the payload of the event `run.finished`."""
        keys = ("best", "best_child", "rung", "fitness", "reference", "sigma")
        return {**{key: getattr(self, key) for key in keys}, "verdict": self.text}


def judge(state: State, scales: Sequence[str], seeds: Sequence[str]) -> Verdict:
    """Compare the best child with the reference and with the best seed, within the noise.

    `seeds` are the names of the seeds in order of their design numbers, the reference first.
    """
    ranked = sorted(
        (s for s in state.standings.values() if s.gains),
        key=lambda s: (-s.rung, -s.fitness, s.design),
    )
    child = next((s for s in ranked if not s.seed), None)
    best = ranked[0].design if ranked else None
    if child is None:
        text = "No child was verified; nothing can be said."
        return Verdict(best, None, None, None, state.reference, None, text)
    sigma = state.sigma(child.rung)
    rung, fitness = child.rung, child.fitness
    text = (
        f"Best child: design {child.design}, verified up to {scales[rung]}:"
        f" {_compared(fitness, sigma)} {seeds[0]}{_best_seed(state, child, seeds, sigma)}."
        f" {_noise(sigma, seeds[0])}"
    )
    return Verdict(best, child.design, rung, fitness, state.reference, sigma, text)


def _compared(difference: float, sigma: float | None) -> str:
    """Return the difference with what may be said of it; ends where the other is named."""
    number = f"{difference:+.2f} %"
    if sigma is None:
        return f"{number}, which may be luck, against"
    if abs(difference) <= SIGMAS * sigma:
        return f"{number}, no difference shown from"
    return f"{number}, {'better' if difference > 0 else 'worse'} than"


def _best_seed(state: State, child: Standing, seeds: Sequence[str], sigma: float | None) -> str:
    """Return the comparison with the best other seed at the highest rung that both reached."""
    for rung in sorted(child.gains, reverse=True):
        rivals = {
            design: standing.gains[rung]
            for design, standing in state.standings.items()
            if standing.seed and design != state.reference and rung in standing.gains
        }
        if rivals:
            best = min(rivals, key=lambda design: (-rivals[design], design))
            difference = child.gains[rung] - rivals[best]
            return f"; {_compared(difference, sigma)} the best other seed, {seeds[best]}"
    return ""


def _noise(sigma: float | None, reference: str) -> str:
    if sigma is None:
        return "The noise was not measured (noise_seeds = 1)."
    return (
        f"2 sigma = {SIGMAS * sigma:.2f} %, from the training seeds of {reference};"
        " the child was trained once per rung."
    )
