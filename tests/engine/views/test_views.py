"""What the views say of a run whose making is known."""

import json
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from sample_run import CAPS, CHILDREN, META, NOISE_SEEDS, SCALES, SEED_QUALITY, make_run
from stored import design_report, score

from genesys_engine.engine.cli.commands import status as status_command
from genesys_engine.engine.common import text
from genesys_engine.engine.llm.ledger import Call, Ledger
from genesys_engine.engine.score import noise_floor, standing
from genesys_engine.engine.score.noise import fitness_sigma, noise_of
from genesys_engine.engine.score.noise_floor import NoiseFloor
from genesys_engine.engine.store.event_types import DesignStarted
from genesys_engine.engine.store.events import Event
from genesys_engine.engine.store.run_store import DATABASE, DesignRow, Store, VerificationRow
from genesys_engine.engine.views.details import composed_source, design_details
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.history import Point, best_so_far, history, latest
from genesys_engine.engine.views.leaderboard import best_child, leaderboard
from genesys_engine.engine.views.lineage import ancestry, generations, lineage
from genesys_engine.engine.views.remarks import unresolved
from genesys_engine.engine.views.run import RunView, view
from genesys_engine.engine.views.status import status
from genesys_engine.engine.views.timing import timing
from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins import event_kinds as events


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "sample")
    with Store.open(folder) as opened:
        yield opened


# --- noise ---------------------------------------------------------------------------------------


def test_a_mean_over_rungs_has_the_noise_of_a_mean():
    sigmas = (3.0, 4.0, 4.0)
    assert fitness_sigma(sigmas, 0) == 3.0
    assert fitness_sigma(sigmas, 1) == 2.5
    assert fitness_sigma(sigmas, 2) == pytest.approx(41**0.5 / 3)
    assert fitness_sigma((None, 0.3), 1) is None, "a part of it is not known"


@pytest.mark.parametrize(
    ("fitness", "sigma", "expected"),
    [
        (1.01, 0.5, standing.BETTER),
        (1.0, 0.5, standing.NO_DIFFERENCE),
        (-1.0, 0.5, standing.NO_DIFFERENCE),
        (-1.01, 0.5, standing.WORSE),
        (50.0, None, standing.NOT_MEASURED),
    ],
)
def test_nothing_is_called_better_within_two_sigma(fitness, sigma, expected):
    assert standing.standing(fitness, sigma) == expected


def test_noise_floor_of_an_unfinished_run_comes_from_the_reference_so_far(tmp_path):
    with Store.open(make_run(tmp_path / "run", finish=False)) as store:
        assert store.meta("sigma") is None
        floor = noise_floor.noise_floor(store)
        gains = [v.fitness for v in store.verifications(0) if v.rung == 0]
        assert len(gains) == NOISE_SEEDS[0]
        assert floor.reference == 0
        bits = [v.scores["bits_per_byte"].value for v in store.verifications(0) if not v.rung]
        gains = [100 * (1 - value / fmean(bits)) for value in bits]  # as the run reckons them
        measured, borrowed = noise_of(gains), noise_of(gains, 1)
        wanted = (measured.gain, borrowed.gain, borrowed.gain)
        assert floor.sigmas == pytest.approx(wanted)


# --- leaderboard ---------------------------------------------------------------------------------


def test_leaderboard_is_highest_rung_first_then_best_gain(store):
    rows = leaderboard(store)
    keys = [(-SCALES.index(row.rung), -row.fitness) for row in rows]
    assert keys == sorted(keys)
    assert len(rows) == sum(row.fitness is not None for row in store.designs())


def test_leaderboard_shows_scores_and_controls_of_the_highest_rung(store):
    row = leaderboard(store)[0]
    top = [v for v in store.verifications(row.design) if v.rung == SCALES.index(row.rung)]
    assert row.scores == top[0].scores
    assert set(row.controls) == {"untrained", "bigram"}
    assert row.controls["bigram"]["bits_per_byte"].value == 3.87


def test_leaderboard_marks_what_noise_may_give(store):
    rows = {row.design: row for row in leaderboard(store)}
    assert rows[0].standing == standing.REFERENCE
    assert all(row.sigma is not None for row in rows.values())
    marked = {row.design for row in rows.values() if row.within_noise}
    assert marked == {r.design for r in rows.values() if r.design and abs(r.fitness) <= 2 * r.sigma}
    assert marked
    assert rows[1].name == "mamba2"


