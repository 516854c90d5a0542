"""The gateway: the record first, retries, caps, pace, outages, and stopping."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from llm_support import Bench, program, request

from genesys_engine.engine.config.schema import Component
from genesys_engine.engine.llm.gateway import LLMOutage
from genesys_engine.engine.llm.ledger import Ledger, call_key
from genesys_engine.engine.llm.recording import lines_of, record
from genesys_engine.engine.llm.spending import Caps
from genesys_engine.engine.store.event_types import BudgetWarning, LLMReachable, LLMUnreachable
from genesys_engine.gab.errors import InputError, PluginError
from genesys_engine.plugins.api import (
    BudgetSpent,
    LLMInterrupted,
    LLMPrice,
    LLMRefused,
    LLMReply,
    LLMRequest,
    LLMRequestRefused,
    LLMUnavailable,
)
from genesys_engine.plugins.llm.recording import read_recording, write_recording
from genesys_engine.plugins.llm.requests import request_digest

ANY = {"replies": ["one", "two", "three"]}


def yes(asked: LLMRequest) -> LLMReply:
    return LLMReply("yes", 10, 5, usd=0.25)


def failing(times: int, error: Callable[[], Exception]) -> Callable[[LLMRequest], LLMReply]:
    left = [times]

    def answer(asked: LLMRequest) -> LLMReply:
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return yes(asked)

    return answer


# --- a recording to go on from -----------------------------------------------------------------


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording of the requests with the seeds 0 and 1; each took 12.5 s."""
    (tmp_path / "before").mkdir()
    before = Bench(tmp_path / "before")
    client = before.gateway("scripted", ANY).client("1")
    for seed in (0, 1):
        client.ask("coder", request(seed=seed))
    before.close()
    file = tmp_path / "calls.jsonl"
    assert record(file, lines_of(Ledger(before.ledger_file, write=False))) == 2
    changed = [
        call | {"reply": f"recorded {seed}", "latency_s": 12.5}
        for seed, call in enumerate(read_recording(file))
    ]
    write_recording(file, changed)
    return file


def test_what_a_recording_holds_is_not_asked_again(bench: Bench, recorded: Path) -> None:
    gateway = bench.gateway("scripted", ANY, recording=str(recorded))
    gateway.prepare()
    client = gateway.client("9")
    replies = [client.ask("coder", request(seed=seed)).text for seed in (1, 5, 0)]
    assert (replies[0], replies[2]) == ("recorded 1", "recorded 0")
    assert replies[1] in ANY["replies"]
    assert client.usage() == gateway.usage()
    assert gateway.usage()["coder"].calls == 3
    assert [call.task for call in Ledger(bench.ledger_file, write=False).calls()] == ["9"] * 3


def test_a_recording_that_was_continued_keeps_the_times_of_then(
    bench: Bench, recorded: Path, tmp_path: Path
) -> None:
    client = bench.gateway("scripted", ANY, recording=str(recorded)).client("9")
    for seed in (0, 1, 2):
        client.ask("coder", request(seed=seed))
    record(tmp_path / "more.jsonl", lines_of(Ledger(bench.ledger_file, write=False)))
    calls = list(read_recording(tmp_path / "more.jsonl"))
    assert calls[:2] == [call | {"task": "9"} for call in read_recording(recorded)]
    assert calls[2]["latency_s"] < 1


def test_recordings_are_put_together_with_the_first_reply_to_each_request(
    bench: Bench, recorded: Path
) -> None:
    client = bench.gateway("scripted", ANY).client("9")
    for seed in (1, 2):
        client.ask("coder", request(seed=seed))
    ledger = Ledger(bench.ledger_file, write=False)
    before = list(read_recording(recorded))
    assert record(recorded, read_recording(recorded), lines_of(ledger)) == 3
    after = list(read_recording(recorded))
    assert after[:2] == before
    assert after[2]["request"]["seed"] == 2


