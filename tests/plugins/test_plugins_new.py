"""`plugins new`: packages of every kind install and pass their own tests, just as made."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
from exhaustive import exhaustive

from genesys_engine.engine.cli import main
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.registry import KINDS

ROOT = Path(__file__).resolve().parents[2]


def python(site: Path, *arguments: str, cwd: Path, timeout_s: float = 280) -> Any:
    path = os.pathsep.join([str(site), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return commands.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        timeout=timeout_s,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One package of each kind, made by the command, installed by pip; (site, folder)."""
    folder, site = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("site")
    for kind in KINDS:
        name = kind.replace("_", "-")
        assert main(["plugins", "new", f"my-{name}", "--kind", name, "--out", str(folder)]) == 0
    pip = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation"]
    packages = [str(package) for package in sorted(folder.iterdir())]
    done = python(site, *pip, "--target", str(site), *packages, cwd=folder)
    assert done.returncode == 0, done.stderr
    return site, folder


def test_packages_of_every_kind_are_listed(made: tuple[Path, Path], tmp_path: Path) -> None:
    site, _ = made
    done = python(site, "-m", "genesys_engine", "plugins", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)["data"]
    mine = [p for p in told["plugins"] if p["distribution"].startswith("genesys-engine-my-")]
    assert {p["status"] for p in mine} == {"active"}
    assert {p["origin"] for p in mine} == {str(site)}
    assert all(p["heavy"] == [] for p in mine)
    found = {c["kind"]: c for c in told["components"] if c["name"] == f"my_{c['kind']}"}
    assert set(found) == set(KINDS)
    assert found["selector"]["options"] == [
        {
            "name": "share",
            "type": "number",
            "required": False,
            "default": 0.5,
            "shown": "0.5",
            "meaning": "share that may become parents",
        }
    ]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_their_own_tests_pass(made: tuple[Path, Path], tmp_path: Path) -> None:
    site, folder = made
    packages = [str(package) for package in sorted(folder.iterdir())]
    options = ["-q", "-p", "no:cacheprovider", "--timeout", "200"]
    done = python(site, "-m", "pytest", *options, *packages, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # each kind has its own tests beside the contract's, so none was left out
    counted = int(done.stdout.split(" passed")[0].split()[-1])
    assert counted >= 8 * len(KINDS)


EXPERIMENT = """
[population]
seeds = ["gpt"]
[corpus]
max_bytes = 300_000
vocab_size = 512
heldout = 0.2
[ladder]
rungs = [{ scale = "0.2M", verifications = 2, tokens = 4_096 }]
[selection]
use = "my_selector"
[[operators]]
use = "my_operator"
weight = 3.0
[[operators]]
use = "hyperparameter_mutation"
[trainer]
use = "my_trainer"
[[evaluators]]
use = "heldout"
windows = 16
[[evaluators]]
use = "my_evaluator"
[[checkers]]
use = "my_checker"
forbidden = ["layer_norm", "normalize", "tanh"]  # every other norm of the library
[[trackers]]
use = "my_tracker"
[executor]
use = "EXECUTOR"
[budget]
designs = 1
[plugins]
require = ["genesys-engine-my-report-section"]
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", exhaustive(("process", "my_executor"), but=("process",)))
def test_a_run_uses_one_of_each_kind(
    made: tuple[Path, Path], tmp_path: Path, executor: str
) -> None:
    site, _ = made
    (tmp_path / "all.toml").write_text(EXPERIMENT.replace("EXECUTOR", executor))
    done = python(site, "-m", "genesys_engine", "run", "all.toml", "--out", "run", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr  # whether the child is better is not the point
    with Store.open(tmp_path / "run") as store:
        used = {c["kind"]: c["name"] for c in store.meta("components")}
        assert used["executor"] == executor
        assert used["selector"] == "my_selector"
        designs, verified = list(store.designs()), list(store.verifications())
        kinds = [event.kind for event in store.events()]
        # The operator's only move is to a norm that the checker refuses.
        refused = [design for design in designs if not design.accepted]
        assert all(design.operator == "my_operator" for design in refused)
        codes = {f.code for d in refused for f in store.report(d.id).findings}
    assert codes == {"my_checker.forbidden"}
    assert [v.status for v in verified] == ["ok", "ok"]
    assert all("my_evaluator:acc" in v.scores for v in verified)
    lines = (tmp_path / "run" / "my_tracker.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == kinds
    page = (tmp_path / "run" / "report.html").read_text()
    assert "My Report Section" in page
    assert "<td>my_operator</td>" in page


def test_an_author_s_files_are_not_written_over(made: tuple[Path, Path], capsys: Any) -> None:
    _, folder = made
    arguments = ["plugins", "new", "my-operator", "--kind", "operator", "--out", str(folder)]
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "My", "1st", "a--b", "../x", "a b", "genesys-engine-"])
def test_an_impossible_name_is_refused(name: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["plugins", "new", "--kind", "tracker", "--out", str(tmp_path), "--", name]) == 2
    assert "is no name for a package" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("report-section", "html", "uses 'html' already"),
        ("report-section", "class", "is a word of Python"),
        ("report-section", "sorted", "uses 'sorted' already"),
        ("executor", "event", "uses 'Event' already"),
        ("executor", "lock", "uses 'Lock' already"),
        ("executor", "genesys-engine-future", "uses 'Future' already"),
        ("operator", "none", "is a word of Python"),
        ("tracker", "any", "uses 'Any' already"),
    ],
)
def test_a_name_that_the_code_uses_itself_is_refused(
    kind: str, name: str, told: str, tmp_path: Path, capsys: Any
) -> None:
    assert main(["plugins", "new", name, "--kind", kind, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert f"such as my-{name.removeprefix('genesys-engine-')}" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name"), [("executor", "html"), ("report-section", "designs"), ("selector", "event")]
)
def test_a_name_that_other_kinds_use_is_free(kind: str, name: str, tmp_path: Path) -> None:
    assert main(["plugins", "new", name, "--kind", kind, "--out", str(tmp_path)]) == 0


def test_the_files_of_a_package_are_formatted(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = made
    for command in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        arguments = ["-m", "ruff", *command, "--config", str(ROOT / "pyproject.toml"), str(folder)]
        done = python(tmp_path, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
