"""The quickstart, run as a newcomer runs it: everything that the README promises of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import commands
import pytest

from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.finals import finals_view

ROOT = Path(__file__).parent.parent
ENGINE = [sys.executable, "-m", "genesys_engine"]

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    done = commands.run(
        [*ENGINE, "run", "experiments/quickstart.toml", "--out", str(folder)],
        cwd=ROOT,
    )
    return folder, done


def leaderboard(folder: Path) -> list[dict[str, Any]]:
    command = [*ENGINE, "leaderboard", str(folder), "--json"]
    done = commands.run(command, cwd=ROOT, check=True)
    answer = json.loads(done.stdout)
    assert answer["schema"] == 1
    rows: list[dict[str, Any]] = answer["data"]
    return rows


def test_it_ends_well_and_names_what_it_found(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = run
    assert done.returncode == 0, done.stderr
    lines = done.stderr.strip().splitlines()
    child = next(line for line in lines if line.startswith("Best child: design "))
    assert "parents:" in child
    assert "fresh seed" in child, "the verdict rests on the race"
    first, *others = lines[lines.index(child) + 1 :]
    assert first.startswith(("Better than every seed", "Not shown to be better than every seed"))
    assert any("the best seed" in line and "95 % interval" in line for line in others)
    assert str(folder / "report.html") in lines[-1]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert 'src="http' not in page, "nothing is loaded from elsewhere"


def test_seeds_and_children_were_verified_and_the_best_child_raced_against_gpt(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with Store.open(run[0]) as store:
        done = [row for row in store.verifications() if row.status == "ok"]
        operators = {row.id: row.operator for row in store.designs()}
        race = finals_view(store)
    lowest = {row.design: row.fitness for row in done if row.replicate == 0}
    seeds = {design for design in lowest if operators[design].startswith("seed:")}
    assert {operators[design] for design in seeds} == {"seed:gpt"}
    assert len(set(lowest) - seeds) >= 10
    assert race is not None
    assert race.over
    entrants = {row.design for row in race.rows}
    assert seeds < entrants
    (child,) = entrants - seeds
    others = (fitness or 0.0 for design, fitness in lowest.items() if design not in entrants)
    assert (lowest[child] or 0.0) >= max(others, default=0.0)


def test_every_trained_model_beats_its_untrained_control(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with Store.open(run[0]) as store:
        for row in store.verifications():
            if row.status != "ok":
                continue
            trained = row.scores["bits_per_byte"].value
            assert trained < row.controls["untrained"]["bits_per_byte"].value
            assert "bits_per_byte" in row.controls["bigram"]
            losses = [loss for _, loss in store.curves.read(row.id)]
            tenth = len(losses) // 10  # one step is a few hundred tokens, and noisy
            assert fmean(losses[-tenth:]) < fmean(losses[:tenth]) - 0.3, "nats per token"


def test_the_leaderboard_is_best_first(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    rows = leaderboard(run[0])
    keys = {"design", "fitness", "rung", "scores", "controls", "parents", "change"}
    assert all(keys <= set(row) for row in rows)
    assert [row["fitness"] for row in rows] == sorted((r["fitness"] for r in rows), reverse=True)
    assert {"untrained", "bigram"} <= set(rows[0]["controls"])
