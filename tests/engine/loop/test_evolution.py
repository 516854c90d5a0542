"""The loop, with real operators and a real store; only training is answered from a record.

What is proved: one order of decisions for any number of workers and any speed, budgets that are
hard, generations that are complete, and a resume that continues as if nothing had happened.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from recorded_run import Trial, go_in_parts
from stored import design_report

from genesys_engine.engine.jobs.results import DesignEntry, DesignResult
from genesys_engine.engine.loop import outcomes
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.score.finals import Entries
from genesys_engine.engine.select.policy import Confirm
from genesys_engine.engine.store.replicates import FRESH
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
@pytest.mark.parametrize("release", ["gradual", "halving"])
def test_the_log_does_not_depend_on_workers_or_speed(
    tmp_path: Path, mode: str, release: str
) -> None:
    digests = set()
    for workers, delay in ((0, 0.0), (1, 0.0), (2, 0.02), (7, 0.02)):
        trial = Trial(tmp_path / f"w{workers}", mode=mode, release=release, workers=workers)
        trial.delay_s = delay
        trial.go()
        digests.add(trial.digest())
    assert len(digests) == 1
    other = Trial(tmp_path / "other", seed=2, mode=mode, release=release)
    other.go()
    assert other.digest() not in digests


@pytest.mark.parametrize(
    "selection", ["quadrant", "tournament", "nsga2", "random", "aging", "local"]
)
def test_every_selector_fills_the_budgets_and_no_more(tmp_path: Path, selection: str) -> None:
    trial = Trial(tmp_path / "run", selection=selection)
    evolution = trial.go()
    accepted = trial.events("design.accepted")
    assert len(accepted) == 3 + 20
    started = Counter(event["rung"] for event in trial.events("verification.started"))
    assert started[0] == 3 + 20 + 2, "every design once, the reference twice more"
    assert started[1] == 7
    assert started[2] == 2
    assert evolution.state.ladder.used == [25, 7, 2]


SHARED = (
    'fitness.metric=["bits_per_byte", "continuation:acc"]',
    "fitness.relative_to=untrained",
    "selection.objectives=quality+continuation:acc+speed",
)


def test_fitness_over_metrics_and_scores_as_objectives(tmp_path: Path) -> None:
    """The same for any number of workers and when it is taken up, and what the rows say."""
    whole = Trial(
        tmp_path / "whole", selection="nsga2", finalists=2, sets=SHARED, untrained=0.2, workers=0
    )
    state = whole.go().state
    fast = Trial(
        tmp_path / "fast", selection="nsga2", finalists=2, sets=SHARED, untrained=0.2, workers=5
    )
    fast.go()
    assert fast.digest() == whole.digest()
    cut = Trial(tmp_path / "cut", selection="nsga2", finalists=2, sets=SHARED, untrained=0.2)
    for enough in (9, 25, 38):
        with pytest.raises(Stopped):
            cut.go(
                lambda enough=enough: (
                    "enough" if len(cut.events("verification.finished")) >= enough else None
                )
            )
    again = cut.go().state
    assert cut.digest() == whole.digest()
    assert {d: s.metrics for d, s in again.standings.items()} == {
        d: s.metrics for d, s in state.standings.items()
    }
    assert again.noise() == state.noise()

    with Store.open(whole.folder) as store:
        rows = list(store.verifications())
    own = {"bits_per_byte": -1, "continuation:acc": 1}
    values = {r.id: {m: r.scores[m].value for m in own} for r in rows if r.fitness is not None}
    of_reference = [r for r in rows if r.rung == 1 and r.design == state.reference]
    base = next(r for r in of_reference if r.replicate == 0)
    untrained = {"bits_per_byte": 6.0, "continuation:acc": 0.2}
    for row in rows:
        if row.rung != 1 or row.fitness is None:
            continue
        gains = {
            m: 100 * sign * (values[row.id][m] - values[base.id][m])
            / (sign * (values[base.id][m] - untrained[m]))
            for m, sign in own.items()
        }  # fmt: skip
        assert row.fitness == pytest.approx(sum(gains.values()) / 2)
    for design in (s for s in state.standings.values() if s.gains and not s.seed):
        assert set(design.metrics) == {"continuation:acc"}


def test_a_reference_no_better_than_untrained_ends_the_run(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", sets=SHARED[:2], untrained=0.9)
    told = r"a gain cannot be a share of its continuation:acc: .* trained against 0.9 untrained"
    with pytest.raises(InputError, match=told):
        trial.go()


def test_every_child_knows_its_parents_and_its_change(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    trial.go()
    children = [e for e in trial.events("design.accepted") if not e["operator"].startswith("seed:")]
    assert all(child["change"].endswith(".") for child in children)
    assert all(parent < child["design"] for child in children for parent in child["parents"])
    assert {len(child["parents"]) for child in children} >= {1}
    assert len({event["digest"] for event in trial.events("design.accepted")}) == 23


def test_the_reference_opens_every_rung_with_its_seeds(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    evolution = trial.go()
    started = trial.events("verification.started")
    for rung, seeds in ((0, 3), (1, 1), (2, 1)):
        first = [e for e in started if e["rung"] == rung][:seeds]
        expected = [(evolution.state.reference, n) for n in range(seeds)]
        if rung == 0:  # other seeds may come between its replicates, never before the first
            first = [e for e in started if e["rung"] == 0 and e["design"] == expected[0][0]]
        assert [(e["design"], e["replicate"]) for e in first] == expected
    assert all(evolution.state.noise())
    assert evolution.state.standings[evolution.state.reference or 0].fitness == 0.0


def test_halving_promotes_the_best_of_all(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", release="halving")
    trial.go()
    finished = trial.events("verification.finished")
    low = {e["design"]: e["fitness"] for e in finished if e["rung"] == 0 and e["replicate"] == 0}
    reference = finished[0]["design"]
    ranked = sorted((d for d in low if d != reference), key=lambda d: (-low[d], d))
    promoted = [e["design"] for e in trial.events("verification.started") if e["rung"] == 1]
    assert promoted[0] == reference
    assert set(promoted[1:]) == set(ranked[:6])


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_seeds_that_are_rivals_are_raced_and_never_varied(tmp_path: Path, mode: str) -> None:
    sets = ("population.start='reference'", "population.restart=0.5", "ladder.finalist_seeds=2")
    trial = Trial(tmp_path / "run", mode=mode, sets=sets, finalists=1)
    reference = trial.go().state.reference
    children = [each["parents"] for each in trial.events("design.started") if each["parents"]]
    rivals = {0, 1, 2} - {reference}
    assert not rivals & {parent for parents in children for parent in parents}
    assert any(reference in parents for parents in children)
    (opened,) = trial.events("finals.opened")
    assert rivals <= set(opened["rivals"])


def test_generations_are_complete_and_parents_come_from_the_last_population(
    tmp_path: Path,
) -> None:
    trial = Trial(tmp_path / "run", mode="generational")
    trial.go()
    closed = trial.events("generation.finished")
    assert [event["generation"] for event in closed] == [1, 2, 3]
    assert all(len(event["population"]) <= 8 for event in closed)
    with Store.open(trial.folder) as store:
        population: set[int] = set()
        for event in store.events():
            if event.kind == "generation.finished":
                population = set(event.payload["population"])
            elif event.kind == "design.started" and population:
                seeds = {0, 1, 2}  # a restart may vary a seed again
                assert set(event.payload["parents"]) <= population | seeds


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_log(
    tmp_path: Path, mode: str
) -> None:
    whole = Trial(tmp_path / "whole", mode=mode)
    whole.go()
    parts = Trial(tmp_path / "parts", mode=mode, delay_s=0.005)
    go_in_parts(parts, range(3, 400, 7))
    assert len(parts.executors) > 3, "it was stopped several times"
    assert parts.digest() == whole.digest()
    verified = sum(executor.calls["train"] for executor in parts.executors)
    assert verified == whole.executors[0].calls["train"], "no verification was done twice"


def test_budget_warnings_come_at_50_and_80_percent(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    trial.go()
    warned = [e for e in trial.events("budget.warning") if e["budget"] == "designs"]
    assert [(event["used"], event["cap"]) for event in warned] == [(10, 20), (16, 20)]


@pytest.mark.parametrize(
    ("rejected", "more", "duplicates", "told"),
    [
        (0, {"not_applicable": 7}, 1, "of its attempts, 1 not new and 7 not applicable"),
        (2, {"not_applicable": 0}, 0, "of its attempts, 2 rejected"),
        (1, {}, 0, "of its attempts, 1 rejected"),  # of a run that an earlier version began
        (0, {}, 0, "no attempt was possible"),
    ],
)
def test_a_task_without_a_new_design_says_what_became_of_its_tries(
    rejected: int, more: dict[str, int], duplicates: int, told: str
) -> None:
    entry = DesignEntry({}, "d", "insertion", "A.", {}, design_report())
    result = DesignResult(rejected=(entry,) * rejected, **more)
    assert outcomes.no_new_design(result, duplicates=duplicates) == told


def test_rejected_and_failed_designs_are_kept_with_their_reason(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", seed=3, reject=0.25)
    trial.go()
    rejected = trial.events("design.rejected")
    assert rejected
    assert all(event["codes"] == ["recorded.rejected"] for event in rejected)
    with Store.open(trial.folder) as store:
        row = store.design(rejected[0]["design"])
        assert not row.accepted
        assert store.report(row.id).findings[0].message == "rejected by chance"
        assert row.rung is None


@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_the_finals_train_the_best_children_and_every_seed_with_fresh_seeds(
    tmp_path: Path, mode: str
) -> None:
    trial = Trial(tmp_path / "run", mode=mode, finalists=3)
    evolution = trial.go()
    (opened,) = trial.events("finals.opened")
    with Store.open(trial.folder) as store:
        children = [d.id for d in store.leaderboard() if not d.operator.startswith("seed:")]
        rows = list(store.verifications())
    assert opened["finalists"] == children[:3]
    started = trial.events("verification.started")
    fresh = [(e["design"], e["rung"], e["replicate"]) for e in started if e["replicate"] >= FRESH]
    assert opened["rivals"] == [0, 1, 2], "every seed, the reference first"
    designs = [*opened["rivals"], *children[:3]]
    assert fresh == [(d, 2, FRESH + seed) for seed in range(2) for d in designs]
    assert evolution.state.ladder.used == [25, 7, 2], "the caps of the ladder are as they were"
    ranked = {r.design: r.fitness for r in rows if r.rung == 0 and r.replicate == 0}
    for design, gains in evolution.state.finals.gains.items():
        own = {r.replicate: r.scores["bits_per_byte"].value for r in rows if r.design == design}
        base = {r: at.points[0].value for r, at in evolution.state.finals.references.items()}
        for replicate, gained in gains.items():
            expected = 100 * (base[replicate] - own[replicate]) / base[replicate]
            assert gained == pytest.approx(expected), "paired with the reference's same seed"
        assert evolution.state.standings[design].gains[0] == ranked[design], "left as it was"


def test_the_finals_train_a_child_at_a_top_rung_that_is_the_references_alone(
    tmp_path: Path,
) -> None:
    trial = Trial(tmp_path / "run", finalists=1, sets=("ladder.rungs.2.verifications=1",))
    trial.go()
    (opened,) = trial.events("finals.opened")
    top = [e for e in trial.events("verification.started") if e["rung"] == 2]
    ranking = [e["design"] for e in top if e["replicate"] < FRESH]
    assert ranking == [opened["reference"]]
    assert {e["design"] for e in top} == {*opened["rivals"], *opened["finalists"]}
    assert len(opened["finalists"]) == 1


def test_the_finals_do_not_depend_on_workers_and_are_taken_up(tmp_path: Path) -> None:
    whole = Trial(tmp_path / "whole", finalists=2, workers=0)
    whole.go()
    fast = Trial(tmp_path / "fast", finalists=2, workers=5, delay_s=0.02)
    fast.go()
    assert fast.digest() == whole.digest()
    cut = Trial(tmp_path / "cut", finalists=2)
    total = len(whole.events("verification.started"))

    def fresh() -> int:
        started = cut.events("verification.started")
        return sum(event["replicate"] >= FRESH for event in started)

    for enough in (1, 5):  # twice within the finals
        with pytest.raises(Stopped):
            cut.go(lambda enough=enough: "enough" if fresh() >= enough else None)
        assert enough <= fresh() <= 10
    cut.go()
    assert cut.digest() == whole.digest()
    assert fresh() == 10
    assert len(cut.events("verification.started")) == total


def test_without_a_child_there_are_no_finals(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run", finalists=2, reject=0.0)
    evolution = trial.go(lambda: None)
    state = evolution.state
    state.finals.entries = Entries()
    for standing in state.standings.values():
        if not standing.seed:
            standing.withdraw()
    (best,) = [s.design for s in state.ranked()[:1]]
    assert evolution.policy.decide(state) == Confirm(best), "then the best seed is looked at"
    state.confirmations.passed[best] = 2
    assert evolution.policy.decide(state) is None


@pytest.mark.parametrize("selection", ["aging", "local"])
@pytest.mark.parametrize("mode", ["steady_state", "generational"])
def test_a_strategy_remembers_nothing_that_the_store_does_not_have(
    tmp_path: Path, selection: str, mode: str
) -> None:
    """The same log for any number of workers and after interruptions, with a small population."""
    about: dict[str, Any] = {
        "selection": selection,
        "mode": mode,
        "sets": ("population.size=6", "population.offspring=3"),
    }
    whole = Trial(tmp_path / "whole", workers=0, **about)
    whole.go()
    fast = Trial(tmp_path / "fast", workers=5, delay_s=0.02, **about)
    fast.go()
    assert fast.digest() == whole.digest()
    cut = Trial(tmp_path / "cut", **about)
    go_in_parts(cut, range(9, 400, 25))
    assert len(cut.executors) > 2
    assert cut.digest() == whole.digest()
