import re
import time

import pytest
from study_support import World, changed, check, passing, section, with_limit

from experiments.catalogue.draw import make_proposals
from genesys_engine.engine.compare.implementation import failure_of
from genesys_engine.engine.compare.implementation_summary import summarise
from genesys_engine.engine.compare.page import render_page
from genesys_engine.engine.compare.results import Implemented
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.compare.summary import tables
from genesys_engine.engine.jobs.design_report import DesignReport
from genesys_engine.engine.loop.evolution import Stopped
from genesys_engine.gab.checks.report import Finding
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import BudgetSpent, LLMInterrupted


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def by_key(store):
    return {(result.item, result.arm): result.made for result in store.results(Implemented)}


# --- the measure -------------------------------------------------------------------------------


def test_a_design_counts_only_if_every_named_unit_is_changed():
    proposal = make_proposals(1, 1, (2,))[0]
    first, second = (change.path for change in proposal.proposal.changes)
    half = changed(proposal.tree(), first)
    assert failure_of(half, "", proposal, check) == "faithful.syntax"
    assert failure_of(changed(half, second), "", proposal, check) == ""
    assert failure_of(None, "reply.empty", proposal, check) == "reply.empty"


def test_a_design_that_fails_the_check_does_not_count_whatever_the_arm_says():
    proposal = make_proposals(1, 1, (1,))[0]
    tree = changed(proposal.tree(), proposal.proposal.changes[0].path)
    failing = DesignReport.refused(Finding("causality.leak", "error", "It reads the future.", ""))
    assert failure_of(tree, "", proposal, lambda tree: failing) == "causality.leak"


def test_a_change_of_syntax_alone_does_not_count():
    proposal = make_proposals(1, 1, (1,))[0]
    tree = changed(proposal.tree(), proposal.proposal.changes[0].path)
    same = passing("ab")
    assert failure_of(tree, "", proposal, lambda tree: same) == "faithful.function"


# --- order and cost ----------------------------------------------------------------------------


def test_work_goes_proposal_by_proposal_and_arms_with_fewer_come_last(world, tmp_path):
    arms = world.arms(direct=(1, 0), gp=(1, 9), extra=(1, 9))
    compare = section(with_limit(arms, "extra", 1), equal_to="gp")
    store, proposals = world.run(tmp_path / "study", compare)
    names = [each.name for each in proposals]
    assert [(result.item, result.arm) for result in world.told] == [
        (names[0], "gp"), (names[0], "direct"), (names[1], "gp"), (names[1], "direct"),
        (names[0], "extra"),
    ]  # fmt: skip
    store.close()


def test_an_arm_may_get_proposals_by_name(world, tmp_path):
    arms = world.arms(gp=(1, 9), extra=(1, 9))
    names = [each.name for each in make_proposals(1, 2, (1, 2))]
    compare = section(with_limit(arms, "extra", (names[3], names[1])))
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2)
    assert [key for key in by_key(store) if key[1] == "extra"] == [
        (names[1], "extra"), (names[3], "extra")
    ]  # fmt: skip
    data = summarise(compare, proposals, store.results(Implemented))
    assert [(arm.n, arm.planned) for arm in data.arms] == [(4, 4), (2, 2)]
    assert data.complete
    store.close()


def test_a_proposal_that_there_is_not_is_reported_with_a_near_one(world, tmp_path):
    arms = with_limit(world.arms(gp=(1, 9)), "gp", ("01-1-gqt",))
    with pytest.raises(InputError, match="proposal '01-1-gqt'") as told:
        world.run(tmp_path / "study", section(arms))
    assert "01-1-gpt" in told.value.hint
    assert "arm gp" in told.value.where


def test_whole_budget_arms_get_what_the_other_used_on_that_proposal(world, tmp_path):
    arms = world.arms(gp=(4, 9), direct=(1, 0), best_of_n=(99, 0), sequential=(99, 0))
    compare = section(arms, equal_to="gp", proposal_tokens=2000)
    store, _ = world.run(tmp_path / "study", compare)
    assert set(world.caps) == {
        ("gp", 2000), ("direct", 2000), ("best_of_n", 400), ("sequential", 400)
    }  # fmt: skip
    used = {arm: made.used.tokens for (_, arm), made in by_key(store).items()}
    assert used == {"gp": 400, "direct": 100, "best_of_n": 400, "sequential": 400}
    store.close()


def test_arms_draw_alike_on_a_proposal_and_not_on_the_next(world, tmp_path):
    arms = world.arms(gp=(1, 9), direct=(1, 0))
    store, _ = world.run(tmp_path / "study", section(arms))
    assert world.draws["gp"] == world.draws["direct"]
    assert len(set(world.draws["gp"])) == 2
    store.close()


