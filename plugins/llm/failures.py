"""What an error of a service means: ask again later, never ask this again, or never ask again."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException

from genesys_engine.plugins.api import LLMRefused, LLMRequestRefused, LLMUnavailable
from genesys_engine.plugins.retry_after import seconds_of

REQUEST_REFUSED = (400, 413, 422)
REFUSED = (401, 402, 403, 404, 405, 410)
MEND: Mapping[int, str] = {
    401: "the key is missing or rejected: set the right one in the environment",
    402: "the account is out of funds",
    403: "the key may not use this model",
    404: "there is no such model or address: check `model` and `api_base`",
}
NEVER_SENT = frozenset(
    ("ConnectionRefusedError", "gaierror", "ConnectError", "ConnectTimeout", "PoolTimeout")
)
"""Kinds of errors, Python's own and httpx's, of a connection that was never made."""


def classify(error: BaseException) -> Exception | None:
    """Return what `error` means, as one of the three errors of a back end.

    A status of HTTP decides where there is one (attributes `status_code`, `code` or `status`);
    else time-outs, errors of connections and replies that break off may pass.  None: it is
    nothing of the service's, but a fault of the back end.
    """
    if isinstance(error, LLMUnavailable | LLMRefused):
        return error
    message = first_line(error)
    status = _status(error)
    if status in REQUEST_REFUSED:
        return LLMRequestRefused(f"the service refuses the request ({status}): {message}")
    if status in REFUSED:
        hint = MEND.get(status, "check the service's address and rights")
        return LLMRefused(f"the service refuses ({status}): {message}", hint=hint)
    passing = OSError | HTTPException | ValueError  # ValueError: JSON that breaks off
    if status is not None or isinstance(error, passing):
        again = retry_after_s(error)
        return LLMUnavailable(message, retry_after_s=again, billed=may_be_billed(error))
    return None


def may_be_billed(error: BaseException) -> bool:
    """Tell whether a service may bill a call that ended so: it got the request and refused nothing.

    The cause behind all others decides: LiteLLM gives a status of its own to what has none, such
    as a time-out.
    """
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    sent = all(type(each).__name__ not in NEVER_SENT for each in causes)
    return sent and _status(causes[-1]) is None


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
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
