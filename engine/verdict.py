"""What a run has found, said with the care that the noise asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.state import State
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


def judge(state: State, scales: Sequence[str], reference_name: str) -> Verdict:
    """Compare the best child with the reference, within the noise measured."""
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
    where = f"the highest rung it reached ({scales[child.rung]})"
    gain = f"{child.fitness:+.2f} % against {reference_name}, {where}"
    if sigma is None:
        text = (
            f"Best child: design {child.design}, {gain}; the noise was not measured"
            " (noise_seeds = 1), so this may be luck."
        )
    elif child.fitness > SIGMAS * sigma:
        text = (
            f"Best child: design {child.design}, {gain}: better by more than"
            f" 2 sigma = {SIGMAS * sigma:.2f} %."
        )
    else:
        text = (
            f"Best child: design {child.design}, {gain}: within or below"
            f" 2 sigma = {SIGMAS * sigma:.2f} %, so no improvement is shown."
        )
    rung, fitness = child.rung, child.fitness
    return Verdict(best, child.design, rung, fitness, state.reference, sigma, text)
