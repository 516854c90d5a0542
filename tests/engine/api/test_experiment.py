"""Experiments from Python: the faults that `validate` finds, at their lines or at their keys."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_process import here

import genesys_engine as ge
from genesys_engine.engine.api.failures import engine_error, engine_errors
from genesys_engine.engine.config.load import load_source
from genesys_engine.engine.config.source import Source, tables_source

FAULTY = """
[run]
sead = 1
workers = "two"
[[ladder.rungs]]
scale = "0.3M"
verifications = 9
[[evaluators]]
use = "heldout"
windows = 0
"""


def faults(build: Any, *given: Any, **more: Any) -> tuple[ge.Problem, ...]:
    with pytest.raises(ge.ConfigError) as error:
        build(*given, **more)
    assert isinstance(error.value, ge.EngineError)
    found: tuple[ge.Problem, ...] = error.value.problems
    return found


def test_a_file_has_the_faults_that_validate_finds(tmp_path: Path) -> None:
    file = tmp_path / "faulty.toml"
    file.write_text(FAULTY)
    found = faults(ge.Experiment.from_toml, file)
    told = json.loads(here("validate", file, "--json").out)["data"]
    assert [each.to_json() for each in found] == told["problems"]
    assert {each.place.line for each in found if each.place} == {3, 4, 6, 10}


def test_tables_have_the_same_faults_at_their_keys() -> None:
    tables = {
        "run": {"sead": 1, "workers": "two"},
        "ladder": {"rungs": [{"scale": "0.3M", "verifications": 9}]},
        "evaluators": [{"use": "heldout", "windows": 0}],
    }
    found = faults(ge.Experiment.from_dict, tables)
    assert {each.where for each in found} == {
        'experiment["run"]["sead"]',
        'experiment["run"]["workers"]',
        'experiment["ladder"]["rungs"][0]["scale"]',
        'experiment["evaluators"][0]["windows"]',
    }
    assert not any("default of" in each.message for each in found)


def test_what_toml_has_no_form_for_is_a_fault() -> None:
    found = faults(ge.Experiment.from_dict, {"run": {"seed": {1}, 5: 1, "name": object()}})
    assert [each.where for each in found] == [
        'experiment["run"]',
        'experiment["run"]["seed"]',
        'experiment["run"]["name"]',
    ]


def test_values_of_python_are_read_as_toml_has_them(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("ka to mi\n" * 5000)
    tables = {
        "run": {"seed": np.int64(7), "name": None},
        "corpus": {"use": "text", "paths": (Path("text.txt"),)},
        "budget": {"wall_hours": np.float64(0.5)},
    }
    made = ge.Experiment.from_dict(tables, folder=tmp_path)
    assert made.config.run.seed == 7
    assert made.name == "experiment"
    assert made.config.corpus.paths == (str(tmp_path / "text.txt"),)
    again = ge.Experiment.from_dict(made.to_dict())
    assert again.digest == made.digest
    other = made.override({"run.seed": 8, "run.name": "other"})
    assert (other.config.run.seed, other.name, made.config.run.seed) == (8, "other", 7)
    assert other.digest != made.digest
    (bad,) = faults(made.override, {"run.seeed": 1})
    assert bad.where == "--set run.seeed=1"


def test_the_text_that_a_run_keeps_means_the_same() -> None:
    """A run that began with tables is resumed from TOML."""
    tables = {
        "run": {"name": 'quotes " and \\ and \n', "mode": "generational"},
        "population": {"seeds": ["gpt", "retnet"], "parents": (0.1, 0.8, 0.1)},
        "ladder": {"rungs": [{"scale": "0.2M", "verifications": 30}, {"scale": "1M",
                   "verifications": 4, "peak_lr": 1e-3}]},
        "operators": [{"use": "removal", "weight": 2.5}, {"use": "insertion"}],
        "corpus": {"use": "mixture", "parts": [{"hub": "a/b", "weight": 0.5},
                   {"hub": "c/d", "weight": 0.5}]},
        "llm": {"use": "litellm", "model": "x/y", "roles": {"coder": {"model": "z/w"}}},
    }  # fmt: skip
    made = tables_source(tables)
    read = Source("again.toml", made.text, made.folder)
    assert load_source(read).to_json() == load_source(made).to_json()
    (endless,) = faults(ge.Experiment.from_dict, {"budget": {"wall_hours": float("inf")}})
    assert endless.where == 'experiment["budget"]["wall_hours"]'


@pytest.mark.parametrize("wrong", [5, None, [("run", 1)], b"x"])
def test_what_is_no_experiment_at_all(wrong: Any) -> None:
    with pytest.raises(ge.InputError, match=type(wrong).__name__):
        ge.run(wrong)
    with pytest.raises(ge.ConfigError, match=type(wrong).__name__):
        ge.Experiment.from_dict(wrong)


def test_changes_that_have_no_form() -> None:
    made = ge.Experiment.from_dict({})
    assert faults(made.override, {"run.seed": None})[0].where == 'experiment["run.seed"]'
    assert faults(made.override, {"run.name": "\ud800"})
    assert faults(made.override, {"": 1})
    assert made.override({"corpus.max_bytes": np.int32(5_000_000)}).config.corpus.max_bytes == 5e6


def test_files_that_are_no_experiments(tmp_path: Path) -> None:
    (missing,) = faults(ge.Experiment.from_toml, tmp_path / "none.toml")
    assert missing.where == str(tmp_path / "none.toml")
    (folder,) = faults(ge.Experiment.from_toml, tmp_path)
    assert folder.where == str(tmp_path)
    (tmp_path / "bad.toml").write_text("[run\n")
    (bad,) = faults(ge.run, tmp_path / "bad.toml")
    assert bad.place is not None
    (required,) = faults(ge.Experiment.from_dict, {"plugins": {"require": ["nothing"]}})
    assert required.where == 'experiment["plugins"]["require"][0]'


def test_what_the_machine_lacks_is_found_by_validate(tmp_path: Path) -> None:
    made = ge.Experiment.from_dict(
        {"corpus": {"use": "text", "paths": ["gone.txt"]}}, folder=tmp_path
    )
    (gone,) = faults(made.validate)
    assert "gone.txt" in gone.where
    assert ge.Experiment.from_dict({"ladder": {"rungs": [
        {"scale": "0.2M", "verifications": 9, "noise_seeds": 1}
    ]}}).warnings  # fmt: skip


def test_displays_of_an_experiment() -> None:
    made = ge.Experiment.from_dict({"run": {"name": "<b>x</b>"}})
    assert made.digest[:12] in repr(made)
    assert "<b>" not in made._repr_html_()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, ge.EnvironmentProblem),
        (errno.EACCES, ge.EnvironmentProblem),
        (errno.ENOTDIR, ge.InputError),
        (errno.EISDIR, ge.InputError),
    ],
)
def test_what_the_machine_refuses_is_an_error_of_ours(number: int, kind: type) -> None:
    with pytest.raises(ge.EngineError) as error, engine_errors():
        raise OSError(number, "refused", "some/file")
    assert type(error.value) is kind
    assert error.value.where == "some/file"
    assert error.value.hint


def test_a_bug_stays_what_it_is() -> None:
    assert engine_error(KeyError("x")) is None
    assert engine_error(OSError("without a number")) is None
    with pytest.raises(ZeroDivisionError), engine_errors():
        _ = 1 / 0
