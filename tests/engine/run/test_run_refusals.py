"""What a run is given that is not usable: a file, a folder, a text, a plugin.

Each ends with one clear error and the documented exit code, and nothing stands in the way of a
second try.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from engine_process import (
    Answer,
    ask,
    ended,
    engine,
    here,
    started,
    wait_for,
    write_experiment,
)

from genesys_engine.engine.common.disk import held
from genesys_engine.engine.config.load import load_experiment
from genesys_engine.engine.corpus import prepare
from genesys_engine.engine.store.run_store import Store
from genesys_engine.gab.errors import InputError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("ladder.rungs=[{scale='0.2M'}]", "verifications"),
        ("run.sead=1", "did you mean 'seed'"),
        ("run.workers='two'", "run.workers"),
        ("selection.use=quadrent", "quadrant"),
        ("budget.designs=-3", "budget.designs"),
        ("corpus.paths=[]", "paths"),
    ],
)
def test_a_fault_in_the_experiment_leaves_no_folder(
    tmp_path: Path, override: str, told: str
) -> None:
    file, run = write_experiment(tmp_path), tmp_path / "run"
    answer = here("run", file, "--out", run, "--set", override)
    assert answer.code == 2, answer.err
    assert told in answer.err
    assert "Traceback" not in answer.err
    assert not run.exists()


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    file, run = tmp_path / "none.toml", tmp_path / "run"
    here("run", file, "--out", run).refused(2, f"{file}: no such file", "genesys-engine init")
    assert not run.exists()


def test_a_folder_in_use_is_not_touched(tmp_path: Path) -> None:
    file, run = write_experiment(tmp_path), tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("mine")
    here("run", file, "--out", run).refused(2, str(run), "is not empty", "--out")
    assert [entry.name for entry in run.iterdir()] == ["mine.txt"]
    here("run", file, "--out", run / "mine.txt").refused(2, "mine.txt", "--out")
    assert (run / "mine.txt").read_text() == "mine"


def test_what_a_run_killed_at_its_very_start_leaves_is_no_hindrance(tmp_path: Path) -> None:
    file = write_experiment(tmp_path)
    for name in ("lock", "run.sqlite.partial", "run.sqlite.partial-journal"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).touch()
    with Store.create(tmp_path / "run", {"sets": []}, file.read_bytes()) as store:
        assert store.meta("sets") == []
    assert (tmp_path / "run" / "experiment.toml").read_bytes() == file.read_bytes()
    with pytest.raises(InputError, match="already holds a run"):
        Store.create(tmp_path / "run", {})


def test_a_text_that_is_missing_or_too_small_leaves_no_folder(tmp_path: Path) -> None:
    file, run, text = write_experiment(tmp_path, verifications=1), tmp_path / "run", tmp_path / "t"

    def answer() -> Answer:
        return here("run", file, "--out", run, "--set", f"corpus.paths=['{text}']")

    answer().refused(2, str(text), "no such file or folder", "corpus.paths")
    text.write_text("far too little\n" * 50)
    answer().refused(2, "too small", "give more text")
    assert not run.exists()


def test_a_run_without_a_verified_child_ends_with_exit_code_1(tmp_path: Path) -> None:
    file, run = write_experiment(tmp_path, verifications=1), tmp_path / "run"
    answer = engine("run", file, "--out", run)
    assert answer.code == 1, answer.err
    assert answer.out == ""
    assert "No child was verified" in answer.err
    assert answer.err.splitlines()[-1].startswith("Best design: 0, see ")


def test_a_start_that_finds_another_run_in_its_folder_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is free when both begin; one of them waits for its text, which this process holds,
    until this process has begun there.
    """
    monkeypatch.setenv("GENESYS_CACHE", str(tmp_path / "cache"))
    file, run = write_experiment(tmp_path), tmp_path / "run"
    corpus = prepare(load_experiment(file, ()).corpus, tmp_path / "elsewhere").name
    preparing = tmp_path / "cache" / "corpora" / corpus.replace("corpus-", ".preparing-")
    with ExitStack() as stack:
        with held(preparing, lambda: None):
            late = stack.enter_context(started("run", file, "--out", run))
            wait_for(lambda: "waiting for another process" in late.answer().err, late)
            first = stack.enter_context(Store.create(run, {"name": "first"}, file.read_bytes()))
        ended(late).refused(2, str(run), "already holds a run", "resume")
        assert first.meta("name") == "first"
    with Store.open(run, write=True) as store:
        assert store.meta("name") == "first"
    assert (run / "experiment.toml").read_bytes() == file.read_bytes()


# --- plugins -----------------------------------------------------------------------------------

PLUGIN = """
from genesys_engine.gab.tree import grow
from genesys_engine.gab.unit import parse_unit
from genesys_engine.plugins.api import Child, OperatorNotApplicable, hookimpl

ENDLESS = '''
from torch import nn

class Endless(nn.Module):
    "Never ends."

    interface = "channel_mixer"

    def __init__(self, d_model, block_loc, *, device=None, dtype=None):
        super().__init__()
        self.map = nn.Linear(d_model, d_model, device=device, dtype=dtype)

    def forward(self, X, **Z):
        while X.shape[0] > 0:
            X = self.map(X)
        return X, Z
'''

@hookimpl
def genesys_register_operators(register):
    register("odd", f"{__name__}:Odd", summary="For a test.")

class Odd:
    arity = (1, 1)

    def __call__(self, parents, context):
        tree = parents[0].tree
        BODY
"""
ENDLESS = """
        place = next(p for p in tree.places() if p.node.unit.interface == "channel_mixer")
        return Child(tree.replace(place.index, grow(parse_unit(ENDLESS))), "Made it endless.")
"""
OPERATORS = """
[[operators]]
use = "odd"
weight = 9.0
[[operators]]
use = "hyperparameter_mutation"
"""


