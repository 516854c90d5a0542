"""`genesys-engine knowledge`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genesys_engine.engine.cli.near import NearGroup
from genesys_engine.engine.cli.output import (
    answer,
    json_option,
    note,
    print_json,
    print_table,
    wrapped,
)
from genesys_engine.gab.errors import EXIT_GOAL_NOT_MET, EXIT_OK

if TYPE_CHECKING:
    from genesys_engine.plugins.knowledge.base import Hit, KnowledgeBase
    from genesys_engine.plugins.knowledge.engine import Knowledge

LIBRARY = "library"
SHOWN = 300  # characters of a passage on the screen

_base_option = click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="Knowledge base folder; default: $GENESYS_KNOWLEDGE, else the user's own.",
)
_embedding_option = click.option(
    "--embedding",
    help="hashed, minilm, sentence-transformers:NAME, litellm:NAME; must fit an existing base.",
)
_source_option = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="SOURCE.KEY=VALUE",
    help="Set an option of a source (TOML or a bare string); repeatable.",
)


@click.group("knowledge", cls=NearGroup)
def command() -> None:
    """Search the knowledge base, or add papers and notes to it."""


@command.command("add")
@click.argument("places", nargs=-1, required=True, metavar="PATH|SOURCE:ID...")
@_base_option
@_embedding_option
@_source_option
@json_option
def add(
    places: tuple[str, ...],
    base: Path | None,
    embedding: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> int:
    """Add files, folders, papers (arxiv:2405.21060) or the reference cards (library).

    Unchanged documents are skipped. Exit code 1 if some could not be used; all others are added.
    """
    from genesys_engine.plugins.knowledge.base import Added

    note("opening the knowledge base")
    knowledge = _knowledge(base, embedding, sets)
    added, problems = Added(), list[str]()
    for text in places:
        source, place = _source_and_place(text)
        note(f"reading {text}")
        report = knowledge.add(source, place, _reading(text))
        added += report.added
        problems += [str(problem) for problem in report.problems]
        if report.failure is not None:
            if len(places) == 1 and report.added == Added():
                raise report.failure
            note(str(report.failure))
            problems.append(str(report.failure))
    if as_json:
        print_json({**asdict(added), "problems": problems})
    else:
        left_out = f", {len(problems)} left out" if problems else ""
        answer(f"{added.new} added, {added.updated} updated, {added.unchanged} unchanged{left_out}")
    return EXIT_GOAL_NOT_MET if problems else EXIT_OK


@command.command("search")
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option(
    "--live",
    multiple=True,
    metavar="SOURCE",
    help="Ask this source too (arxiv, semantic_scholar, web ...); repeatable.",
)
@_base_option
@_embedding_option
@_source_option
@json_option
def search(
    query: str,
    limit: int,
    live: tuple[str, ...],
    base: Path | None,
    embedding: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Search for QUERY by meaning and by words. A new base starts with the reference cards."""
    hits = _knowledge(base, embedding, sets).search(query, limit, live)
    if as_json:
        print_json([asdict(hit) for hit in hits])
        return
    for hit in hits:
        _show(hit)
    if not hits:
        note("nothing found; add something: genesys-engine knowledge add PATH")


@command.command("list")
@click.option("--source", help="Only documents of this source.")
@_base_option
@json_option
def list_documents(source: str | None, base: Path | None, as_json: bool) -> None:
    """List the documents in the base."""
    entries = list(_existing(base).documents(source))
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    rows = [(entry.id, entry.year, entry.title, entry.passages) for entry in entries]
    print_table(("id", "year", "title", "passages"), rows)


@command.command("stats")
@_base_option
@json_option
def stats(base: Path | None, as_json: bool) -> None:
    """Show the size and the settings of the base."""
    found = _existing(base)
    about = {"folder": str(found.folder), **asdict(found.stats())}
    if as_json:
        print_json(about)
        return
    sources = about.pop("sources")
    rows: list[Sequence[object]] = list(about.items())
    rows += [(f"documents of {name}", count) for name, count in sources.items()]
    print_table(("what", "value"), rows)


