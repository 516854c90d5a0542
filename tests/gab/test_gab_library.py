"""The library's loader: every unit and every seed by name, read once, errors that help."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.interfaces import INTERFACES
from genesys_engine.gab.scales import TOLERANCE, fit_scale, get_scale
from genesys_engine.gab.tree import GABTree

SEEDS = ("gpt", "mamba2", "retnet", "rwkv6", "ttt")


def test_every_file_is_a_unit_of_a_known_interface_under_its_own_name():
    files = Path(library.__file__).parent.glob("units/[a-z]*.py")
    assert library.unit_names() == tuple(sorted(file.stem for file in files))
    every = library.units()
    assert len({unit.name for unit in every}) == len(every) == len(library.unit_names())
    assert {unit.interface for unit in every} <= set(INTERFACES)
    assert len({unit.digest for unit in every}) == len(every)


def test_units_are_listed_by_interface_in_the_order_of_their_names():
    norms = library.units("norm")
    assert [unit.interface for unit in norms] == ["norm"] * len(norms)
    assert len(norms) >= 2
    names = [unit.name for unit in library.units()]
    assert names == sorted(names)
    assert library.units("no such") == ()


def test_every_slot_of_the_library_can_be_filled_from_the_library():
    for unit in library.units():
        for slot in unit.slots:
            assert library.units(slot.interface), (unit.name, slot.name)


def test_units_and_seeds_are_read_once():
    assert library.unit("rms_norm") is library.unit("rms_norm")
    assert library.seed("gpt") is library.seed("gpt")


@pytest.mark.parametrize(("call", "name"), [(library.unit, "rmsnorm"), (library.seed, "gtp")])
def test_an_unknown_name_is_answered_with_near_ones(call, name):
    with pytest.raises(InputError, match="did you mean"):
        call(name)
    with pytest.raises(InputError, match="known: "):
        call("zzzzzz")


def test_a_name_is_never_a_path():
    with pytest.raises(InputError):
        library.unit("../seeds")


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_whole_reads_back_and_fits_every_scale(name):
    assert library.seed_names() == SEEDS
    tree = library.seed(name)
    tree.validate()
    assert 4 <= len(tree.units()) <= 8
    assert GABTree.from_json(tree.to_json()).digest == tree.digest
    block = load_block(compose(tree))
    for scale in ("0.2M", "1M", "4M", "14M", "350M", "1300M"):
        assert abs(fit_scale(block, get_scale(scale), 2048).ratio - 1) <= TOLERANCE


def test_the_folder_of_units_does_not_hide_the_function() -> None:
    importlib.import_module("genesys_engine.gab.library.units.rms_norm")
    assert callable(library.units)
