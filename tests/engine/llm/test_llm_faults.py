"""What a service may do wrong, over real HTTP, through the real client."""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from chat_server import Answer, ChatServer, breaks_off, drips, fails, hangs, raw, resets, says
from llm_support import Bench, request

from genesys_engine.engine.llm.gateway import Gateway, LLMOutage
from genesys_engine.engine.llm.spending import Caps
from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import (
    BudgetSpent,
    LLMRefused,
    LLMReply,
    LLMRequest,
    LLMRequestRefused,
)
from genesys_engine.plugins.llm.replies import BadReply, ask_json, extract_code_blocks
from genesys_engine.plugins.llm.schemas import sent_schema

KEY = "sk-test-0123456789abcdef"
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number"}},
    "required": ["score"],
}


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import LiteLLM, which takes seconds that the first deadline would have to allow for."""
    importlib.import_module("litellm")


def through(bench: Bench, server: ChatServer, **more: Any) -> Gateway:
    section = {k: more.pop(k) for k in ("caps", "give_up_after_s", "deadline_s") if k in more}
    options = {"model": "openai/tiny", "api_base": server.url, **more}
    return bench.gateway("litellm", read(options), **section)


def read(options: dict[str, Any]) -> dict[str, Any]:
    """Return all options, defaults included, as an experiment holds them."""
    from genesys_engine.plugins.llm.litellm import LiteLLMOptions

    return LiteLLMOptions(**options).model_dump(mode="json")


def asks(bench: Bench, *script: Answer, **more: Any) -> tuple[LLMReply, ChatServer]:
    with ChatServer(*script) as server:
        asked = request(**{k: more.pop(k) for k in ("schema", "seed") if k in more})
        return through(bench, server, **more).client("1").ask("coder", asked), server


# --- what passes -------------------------------------------------------------------------------


def test_a_reply_comes_with_its_counts(bench: Bench) -> None:
    reply, server = asks(bench, says("yes"), seed=7)
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("yes", 12, 7)
    assert reply.details["finish_reason"] == "stop"
    assert reply.usd is None  # nobody knows the price of "tiny"
    (asked,) = server.asked
    assert asked["messages"] == [{"role": "user", "content": "Say yes."}]
    assert (asked["seed"], asked["max_tokens"], asked["temperature"]) == (7, 16, 0.0)
    assert "response_format" not in asked
    assert "purpose" not in json.dumps(asked)


def test_prices_of_the_options_count(bench: Bench) -> None:
    reply, _ = asks(bench, says("yes"), input_usd_per_million=1.0, output_usd_per_million=10.0)
    assert reply.usd == pytest.approx(12e-6 + 70e-6)


def test_a_schema_goes_to_a_server_that_takes_one(bench: Bench) -> None:
    _, server = asks(bench, says('{"score": 1}'), schema=SCHEMA, json_schema=True)
    told = server.asked[0]["response_format"]
    assert (told["type"], told["json_schema"]["schema"]) == ("json_schema", sent_schema(SCHEMA))


@pytest.mark.parametrize(
    "fault",
    [fails(429), fails(500), fails(503), resets, raw(b'{"choices": [{"mess'), raw(b"")],
    ids=["429", "500", "503", "reset", "cut JSON", "empty body"],
)
def test_what_passes_is_asked_again(bench: Bench, fault: Answer) -> None:
    reply, server = asks(bench, fault, fault, says("yes"))
    assert reply.text == "yes"
    assert len(server.asked) == 3


def test_retry_after_is_kept_to(bench: Bench) -> None:
    _, server = asks(bench, fails(429, Retry_After="1"), says("yes"))
    assert server.at[1] - server.at[0] >= 1.0


@pytest.mark.parametrize("fault", [hangs(60), drips(60)], ids=["silent", "dripping"])
def test_a_time_out_is_asked_again(
    bench: Bench, fault: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genesys_engine.engine.llm.gateway.GRACE_S", 0.2)
    asks(Bench(bench.folder), says("warm"), seed=99)  # the client is imported
    started = time.monotonic()
    reply, server = asks(bench, fault, says("yes"), deadline_s=2.0)
    assert reply.text == "yes"
    assert len(server.asked) == 2
    assert time.monotonic() - started < 60


def test_a_server_that_is_not_there_is_an_outage(bench: Bench) -> None:
    with ChatServer(says("never")) as server:
        pass
    gateway = through(bench, server, give_up_after_s=0.6)
    with pytest.raises(LLMOutage, match=r"no answer for 0\.6 s"):
        gateway.client("1").ask("coder", request())
    assert [notice.KIND for notice in bench.notices] == ["llm.unreachable"]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "hint"), [(401, "key"), (403, "key"), (404, "model")])
def test_a_refusal_is_never_asked_again(bench: Bench, status: int, hint: str) -> None:
    with ChatServer(fails(status, "not for you")) as server:
        with pytest.raises(LLMRefused, match="not for you") as caught:
            through(bench, server).client("1").ask("coder", request())
        assert hint in str(caught.value.hint)
        assert len(server.asked) == 1


def test_a_request_that_is_too_long_is_the_requests_fault(bench: Bench) -> None:
    with ChatServer(says("yes"), fails(400, "maximum context length exceeded")) as server:
        client = through(bench, server).client("1")
        client.ask("coder", request())
        for _ in range(2):
            with pytest.raises(LLMRequestRefused, match="context length"):
                client.ask("coder", request("long"))
        assert len(server.asked) == 2


# --- replies of no use -------------------------------------------------------------------------


def test_an_empty_reply_is_a_reply(bench: Bench) -> None:
    reply, server = asks(bench, says(""))
    assert reply.text == ""
    assert extract_code_blocks(reply.text) == []
    assert len(server.asked) == 1


def test_a_wrong_schema_is_fixed_once(bench: Bench) -> None:
    with ChatServer(says('{"grade": 5}'), says('Sorry: {"score": 5}')) as server:
        client = through(bench, server).client("1")
        assert ask_json(client, "reviewer", request(schema=SCHEMA)) == {"score": 5}
        assert "'score' is a required property" in server.asked[1]["messages"][-1]["content"]
    with ChatServer(says('{"grade": 5}')) as server:
        client = through(Bench(bench.folder), server).client("1")
        with pytest.raises(BadReply, match="required"):
            ask_json(client, "reviewer", request(schema=SCHEMA, seed=1))
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "text", ["I would rather not.", "Das ist kein Programm.", "これは散文です"]
)
def test_prose_and_other_languages_are_no_code(bench: Bench, text: str) -> None:
    reply, _ = asks(bench, says(text))
    assert reply.text == text
    assert extract_code_blocks(reply.text) == []


def test_a_reply_of_10_mb_is_bounded(bench: Bench) -> None:
    reply, _ = asks(bench, says("x" * 10_000_000))
    assert len(reply.text) == 200_000
    assert bench.ledger_file.stat().st_size < 2_000_000


def test_a_reply_without_counts_is_counted(bench: Bench) -> None:
    reply, _ = asks(bench, says("yes, sir", usage=False))
    assert reply.output_tokens == 3
    assert reply.details["estimated"]


# --- keys --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", " \n"])
def test_a_missing_key_is_reported_before_anything_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    for name in ("OPENAI_API_KEY", "MY_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with ChatServer(says("yes")) as server:
        gateway = through(bench, server, key_variable="MY_SECRET_KEY")
        with pytest.raises(InputError, match="MY_SECRET_KEY is not set"):
            gateway.prepare()
        hosted = bench.gateway("litellm", read({"model": "openai/gpt-4o-mini"}))
        with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
            hosted.prepare()
        assert server.asked == []
    assert os.environ.get("OPENAI_API_KEY") == value, "the environment is left as it is"


def test_the_key_of_a_provider_is_not_sent_to_another_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, server = asks(bench, says("yes"))
    assert server.keys == ["Bearer none"]


@pytest.mark.parametrize("variable", ["SPECIAL_API_KEY", "MYPROVIDER"])
def test_a_key_shows_up_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, KEY)
    script = (fails(503, f"key {KEY} is busy"),) * 4 + (says(f"your key is {KEY}"),)
    with ChatServer(*script) as server:
        gateway = through(bench, server, key_variable=variable)
        gateway.client("1").ask("coder", request())
        assert server.keys[-1] == f"Bearer {KEY}"
    assert bench.notices
    assert KEY not in str(bench.notices)
    gateway.close()
    assert KEY.encode() not in bench.ledger_file.read_bytes()
    with ChatServer(fails(401, f"Incorrect API key provided: {KEY}")) as server:
        gateway = through(Bench(bench.folder), server, key_variable=variable)
        with pytest.raises(LLMRefused) as caught:
            gateway.client("1").ask("coder", request(seed=1))
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)


@pytest.mark.parametrize("status", [401, 503, 200])
def test_no_part_of_a_key_shows_where_a_long_message_is_cut(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("SPECIAL_API_KEY", KEY)
    for before in range(250, 510, len(KEY) - 8):
        message = f"{'x' * before} {KEY}"
        fault = raw(message.encode()) if status == 200 else fails(status, message)
        with ChatServer(fault) as server:
            named = {"model": "hosted_vllm/tiny", "key_variable": "SPECIAL_API_KEY"}
            gateway = through(bench, server, give_up_after_s=0.001, **named)
            with pytest.raises((LLMRefused, LLMOutage), match="xxx") as caught:
                gateway.client("1").ask("coder", request())
        assert KEY[:4] not in str(caught.value)


# --- caps --------------------------------------------------------------------------------------


def test_a_cap_in_the_middle_of_a_design_stops_within_one_call(bench: Bench) -> None:
    def design(ask: Callable[[LLMRequest], Any]) -> int:
        for step in range(10):
            ask(request(f"step {step}"))
        return 10

    with ChatServer(says("yes")) as server:
        gateway = through(bench, server, caps=Caps(tokens=70))
        client = gateway.client("1")
        with pytest.raises(BudgetSpent):
            design(lambda asked: client.ask("coder", asked))
        made = len(server.asked)
        assert 2 <= made <= 3
        gateway.close()
        resumed = through(Bench(bench.folder), server, caps=Caps(tokens=10_000)).client("1")
        assert design(lambda asked: resumed.ask("coder", asked)) == 10
        assert len(server.asked) == 10  # what was paid for is not paid for again
    with sqlite3.connect(bench.ledger_file) as db:
        assert db.execute("SELECT COUNT(*), SUM(output_tokens) FROM llm_calls").fetchone() == (
            10,
            70,
        )


def test_a_cap_in_dollars_needs_a_price(bench: Bench) -> None:
    with ChatServer(says("yes")) as server:
        gateway = through(bench, server, caps=Caps(usd=1.0))
        with pytest.raises(InputError, match=r"price of litellm .* is unknown"):
            gateway.prepare()
        prices = {"input_usd_per_million": 0.0, "output_usd_per_million": 1.0}
        through(bench, server, caps=Caps(usd=1.0), **prices).prepare()
        assert server.asked == []


MODELS = ["openai/tiny", "hosted_vllm/tiny"]  # through the client of OpenAI, and LiteLLM's own


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genesys_engine.engine.llm.gateway.GRACE_S", 0.2)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "fault",
    [hangs(3), drips(3), resets, breaks_off, raw(b'{"choices": [{"mess')],
    ids=["silent", "dripping", "reset", "broken off", "cut JSON"],
)
def test_a_lost_reply_counts_against_a_cap(
    bench: Bench, impatient: None, fault: Answer, model: str
) -> None:
    with ChatServer(fault) as server:
        gateway = through(
            bench, server, model=model, caps=Caps(tokens=60), deadline_s=0.5, give_up_after_s=60.0
        )
        with pytest.raises(BudgetSpent, match=r"lost replies.* budget\.llm_tokens"):
            gateway.client("1").ask("coder", request())
        assert len(server.asked) == 2  # each may have used 27
        assert gateway.usage() == {}  # what is shown is what was counted


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [None, 408, 429, 503, 504])
def test_what_a_service_did_not_take_counts_nothing(
    bench: Bench, status: int | None, model: str
) -> None:
    with ChatServer(*[fails(status or 500)] * 4, says("yes")) as server:
        if status is None:
            server.server_close()  # nobody listens
        patience = {"give_up_after_s": 0.7} if status is None else {}
        gateway = through(bench, server, model=model, caps=Caps(tokens=60), **patience)
        if status is None:
            with pytest.raises(LLMOutage):
                gateway.client("1").ask("coder", request())
        else:  # four calls of 27 each would be above the cap
            assert gateway.client("1").ask("coder", request()).text == "yes"


def test_near_a_cap_nobody_waits_for_a_server_that_drips(bench: Bench, impatient: None) -> None:
    with ChatServer(drips(60)) as server:
        gateway = through(bench, server, caps=Caps(tokens=40), deadline_s=0.5, give_up_after_s=60.0)
        started = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            asked = [
                threads.submit(gateway.client("1").ask, "coder", request(seed=seed))
                for seed in range(2)
            ]
            for future in asked:
                with pytest.raises(BudgetSpent):
                    future.result(250)
        assert time.monotonic() - started < 60
        assert len(server.asked) == 1
