"""What is wrong with a service is named by kind; schemas that it refuses are left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Handler, fails, hangs, raw, resets, says
from llm_support import Bench, request

from genesys_engine.engine.llm.attempt import SCHEMA_LEFT_OUT
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.spending import Caps
from genesys_engine.engine.store.event_types import LLMSchemaRefused
from genesys_engine.operators.llm.ratings import Rating
from genesys_engine.plugins.api import (
    BudgetSpent,
    LLMRefused,
    LLMRequestRefused,
    LLMUnavailable,
)
from genesys_engine.plugins.llm.litellm import LiteLLMBackend, LiteLLMOptions
from genesys_engine.plugins.llm.replies import BadReply, ask_json

MODELS = ["openai/tiny", "hosted_vllm/tiny"]  # through the client of OpenAI, and LiteLLM's own
SCHEMA = Rating.model_json_schema()
RATING = '{"reason": "fine", "score": 4}'
GRAMMAR = "Failed to initialize samplers: failed to parse grammar"


def through(bench: Bench, server: ChatServer, model: str = "openai/tiny", **section: Any):
    options = LiteLLMOptions(model=model, api_base=server.url, json_schema=True)
    return bench.gateway("litellm", options.model_dump(mode="json"), **section)


def page(kind: str) -> Answer:
    """Answer with the page of a proxy that asks for a login."""

    def answer(handler: Handler) -> None:
        body = b"<!doctype html>\n<html><body>Please log in</body></html>"
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


# --- kinds of faults ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (fails(429, "slow down"), "limited", ("rate limited", "slow down", "requests_per_minute")),
        (hangs(2), "slow", ("no answer in time", "deadline_s")),
        (None, "down", ("nothing answers there", "refused", "api_base")),
        (fails(500, "boom"), "failing", ("answers with an error", "boom")),
        (resets, "lost", ("broke off", "reset")),
    ],
    ids=["429", "slow", "down", "500", "reset"],
)
def test_a_fault_is_named_with_the_address(
    bench: Bench, model: str, fault: Answer | None, kind: str, words: tuple[str, ...]
) -> None:
    with ChatServer(fault or says("never")) as server:
        if fault is None:
            server.server_close()
        gateway = through(bench, server, model, deadline_s=0.3, give_up_after_s=1.5)
        warm = LiteLLMBackend(LiteLLMOptions(model=model, api_base="http://127.0.0.1:9/v1"))
        with pytest.raises(LLMUnavailable):  # imports what a first call imports
            warm.complete(request())
        with pytest.raises(LLMOutage) as caught:
            gateway.client("1").ask("coder", request())
    told = str(caught.value)
    assert server.url in told
    assert [word for word in words if word not in told] == []
    assert "litellm." not in told
    assert told.count("Error: ") <= 1
    for notice in bench.notices:
        assert (notice.kind, notice.address) == (kind, server.url)
        assert notice.next_try_s >= 0


def test_a_long_pause_that_a_service_asks_for_is_reported_at_once(bench: Bench) -> None:
    waited: list[int] = []

    def stop() -> str | None:
        waited.append(len(bench.notices))
        return "enough" if bench.notices else None

    with ChatServer(fails(429, Retry_After="31")) as server:
        gateway = through(bench, server, should_stop=stop, give_up_after_s=60.0)
        with pytest.raises(BaseException):  # noqa: B017, PT011 - LLMInterrupted, which is no Exception
            gateway.client("1").ask("coder", request())
        assert len(server.asked) == 1
    (notice,) = bench.notices
    assert notice.kind == "limited"
    assert 31 <= notice.next_try_s < 32


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "answer",
    [page("text/html"), page("application/json"), raw(b'{"ok": true}'), raw(b"hello")],
    ids=["html", "html called JSON", "other JSON", "words"],
)
def test_what_is_no_openai_reply_asks_to_check_the_address(
    bench: Bench, model: str, answer: Answer
) -> None:
    with ChatServer(answer) as server:
        with pytest.raises(LLMRefused, match="no OpenAI reply") as caught:
            through(bench, server, model).client("1").ask("coder", request())
        assert len(server.asked) == 1, "no other answer is to be expected"
    assert server.url in str(caught.value)
    assert "api_base" in str(caught.value.hint)


def test_a_page_of_a_proxy_may_pass_where_the_service_has_answered(bench: Bench) -> None:
    with ChatServer(says("yes"), page("text/html"), says("again")) as server:
        client = through(bench, server).client("1")
        assert client.ask("coder", request()).text == "yes"
        assert client.ask("coder", request(seed=1)).text == "again"


@pytest.mark.parametrize("model", MODELS)
def test_names_of_errors_are_reported_once(bench: Bench, model: str) -> None:
    with ChatServer(fails(401, "Incorrect API key")) as server:
        client = through(bench, server, model).client("1")
        with pytest.raises(LLMRefused) as caught:
            client.ask("coder", request())
    assert caught.value.message.endswith("AuthenticationError: Incorrect API key")


# --- schemas that a service refuses --------------------------------------------------------------


def compiles(limit: int, *then: Answer, status: int = 400) -> Answer:
    """Answer as a server whose grammar takes no length of `limit` or more; 0 takes no schema."""
    answers = list(then)

    def answer(handler: Handler) -> None:
        schema = json.loads(handler.body).get("response_format")
        lengths = [int(word.strip(" ,}")) for word in json.dumps(schema).split('"maxLength":')[1:2]]
        if schema is not None and (limit == 0 or any(each >= limit for each in lengths)):
            fails(status, GRAMMAR)(handler)
        else:
            (answers.pop(0) if len(answers) > 1 else answers[0])(handler)

    return answer


def test_a_reviewers_schema_is_taken_by_a_grammar_with_limits(bench: Bench) -> None:
    with ChatServer(compiles(2000, says(RATING))) as server:
        client = through(bench, server).client("1")
        assert ask_json(client, "reviewer", request(schema=SCHEMA))["score"] == 4
        assert len(server.asked) == 1
    assert bench.notices == []


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_refused_schema_is_left_out_and_remembered(bench: Bench, model: str, status: int) -> None:
    with ChatServer(compiles(0, says(RATING), status=status)) as server:
        gateway = through(bench, server, model)
        client = gateway.client("1")
        for seed in range(3):
            found = ask_json(client, "reviewer", request(schema=SCHEMA, seed=seed))
            assert found["score"] == 4
        formats = ["response_format" in asked for asked in server.asked]
        assert formats == [True, False, False, False]
        ask_json(client, "observer", request(schema=SCHEMA, seed=9))
        assert ["response_format" in asked for asked in server.asked[4:]] == [True, False]
    assert [notice.role for notice in bench.notices] == ["reviewer", "observer"]
    assert all(isinstance(notice, LLMSchemaRefused) for notice in bench.notices)
    assert GRAMMAR in bench.notices[0].reason
    calls = list(Ledger(bench.ledger_file, write=False).calls())
    assert [GRAMMAR in call.details[SCHEMA_LEFT_OUT] for call in calls] == [True] * 4
    assert all(call.request["schema"] == SCHEMA for call in calls), "the record has it whole"


def test_a_reply_without_a_schema_is_checked_all_the_same(bench: Bench) -> None:
    bad = '{"reason": "great", "score": 9}'
    with ChatServer(compiles(0, says(bad))) as server:
        with pytest.raises(BadReply, match="maximum"):
            ask_json(through(bench, server).client("1"), "reviewer", request(schema=SCHEMA))
        assert len(server.asked) == 3  # with, without, and once to correct it


def test_a_request_that_is_refused_without_its_schema_too_is_at_fault_itself(bench: Bench) -> None:
    script = (says("yes"), fails(400, "too long"), fails(400, "too long"), says(RATING))
    with ChatServer(*script) as server:
        client = through(bench, server).client("1")
        client.ask("coder", request())
        with pytest.raises(LLMRequestRefused, match="too long"):
            client.ask("reviewer", request("long", schema=SCHEMA))
        client.ask("reviewer", request(schema=SCHEMA))
        assert ["response_format" in asked for asked in server.asked] == [False, True, False, True]
    assert bench.notices == []


def test_a_cap_holds_for_the_request_without_a_schema(bench: Bench) -> None:
    with ChatServer(compiles(0, says(RATING))) as server:
        gateway = through(bench, server, caps=Caps(tokens=30))
        client = gateway.client("1")
        client.ask("reviewer", request(schema=SCHEMA))
        with pytest.raises(BudgetSpent):
            client.ask("reviewer", request(schema=SCHEMA, seed=1))
        assert len(server.asked) == 2
        assert gateway.usage()["reviewer"].calls == 1


def test_a_resumed_run_finds_replies_by_the_whole_schema(bench: Bench) -> None:
    with ChatServer(compiles(0, says(RATING))) as server:
        through(bench, server).client("1").ask("reviewer", request(schema=SCHEMA))
        later = through(Bench(bench.folder), server).client("1")
        assert later.ask("reviewer", request(schema=SCHEMA)).text == RATING
        assert len(server.asked) == 2
