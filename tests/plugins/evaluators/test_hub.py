"""The hub is asked once and shortly; nothing here reaches further than this machine."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import commands
import pytest
from huggingface_hub import constants

from genesys_engine.plugins.evaluators import hub

PREPARE = """
import sys
from pathlib import Path
from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.evaluators.library_tasks import prepare
from genesys_engine.plugins.evaluators.task_names import expand
try:
    prepare(expand(["arc_easy"]), Path(sys.argv[1]), lambda stage: None)
except EnvironmentProblem as problem:
    print(problem.message, problem.hint, sep="\\n")
"""


@contextmanager
def answering(status: int, asked: list[str]) -> Iterator[str]:
    """Yield the address of a server that answers everything with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def silent() -> Iterator[str]:
    """Yield the address of one that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("status", "told"), [(200, ""), (404, ""), (503, "status 503")])
def test_an_answer_is_taken_for_the_hub_unless_it_is_a_failure(
    status: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with answering(status, asked) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        problem = hub.unreachable()
    assert problem.endswith(told)
    assert bool(problem) is bool(told)
    assert asked == ["HEAD /"], "once"


def test_one_that_never_answers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    with silent() as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        assert endpoint in hub.unreachable()


def test_without_a_network_on_purpose_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with answering(503, asked) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        assert hub.unreachable() == ""
    assert asked == []


def test_offline_holds_for_the_libraries_and_ends() -> None:
    from datasets import config

    before = config.HF_HUB_OFFLINE
    with hub.offline():
        assert constants.is_offline_mode()
        assert config.HF_HUB_OFFLINE
    assert not constants.is_offline_mode()
    assert config.HF_HUB_OFFLINE is before


@pytest.mark.parametrize("cached", [False, True])
def test_a_task_of_the_hub_that_is_not_there_fails_without_trying_again(
    tmp_path: Path, cached: bool
) -> None:
    """`HF_ENDPOINT` is the hub that is asked; data of other sets do not change the answer."""
    asked: list[str] = []
    if cached:
        (tmp_path / "hf" / "datasets" / "another___set").mkdir(parents=True)
    with answering(503, asked) as endpoint:
        environment = {
            **{k: v for k, v in os.environ.items() if k.lower() not in ("http_proxy", "all_proxy")},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
        }
        began = time.monotonic()
        done = commands.run(
            [sys.executable, "-c", PREPARE, str(tmp_path)],
            env=environment, timeout=120, check=True,
        )  # fmt: skip
        print(f"{time.monotonic() - began:.1f} s")
    message, hint = done.stdout.splitlines()
    assert "the data of the task arc_easy cannot be reached" in message
    assert f"{endpoint} answers with status 503" in message
    assert '"offline" or "bigbench"' in hint
    assert asked == ["HEAD /"], "the hub's client does not try for itself"
