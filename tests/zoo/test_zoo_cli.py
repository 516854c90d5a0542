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
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Name -> (exit code, report), two commands at a time."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = {path.stem: path for path in (*BAD, *GOOD)}
    for name in library.seed_names():
        (folder / f"{name}.py").write_text(compose(library.seed(name)), "utf-8")
        (folder / f"{name}.json").write_text(json.dumps(library.seed(name).to_json()), "utf-8")
        paths |= {name: folder / f"{name}.py", f"{name} as a tree": folder / f"{name}.json"}
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(check, paths.values()), strict=True))


def test_every_seed_passes(checked):
    for name in library.seed_names():
        for path in (name, f"{name} as a tree"):
            code, report = checked[path]
            print(f"{path}: exit {code}, {report['verdict']}")
            assert (code, report["verdict"]) == (0, "passed")


def test_every_good_block_passes(checked):
    for path in GOOD:
        code, report = checked[path.stem]
        print(f"{path.stem}: exit {code}, {report['verdict']}")
        assert (code, report["verdict"]) == (0, "passed")


def test_every_bad_block_fails_with_the_code_in_its_name(checked):
    for path in BAD:
        code, report = checked[path.stem]
        found = {each["code"] for each in report["findings"] if each["severity"] == "error"}
        print(f"{path.stem}: exit {code}, {', '.join(sorted(found))}")
        assert (code, found) == (1, {".".join(path.name.split(".")[:2])})
