"""The proof as a person would make it: the real command on every seed and on the whole zoo.

`make test` runs it where a command ends in a way of its own; that each block has the code in its
name is shown there by warm workers (`test_zoo.py`).
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import commands
import pytest
from exhaustive import exhaustive

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[2] / "zoo"
BAD = sorted((HERE / "bad").glob("*.py"))
GOOD = sorted((HERE / "good").glob("*.py"))
FORMS = [f"{name}.{form}" for name in library.seed_names() for form in ("py", "json")]
# Refused by its text, by loading it, by a probe, by the training; a block, a file of one, a tree.
ENDS = {
    *("static.no_class.another_name", "load.error.name_not_in_torch"),
    *("causality.leak.mean_over_time", "training.slow.chaotic_features"),
    *("causal_attention", "gpt.py", "gpt.json"),
}


def check(path):
    """Run `genesys-engine check PATH --json`; return exit code and what it printed."""
    command = [sys.executable, "-m", "genesys_engine", "check", str(path), "--json"]
    done = commands.run(command, timeout=280)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["data"]


@pytest.fixture(scope="module")
def checked(selected, tmp_path_factory):
    """Name -> future of (exit code, report), two commands at a time."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = {path.stem: path for path in (*BAD, *GOOD)}
    for name in library.seed_names():
        for form, text in (
            ("py", compose(library.seed(name))),
            ("json", json.dumps(library.seed(name).to_json())),
        ):
            paths[f"{name}.{form}"] = folder / f"{name}.{form}"
            paths[f"{name}.{form}"].write_text(text, "utf-8")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(check, paths[name]) for name in selected("name")}


def outcome(checked, name):
    """Print and return the exit code and the codes of the errors."""
    code, report = checked[name].result()
    found = {each["code"] for each in report["findings"] if each["severity"] == "error"}
    print(f"{name}: exit {code}, {report['verdict']} {', '.join(sorted(found))}")
    return code, found


@pytest.mark.parametrize("name", exhaustive((path.stem for path in BAD), but=ENDS))
def test_every_bad_block_fails_with_the_code_in_its_name(checked, name):
    assert outcome(checked, name) == (1, {".".join(name.split(".")[:2])})


@pytest.mark.parametrize("name", exhaustive((path.stem for path in GOOD), but=ENDS))
def test_every_good_block_passes(checked, name):
    assert outcome(checked, name) == (0, set())


@pytest.mark.parametrize("name", exhaustive(FORMS, but=ENDS))
def test_every_seed_passes(checked, name):
    assert outcome(checked, name) == (0, set())


def test_one_of_each_end_is_there():
    assert {path.stem for path in (*BAD, *GOOD)} | set(FORMS) > ENDS