def test_only_replies_of_the_same_model_are_taken(bench: Bench, recorded: Path) -> None:
    other = bench.gateway("scripted", {"replies": ["other"]}, recording=str(recorded))
    assert other.client("1").ask("coder", request(seed=0)).text == "other"


def test_recorded_replies_count_against_a_cap(bench: Bench, recorded: Path) -> None:
    gateway = bench.gateway("scripted", ANY, recording=str(recorded), caps=Caps(tokens=1))
    with pytest.raises(BudgetSpent):
        gateway.client("1").ask("coder", request(seed=0))


def test_a_missing_recording_is_reported_before_anything_is_asked(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, recording="nowhere.jsonl")
    with pytest.raises(InputError, match="no such recording"):
        gateway.prepare()


# --- the record --------------------------------------------------------------------------------


def test_a_repeated_request_is_answered_from_the_record(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, yes)
    first, again = gateway.client("1"), gateway.client("2")
    assert first.ask("coder", request()).text == "yes"
    assert again.ask("coder", request(deadline_s=9.0, purpose={"unit": "A"})).text == "yes"
    assert len(backend.asked) == 1
    assert gateway.usage()["coder"].calls == 1
    assert again.usage()["coder"].tokens == first.usage()["coder"].tokens == 15
    first.ask("coder", request(seed=1))
    assert len(backend.asked) == 2
    assert gateway.usage()["coder"].usd == 0.5


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        ("\n```python\nclass Mixer(nn.Module):\n```", "class Mixer(nn.Module):"),
        ("I cannot do that.\nSorry.", "I cannot do that."),
        ("```", "```"),
        (" \n", "(nothing)"),
    ],
)
def test_the_line_that_is_shown_of_a_reply_says_something(
    bench: Bench, reply: str, line: str
) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, lambda asked: replace(yes(asked), text=reply))
    client = gateway.client("1")
    client.ask("coder", request())
    assert client.last_reply() == ("coder", line)


def test_a_later_process_finds_the_record(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, yes)
    gateway.client("1").ask("coder", request())
    gateway.close()
    later = bench.gateway("scripted", ANY)
    backend = program(later, yes)
    assert later.client("1").ask("coder", request()).text == "yes"
    assert backend.asked == []
    assert later.usage()["coder"].usd == 0.25


def test_another_model_is_another_request(bench: Bench) -> None:
    one = bench.gateway("scripted", {"replies": ["one"]})
    assert one.client("1").ask("coder", request()).text == "one"
    other = bench.gateway("scripted", {"replies": ["other"]})
    assert other.client("1").ask("coder", request()).text == "other"


def test_roles_may_have_models_of_their_own(bench: Bench) -> None:
    special = Component(use="scripted", options={"replies": ["special"]})
    gateway = bench.gateway("scripted", {"replies": ["common"]}, roles={"observer": special})
    client = gateway.client("1")
    assert client.ask("coder", request()).text == "common"
    assert client.ask("observer", request()).text == "special"
    with pytest.raises(ValueError, match="role 'poet'"):
        client.ask("poet", request())


def test_the_same_request_at_the_same_time_is_paid_for_once(bench: Bench) -> None:
    def slowly(asked: LLMRequest) -> LLMReply:
        time.sleep(0.2)
        return yes(asked)

    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, slowly)
    with ThreadPoolExecutor(4) as threads:
        replies = list(
            threads.map(lambda i: gateway.client(str(i)).ask("coder", request()), range(4))
        )
    assert {reply.text for reply in replies} == {"yes"}
    assert len(backend.asked) == 1


def test_a_reply_is_on_the_disk_before_it_is_used(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, yes)
    gateway.client("17").ask("planner", request())
    with sqlite3.connect(bench.ledger_file) as db:
        rows = db.execute(
            "SELECT role, task, reply, input_tokens, output_tokens, usd, attempt FROM llm_calls"
        ).fetchall()
    assert rows == [("planner", "17", "yes", 10, 5, 0.25, 1)]


