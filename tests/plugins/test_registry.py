"""The registry and the way from a description to an instance."""

import json
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins import targets
from genesys_engine.plugins.api import Options
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.registry import KINDS, Description, Registry, suggest


class Dial(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    level: int = Field(3, ge=1)
    marks: tuple[float, ...] = ()


class Tuned:
    Options = Dial

    def __init__(self, options: Dial, *, workers: int = 1) -> None:
        self.options, self.workers = options, workers


class Plain:
    def __init__(self, workers: int = 1) -> None:
        self.workers = workers


HERE = __name__


def describe(name: str = "tuned", **changes: Any) -> Description:
    values: dict[str, Any] = {"kind": "selector", "target": f"{HERE}:Tuned", "summary": ""}
    values |= {"distribution": "dist-a", "version": "1", **changes}
    return Description(name=name, **values)


def test_options_come_from_the_class_or_are_declared() -> None:
    assert describe().options_model() is Dial
    assert describe(target=f"{HERE}:Plain").options_model() is None
    assert describe(target=f"{HERE}:Plain", options=f"{HERE}:Dial").options_model() is Dial
    assert describe(target=f"{HERE}:Plain", options=f"{HERE}:Tuned.Options").options_model() is Dial


def test_create_hands_over_validated_options_and_services() -> None:
    made = describe().create({"level": 5, "marks": [1, 2.5]}, workers=7)
    assert (made.options, made.workers) == (Dial(level=5, marks=(1.0, 2.5)), 7)
    assert describe(target=f"{HERE}:Plain").create({}, workers=2).workers == 2
    assert targets.build(f"{HERE}:Tuned", {"level": 4}).options.level == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "5"}, "level: Input should be a valid integer"),
        ({"level": 0}, "greater than or equal to 1"),
        ({"lvel": 2}, "lvel: Extra inputs"),
    ],
)
def test_wrong_options_are_refused_strictly(options: dict[str, object], said: str) -> None:
    with pytest.raises(PluginError, match=said):
        describe().create(options)


def test_a_component_without_options_takes_none() -> None:
    with pytest.raises(PluginError, match="level: Extra inputs"):
        describe(target=f"{HERE}:Plain").create({"level": 1})
    with pytest.raises(ValidationError):
        targets.read_options(None, {"level": 1})


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("genesys_engine.nowhere:Thing", "ModuleNotFoundError"),
        (f"{HERE}:Nothing", "no attribute 'Nothing'"),
        (f"{HERE}.Tuned", "not of the form"),
    ],
)
def test_a_target_that_cannot_be_imported(target: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        targets.load_target(target)


def test_options_that_are_no_model_are_refused() -> None:
    with pytest.raises(PluginError, match="not a pydantic model"):
        describe(options=f"{HERE}:Plain").options_model()


def test_unknown_names_get_near_ones_and_say_what_is_missing() -> None:
    registry = Registry()
    registry.register(describe("quadrant"), describe("random"))
    registry.note_absent("plugin 'x' of dist-b 2 is broken: import: boom")
    with pytest.raises(PluginError) as caught:
        registry.get("selector", "quadrent")
    assert caught.value.message == "unknown selector 'quadrent'"
    hint = caught.value.hint
    assert hint == "did you mean 'quadrant'?; plugin 'x' of dist-b 2 is broken: import: boom"
    with pytest.raises(PluginError, match="there is quadrant, random"):
        registry.get("selector", "zzz")
    with pytest.raises(PluginError, match="there is none"):
        registry.get("trainer", "quadrant")  # names belong to a kind


def test_a_collision_names_both_and_gives_the_name_to_neither() -> None:
    registry = Registry()
    registry.register(describe("one"))
    later = describe("one", distribution="dist-b", version="2")
    with pytest.raises(PluginError, match=r"registered twice: by dist-a 1 and by dist-b 2"):
        registry.register(describe("other", distribution="dist-b"), later)
    assert registry.names("selector") == ("one",)  # all of a plugin's components, or none
    with pytest.raises(PluginError, match=r"dist-a 1 and by dist-b 2") as caught:
        registry.get("selector", "one")
    assert caught.value.hint is not None
    assert '[plugins] disable = ["dist-b"]' in caught.value.hint


def test_unknown_kind() -> None:
    with pytest.raises(PluginError, match="did you mean 'selector'"):
        Registry().register(describe(kind="selecter"))


def test_descriptions_are_sorted_and_json() -> None:
    registry = Registry()
    registry.register(describe("b"), describe("a"), describe("z", kind="executor"))
    listed = registry.descriptions()
    assert [(d.kind, d.name) for d in listed] == [
        ("executor", "z"),
        ("selector", "a"),
        ("selector", "b"),
    ]
    assert json.loads(json.dumps(listed[0].to_json()))["target"] == f"{HERE}:Tuned"


def test_suggest() -> None:
    assert suggest("wrkers", ["workers", "name"]) == "did you mean 'workers'?"
    assert suggest("QUADRANT", ["quadrant"]) == "did you mean 'quadrant'?"
    assert suggest("x", []) == "there is none"


def test_listing_the_built_ins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from genesys_engine.plugins.host import PluginHost\n"
        "names = [d.name for d in PluginHost().registry.descriptions()]\n"
        "assert 'quadrant' in names and 'torch' in names, names\n"
        "heavy = {'torch', 'pydantic', 'deap', 'numpy', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    commands.run([sys.executable, "-c", code], check=True)


REQUIRED = {
    "web": {"url": "http://127.0.0.1/"},  # there is no endpoint by default
    "litellm": {"model": "openai/some"},
    "llama_cpp": {"path": "some.gguf"},
    "replay": {"path": "some.jsonl"},
    "scripted": {"replies": ["yes"]},
}


def test_options_reach_a_worker_as_json() -> None:
    for described in PluginHost().registry.descriptions():
        if (model := described.options_model()) is None:
            continue
        read = targets.read_options(model, REQUIRED.get(described.name, {}))
        assert read is not None
        sent = json.loads(json.dumps(read.model_dump(mode="json")))
        assert targets.read_options(model, sent) == read, described


def test_every_built_in_can_be_imported_and_made_from_its_defaults(tmp_path: Path) -> None:
    for described in PluginHost().registry.descriptions():
        model = described.options_model()
        assert model is None or issubclass(model, Options), described
        if described.kind == "report_section":
            assert callable(targets.load_target(described.target))  # a function of the store
        elif described.kind in ("executor", "tracker"):  # they start processes, and open services
            assert isinstance(targets.load_target(described.target), type)
        else:
            services = {"cache": tmp_path} if described.kind == "knowledge_source" else {}
            made = described.create(REQUIRED.get(described.name, {}), **services)
            assert type(made).__name__ == described.target.partition(":")[2]


def test_every_kind_has_its_hook() -> None:
    from genesys_engine.plugins import hookspecs

    hooks = {name for name in vars(hookspecs) if name.startswith("genesys_register_")}
    assert set(KINDS.values()) == hooks


@pytest.mark.parametrize("name", ["torch", "hf"])
def test_options_of_a_trainer_are_read_back_from_what_a_run_keeps(name: str) -> None:
    registry = PluginHost().registry
    model = registry.get("trainer", name).options_model()
    assert model is not None
    options = targets.read_options(model, {})
    assert options is not None
    assert targets.read_options(model, options.model_dump(mode="json")) == options
