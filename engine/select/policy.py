"""The policy: what to do next, as a pure function of the state and of the task's number.

Tasks are decided one by one.  A task's result enters the state only in the order in which the
tasks were decided, and at most `lookahead` tasks are running when the next is decided; so a
decision never depends on which worker happened to be faster.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.score.finals import MOST_RIVALS, Entries
from genesys_engine.engine.score.race import Look, Race, hold
from genesys_engine.engine.select.standing import Standing
from genesys_engine.engine.select.state import State
from genesys_engine.plugins.api import Selector


@dataclass(frozen=True)
class Design:
    """Make a design: a seed by name, or a variation of `parents`."""

    parents: tuple[int, ...] = ()
    seed: str | None = None


@dataclass(frozen=True)
class Verify:
    """Train and evaluate a design at a rung; `replicate` counts training seeds."""

    design: int
    rung: int
    replicate: int = 0


@dataclass(frozen=True)
class Confirm:
    """Look at a design a second time, before it is named."""

    design: int


@dataclass(frozen=True)
class NextGeneration:
    """Close the generation: the survivors become the population."""


@dataclass(frozen=True)
class OpenFinals:
    """Name who is trained again with fresh seeds."""

    entries: Entries


@dataclass(frozen=True)
class LookAtFinals:
    """Put a look of the race into the log: who is trained on, and who drops out."""

    look: Look


Decision = Design | Verify | Confirm | NextGeneration | OpenFinals | LookAtFinals


@dataclass(frozen=True)
class Settings:
    """The part of an experiment that decides; the tuples run parallel to the ladder's rungs.

    With `rivals` the reference alone is varied, and the other seeds are there to be beaten.
    """

    seed: int
    seeds: tuple[str, ...]
    children: int
    noise_seeds: tuple[int, ...]
    lookahead: int = 6
    generational: bool = False
    population: int = 24
    offspring: int = 8
    parent_weights: tuple[float, float, float] = (0.05, 0.80, 0.15)
    rivals: bool = False
    restart: float = 0.05
    crossover_after: int = 10
    scratch_after: int = 20
    max_failures_in_a_row: int = 50
    finalists: int = 0
    finalist_seeds: int = 3
    adaptive_operators: bool = False


class Policy:
    """Decides the next task; None means: wait for a result, or stop when nothing is running."""

    def __init__(self, settings: Settings, selector: Selector) -> None:
        self.settings = settings
        self.selector = selector

    def decide(self, state: State) -> Decision | None:
        """Return the next decision for `state`."""
        counts = state.counts
        if counts.seeds_issued < len(self.settings.seeds):
            return Design(seed=self.settings.seeds[counts.seeds_issued])
        if state.confirmations.waiting:  # first of all: others wait for what comes of it
            return Confirm(state.confirmations.waiting[0])
        rng = generator(self.settings.seed, "decision", counts.next_seq)
        decision = self._verify(state, rng) or self._design(state, rng)
        if decision is None and self._generation_is_over(state):
            return NextGeneration()
        return decision or self._confirm_winners(state) or self._finals(state)

    # --- confirmation ------------------------------------------------------------------------

    def _confirm_winners(self, state: State) -> Confirm | None:
        """Look at whoever the verdict will name, or the finals will train, once nothing else is
        left to do; without a child it is the best of the seeds."""
        if state.in_flight or state.finals.entries:
            return None
        ranked, finalists = state.ranked(), self.settings.finalists
        children = [standing for standing in ranked if not standing.seed]
        named = children[: max(1, finalists)] or ranked[:1]
        if children and finalists:  # a seed that is not ours may win as well
            named += [each for each in ranked if each.seed and not each.trusted]
        for standing in named:
            if not state.confirmations.has_passed(standing.design, standing.rung):
                return Confirm(standing.design)
        return None

    # --- verification ------------------------------------------------------------------------

    def _verify(self, state: State, rng: random.Random) -> Verify | None:
        """Return a verification: upper rungs first, since they open only when they are due."""
        if state.reference is None:
            return None
        for rung in reversed(range(len(state.ladder.caps))):
            if not state.ladder.free(rung, supply_ended=self._supply_ended(state, rung)):
                continue
            ready = bool(state.waiting if rung == 0 else state.climbing[rung - 1])
            replicate = state.reference_issued[rung]
            if ready and replicate < self.settings.noise_seeds[rung]:
                return Verify(state.reference, rung, replicate)
            if ready:
                return Verify(self._pick(state, rung, rng), rung)
        return None

    def _pick(self, state: State, rung: int, rng: random.Random) -> int:
        if rung == 0:
            return state.waiting[0]
        pool = state.climbing[rung - 1]
        if pinned := [design for design in state.pinned if design in pool]:
            return min(pinned)
        candidates = pool.candidates()
        if state.ladder.release == "halving":
            ranked = zip(-candidates.fitness, candidates.design, strict=True)
            return int(min(ranked)[1])
        return int(candidates.design[self.selector.promote(candidates, rng)])

    def _supply_ended(self, state: State, rung: int) -> bool:
        """Tell whether nothing more will reach the rung below `rung`."""
        counts = state.counts
        if rung == 0 or counts.designs_in_flight or self._may_design(state):
            return rung == 0
        if state.confirmations.any_open:
            return False
        for below in range(rung):
            if state.verifications_in_flight[below]:
                return False
            queue = state.waiting if below == 0 else state.climbing[below - 1]
            if queue and state.ladder.free(below, supply_ended=True):
                return False
        return True

    # --- design ------------------------------------------------------------------------------

    def _may_design(self, state: State) -> bool:
        """Tell whether the budgets allow another child, running ones counted in."""
        counts = state.counts
        children = counts.children_accepted + counts.children_in_flight
        room = state.ladder.free(0, supply_ended=False)
        return (
            children < self.settings.children
            and counts.designs_in_flight + len(state.waiting) < room
            and counts.failures_in_a_row < self.settings.max_failures_in_a_row
        )

    def _design(self, state: State, rng: random.Random) -> Design | None:
        if not self._may_design(state) or not self._parents(state):
            return None
        # Designing is quick and verifying slow: half of the look-ahead is enough to feed it.
        if state.counts.designs_in_flight >= max(1, self.settings.lookahead // 2):
            return None
        if self.settings.generational and self._generation_is_full(state):
            return None
        return self._choose_parents(state, rng)

    def may_vary(self, state: State, standing: Standing) -> bool:
        """Tell whether a design may become a parent: a rival may not."""
        rival = standing.seed and standing.design != state.reference
        return not (rival and self.settings.rivals)

    @staticmethod
    def _parents(state: State) -> list[int]:
        """Return who may become a parent: the population but those in question."""
        return [d for d in state.members if not state.confirmations.open(d)]

    def _varied_seeds(self, state: State) -> list[int]:
        standing = state.in_good_standing()
        return [each.design for each in standing if each.seed and self.may_vary(state, each)]

    def _choose_parents(self, state: State, rng: random.Random) -> Design:
        weights, members = list(self.settings.parent_weights), self._parents(state)
        if state.counts.accepted < self.settings.crossover_after or len(members) < 2:
            weights[2] = 0.0
        if state.counts.accepted < self.settings.scratch_after:
            weights[0] = 0.0
        if not any(weights):
            weights[1] = 1.0
        count = rng.choices(range(3), weights)[0]
        restart = count == 1 and rng.random() < self.settings.restart
        if restart and (seeds := self._varied_seeds(state)):
            return Design(parents=(rng.choice(seeds),))
        candidates = state.candidates(members)
        chosen = self.selector.parents(candidates, count, rng) if count else []
        return Design(parents=tuple(int(candidates.design[i]) for i in chosen))

    # --- finals ------------------------------------------------------------------------------

    def _finals(self, state: State) -> Verify | OpenFinals | LookAtFinals | None:
        """Open the finals once nothing else is left to do, then hold the race.

        A look waits for all of its trainings: it never depends on who finished first.
        """
        finals, settings = state.finals, self.settings
        if not finals.entries:
            over = not state.in_flight and settings.finalists > 0 and state.reference is not None
            return self._open_finals(state) if over else None
        race = self._race(state)
        if len(race.looks) > finals.seen:
            return LookAtFinals(race.looks[finals.seen])
        following = next((each for each in race.wanted if each not in finals.issued), None)
        if following is None:
            return None
        design, replicate = following
        return Verify(design, len(state.ladder.caps) - 1, replicate)

    def _race(self, state: State) -> Race:
        noise = state.noise()[-1]
        pair = None if noise is None else noise.pair
        return hold(state.finals, self.settings.finalist_seeds, pair)

    def _open_finals(self, state: State) -> OpenFinals | None:
        """Return every seed and the best children, by confidence, then fitness; None where there
        is no child."""
        ranked = state.ranked()
        children = [standing.design for standing in ranked if not standing.seed]
        others = [s.design for s in ranked if s.seed and s.design != state.reference]
        assert state.reference is not None
        seeds = (state.reference, *sorted(others[: MOST_RIVALS - 1]))
        chosen = tuple(children[: self.settings.finalists])
        return OpenFinals(Entries(seeds, chosen)) if chosen else None

    # --- generations -------------------------------------------------------------------------

    def _generation_is_full(self, state: State) -> bool:
        issued = state.counts.variations_issued - state.generation * self.settings.offspring
        return issued >= self.settings.offspring

    def _generation_is_over(self, state: State) -> bool:
        """Tell whether a full generation has been verified and another may follow."""
        return (
            self.settings.generational
            and self._generation_is_full(state)
            and not state.in_flight
            and self._may_design(state)
        )
