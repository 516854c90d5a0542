"""A gateway over a ledger in a file, for tests: any back end, tiny pauses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genesys_engine.engine.config.schema import Component, LLMSection
from genesys_engine.engine.llm.gateway import Gateway, Notice
from genesys_engine.engine.llm.ledger import Ledger
from genesys_engine.engine.llm.spending import Caps
from genesys_engine.plugins.api import LLMReply, LLMRequest
from genesys_engine.plugins.host import PluginHost

FAST = {"backoff_s": 0.02, "longest_pause_s": 0.05, "give_up_after_s": 60.0}
HOST = PluginHost()


@dataclass
class Bench:
    """Opens gateways over one ledger; closes them all."""

    folder: Path
    notices: list[Notice] = field(default_factory=list)
    opened: list[Gateway] = field(default_factory=list)

    @property
    def ledger_file(self) -> Path:
        return self.folder / "run.sqlite"

    def gateway(
        self,
        use: str,
        options: Mapping[str, Any],
        *,
        caps: Caps | None = None,
        should_stop: Callable[[], str | None] = lambda: None,
        roles: Mapping[str, Component] | None = None,
        **section: Any,
    ) -> Gateway:
        read = LLMSection(use=use, options=dict(options), roles=dict(roles or {}), **FAST | section)
        gateway = Gateway(
            read,
            HOST.registry,
            Ledger(self.ledger_file),
            caps=caps,
            should_stop=should_stop,
            tell=self.notices.append,
        )
        self.opened.append(gateway)
        return gateway

    def close(self) -> None:
        for gateway in self.opened:
            gateway.close()


def request(text: str = "Say yes.", **changes: Any) -> LLMRequest:
    return LLMRequest(**{"messages": (("user", text),), "max_tokens": 16, **changes})


class Programmed:
    """A back end that does what a test says; put in the place of a model's own."""

    def __init__(self, answer: Callable[[LLMRequest], LLMReply]) -> None:
        self.asked: list[LLMRequest] = []
        self._answer = answer

    def complete(self, asked: LLMRequest) -> LLMReply:
        self.asked.append(asked)
        return self._answer(asked)

    def close(self) -> None:
        pass


def program(gateway: Gateway, answer: Callable[[LLMRequest], LLMReply]) -> Programmed:
    """Let every role of `gateway` be answered by `answer`."""
    backend = Programmed(answer)
    for model in gateway._models.values():
        model.backend = backend
    return backend
