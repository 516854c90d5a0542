"""Every hook there is.  A plugin implements any of them with `hookimpl`.

Registration hooks get a function to call once per component:
`register(name, target, summary=..., options=None)`; `target` is a "module:Class" string and
`options` the options model (a class, a "module:Class" string, or None for `Class.Options`).
Payloads of the other hooks are read-only JSON objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from genesys_engine.plugins.api import Register

PROJECT = "genesys_engine"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# --- registration: called once, when the host starts -------------------------------------------


@hookspec
def genesys_register_knowledge_sources(register: Register) -> None:
    """Describe where documents for the knowledge base come from (`api.KnowledgeSource`)."""


@hookspec
def genesys_register_llm_backends(register: Register) -> None:
    """Describe back ends that answer an LLM request."""


@hookspec
def genesys_register_trainers(register: Register) -> None:
    """Describe trainers (`api.Trainer`)."""


@hookspec
def genesys_register_evaluators(register: Register) -> None:
    """Describe evaluators (`api.Evaluator`)."""


@hookspec
def genesys_register_checkers(register: Register) -> None:
    """Describe further checks that a block must pass before it is trained."""


@hookspec
def genesys_register_operators(register: Register) -> None:
    """Describe variation operators (`api.Operator`)."""


@hookspec
def genesys_register_selectors(register: Register) -> None:
    """Describe selectors (`api.Selector`)."""


@hookspec
def genesys_register_executors(register: Register) -> None:
    """Describe executors (`api.Executor`)."""


@hookspec
def genesys_register_trackers(register: Register) -> None:
    """Describe trackers, which copy the event log to another system."""


@hookspec
def genesys_register_report_sections(register: Register) -> None:
    """Describe further sections of the report."""


@hookspec
def genesys_commands(cli: click.Group) -> None:
    """Add commands to `genesys-engine` (`cli.add_command`)."""


# --- studies: what every plugin adds ------------------------------------------------------------


@hookspec(firstresult=True)  # of each plugin, since the host asks them one by one
def genesys_study_tables(study: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
    """Return tables that are shown with a study: `title`, `columns` and `rows`, all texts.

    `study`: what `compare --json` answers, with `results` (item, arm, made, seconds) and, in an
    implementation study, `units` (name of a proposal -> how many units it changes).
    """


# --- decisions: the first plugin that answers something else than None decides -------------------


@hookspec(firstresult=True)
def genesys_evaluate_candidate(candidate: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the recorded result of a verification, or None to have it trained.

    `candidate`: design, digest, rung, scale, replicate, source, model, seed, budget, corpus,
    trainer, evaluators.
    """


@hookspec(firstresult=True)
def genesys_place_trial(trial: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return where and how a verification runs, or None to leave it as the experiment says.

    `trial`: design, digest, rung, scale, replicate, model, budget, executor, timeout_s,
    memory_gib.
    """


@hookspec(firstresult=True)
def genesys_on_error(error: Mapping[str, Any]) -> str | None:
    """Return "retry", "fail" or "stop", or None to leave an error to the engine.

    `error`: seq, stage, cause, reason, attempt, design, rung, replicate.
    """


@hookspec(firstresult=True)
def genesys_should_stop(status: Mapping[str, Any]) -> str | None:
    """Return the reason to end the run after the running trials, or None to continue.

    Asked behind every result that has entered the run.
    `status`: designs, verifications (each a count), best_fitness (per cent or None).
    """


# --- events: what happened; an observer cannot change it -----------------------------------------


@hookspec
def genesys_on_event(event: Mapping[str, Any]) -> None:
    """Watch the event log: called in order, once per event, in the engine's process."""
