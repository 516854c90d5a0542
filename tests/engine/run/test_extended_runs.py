"""Runs that go on, and runs that begin from others, by the real command line: real trainings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from engine_process import EXPERIMENT, write_text

from genesys_engine.engine.cli import main
from genesys_engine.engine.config import ConfigError, load_experiment
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab import library

PRELOAD = '"genesys_engine.plugins.audit_job"'
OWN_BLOCK = '''"""A block of a user's own: gated, causal by a cumulative mean."""

import torch
from torch import nn


class Mine(nn.Module):
    def __init__(self, dim, block_loc, hidden=2, device=None, dtype=None):
        super().__init__()
        kw = {"device": device, "dtype": dtype}
        self.norm = nn.LayerNorm(dim, **kw)
        self.gate = nn.Linear(dim, dim, **kw)
        self.up = nn.Linear(dim, hidden * dim, **kw)
        self.down = nn.Linear(hidden * dim, dim, **kw)

    def forward(self, x):
        y = self.norm(x)
        steps = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        past = y.cumsum(1) / steps[:, None]
        mixed = past * torch.sigmoid(self.gate(y))
        return x + self.down(torch.relu(self.up(mixed + y)))
'''


def write(folder: Path, name: str, population: str = 'seeds = ["gpt"]', **values: int) -> Path:
    """Write an experiment of a few seconds with another [population]."""
    text = folder / "text.txt"
    if not text.exists():
        write_text(folder)
    numbers = {"lookahead": 2, "verifications": 2, "designs": 1, "timeout_s": 300} | values
    filled = EXPERIMENT.format(text=text, more="", preload=PRELOAD, **numbers)
    filled = filled.replace('seeds = ["gpt"]', population)
    path = folder / name
    path.write_text(filled)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extended")
    assert main(["run", str(write(folder, "first.toml")), "--out", str(folder / "first")]) == 0
    return folder


@pytest.fixture
def first(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "first", tmp_path / "first"))


def test_a_finished_run_is_extended_by_designs_and_a_rung(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(first)]) == 2
    assert "--set budget.designs=MORE" in capsys.readouterr().err
    assert main(["resume", str(first), "--set", "budget.designs=2"]) == 2
    assert "--set ladder.rungs.0.verifications=3" in capsys.readouterr().err
    sets = [
        "budget.designs=2",
        "ladder.rungs.0.verifications=3",
        "ladder.rungs.1.scale=1M",
        "ladder.rungs.1.verifications=2",
        "ladder.rungs.1.tokens=1024",
    ]
    assert main(["resume", str(first), *(x for s in sets for x in ("--set", s))]) == 0
    with Store.open(first) as store:
        assert store.count("designs") >= 3
        rungs = [row.rung for row in store.verifications()]
        assert (rungs.count(0), rungs.count(1)) == (3, 2)
        kinds = [event.kind for event in store.events()]
        best = store.meta("verdict")["best_child"]
        looks = [(look.design, look.rung) for look in store.confirmations() if not look.problem]
        assert (best, store.design(best).rung) in looks
    assert kinds.count("run.finished") == 2
    assert kinds.index("run.extended") > kinds.index("run.finished")
    capsys.readouterr()
    assert main(["resume", str(first)]) == 2  # it is kept: nothing more to do
    assert "is finished" in capsys.readouterr().err


def test_what_makes_it_another_experiment_is_named_with_both_values(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = first / "experiment.toml"
    file.write_text(file.read_text().replace("tokens = 6144", "tokens = 4096"))
    sets = ["--set", "population.size=3", "--set", "budget.designs=9"]
    assert main(["resume", str(first), *sets]) == 2
    said = capsys.readouterr().err
    for part in (
        "ladder.rungs.0.tokens = 4096 (the run has 6144)",
        "population.size = 3 (the run has 24)",
        "--set 'population.size=24'",
    ):
        assert part in said
    assert "budget.designs = 9" not in said


def test_a_run_begins_from_another_s_designs_and_from_a_user_s_own(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "sub").mkdir()
    (home / "sub" / "mine.py").write_text(OWN_BLOCK)
    tree = library.seed("retnet").to_json()
    (home / "tree.json").write_text(json.dumps(tree))
    population = 'seeds = ["gpt", "sub/mine.py", "tree.json"]\nfrom = "first"\nfrom_best = 1'
    file = write(home, "second.toml", population, verifications=5)
    run = home / "second"
    assert main(["run", str(file), "--out", str(run)]) == 0
    with Store.open(run) as store, Store.open(home / "first") as before:
        rows = {row.operator: row for row in store.designs() if row.accepted}
        child = before.leaderboard()[0].id or before.leaderboard()[1].id
        assert rows[f"seed:first:{child}"].digest == before.design(child).digest
        assert rows["seed:tree.json"].digest == library.seed("retnet").digest
        source = store.tree(rows["seed:mine.py"].id)["units"]
        assert all(OWN_BLOCK.strip() in unit for unit in source.values())
        assert rows["seed:mine.py"].rung == 0
        digest = store.meta("experiment_digest")
    assert load_experiment(file).digest == digest
    # Resumed elsewhere, with none of the files left.
    moved = home / "moved"
    run.rename(moved)
    shutil.rmtree(home / "sub")
    (home / "tree.json").unlink()
    more = ["--set", "budget.designs=2", "--set", "ladder.rungs.0.verifications=6"]
    assert main(["resume", str(moved), *more]) == 0
    with Store.open(moved) as store:
        assert sum(1 for _ in store.verifications()) == 6


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ('seeds = ["gpt", "nothing.py"]', "nothing.py"),
        ('seeds = ["gpt", "gtp"]', "unknown seed 'gtp'"),
        ('seeds = ["gpt", "broken.py"]', "this is not Python"),
        ('seeds = ["gpt", "imports.py"]', "the import of 'os' is not allowed"),
        ('seeds = ["gpt", "broken.json"]', "not JSON"),
        ('seeds = ["gpt", "no_tree.json"]', "this is not a tree"),
        ('seeds = ["gpt", "first:99"]', "no design 99 in this run"),
        ('seeds = ["gpt", "good.py", "./good.py"]', "named twice"),
        ('seeds = ["gpt"]\nfrom = "nowhere"', "no run here"),
        ('seeds = ["gpt", "good.py"]\nreference = "other.py"', "is not one of population.seeds"),
    ],
)
def test_a_seed_that_cannot_be_read_is_named_at_its_place(
    home: Path, population: str, message: str
) -> None:
    (home / "broken.py").write_text("class Block(:\n")
    (home / "good.py").write_text(OWN_BLOCK)
    (home / "imports.py").write_text("import os\n" + OWN_BLOCK)
    (home / "broken.json").write_text("{")
    (home / "no_tree.json").write_text("{}")
    with pytest.raises(ConfigError) as refused:
        load_experiment(write(home, "faulty.toml", population, verifications=9))
    (problem,) = refused.value.problems
    assert message in problem.message
    assert "faulty.toml:" in problem.where


def test_a_block_file_never_runs_in_the_engine_s_process(home: Path) -> None:
    marker = home / "it-ran"
    (home / "hostile.py").write_text(
        OWN_BLOCK + f'\n\nRAN = open({str(marker)!r}, "w").write("x")\n'
    )
    file = write(home, "hostile.toml", 'seeds = ["gpt", "hostile.py"]', verifications=9)
    code = main(["run", str(file), "--out", str(home / "hostile")])
    assert code == 2, "its check finds that it writes where it may not"
    assert not marker.exists()