def test_a_hostile_reply_is_bounded(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, lambda asked: LLMReply("x" * 10_000_000, 1, 1))
    reply = gateway.client("1").ask("coder", request())
    assert len(reply.text) == 200_000
    assert reply.details["cut_from"] == 10_000_000


# --- retries -----------------------------------------------------------------------------------


def test_what_may_pass_is_asked_again(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, failing(2, lambda: LLMUnavailable("busy")))
    assert gateway.client("1").ask("coder", request()).text == "yes"
    assert len(backend.asked) == 3
    (call,) = Ledger(bench.ledger_file, write=False).calls()
    assert call.attempt == 3


def test_retry_after_is_kept_to(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, failing(1, lambda: LLMUnavailable("busy", retry_after_s=0.7)))
    started = time.monotonic()
    gateway.client("1").ask("coder", request())
    assert time.monotonic() - started >= 0.7


def test_a_refused_key_ends_it_at_once(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, failing(9, lambda: LLMRefused("no such key")))
    with pytest.raises(LLMRefused, match="no such key"):
        gateway.client("1").ask("coder", request())
    assert len(backend.asked) == 1


def test_a_refused_request_is_recorded_once_the_model_has_answered(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, failing(1, lambda: LLMRequestRefused("too long")))
    with pytest.raises(LLMRefused) as caught:  # never answered yet: asked in a wrong way
        gateway.client("1").ask("coder", request("long"))
    assert not isinstance(caught.value, LLMRequestRefused)
    gateway.client("1").ask("coder", request())
    backend = program(gateway, failing(1, lambda: LLMRequestRefused("too long")))
    for _ in range(2):
        with pytest.raises(LLMRequestRefused, match="too long"):
            gateway.client("1").ask("coder", request("longer"))
    assert len(backend.asked) == 1


def test_a_fault_of_a_back_end_names_it(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, failing(1, lambda: KeyError("choices")))
    with pytest.raises(PluginError, match="LLM back end scripted"):
        gateway.client("1").ask("coder", request())


# --- outages -----------------------------------------------------------------------------------


def test_an_outage_is_reported_once_and_its_end_too(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, failing(6, lambda: ConnectionRefusedError("connection refused")))
    gateway.client("1").ask("coder", request())
    assert list(map(type, bench.notices)) == [LLMUnreachable, LLMReachable]
    assert "connection refused" in bench.notices[0].reason


def test_an_outage_without_end_stops_the_run(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, give_up_after_s=0.3)
    program(gateway, failing(10**6, lambda: TimeoutError("timed out")))
    with pytest.raises(LLMOutage, match=r"no answer for 0.3 s.*timed out"):
        gateway.client("1").ask("coder", request())


def test_a_back_end_that_hangs_counts_as_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genesys_engine.engine.llm.gateway.GRACE_S", 0.1)
    hang = threading.Event()

    def answer(asked: LLMRequest) -> LLMReply:
        hang.wait(20)
        return yes(asked)

    gateway = bench.gateway("scripted", ANY, deadline_s=0.1, give_up_after_s=0.5)
    program(gateway, answer)
    with pytest.raises(LLMOutage, match="no answer within"):
        gateway.client("1").ask("coder", request())
    hang.set()


