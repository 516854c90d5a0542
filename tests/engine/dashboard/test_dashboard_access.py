"""Who may ask the dashboard, what it answers, and what it refuses."""

import http.client
import json

import httpx
import pytest
from dashboard_server import served
from sample_run import make_run

from genesys_engine.engine.dashboard.access import Hosts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "sample", change="<img src=x onerror=boom()>")


@pytest.fixture(scope="module")
def server(run):
    with served([run]) as found:
        yield found


def asked(server, path="/api/runs", **headers):
    """Ask with the cookie of somebody who has opened the address, and with these headers."""
    with server.client() as client:
        return client.get(path, headers=headers)


def test_nothing_is_answered_without_the_token(server):
    secret = ("/api/runs", "/api/runs/sample/status", "/events?run=sample")
    for path in ("/", "/static/app.js", *secret):
        answer = httpx.get(server.base + path, trust_env=False)
        assert answer.status_code == 401, path
        assert "sample" not in answer.text
    wrong = httpx.get(f"{server.base}/?token={server.token[:-1]}x", trust_env=False)
    assert wrong.status_code == 401
    assert "set-cookie" not in wrong.headers


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(server):
    answer = httpx.get(server.address, trust_env=False)
    cookie = answer.headers["set-cookie"]
    assert server.token in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert asked(server).status_code == 200


def test_every_answer_carries_the_policy(server):
    for path in ("/", "/static/app.js", "/api/runs", "/nowhere"):
        headers = asked(server, path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "localhost.evil"]
)
def test_a_name_of_somebody_else_is_refused(server, host):
    assert asked(server, host=host).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9999", "127.0.0.1:1"])
def test_a_forwarded_port_is_ours(server, host):
    assert asked(server, host=host).status_code == 200


def test_a_page_of_another_site_is_refused(server):
    assert asked(server, origin="https://evil.example").status_code == 403
    assert asked(server, origin="null").status_code == 403
    assert asked(server, origin=server.base).status_code == 200


def test_what_changes_something_says_where_it_comes_from(server):
    with server.client() as client:
        assert client.post("/api/runs").status_code == 403


def test_digits_are_allowed_only_where_it_listens_to_others():
    assert not Hosts("127.0.0.1").allow("192.168.1.5:8765")
    assert Hosts("0.0.0.0").allow("192.168.1.5:8765")
    assert not Hosts("0.0.0.0").allow("evil.example")
    assert Hosts("0.0.0.0", ["box.example"]).allow("BOX.example:80")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../serve.py",
        "/static/%2e%2e/serve.py",
        "/static/..%2fserve.py",
        "/static//etc/passwd",
        "/api/runs/../../etc/passwd/status",
        "/api/runs/..%2f..%2fetc/status",
        "/api/runs/%2fetc/status",
        "/api/runs/sample%00/status",
    ],
)
def test_no_path_leads_outside(server, path):
    # Unlike a client for the web, it sends a path as it is.
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with server.client() as client:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    connection.request("GET", path, headers={"Cookie": cookies})
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"root:" not in answer.read()
    connection.close()


def test_an_unknown_run_is_one_clear_message(server):
    answer = asked(server, "/api/runs/nobody/status")
    assert answer.status_code == 404
    assert set(answer.json()["problem"]) == {"message", "where", "hint"}


def test_nothing_is_written_to_a_run(run, server):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    for name in ("status", "tree", "leaderboard", "fitness", "pareto", "failures", "llm", "work"):
        assert asked(server, f"/api/runs/sample/{name}").status_code == 200, name
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_texts_of_a_run_stay_texts(server):
    rows = asked(server, "/api/runs/sample/leaderboard?limit=200").json()["rows"]
    assert any("<img src=x" in row["change"] for row in rows)  # as JSON: the page makes texts of it
    assert asked(server, "/api/runs/sample/status").headers["content-type"] == "application/json"
    json.dumps(rows)
