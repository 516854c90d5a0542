"""docs/experiment.md is what docs/experiment_page.py writes, and what it writes is true."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import tomli
from engine_process import here
from jsonschema import Draft202012Validator
from pydantic import Field, create_model

from genesys_engine.engine.config import Experiment, load_experiment
from genesys_engine.engine.config.schema import LLMSection

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("experiment_page", DOCS / "experiment_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "experiment.md").read_text(encoding="utf-8")


def test_the_page_is_current(writer: ModuleType, page: str) -> None:
    assert page == writer.page(), "write it again: python docs/experiment_page.py"


def test_every_section_has_a_heading(page: str) -> None:
    assert re.findall(r"^## `\[+(\w+)\]+`$", page, re.M) == list(Experiment.model_fields)


def test_the_defaults_on_the_page_are_those_of_an_empty_file(page: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text("")
    told = load_experiment(file).to_json()
    told["llm"] = LLMSection(use="litellm").to_json()  # the one section that has no default
    sections = re.split(r"^## `\[+(\w+)\]+`$", page, flags=re.M)[1:]
    checked = 0
    for name, text in zip(sections[::2], sections[1::2], strict=True):
        own = text.split("\n### ")[0].split("Options of every")[0]
        for key, default in re.findall(r"^\| `(\w+)` \|[^|]+\| `(.+?)` \|", own, re.M):
            table = told[name][0] if isinstance(told[name], list) else told[name]
            assert tomli.loads(f"value = {default}")["value"] == table[key], (name, key)
            checked += 1
    assert checked > 20


def test_a_key_without_description_is_refused(writer: ModuleType) -> None:
    model = create_model("Bare", level=(int, Field(default=3, ge=1, lt=9)))
    with pytest.raises(ValueError, match="'level' has no description"):
        writer.row("level", model.model_fields["level"])


def test_a_row_tells_type_limits_default_and_meaning(writer: ModuleType) -> None:
    field = Field(default=3, ge=1, lt=1 << 20, description="how loud | how far")
    model = create_model("Dial", level=(int | None, field))
    row = writer.row("level", model.model_fields["level"])
    assert row == r"| `level` | integer ≥ 1, < 1048576 | `3` | how loud \| how far |"


# --- the JSON Schema -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    found = json.loads((DOCS / "experiment.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def test_the_schema_is_current(writer: ModuleType) -> None:
    written = (DOCS / "experiment.schema.json").read_text(encoding="utf-8")
    assert written == writer.schema(), "write it again: python docs/experiment_page.py"
    assert written == here("config", "schema").out


@pytest.mark.parametrize("file", sorted((DOCS.parent / "experiments").glob("*.toml")), ids=str)
def test_the_schema_takes_every_experiment_of_the_repository(
    schema: Draft202012Validator, file: Path
) -> None:
    assert list(schema.iter_errors(tomli.loads(file.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('[population]\nseeds = "gpt"\nfrom = "runs/one"', True),
        ('[[operators]]\nuse = "removal"\nweight = 2.0', True),
        ('[fitness]\nmetric = ["a", "b"]', True),
        ("[run]\nsead = 1", False),
        ('[selection]\nuse = "quadrent"', False),
        ("[trainer]\ncompile = 5", False),
        ("[[ladder.rungs]]\nverifications = 5", False),
        ("[nothing]\nx = 1", False),
    ],
)
def test_the_schema_agrees_with_what_reads_the_file(
    schema: Draft202012Validator, text: str, *, valid: bool
) -> None:
    assert (not list(schema.iter_errors(tomli.loads(text)))) is valid
