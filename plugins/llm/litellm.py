"""LiteLLM as a translator: any provider, and any server that speaks OpenAI's protocol.

Its own retries, budgets, caches and routers are not used: the engine's gateway does all that.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from pydantic import field_validator

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import (
    INCIDENTAL,
    Field,
    LLMPrice,
    LLMReply,
    LLMRequest,
    Options,
)
from genesys_engine.plugins.llm.failures import classify, lost
from genesys_engine.plugins.llm.schemas import response_format

MILLION = 1_000_000
USUAL = 1_000
"""Tokens that a price is asked for: long prompts cost more with some models."""
NO_KEY = "none"
"""Sent to a server of one's own: without it the client would send the key of OpenAI there."""
LARGEST_SEED = 2**31
BODY = "extra_body"
"""The parameter whose own parameters are sent as they stand, over those of the call."""
REQUEST = (
    "messages", "max_tokens", "max_completion_tokens", "temperature", "seed", "response_format",
    "stream", "n", "best_of",
)  # fmt: skip
PLACE = ("model", "api_base", "base_url", "custom_llm_provider", "fallbacks")
PATIENCE = ("timeout", "request_timeout", "force_timeout", "max_retries", "num_retries")
OWN = frozenset((*REQUEST, *PLACE, *PATIENCE))
"""Parameters that are not for `extra`: what is asked, whom, and how long and often."""
SECRET = re.compile(
    r"api[-_]?key|access[-_]?key|(?<!cache)[-_]key$|^key$"
    r"|secret|passw|pwd|passphrase|authori[sz]ation|bearer|credential|cookie|(?:^|[-_])auth$"
    r"|^token$|(?:^|[-_])(?:access|ad|api|auth|hf|id|refresh|security|session)[-_]?token$",
    re.I,
)
"""What names of secrets have in common.

A token is one that opens something ("access_token"), and neither what a model reads ("min_tokens",
"stop_token_ids") nor a special one ("eos_token").  A "prompt_cache_key" opens nothing.
"""


class LiteLLMOptions(Options):
    """The model and how it is reached; the key itself never stands in a file."""

    model: str = Field(
        min_length=1,
        description='provider and model as LiteLLM names them, such as "openai/gpt-4o-mini";'
        ' "openai/NAME" with `api_base` for any server with OpenAI\'s protocol',
    )
    api_base: str | None = Field(
        None,
        description="address of the server; left out: the provider's",
        json_schema_extra=INCIDENTAL,
    )
    key_variable: str = Field(
        "",
        description="environment variable with the key; left out: the provider's own, and none at"
        " all where api_base is given",
        json_schema_extra=INCIDENTAL,
    )
    json_schema: bool | None = Field(
        None,
        description="whether the server holds a reply to a JSON Schema; left out: what LiteLLM"
        " knows of the model",
    )
    input_usd_per_million: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="price of a million input tokens; left out: what LiteLLM knows",
        json_schema_extra=INCIDENTAL,
    )
    output_usd_per_million: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="price of a million output tokens; left out: what LiteLLM knows",
        json_schema_extra=INCIDENTAL,
    )
    extra: dict[str, Any] = Field(
        default_factory=dict,
        description="further parameters of the call, such as {top_p = 0.9}",
    )

    @field_validator("extra")
    @classmethod
    def _no_secrets(cls, extra: dict[str, Any]) -> dict[str, Any]:
        """Refuse secrets at any depth, whatever their value: `extra` is part of the model's name,
        which ledgers and recordings show."""
        if found := [name for name in _names(extra) if SECRET.search(name)]:
            raise ValueError(f"{_listed(found)} cannot stand here; keys come from the environment")
        return extra

    @field_validator("extra")
    @classmethod
    def _nothing_of_the_engine(cls, extra: dict[str, Any]) -> dict[str, Any]:
        """Refuse entries that override the request, the options besides `extra`, or the caps."""
        body = extra.get(BODY)
        names = [*extra, *(body if isinstance(body, dict) else ())]
        if found := [name for name in names if name in OWN]:
            raise ValueError(
                f"{_listed(found)} cannot stand here; the options of [llm] and the engine, which"
                " keeps the caps, decide it"
            )
        return extra