def install(folder: Path, body: str) -> Path:
    """Lay a distribution with the operator `odd` into `folder`, for a PYTHONPATH."""
    info = folder / "genesys_engine_odd-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    metadata = "Metadata-Version: 2.1\nName: genesys-engine-odd\nVersion: 1.0\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text("[genesys_engine]\nodd = odd_plugin\n")
    (folder / "odd_plugin.py").write_text(PLUGIN.replace("        BODY\n", body.lstrip("\n")))
    return folder


def test_a_design_that_hangs_is_rejected_and_the_run_goes_on(tmp_path: Path) -> None:
    site, run = install(tmp_path / "site", ENDLESS), tmp_path / "run"
    file = write_experiment(
        tmp_path, verifications=2, designs=1, timeout_s=5, more=OPERATORS, lookahead=1
    )
    answer = engine("run", file, "--out", run, path=site)
    assert answer.code == 0, answer.err
    assert "rejected: check.timeout" in answer.err
    (report,) = ask(run, "SELECT report FROM designs WHERE accepted = 0 AND operator = 'odd'")[0]
    assert "ran longer than 5 s" in str(report)
    assert "Make the block cheaper" in str(report)
    assert len(ask(run, "SELECT 1 FROM verifications WHERE status = 'ok'")) == 2


def test_an_operator_that_raises_ends_the_run_until_it_is_mended(tmp_path: Path) -> None:
    site, run = install(tmp_path / "site", "        return tree.no_such_thing\n"), tmp_path / "run"
    file = write_experiment(tmp_path, verifications=2, designs=1, more=OPERATORS)
    answer = engine("run", file, "--out", run, path=site)
    answer.refused(2, "operator odd: raised AttributeError", "no_such_thing", "update the plugin")
    assert f"genesys-engine resume {run}" in answer.err
    paid = ask(run, "SELECT seq, finished_at FROM tasks WHERE kind = 'verify'")
    assert len(paid) == 1, "the verification under way was finished"
    assert paid[0][1] is not None

    install(tmp_path / "site", "        raise OperatorNotApplicable\n")
    mended = engine("resume", run, path=site)
    assert mended.code == 0, mended.err
    assert ask(run, "SELECT seq, finished_at FROM tasks WHERE seq = 1") == paid
    here("resume", run).refused(2, "odd")  # now it is not installed at all


def test_an_operator_that_does_not_say_its_parents_is_refused(tmp_path: Path) -> None:
    site = install(tmp_path / "site", "        raise OperatorNotApplicable\n")
    plugin = site / "odd_plugin.py"
    plugin.write_text(plugin.read_text().replace("    arity = (1, 1)\n", ""))
    file = write_experiment(tmp_path, verifications=2, designs=1, more=OPERATORS)
    answer = engine("run", file, "--out", tmp_path / "run", path=site)
    answer.refused(2, "operator odd: ", "arity must be the fewest and most parents")


OBSERVER = """
from genesys_engine.plugins.api import events, hookimpl

@hookimpl
def genesys_on_event(event):
    if event["kind"] == events.DESIGN_ACCEPTED:
        raise ValueError("cannot bear designs")
"""


def test_an_observer_that_raises_is_named_once_and_the_run_goes_on(tmp_path: Path) -> None:
    site, run = install(tmp_path / "site", ""), tmp_path / "run"
    (site / "odd_plugin.py").write_text(OBSERVER)
    file = write_experiment(tmp_path, verifications=1, designs=1)
    answer = engine("run", file, "--out", run, path=site)
    assert answer.code == 1, answer.err  # no child was verified
    assert answer.err.count("cannot bear designs") == 1
    place = f"genesys_on_event ({site}/odd_plugin.py:7)"
    assert f"genesys-engine-odd 1.0 is silenced: {place}: ValueError" in answer.err
    assert len(ask(run, "SELECT 1 FROM verifications WHERE status = 'ok'")) == 1


RECORDED = """
from genesys_engine.plugins.api import hookimpl

@hookimpl
def genesys_evaluate_candidate(candidate):
    bits = 3.0 - 0.01 * candidate["design"]
    score = {"value": bits, "stderr": None, "higher_is_better": False, "n": 1}
    return {"status": "ok", "scores": {"bits_per_byte": score}}
"""


def test_a_run_whose_results_a_plugin_knows_trains_nothing(tmp_path: Path) -> None:
    site, run = install(tmp_path / "site", ""), tmp_path / "run"
    (site / "odd_plugin.py").write_text(RECORDED)
    file = write_experiment(tmp_path, verifications=2, designs=1)
    answer = engine("run", file, "--out", run, path=site)
    assert answer.code == 0, answer.err
    rows = ask(run, "SELECT design, json_extract(facts, '$.supplied_by') FROM verifications")
    assert {by for _, by in rows} == {"genesys-engine-odd 1.0"}
    assert not (run / "checkpoints").exists()
    assert "genesys-engine-odd 1.0" in here("show", run, rows[-1][0], "--json").out
