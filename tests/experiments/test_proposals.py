import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from experiments.catalogue import draw
from experiments.catalogue.draw import STRATA, make_proposals, write_proposals
from genesys_engine.engine.compare.proposals import read_proposals
from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError

COMMITTED = Path(__file__).parents[2] / "experiments" / "proposals"


def test_the_proposals_of_the_repository_are_those_that_are_drawn():
    assert read_proposals(COMMITTED) == make_proposals(1, 6)
    assert read_proposals(COMMITTED / "seven") == make_proposals(1, 40, (7,))


def test_strata_are_equal_in_number_and_alternate():
    drawn = make_proposals(5, 6)
    assert Counter(each.stratum for each in drawn) == dict.fromkeys(STRATA, 6)
    assert [each.stratum for each in drawn[:8]] == [*STRATA, *STRATA]


def test_a_proposal_changes_distinct_units_that_its_parent_has():
    for each in make_proposals(2, 8):
        places = {place.path: place.node for place in library.seed(each.parent).places()}
        units = [places[change.path].unit.digest for change in each.proposal.changes]
        assert len(set(units)) == len(units) == each.stratum


def test_parents_take_turns_in_every_stratum():
    for units in STRATA:
        parents = {p.parent for p in make_proposals(1, 6) if p.stratum == units}
        assert len(parents) == 5


def test_other_seeds_draw_others():
    assert make_proposals(1, 3) == make_proposals(1, 3) != make_proposals(2, 3)


def test_too_many_units_are_refused():
    with pytest.raises(InputError, match="no seed has 9 distinct units"):
        make_proposals(1, 1, (9,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(parent="gtp"), "no seed 'gtp'"),
        (lambda data: data["proposal"]["changes"][0].update(path="root.nose"), "no unit at"),
        (lambda data: data.update(units_changed=4), "`units_changed` is 4"),
        (lambda data: data["proposal"].pop("title"), "not a proposal"),
        (lambda data: data["proposal"]["changes"].reverse(), "order of the tree"),
        (lambda data: data["proposal"].update(changes=[]), "one unit or more"),
        (lambda data: data.update(format=9), "in format 9"),
    ],
)
def test_faults_in_a_file_are_reported_with_its_name(tmp_path, change, message):
    write_proposals(make_proposals(1, 1, (2,)), tmp_path)
    path = next(tmp_path.glob("*.json"))
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as caught:
        read_proposals(tmp_path)
    assert caught.value.where == str(path)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no proposals"):
        read_proposals(tmp_path)


@pytest.mark.parametrize("words", [["--units", "12"], ["--units", "0"], ["--each", "0"]])
def test_a_draw_that_is_impossible_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["draw", str(tmp_path / "drawn"), *words])
    with pytest.raises(SystemExit) as ended:
        draw.main()
    assert ended.value.code == 2
    assert not (tmp_path / "drawn").exists()
