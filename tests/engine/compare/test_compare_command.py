"""`genesys-engine compare` as people call it: real workers, the grammar in place of a model."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
from engine_process import here

from experiments.catalogue.draw import make_proposals, write_proposals

ENGINE = [sys.executable, "-m", "genesys_engine"]
STUDY = """
[run]
name = "tiny"
workers = 1
designers = 1
[llm]
use = "grammar"
faults = { wrong_shape = 0.2, unchanged = 0.2 }
[executor]
preload = ["genesys_engine.gab.lean_torch", "genesys_engine.plugins.check_job"]
[compare]
proposals = "proposals"
equal_to = "gp"
[[compare.arms]]
name = "gp"
implementer = "gp"
[[compare.arms]]
name = "direct"
implementer = "direct"
[[compare.arms]]
name = "best_of_n"
implementer = "best_of_n"
proposals = 1
"""
RESULTS = 5
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def ask(*arguments, code=0):
    done = commands.run([*ENGINE, *map(str, arguments)])
    assert done.returncode == code, done.stderr
    return done


def shown(folder):
    """Go on with a study and return what it says, which `status` says too."""
    ended = ask("resume", folder, "--json").stdout
    assert here("status", folder, "--json").out == ended
    return json.loads(ended)


def rows(folder, table):
    path = folder / "study.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30) as db:
        try:
            return db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
        except sqlite3.OperationalError:  # the table is made a moment later
            return 0


def started(path, folder, until):
    """Start a study in a process of its own and return it once `until` holds."""
    process = commands.start(
        [*ENGINE, "compare", str(path), "--out", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 300
    while not until():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    return process


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return (experiment, folder, output) of a study that was left alone."""
    base = tmp_path_factory.mktemp("whole")
    path = base / "tiny.toml"
    path.write_text(STUDY)
    write_proposals(make_proposals(1, 2, (1,)), base / "proposals")
    done = ask("compare", path, "--out", base / "study", "--json")
    return path, base / "study", json.loads(done.stdout)


def test_the_answer_is_versioned_json_and_says_that_it_is_a_simulation(whole):
    _, folder, answer = whole
    data = answer["data"]
    assert answer["schema"] == 1
    assert (data["simulation"], data["complete"], data["proposals"]) == (True, True, 2)
    assert [(arm["arm"], arm["n"]) for arm in data["arms"]] == [
        ("gp", 2), ("direct", 2), ("best_of_n", 1),
    ]  # fmt: skip
    wanted = {"arm", "n", "valid_rate", "interval", "attempts", "tokens", "usd", "lines",
              "failures", "strata"}  # fmt: skip
    assert wanted <= data["arms"][0].keys()
    assert data["arms"][0]["valid"] == 2
    assert "Simulation: no language model" in (folder / "compare.html").read_text()


def test_a_finished_study_is_shown_again_and_nothing_is_asked(whole):
    path, folder, answer = whole
    calls = rows(folder, "llm_calls")
    again = ask("compare", path, "--out", folder, "--json")
    assert json.loads(again.stdout) == answer
    assert rows(folder, "llm_calls") == calls
    table = here("compare", path, "--out", folder).out
    assert "SIMULATION" in table
    assert "gp is better than direct" in table or "gp is within noise of direct" in table


@pytest.mark.exhaustive
def test_killed_and_interrupted_it_ends_as_if_it_had_been_left_alone(whole, tmp_path):
    path, folder, answer = whole
    study = tmp_path / "study"
    killed = started(path, study, lambda: rows(study, "results") >= 1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    done = rows(study, "results")
    interrupted = started(path, study, lambda: rows(study, "results") > done)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate(timeout=300)
    if interrupted.returncode != 0:  # it may have been at its end already
        assert interrupted.returncode == 130, said
        assert f"genesys-engine resume {study}" in said
    assert shown(study) == answer
    assert rows(study, "results") == RESULTS
    assert rows(study, "llm_calls") == rows(folder, "llm_calls")  # nothing was asked twice


def test_a_recording_gives_the_same_table_without_the_back_end(whole, tmp_path):
    path, folder, answer = whole
    calls = tmp_path / "calls.jsonl.xz"
    told = here("llm", "record", folder, calls, "--json").out
    assert here("llm", "record", calls, folder, calls, "--json").out == told, "each request once"
    replayed = path.with_name("replayed.toml")  # next to the proposals
    faults = "faults = { wrong_shape = 0.2, unchanged = 0.2 }"
    text = path.read_text().replace('"grammar"', '"replay"')
    replayed.write_text(text.replace(faults, f'path = "{calls}"'))
    played = ask("compare", replayed, "--out", tmp_path / "study", "--json")
    data = json.loads(played.stdout)["data"]
    assert data == answer["data"] | {"simulation": False}


def test_another_experiment_is_refused_in_the_same_folder(whole, tmp_path):
    path, folder, _ = whole
    again = here("compare", path, "--out", folder, "--set", "run.seed=2")
    again.refused(2, "the experiment has changed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\n", "nothing to compare"),
        (STUDY.replace('[llm]\nuse = "grammar"\nfaults', "[run2]\nfaults"), "section [run2]"),
        (STUDY.replace('implementer = "direct"', 'implementer = "dirct"'), "did you mean"),
        (STUDY.replace('name = "direct"', 'name = "gp"'), "named twice"),
        (STUDY.replace('equal_to = "gp"', 'equal_to = "pg"'), "none of compare.arms"),
        (STUDY.replace('proposals = "proposals"', ""), "has no `proposals`"),
        (STUDY + "options = { tires = 3 }\n", "tires"),
    ],
)
def test_faults_are_reported_before_anything_starts(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    write_proposals(make_proposals(1, 2, (1,)), tmp_path / "proposals")
    answer = here("compare", path, "--out", tmp_path / "study")
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "study").exists()
    assert "internal error" not in answer.err


def test_the_folder_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    write_proposals(make_proposals(1, 2, (1,)), tmp_path / "proposals")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    answer = here("compare", path, "--out", tmp_path / "mine")
    answer.refused(2, "is not empty")
    assert [entry.name for entry in Path(tmp_path / "mine").iterdir()] == ["thesis.txt"]
