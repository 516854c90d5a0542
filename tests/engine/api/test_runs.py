"""Runs from Python: stopped, interrupted, resumed, finished, read; nothing is left behind."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import Session
from engine_process import here
from safetensors.torch import load_file
from sample_run import make_run

import genesys_engine as ge
from genesys_engine.engine.api import frames
from genesys_engine.engine.api.models import foreign_units
from genesys_engine.engine.store.run_store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> ge.Run:
    """A run of three rungs with failures, whose first child's sentence is no HTML."""
    folder = tmp_path_factory.mktemp("sample")
    return ge.Run(make_run(folder / "run", change="<script>alert(1)</script>"))


# --- running ---------------------------------------------------------------------------------


def test_it_stops_is_interrupted_and_finishes(session: Session) -> None:
    assert session.states == ["interrupted", "interrupted", "finished"]
    assert session.kinds.count("run.started") == 1
    assert session.kinds.count("run.resumed") == 2
    assert session.kinds[-1] == "run.finished"
    assert "preparing the corpus" in session.messages
    assert any("ge.resume(" in message for message in session.messages)
    log = list(session.run.events()["kind"])
    assert log.count("run.interrupted") == 2
    rest = iter(log)  # Ctrl-C came between two events that were written together
    assert all(kind in rest for kind in session.kinds)
    assert len(log) - 2 - len(session.kinds) <= 1


def test_it_leaves_nothing_behind(session: Session) -> None:
    assert session.left == []


def test_it_is_the_run_that_the_command_line_makes(session: Session) -> None:
    assert here("status", session.folder / "run").code == 0
    digest = here("events", session.folder / "run", "--digest").out.strip()
    assert len(digest) == 64
    kept = ge.Experiment.from_dict(session.run.experiment)
    assert kept.digest == session.experiment.digest


def test_an_exception_of_the_caller_ends_a_run_that_can_be_resumed(
    session: Session, tmp_path: Path
) -> None:
    class Mine(Exception):
        pass

    def fail(event: ge.Event) -> None:
        raise Mine

    with pytest.raises(Mine):
        ge.run(session.experiment, out=tmp_path / "run", on_event=fail)
    assert ge.Run(tmp_path / "run").state == "killed"


# --- frames ----------------------------------------------------------------------------------


TABLES = {
    "designs": frames.DESIGNS,
    "leaderboard": frames.LEADERBOARD,
    "verifications": frames.VERIFICATIONS,
    "curves": frames.CURVES,
    "events": frames.EVENTS,
    "llm_calls": frames.LLM_CALLS,
}


@pytest.mark.parametrize("name", TABLES)
def test_frames_have_their_columns_and_types(session: Session, sample: ge.Run, name: str) -> None:
    for run in (session.run, sample):
        found = getattr(run, name)
        table = found() if callable(found) else found
        assert isinstance(table, pd.DataFrame)
        columns = TABLES[name]
        assert list(table.columns[: len(columns)]) == [each.name for each in columns]
        assert [str(table[each.name].dtype) for each in columns] == [c.dtype for c in columns]
        assert table.attrs["units"] == {each.name: each.unit for each in columns if each.unit}
        assert name == "llm_calls" or len(table)
        table.to_html()
        empty = frames.frame(columns, [])
        assert list(empty.dtypes) == list(table.dtypes[: len(columns)])


def test_the_leaderboard_says_what_the_command_line_does(sample: ge.Run) -> None:
    told = list(csv.DictReader(io.StringIO(here("leaderboard", sample.path, "--csv").out)))
    table = sample.leaderboard()
    assert set(told[0]) <= set(table.columns)
    for row, (_, mine) in zip(told, table.iterrows(), strict=True):
        assert int(row["design"]) == mine["design"]
        for name in ("gain", "fitness", "bits_per_byte", "untrained.bits_per_byte", "flops"):
            assert float(row[name]) == mine[name]
        assert row["verdict"] == mine["verdict"]
    assert sample.leaderboard(3).equals(table.head(3))


def test_verifications_and_curves_belong_together(session: Session) -> None:
    trained, curves = session.run.verifications(), session.run.curves()
    assert set(trained["status"]) == {"ok"}
    assert set(curves["verification"]) == set(trained["verification"])
    last = curves.groupby("verification")["tokens"].max()
    assert (last.to_numpy() == trained["tokens"].to_numpy()).all()
    one = session.run.curves("gpt")
    assert set(one["design"]) == {0}
    assert curves["loss"].between(0, 20).all()
    assert (trained["untrained.bits_per_byte"] > trained["bits_per_byte"]).all()


