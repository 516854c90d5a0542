"""The grammar: how wide it is, what it promises about source, and how it draws."""

from __future__ import annotations

import ast
import random

import pytest

from genesys_engine.gab.errors import InputError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.operators import grammar

# Distinct units, by digest, among 300 draws: half of what was counted when this was written.
WIDTH = {
    "block": 55,
    "channel_mixer": 130,
    "gate": 80,
    "local_mixer": 70,
    "norm": 60,
    "position": 35,
    "recurrence": 30,
    "sequence_mixer": 145,
}


def test_the_grammar_speaks_every_known_interface() -> None:
    assert set(grammar.PRODUCTIONS) == set(INTERFACES) == set(WIDTH)


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_the_grammar_is_wide_and_a_name_says_what_a_unit_is(interface: str) -> None:
    rng = random.Random(interface)
    by_name: dict[str, str] = {}
    for _ in range(300):
        unit = grammar.write_unit(interface, rng)
        assert unit.interface == interface
        assert by_name.setdefault(unit.name, unit.digest) == unit.digest
    assert len(set(by_name.values())) == len(by_name) >= WIDTH[interface]


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_units_document_themselves(interface: str) -> None:
    rng = random.Random(0)
    for _ in range(40):
        source = grammar.write_source(interface, rng)
        assert max(map(len, source.splitlines())) <= 110
        unit = grammar.write_unit(interface, random.Random(rng.random()))
        assert "same shape." in unit.doc
        for parameter in unit.hyperparameters:
            assert parameter.default in parameter.choices
            assert len(set(parameter.choices)) > 1
            assert f"{parameter.name}: " in unit.doc
        assert all(slot.requirement for slot in unit.slots)


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_no_unit_loops_over_time(interface: str) -> None:
    rng = random.Random(1)
    for _ in range(60):
        tree = ast.parse(grammar.write_source(interface, rng))
        loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.While)]
        spoken = [ast.unparse(n).splitlines()[0] for n in loops]
        allowed = {"while step < length:", "for i, convolution in enumerate(self.stack):"}
        assert set(spoken) <= allowed


@pytest.mark.parametrize("interface", [i for i in grammar.PRODUCTIONS if i != "block"])
def test_leaves_have_no_slots(interface: str) -> None:
    rng = random.Random(2)
    assert all(not grammar.write_unit(interface, rng, leaf=True).slots for _ in range(100))


@pytest.mark.parametrize("interface", grammar.PRODUCTIONS)
def test_wrappers_have_a_slot_of_their_own_interface(interface: str) -> None:
    rng = random.Random(3)
    found = set()
    for _ in range(60):
        unit = grammar.write_wrapper(interface, rng)
        assert unit.slot("inner").interface == unit.interface == interface
        bare = grammar.write_wrapper(interface, rng, leaf=True)
        assert [slot.name for slot in bare.slots] == ["inner"]
        found.add(unit.name)
    assert len(found) >= 3


def test_an_unknown_interface_is_an_error_that_names_the_known() -> None:
    for write in (grammar.write_unit, grammar.write_wrapper):
        with pytest.raises(InputError, match="sequence_mixer"):
            write("telepathy", random.Random(0))
