"""`status`, `show`, `leaderboard`, `events` and `report` from the command line."""

import csv
import io
import json
import shutil
import threading
import time
from statistics import fmean

import pytest
from rich.cells import cell_len
from sample_run import make_run

from genesys_engine.engine.cli import main
from genesys_engine.engine.export.card import model_card
from genesys_engine.engine.export.checkpoints import Weights
from genesys_engine.engine.jobs.results import ConfirmResult
from genesys_engine.engine.score.standing import NO_DIFFERENCE, outcome
from genesys_engine.engine.score.verdict import Verdict
from genesys_engine.engine.store.event_types import DesignDisqualified, RungOpened, RunResumed
from genesys_engine.engine.store.events import digest_events
from genesys_engine.engine.store.run_store import ConfirmationRow, Store
from genesys_engine.engine.views.verdict import verdict_view

KEYS = {"design", "fitness", "rung", "scores", "controls", "parents", "change"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture
def ask(capsys):
    def call(*arguments, code=0):
        assert main([str(argument) for argument in arguments]) == code
        return capsys.readouterr()

    return call


def data(answer):
    told = json.loads(answer.out)
    assert told["schema"] == 1
    return told["data"]


def test_leaderboard_in_json_has_the_documented_keys_best_first(run, ask):
    rows = data(ask("leaderboard", run, "--json"))
    assert all(set(row) >= KEYS for row in rows)
    rungs = ["0.2M", "1M", "4M"]
    order = [(-rungs.index(row["rung"]), -row["fitness"]) for row in rows]
    assert order == sorted(order)
    assert set(rows[0]["controls"]) == {"untrained", "bigram"}
    assert data(ask("leaderboard", run, "--json", "--limit", 2)) == rows[:2]


def test_leaderboard_has_a_table_for_each_rung_with_gain_scores_and_cost_of_that_rung(run, ask):
    answer = ask("leaderboard", run)
    rows = data(ask("leaderboard", run, "--json"))
    tables = answer.out.strip().split("\n\n")
    assert [table.split(":")[0] for table in tables] == [
        "Verified up to 4M", "Verified up to 1M", "Verified up to 0.2M",
    ]  # fmt: skip
    for row in rows:
        gpt = next(r for r in rows if r["design"] == 0)
        bits, base = (r["scores"]["bits_per_byte"]["value"] for r in (row, gpt))
        if row["rung"] == gpt["rung"] and row["design"]:
            assert row["gain"] == pytest.approx(100 * (base - bits) / base), "it can be reckoned"
        assert row["fitness"] == pytest.approx(fmean(row["gains"].values()))
        assert row["gain"] == row["gains"][row["rung"]]
        assert row["compute_percent"] == 0.0
        assert row["train_s"] > 0
    for table in tables:
        assert table.splitlines()[-1].split() == ["bigram", "3.870"]
        assert "bits" in table
    assert NO_DIFFERENCE in answer.out
    assert "mamba2" in answer.out


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("options", [(), ("--operators",)])
def test_tables_fit_the_terminal_one_line_to_a_row(run, ask, monkeypatch, width, options):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = ask("leaderboard", run, *options).out.splitlines()
    assert max(map(cell_len, lines)) <= width
    if not options:
        shown = data(ask("leaderboard", run, "--json"))
        starts = [line.split()[0] for line in lines if line and line[0] in "#gmrt"]
        assert [name for name in starts if name != "train"] == [
            row["name"] or f"#{row['design']}" for row in shown
        ]


def test_wide_columns_and_csv_give_what_is_asked_for(run, ask):
    rows = data(ask("leaderboard", run, "--json"))
    told = list(csv.DictReader(io.StringIO(ask("leaderboard", run, "--csv").out)))
    assert [float(line["gain"]) for line in told] == [row["gain"] for row in rows]
    assert [line["flops"] for line in told] == [str(row["flops_per_token"]) for row in rows]
    assert told[0]["untrained.bits_per_byte"] == "8.03"
    asked = ask("leaderboard", run, "--columns", "change,design")
    assert asked.out.splitlines()[1].split() == ["change", "design"]
    assert rows[0]["change"] in asked.out
    wide = ask("leaderboard", run, "--wide").out
    assert all(row["change"] in wide for row in rows)
    assert "did you mean 'change'" in ask("leaderboard", run, "--columns", "chang", code=2).err


def test_a_folder_of_runs_is_listed(run, ask, tmp_path):
    make_run(tmp_path / "one")
    make_run(tmp_path / "two", finish=False)
    broken = tmp_path / "three"
    shutil.copytree(tmp_path / "one", broken)
    (broken / "run.sqlite").write_bytes(b"no database at all, but long enough to be looked at")
    rows = data(ask("leaderboard", tmp_path, "--json"))
    assert [row["folder"] for row in rows] == ["one", "three", "two"]
    assert [row["state"] for row in rows] == ["finished", "cannot be read", "killed"]
    one = data(ask("status", tmp_path / "one", "--json"))["verdict"]
    assert rows[0]["best_child"] == one["best_child"]
    assert rows[0]["difference"] == one["comparisons"][0]["difference"]
    lines = ask("leaderboard", tmp_path).out.splitlines()
    assert max(map(cell_len, lines)) <= 80


def test_the_verdict_is_the_same_in_status_and_report_and_list(run, ask):
    told = data(ask("status", run, "--json"))["verdict"]
    text = " ".join(ask("status", run).out.split())
    for sentence in told["sentences"]:
        assert " ".join(sentence.split()) in text
    assert max(map(cell_len, ask("status", run).out.splitlines())) <= 80


def test_the_card_of_an_exported_child_says_what_the_verdict_says(run):
    with Store.open(run) as store:
        found = verdict_view(store)
        child = found.child
        top = [row for row in store.verifications(child.design) if row.replicate == 0][-1]
        weights = Weights(top, child.rung, run / "none")
        fit = {"n_blocks": 4, "d_model": 64, "vocab_size": 2048, "context": 128}
        card = model_card(store, weights, fit, 212_000, ())
        reference = next(store.verifications(0))
        other = model_card(store, Weights(reference, "0.2M", run / "none"), fit, 212_000, ())
    assert all(sentence in card for sentence in found.judged)
    assert outcome(child.standing, "gpt") in card
    assert "the reference" in other
    assert not any(sentence in other for sentence in found.judged)


def test_a_half_used_budget_is_no_warning_of_a_finished_run(run, ask, tmp_path):
    assert data(ask("status", run, "--json"))["warnings"] == []
    assert "20 of 24" not in ask("status", run).out
    unfinished = make_run(tmp_path / "run", finish=False)
    assert data(ask("status", unfinished, "--json"))["warnings"] == ["20 of 24 designs used"]


def test_show_takes_the_name_of_a_seed_and_suggests_near_ones(run, ask):
    by_number = ask("show", run, 1).out
    assert ask("show", run, "mamba2").out == ask("show", run, "#1").out == by_number
    assert "did you mean 'mamba2'" in ask("show", run, "manba2", code=2).err
    assert "retnet" in ask("show", run, "qqqqq", code=2).err
    assert "numbered 0 to" in ask("show", run, 10**17, code=2).err
    assert ask("show", run, "9" * 40, code=2).out == ""


def test_a_disqualified_design_is_told_as_one_in_every_view(ask, tmp_path):
    run = make_run(tmp_path / "run")
    with Store.open(run, write=True) as store, store.transaction():
        best = store.leaderboard(1)[0].id
        reason = "it claims 1.9 bits per byte and reaches 2.9"
        store.add_confirmation(
            ConfirmationRow(9_999, best, 2, reason, ConfirmResult(best, (), reason))
        )
        store.set_standing(best, None, None)
        told = {"design": best, "rung": 2, "reason": reason, "seq": 9_999, "in_question": ()}
        store.add_event(DesignDisqualified(**told))
    rows = data(ask("leaderboard", run, "--json"))
    assert best not in [row["design"] for row in rows]
    assert f"#{best} is disqualified: {reason}" in ask("leaderboard", run).err
    assert f"disqualified: {reason}" in " ".join(ask("show", run, best).out.split())
    status = data(ask("status", run, "--json"))
    assert status["designs"]["disqualified"] == 1
    assert status["verdict"]["best_child"] not in (None, best)
    operators = data(ask("leaderboard", run, "--operators", "--json"))
    with Store.open(run) as store:
        gains = {r.design for r in store.verifications() if r.rung == r.replicate == 0}
        designs = {row.id: row for row in store.leaderboard() if row.id in gains}
    children = [row for row in designs.values() if set(row.parents) & designs.keys()]
    assert sum(row["compared"] for row in operators) == len(children), "its gain counts nowhere"
    ask("report", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"#{best} is disqualified" in page
    assert "audit" in page


def test_show_gives_the_cost_at_each_rung(run, ask):
    best = data(ask("leaderboard", run, "--json"))[0]
    costs = data(ask("show", run, best["design"], "--json"))["costs"]
    assert [cost["rung"] for cost in costs] == list(best["gains"])
    assert costs[-1]["flops_per_token"] == best["flops_per_token"]
    assert "FLOPs per token" in ask("show", run, best["design"]).out


def test_status_tells_counts_budgets_and_verdict(run, ask):
    found = data(ask("status", run, "--json"))
    assert found["state"] == "finished"
    assert {row["budget"] for row in found["budgets"]} >= {"designs", "verifications at 1M"}
    text = ask("status", run).out
    assert "5 seeds, 21 children, 3 rejected" in text
    assert "Best child" in text


def test_show_tells_lineage_tree_scores_and_controls(run, ask):
    best = data(ask("leaderboard", run, "--json"))[0]["design"]
    text = ask("show", run, best).out
    assert "Lineage" in text
    assert "Seed design gpt." in text
    assert "mixer: CausalAttention(" in text
    assert "untrained" in text
    assert "8.030" in text
    shown = data(ask("show", run, best, "--json"))
    assert shown["lineage"][0]["operator"] == "seed:gpt"
    assert "code" not in shown


def test_show_code_prints_a_module_and_nothing_else(run, ask):
    answer = ask("show", run, 0, "--code")
    compile(answer.out, "design", "exec")
    assert "class Block" in answer.out
    assert answer.err == ""
    assert data(ask("show", run, 0, "--code", "--json"))["code"] == answer.out


def test_show_of_a_rejected_design_tells_how_to_mend_it(run, ask):
    with Store.open(run) as store:
        rejected = next(row.id for row in store.designs() if not row.accepted)
    text = ask("show", run, rejected).out
    assert "rejected by its check" in text
    assert "causality.leak" in text
    assert "Mask the future" in text


def test_digest_is_one_line_over_the_decisive_events(run, ask):
    with Store.open(run) as store:
        expected = digest_events(store.events())
    assert ask("events", run, "--digest").out == expected + "\n"
    assert data(ask("events", run, "--digest", "--json")) == {"digest": expected}


def test_facts_of_the_machine_do_not_change_the_digest(tmp_path, ask):
    run = make_run(tmp_path / "run")
    before = ask("events", run, "--digest").out
    with Store.open(run, write=True) as store, store.transaction():
        store.add_event(RunResumed(), decisive=False)
    assert ask("events", run, "--digest").out == before
    with Store.open(run, write=True) as store, store.transaction():
        store.add_event(RungOpened(rung=0, scale="0.2M"))
    assert ask("events", run, "--digest").out != before


def test_events_by_kind(run, ask):
    told = data(ask("events", run, "--json", "--kind", "rung.opened"))
    assert [event["payload"]["scale"] for event in told] == ["1M", "4M"]
    lines = ask("events", run, "--kind", "rung.opened").out.splitlines()
    assert len(lines) == 2
    assert "rung.opened" in lines[0]


def test_a_misspelt_kind_is_an_error_with_a_near_name(run, ask):
    answer = ask("events", run, "--kind", "rung.open", code=2)
    assert "did you mean 'rung.opened'" in answer.err
    assert answer.out == ""


def test_digest_of_a_part_of_the_log_is_refused(run, ask):
    assert "whole log" in ask("events", run, "--digest", "--kind", "rung.opened", code=2).err


def test_follow_shows_what_comes_and_ends_with_the_run(tmp_path, ask):
    run = make_run(tmp_path / "run", finish=False)

    held = threading.Event()

    def go_on():
        with Store.open(run, write=True) as store:
            held.set()
            time.sleep(0.7)
            with store.transaction():
                store.add_event(RungOpened(rung=2, scale="late"))
                store.add_event(Verdict(None).record(["done"]))

    writer = threading.Thread(target=go_on)
    writer.start()
    held.wait(10)
    lines = [json.loads(line) for line in ask("events", run, "--follow", "--json").out.splitlines()]
    writer.join()
    assert lines[-2]["payload"]["scale"] == "late"
    assert lines[-1]["kind"] == "run.finished"
    assert [line["id"] for line in lines] == list(range(1, len(lines) + 1))


def test_follow_ends_where_the_process_of_a_run_was_killed(tmp_path, ask):
    run = make_run(tmp_path / "run", finish=False)
    told = ask("events", run, "--follow", "--json").out.splitlines()
    with Store.open(run) as store:
        assert len(told) == store.count("events")


def test_report_is_written_into_the_run_and_its_path_printed(run, ask, tmp_path):
    assert ask("report", run).out == f"{run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 1_000_000
    out = tmp_path / "page.html"
    assert data(ask("report", run, "--out", out, "--json")) == {"report": str(out)}
    assert out.is_file()


@pytest.mark.parametrize("command", ["status", "leaderboard", "events", "report"])
def test_a_folder_without_a_run_is_told_with_exit_code_2(command, ask, tmp_path):
    answer = ask(command, tmp_path / "nothing", code=2)
    assert "no run here" in answer.err
    assert answer.out == ""


def test_a_design_that_is_not_there_is_told_with_the_range(run, ask):
    assert "numbered 0 to 28" in ask("show", run, 500, code=2).err