def test_leaderboard_of_an_unmeasured_noise_calls_nothing_better(store, monkeypatch):
    monkeypatch.setattr(noise_floor, "noise_floor", lambda store: NoiseFloor(0, (None,) * 3))
    rows = leaderboard(store)
    assert {row.within_noise for row in rows if row.design} == {None}


def test_limit_gives_the_same_rows_as_the_whole(store):
    assert leaderboard(store, 3) == leaderboard(store)[:3]


def test_best_child_is_no_seed(store):
    child = best_child(leaderboard(store))
    assert child is not None
    assert child.design >= len(SEED_QUALITY)


def test_json_of_a_row_has_no_value_that_json_does_not_know(store):
    text_ = json.dumps([row.to_json() for row in leaderboard(store)], allow_nan=False)
    assert json.loads(text_)[0]["parents"] == list(leaderboard(store)[0].parents)


# --- status and the fold over events -------------------------------------------------------------


def test_status_counts_what_happened(store):
    found = status(store).to_json()
    rejected = sum(not row.accepted for row in store.designs())
    assert found["state"] == "finished"
    assert found["designs"]["seeds"] == len(SEED_QUALITY)
    assert found["designs"]["children"] == CHILDREN - rejected
    assert found["designs"]["rejected"] == rejected
    failed = [v for v in store.verifications() if v.status != "ok"]
    assert sum(rung["failed"] for rung in found["rungs"]) == len(failed) == 3
    finished = sum(rung["finished"] for rung in found["rungs"])
    assert finished + len(failed) == store.count("verifications")
    assert found["remaining_s"] == 0.0
    assert found["under_way"] == 0
    assert found["elapsed_s"] == pytest.approx(store.meta("wall_s"), abs=1.0)


def test_best_of_the_events_is_the_head_of_the_leaderboard(store):
    assert status(store).best.design == leaderboard(store)[0].design


def started(rungs=((4, 100), (2, 200))):
    told = [
        {"scale": scale, "verifications": planned, "tokens": tokens, "context": 8, "noise_seeds": 1}
        for scale, (planned, tokens) in zip(("0.2M", "1M"), rungs, strict=True)
    ]
    return {
        "name": "x", "seed": 1, "mode": "steady_state", "selection": "random", "rungs": told,
        "designs": 3, "reference": "gpt", "experiment": "d",
    }  # fmt: skip


def fold(*entries) -> RunView:
    run = RunView()
    for number, (at, kind, payload) in enumerate(entries):
        run.apply(Event(number, kind, payload, True, at))
    return run


def verification(seq, rung=0):
    about = {"verification": seq, "seq": seq, "design": 0, "rung": rung, "replicate": 0}
    return {**about, "fitness": 0.0, "scores": {}}


def used(seq, seconds, workers=2):
    return {**verification(seq), "seconds": seconds, "workers": workers}


def test_time_left_follows_measured_durations_and_parallelism():
    run = fold(
        (0.0, events.RUN_STARTED, started()),
        (0.0, events.VERIFICATION_STARTED, verification(0)),
        (0.0, events.VERIFICATION_STARTED, verification(1)),
        (10.0, events.DEVICE_USED, used(0, 10.0)),
        (10.0, events.VERIFICATION_FINISHED, verification(0)),
        (10.0, events.DEVICE_USED, used(1, 10.0)),
        (10.0, events.VERIFICATION_FINISHED, verification(1)),
    )
    small, large = (run_scale(name) for name in ("0.2M", "1M"))
    per_upper = 10.0 * 2 * large / small  # twice the tokens, a larger model
    # Two at a time: 2 more of 10 s at the lowest rung and 2 at the next, by two workers.
    assert run.remaining_s() == pytest.approx((2 * 10.0 + 2 * per_upper) / 2)


def child(seq):
    about = {"seq": seq, "design": seq, "digest": str(seq), "parameters": 2e5}
    return {**about, "operator": "llm_mutation", "parents": [0], "change": "It."}


