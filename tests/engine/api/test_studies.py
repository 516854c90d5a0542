"""Studies from Python: a real one, with the grammar in place of a model, and what is read of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import genesys_engine as ge
from experiments.catalogue.draw import make_proposals, write_proposals
from genesys_engine.engine.api import frames
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.run.plan import Plan, RungPlan

TABLES = {
    "run": {"name": "tiny", "workers": 1, "designers": 1},
    "llm": {"use": "grammar", "faults": {"wrong_shape": 0.2}},
    "executor": {"preload": ["genesys_engine.gab.lean_torch", "genesys_engine.plugins.check_job"]},
    "compare": {
        "proposals": "proposals",
        "arms": [
            {"name": "gp", "implementer": "gp"},
            {"name": "direct", "implementer": "direct"},
        ],
    },
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_of_tables_stops_and_is_resumed(tmp_path: Path) -> None:
    write_proposals(make_proposals(1, 1, (1, 2)), tmp_path / "proposals")
    experiment = ge.Experiment.from_dict(TABLES, folder=tmp_path)
    asked = iter(range(10**6))
    begun = ge.compare(experiment, out=tmp_path / "study", should_stop=lambda: next(asked) > 3)
    assert not begun.complete
    messages: list[str] = []
    study = ge.compare(experiment, out=tmp_path / "study", on_message=messages.append)
    assert study.complete
    assert [(arm.arm, arm.n, arm.planned) for arm in study.summary.arms] == [
        ("gp", 2, 2),
        ("direct", 2, 2),
    ]
    table = study.comparisons
    assert list(table.columns) == [each.name for each in frames.COMPARISONS]
    assert list(table.iloc[0][["first", "second", "n"]]) == ["gp", "direct", 2]
    assert table["sentence"][0] == study.findings[0]
    assert study.runs() == {}
    assert {"gp", "direct"} <= set(next(iter(study.tables().values())).iloc[:, 0])
    assert study.report().is_file()
    assert repr(study).endswith("gp 2/2, direct 2/2>")
    html = study._repr_html_()
    assert study.findings[0] in html
    with pytest.raises(ge.InputError, match="study"):
        ge.resume(tmp_path / "study")
    with pytest.raises(ge.InputError, match="has changed"):
        ge.compare(experiment.override({"run.seed": 5}), out=tmp_path / "study")


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = {**TABLES, "compare": {"arms": [{"name": "gp", "implementer": "gp"}]}}
    with pytest.raises(ge.InputError, match="nothing to compare"):
        ge.compare(one, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()
    with pytest.raises(ge.InputError, match="no study here"):
        ge.Study(tmp_path)
    assert not StudyStore.exists(tmp_path)


def test_a_plan_says_how_long_it_takes() -> None:
    rung = RungPlan("0.2M", 4, 1000, 4000, 30.0, 60.0)
    plan = Plan((rung,), 3.0, 63.0, {"gpt": 1.0}, shortest_s=60.0, longest_s=90.0)
    assert repr(plan).count("1 min") >= 3
    assert "0.2M" in repr(plan)