@command.command("tried")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("idea")
@click.option("--limit", type=click.IntRange(1, 100), default=5, show_default=True)
@json_option
def tried(run: Path, idea: str, limit: int, as_json: bool) -> None:
    """List attempts of RUN similar to IDEA (a sentence or two), with their outcomes."""
    from genesys_engine.engine.propose.attempts import RunMemory
    from genesys_engine.engine.store.run_store import Store

    with Store.open(run) as store:
        attempts = RunMemory(store).near(idea, limit)
    if as_json:
        print_json([attempt.to_json() for attempt in attempts])
        return
    for attempt in attempts:
        answer(wrapped(f"{attempt.nearness:.2f}  design {attempt.design}: {attempt.idea}", 6))
        answer(f"      {wrapped(attempt.summary, 6)}")
    if attempts:
        note("nearest first, by words and meaning: 1 is identical, 0 unrelated")
    else:
        note("nothing has been tried yet")


# --- the base and its sources ------------------------------------------------------------------


def _knowledge(base: Path | None, embedding: str | None, sets: Sequence[str]) -> Knowledge:
    """Open the base; a new base gets the reference cards."""
    from genesys_engine.plugins.knowledge import table
    from genesys_engine.plugins.knowledge.base import KnowledgeBase
    from genesys_engine.plugins.knowledge.engine import Knowledge, default_folder

    open_source = _sources(sets)
    folder = base or default_folder()
    new = not table.exists(folder)
    knowledge = Knowledge(KnowledgeBase(folder, embedding), open_source, note)
    if new:
        knowledge.add(LIBRARY, "")
    return knowledge


def _existing(base: Path | None) -> KnowledgeBase:
    from genesys_engine.gab.errors import InputError
    from genesys_engine.plugins.knowledge import table
    from genesys_engine.plugins.knowledge.base import KnowledgeBase
    from genesys_engine.plugins.knowledge.engine import default_folder

    folder = base or default_folder()
    if not table.exists(folder):
        raise InputError(
            "no knowledge base yet",
            where=str(folder),
            hint="create one: genesys-engine knowledge add library",
        )
    return KnowledgeBase(folder)


def _sources(sets: Sequence[str]) -> Callable[[str], Any]:
    """Return a function that opens a source by name, with its options from `--set`."""
    from genesys_engine.engine.common.cache import cache_folder
    from genesys_engine.engine.common.redact import hide_key
    from genesys_engine.engine.config.document import Document
    from genesys_engine.engine.config.overrides import apply_override
    from genesys_engine.engine.config.positions import locate
    from genesys_engine.plugins.host import PluginHost

    options = Document("--set", {}, locate(""))
    for text in sets:
        apply_override(options, text)
    options.raise_problems()
    registry = PluginHost().registry
    for name in options.data:
        registry.get("knowledge_source", name)

    def open_source(name: str) -> Any:
        description = registry.get("knowledge_source", name)
        given = options.data.get(name, {})
        hide_key(description.options_model(), given)
        return description.create(given, cache=cache_folder())

    return open_source


def _source_and_place(text: str) -> tuple[str, str]:
    """Return (source, place): an existing path wins over SOURCE:ID."""
    from genesys_engine.plugins.paths import exists, user_path

    if exists(user_path(text)):
        return "folder", text
    if text == LIBRARY:
        return LIBRARY, ""
    source, colon, place = text.partition(":")
    return (source, place) if colon and "/" not in source else ("folder", text)


def _reading(place: str) -> Callable[[int, float | None], None]:
    """Return a progress callback for `place`, with the time left if known."""
    from genesys_engine.engine.common.steps import EVERY_S, Steps
    from genesys_engine.engine.common.text import plural

    steps = Steps(note, 1.0, every_s=EVERY_S)

    def tell(documents: int, share: float | None) -> None:
        steps.finished = share or 0.0
        of = f", {100 * share:.0f} %" if share else ""
        steps.tell(f"reading {place}: {plural(documents, 'document')}{of}")

    return tell


def _show(hit: Hit) -> None:
    year = f" ({hit.year})" if hit.year else ""
    unit = f", unit {hit.unit}" if hit.unit else ""
    answer(f"{hit.rank:>3}. {hit.title}{year}")
    answer(f"     {hit.url or hit.id}  [{hit.source}{unit}]")
    text = " ".join(hit.passage.removeprefix(hit.title).split())
    if text:
        answer(f"     {text[:SHOWN]}{'...' if len(text) > SHOWN else ''}")
