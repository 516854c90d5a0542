"""The quickstart, run as a newcomer runs it: everything that the README promises of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from genesys_engine.engine.store.run_store import Store

ROOT = Path(__file__).parent.parent
ENGINE = [sys.executable, "-m", "genesys_engine"]

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    done = subprocess.run(
        [*ENGINE, "run", "experiments/quickstart.toml", "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return folder, done


def leaderboard(folder: Path) -> list[dict[str, Any]]:
    command = [*ENGINE, "leaderboard", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
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
    first, *others = lines[lines.index(child) + 1 :]
    assert "its parent" in first
    assert "2 sigma" in first
    assert any("the reference" in line for line in (first, *others))
    assert any("bigram" in line for line in others), "a table of tokens is better than so little"
    assert str(folder / "report.html") in lines[-1]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert 'src="http' not in page, "nothing is loaded from elsewhere"


def test_seeds_and_children_were_verified_and_the_better_quarter_climbed(
    run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    with Store.open(run[0]) as store:
        done = [row for row in store.verifications() if row.status == "ok"]
        operators = {row.id: row.operator for row in store.designs()}
    lowest = {row.design: row.fitness for row in done if row.rung == 0 and row.replicate == 0}
    seeds = {design for design in lowest if operators[design].startswith("seed:")}
    assert len(seeds) == 5
    assert len(set(lowest) - seeds) >= 16
    climbed = {row.design for row in done if row.rung == 1}
    reference = next(d for d in seeds if operators[d] == "seed:gpt")
    ranked = sorted(set(lowest) - {reference}, key=lambda d: -(lowest[d] or 0.0))
    quarter = len(lowest) // 4
    assert set(ranked[:quarter]) <= climbed


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
    scales = ["0.2M", "1M"]
    order = [(-scales.index(row["rung"]), -row["fitness"]) for row in rows]
    assert order == sorted(order)
    assert {"untrained", "bigram"} <= set(rows[0]["controls"])