@pytest.mark.parametrize("when", ["in the pause", "during the next attempt"])
def test_a_late_reply_is_the_one_that_is_used(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr("genesys_engine.engine.llm.gateway.GRACE_S", 0.1)
    release, asked_again = threading.Event(), threading.Event()
    numbers = iter((1, 2))

    def answer(asked: LLMRequest) -> LLMReply:
        number = next(numbers)
        if number == 1:
            release.wait(200)
        else:
            asked_again.set()
            while not gateway._ledger.find(key_of(asked)):
                time.sleep(0.01)
        return LLMReply(f"reply {number}", 10, 5)

    def key_of(asked: LLMRequest) -> str:
        return call_key(gateway._models["coder"].name, request_digest(asked))

    pause_s = 3.0 if when == "in the pause" else 0.05
    gateway = bench.gateway(
        "scripted", ANY, deadline_s=0.1, backoff_s=pause_s, longest_pause_s=pause_s,
        give_up_after_s=200.0,
    )  # fmt: skip
    backend = program(gateway, answer)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(gateway.client("1").ask, "coder", request())
        if when == "in the pause":
            time.sleep(0.8)
        else:
            asked_again.wait(200)
        release.set()
        assert future.result(200).text == "reply 1"
    assert len(backend.asked) == (1 if when == "in the pause" else 2)
    gateway.close()
    later = bench.gateway("scripted", ANY)
    assert later.client("1").ask("coder", request()).text == "reply 1"


def test_a_pause_that_is_too_long_is_reported_as_such(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, give_up_after_s=5.0)
    program(gateway, failing(1, lambda: LLMUnavailable("status 429", retry_after_s=7200.0)))
    with pytest.raises(LLMOutage, match="a pause of 7200 s, longer than 5 s"):
        gateway.client("1").ask("coder", request())


@pytest.mark.parametrize(
    ("reply", "text", "counts"),
    [
        (LLMReply("half \ud83d", 10, 5), "half ?", (10, 5)),
        (LLMReply("yes", 2**63, -7), "yes", (11, 1)),
        (LLMReply("yes", 10, 5, {"score": float("nan")}), "yes", (10, 5)),
        (LLMReply("yes", 10, 5, {"raw": object()}), "yes", (10, 5)),
        (LLMReply("yes", 10, 5, usd=float("nan")), "yes", (10, 5)),
    ],
)
def test_an_odd_reply_is_recorded_and_paid_for_once(
    bench: Bench, reply: LLMReply, text: str, counts: tuple[int, int]
) -> None:
    gateway = bench.gateway("scripted", ANY)
    backend = program(gateway, lambda asked: reply)
    found = gateway.client("1").ask("coder", request())
    assert (found.text, (found.input_tokens, found.output_tokens)) == (text, counts)
    assert gateway.client("2").ask("coder", request()).text == text
    assert len(backend.asked) == 1


def test_a_key_in_a_reply_is_masked_the_first_time_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLE_API_KEY", "not-a-real-one")
    gateway = bench.gateway("scripted", ANY)
    program(gateway, lambda asked: LLMReply("use not-a-real-one here", 10, 5))
    replies = {gateway.client(task).ask("coder", request()).text for task in ("1", "2")}
    assert replies == {"use [key] here"}


def test_a_recorded_refusal_is_one_before_anything_is_answered(
    bench: Bench, recorded: Path
) -> None:
    refused = [call | {"reply": None, "refused": "too long"} for call in read_recording(recorded)]
    write_recording(recorded, refused)
    gateway = bench.gateway("replay", {"path": str(recorded)})
    with pytest.raises(LLMRequestRefused, match="too long"):
        gateway.client("1").ask("coder", request(seed=0))


# --- caps --------------------------------------------------------------------------------------


def test_a_cap_in_tokens_stops_before_the_call(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, caps=Caps(tokens=60))
    backend = program(gateway, yes)
    client = gateway.client("1")
    client.ask("coder", request(seed=1))  # 15 used; a call may use 16 + 11
    client.ask("coder", request(seed=2))
    with pytest.raises(BudgetSpent, match=r"budget\.llm_tokens"):
        client.ask("coder", request(seed=3, max_tokens=40))
    assert len(backend.asked) == 2
    assert client.ask("coder", request(seed=1)).text == "yes"  # the record costs nothing


def test_a_cap_in_dollars_counts_earlier_sessions(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, caps=Caps(usd=1.0))
    backend = program(gateway, yes)
    backend.price = LLMPrice(0.0, 0.02)  # type: ignore[attr-defined]
    gateway.client("1").ask("coder", request(seed=1))
    gateway.client("1").ask("coder", request(seed=2))
    gateway.close()
    later = bench.gateway("scripted", ANY, caps=Caps(usd=1.0))
    backend = program(later, yes)
    backend.price = LLMPrice(0.0, 0.02)  # type: ignore[attr-defined]
    later.client("1").ask("coder", request(seed=3))  # 0.50 + 16 x 0.02 fits
    with pytest.raises(BudgetSpent, match=r"budget\.llm_usd"):
        later.client("1").ask("coder", request(seed=4))


def test_calls_running_count_against_a_cap(bench: Bench) -> None:
    def slowly(asked: LLMRequest) -> LLMReply:
        time.sleep(0.1)
        return yes(asked)

    gateway = bench.gateway("scripted", ANY, caps=Caps(tokens=100))
    backend = program(gateway, slowly)

    def ask(seed: int) -> str:
        try:
            return gateway.client(str(seed)).ask("coder", request(seed=seed)).text
        except BudgetSpent as error:
            return str(error)

    with ThreadPoolExecutor(12) as threads:
        told = list(threads.map(ask, range(12)))
    used = sum(usage.tokens for usage in gateway.usage().values())
    assert used == 15 * len(backend.asked) == 15 * told.count("yes") <= 100
    assert len(backend.asked) == 5  # a sixth might have come to 75 + 27
    assert told.count("budget.llm_tokens") == 7


def test_warnings_come_once_at_50_and_80_percent(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, caps=Caps(tokens=100))
    program(gateway, yes)
    for seed in range(5):
        gateway.client("1").ask("coder", request(seed=seed))
    assert [(n.budget, n.used) for n in bench.notices] == [("budget.llm_tokens", 60.0)]
    gateway.close()
    bench.notices.clear()
    later = bench.gateway("scripted", ANY, caps=Caps(tokens=110))
    program(later, yes)
    later.client("1").ask("coder", request(seed=5))
    assert [n.used for n in bench.notices] == [90.0]


def lost() -> Exception:
    return LLMUnavailable("no reply", billed=True)


def test_a_lost_reply_is_warned_of_and_forgotten_by_the_next_session(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, caps=Caps(tokens=80, usd=90.0))
    backend = program(gateway, failing(1, lost))
    backend.price = LLMPrice(1.0, 2.0)  # type: ignore[attr-defined]
    assert gateway.client("1").ask("coder", request()).text == "yes"
    assert bench.notices == [BudgetWarning(budget="budget.llm_tokens", used=42, cap=80, lost=27)]
    with pytest.raises(BudgetSpent, match=r"lost replies .* budget\.llm_usd"):
        gateway.client("1").ask("coder", request(seed=1, max_tokens=22))  # 43 + 0.25 + 11 + 44
    assert gateway.usage()["coder"].tokens == 15
    gateway.close()
    later = bench.gateway("scripted", ANY, caps=Caps(tokens=80, usd=90.0))
    backend = program(later, yes)
    backend.price = LLMPrice(1.0, 2.0)  # type: ignore[attr-defined]
    assert later.client("1").ask("coder", request(seed=1, max_tokens=22)).text == "yes"


def test_a_late_reply_is_counted_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genesys_engine.engine.llm.gateway.GRACE_S", 0.1)
    given_up = threading.Event()

    def answer(asked: LLMRequest) -> LLMReply:
        if asked.seed == 0:
            given_up.wait(200)
        return yes(asked)

    gateway = bench.gateway(
        "scripted", ANY, caps=Caps(tokens=60), deadline_s=1.0, backoff_s=1.0, longest_pause_s=1.0
    )
    program(gateway, answer)
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(gateway.client("1").ask, "coder", request())
        while not gateway._meters._lost:
            time.sleep(0.01)
        given_up.set()
        assert late.result(200).text == "yes"
    for seed in (1, 2):  # 15 used, then 30; one more may take 27
        gateway.client("1").ask("coder", request(seed=seed))
    assert gateway.usage()["coder"].tokens == 45


def test_an_unknown_price_is_never_0(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, lambda asked: LLMReply("yes", 10, 5))
    gateway.client("1").ask("coder", request())
    assert gateway.usage()["coder"].usd is None


def test_a_cap_in_dollars_needs_a_price(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, caps=Caps(usd=1.0))
    program(gateway, yes)
    with pytest.raises(InputError, match=r"price of scripted .* is unknown"):
        gateway.prepare()


def test_a_cap_in_dollars_allows_nothing_after_an_unknown_cost(bench: Bench) -> None:
    first = bench.gateway("scripted", ANY)
    program(first, lambda asked: LLMReply("yes", 10, 5))
    first.client("1").ask("coder", request(seed=1))
    first.close()
    later = bench.gateway("scripted", ANY, caps=Caps(usd=1.0))
    backend = program(later, yes)
    backend.price = LLMPrice(0.0, 0.02)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="unknown price"):
        later.prepare()
    with pytest.raises(BudgetSpent, match=r"budget\.llm_usd"):
        later.client("1").ask("coder", request(seed=2))
    assert not backend.asked


