"""A model whose replies are of no use: what it says, a stop before the cap, the exchange."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Handler, answers, fails, says
from engine_process import here, write_experiment
from test_llm_runs import Trial, http

from genesys_engine.engine.jobs.results import Abandoned
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.streak import LLMNoUse, Streak
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.lines import line_of
from genesys_engine.engine.views.run import view
from genesys_engine.plugins import event_kinds as events

PROSE = "As a helpful assistant, I would love to\x1b[2J talk about gating.\nIt is known to help."
FIRST_LINE = "As a helpful assistant, I would love to[2J talk about gating."
KEY = "sk-0123456789abcdef"


def broken(folder: Path, server: ChatServer, **more: Any) -> Trial:
    return Trial(folder, llm=http(server, **more), use="llm_mutation", designs=12)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trial, LLMOutage, int]:
    """A run with a model that talks, the error that ended it, and how often it was asked."""
    with ChatServer(says(PROSE)) as server:
        trial = broken(tmp_path_factory.mktemp("broken") / "run", server)
        with pytest.raises(LLMNoUse) as caught:
            trial.go()
        return trial, caught.value, len(server.asked)


def abandoned(trial: Trial) -> list[dict[str, Any]]:
    with Store.open(trial.folder) as store:
        return [dict(e.payload) for e in store.events() if e.kind == events.DESIGN_ABANDONED]


def test_equal_failures_stop_the_run_with_advice(stopped: tuple[Trial, LLMOutage, int]) -> None:
    trial, error, asked = stopped
    assert error.exit_code == 4
    failures = abandoned(trial)
    assert [each["code"] for each in failures] == ["proposal.malformed"] * 5
    assert asked <= 4 * (5 + 4), "two tries with a correction each, and what was under way"
    told = str(error)
    assert f"llm show RUN t{failures[-1]['seq']}" in told
    assert [
        w
        for w in (FIRST_LINE, "json_schema", "api_base", "openai/tiny", "http://127")
        if w not in told
    ] == []
    assert trial.told[-1] == "run.stopped"


def test_what_the_model_said_is_shown_where_a_design_is_given_up(
    stopped: tuple[Trial, LLMOutage, int],
) -> None:
    trial, _, _ = stopped
    with Store.open(trial.folder) as store:
        run = view(store)
        (line, *_) = [line_of(e, run) for e in store.events() if e.kind == events.DESIGN_ABANDONED]
    assert FIRST_LINE in line
    assert "proposer" in line
    assert f"t{abandoned(trial)[0]['seq']}" in line


def test_a_stopped_run_is_resumed_with_a_model_that_works(tmp_path: Path) -> None:
    with ChatServer(says(PROSE)) as server:
        trial = broken(tmp_path / "run", server, stop_after_failures=2)
        with pytest.raises(LLMNoUse):
            trial.go()
    count = len(abandoned(trial))
    with ChatServer(answers) as server:
        trial.llm = http(server, stop_after_failures=0)
        trial.go()
    assert len(abandoned(trial)) > count


def test_no_limit_is_no_stop(tmp_path: Path) -> None:
    with ChatServer(says(PROSE)) as server:
        trial = broken(tmp_path / "run", server, stop_after_failures=0)
        trial.go()
    assert len(abandoned(trial)) > 5


class Limit:
    """A gateway as far as a streak asks it."""

    stop_after_failures = 3

    def place(self, role: str) -> str:
        return f"the model of the {role}"


def test_only_equal_failures_in_a_row_count() -> None:
    streak = Streak(Limit())  # type: ignore[arg-type]
    malformed = Abandoned("llm_mutation", "proposal.malformed", "no JSON", {}, role="proposer")
    leak = Abandoned("llm_mutation", "causality.leak", "Idea one failed.", {})
    for each in (malformed, malformed, None, malformed, leak, malformed, malformed, leak):
        streak.note(1, each)
    for number in range(4):  # each with an idea of its own: the designer works
        streak.note(2, replace(leak, reason=f"Idea {number} failed."))
    streak.note(3, malformed)
    streak.note(4, replace(malformed, reason="another sentence"))
    with pytest.raises(LLMNoUse, match=r"the last 3 designs .* no JSON"):
        streak.note(5, malformed)


def test_an_exchange_is_printed_whole_and_harmless(
    stopped: tuple[Trial, LLMOutage, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, _, _ = stopped
    seq = abandoned(trial)[0]["seq"]
    monkeypatch.setenv("SOME_API_KEY", "a helpful assistant")
    shown = here("llm", "show", trial.folder, f"t{seq}")
    assert shown.code == 0, shown.err
    assert shown.out.count("--- reply") == 4
    assert "Reply with JSON" in shown.out
    assert "It is known to help." in shown.out
    assert "\x1b" not in shown.out
    assert "a helpful assistant" not in shown.out
    here("llm", "show", trial.folder, "gtp").refused(
        2, "no design 'gtp'", "did you mean 'gpt'?", "llm show RUN"
    )
    seed = here("llm", "show", trial.folder, "gpt")
    assert (seed.code, seed.out) == (0, "")
    assert "no calls for gpt" in seed.err
    listed = here("llm", "show", trial.folder)
    assert f"t{seq}" in listed.out
    assert "proposal.malformed" in listed.out
    data = json.loads(here("llm", "show", trial.folder, f"t{seq}", "--json").out)["data"]
    assert [call["role"] for call in data] == ["proposer"] * 4
    assert data[0]["request"]["schema"]["properties"]["title"]["maxLength"] == 120
    here("llm", "show", trial.folder, "999").refused(2, "999")


# --- one small call per role ---------------------------------------------------------------------

LLM = """
[[operators]]
use = "llm_mutation"
[llm]
use = "litellm"
model = "openai/tiny"
api_base = "{url}"
json_schema = true
"""
RATING = '{"reason": "fine", "score": 4}'


class Rater:
    """Rates where JSON is asked for, and counts the requests by kind."""

    def __init__(self, rating: str = RATING) -> None:
        self.rating = rating
        self.lock = threading.Lock()

    def __call__(self, handler: Handler) -> None:
        rated = "response_format" in json.loads(handler.body)
        says(self.rating if rated else "ready")(handler)


def experiment(folder: Path, server: ChatServer) -> Path:
    return write_experiment(folder, designs=1, more=LLM.format(url=server.url))


def test_validate_asks_nobody_without_live(tmp_path: Path) -> None:
    with ChatServer(Rater()) as server:
        file = experiment(tmp_path, server)
        assert here("validate", file).code == 0
        assert server.asked == []
        answer = here("validate", file, "--live")
        assert answer.code == 0, answer.err
        assert len(server.asked) == 5
        assert ["response_format" in asked for asked in server.asked].count(True) == 3
        assert server.url in answer.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fails(401, "who are you"), ("who are you", "key")),
        (fails(429, "slow down"), ("rate limited", "slow down")),
        (says("<html>"), ("JSON", "json_schema")),
        (None, ("nothing answers there", "api_base")),
    ],
    ids=["401", "429", "no JSON", "down"],
)
def test_what_fails_is_reported_for_every_role(
    tmp_path: Path, answer: Answer | None, words: tuple[str, ...]
) -> None:
    with ChatServer(answer or says("never")) as server:
        file = experiment(tmp_path, server)
        if answer is None:
            server.server_close()
        result = here("validate", file, "--live", "--json")
    assert result.code == 2
    problems = json.loads(result.out)["data"]["problems"]
    assert len(problems) >= 3
    for problem in problems:
        told = json.dumps(problem)
        assert server.url in told
        assert [word for word in words if word not in told] == []
        assert "0.001" not in told, "a wait that nobody asked for"


@pytest.mark.slow
def test_doctor_asks_the_models_of_an_experiment(tmp_path: Path) -> None:
    """One of them is down."""
    with ChatServer(Rater()) as server, ChatServer(says("never")) as down:
        down.server_close()
        file = experiment(tmp_path, server)
        role = f'[llm.roles.observer]\napi_base = "{down.url}"\n'
        file.write_text(f"{file.read_text()}\n{role}")
        rows = json.loads(here("doctor", file, "--json").out)["data"]
        assert len(server.asked) == 4
    found = [row for row in rows if row["name"].startswith("LLM ") and row["name"] != "LLM keys"]
    assert sorted(row["status"] for row in found) == ["fail", *["ok"] * 4]
    (failed,) = (row for row in found if row["status"] == "fail")
    assert "nothing answers there" in failed["found"]
