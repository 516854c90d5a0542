"""docs/write-a-plugin.md, word by word: its files are installed and evolve a block."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from genesys_engine.plugins import api, hookspecs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.-]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S))


class Author:
    """Someone who copied the files of the page into a folder and installed the package."""

    def __init__(self, folder: Path) -> None:
        self.package, self.site, self.work = (folder / n for n in ("package", "site", "work"))
        for made in (self.package, self.work):
            made.mkdir()
        for name, text in FILES.items():
            at = self.work if name == "experiment.toml" else self.package
            (at / name).write_text(text, encoding="utf-8")
        pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        self.python(*pip, "--no-build-isolation", "--target", str(self.site), str(self.package))

    def python(self, *arguments: str) -> str:
        path = os.pathsep.join([str(self.site), str(ROOT)])
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.work,
            env=os.environ | {"PYTHONPATH": path, "GENESYS_CACHE": str(self.work / "cache")},
            capture_output=True,
            text=True,
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


def test_the_test_on_the_page_passes(author: Author) -> None:
    where = str(author.package / "test_transplant.py")
    assert "1 passed" in author.python("-m", "pytest", "-q", "-p", "no:cacheprovider", where)


@pytest.mark.slow
def test_the_experiment_on_the_page_uses_the_operator(author: Author) -> None:
    author.python("-m", "genesys_engine", "run", "experiment.toml", "--out", "runs/first")
    rows = author.ask("leaderboard", "runs/first")
    children = [row for row in rows if row["parents"]]
    assert len(children) == 2
    for row in children:
        assert row["operator"] == "transplant"
        assert re.fullmatch(
            r"Transplanted \w+ of \w+ to root\.mixer for CausalAttention\.", row["change"]
        )
        control = row["controls"]["untrained"]["bits_per_byte"]["value"]
        assert row["scores"]["bits_per_byte"]["value"] < control  # it was really trained
    logged = [event["payload"].get("change") for event in author.ask("events", "runs/first")]
    assert {row["change"] for row in children} <= set(logged)


def test_the_page_shows_all_files_of_the_package() -> None:
    assert set(FILES) == {
        "pyproject.toml",
        "genesys_engine_transplant.py",
        "test_transplant.py",
        "experiment.toml",
    }


def test_the_example_imports_nothing_of_ours_but_the_api() -> None:
    for name in ("genesys_engine_transplant.py", "test_transplant.py"):
        imports = [n for n in ast.walk(ast.parse(FILES[name])) if isinstance(n, ast.ImportFrom)]
        ours = {n.module for n in imports if n.module and n.module.startswith("genesys_engine.")}
        assert ours == {"genesys_engine.plugins"}


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
        *("Operator", "Selector", "Trainer", "Evaluator", "Executor"),
        "KnowledgeSource",
    }
    assert protocols <= set(api.__all__)
    assert all(hasattr(api, name) for name in api.__all__)


def test_the_api_imports_no_torch() -> None:
    heavy = "{'torch', 'datasets', 'lm_eval', 'zarr', 'plotly', 'transformers', 'click'}"
    code = f"import sys, genesys_engine.plugins.api; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