@pytest.mark.parametrize(
    ("cap", "name"), [({"tokens": 250}, "compare.tokens"), ({"usd": 0.25}, "compare.usd")]
)
def test_an_arm_ends_at_its_cap_and_the_others_continue(monkeypatch, tmp_path, cap, name):
    world = World(monkeypatch, price=0.1)
    arms = world.arms(gp=(3, 9), direct=(1, 0))
    compare = section(arms, **cap)
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2)
    data = summarise(compare, proposals, store.results(Implemented))
    gp, direct = data.arms
    assert (gp.n, gp.planned, gp.cap) == (1, 4, name)
    assert direct.n == 3  # it reaches its cap later
    assert not data.complete
    store.close()


def capped(store, compare, proposals):
    return summarise(compare, proposals, store.results(Implemented), cut=store.cut()).arms


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("cap", "more"),
    [
        ({"tokens": 500}, {"tokens": 10_000}),
        ({"usd": 0.5}, {"usd": 10.0}),
        ({"wall_hours": 0.5 / 3600}, {"wall_hours": 1.0}),
    ],
)
def test_a_cap_stops_an_arm_within_one_call_and_leaves_no_failure(monkeypatch, tmp_path, cap, more):
    """Ten calls for a proposal cost 1000 tokens, 1 dollar and a second."""
    world = World(monkeypatch, price=0.1)
    world.on_ask = lambda task: time.sleep(0.1) if task.endswith("gp") else None
    arms = world.arms(gp=(10, 9), direct=(1, 0))
    (name,) = cap
    store, proposals = world.run(tmp_path / "study", section(arms, **cap))
    least = 1 if name == "wall_hours" else 4  # a busy machine needs longer for a call
    assert least <= world.asked[f"{proposals[0].name}/gp"] <= 6
    assert world.asked[f"{proposals[1].name}/gp"] == 0
    gp, direct = capped(store, section(arms, **cap), proposals)
    assert (gp.n, gp.cap, direct.n) == (0, f"compare.{name}", 2)
    store.close()
    # The same cap allows nothing more; a higher one lets it go on.
    calls = world.asked[f"{proposals[0].name}/gp"]
    world.run(tmp_path / "study", section(arms, **cap))[0].close()
    if name == "wall_hours":
        assert world.asked[f"{proposals[0].name}/gp"] == calls
    store, _ = world.run(tmp_path / "study", section(arms, **more))
    gp, direct = capped(store, section(arms, **more), proposals)
    assert (gp.n, gp.valid, gp.cap) == (2, 2, None)
    store.close()


@pytest.mark.timeout(60)
def test_whole_budget_arms_end_where_the_one_that_they_equal_was_ended(world, tmp_path):
    arms = world.arms(gp=(4, 9), best_of_n=(99, 0))
    compare = section(arms, equal_to="gp", tokens=600)
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2)
    gp, best = capped(store, compare, proposals)
    assert (gp.n, gp.cap) == (1, "compare.tokens")
    assert best.n == 1
    store.close()


def test_under_a_cap_an_arm_works_on_one_proposal_at_a_time(world, tmp_path):
    under_way: set[str] = set()
    together = []

    def note(task):
        arm = task.rpartition("/")[2]
        together.append(arm in under_way)
        under_way.add(arm)
        time.sleep(0.02)
        under_way.discard(arm)

    world.on_ask = note
    arms = world.arms(gp=(1, 9), direct=(1, 0))
    compare = section(arms, tokens=10_000)
    store, _ = world.run(tmp_path / "study", compare, per_stratum=3, threads=4)
    assert len(together) == 12
    assert not any(together)
    store.close()


# --- stopping and going on ---------------------------------------------------------------------


def test_nothing_that_is_recorded_is_done_again(world, tmp_path):
    arms = world.arms(gp=(1, 9), direct=(1, 0))
    compare = section(arms)

    def stop():
        return "interrupted" if len(world.told) == 2 else None

    with pytest.raises(Stopped, match="interrupted"):
        world.run(tmp_path / "study", compare, should_stop=stop)
    world.run(tmp_path / "study", compare)[0].close()
    assert set(world.asked.values()) == {1}
    assert len(world.asked) == 4


def test_a_budget_of_the_whole_study_stops_it_and_leaves_no_result(world, tmp_path):
    def spend(task):
        if len(world.asked) == 2:
            raise BudgetSpent("budget.llm_tokens")

    world.on_ask = spend
    compare = section(world.arms(gp=(1, 9), direct=(1, 0)))
    with pytest.raises(Stopped, match=r"budget\.llm_tokens"):
        world.run(tmp_path / "study", compare)
    assert len(world.told) == 1
    world.on_ask = None
    store, proposals = world.run(tmp_path / "study", compare)
    assert len(by_key(store)) == 2 * len(proposals)
    store.close()


