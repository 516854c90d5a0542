"""The verdict as text: the same sentences on the terminal, in the report and in a model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from genesys_engine.engine.common.text import listed, percent, plural, shortened
from genesys_engine.engine.score.significance import SIGMAS
from genesys_engine.engine.score.standing import BETTER, outcome
from genesys_engine.engine.score.verdict import (
    BEST_SEED,
    PARENT,
    REFERENCE,
    SEED,
    Verdict,
    judge,
)
from genesys_engine.engine.store.event_types import Comparison, RunFinished
from genesys_engine.engine.store.names import design_names, label, scale_names
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.leaderboard import LeaderboardRow, leaderboard_row
from genesys_engine.engine.views.remarks import behind_control, more_compute

_TITLES = {
    PARENT: "its parent",
    BEST_SEED: "the best seed",
    REFERENCE: "the reference",
    SEED: "the seed",
}
FEW_TRAININGS = 3
"""With fewer trainings of the reference the noise estimate is too poor to show small gains."""


@dataclass(frozen=True)
class VerdictView:
    """The verdict of a run and its sentences.

    `child` is the row of the best child, None without one; `head` describes it, `every_seed` says
    if the finals show it better than every seed ("" without finals), `judged` has one sentence per
    comparison, in their order, and `remarks` has all caveats.
    """

    verdict: Verdict
    child: LeaderboardRow | None
    head: str
    every_seed: str = ""
    judged: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences."""
        return tuple(
            line for line in (self.head, self.every_seed, *self.judged, *self.remarks) if line
        )

    @property
    def record(self) -> RunFinished:
        """The verdict and its sentences, as the log and the command line report it."""
        return self.verdict.record(self.lines)


def verdict_view(store: Store) -> VerdictView:
    """Return the verdict on a run so far, with its sentences."""
    verdict = judge(store)
    if verdict.best_child is None:
        return VerdictView(verdict, None, "No child was verified: there is no verdict.")
    child, names = leaderboard_row(store, verdict.best_child), design_names(store.designs())
    return VerdictView(
        verdict,
        child,
        _head(verdict, child, names, scale_names(store)[verdict.rung or 0]),
        _every_seed(verdict, names),
        tuple(
            f"{percent(each.difference)}: {describe(each)} ({grounds(each)})."
            for each in verdict.comparisons
        ),
        (
            *_about_noise(verdict, names),
            *_disqualified(store, names),
            *behind_control(child.scores, child.controls),
            *more_compute(child.cost, label(verdict.reference, names)),
        ),
    )


def describe(comparison: Comparison) -> str:
    """Return the outcome: `better than its parent mamba2`, `within noise of ...`."""
    return outcome(comparison.standing, rival(comparison))


def rival(comparison: Comparison) -> str:
    """Return the rival of the child: `its parent mamba2, also the best seed`."""
    first, *others = [_TITLES[role] for role in comparison.roles]
    also = f", also {' and '.join(others)}" if others else ""
    return f"{first} {comparison.name}{also}"


def _head(verdict: Verdict, child: LeaderboardRow, names: Mapping[int, str], top: str) -> str:
    """Return the sentence that introduces the best child."""
    origin = ", ".join(label(parent, names) for parent in child.parents) or "none"
    if verdict.finalists:
        seeds = plural(verdict.finalists[0].over_reference.seeds, "fresh seed")
        trained = f"trained again at {top} with {seeds}"
    else:
        trained = f"verified up to {top}"
    about = f"design {child.design} (parents: {origin}), {trained}"
    return f"Best child: {about}: {shortened(child.change)}"


def _every_seed(verdict: Verdict, names: Mapping[int, str]) -> str:
    """Return whether the finals show the child better than every seed; "" without finals."""
    found = verdict.every_seed
    if found is None:
        return ""
    if found.shown:
        return "Better than every seed."
    left_out = ", ".join(label(seed, names) for seed in found.left_out)
    if found.better:
        return f"Better than every seed of the finals; {left_out} could not be compared there."
    unbeaten: dict[str, list[str]] = {}
    for each in verdict.comparisons:
        if {BEST_SEED, REFERENCE, SEED} & set(each.roles) and each.standing != BETTER:
            unbeaten.setdefault(each.standing, []).append(each.name)
    why = [outcome(word, listed(seeds)) for word, seeds in unbeaten.items()]
    why += [f"{left_out} could not be compared"] if left_out else []
    return f"Not shown to be better than every seed: {'; '.join(why)}."


def grounds(comparison: Comparison) -> str:
    """Return the evidence of a comparison: seeds or rungs, and the interval or noise."""
    if comparison.seeds:
        over = plural(comparison.seeds, "fresh seed")
        if comparison.low is None:
            return over
        return f"{over}; 95 % interval {percent(comparison.low)} to {percent(comparison.high)}"
    mean = "mean of " if len(comparison.scales) > 1 else "at "
    over = mean + listed(comparison.scales)
    if comparison.sigma is None:
        return over
    return f"{over}; 2 sigma = {SIGMAS * comparison.sigma:.2f} %"


def _disqualified(store: Store, names: Mapping[int, str]) -> Iterator[str]:
    for design, reason in store.disqualified().items():
        yield f"{label(design, names)} is disqualified: {shortened(reason)}."


def _about_noise(verdict: Verdict, names: Mapping[int, str]) -> Iterator[str]:
    if verdict.finalists:
        yield "The intervals with fresh seeds hold together, for all pairs and looks of the finals."
    reference = label(verdict.reference, names)
    if verdict.sigma is None:
        yield (
            f"Training noise was not measured: {reference} was trained once (noise_seeds = 1), so"
            " no difference is known to be significant."
        )
    elif verdict.trainings < FEW_TRAININGS:
        yield (
            f"The noise is a poor estimate from {plural(verdict.trainings, 'training')} of"
            f" {reference}: raise noise_seeds to resolve smaller differences."
        )
