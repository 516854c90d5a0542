"""One attempt at one request: what is sent of it, and what is recorded of the reply."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from genesys_engine.engine.common.canonical import canonical_json
from genesys_engine.engine.common.redact import redact
from genesys_engine.engine.llm.backends import Model
from genesys_engine.engine.llm.ledger import Call
from genesys_engine.plugins.api import LLMReply, LLMRequest
from genesys_engine.plugins.llm.requests import canonical_request, request_digest

BYTES_PER_TOKEN = 3
"""Of a prompt, at least: what is reserved before a call is seldom too little."""
LONGEST_REPLY = 200_000
"""Characters that are kept of a reply; more than any model is asked to write."""
LONGEST_MESSAGE = 500
"""Characters that are kept of what a service says of an error."""
SCHEMA_LEFT_OUT = "schema_left_out"
"""Detail of a reply that was asked for without its schema: what the service reported about it."""
OF_SCHEMAS = re.compile(r"grammar|json.?schema|response.?format|structured.?output|guided", re.I)
"""What a server that fails at a schema, instead of refusing it, says."""
MOST_TOKENS = 1 << 40
"""No service counts as many in a call."""


class SchemaRefused(Exception):
    """The service refused a request that had a schema; without it, it may take it."""


@dataclass(frozen=True)
class Asked:
    """One attempt at one request of a task.

    `bare` says why the schema is not sent, "" where it is; the record tells the request apart by
    its schema all the same, and whoever asked checks the reply.
    """

    task: str
    role: str
    request: LLMRequest
    attempt: int
    bare: str = ""

    @property
    def sent(self) -> LLMRequest:
        """The request as the back end gets it."""
        return replace(self.request, schema=None) if self.bare else self.request

    def call(self, model: Model, reply: str | None) -> Call:
        """Return the call that records it."""
        return Call(
            role=self.role,
            task=self.task,
            model=model.name,
            request=canonical_request(self.request),
            request_digest=request_digest(self.request),
            reply=reply,
            attempt=self.attempt,
        )


def shown(text: str) -> str:
    """Return what is reported of an error as a person may read it: without keys, and cut only then,
    since the part of a key before a cut would not be known for one."""
    return redact(text)[:LONGEST_MESSAGE]


def read_reply(model: Model, asked: Asked, reply: object) -> Call:
    """Return the call that records a reply: bounded, and with counts that a cap can rely on.

    What a service does not count is estimated from the text; `details` then says so.  Keys, half
    characters, and counts and costs that are none are left out, so that any reply can be recorded.

    Raises:
        TypeError: it is no reply at all.
    """
    if not isinstance(reply, LLMReply) or not isinstance(reply.text, str):
        raise TypeError(f"the reply is a {type(reply).__name__}, not an LLMReply with a text")
    text = redact(reply.text.encode(errors="replace").decode())
    details = _details(reply.details)
    if asked.bare and asked.request.schema is not None:
        details[SCHEMA_LEFT_OUT] = asked.bare
    if len(text) > LONGEST_REPLY:
        details["cut_from"] = len(text)
        text = text[:LONGEST_REPLY]
    took, gave = _counted(reply.input_tokens), _counted(reply.output_tokens)
    if took is None or gave is None:
        details["estimated"] = True
    took = prompt_tokens(asked.request) if took is None else took
    gave = math.ceil(len(text.encode()) / BYTES_PER_TOKEN) if gave is None else gave
    usd = reply.usd if reply.usd is not None and 0 <= reply.usd < math.inf else None
    if usd is None and (price := model.price) is not None:
        usd = took * price.input_usd + gave * price.output_usd
    call = asked.call(model, text)
    return replace(call, input_tokens=took, output_tokens=gave, usd=usd, details=details)


def _counted(tokens: int | None) -> int | None:
    return tokens if isinstance(tokens, int) and 0 <= tokens < MOST_TOKENS else None


def _details(given: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return what a back end tells of a reply, or nothing of it where it is no JSON."""
    try:
        return dict(json.loads(canonical_json(dict(given))))
    except (TypeError, ValueError, RecursionError):
        return {}


def prompt_tokens(request: LLMRequest) -> int:
    """Return about how many tokens a prompt has, rather too many."""
    size = sum(len(text.encode("utf-8", "replace")) for _, text in request.messages)
    return math.ceil(size / BYTES_PER_TOKEN) + 8 * len(request.messages)
