"""From what was seen of a job's end to its outcome: exit status, size and form are all checked.

What a reply says can be written down anywhere (`protocol.read_json`).

A job's reply starts with one newline that is written after isolation and before any code of
the candidate: without it the fault is ours (`infrastructure`), with it never.
"""

from __future__ import annotations

import signal
from typing import Any

from genesys_engine.plugins.sandbox.protocol import (
    MAX_REASON_CHARACTERS,
    MAX_REPLY_BYTES,
    MAX_REPLY_DEPTH,
    Ended,
    Limits,
    Outcome,
    Status,
    processor_s,
    read_json,
)

_SELF_REPORTED: dict[str, Status] = {
    "ok": "ok",
    "error": "error",
    "memory": "memory",
    "bad_reply": "bad_reply",
}
# What C++ prints when it runs out of addresses; the process then dies of SIGABRT.
_OUT_OF_MEMORY_SIGNS = ("std::bad_alloc", "MemoryError", "Cannot allocate memory")
# How faulthandler begins a stack.
_STACK_SIGN = "Current thread "


def judge(ended: Ended, limits: Limits, *, filtered: bool = False) -> Outcome:
    """Return the outcome of a job that ended as `ended` under `limits`.

    A job that is `filtered` cannot send SIGKILL to itself: there it came from outside.
    """
    status, reason, value = _verdict(ended, limits, filtered)
    return Outcome(status, value, reason[:MAX_REASON_CHARACTERS], dict(ended.facts))


def _verdict(
    ended: Ended, limits: Limits, filtered: bool
) -> tuple[Status, str, dict[str, Any] | None]:
    if ended.cause == "deadline":
        return "timeout", _with_log(f"ran longer than {limits.wall_s:g} s", ended), None
    if ended.cause == "reply too large":
        return "bad_reply", f"the reply exceeds {MAX_REPLY_BYTES} bytes", None
    if ended.cause == "disk":
        return "crashed", _with_log("filled the disk", ended), None
    if ended.cause == "processes":
        return "crashed", _with_log("started too much", ended), None
    if ended.cause == "subject left":
        return "crashed", _with_log("the candidate's process closed its channel", ended), None
    if ended.cause == "never started" or (ended.reply is not None and ended.reply[:1] != "\n"):
        return "infrastructure", _with_log("the job could not be started", ended), None
    if ended.signal is not None:
        return *_killed(ended, limits, filtered), None
    if ended.exit_code != 0 or not (ended.reply is None or ended.reply.strip()):
        reason = f"the process left with exit code {ended.exit_code} and without a reply"
        return "crashed", _with_log(reason, ended), None
    return _read_reply(ended.reply, ended.seal)


def _killed(ended: Ended, limits: Limits, filtered: bool) -> tuple[Status, str]:
    try:
        name = signal.Signals(ended.signal or 0).name
    except ValueError:
        name = f"signal {ended.signal}"
    spent = ended.facts.get("cpu_s", 0.0) >= processor_s(limits)
    if name == "SIGXCPU" or (name == "SIGKILL" and spent):  # the second where it ignores the first
        return "timeout", _with_log(f"used all CPU time that {limits.wall_s:g} s allow", ended)
    if name == "SIGABRT" and any(sign in ended.log for sign in _OUT_OF_MEMORY_SIGNS):
        return "memory", _with_log(f"out of memory ({name})", ended)
    if name != "SIGKILL":
        return "crashed", _with_log(f"killed by {name}", ended)
    reason = "killed twice by SIGKILL (perhaps by the kernel, for want of memory)"
    return "infrastructure" if filtered else "crashed", _with_log(reason, ended)


def _read_reply(reply: str | None, seal: str) -> tuple[Status, str, dict[str, Any] | None]:
    if reply is None:
        return "bad_reply", "the reply is not UTF-8", None
    try:
        data = read_json(reply, MAX_REPLY_DEPTH)
    except (ValueError, RecursionError) as error:
        return "bad_reply", f"the reply is not JSON: {error}", None
    if not isinstance(data, dict) or not set(data) <= {"status", "value", "reason", "seal"}:
        return "bad_reply", "the reply is not an object with status, value and reason", None
    status, value, reason = data.get("status"), data.get("value"), data.get("reason", "")
    if not isinstance(status, str) or status not in _SELF_REPORTED or not isinstance(reason, str):
        return "bad_reply", "the reply has no known status", None
    if (status == "ok") is not isinstance(value, dict):
        return "bad_reply", f"status {status!r} with a value of type {type(value).__name__}", None
    if data.get("seal", "") != seal:
        return "bad_reply", "the reply was forged: it does not bear the worker's seal", None
    return _SELF_REPORTED[status], reason, value


def _with_log(reason: str, ended: Ended) -> str:
    """Add the end of the log; of a stack of calls, which is innermost first, its beginning."""
    log, room = ended.log.strip(), MAX_REASON_CHARACTERS - len(reason) - 1
    stack = log.rfind(_STACK_SIGN)
    tail = log[stack:][:room] if stack >= 0 else log[-room:]
    return f"{reason}\n{tail}" if tail else reason