class LiteLLMBackend:
    """Asks a model behind LiteLLM, once per request."""

    Options = LiteLLMOptions

    def __init__(self, options: LiteLLMOptions) -> None:
        self.options = options

    @cached_property
    def _litellm(self) -> Any:
        """The library: its import takes seconds, and without these it asks for a price list."""
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
        litellm: Any = importlib.import_module("litellm")
        litellm.suppress_debug_info = True
        litellm.telemetry = False
        return litellm

    def prepare(self) -> None:
        """Raise `InputError` where the key is missing or the provider is not known."""
        self._key()
        try:
            self._litellm.get_llm_provider(self.options.model, api_base=self.options.api_base)
        except Exception as error:
            raise InputError(
                f"LiteLLM knows no provider of {self.options.model!r}",
                where="[llm] model",
                hint='write it as "provider/model"; "openai/NAME" and api_base for a server of'
                " your own",
            ) from error

    @property
    def address(self) -> str:
        """Where the service is, "" for a provider's own address."""
        return self.options.api_base or ""

    @cached_property
    def price(self) -> LLMPrice | None:
        """US dollars per token: from the options, else from LiteLLM, else None."""
        options = self.options
        known: tuple[float | None, float | None] = (None, None)
        try:
            costs = self._litellm.cost_per_token(
                model=options.model, prompt_tokens=USUAL, completion_tokens=USUAL
            )
            # A model that is listed without a price must not look free.
            known = (costs[0] / USUAL, costs[1] / USUAL) if all(costs) else known
        except Exception:  # not listed: the price is unknown, not 0
            pass
        given = (options.input_usd_per_million, options.output_usd_per_million)
        taken, gave = (k if g is None else g / MILLION for g, k in zip(given, known, strict=True))
        return None if taken is None or gave is None else LLMPrice(taken, gave)

    def complete(self, request: LLMRequest) -> LLMReply:
        """Return the reply; see `LLMBackend`."""
        try:
            reply = self._litellm.completion(**self._parameters(request))
            choice = reply.choices[0]
            text = choice.message.content or ""
        except Exception as error:
            # What is no error of a service is an answer that is no reply.
            raise classify(error) or lost(error) from error
        used = getattr(reply, "usage", None)
        counts = [getattr(used, name, None) for name in ("prompt_tokens", "completion_tokens")]
        taken, gave = (count if isinstance(count, int) and count > 0 else None for count in counts)
        gave = 0 if not text and gave is None else gave
        usd = None
        if self.price is not None and taken is not None and gave is not None:
            usd = taken * self.price.input_usd + gave * self.price.output_usd
        about = {"finish_reason": choice.finish_reason, "model": getattr(reply, "model", None)}
        return LLMReply(text, taken, gave, {k: v for k, v in about.items() if v}, usd)

    def close(self) -> None:
        """Nothing is held."""

    def _parameters(self, request: LLMRequest) -> dict[str, Any]:
        options = self.options
        asked: dict[str, Any] = {
            "model": options.model,
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed % LARGEST_SEED,
            "timeout": request.deadline_s,
            "max_retries": 0,
            "num_retries": 0,
            "drop_params": True,  # some models take no seed or temperature
        }
        if options.api_base is not None:
            asked["api_base"] = options.api_base
        if (key := self._key()) is not None:
            asked["api_key"] = key
        if request.schema is not None and self._takes_schema:
            asked["response_format"] = response_format(request.schema)
        return asked | options.extra

    @cached_property
    def _takes_schema(self) -> bool:
        if self.options.json_schema is not None:
            return self.options.json_schema
        return bool(self._litellm.supports_response_schema(self.options.model))

    def _key(self) -> str | None:
        """Return the key to send, None where LiteLLM finds the provider's by itself.

        Raises:
            InputError: it is not in the environment.
        """
        options = self.options
        if options.key_variable:
            if key := os.environ.get(options.key_variable, "").strip():
                return key
            raise _missing([options.key_variable], options.model)
        if options.api_base is not None:
            return NO_KEY
        missing = self._missing_keys
        if missing:
            raise _missing(missing, options.model)
        return None

    @cached_property
    def _missing_keys(self) -> list[str]:
        with _blank_unset():
            found = self._litellm.validate_environment(self.options.model)["missing_keys"]
        return list(found)


@contextmanager
def _blank_unset() -> Iterator[None]:
    """Take empty variables of the environment away for a moment: LiteLLM takes one for a key."""
    blank = {name: value for name, value in os.environ.items() if not value.strip()}
    for name in blank:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(blank)


def _names(value: object) -> Iterator[str]:
    """Yield every name in nested tables and lists."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _names(each)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))


def _missing(variables: list[str], model: str) -> InputError:
    names = " and ".join(variables)
    return InputError(
        f"the key for {model} is missing: {names} is not set in the environment, or empty",
        where="[llm]",
        hint=f"export {variables[0]}=...; keys never stand in a file",
    )
