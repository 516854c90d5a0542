"""What the dashboard answers of runs, and of what is no run."""

import shutil
import sqlite3
import time

import pytest
from dashboard_server import served
from engine_process import engine, here
from sample_run import CHILDREN, make_run

from genesys_engine.engine.dashboard.answers.compare import unit_values
from genesys_engine.engine.dashboard.answers.design import rewritten
from genesys_engine.engine.dashboard.catalogue import Catalogue
from genesys_engine.engine.dashboard.watch import Watch
from genesys_engine.engine.store.event_types import WorkerLost
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.failures import failures
from genesys_engine.engine.views.history import history
from genesys_engine.engine.views.leaderboard import leaderboard
from genesys_engine.engine.views.run import view
from genesys_engine.engine.views.status import status
from genesys_engine.gab import library
from genesys_engine.gab.errors import InputError
from genesys_engine.gab.tree import GABTree, Node
from genesys_engine.gab.unit import parse_unit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample")


@pytest.fixture(scope="module")
def server(run):
    with served([run]) as found:
        yield found


def test_the_status_is_that_of_the_command_line(run, server):
    found = server.json("/api/runs/sample/status")
    with Store.open(run) as store:
        known = status(store).to_json()
    clocks = {"elapsed_s", "training", "making", "auditing"}
    assert {key: found[key] for key in known if key not in clocks} == {
        key: value for key, value in known.items() if key not in clocks
    }
    assert found["log"][-1]["kind"] == "run.finished"


def test_the_leaderboard_is_sorted_filtered_and_paged_by_the_server(run, server):
    with Store.open(run) as store:
        rows = leaderboard(store)
    first = server.json("/api/runs/sample/leaderboard", limit=5)
    assert [row["design"] for row in first["rows"]] == [row.design for row in rows[:5]]
    assert (first["total"], first["matching"]) == (len(rows), len(rows))
    second = server.json("/api/runs/sample/leaderboard", limit=5, offset=5)
    assert [row["rank"] for row in second["rows"]] == [6, 7, 8, 9, 10]
    by_size = server.json("/api/runs/sample/leaderboard", sort="parameters", descending=1)["rows"]
    by_bits = server.json("/api/runs/sample/leaderboard", sort="bits_per_byte", limit=200)["rows"]
    sizes = [row["design"] for row in by_size]
    assert len(set(sizes)) == len(sizes)
    bits = [row["scores"]["bits_per_byte"]["value"] for row in by_bits]
    assert bits[0] == min(bits)
    seeds = server.json("/api/runs/sample/leaderboard", origin="seed")["rows"]
    assert {row["label"] for row in seeds} <= {"gpt", "mamba2", "retnet", "rwkv6", "ttt"}
    top = server.json("/api/runs/sample/leaderboard", rung="4M")["rows"]
    assert {row["rung"] for row in top} == {"4M"}
    named = server.json("/api/runs/sample/leaderboard", words="mamba2 seed")["rows"]
    assert [row["label"] for row in named] == ["mamba2"]


@pytest.mark.parametrize("asked", [{"sort": "beauty"}, {"limit": "many"}, {"offset": -1}])
def test_what_cannot_be_asked_of_the_leaderboard_is_one_message(server, asked):
    with server.client() as client:
        answer = client.get("/api/runs/sample/leaderboard", params=asked)
    assert answer.status_code == 404
    assert answer.json()["problem"]["message"]


def test_the_tree_has_every_design_with_its_parents(run, server):
    tree = server.json("/api/runs/sample/tree")
    with Store.open(run) as store:
        designs = list(store.designs())
    assert tree["design"] == [row.id for row in designs]
    assert tree["parents"] == [list(row.parents) for row in designs]
    assert tree["state"] == [0 if row.accepted else 1 for row in designs]
    assert len(designs) > CHILDREN


def test_figures_know_the_designs_behind_their_dots(server):
    for name in ("fitness", "pareto"):
        content = server.json(f"/api/runs/sample/{name}")["content"]
        behind = {design for trace in content["data"] for design in trace.get("customdata", [])}
        assert len(behind) > 10, name


def test_other_code_under_the_same_name_is_told_apart():
    before = library.seed("gpt")
    place = next(each for each in before.places() if each.node.name == "SwiGLUMLP")
    unit = parse_unit(place.node.unit.source.replace("F.silu", "F.gelu"))
    after = before.replace(place.index, GABTree([Node(unit)]))
    assert after.describe() == before.describe()
    assert rewritten(before, before) == []
    assert rewritten(before, after) == [f"SwiGLUMLP at {place.path}"]
    left, right = unit_values([before, after])
    assert {path for path in left if left[path] != right[path]} == {place.path}
    assert left == unit_values([before, before])[0] | {place.path: left[place.path]}


