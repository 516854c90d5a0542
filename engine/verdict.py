"""What a run has found, said with the care that the noise asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genesys_engine.engine.finals import Fresh, fresh_results
from genesys_engine.engine.significance import SIGMAS, Noise, gain_sigmas, noise_of_mean
from genesys_engine.engine.state import Standing, State
from genesys_engine.engine.views.noise import fresh_standing


@dataclass(frozen=True)
class Verdict:
    """The best design, the best child, and whether it beats the reference.

    With finals the best child is the best finalist and `fitness` its mean gain with fresh seeds.
    """

    best: int | None
    best_child: int | None
    rung: int | None
    fitness: float | None
    reference: int | None
    sigma: float | None
    text: str
    finalists: tuple[Fresh, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the payload of the event `run.finished`."""
        keys = ("best", "best_child", "rung", "fitness", "reference", "sigma")
        finalists = [
            {
                **{key: getattr(fresh, key) for key in ("design", "mean", "low", "high")},
                "gains": list(fresh.gains),
                "standing": fresh_standing(fresh.low, fresh.high),
            }
            for fresh in self.finalists
        ]
        told = {**{key: getattr(self, key) for key in keys}, "verdict": self.text}
        return {**told, "finalists": finalists} if finalists else told


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
    noise = state.noise()
    if finalists := fresh_results(state.finals, _pair(noise[-1])):
        (sigma,) = gain_sigmas(noise[-1:])
        return _of_finals(state, best, finalists, sigma, scales, seeds[0])
    rung, fitness = child.rung, child.fitness
    sigma = noise_of_mean(gain_sigmas(noise[: rung + 1]))
    text = (
        f"Best child: design {child.design}, verified up to {scales[rung]}:"
        f" {_compared(fitness, sigma)} {seeds[0]}{_best_seed(state, child, noise, seeds)}."
        f" {_noise(sigma, noise[rung], scales[: rung + 1], seeds[0])}"
    )
    return Verdict(best, child.design, rung, fitness, state.reference, sigma, text)


def _of_finals(
    state: State,
    best: int | None,
    finalists: Sequence[Fresh],
    sigma: float | None,
    scales: Sequence[str],
    name: str,
) -> Verdict:
    """Return the verdict that rests on fresh seeds alone."""
    first, top = finalists[0], len(scales) - 1
    seeds = f"{len(first.gains)} fresh seed{'' if len(first.gains) == 1 else 's'}"
    said = f"{first.mean:+.2f} %"
    if first.low is None or first.high is None:
        said += f", which may be luck, against {name}"
    else:
        words = {"better": "better than", "worse": "worse than"}
        word = words.get(fresh_standing(first.low, first.high), "no difference shown from")
        said += f" ({first.low:+.2f} to {first.high:+.2f}), {word} {name}"
    many = len(finalists)
    choice = (
        f"It is the best of {many} finalists, for which the 95 % interval allows."
        if many > 1
        else "The interval is a 95 % one."
    )
    before = state.standings[first.design]
    text = (
        f"Best child: design {first.design}, trained again at {scales[top]} with {seeds}"
        f" beside {name}: {said}. {choice} Before the finals it had {before.fitness:+.2f} %"
        f" up to {scales[before.rung]}."
    )
    return Verdict(
        best, first.design, top, first.mean, state.reference, sigma, text, tuple(finalists)
    )


def _compared(difference: float, sigma: float | None) -> str:
    """Return the difference with what may be said of it; ends where the other is named."""
    number = f"{difference:+.2f} %"
    if sigma is None:
        return f"{number}, which may be luck, against"
    if abs(difference) <= SIGMAS * sigma:
        return f"{number}, no difference shown from"
    return f"{number}, {'better' if difference > 0 else 'worse'} than"


def _best_seed(
    state: State, child: Standing, noise: Sequence[Noise | None], seeds: Sequence[str]
) -> str:
    """Return the comparison with the best other seed at the highest rung that both reached.

    Each was trained once there, so that the noise of both is in their difference.
    """
    for rung in sorted(child.gains, reverse=True):
        rivals = {
            design: standing.gains[rung]
            for design, standing in state.standings.items()
            if standing.seed and design != state.reference and rung in standing.gains
        }
        if rivals:
            best = min(rivals, key=lambda design: (-rivals[design], design))
            said = _compared(child.gains[rung] - rivals[best], _pair(noise[rung]))
            return f"; {said} the best other seed, {seeds[best]}"
    return ""


def _pair(noise: Noise | None) -> float | None:
    return None if noise is None else noise.pair


def _noise(sigma: float | None, top: Noise | None, scales: Sequence[str], reference: str) -> str:
    """Return what 2 sigma are, of a fitness over `scales` and between two designs at their top."""
    if sigma is None or top is None:
        return "The noise was not measured at every rung (noise_seeds = 1)."
    mean = f" for a mean over {len(scales)} rungs" if len(scales) > 1 else ""
    return (
        f"2 sigma = {SIGMAS * sigma:.2f} %{mean}, from the training seeds of {reference}, and"
        f" {SIGMAS * top.pair:.2f} % between two designs trained once each at {scales[-1]}."
    )
