"""The meaning of service errors: retry later, never retry this request, or stop asking."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException

from genesys_engine.plugins.api import LLMRefused, LLMRequestRefused, LLMUnavailable
from genesys_engine.plugins.retry_after import seconds_of

REQUEST_REFUSED = (400, 413, 422)
REFUSED = (401, 402, 403, 404, 405, 410)
FIX: Mapping[int, str] = {
    401: "the key is missing or rejected: set the right one in the environment",
    402: "the account is out of funds",
    403: "the key may not use this model",
    404: "no such model or address: check `model` and `api_base`",
}
LIMITED, SLOW = (429,), (408, 504)
NEVER_SENT = frozenset(
    ("ConnectionRefusedError", "gaierror", "ConnectError", "ConnectTimeout", "PoolTimeout")
)
"""Kinds of errors, Python's own and httpx's, of a connection that was never made."""
TIMED_OUT = frozenset(("TimeoutError", "ReadTimeout", "WriteTimeout", "Timeout", "APITimeoutError"))
SAYS: Mapping[str, str] = {
    "limited": "rate limited",
    "slow": "no answer in time",
    "down": "nothing answers there",
    "strange": "no OpenAI reply",
    "failing": "it answers with an error",
    "lost": "the reply broke off",
    "": "no answer",
}
"""What is wrong with a service, by `LLMUnavailable.kind`."""
ADVICE: Mapping[str, str] = {
    "limited": "keep to the limit with [llm] requests_per_minute or tokens_per_minute, or resume"
    " later",
    "slow": "[llm] deadline_s says how long one call may take; a smaller model answers sooner",
    "down": "start the server, or correct `api_base`, then resume",
    "strange": "check `api_base`: it must be the address of an API of OpenAI's form, which often"
    " ends in /v1",
}
RESUME = "resume when the service is back"
"""What to do where there is no better advice."""
_NAMES = re.compile(
    r"^(?:(?:\w+\.)?(?:[A-Z]\w*)?(?:Error|Exception|Timeout)(?: Error)?(?:\s*[:-]\s+|$))+"
)
_BODY = re.compile(r"(?:Original Response|from LLM endpoint\. Received): '?(?P<body>.*)\Z", re.S)
_NO_CHOICES = re.compile(r"provider returned .*'choices'")


def classify(error: BaseException) -> Exception | None:
    """Return the back-end error, one of three, that corresponds to `error`.

    A status of HTTP decides where there is one (attributes `status_code`, `code` or `status`);
    else time-outs, errors of connections and replies that break off may pass.  None: it is
    nothing of the service's, but a fault of the back end.
    """
    if isinstance(error, LLMUnavailable | LLMRefused):
        return error
    status = _status(error)
    if status in REQUEST_REFUSED:
        return LLMRequestRefused(f"the service refuses the request ({status}): {first_line(error)}")
    if status in REFUSED:
        hint = FIX.get(status, "check the service's address and rights")
        return LLMRefused(f"the service refuses ({status}): {first_line(error)}", hint=hint)
    passing = OSError | HTTPException | ValueError  # ValueError: JSON that breaks off
    return lost(error) if status is not None or isinstance(error, passing) else None


def lost(error: BaseException) -> LLMUnavailable:
    """Return a temporary error with the kind of its fault."""
    body = _no_reply(error)
    kind = "strange" if body else _kind(error)
    behind = _causes(error)[-1] if kind in ("down", "lost") else error
    message = f"{SAYS[kind]}: {body or first_line(behind)}"
    again = retry_after_s(error)
    return LLMUnavailable(message, retry_after_s=again, billed=may_be_billed(error), kind=kind)


def _kind(error: BaseException) -> str:
    names = {kind.__name__ for each in _causes(error) for kind in type(each).__mro__}
    status = _status(_causes(error)[-1]) or _status(error)
    if names & NEVER_SENT:
        return "down"
    if status in LIMITED:
        return "limited"
    if names & TIMED_OUT or status in SLOW:
        return "slow"
    own = any(_status(each) for each in _causes(error)[-1:])
    return "failing" if own else "lost"


def _no_reply(error: BaseException) -> str:
    """Return the first line of a body that is not JSON, such as an HTML page, else ""."""
    for each in _causes(error):
        found = _BODY.search(str(each))
        body = each.doc if isinstance(each, json.JSONDecodeError) else found and found["body"]
        if body and body.strip() and not body.lstrip().startswith(("{", "[")):
            return str(body).replace("\\n", "\n").strip().splitlines()[0]
        if _NO_CHOICES.search(str(each)):
            return flat(each)
    return ""


def may_be_billed(error: BaseException) -> bool:
    """Tell whether a service may bill a call that ended so: it got the request and refused nothing.

    The cause behind all others decides: LiteLLM gives a status of its own to what has none, such
    as a time-out.
    """
    causes = _causes(error)
    sent = all(type(each).__name__ not in NEVER_SENT for each in causes)
    return sent and _status(causes[-1]) is None


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the original one last."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def retry_after_s(error: BaseException) -> float | None:
    """Return the seconds that the service asks one to wait, None if it does not say."""
    headers = getattr(error, "litellm_response_headers", None)
    if headers is None:
        headers = getattr(error, "headers", None)
    if headers is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    text = next((str(headers[k]) for k in headers if str(k).lower() == "retry-after"), "").strip()
    seconds = seconds_of(text)
    return None if seconds is None else max(0.0, seconds)


def _status(error: BaseException) -> int | None:
    values = [getattr(error, name, None) for name in ("status_code", "code", "status")]
    values.append(getattr(getattr(error, "response", None), "status_code", None))
    return next((v for v in values if isinstance(v, int) and 300 <= v < 600), None)


def first_line(error: BaseException) -> str:
    """Return the kind and the first line of an error, whole: only the engine, which knows the keys
    to hide, may cut it."""
    text = flat(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def flat(error: BaseException) -> str:
    """Return the first line of an error's text without the names of the errors that it wraps.

    Of an error as services give it, {"error": {"message": ...}}, the message is the text.
    """
    text = _NAMES.sub("", str(error).strip())
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        text = str(json.loads(text)["error"]["message"])
    return next(iter(text.strip().splitlines()), "")
