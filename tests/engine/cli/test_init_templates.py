"""`init --template`: what it writes is an experiment of the repository, under its new name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import tomli
from engine_process import here

from genesys_engine.engine.config.templates import TEMPLATES

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
SHIPPED = EXPERIMENTS.parent / "engine" / "config" / "shipped"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a key that nobody has")


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_is_valid_commented_and_the_repositorys(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert here("init", "--template", name, file).code == 0
    text = file.read_text(encoding="utf-8")
    origin = (SHIPPED / f"{name}.toml").resolve()
    assert origin.parent == EXPERIMENTS
    assert tomli.loads(text) == tomli.loads(origin.read_text(encoding="utf-8"))
    assert f"genesys-engine run {file}" in text
    assert f"experiments/{origin.name}" not in text
    assert len(re.findall(r"(?:^| )# ", text, re.M)) > 5
    # English text has to be fetched, once; the rest is as it was written.
    text_here = ("--set", "corpus.use=python-stdlib") if name == "ladder" else ()
    answer = json.loads(here("validate", file, *text_here, "--json").out)["data"]
    assert answer["valid"], answer["problems"]


def test_every_template_is_in_the_help_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    shown = here("init", "--help").out
    for name, about in TEMPLATES.items():
        assert name in shown
        assert about in shown
    refused = here("init", "--template", "quickstrat", tmp_path / "x.toml")
    assert refused.code == 2
    assert "did you mean 'quickstart'?" in refused.err
    assert not (tmp_path / "x.toml").exists()


def test_a_schema_next_to_the_file_is_named(tmp_path: Path) -> None:
    plain, named = tmp_path / "plain.toml", tmp_path / "named.toml"
    assert here("init", plain).code == 0
    (tmp_path / "experiment.schema.json").write_text(here("config", "schema").out)
    assert here("init", "--template", "quickstart", named).code == 0
    assert not plain.read_text().startswith("#:schema")
    assert named.read_text().startswith("#:schema experiment.schema.json\n# The first experiment")
    assert here("validate", named).code == 0


def test_the_default_experiment_knows_its_noise(tmp_path: Path) -> None:
    file = tmp_path / "every.toml"
    assert here("init", file).code == 0
    rung = tomli.loads(file.read_text())["ladder"]["rungs"][0]
    seeds, children = 5, 20
    assert rung["noise_seeds"] == 5
    assert rung["verifications"] == seeds + children + rung["noise_seeds"] - 1
