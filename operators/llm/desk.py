"""The desk of one proposal: asks through the gateway, keeps the trace and the token cap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from genesys_engine.operators.llm.options import ImplementerOptions
from genesys_engine.operators.llm.templates import Templates
from genesys_engine.plugins.api import LLMReply, LLMRequest, OperatorContext, OperatorNotApplicable
from genesys_engine.plugins.llm.replies import BadReply, read_json, spoken

Model = TypeVar("Model", bound=BaseModel)


class Desk:
    """Asks for one proposal; every seed is drawn from the context's generator."""

    def __init__(
        self,
        context: OperatorContext,
        templates: Templates,
        options: ImplementerOptions,
        token_cap: int | None = None,
    ) -> None:
        if context.llm is None:
            raise OperatorNotApplicable("it asks language models, and the experiment has no [llm]")
        self.options = options
        self.trace: list[dict[str, Any]] = []
        self._llm = context.llm
        self._rng = context.rng
        self._templates = templates
        self._cap = token_cap
        self._before = self._total()

    def _total(self) -> int:
        return sum(usage.tokens for usage in self._llm.usage().values())

    @property
    def tokens(self) -> int:
        """The tokens used since the desk was opened."""
        return self._total() - self._before

    @property
    def spent(self) -> bool:
        """Whether the cap is reached, so that nothing new may be started."""
        return self._cap is not None and self.tokens >= self._cap

    def note(self, role: str, outcome: str, **facts: Any) -> None:
        """Add the outcome of a call to the trace, without empty facts."""
        kept = {name: value for name, value in facts.items() if value}
        self.trace.append({"role": role, "outcome": outcome, **kept})

    def ask(
        self,
        role: str,
        template: str,
        fields: Mapping[str, Any],
        *,
        tokens: int,
        temperature: float,
        purpose: Mapping[str, Any],
    ) -> LLMReply:
        """Return the reply of `role` to a template, with a seed of its own."""
        messages = self._messages(role, template, fields)
        return self._send(role, messages, None, tokens, temperature, purpose)

    def ask_json(
        self,
        role: str,
        template: str,
        fields: Mapping[str, Any],
        model: type[Model],
        *,
        tokens: int,
        temperature: float,
        purpose: Mapping[str, Any],
    ) -> Model | None:
        """Return the reply as data; a malformed one is sent back once, then it is None.

        Every bound of `model` is checked here, whatever the server enforces.
        """
        messages = self._messages(role, template, fields)
        asked = [text for _, text in messages]
        schema = model.model_json_schema()
        for _ in range(2):
            reply = self._send(role, messages, schema, tokens, temperature, purpose)
            try:
                return read_json(reply.text, lambda value: _validated(model, value), asked)
            except BadReply as error:
                fault = error.message
            again = self._templates.render("mend", {"fault": fault})
            messages = (*messages, ("assistant", spoken(reply.text)[:2000]), ("user", again))
        return None

    def _messages(
        self, role: str, template: str, fields: Mapping[str, Any]
    ) -> tuple[tuple[str, str], ...]:
        system = self._templates.render("system", {"role": role})
        return ("system", system), ("user", self._templates.render(template, fields))

    def _send(
        self,
        role: str,
        messages: tuple[tuple[str, str], ...],
        schema: Mapping[str, Any] | None,
        tokens: int,
        temperature: float,
        purpose: Mapping[str, Any],
    ) -> LLMReply:
        request = LLMRequest(
            messages,
            max_tokens=tokens,
            temperature=round(temperature, 3),
            seed=self._rng.getrandbits(31),
            schema=schema,
            deadline_s=self.options.deadline_s,
            purpose={"role": role, **purpose},
        )
        return self._llm.ask(role, request)


def _validated(model: type[Model], value: Any) -> Model:
    """Return a value validated by `model`; raises `BadReply` with the first fault in words."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the object"
        raise BadReply(f"{place}: {first['msg']}") from None
