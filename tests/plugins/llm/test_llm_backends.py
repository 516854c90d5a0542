"""The built-in back ends keep the contract that plugins' ones inherit; recordings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import (
    LLMPrice,
    LLMRefused,
    LLMRequest,
    LLMRequestRefused,
    LLMUnavailable,
)
from genesys_engine.plugins.llm.failures import classify, retry_after_s
from genesys_engine.plugins.llm.litellm import LiteLLMBackend, LiteLLMOptions
from genesys_engine.plugins.llm.recording import read_recording, write_recording
from genesys_engine.plugins.llm.replay import ReplayBackend, ReplayOptions
from genesys_engine.plugins.llm.requests import canonical_request, request_digest
from genesys_engine.plugins.testing import LLMBackendContract


class TestScripted(LLMBackendContract):
    name = "scripted"
    options = {"replies": ["yes", "no"]}


class TestGrammar(LLMBackendContract):
    name = "grammar"


class TestReplay(LLMBackendContract):
    name = "replay"

    @pytest.fixture(autouse=True)
    def recording(self, tmp_path: Path) -> None:
        asked = [LLMRequest((("user", "Say yes."),), max_tokens=16, seed=seed) for seed in (0, 3)]
        file = tmp_path / "calls.jsonl"
        write_recording(file, [call(one) for one in asked])
        type(self).options = {"path": str(file)}


def call(request: LLMRequest, reply: str | None = "yes", **more: object) -> dict[str, object]:
    return {
        "digest": request_digest(request),
        "request": canonical_request(request),
        "model": "m",
        "reply": reply,
        "input_tokens": 5,
        "output_tokens": 1,
        "usd": 0.5,
        **more,
    }


ASKED = LLMRequest((("system", "Be kind."), ("user", "Score this unit.")), seed=7)


@pytest.fixture(params=[".jsonl", ".jsonl.gz", ".jsonl.xz"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"calls{request.param}"
    write_recording(path, [call(ASKED), call(ASKED, "a later one"), call(ASKED, model="other")])
    return path


def replay(path: Path, **options: str) -> ReplayBackend:
    backend = ReplayBackend(ReplayOptions(path=str(path), **options))
    backend.prepare()
    return backend


def test_a_recorded_request_gets_its_first_reply(file: Path) -> None:
    reply = replay(file).complete(ASKED)
    assert (reply.text, reply.input_tokens, reply.output_tokens, reply.usd) == ("yes", 5, 1, 0.5)
    assert reply.details["recorded"] == "m"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 8}, "seed is 8, recorded is 7"),
        ({"temperature": 0.5}, "temperature is 0.5, recorded is 0.0"),
        (
            {"messages": (("system", "Be kind."), ("user", "Score that unit."))},
            "message 2 differs from character 8 on: asked 'at unit.', recorded 'is unit.'",
        ),
        ({"messages": (("system", "Be kind."),)}, "number of messages, 1, than the nearest one, 2"),
    ],
)
def test_a_request_that_is_not_there_is_refused_with_the_difference(
    file: Path, changes: dict[str, object], told: str
) -> None:
    from dataclasses import replace

    with pytest.raises(LLMRefused) as caught:
        replay(file).complete(replace(ASKED, **changes))  # type: ignore[arg-type]
    assert told in str(caught.value)


def test_a_cost_that_was_unknown_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    write_recording(path, [call(ASKED)])
    assert replay(path).price == LLMPrice(0.0, 0.0)
    write_recording(path, [call(ASKED), call(LLMRequest((("user", "More."),)), usd=None)])
    assert replay(path).price is None


def test_a_recorded_refusal_is_one_again(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    write_recording(path, [call(ASKED, None, refused="too long")])
    with pytest.raises(LLMRequestRefused, match="too long"):
        replay(path).complete(ASKED)


def test_a_damaged_recording_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with pytest.raises(InputError, match="no such recording"):
        replay(path)
    write_recording(path, [call(ASKED)])
    path.write_text(path.read_text() + '{"digest": 3}\n')
    with pytest.raises(InputError, match=r"calls\.jsonl:3"):
        replay(path)
    path.write_text("[]\n")
    with pytest.raises(InputError, match="first line"):
        list(read_recording(path))
    with pytest.raises(InputError, match=r"ends in \.jsonl"):
        write_recording(tmp_path / "calls.zip", [])
    write_recording(path, [call(ASKED)])
    with pytest.raises(InputError, match="another one"):
        replay(path, sha256="0" * 64)


def test_a_corrupt_gzip_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl.gz"
    whole = bytearray(gzip.compress(b"[]" * 100))
    whole[10] = 0xFF  # behind the head: a kind of block that does not exist
    path.write_bytes(whole)
    with pytest.raises(InputError, match="cannot be read: Error -3") as caught:
        list(read_recording(path))
    assert caught.value.where == f"{path}:1"


@pytest.mark.parametrize(
    ("options", "price"),
    [
        ({}, LLMPrice(1.25e-6, 10e-6)),
        ({"input_usd_per_million": 1.0}, LLMPrice(1e-6, 10e-6)),
    ],
)
def test_a_price_is_that_of_prompts_of_usual_length(
    options: dict[str, float], price: LLMPrice
) -> None:
    found = LiteLLMBackend(LiteLLMOptions(model="gemini/gemini-2.5-pro", **options)).price
    assert found is not None
    assert (found.input_usd, found.output_usd) == pytest.approx((price.input_usd, price.output_usd))


class HTTPFault(Exception):
    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = headers or {}


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (HTTPFault(400), LLMRequestRefused),
        (HTTPFault(401), LLMRefused),
        (HTTPFault(404), LLMRefused),
        (HTTPFault(408), LLMUnavailable),
        (HTTPFault(429), LLMUnavailable),
        (HTTPFault(503), LLMUnavailable),
        (TimeoutError(), LLMUnavailable),
        (ConnectionResetError(), LLMUnavailable),
        (json.JSONDecodeError("cut", "", 0), LLMUnavailable),
        (KeyError("x"), None),
    ],
)
def test_what_an_error_means(error: Exception, meaning: type[Exception] | None) -> None:
    found = classify(error)
    assert (None if found is None else type(found)) is meaning


class ConnectError(Exception):
    """As httpx has it."""


class MadeUp(Exception):
    """An error with a status of its own, as LiteLLM has them."""

    status_code = 500


@pytest.mark.parametrize(
    ("error", "billed"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (json.JSONDecodeError("cut", "", 0), True),
        (ConnectionRefusedError(), False),
        (HTTPFault(503), False),
    ],
)
def test_a_call_is_billed_unless_it_was_never_sent_or_refused(
    error: Exception, billed: bool
) -> None:
    outer = MadeUp()
    outer.__cause__ = error
    for each in (error, outer):
        found = classify(each)
        assert isinstance(found, LLMUnavailable)
        assert found.billed is billed
    unsent = ConnectError()
    unsent.__context__ = TimeoutError()
    outer.__cause__ = unsent
    found = classify(outer)
    assert isinstance(found, LLMUnavailable)
    assert not found.billed


def test_errors_that_are_causes_of_each_other_end() -> None:
    one, other = TimeoutError(), TimeoutError()
    one.__cause__, other.__cause__ = other, one
    found = classify(one)
    assert isinstance(found, LLMUnavailable)
    assert found.billed


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"extra_headers": {"Authorization": "Bearer sk-1"}}, "'Authorization'"),
        ({"extra_body": {"servers": [{"url": "x", "access_token": "1"}]}}, "'access_token'"),
        ({"extra_headers": {"x-api-key": "1", "X-Auth-Token": "1"}}, "'x-api-key', 'X-Auth-Token'"),
        ({"vertex_credentials": "{}"}, "'vertex_credentials'"),
        ({"apiKey": "1", "aws_access_key_id": "1"}, "'apiKey', 'aws_access_key_id'"),
        ({"azure_ad_token": "1", "accessToken": "1"}, "'azure_ad_token', 'accessToken'"),
        ({"db": {"password": "1"}}, "'password'"),
    ],
)
def test_no_secret_stands_in_the_parameters_of_a_call(extra: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=f"{named} cannot stand here; keys come from"):
        LiteLLMOptions(model="openai/tiny", extra=extra)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"num_retries": 3, "top_p": 0.5, "base_url": "http://x"}, "'num_retries', 'base_url'"),
        *(({name: 1}, repr(name)) for name in ("max_retries", "api_base", "model")),
        ({"response_format": {"type": "text"}}, "'response_format'"),
        ({"extra_body": {"max_tokens": 10**6}}, "'max_tokens'"),
        ({"max_completion_tokens": 10**6}, "'max_completion_tokens'"),
    ],
)
def test_the_parameters_of_a_call_overrule_nothing_of_the_engine(
    extra: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=f"{named} cannot stand here; the options of"):
        LiteLLMOptions(model="openai/tiny", extra=extra)


def test_honest_parameters_of_a_call_pass() -> None:
    extra = {
        "api_version": "2024-10-21",
        "top_logprobs": 2,
        "prompt_cache_key": "mine",
        "thinking": {"type": "enabled", "budget_tokens": 5},
        "extra_body": {
            "stop_token_ids": [1],
            "pad_token": "</s>",
            "min_tokens": 1,
            "guided_json": {"properties": {"keywords": {"type": "array"}}},
        },
        "extra_headers": {"X-Title": "a study"},
    }
    assert LiteLLMOptions(model="openai/tiny", extra=extra).extra == extra


def test_retry_after_in_seconds_and_as_a_date() -> None:
    assert retry_after_s(HTTPFault(429, {"Retry-After": "2.5"})) == 2.5
    assert retry_after_s(HTTPFault(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0.0
    for text in ("soon", f"Wed, 21 Oct 2015 07:28:00 +{'9' * 30}"):
        assert retry_after_s(HTTPFault(429, {"retry-after": text})) is None
    assert retry_after_s(HTTPFault(429)) is None
