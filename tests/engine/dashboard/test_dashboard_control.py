"""What can be asked of a run over HTTP, and who may ask."""

import os
import time

import httpx
import pytest
from dashboard_server import served
from sample_run import make_run

from genesys_engine.engine.run.requests import Requests, ask_to_pin, ask_to_stop, stop_is_asked
from genesys_engine.engine.store.lock import exclusive
from genesys_engine.engine.store.run_store import Store

STOP, PIN = "/api/runs/{run}/stop", "/api/runs/{run}/designs/{design}/pin"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that a process works on, and a finished one."""
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "sample")
    make_run(folder / "going", finish=False)
    with exclusive(folder / "going"):
        yield folder


@pytest.fixture(scope="module")
def server(runs):
    with served([runs], control=True) as found:
        yield found


def asked(server, path, method="POST", **names):
    names = {"run": "going", "design": 0, **names}
    with server.client() as client:
        return client.request(method, path.format(**names), headers={"origin": server.base})


def requests_of(runs, run="going"):
    return {path.name for path in (runs / run).glob("requests/*")}


def leaders(runs):
    with Store.open(runs / "going") as store:
        return store.leaderboard()


def test_without_the_option_there_is_no_such_address(runs):
    with served([runs]) as server:
        for path in (STOP, PIN):
            assert asked(server, path).status_code in (404, 405)
        assert server.json("/api/runs/going/status")["stop"] is None
        assert server.json("/api/runs/going/designs/0/pin")["pin"] is None
    assert not (runs / "going" / "requests").exists()


def test_only_a_page_of_ours_with_the_token_may_ask(server, runs):
    for path in (STOP.format(run="going"), PIN.format(run="going", design=0)):
        with server.client() as client:
            assert client.post(path).status_code == 403
            for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
                assert client.post(path, headers={"origin": origin}).status_code == 403
        ours = {"origin": server.base}
        assert httpx.post(server.base + path, headers=ours, trust_env=False).status_code == 401
    assert asked(server, STOP, method="GET").status_code == 405
    assert not (runs / "going" / "requests").exists()


def test_what_cannot_be_asked_is_one_message(server, runs):
    with Store.open(runs / "going") as store:
        designs = list(store.designs())
    rejected = next(row.id for row in designs if not row.accepted)
    top = next(row.id for row in leaders(runs) if row.rung == 2)
    for path, names, code in (
        (STOP, {"run": "sample"}, 409),  # finished
        (PIN, {"run": "sample"}, 409),
        (PIN, {"design": rejected}, 409),
        (PIN, {"design": top}, 409),
        (PIN, {"design": 99_999}, 404),
        (STOP, {"run": "nobody"}, 404),
    ):
        answer = asked(server, path, **names)
        assert answer.status_code == code, (path, names)
        assert answer.json()["problem"]["message"]
    assert requests_of(runs) == requests_of(runs, "sample") == set()


def test_a_request_is_shown_until_it_is_answered(server, runs):
    low = next(row.id for row in leaders(runs) if row.rung == 0)
    for _ in range(2):  # asking twice is asking once
        assert asked(server, PIN, design=low).json() == {"pin": "asked"}
        assert asked(server, STOP).json() == {"stop": "asked"}
    assert server.json(PIN.format(run="going", design=low)) == {"pin": "asked"}
    assert server.json("/api/runs/going/status")["stop"] == "asked"
    said = []
    requests = Requests(runs / "going", lambda: None, said.append)
    assert requests.should_stop() == "interrupted"
    assert requests.should_stop() == "interrupted"
    assert list(requests.pins()) == [low]
    requests.close()
    assert len(said) == 1
    assert requests_of(runs) == set()
    assert server.json("/api/runs/going/status")["stop"] == "possible"
    assert server.json(PIN.format(run="going", design=low)) == {"pin": "possible"}


def test_a_folder_that_cannot_be_written_to_is_one_message(server, runs):
    (runs / "going" / "requests").rmdir()
    (runs / "going" / "requests").write_text("in the way")
    try:
        answer = asked(server, STOP)
    finally:
        (runs / "going" / "requests").unlink()
    assert answer.status_code == 409
    assert answer.json()["problem"]["hint"]


def test_a_request_to_stop_is_forgotten_by_the_next_process_and_one_to_pin_is_not(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    exclusive(folder).close()
    ask_to_stop(folder)
    ask_to_pin(folder, 3)
    ask_to_pin(folder, 12)
    assert stop_is_asked(folder)
    later = time.time() + 5
    with exclusive(folder):
        os.utime(folder / "lock", (later, later))  # as a process that starts later leaves it
        assert not stop_is_asked(folder)
        requests = Requests(folder, lambda: None, lambda text: None)
        assert requests.should_stop() is None
        taken = requests.pins()
        assert next(taken) == 3
        assert (folder / "requests" / "pin-3").exists()  # not answered yet, were it killed here
        assert list(taken) == [12]
