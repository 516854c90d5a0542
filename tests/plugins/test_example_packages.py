"""The packages in experiments/plugins: installed into an environment of their own, tested, run."""

import csv
import json
import os
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import commands
import pytest

from genesys_engine.engine.views.operators import BETTER, WORSE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "experiments" / "plugins"
PACKAGES = sorted(EXAMPLES.glob("genesys-engine-*"))

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


class Environment:
    """A virtual environment that sees the libraries of this one and the engine's checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        site = Path(sysconfig.get_path("purelib", "venv", paths))
        (site / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q"]
        offline = ["--no-index", "--no-deps", "--no-build-isolation"]
        self.call([*pip, *offline, *map(str, self.copies())])

    def copies(self) -> list[Path]:
        """Return the packages, copied: building leaves files beside the sources."""
        import shutil

        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        return [
            Path(shutil.copytree(package, self.folder / package.name, ignore=ignored))
            for package in PACKAGES
        ]

    def call(self, command: list[str]) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment |= {"OMP_NUM_THREADS": "1", "GENESYS_CACHE": str(self.folder / "cache")}
        done = commands.run(command, cwd=self.folder, env=environment, timeout=280)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        program = [str(self.python), "-m", "genesys_engine"]
        return json.loads(self.call([*program, *arguments, "--json"]))["data"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"))


def test_all_three_are_active_and_light(environment: Environment) -> None:
    found = {p["distribution"]: p for p in environment.ask("plugins")["plugins"]}
    assert {package.name for package in PACKAGES} <= set(found)
    for package in PACKAGES:
        record = found[package.name]
        assert (record["status"], record["heavy"]) == ("active", [])
        assert record["origin"].startswith(str(environment.folder))


def test_their_own_tests_pass(environment: Environment) -> None:
    folders = [str(environment.folder / package.name) for package in PACKAGES]
    options = ["-q", "-p", "no:cacheprovider", "--timeout", "200"]
    out = environment.call([str(environment.python), "-m", "pytest", *options, *folders])
    assert int(out.split(" passed")[0].split()[-1]) >= 30


@pytest.mark.timeout(600)
def test_a_run_uses_all_three_and_the_operator_is_judged_by_its_interval(
    environment: Environment,
) -> None:
    program = [str(environment.python), "-m", "genesys_engine"]
    arguments = ["run", str(EXAMPLES / "three.toml"), "--out", "run"]
    commands.run([*program, *arguments], cwd=environment.folder, env=_quiet(environment))
    rows = environment.ask("leaderboard", "run")
    children = [row for row in rows if row["operator"] == "frequency"]
    assert len(children) == 3
    (told,) = environment.ask("leaderboard", "run", "--operators")
    assert (told["operator"], told["compared"]) == ("frequency", 3)
    assert told["low"] < told["gain"] < told["high"]
    decided = told["low"] > 0 or told["high"] < 0
    assert (told["verdict"] in (BETTER, WORSE)) == decided, told
    assert told["verdict"] in (environment.folder / "run" / "report.html").read_text()
    for child in children:
        assert "damped oscillations" in child["change"]
        assert child["fitness"] is not None  # it won or lost against the design it started from
        assert 0 <= child["scores"]["needle:64:acc"]["value"] <= 1
    with (environment.folder / "run" / "scores.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    events = environment.ask("events", "run", "--kind", "verification.finished")
    finished = {str(event["id"]) for event in events}
    assert {row["event"] for row in kept} == finished
    assert {row["metric"] for row in kept} >= {"bits_per_byte", "needle:16:acc"}


def _quiet(environment: Environment) -> dict[str, str]:
    """Return the environment of a run; its exit code says whether a child was better."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return kept | {"OMP_NUM_THREADS": "1", "GENESYS_CACHE": str(environment.folder / "cache")}
