"""The sections [llm] and [knowledge] of an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genesys_engine.engine.config import ConfigError, Experiment, load_experiment
from genesys_engine.engine.config.template import to_toml
from genesys_engine.engine.llm.backends import model_name
from genesys_engine.plugins.host import PluginHost

FULL = """
[llm]
use = "litellm"
model = "openai/some"
api_base = "http://127.0.0.1:1/v1"
concurrency = 2
requests_per_minute = 60.0
[llm.roles.coder]
model = "openai/other"
[llm.roles.observer]
use = "scripted"
replies = ["yes"]
[budget]
llm_tokens = 1000
llm_usd = 2.5
"""


def load(tmp_path: Path, text: str, *sets: str) -> Experiment:
    file = tmp_path / "trial.toml"
    file.write_text(text)
    return load_experiment(file, sets)


def test_there_is_no_model_unless_asked_for(tmp_path: Path) -> None:
    read = load(tmp_path, "")
    assert read.llm is None
    assert "llm" not in read.to_json()


def test_roles_inherit_what_they_do_not_change(tmp_path: Path) -> None:
    llm = load(tmp_path, FULL).llm
    assert llm is not None
    coder, observer = llm.roles["coder"], llm.roles["observer"]
    assert (coder.use, coder.options["model"]) == ("litellm", "openai/other")
    assert coder.options["api_base"] == "http://127.0.0.1:1/v1"
    assert (observer.use, observer.options["replies"]) == ("scripted", ["yes"])
    assert llm.options["model"] == "openai/some"
    assert "concurrency" not in llm.options


def test_it_is_written_and_read_back_the_same(tmp_path: Path) -> None:
    read = load(tmp_path, FULL)
    again = load(tmp_path, to_toml(read))
    assert again.to_json() == read.to_json()
    assert again.digest == read.digest


def test_the_digest_holds_the_model_and_neither_address_nor_rates(tmp_path: Path) -> None:
    digest = load(tmp_path, FULL).digest
    for same in (
        'llm.api_base="http://127.0.0.1:2/v1"',
        "llm.concurrency=7",
        "llm.give_up_after_s=1.5",
        "budget.llm_tokens=5",
        'llm.roles.coder.api_base="http://127.0.0.1:3/v1"',
    ):
        assert load(tmp_path, FULL, same).digest == digest, same
    for other in (
        'llm.model="openai/third"',
        'llm.roles.coder.model="openai/third"',
        'llm.roles.planner.model="openai/third"',
        "llm.extra={top_p = 0.5}",
    ):
        assert load(tmp_path, FULL, other).digest != digest, other


def test_a_file_is_known_by_its_digest_and_by_its_path_only_without(tmp_path: Path) -> None:
    def known_as(path: str, sha256: str) -> tuple[str, str]:
        read = load(tmp_path, f'[llm]\nuse = "llama_cpp"\npath = "{path}"\nsha256 = "{sha256}"\n')
        assert read.llm is not None
        return read.digest, model_name(PluginHost().registry, read.llm)

    assert known_as("here.gguf", "ab" * 32) == known_as("there.gguf", "ab" * 32)
    assert known_as("here.gguf", "ab" * 32) != known_as("here.gguf", "cd" * 32)
    assert known_as("here.gguf", "") != known_as("there.gguf", "")


def test_every_fault_is_told_with_its_place(tmp_path: Path) -> None:
    text = """
[llm]
use = "litellm"
modell = "openai/some"
[llm.roles.coder]
use = "litelm"
[llm.roles.poet]
use = "scripted"
replies = ["yes"]
"""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    told = str(caught.value)
    for part in ("modell", "llm_backend 'litelm'", "role 'poet'", "'litellm'?"):
        assert part in told
    assert "trial.toml:4:" in told
    assert "trial.toml:7:" in told


def test_a_role_alone_names_its_own_fault(tmp_path: Path) -> None:
    text = FULL.replace('model = "openai/other"', "json_schema = 3")
    with pytest.raises(ConfigError, match=r"trial.toml:9:\d+: .*json_schema"):
        load(tmp_path, text)


def test_no_key_stands_in_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keys come from the environment"):
        load(tmp_path, FULL, 'llm.extra={api_key = "sk-secret"}')
    with pytest.raises(ConfigError, match="api_key"):
        load(tmp_path, FULL, 'llm.api_key="sk-secret"')


def test_a_knowledge_base_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    read = load(tmp_path, '[knowledge]\nbase = "mine"')
    assert read.knowledge.base == str(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"no knowledge base at .*/nowhere"):
        load(tmp_path, '[knowledge]\nbase = "nowhere"')


def test_the_schema_knows_the_section(tmp_path: Path) -> None:
    from jsonschema import Draft202012Validator

    from genesys_engine.engine.config.json_schema import experiment_schema
    from genesys_engine.plugins.host import PluginHost

    schema = json.loads(json.dumps(experiment_schema(PluginHost().registry)))
    validator = Draft202012Validator(schema)
    assert list(validator.iter_errors(load(tmp_path, FULL).to_json())) == []
    assert list(validator.iter_errors({"llm": {"use": "litellm"}}))
    assert list(validator.iter_errors({"llm": {"use": "scripted", "replies": ["a"], "x": 1}}))


ASKS = """
[llm]
use = "scripted"
replies = ["yes"]
[[operators]]
use = "llm_mutation"
"""


def test_an_operator_that_asks_is_refused_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        load(tmp_path, '[[operators]]\nuse = "llm_mutation"\n')
    (problem,) = told.value.problems
    assert "[llm]" in problem.message
    assert problem.place.line == 2
    assert load(tmp_path, ASKS).operators[0].use == "llm_mutation"


@pytest.mark.parametrize("option", ['implementer = "gpp"', 'prompts = "no/such/folder"'])
def test_what_an_asking_operator_cannot_use_is_told_before_a_run(
    tmp_path: Path, option: str
) -> None:
    with pytest.raises(ConfigError) as told:
        load(tmp_path, f"{ASKS}{option}\n")
    assert len(told.value.problems) == 1