def test_tokens_that_a_service_does_not_count_are_estimated(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY)
    program(gateway, lambda asked: LLMReply("yes, sir"))
    reply = gateway.client("1").ask("coder", request())
    assert (reply.input_tokens, reply.output_tokens) == (11, 3)
    assert reply.details["estimated"]


# --- pace and stopping -------------------------------------------------------------------------


def test_no_more_requests_than_allowed_at_once(bench: Bench) -> None:
    now, most, lock = 0, 0, threading.Lock()

    def answer(asked: LLMRequest) -> LLMReply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return yes(asked)

    gateway = bench.gateway("scripted", ANY, concurrency=2)
    program(gateway, answer)
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda i: gateway.client("1").ask("coder", request(seed=i)), range(6)))
    assert most == 2


def test_requests_per_minute_are_kept(bench: Bench) -> None:
    gateway = bench.gateway("scripted", ANY, requests_per_minute=120)
    program(gateway, yes)
    bucket = gateway._pace._requests
    assert bucket is not None
    started = time.monotonic()
    assert bucket.take(120) == 0  # a minute's worth is used up
    gateway.client("1").ask("coder", request())
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize("where", ["call", "pause", "place"])
def test_stopping_ends_every_wait(bench: Bench, where: str) -> None:
    hang = threading.Event()

    def answer(asked: LLMRequest) -> LLMReply:
        if where == "pause":
            raise LLMUnavailable("busy", retry_after_s=200.0)
        hang.wait(200)
        return yes(asked)

    gateway = bench.gateway("scripted", ANY, concurrency=1, give_up_after_s=600.0)
    program(gateway, answer)
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(gateway.client("1").ask, "coder", request())]
        if where == "place":
            asked.append(threads.submit(gateway.client("1").ask, "coder", request(seed=1)))
        time.sleep(0.3)
        gateway.stop()
        for future in asked:
            with pytest.raises(LLMInterrupted):
                future.result(60)
        hang.set()


def test_a_call_that_is_no_longer_waited_for_is_still_recorded(bench: Bench) -> None:
    ended = threading.Event()

    def answer(asked: LLMRequest) -> LLMReply:
        ended.wait(200)
        return yes(asked)

    stop: list[str] = []
    gateway = bench.gateway("scripted", ANY, should_stop=lambda: stop[0] if stop else None)
    program(gateway, answer)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(gateway.client("1").ask, "coder", request())
        time.sleep(0.2)
        stop.append("interrupted")
        with pytest.raises(LLMInterrupted):
            asked.result(60)
    ended.set()
    end = time.monotonic() + 60
    while not (calls := list(Ledger(bench.ledger_file, write=False).calls())):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert calls[0].reply == "yes"