def test_time_left_does_not_count_what_a_result_waits_for_a_slow_designer():
    run = fold(
        (0.0, events.RUN_STARTED, started(rungs=((2, 100), (0, 200)))),
        (0.0, events.VERIFICATION_STARTED, verification(0)),
        (0.0, events.DESIGN_STARTED, {"seq": 1, "parents": [0], "origin": "variation"}),
        (600.0, events.DESIGN_ACCEPTED, child(1)),
        (600.0, events.DEVICE_USED, used(0, 10.0)),
        (600.0, events.VERIFICATION_FINISHED, verification(0)),
    )
    assert run.remaining_s() == pytest.approx(2 * 600.0)  # two children more, at that pace
    for seq in (2, 3):
        run.apply(Event(seq, events.DESIGN_ACCEPTED, child(seq), True, 600.0 * seq))
    assert run.remaining_s() == pytest.approx(10.0 / 2)  # and then one verification


def run_scale(name):
    from genesys_engine.gab.scales import SCALES as TABLE

    return TABLE[name].reference_parameters(4096)


def test_time_left_is_unknown_before_the_first_result():
    assert fold((0.0, events.RUN_STARTED, started())).remaining_s() is None


def test_a_pause_between_two_sessions_is_not_work():
    run = fold(
        (0.0, events.RUN_STARTED, started()),
        (0.0, events.VERIFICATION_STARTED, verification(0)),
        (5.0, events.RUN_INTERRUPTED, {"reason": "interrupted", "exit_code": 130}),
        (1000.0, events.RUN_RESUMED, {}),
        (1007.0, events.VERIFICATION_FINISHED, verification(0)),
    )
    assert run.elapsed_s() == 12.0
    assert run.elapsed_s(now=1010.0) == 15.0
    assert run.resumed == 1


def test_an_unknown_kind_of_event_does_no_harm():
    run = fold((0.0, events.RUN_STARTED, started()), (3.0, "plugin.something", {"a": 1}))
    assert run.elapsed_s() == 3.0


# --- failures, timing, lineage, history ----------------------------------------------------------


def test_failures_are_counted_by_cause_most_frequent_first(store):
    found = failures(store)
    counts = {(f.stage, f.cause): f.count for f in found}
    assert [f.count for f in found] == sorted((f.count for f in found), reverse=True)
    assert counts["verification", "training"] == 2
    assert counts["verification", "timeout"] == 1
    assert counts["check", "causality.leak"] == 3
    assert counts["check", "gradient.missing"] == 3
    assert counts["variation", "exhausted"] == 1
    training = next(f for f in found if f.cause == "training")
    assert training.reason == "loss exploded to 1.2e+09 at step 31"
    assert training.example in training.designs


def test_time_by_stage_adds_up_to_the_facts_of_the_workers(store):
    spent = timing(store)
    wall = sum(v.facts["wall_s"] for v in store.verifications())
    design = 1.2 * store.count("designs")
    assert spent.work_s == pytest.approx(wall + design)
    assert sum(stage.share for stage in spent.stages) == pytest.approx(1.0)
    assert spent.tokens == sum(v.tokens for v in store.verifications())
    assert spent.max_rss_bytes == 612_000_000


def test_the_speed_leaves_out_what_was_trained_before_a_kill(tmp_path):
    facts = {"train_s": 10.0, "tokens_per_s": 50.0}
    rows = [
        VerificationRow(0, 0, 0, 0, 0, "ok", "", 1.0, {}, {}, 500, facts),
        VerificationRow(1, 1, 0, 0, 1, "ok", "", 1.0, {}, {}, 9000, facts),  # killed at 8,500
        VerificationRow(2, 2, 1, 0, 0, "failed", "timeout", None, {}, {}, 700, {}),
    ]
    with Store.create(tmp_path / "run", META) as store:
        store.curves.allocate(3)
        with store.transaction():
            for row in rows:
                store.add_verification(row, [])
        assert timing(store).tokens == 10_200
        assert timing(store).tokens_per_s == pytest.approx(50.0)


def design(number, *parents):
    return DesignRow(number, number, True, str(number), None, parents, "x", "")


def test_a_generation_is_one_more_than_the_latest_parent():
    rows = [design(0), design(1), design(2, 0), design(3, 2, 1), design(4, 1, 3)]
    assert generations(rows) == {0: 0, 1: 0, 2: 1, 3: 2, 4: 3}


