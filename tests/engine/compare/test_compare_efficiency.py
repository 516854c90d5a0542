"""How many evaluations a strategy needs to find what blind choice finds with all of its own."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from test_compare_evolution import run

from genesys_engine.engine.compare.efficiency import best_after, efficiency, evaluations_to
from genesys_engine.engine.compare.evolution_summary import summarise_runs
from genesys_engine.engine.compare.page import render_page
from genesys_engine.engine.compare.results import FinishedRun, Result
from genesys_engine.engine.compare.statistics import MedianInterval, median_interval
from genesys_engine.engine.compare.summary import tables
from genesys_engine.engine.config.schema import CompareArm, CompareSection


def curve(*points: tuple[int, float], retrained: float | None = None) -> FinishedRun:
    """Return a run with (evaluations, best so far) at these points, after (0, 0.0)."""
    counts, best = zip((0, 0.0), *points, strict=True)
    made = run([10 * count for count in counts], best, [0.0])
    return replace(made, evaluations=counts, retrained=retrained)


def test_the_best_so_far_holds_until_the_next_evaluation() -> None:
    made = curve((2, 1.0), (5, 3.0))
    assert [best_after(made, count) for count in (0, 1, 2, 4, 5, 99)] == [0, 0, 1.0, 1.0, 3.0, 3.0]


def test_a_target_is_reached_at_its_first_point_or_never() -> None:
    made = curve((2, 1.0), (5, 3.0), (6, 2.0))  # the leader disappoints at a higher rung
    assert [evaluations_to(made, target) for target in (0.0, 1.0, 2.5, 3.1)] == [0, 2, 5, None]


def test_the_ratio_is_of_runs_with_the_same_seed() -> None:
    blind = {f"seed-{n}": curve((20, 2.0), (40, 2.0 + n)) for n in range(1, 6)}
    quick = {f"seed-{n}": curve((10 + n, 2.0 + n)) for n in range(1, 6)}
    never = {f"seed-{n}": curve((10, 2.0 + n if n < 3 else 0.0)) for n in range(1, 6)}
    first, second, third = efficiency({"blind": blind, "quick": quick, "never": never})
    assert first.ratio is not None
    assert first.ratio.median == 1.0
    assert second.needed == {f"seed-{n}": 10 + n for n in range(1, 6)}
    assert second.ratio == MedianInterval(13 / 40, 11 / 40, 15 / 40, pytest.approx(0.9375))
    assert third.ratio == MedianInterval(None, 10 / 40, None, pytest.approx(0.9375))
    assert second.evaluations == (8, 16, 24, 32, 40)
    assert second.best_after[0] == 0.0
    assert second.best_after[-1] == pytest.approx(5.0)


def test_a_seed_without_the_first_arm_has_no_target() -> None:
    _, other = efficiency(
        {"blind": {"seed-1": curve((4, 1.0))}, "quick": {"seed-2": curve((1, 9.0))}}
    )
    assert other.needed == {}
    assert other.ratio is None


def test_an_arm_without_a_run_has_dashes() -> None:
    arms = (CompareArm(name="blind"), CompareArm(name="later"))
    section = CompareSection(study="evolution", arms=arms, seeds=(1, 2))
    study = summarise_runs(section, [Result("seed-1", "blind", curve((5, 1.0)), 1.0)])
    for table in tables(study):
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert tables(study)[1].rows[1] == ("later", *"–––––")


def test_studies_that_did_not_count_have_no_efficiency() -> None:
    assert efficiency({"blind": {"seed-1": run([0, 10], [0.0, 1.0], [0.0])}}) == ()


@pytest.mark.parametrize(
    ("n", "cut", "confidence"), [(5, 0, 0.9375), (6, 0, 0.96875), (9, 1, 0.9609)]
)
def test_the_interval_of_a_median_is_of_order_statistics(
    n: int, cut: int, confidence: float
) -> None:
    found = median_interval([float(value) for value in range(n)])
    assert found == MedianInterval(
        (n - 1) / 2, float(cut), float(n - 1 - cut), pytest.approx(confidence, abs=1e-4)
    )


def test_the_interval_of_a_median_bears_what_is_only_known_to_be_larger() -> None:
    assert median_interval([1.0, 2.0, math.inf]) == MedianInterval(2.0, 1.0, None, 0.75)
    assert median_interval([1.0]) is None


def test_the_tables_and_the_page_show_it() -> None:
    arms = (CompareArm(name="blind"), CompareArm(name="quick"))
    section = CompareSection(study="evolution", arms=arms, seeds=(1, 2))
    results = [
        Result(f"seed-{n}", arm, made, 1.0)
        for n in (1, 2)
        for arm, made in (
            ("blind", curve((5, 1.0), (10, 2.0 + n), retrained=1.5)),
            ("quick", curve((4, 9.0), (10, 9.0), retrained=2.0 + n)),
        )
    ]
    study = summarise_runs(section, results)
    best, caught_up = tables(study)[1:3]
    assert best.columns == ("arm", "2", "4", "6", "8", "10")
    assert best.rows[1] == ("quick", "0.00", "9.00", "9.00", "9.00", "9.00")
    assert caught_up.rows[1][:5] == ("quick", "2/2", "0.40", "0.40 to 0.40", "3.50")
    assert study.to_json()["efficiency"][1]["ratio"]["median"] == 0.4  # type: ignore[index]
    assert "after so many evaluations" in render_page(study)