def test_a_log_is_folded_from_an_event_on_as_it_is_as_a_whole(tmp_path):
    run = make_run(tmp_path / "run", finish=False)
    watch, half = Watch(run), tmp_path / "half"
    shutil.copytree(run, half)
    db = sqlite3.connect(half / "run.sqlite")
    last = db.execute("SELECT MAX(id) FROM events").fetchone()[0]
    db.execute("DELETE FROM events WHERE id > ?", (last // 2,))
    db.execute("DELETE FROM verifications WHERE id > 9")
    db.commit()
    db.close()
    growing = Watch(half)
    with growing.moment() as moment:
        assert moment.event == last // 2
    whole = sqlite3.connect(run / "run.sqlite")
    db = sqlite3.connect(half / "run.sqlite")
    for table in ("events", "verifications"):
        known = db.execute(f"SELECT MAX(id) FROM {table}").fetchone()[0]
        rows = whole.execute(f"SELECT * FROM {table} WHERE id > ?", (known,)).fetchall()
        db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    db.commit()
    db.close()
    with growing.moment() as moment, Store.open(run) as store:
        assert moment.run == view(store) or moment.run.causes == view(store).causes
        assert moment.once(history) == history(store)
        assert [each.to_json() for each in moment.once(failures)] == [
            each.to_json() for each in failures(store)
        ]
        assert leaderboard(moment) == leaderboard(store)
    with watch.moment() as moment:
        assert moment.event == last


def test_an_answer_is_made_once_for_each_state_of_the_log(tmp_path):
    run = make_run(tmp_path / "run", finish=False)
    watch, made = Watch(run), []
    for _ in range(3):
        watch.answer("it", lambda moment: made.append(moment.event))
    assert len(made) == 1
    with Store.open(run, write=True) as store, store.transaction():
        store.add_event(WorkerLost(seq=0, reason="gone"), decisive=False)
    watch.answer("it", lambda moment: made.append(moment.event))
    assert made == [made[0], made[0] + 1]


def test_a_run_that_is_deleted_while_it_is_watched_is_said_and_harms_nothing(tmp_path):
    runs = tmp_path / "runs"
    make_run(runs / "kept")
    make_run(runs / "gone", seed=8)
    with served([runs]) as server:
        assert server.json("/api/runs/gone/status")["name"] == "sample"
        shutil.rmtree(runs / "gone")
        with server.client() as client:
            answer = client.get("/api/runs/gone/status")
        assert answer.status_code == 404
        assert answer.json()["problem"]["hint"]
        rows = {row["key"]: row for row in server.json("/api/runs")}
        assert rows["gone"]["problem"]
        assert not rows["kept"]["problem"]
        make_run(runs / "gone", seed=9)  # another run in the same place
        make_run(runs / "new", seed=10)
        assert {row["key"] for row in server.json("/api/runs")} == {"kept", "gone", "new"}
        assert server.json("/api/runs/gone/tree")["design"]


def test_runs_of_other_versions_are_listed_with_the_reason(tmp_path):
    runs = tmp_path / "runs"
    for name, change in {
        "format": "UPDATE meta SET value = '99' WHERE key = 'format'",
        "payload": "UPDATE events SET payload = '{\"other\": 1}' WHERE id = 7",
        "kind": "UPDATE events SET kind = 'moon.landed', payload = '{}' WHERE kind = 'rung.opened'",
    }.items():
        make_run(runs / name, seed=len(name))
        db = sqlite3.connect(runs / name / "run.sqlite")
        db.execute(change)
        db.commit()
        db.close()
    (runs / "damaged").mkdir()
    (runs / "damaged" / "run.sqlite").write_bytes(b"this is no database" * 100)
    with served([runs]) as server:
        rows = {row["key"]: row for row in server.json("/api/runs")}
        unreadable = {"format", "payload", "damaged"}
        assert {key for key, row in rows.items() if row["problem"]} == unreadable
        assert rows["kind"]["state"] == "finished"  # what is not known is passed over
        with server.client() as client:
            for key in ("format", "payload", "damaged"):
                for what in ("status", "tree", "leaderboard"):
                    answer = client.get(f"/api/runs/{key}/{what}")
                    assert answer.json()["problem"]["message"], (key, what)


def test_a_burst_of_events_is_one_message(tmp_path):
    run = make_run(tmp_path / "run", finish=False)
    with served([run]) as server, server.client() as client:
        server.json("/api/runs/run/status")
        with Store.open(run, write=True) as store:
            first = store.last_event()
            with client.stream("GET", "/events", params={"run": "run"}) as stream:
                lines = stream.iter_lines()
                assert any(f'"event": {first}' in line for line in lines)
                with store.transaction():
                    for seq in range(5000):
                        store.add_event(WorkerLost(seq=seq, reason="burst"), decisive=False)
                started = time.monotonic()
                told = [next(line for line in lines if line.startswith("data"))]
                while f'"event": {first + 5000}' not in told[-1]:
                    told.append(next(line for line in lines if line.startswith("data")))
                assert len(told) <= 4
        assert time.monotonic() - started < 60
        assert server.json("/api/runs/run/status")["workers_lost"] == 5000


def test_folders_that_are_no_runs_are_refused_before_anything_is_served(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("empty", "file", "nowhere"):
        with pytest.raises(InputError) as error:
            Catalogue([tmp_path / name])
        assert error.value.hint
        here("dashboard", tmp_path / name).refused(2, name)


def test_a_port_in_use_is_one_clear_error(run, server):
    here("dashboard", run, "--port", server.port).refused(4, str(server.port), "--port")
    here("dashboard", run, "--host", "203.0.113.7").refused(4, "203.0.113.7")


def test_without_the_extra_it_says_what_to_install(run, tmp_path):
    for name in ("starlette", "uvicorn"):
        (tmp_path / "sitecustomize.py").write_text(
            "import importlib.util as u\nfound = u.find_spec\n"
            f"u.find_spec = lambda name, *more: None if name == {name!r} else found(name, *more)\n"
        )
        answer = engine("dashboard", run, path=tmp_path)
        answer.refused(4, name, "genesys-engine[dashboard]")
