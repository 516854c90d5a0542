"""The zoo: every bad block fails with the code in its name; every good one and every seed passes.

The proof is what a person would do: one command on all of them, which audits them in its two warm
workers.  `make test` takes a bad block of each code, `make test-all` all of them.  What a command
on a single file answers is shown for each kind of end.
"""

import json
import sys
from pathlib import Path

import commands
import pytest
from exhaustive import exhaustive
from zoo_blocks import BAD, BY_CODE, GOOD, code_of

from genesys_engine.gab import library
from genesys_engine.gab.checks import exceptions
from genesys_engine.gab.checks.report import ADVICE
from genesys_engine.gab.compose import compose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ZOO = {path.name: path for path in (*BAD, *GOOD)}
FORMS = [f"{name}.{form}" for name in library.seed_names() for form in ("py", "json")]
SEEDS = [f"{name} {width}" for name in library.seed_names() for width in (64, 192)]
# Refused by its text, by loading it, by a probe, by the training; a block, a file of one, a tree.
ENDS = {
    "static.no_class.another_name.py": 1,
    "load.error.name_not_in_torch.py": 1,
    "causality.leak.mean_over_time.py": 1,
    "training.slow.chaotic_features.py": 1,
    "causal_attention.py": 0,
    "gpt.py": 0,
    "gpt.json": 0,
}

# Told by the worker's end and not by the block, or needing a parent: tested in test_audit.py.
ELSEWHERE = {code for code in ADVICE if code.startswith("check.")} | {"function.same"}
WARNINGS = {
    *("static.left_out", "static.unused", "gradient.partial", "unit.unreached", "device.bound"),
    "gradient.differs",
    "machine.unsupported",  # an error where nothing can be probed: test_machine.py
    *("cost.loop", "cost.flops", "cost.memory", "cost.slow"),
}


def names(paths):
    return [path.name for path in paths]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Name -> file of every block of the zoo, and of every seed in both its forms."""
    folder = tmp_path_factory.mktemp("seeds")
    for name in library.seed_names():
        seed = library.seed(name)
        (folder / f"{name}.py").write_text(compose(seed), "utf-8")
        (folder / f"{name}.json").write_text(json.dumps(seed.to_json()), "utf-8")
    return ZOO | {name: folder / name for name in FORMS}


def check(paths, *options):
    """Run `genesys-engine check PATHS`; return its exit code and the errors, by the file's name."""
    command = [sys.executable, "-m", "genesys_engine", "check", *paths, "--json", *options]
    done = commands.run(command, timeout=1100)
    assert done.returncode in (0, 1), done.stderr
    data = json.loads(done.stdout)["data"]
    reports = {Path(each["target"]).name: each for each in (data if len(paths) > 1 else [data])}
    errors = {
        name: [found for found in report["findings"] if found["severity"] == "error"]
        for name, report in reports.items()
    }
    assert {name: bool(found) for name, found in errors.items()} == {
        name: report["verdict"] == "failed" for name, report in reports.items()
    }
    assert done.returncode == any(errors.values())
    return done.returncode, errors


@pytest.fixture(scope="module")
def errors(selected, files):
    """Name -> errors, of one command on all that is asked for."""
    return check([files[name] for name in selected("name")])[1]


@pytest.fixture(scope="module")
def seed_errors(selected, files):
    """Seed and width -> errors, of one command for each width."""
    found = {}
    for width in dict.fromkeys(seed.split()[1] for seed in selected("seed")):
        seeds = [seed.split()[0] for seed in selected("seed") if seed.split()[1] == width]
        _, errors = check([files[f"{name}.py"] for name in seeds], "--d-model", width)
        found |= {f"{name} {width}": errors[f"{name}.py"] for name in seeds}
    return found


@pytest.mark.parametrize("name", exhaustive(names(BAD), but=names(BY_CODE.values())))
def test_bad_block_fails_with_the_code_in_its_name(errors, name):
    code = code_of(ZOO[name])
    assert {each["code"] for each in errors[name]} == {code}
    of_its_own = {advice for _, _, advice in exceptions._RULES} | {"Give heads a default."}
    assert {each["advice"] for each in errors[name]} <= {ADVICE[code], *of_its_own}


@pytest.mark.parametrize("name", exhaustive(names(GOOD), but=names(GOOD[::3])))
def test_good_block_passes(errors, name):
    assert errors[name] == []


@pytest.mark.parametrize("name", exhaustive(FORMS, but=()))
def test_seed_passes_as_block_and_as_tree(errors, name):
    assert errors[name] == []


@pytest.mark.parametrize("seed", exhaustive(SEEDS, but=SEEDS[::2]))
def test_seed_passes_at_another_width(seed_errors, seed):
    assert seed_errors[seed] == []


@pytest.mark.parametrize("end", ENDS)
def test_a_command_on_one_file_ends_with_its_verdict(files, end):
    code, errors = check([files[end]])
    assert code == ENDS[end]
    assert {each["code"] for each in errors[end]} == ({code_of(ZOO[end])} if code else set())


def test_the_zoo_is_large_and_shows_every_error_there_is():
    assert len(BAD) >= 45
    assert len(GOOD) >= 25
    assert set(map(code_of, BAD)) == set(ADVICE) - ELSEWHERE - WARNINGS
