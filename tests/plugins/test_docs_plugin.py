"""docs/write-a-plugin.md, word by word: a package is generated, edited, installed and used."""

import inspect
import json
import os
import re
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import commands
import pytest

from genesys_engine.plugins import api, hookspecs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S))
WALK = PAGE.partition("## What an operator")[0]
COMMANDS = [
    line
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", WALK, re.M | re.S)
    for line in ([] if language else block.splitlines())
]


class Author:
    """Someone who made the package with the page's command, wrote its files and installed it."""

    def __init__(self, folder: Path) -> None:
        self.work, self.site = folder / "work", folder / "site"
        self.work.mkdir()
        (new,) = [line for line in COMMANDS if " plugins new " in line]
        self.python("-m", "genesys_engine", *new.split()[1:])
        self.work /= COMMANDS[COMMANDS.index(new) + 1].removeprefix("cd ")
        for name, text in FILES.items():
            known = name == "experiment.toml"
            assert (self.work / name).exists() is not known, "the page edits what was generated"
            (self.work / name).write_text(text, encoding="utf-8")
        pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        self.python(*pip, "--no-build-isolation", "--target", str(self.site), str(self.work))

    def python(self, *arguments: str) -> str:
        path = os.pathsep.join([str(self.site), str(ROOT)])
        done = commands.run(
            [sys.executable, *arguments],
            cwd=self.work,
            env=os.environ | {"PYTHONPATH": path, "GENESYS_CACHE": str(self.work / "cache")},
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, *arguments: str) -> Any:
        """Return the data of a command's --json answer."""
        return json.loads(self.python("-m", "genesys_engine", *arguments, "--json"))["data"]


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Author:
    return Author(tmp_path_factory.mktemp("author"))


def test_the_package_is_seen_and_not_broken(author: Author) -> None:
    seen = author.ask("plugins")
    mine = [p for p in seen["plugins"] if p["distribution"] == "genesys-engine-transplant"]
    assert [(p["status"], p["version"]) for p in mine] == [("active", "0.1.0")]
    operators = {c["name"]: c for c in seen["components"] if c["kind"] == "operator"}
    assert operators["transplant"]["distribution"] == "genesys-engine-transplant"


def test_the_tests_on_the_page_pass(author: Author) -> None:
    told = author.python("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert int(told.split(" passed")[0].split()[-1]) >= 10  # its own, and the contract's
    assert "failed" not in told


def test_the_commands_on_the_page_are_those_that_there_are(author: Author) -> None:
    mine = [line.split()[1:] for line in COMMANDS if line.startswith("genesys-engine ")]
    assert {words[0] for words in mine} == {"plugins", "validate", "run", "leaderboard"}
    shown = author.python("-m", "genesys_engine", "plugins", "show", "transplant")
    assert "operator transplant: Transplant" in shown
    assert re.search(r'interface +string +"sequence_mixer" +the kind of part replaced', shown)
    assert "no plugin is broken" in author.python("-m", "genesys_engine", "plugins", "--broken")
    assert "is valid" in author.python("-m", "genesys_engine", "validate", "experiment.toml")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_experiment_on_the_page_can_be_planned(author: Author) -> None:
    planned = author.ask("plan", "experiment.toml")  # of one seed
    assert [(rung["scale"], rung["tokens"]) for rung in planned["rungs"]] == [("0.2M", 6 * 16_384)]
    assert 0 < planned["seconds"] < 600


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_experiment_on_the_page_uses_the_operator(author: Author) -> None:
    author.python("-m", "genesys_engine", "run", "experiment.toml", "--out", "runs/first")
    rows = author.ask("leaderboard", "runs/first")
    children = [row for row in rows if row["parents"]]
    assert len(children) == 4
    for row in children:
        assert row["operator"] == "transplant"
        assert re.fullmatch(r"Transplanted \w+ of \w+ to root\.[\w.]+ for \w+\.", row["change"])
        control = row["controls"]["untrained"]["bits_per_byte"]["value"]
        assert row["scores"]["bits_per_byte"]["value"] < control  # it was really trained
    (operator,) = author.ask("leaderboard", "runs/first", "--operators")
    assert (operator["operator"], operator["compared"]) == ("transplant", 4)
    assert operator["verdict"]
    logged = [event["payload"].get("change") for event in author.ask("events", "runs/first")]
    assert {row["change"] for row in children} <= set(logged)


def test_the_page_shows_all_files_that_are_edited() -> None:
    assert set(FILES) == {
        "genesys_engine_transplant/component.py",
        "tests/test_transplant.py",
        "experiment.toml",
    }


def test_the_examples_import_nothing_of_ours_but_the_api_and_its_tests() -> None:
    """So do the templates of `plugins new` and the example packages."""
    sources = {name: text for name, text in FILES.items() if name.endswith(".py")}
    for path in (
        *ROOT.glob("engine/cli/scaffold/*/*.j2"),
        *ROOT.glob("experiments/plugins/*/*/*.py"),
    ):
        sources[str(path)] = path.read_text(encoding="utf-8")
    assert len(sources) > 30
    for name, text in sources.items():
        ours = set(re.findall(r"^from (genesys_engine\.[\w.]+|genesys_engine) import", text, re.M))
        assert ours <= {"genesys_engine.plugins", "genesys_engine.plugins.testing"}, name
        assert not re.search(r"^import genesys_engine", text, re.M), name


def test_every_hook_stands_on_the_page_with_its_arguments() -> None:
    hooks = {n: f for n, f in vars(hookspecs).items() if n.startswith("genesys_")}
    assert all(isinstance(f, FunctionType) for f in hooks.values())
    written = {f"{name}({', '.join(inspect.signature(f).parameters)})" for name, f in hooks.items()}
    rows = re.findall(r"^\| `(genesys_\w+\(.*?\))` \| [^|]+ \|", PAGE, re.M)
    assert sorted(rows) == sorted(written)


def test_what_the_page_names_of_the_api_is_there() -> None:
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.M | re.S)
    assert set(re.findall(r"\bapi\.(\w+)", PAGE)) <= set(api.__all__)
    protocols = set(re.findall(r"\| `([A-Z]\w+)` \|", prose))
    assert protocols == {
        "Checker",
        "Evaluator",
        "Executor",
        "KnowledgeSource",
        "LLMBackend",
        "Operator",
        "ReportSection",
        "Selector",
        "Tracker",
        "Trainer",
    }
    assert protocols <= set(api.__all__)
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_api_imports_no_torch() -> None:
    heavy = "{'torch', 'datasets', 'lm_eval', 'zarr', 'plotly', 'transformers', 'click'}"
    code = f"import sys, genesys_engine.plugins.api; print({heavy} & set(sys.modules))"
    done = commands.run([sys.executable, "-c", code], cwd=ROOT)
    assert done.stdout == "set()\n", done.stderr
