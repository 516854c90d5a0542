"""The verdict: against whom a child is judged, what may be called better, and what may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sample_run import EXPERIMENT, META
from stored import design_report, score

from genesys_engine.engine.common.records import to_json
from genesys_engine.engine.common.text import percent
from genesys_engine.engine.jobs.results import ConfirmResult
from genesys_engine.engine.score.finals import Entries, FinalsProgress
from genesys_engine.engine.score.noise import noise_of
from genesys_engine.engine.score.noise_floor import noise_floor
from genesys_engine.engine.score.standing import BETTER, NO_DIFFERENCE, NOT_MEASURED, WORSE
from genesys_engine.engine.score.verdict import Verdict, judge
from genesys_engine.engine.store.replicates import FRESH
from genesys_engine.engine.store.run_store import ConfirmationRow, DesignRow, Store, VerificationRow
from genesys_engine.engine.views.verdict import verdict_view

SCALES = ("0.2M", "1M")
SEEDS = ("gpt", "mamba2")
PARENT, SEED, REFERENCE = "parent", "best seed", "reference"

SPREAD = 0.02 / (noise_of([-1.0, 0.0, 1.0]) or pytest.fail("no noise")).gain
NOISE = (2.0, 2.0 + SPREAD, 2.0 - SPREAD)  # sigma 1 % of a gain, 1.22 % of a pair
ALONE = (2.0,)


class Run:
    """A run whose gains are given: gpt is design 0, mamba2 design 1 with +3 % at 0.2M."""

    def __init__(self, store: Store, bits: Sequence[float] = NOISE) -> None:
        self.store = store
        self.rows = 0
        self.design(0, operator="seed:gpt")
        for replicate, value in enumerate(bits):
            self.train(0, 0, replicate, gain=0.0, bits=value)
        self.train(0, 1, 0, gain=0.0)
        self.stand(0, 1, 0.0)
        self.design(1, operator="seed:mamba2")
        self.gains(1, {0: 3.0})

    def design(self, number: int, *parents: int, operator: str = "insertion") -> None:
        change = f"Change {number}."
        row = DesignRow(
            number, number, True, str(number), None, parents, operator, change, 9.0, 9.0
        )
        with self.store.transaction():
            self.store.add_design(row, {"units": {}}, design_report())

    def train(
        self, design: int, rung: int, replicate: int, *, gain: float, bits: float = 2.0
    ) -> None:
        scores = {"bits_per_byte": score(bits, stderr=0.01)}
        told = ("ok", "", gain, scores, {"bigram": {"bits_per_byte": score(3.0)}}, 10, {})
        row = VerificationRow(self.rows, 1000 + self.rows, design, rung, replicate, *told)
        with self.store.transaction():
            self.store.add_verification(row, [])
        self.rows += 1

    def stand(self, design: int, rung: int, fitness: float) -> None:
        with self.store.transaction():
            self.store.set_standing(design, rung, fitness)

    def gains(self, design: int, gains: Mapping[int, float]) -> None:
        for rung, gain in gains.items():
            self.train(design, rung, 0, gain=gain)
        self.stand(design, max(gains), sum(gains.values()) / len(gains))

    def child(self, number: int, gains: Mapping[int, float], *parents: int) -> None:
        self.design(number, *parents)
        self.gains(number, gains)

    def fresh(self, gains: Mapping[int, Sequence[float]], seeds: int = 1) -> None:
        """Hold finals with these gains; the first `seeds` of the designs are seeds."""
        designs = tuple(gains)
        entries = Entries(designs[:seeds], designs[seeds:])
        with self.store.transaction():
            self.store.set_meta("state", {"finals": to_json(FinalsProgress(entries))})
            experiment = self.store.meta("experiment")
            ladder = {**experiment["ladder"], "finalist_seeds": max(map(len, gains.values()))}
            self.store.set_meta("experiment", {**experiment, "ladder": ladder})
        for design, each in gains.items():
            for index, gain in enumerate(each):
                self.train(design, 1, FRESH + index, gain=gain)


@contextmanager
def run(folder: Path, bits: Sequence[float] = NOISE) -> Any:
    rungs = [{**rung, "scale": s} for rung, s in zip(EXPERIMENT["ladder"]["rungs"], SCALES)]  # noqa: B905
    ladder = {**EXPERIMENT["ladder"], "rungs": rungs}
    experiment = {**EXPERIMENT, "ladder": ladder}
    with Store.create(folder / "run", {**META, "experiment": experiment}) as store:
        store._db.execute("PRAGMA synchronous = OFF")
        store.curves.allocate(64)
        yield Run(store, bits)


def compared(verdict: Verdict) -> dict[tuple[str, ...], tuple[float, str]]:
    return {c.roles: (round(c.difference, 6), c.standing) for c in verdict.comparisons}


@pytest.mark.parametrize(
    ("gains", "parents", "wanted"),
    [
        # One rung: 2 sigma are 2 % over gpt and 2.45 % over what was trained once.
        ({0: 6.0}, (1,), {(PARENT, SEED): (3.0, BETTER), (REFERENCE,): (6.0, BETTER)}),
        ({0: 5.4}, (1,), {(PARENT, SEED): (2.4, NO_DIFFERENCE), (REFERENCE,): (5.4, BETTER)}),
        ({0: -2.5}, (0,), {(PARENT, REFERENCE): (-2.5, WORSE), (SEED,): (-5.5, WORSE)}),
        # Two rungs: a mean has less noise (1.58 % over gpt); mamba2 was trained at one of them,
        # so that at both the best seed is gpt.
        (
            {0: 1.9, 1: 1.3},
            (1,),
            {(PARENT,): (-1.1, NO_DIFFERENCE), (SEED, REFERENCE): (1.6, BETTER)},
        ),
        (
            {0: 1.9, 1: 0.9},
            (0,),
            {(PARENT, SEED, REFERENCE): (1.4, NO_DIFFERENCE)},
        ),
        # Of two parents the better one counts.
        ({0: 6.0}, (0, 1), {(PARENT, SEED): (3.0, BETTER), (REFERENCE,): (6.0, BETTER)}),
        ({0: 6.0}, (), {(SEED,): (3.0, BETTER), (REFERENCE,): (6.0, BETTER)}),
    ],
)  # fmt: skip
def test_a_child_is_judged_against_its_parent_the_best_seed_and_the_reference(
    tmp_path: Path, gains: dict[int, float], parents: tuple[int, ...], wanted: dict[Any, Any]
) -> None:
    with run(tmp_path) as made:
        made.child(2, gains, *parents)
        verdict = judge(made.store)
    assert verdict.best_child == 2
    assert compared(verdict) == wanted
    assert [c.roles for c in verdict.comparisons] == list(wanted), "the parent first"


def test_a_parent_that_is_a_child_itself_is_compared_by_its_number(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 4.0, 1: 5.0}, 1)
        made.child(3, {0: 9.0, 1: 8.0}, 2)
        verdict, text = judge(made.store), " ".join(verdict_view(made.store).lines)
    first = verdict.comparisons[0]
    assert (first.name, first.roles, first.scales) == ("#2", (PARENT,), SCALES)
    assert first.difference == pytest.approx(4.0)
    assert "better than its parent #2" in text


def test_nothing_is_better_where_the_noise_was_not_measured(tmp_path: Path) -> None:
    with run(tmp_path, ALONE) as made:
        made.child(2, {0: 60.0}, 1)
        verdict, text = judge(made.store), " ".join(verdict_view(made.store).lines)
    assert {c.standing for c in verdict.comparisons} == {NOT_MEASURED}
    assert "noise_seeds = 1" in text


def test_two_trainings_of_the_reference_come_with_advice(tmp_path: Path) -> None:
    with run(tmp_path, NOISE[:2]) as made:
        made.child(2, {0: 9.4}, 1)
        found = verdict_view(made.store)
    assert found.verdict.trainings == 2
    assert "raise noise_seeds" in " ".join(found.lines)


def test_the_noise_is_what_the_engine_reckons_from_the_readings(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        assert noise_floor(made.store).sigmas == pytest.approx((1.0, 1.2247), abs=1e-3)


def test_no_child_no_claim(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        found = verdict_view(made.store)
    assert found.child is None
    assert found.verdict.best == 0
    assert found.verdict.comparisons == ()


def test_a_disqualified_design_is_neither_named_nor_compared_with(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 90.0, 1: 90.0}, 1)
        made.child(3, {0: 4.0}, 2)
        assert judge(made.store).best_child == 2
        problem = "too good to be true"
        with made.store.transaction():
            row = ConfirmationRow(9999, 2, 1, problem, ConfirmResult(2, (), problem))
            made.store.add_confirmation(row)
            made.store.set_standing(2, None, None)
        found = verdict_view(made.store)
    verdict = found.verdict
    assert (verdict.best, verdict.best_child) == (0, 3)
    assert [c.roles for c in verdict.comparisons] == [(SEED,), (REFERENCE,)]
    assert any("#2 is disqualified" in remark for remark in found.remarks)


def test_one_minus_sign_and_one_word_everywhere(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: -1.0}, 1)
        found = verdict_view(made.store)
    told = found.record.to_json()
    assert told["verdict"] == " ".join(told["sentences"])
    assert percent(-4.0) in told["verdict"]
    assert " -" not in told["verdict"]
    assert f"{NO_DIFFERENCE} of the reference gpt" in told["verdict"]


# --- finals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "bits", "best", "wanted"),
    [
        # Two designs are one pair; the look after 3 seeds may spend a third of the error.
        ({2: [3.0, 3.1, 2.9]}, NOISE, 2, (3.0, BETTER, 1.59, 4.41)),
        ({2: [3.0, 3.1, 2.9]}, ALONE, 2, (3.0, BETTER, 2.56, 3.44)),
        ({2: [0.5, 6.0, 2.5]}, NOISE, 2, (3.0, NO_DIFFERENCE, -9.29, 15.29)),
        ({2: [4.0]}, ALONE, 2, (4.0, NOT_MEASURED, None, None)),
        ({2: [4.0]}, NOISE, 2, (4.0, BETTER, 1.55, 6.45)),
        ({2: [1.0, 1.0], 3: [2.0, 2.0]}, ALONE, 3, (2.0, BETTER, 2.0, 2.0)),
    ],
)
def test_after_finals_the_fresh_seeds_alone_speak(
    tmp_path: Path,
    gains: dict[int, list[float]],
    bits: Sequence[float],
    best: int,
    wanted: tuple[float, str, float | None, float | None],
) -> None:
    with run(tmp_path, bits) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 1)
        made.child(3, {0: 5.0}, 1)
        made.fresh({0: [0.0] * len(gains[2]), **gains})
        verdict = judge(made.store)
    assert verdict.best_child == best
    (reference,) = (c for c in verdict.comparisons if REFERENCE in c.roles)
    mean, word, low, high = wanted
    assert reference.difference == verdict.fitness == pytest.approx(mean)
    assert reference.standing == word
    assert (reference.low, reference.high) == (
        low if low is None else pytest.approx(low, abs=0.02),
        high if high is None else pytest.approx(high, abs=0.02),
    )
    found = verdict.record(()).to_json()["finalists"]
    assert [f["design"] for f in found] == sorted(gains, reverse=True)


def test_a_worse_child_drops_out_at_the_first_look(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 1)
        made.fresh({0: [0.0] * 3, 2: [-9.0, -9.1, -9.0]})
        verdict = judge(made.store)
    (finalist,) = verdict.finalists
    assert (finalist.out_after, len(finalist.gains)) == (2, 2)
    assert {c.standing for c in verdict.comparisons if c.seeds} == {WORSE}


@pytest.mark.parametrize(
    ("against", "left_out", "better", "words"),
    [
        ([2.0, 2.1, 1.9, 2.0], (), True, "Better than every seed."),
        ([7.0, 7.2, 6.9, 7.0], (), False, f"{NO_DIFFERENCE} of mamba2"),
        ([9.0, 9.2, 8.9, 9.1], (), False, f"{WORSE} than mamba2"),
        (None, (1,), False, "mamba2 could not be compared"),
    ],
)
def test_better_than_every_seed_is_said_only_where_every_interval_lies_above_0(
    tmp_path: Path,
    against: list[float] | None,
    left_out: tuple[int, ...],
    better: bool,
    words: str,
) -> None:
    child = [7.1, 7.0, 7.0, 7.1]
    with run(tmp_path) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 0)
        rivals = {} if against is None else {1: against}
        made.fresh({0: [0.0] * 4, **rivals, 2: child}, seeds=1 + len(rivals))
        found = verdict_view(made.store)
    every = found.verdict.every_seed
    assert every is not None
    assert (every.shown, every.left_out) == (better, left_out)
    told = found.record.to_json()
    assert (told["better_than_every_seed"], told["seeds_left_out"]) == (better, list(left_out))
    assert words in found.every_seed
    assert found.every_seed in found.lines
    assert all(line.endswith(".") for line in found.remarks), "whole sentences"
    assert ("Better than every seed." in found.lines) == better


def test_without_finals_nothing_is_said_of_every_seed(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 90.0}, 1)
        found = verdict_view(made.store)
    assert found.verdict.every_seed is None
    assert "better_than_every_seed" not in found.record.to_json()
    assert "every seed" not in " ".join(found.lines)


def test_every_seed_of_the_finals_is_compared_with(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.design(2, operator="seed:retnet")
        made.gains(2, {0: -2.0})
        made.child(3, {0: 9.0, 1: 9.0}, 2)
        made.fresh({0: [0.0] * 2, 1: [3.0, 3.1], 2: [-2.0, -2.1], 3: [9.0, 9.1]}, seeds=3)
        verdict = judge(made.store)
    roles = {c.name: c.roles for c in verdict.comparisons}
    assert roles == {"retnet": (PARENT,), "mamba2": (SEED,), "gpt": (REFERENCE,)}
    assert {c.name: c.seeds for c in verdict.comparisons} == dict.fromkeys(roles, 2)


def test_two_finalists_are_compared_seed_by_seed(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 1)
        made.child(3, {0: 8.0, 1: 8.0}, 2)
        made.fresh({0: [0.0, 0.0], 2: [1.0, 3.0], 3: [2.0, 4.0]})
        first = judge(made.store).comparisons[0]
    assert (first.name, first.seeds, first.difference) == ("#2", 2, pytest.approx(1.0))
    assert first.standing == NO_DIFFERENCE


def test_the_best_design_is_who_leads_the_race_and_not_the_ladder(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 1)
        made.child(3, {0: 8.0, 1: 8.0}, 2)
        assert judge(made.store).best == 2
        made.fresh({0: [0.0, 0.0], 2: [1.0, 3.0], 3: [2.0, 4.0]})
        verdict = judge(made.store)
    assert (verdict.best, verdict.best_child) == (3, 3)


def test_the_best_design_of_a_race_may_be_a_seed(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 9.0, 1: 9.0}, 1)
        made.fresh({0: [0.0, 0.0], 2: [-3.0, -3.1]})
        verdict = judge(made.store)
    assert (verdict.best, verdict.best_child) == (0, 2)


def test_before_the_first_look_the_ladder_speaks(tmp_path: Path) -> None:
    with run(tmp_path) as made:
        made.child(2, {0: 9.0}, 1)
        made.fresh({0: [0.0], 2: []})
        verdict = judge(made.store)
    assert "finalists" not in verdict.record(()).to_json()
    assert compared(verdict)[REFERENCE,] == (9.0, BETTER)
