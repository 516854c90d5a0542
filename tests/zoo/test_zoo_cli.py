"""The proof as a person would make it: the real command on every seed and on the whole zoo."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.py"))
GOOD = sorted((HERE / "good").glob("*.py"))


def check(path):
    """Run `genesys-engine check PATH --json`; return exit code and what it printed."""
    command = [sys.executable, "-m", "genesys_engine", "check", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Name -> future of (exit code, report), two commands at a time."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = {path.stem: path for path in (*BAD, *GOOD)}
    for name in library.seed_names():
        paths[name] = folder / f"{name}.py"
        paths[f"{name} as a tree"] = folder / f"{name}.json"
        paths[name].write_text(compose(library.seed(name)), "utf-8")
        paths[f"{name} as a tree"].write_text(json.dumps(library.seed(name).to_json()), "utf-8")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(check, path) for name, path in paths.items()}


def told(checked, name):
    """Print and return the exit code and the codes of the errors."""
    code, report = checked[name].result()
    found = {each["code"] for each in report["findings"] if each["severity"] == "error"}
    print(f"{name}: exit {code}, {report['verdict']} {', '.join(sorted(found))}")
    return code, found


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_bad_block_fails_with_the_code_in_its_name(checked, path):
    assert told(checked, path.stem) == (1, {".".join(path.name.split(".")[:2])})


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_every_good_block_passes(checked, path):
    assert told(checked, path.stem) == (0, set())


@pytest.mark.parametrize("name", [*library.seed_names()])
@pytest.mark.parametrize("form", ["", " as a tree"])
def test_every_seed_passes(checked, name, form):
    assert told(checked, name + form) == (0, set())