def test_a_sample_says_what_failed(sample: ge.Run) -> None:
    trained = sample.verifications()
    failed = trained[trained["status"] == "failed"]
    assert len(failed) == 3
    assert failed["gain"].isna().all()
    assert failed["bits_per_byte"].isna().all()
    assert failed["reason"].str.len().min() > 0
    designs = sample.designs
    assert (~designs["accepted"]).sum() == 3
    assert list(designs["name"].dropna()) == ["gpt", "mamba2", "retnet", "rwkv6", "ttt"]


# --- designs ---------------------------------------------------------------------------------


def test_a_design_tells_its_tree_source_scores_and_lineage(session: Session) -> None:
    best, seed = session.run.best, session.run.design("gpt")
    assert best is not None
    assert seed.id == 0
    assert (seed.name, seed.label, seed.parents, seed.accepted) == ("gpt", "gpt", (), True)
    child = session.run.best_child
    assert child is not None
    assert child.parents == (0,)
    assert child.id in seed.children
    assert child.ancestors == (0,)
    assert child.scores["bits_per_byte"].value < child.controls["untrained"]["bits_per_byte"].value
    assert child.gains["0.2M"] == child.fitness
    compile(child.source, "block", "exec")
    assert child.tree.digest == session.run.designs.set_index("design")["digest"][child.id]
    assert child.change in repr(child)
    assert str(child).endswith(child.tree.describe())


def test_displays_escape_what_a_design_says(sample: ge.Run) -> None:
    row = sample.designs.query("change.str.contains('script')").iloc[0]
    design = sample.design(int(row["design"]))
    for html in (design._repr_html_(), sample._repr_html_()):
        assert "<script" not in html
    assert "&lt;script&gt;" in design._repr_html_()
    assert repr(sample).startswith("<Run ")
    assert "finished" in repr(sample)


# --- models ----------------------------------------------------------------------------------


def test_a_seed_loads_with_its_weights_and_scores_what_it_scored(session: Session) -> None:
    model = ge.load_model(session.run, "gpt")
    assert not model.training
    (path,) = (session.folder / "run" / "checkpoints").glob("design-0-rung-0-seed-0*")
    stored = load_file(path)
    for name, value in model.state_dict().items():
        if name in stored:
            assert torch.equal(value, stored[name])
    tokens = torch.tensor([session.run.tokenizer.encode("shi ka to mi re su no la").ids])
    with torch.inference_mode():
        logits = model(tokens[:, :-1])
        trained = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[0, 1:])
    assert trained < torch.log(torch.tensor(float(model.config.vocab_size)))
    assert model.generate(tokens, 4).shape == (1, tokens.shape[1] + 4)


def test_code_of_no_library_loads_only_where_it_is_trusted(session: Session) -> None:
    run = session.run
    foreign = {
        number: foreign_units(run.design(int(number)).tree)
        for number in run.verifications()["design"]
    }
    number, units = next((number, units) for number, units in foreign.items() if units)
    with pytest.raises(ge.UntrustedCode) as refused:
        ge.load_model(run.path, int(number))
    assert refused.value.units == units
    assert "trust_code=True" in str(refused.value)
    model = ge.load_model(run, run.design(int(number)), trust_code=True)
    assert model(torch.zeros(1, 5, dtype=torch.int64)).isfinite().all()


def test_a_unit_of_the_library_that_was_changed_is_not_trusted(
    session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(session.run.path, folder)
    with Store.open(folder, write=True) as store, store.transaction():
        db = store._db
        db.execute("UPDATE units SET source = source || ?", ("\n\n_MINE = 1\n",))
    with pytest.raises(ge.UntrustedCode):
        ge.load_model(folder, "gpt")


def test_weights_that_are_not_there(session: Session, sample: ge.Run) -> None:
    with pytest.raises(ge.InputError, match="no trained weights"):
        ge.load_model(sample, "gpt")
    with pytest.raises(ge.InputError, match="no rung"):
        ge.load_model(session.run, "gpt", rung="9M")
    with pytest.raises(ge.InputError, match="no design"):
        ge.load_model(session.run, 99)


# --- errors ----------------------------------------------------------------------------------


def test_folders_that_hold_no_run(tmp_path: Path, session: Session) -> None:
    for path in (tmp_path, tmp_path / "nowhere", __file__):
        with pytest.raises(ge.InputError, match="no run here"):
            ge.Run(path)
    with pytest.raises(ge.InputError, match="already holds a run"):
        ge.run(session.experiment, out=session.folder / "run")
    with pytest.raises(ge.InputError, match="the run is finished"):
        ge.resume(session.folder / "run")
    with pytest.raises(ge.InputError, match="no study here"):
        ge.Study(session.folder / "run")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ge.EngineError):
        ge.run(session.experiment, out=tmp_path / "file" / "run")


def test_a_finished_run_is_extended_by_changes(session: Session) -> None:
    with pytest.raises(ge.EngineError, match="tokens"):
        ge.resume(session.folder / "run", {"ladder.rungs.0.tokens": 4096})