def test_lineage_draws_every_design_on_a_place_of_its_own(store):
    tree = lineage(store)
    places = {(node.x, node.y) for node in tree.nodes}
    assert len(places) == len(tree.nodes) == store.count("designs")
    assert all(0 <= node.y <= tree.lines - 1 for node in tree.nodes)
    at = {node.design: node for node in tree.nodes}
    assert all(at[edge.parent].x < at[edge.child].x for edge in tree.edges)
    assert sum(not edge.primary for edge in tree.edges) == sum(
        len(node.parents) == 2 for node in tree.nodes
    )


def test_lineage_is_quick_and_shallow_in_python_for_a_long_line(tmp_path):
    with Store.create(tmp_path / "run", META) as store, store.transaction():
        for number in range(3000):  # deeper than the recursion limit
            store.add_design(
                design(number, *([number - 1] if number else [])), {"units": {}}, design_report()
            )
        tree = lineage(store)
    assert (tree.generations, tree.lines) == (3000, 1)


def test_ancestry_leads_from_a_founder_to_the_design(store):
    deepest = max(lineage(store).nodes, key=lambda node: node.x)
    line = ancestry(store, deepest.design)
    assert line[0].operator.startswith("seed:")
    assert line[-1].id == deepest.design
    assert all(b.parents[0] == a.id for a, b in pairwise(line))


def test_history_tells_where_every_design_stood_after_each_verification(store):
    rows = {row.design: row for row in leaderboard(store)}
    points = history(store)
    counted = [v for v in store.verifications() if v.status == "ok" and v.replicate == 0]
    assert [p.design for p in points] == [v.design for v in counted]
    assert [p.minute for p in points] == sorted(p.minute for p in points)
    assert 0 < points[0].minute < points[-1].minute <= store.meta("wall_s") / 60 + 0.1
    final = latest(points)
    assert [p.design for p in final] == sorted(rows)
    for point in final:
        assert point.fitness == pytest.approx(rows[point.design].fitness)
        assert point.rungs == rows[point.design].rungs


def test_best_so_far_prefers_a_higher_rung_to_a_higher_gain():
    a, b, c, d = Point(0, 0, 1.0, 1), Point(1, 1, 3.0, 1), Point(2, 2, 0.5, 2), Point(3, 3, 9.0, 1)
    assert best_so_far([a, b, c, d]) == [a, b, c]


# --- one design ----------------------------------------------------------------------------------


def test_details_of_a_design(store):
    row = best_child(leaderboard(store))
    assert row is not None
    found = design_details(store, row.design)
    assert found.tree.splitlines()[0].startswith("PreNormBlock(")
    assert found.ancestors[-1].id == row.parents[0]
    assert found.standing == row.standing
    data = found.to_json()
    assert {v["rung"] for v in data["verifications"]} == set(SCALES[: row.rungs])
    json.dumps(data, allow_nan=False)


def test_details_of_a_rejected_design_show_its_findings(store):
    rejected = next(row for row in store.designs() if not row.accepted)
    found = design_details(store, rejected.id)
    assert found.report.findings[0].code == "causality.leak"
    assert found.standing is None


def test_composed_source_is_text_that_compiles_and_names_the_design(store):
    source = composed_source(store, 0)
    compile(source, "composed", "exec")
    assert "class Block" in source
    assert "gpt" in source.split("import")[0]


def test_details_of_a_design_that_is_not_there_say_which_are(store):
    with pytest.raises(InputError, match="numbered 0 to"):
        design_details(store, 999)


# --- numbers as text -----------------------------------------------------------------------------


def test_numbers_as_people_read_them():
    assert [text.duration(s) for s in (0, 3.24, 42, 65, 3720, 90000)] == [
        "0 s", "3.2 s", "42 s", "1 min 5 s", "1 h 2 min", "1 d 1 h",
    ]  # fmt: skip
    assert [text.count(v) for v in (12, 999, 1000, 2_700_000)] == ["12", "999", "1.00k", "2.70M"]
    assert [text.percent(v) for v in (1.234, -0.5, -0.001, None)] == [
        "+1.23 %", "−0.50 %", "0.00 %", "–",
    ]  # fmt: skip
    assert [text.number(v) for v in (2.16512, 0.34, 9999.4, 12345.0, 1.5e6, None)] == [
        "2.165", "0.3400", "9999", "12,345", "1,500,000", "–",
    ]  # fmt: skip
    assert [text.amount(v) for v in (58_504, 5.85e4, 16, 0.1853, 1234.5, 2e7)] == [
        "58,504", "58,500", "16", "0.185", "1,234", "20,000,000",
    ]  # fmt: skip
    assert [text.rough(v) for v in (0.237, 7.04, 21.4, 99.7, 150.0, 12_345.0)] == [
        "0.24", "7", "21", "100", "150", "12,345",
    ]  # fmt: skip
    assert [text.plural(n, "child", "children") for n in (0, 1, 2)] == [
        "0 children", "1 child", "2 children",
    ]  # fmt: skip


