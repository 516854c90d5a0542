"""Rank correlation between rungs: closed forms, intervals, warnings, and where they are told."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from sample_run import make_run
from scipy.stats import spearmanr

from genesys_engine.engine.cli import main
from genesys_engine.engine.report import write_report
from genesys_engine.engine.score import standing
from genesys_engine.engine.score.verdict import judge
from genesys_engine.engine.store.replicates import FRESH
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.rungs import (
    FEWEST,
    RungAgreement,
    _agreement,
    places,
    rung_agreements,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_equal_orders_correlate_fully_and_reversed_ones_negatively() -> None:
    gains = [float(i) for i in range(8)]
    alike = _agreement("a", "b", gains, [2 * gain for gain in gains])
    assert (alike.spearman, alike.kendall, alike.n) == (pytest.approx(1), pytest.approx(1), 8)
    assert alike.foretells
    assert not alike.warning
    turned = _agreement("a", "b", gains, gains[::-1])
    assert turned.spearman == pytest.approx(-1)
    assert turned.warning.startswith("a does not predict b: ")
    unclear = _agreement("a", "b", gains[:5], [2.0, 4.0, 1.0, 0.0, 3.0])
    assert unclear.spearman <= 0 < unclear.high
    assert unclear.warning.startswith("a is not shown to predict b: ")


def test_chance_is_not_called_foretelling() -> None:
    rng = random.Random(3)
    warned = 0
    for _ in range(200):
        below, above = ([rng.random() for _ in range(12)] for _ in range(2))
        warned += _agreement("a", "b", below, above).foretells is False
    assert warned >= 188, "a 95 % interval, one side of it"


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_too_few_designs_say_nothing(n: int) -> None:
    gains = [float(i) for i in range(n)]
    found = _agreement("a", "b", gains, gains)
    assert (found.spearman, found.foretells, found.warning) == (None, None, "")
    assert _agreement("a", "b", [1.0] * 9, [float(i) for i in range(9)]).spearman is None


def test_a_run_is_read_by_its_ranking_trainings(folder: Path) -> None:
    with Store.open(folder) as store:
        first, second = rung_agreements(store)
        gains: dict[int, dict[int, float]] = {}
        for row in store.verifications():
            if row.replicate == 0 and row.fitness is not None:
                gains.setdefault(row.design, {})[row.rung] = row.fitness
        both = [by_rung for by_rung in gains.values() if {0, 1} <= by_rung.keys()]
        rho = spearmanr([g[0] for g in both], [g[1] for g in both]).statistic
        assert (first.lower, first.upper, first.n) == ("0.2M", "1M", len(both))
        assert first.spearman == pytest.approx(rho)
        assert (second.n, second.spearman) == (2, None)
        best = store.leaderboard(1)[0].id
        assert places(store, best)[-1] == ("4M", 1, 2)


def test_it_is_told_in_report_leaderboard_and_show(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(folder) as store:
        page = write_report(store).read_text()
        best = store.leaderboard(1)[0].id
    assert "Rank correlation between rungs" in page
    assert "too few designs to tell" in page
    assert main(["show", str(folder), str(best)]) == 0
    assert "1 of 2 at 4M" in capsys.readouterr().out
    warned = RungAgreement("0.2M", "1M", 9, -0.8, -0.9, -0.4, -0.7)
    target = "genesys_engine.engine.views.rungs.rung_agreements"
    monkeypatch.setattr(target, lambda store: [warned])
    assert main(["leaderboard", str(folder)]) == 0
    told = capsys.readouterr()
    assert "warning: 0.2M does not predict 1M" in told.err
    assert standing.NO_DIFFERENCE in told.out
    assert "reference" in told.out
    assert main(["leaderboard", str(folder), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["data"]
    assert {row["standing"] for row in rows} >= {standing.REFERENCE, standing.NO_DIFFERENCE}


def test_a_finalist_is_judged_by_its_fresh_seeds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(folder, write=True) as store:
        child = judge(store).best_child
        assert child is not None
        top = [row for row in store.verifications(child) if row.replicate == 0][-1]
        experiment = store.meta("experiment")
        ladder = {**experiment["ladder"], "finalists": 1, "finalist_seeds": 2}
        entries = {"seeds": [0], "children": [child]}
        with store.transaction():
            store.set_meta("experiment", {**experiment, "ladder": ladder})
            store.set_meta("state", {"finals": {"entries": entries, "seen": 1}})
            for index, (design, gain) in enumerate(
                ((0, 0.0), (0, 0.0), (child, 0.1), (child, 0.7))
            ):
                number, seed = store.count("verifications"), FRESH + index % 2
                about = {"id": number, "seq": 90_000 + index, "design": design, "fitness": gain}
                store.add_verification(replace(top, **about, replicate=seed), [])
    assert main(["leaderboard", str(folder), "--json"]) == 0
    rows = {row["design"]: row for row in json.loads(capsys.readouterr().out)["data"]}
    fresh = rows[child]["fresh"]
    assert (fresh["mean"], fresh["gains"]) == (pytest.approx(0.4), [0.1, 0.7])
    assert fresh["low"] < 0 < fresh["high"]
    assert rows[child]["standing"] == fresh["standing"] == standing.NO_DIFFERENCE
    assert main(["leaderboard", str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"+0.40 % (−{abs(fresh['low']):.2f} to +{fresh['high']:.2f})" in told
    with Store.open(folder) as store:
        page = write_report(store).read_text()
    assert "with fresh seeds" in page
    assert "+0.10 %, +0.70 %" in page