@pytest.mark.parametrize("fault", [LLMInterrupted, BudgetSpent])
def test_the_time_of_what_was_interrupted_is_not_lost(world, tmp_path, fault):
    """Two arms are under way for 0.2 s when they are interrupted, twice."""

    def stop(task):
        time.sleep(0.2)
        raise fault(task)

    world.on_ask = stop
    arms = world.arms(gp=(1, 9), direct=(1, 0))
    used = []
    for _ in range(2):
        with pytest.raises(Stopped):
            world.run(tmp_path / "study", section(arms, wall_hours=1.0), threads=2)
        with StudyStore.open(tmp_path / "study") as store:
            used.append({arm: cut.seconds for arm, cut in store.cut().items()})
    assert used[0].keys() == used[1].keys() == {"gp", "direct"}
    assert all(0.2 <= used[0][arm] <= used[1][arm] - 0.2 for arm in used[0])
    world.on_ask = None
    calls, compare = world.asked.total(), section(arms, wall_hours=0.4 / 3600)
    store, proposals = world.run(tmp_path / "study", compare)
    assert world.asked.total() == calls
    assert [(arm.n, arm.cap) for arm in capped(store, compare, proposals)] == [
        (0, "compare.wall_hours"), (0, "compare.wall_hours"),
    ]  # fmt: skip
    store.close()


# --- what it shows -----------------------------------------------------------------------------


def test_the_summary_counts_rates_strata_failures_and_repairs(world, tmp_path):
    # Two units changed satisfy strata 1 and 2 and fall short of 3.
    arms = world.arms(gp=(2, 2), direct=(1, 0))
    compare = section(arms)
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2, strata=(1, 2, 3))
    data = summarise(compare, proposals, store.results(Implemented))
    gp, direct = data.arms
    assert (gp.n, gp.valid, gp.failures) == (6, 4, {"faithful.syntax": 2})
    assert [(row.units, row.valid, row.n) for row in gp.strata] == [(1, 2, 2), (2, 2, 2), (3, 0, 2)]
    assert gp.interval.to_json() == pytest.approx([0.3, 0.903], abs=1e-3)
    assert (gp.attempts, gp.calls, gp.tokens, gp.tokens_per_valid) == (2, 2, 200, 300)
    assert gp.repairs == {"import added": 12}
    assert gp.lines > 20
    assert (direct.valid, direct.lines) == (0, None)
    whole, large = data.comparisons
    assert (whole.n, large.n, large.proposals) == (6, 2, "three units and more")
    assert whole.sentence.startswith("gp is better than direct in valid designs: +66.7 points")
    assert large.sentence.startswith("gp is within noise of direct in valid designs at 3 units:")
    store.close()


def test_a_sentence_names_the_numbers_of_units_that_both_arms_have_met(world, tmp_path):
    arms = world.arms(gp=(1, 9), direct=(1, 0), few=(1, 0))
    few = [each.name for each in make_proposals(1, 2, (1, 3, 5)) if each.stratum != 5]
    compare = section(with_limit(arms, "few", tuple(few)))
    store, proposals = world.run(tmp_path / "study", compare, per_stratum=2, strata=(1, 3, 5))
    sentences = {
        each.second: each.sentence
        for each in summarise(compare, proposals, store.results(Implemented)).comparisons
        if (each.first, each.proposals) == ("gp", "three units and more")
    }
    assert "at 3 and 5 units" in sentences["direct"]
    assert "at 3 units" in sentences["few"]
    store.close()


def test_a_partial_study_and_a_simulation_say_so_on_every_page(world, tmp_path):
    compare = section(world.arms(gp=(1, 9), direct=(1, 0)), tokens=50)
    store, proposals = world.run(tmp_path / "study", compare)
    data = summarise(compare, proposals, store.results(Implemented), simulation=True)
    page = render_page(data)
    assert "Simulation: no language model" in page
    assert "Partial:" in page
    assert re.match(r"SIMULATION: .*PARTIAL: ", tables(data)[0].title)
    store.close()


def test_an_empty_study_can_be_shown(world):
    compare = section(world.arms(gp=(1, 9), direct=(1, 0)))
    data = summarise(compare, make_proposals(1, 1), [])
    assert data.arms[0].valid_rate is None
    assert "noise not measured" in data.comparisons[0].sentence
    assert "PARTIAL" in tables(data)[0].title
    render_page(data)
