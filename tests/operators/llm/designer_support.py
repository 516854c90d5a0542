"""A scripted language model, the real check in a real worker, and a proposal to work on."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from genesys_engine.engine.check.design_check import failed_report
from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree
from genesys_engine.operators.llm.proposal import Proposal, UnitChange
from genesys_engine.plugins.api import (
    Limits,
    LLMReply,
    LLMRequest,
    LLMUsage,
    OperatorContext,
    Parent,
)
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.executors.process import ProcessExecutor

CHECK = "genesys_engine.plugins.check_job:check"
Answer = str | Callable[[LLMRequest], str]


class Scripted:
    """Answers each role from a list of its own, in order; the last answer is repeated.

    A request takes `cost` tokens each way.  Every request is kept, by role, in `asked`.
    """

    def __init__(self, cost: int = 10, **answers: Answer | Iterable[Answer]) -> None:
        self.answers = {
            role: [given] if isinstance(given, str) or callable(given) else list(given)
            for role, given in answers.items()
        }
        self.cost = cost
        self.asked: dict[str, list[LLMRequest]] = {}

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        asked = self.asked.setdefault(role, [])
        asked.append(request)
        answers = self.answers.get(role, [DEFAULTS.get(role, "")])
        answer = answers[min(len(asked), len(answers)) - 1]
        text = answer if isinstance(answer, str) else answer(request)
        return LLMReply(text, self.cost, self.cost)

    def usage(self) -> dict[str, LLMUsage]:
        return {
            role: LLMUsage(len(asked), len(asked) * self.cost, len(asked) * self.cost)
            for role, asked in self.asked.items()
        }

    def prompts(self, role: str) -> list[str]:
        return [request.messages[-1][1] for request in self.asked.get(role, [])]


DEFAULTS = {
    "planner": "forward: silu -> relu",
    "observer": '{"reason": "made as asked", "score": 5}',
    "reviewer": '{"reason": "worth a test", "score": 4}',
}


class RealCheck:
    """The check job in an isolated worker; `count` is how often it was asked.

    The report of a source is kept: it depends on nothing else, and many tests write the same one.
    """

    def __init__(self, scratch: Path) -> None:
        preload = ("genesys_engine.gab.lean_torch", "genesys_engine.plugins.check_job")
        self.executor = ProcessExecutor(ProcessExecutor.Options(preload=preload), workers=1)
        self.scratch = scratch
        self.count = 0
        self.reports: dict[str, dict[str, Any]] = {}

    def __call__(self, tree: GABTree) -> dict[str, Any]:
        self.count += 1
        source = compose(tree)
        if source not in self.reports:
            self.reports[source] = self._check(source)
        return copy.deepcopy(self.reports[source])

    def _check(self, source: str) -> dict[str, Any]:
        scratch = self.scratch / str(self.count)
        scratch.mkdir()
        payload = {"source": source, "scales": ["0.2M"], "vocab_size": 512, "seed": 0}
        outcome = self.executor.submit(CHECK, payload, scratch, judged(Limits())).result()
        if outcome.value is None:
            return dict(failed_report(outcome).to_json())
        return dict(outcome.value)


def fenced(source: str) -> str:
    """Return a reply with one block of code."""
    return f"Here it is:\n```python\n{source}```\n"


def source_of(name: str, *changes: tuple[str, str]) -> str:
    """Return the source of a library unit with some texts replaced, each of which must occur."""
    source = library.unit(name).source
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    return source


MLP = source_of("swiglu_mlp", ("F.silu(gate) * up", "F.relu(gate).square() * up"))
"""A change of GPT's channel mixer that is valid and faithful."""
NORM = source_of("rms_norm", ("X.shape[-1:], weight, self.eps)", "X.shape[-1:], weight, 0.1)"))
NORM = NORM.replace("        self.eps = eps\n", "").replace(", *, eps: float = 1e-5,", ", *,")
NORM = NORM.replace('    choices = {"eps": (1e-6, 1e-5)}\n', "")
MIXER = source_of("causal_attention", ("return self.out(y", "return 2 * self.out(y"))
LEAKING = source_of("swiglu_mlp", ("F.silu(gate) * up", "F.silu(gate).mean(1, True) * up"))


def gpt() -> Parent:
    return Parent(1, library.seed("gpt"), 0.0, "Seed design gpt.")


def proposal(*paths: str) -> Proposal:
    """Return a proposal that changes these units of GPT."""
    changes = tuple(UnitChange(path, f"Change {path}.") for path in paths)
    return Proposal("Another block", "It may learn faster.", changes)


def context(llm: Any, check: Any, seed: int = 1, **services: Any) -> OperatorContext:
    return OperatorContext(random.Random(seed), llm=llm, check=check, **services)