# --- size ----------------------------------------------------------------------------------------


def test_the_leaderboard_holds_ten_thousand_designs(tmp_path: Path):
    folder = tmp_path / "large"
    tree = library.seed("gpt").to_json()
    controls = {"untrained": {"bits_per_byte": score(8.0)}, "bigram": {}}
    scores = {"bits_per_byte": score(2.9, stderr=0.01, n=9)}
    with Store.create(folder, META) as store, store.transaction():
        for number in range(10_000):
            parents = (number // 2,) if number else ()
            operator = "insertion" if number else "seed:gpt"
            row = DesignRow(number, 2 * number, True, str(number), None, parents, operator, "A.")
            store.add_design(row, tree, design_report())
            gain = float(number % 97) - 50
            told = ("ok", "", gain, scores, controls, 10, {})
            store.add_verification(VerificationRow(number, 2 * number + 1, number, 0, 0, *told), [])
            store.set_standing(number, 0, gain)
    with Store.open(folder) as store:
        rows = leaderboard(store)
    assert len(rows) == 10_000
    assert rows[0].fitness == 46.0


def test_status_of_a_run_under_way_reads_the_same_as_the_fold(tmp_path):
    with Store.open(make_run(tmp_path / "run", finish=False), write=True) as store:
        found = status(store, now=view(store).last_at + 10).to_json()
        assert found["state"] == "running"
        assert found["elapsed_s"] == pytest.approx(view(store).active_s + 10)
        assert found["remaining_s"] is not None
        assert [rung["planned"] for rung in found["rungs"]] == list(CAPS)


def test_status_tells_what_a_design_under_way_has_asked(tmp_path):
    folder = make_run(tmp_path / "run", finish=False)
    with Store.open(folder, write=True) as store:
        with store.transaction():
            store.add_event(DesignStarted(seq=99, parents=(0,), origin="variation"))
        ledger = Ledger(folder / DATABASE)
        for task, tokens in (("99", 700), ("99", 300), ("98", 50)):
            ledger.add(Call("coder", task, "m", {}, f"{task} {tokens}", "x = 1", tokens, 10))
        ledger.close()
        found = status(store, now=view(store).last_at + 60).to_json()
        (task,) = [task for task in found["making"] if task["seq"] == 99]
        assert task["seconds"] == pytest.approx(60.0)
        assert (task["llm"]["calls"], task["llm"]["tokens"]) == (2, 1020)
        told = CliRunner().invoke(status_command.command, [str(folder)]).output
    assert "being made   2 calls, 1.02k tokens, 0.00 USD in " in told


def test_a_run_without_an_end_that_nobody_writes_was_killed(tmp_path):
    run = make_run(tmp_path / "run", finish=False)
    with Store.open(run, write=True), Store.open(run) as reader:
        assert status(reader).state == "running"
    with Store.open(run) as reader:
        assert status(reader).state == "killed"
        assert status(reader, now=view(reader).last_at + 10).to_json()[
            "elapsed_s"
        ] == pytest.approx(view(reader).active_s)


# --- what a score resolves -----------------------------------------------------------------------


def of_tasks(*values, stderr=0.07, n=40):
    about = {"stderr": stderr, "up": True, "n": n}
    return [
        SimpleNamespace(rung="1M", scores={"corruption:acc": score(value, **about)})
        for value in values
    ]


def test_tasks_that_tell_no_two_models_apart_are_named():
    (told,) = unresolved(of_tasks(0.45, 0.5, 0.6))
    assert "40 items" in told
    assert "0.198" in told, "twice the standard error of a difference"
    assert "0.15" in told
    assert list(unresolved(of_tasks(0.4, 0.6))) == []
    assert list(unresolved(of_tasks(0.5))) == [], "of one there is nothing to tell"
    assert list(unresolved(of_tasks(0.5, 0.6, stderr=None))) == []
