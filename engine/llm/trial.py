"""One small call to the model of every role: what a service makes of our requests, before a run.

Each role asks as in a run, with a schema where the run has one, and nothing is asked twice: what
fails here is reported, not awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.engine.config.schema import Experiment
from genesys_engine.engine.llm.attempt import SCHEMA_LEFT_OUT
from genesys_engine.engine.llm.gateway import Gateway
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.gab.errors import GenesysError
from genesys_engine.plugins.api import ROLES, LLMReply, LLMRequest, LLMUnavailable
from genesys_engine.plugins.llm.failures import ADVICE, RESUME
from genesys_engine.plugins.llm.replies import BadReply, parse_json_reply, spoken

if TYPE_CHECKING:
    from genesys_engine.plugins.registry import Registry

RATED = ("proposer", "reviewer", "observer")
"""Roles that are asked for JSON."""
SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 2000},
        "score": {"type": "integer", "minimum": 0, "maximum": 5},
    },
    "required": ["reason", "score"],
}
JSON_WORDS = 'Reply with JSON: {"reason": "a few words", "score": 0 to 5}. How good is rain?'
WORDS = "Reply with the one word: ready"
TOKENS = 200
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Trial:
    """What came of the call of a role; `fault` is "" where it can be used."""

    role: str
    place: str
    found: str = ""
    fault: str = ""
    hint: str = ""


def try_models(
    experiment: Experiment, registry: Registry, tell: Callable[[str], None] = lambda role: None
) -> Iterator[Trial]:
    """Yield what each role's model answers; costs a few tokens each.

    Back ends that play or make up replies are left out: no service stands behind them.

    Args:
        tell: called with each role before its request.
    """
    if experiment.llm is None:
        return
    deadline_s = min(experiment.llm.deadline_s or DEADLINE_S, DEADLINE_S)
    section = experiment.llm.model_copy(
        update={"give_up_after_s": 0.001, "deadline_s": deadline_s, "recording": ""}
    )
    with temporary_folder("trial") as folder:
        gateway = Gateway(section, registry, Ledger(folder / "trial.sqlite"))
        try:
            for role in ROLES:
                if gateway.is_live(role):
                    tell(role)
                    yield _tried(gateway, role)
        finally:
            gateway.close()


def _tried(gateway: Gateway, role: str) -> Trial:
    rated = role in RATED
    request = LLMRequest(
        (("user", JSON_WORDS if rated else WORDS),),
        max_tokens=TOKENS,
        seed=ROLES.index(role),  # roles that share a model are asked apart
        schema=SCHEMA if rated else None,
        purpose={"role": role, "stage": "trial"},
    )
    place, started = gateway.place(role), time.monotonic()
    try:
        reply = gateway.client("trial").ask(role, request)
    except GenesysError as error:
        if isinstance(why := error.__cause__, LLMUnavailable):  # nobody has waited for an answer
            return Trial(role, place, fault=str(why), hint=ADVICE.get(why.kind, RESUME))
        return Trial(role, place, fault=error.message, hint=error.hint or "")
    seconds = time.monotonic() - started
    found = f"answers in {seconds:.1f} s ({reply.input_tokens}+{reply.output_tokens} tokens)"
    return _judged(Trial(role, place, found), reply, rated)


def _judged(trial: Trial, reply: LLMReply, rated: bool) -> Trial:
    """Return the trial with what is wrong with the reply, if anything is."""
    about = dict(reply.details)
    found, fault, hint = trial.found, "", ""
    if SCHEMA_LEFT_OUT in about:
        found += f"; it refuses a JSON Schema and is asked without: {about[SCHEMA_LEFT_OUT]}"
    try:
        if rated:
            parse_json_reply(reply.text, SCHEMA, (JSON_WORDS,))
        elif not spoken(reply.text).strip():
            fault = "the reply is empty" + (" but reasoning" if reply.text.strip() else "")
    except BadReply as error:
        fault = error.message
        hint = "if the server supports JSON Schema, json_schema = true enforces it"
    if fault and about.get("finish_reason") in ("length", "max_tokens"):
        hint = f"the reply was cut at {TOKENS} tokens: reasoning models need more"
    return Trial(trial.role, trial.place, found, fault, hint)
