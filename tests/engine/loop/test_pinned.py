"""A design that a person pins is promoted first; the log stays that of any number of workers."""

import pytest
from recorded_run import Trial

from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.engine.store.run_store import Store


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run without a pin: a request for what is no design is passed over."""
    trial = Trial(tmp_path_factory.mktemp("pins") / "plain")
    trial.go(pins=lambda: [99_999])
    return trial


@pytest.fixture(scope="module")
def loser(plain):
    """The child that is last of those that did not climb."""
    with Store.open(plain.folder) as store:
        return [row for row in store.leaderboard() if row.rung == 0 and row.parents][-1].id


@pytest.fixture(scope="module")
def pinned(plain, loser):
    trial = Trial(plain.folder.with_name("pinned"))
    trial.go(pins=lambda: [loser])
    return trial


def climbed(trial):
    return [each["design"] for each in trial.events("verification.started") if each["rung"] == 1]


def test_a_pinned_design_climbs_before_others(plain, loser, pinned):
    assert plain.events("design.pinned") == []
    assert loser not in climbed(plain)
    assert pinned.events("design.pinned") == [{"design": loser}]
    assert loser in climbed(pinned)
    assert pinned.digest() != plain.digest()


def test_the_log_with_a_pin_is_the_same_for_any_number_of_workers(loser, pinned):
    alone = Trial(pinned.folder.with_name("alone"), workers=1)
    alone.go(pins=lambda: [loser])
    assert alone.digest() == pinned.digest()


def test_a_pin_outlives_an_interruption_and_enters_the_log_once(loser, pinned):
    parts = Trial(pinned.folder.with_name("parts"))
    with pytest.raises(Stopped):
        parts.go(lambda: "stop" if parts.events("design.pinned") else None, pins=lambda: [loser])
    assert loser not in climbed(parts)
    evolution = parts.go()  # nobody asks again
    assert evolution.state.pinned == {loser}
    assert parts.digest() == pinned.digest()
