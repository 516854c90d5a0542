"""What a study shows, with the tables that plugins add to it."""

import itertools
import json

import pytest

from genesys_engine.engine.compare.page import render_page
from genesys_engine.engine.compare.reading import read
from genesys_engine.engine.compare.results import FinishedRun, Result, Used
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.compare.summary import tables
from genesys_engine.engine.config import load_experiment

EXPERIMENT = """
[plugins]
local = ["NAME.py"]
[compare]
study = "evolution"
seeds = [1]
arms = [{ name = "a" }, { name = "b" }]
"""
NUMBERS = itertools.count()
HOOK = (
    "from genesys_engine.plugins import api\n\n\n@api.hookimpl\ndef genesys_study_tables(study):\n"
)
RUN = FinishedRun(
    costs=(0, 10), best_so_far=(0.0, 1.5), generations=(0.0, 1.0), spent=20, best=1.5, mean=1.5,
    made=2, valid=1, used=Used(0, 0.0, 3.0, 2.0), device=("cpu",),
)  # fmt: skip


@pytest.fixture
def shown(tmp_path):
    """Return what a study shows whose plugin has this body."""

    def show(body):
        name = f"adding_{next(NUMBERS)}"  # a module of its own: Python imports each name once
        (tmp_path / f"{name}.py").write_text(HOOK + f"    {body}\n")
        given = tmp_path / "given.toml"
        given.write_text(EXPERIMENT.replace("NAME", name))
        meta = {"name": "one", "experiment": load_experiment(given).to_json()}
        with StudyStore.create(tmp_path / "study", meta, given.read_bytes()) as store:
            store.add_result(Result("seed-1", "a", RUN, 2.0))
        return read(tmp_path / "study")

    return show


def test_a_plugin_adds_tables_from_the_results(shown):
    study = shown(
        'return [{"title": "Costs", "columns": ["arm", "tokens"], "rows":'
        ' [[each["arm"], str(each["made"]["spent"])] for each in study["results"]]}]'
    )
    added = tables(study)[-1]
    assert (added.title, added.columns, added.rows) == ("Costs", ("arm", "tokens"), (("a", "20"),))
    assert "<h2>Costs</h2>" in render_page(study)
    assert json.loads(json.dumps(study.to_json()))["tables"] == [
        {"title": "Costs", "columns": ["arm", "tokens"], "rows": [["a", "20"]]}
    ]


def test_a_plugin_may_have_nothing_to_add(shown):
    assert shown("return None").tables == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no luck')", "no luck"),
        ("return 7", "return a list of tables"),
        ("return [{'title': 'T', 'columns': ['n'], 'rows': [[1]]}]", "rows"),
        ("study['arms'] = []", "genesys_study_tables"),
    ],
)
def test_a_plugin_that_fails_is_named_and_costs_the_study_nothing(shown, body, reason):
    study = shown(body)
    (failed,) = study.tables
    assert "adding" in failed.title
    assert reason in failed.title
    assert study.arms[0].means["best"] == 1.5
    render_page(study)


def test_a_plugin_that_is_gone_is_named(shown, tmp_path):
    shown('return [{"title": "Costs", "columns": [], "rows": []}]')
    (plugin,) = tmp_path.glob("adding_*.py")
    plugin.unlink()
    assert f"{plugin} is gone" in tables(read(tmp_path / "study"))[-1].title
