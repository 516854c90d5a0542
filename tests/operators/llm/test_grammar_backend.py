"""The back end without a model: working units unless a fault is drawn, and faults that break."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.errors import InputError, UnitError
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Unit, parse_unit
from genesys_engine.operators.llm.grammar_backend import GrammarBackend, GrammarOptions, write
from genesys_engine.operators.llm.grammar_faults import FAULTS
from genesys_engine.plugins.api import LLMRequest
from genesys_engine.plugins.auditor.here import check_block
from genesys_engine.plugins.llm.replies import extract_code_blocks, parse_json_reply

RATING = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 2000},
        "score": {"type": "integer", "minimum": 0, "maximum": 5},
    },
    "required": ["reason", "score"],
}


def facts(unit: Unit, **more: Any) -> dict[str, Any]:
    return {
        "unit": unit.name,
        "source": unit.source,
        "interface": unit.interface,
        "slots": {slot.name: [slot.interface, slot.requirement] for slot in unit.slots},
        "inputs": list(unit.inputs),
        "outputs": list(unit.outputs),
        **more,
    }


def ask(purpose: dict[str, Any], seed: int = 0, schema: Any = None, **options: Any) -> Any:
    request = LLMRequest((("user", "Write."),), seed=seed, purpose=purpose, schema=schema)
    return GrammarBackend(GrammarOptions(**options)).complete(request)


def every_unit() -> list[Unit]:
    return [node.unit for name in library.seed_names() for node in library.seed(name)]


@pytest.mark.parametrize("unit", every_unit(), ids=lambda unit: unit.name)
def test_a_written_unit_keeps_the_contract(unit: Unit) -> None:
    for seed in range(4):
        made = parse_unit(write(facts(unit), random.Random(seed)))
        assert (made.name, made.interface) == (unit.name, unit.interface)
        assert made.slots == unit.slots
        assert made.digest != unit.digest


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("unit", every_unit(), ids=lambda unit: unit.name)
def test_a_fault_goes_into_any_unit(unit: Unit, fault: str) -> None:
    broken = FAULTS[fault](unit.source, random.Random(1))
    assert broken != unit.source
    compile(broken, "<unit>", "exec")


def passes(tree: GABTree) -> bool:
    return check_block(compose(tree), vocab_size=300, seed=1, scales=("0.2M",)).passed


def test_faults_break_a_block_and_working_units_do_not() -> None:
    tree = library.seed("retnet")
    place = next(
        p for p in tree.places() if p.node.unit.interface == "channel_mixer" and not p.node.arity
    )
    unit = place.node.unit
    good = write(facts(unit), random.Random(3))
    assert passes(tree.replace(place.index, grow(parse_unit(good))))
    for fault, put in FAULTS.items():
        try:
            broken = parse_unit(put(good, random.Random(1)))
        except UnitError:
            continue  # the contract refuses it already
        assert not passes(tree.replace(place.index, grow(broken))), fault


def test_faults_come_as_often_as_they_were_set() -> None:
    unit = every_unit()[1]
    drawn: Counter[str] = Counter()
    for seed in range(600):
        reply = ask(facts(unit, role="coder"), seed, faults={"leak": 0.2, "cut": 0.1})
        drawn.update(reply.details["faults"] or ["none"])
    assert abs(drawn["leak"] / 600 - 0.2) < 0.05
    assert abs(drawn["cut"] / 600 - 0.1) < 0.04
    assert set(drawn) == {"leak", "cut", "none"}


def test_a_cut_reply_and_prose_look_like_such() -> None:
    unit = every_unit()[1]
    cut = ask(facts(unit, role="coder"), faults={"cut": 1.0})
    assert cut.details["finish_reason"] == "length"
    assert cut.text.count("```") == 1
    prose = ask(facts(unit, role="coder"), faults={"prose": 1.0})
    assert extract_code_blocks(prose.text) == []
    same = ask(facts(unit, role="coder"), faults={"unchanged": 1.0})
    assert parse_unit(extract_code_blocks(same.text)[0]).digest == unit.digest


def test_a_whole_block_has_one_block_of_code_for_each_unit() -> None:
    units = {unit.name: unit for unit in (node.unit for node in library.seed("gpt"))}
    first = next(iter(units))
    asked = [facts(u, change="Scale it." if name == first else "") for name, u in units.items()]
    blocks = extract_code_blocks(ask({"role": "coder", "units": asked}).text)
    made = [parse_unit(block) for block in blocks]
    assert [unit.name for unit in made] == list(units)
    changed = [unit.name for unit in made if unit.digest != units[unit.name].digest]
    assert changed == [first]


def test_equal_requests_have_equal_replies() -> None:
    purpose = facts(every_unit()[1], role="coder")
    assert ask(purpose, 3) == ask(purpose, 3)
    assert ask(purpose, 3).text != ask(purpose, 4).text


def test_ratings_follow_the_schema_and_the_approval() -> None:
    purpose = {"role": "observer"}
    for approval, fits in ((1.0, range(4, 6)), (0.0, range(3))):
        for seed in range(20):
            reply = ask(purpose, seed, RATING, approval=approval)
            assert parse_json_reply(reply.text, RATING)["score"] in fits


def test_a_proposal_names_paths_that_exist() -> None:
    change = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "changes": {"type": "array", "items": {"$ref": "#/$defs/Change"}, "minItems": 1},
        },
        "$defs": {"Change": change},
    }
    paths = ["root.mixer", "root.mlp", "root.norm"]
    for seed in range(10):
        said = json.loads(ask({"role": "proposer", "paths": paths}, seed, schema).text)
        named = [entry["path"] for entry in said["changes"]]
        assert set(named) <= set(paths)
        assert len(set(named)) == len(named)


def test_what_cannot_be_written_is_reported() -> None:
    with pytest.raises(InputError, match="interface 'telepathy'"):
        write({"unit": "X", "interface": "telepathy"}, random.Random(0))


@pytest.mark.parametrize("faults", [{"leek": 0.1}, {"leak": 0.7, "cut": 0.5}, {"leak": -0.1}])
def test_wrong_rates_are_refused(faults: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        GrammarOptions(faults=faults)
