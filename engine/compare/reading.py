"""Reading the summary of the study in a folder, with the tables that plugins add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genesys_engine.engine.common import records
from genesys_engine.engine.compare.evolution_summary import summarise_runs
from genesys_engine.engine.compare.implementation_summary import summarise
from genesys_engine.engine.compare.results import AnyResult, FinishedRun, Implemented
from genesys_engine.engine.compare.session import stored_proposals
from genesys_engine.engine.compare.store import StudyStore
from genesys_engine.engine.compare.summary import Summary
from genesys_engine.engine.compare.tables import Table
from genesys_engine.engine.config.schema import CompareSection
from genesys_engine.gab.errors import PluginError
from genesys_engine.plugins.host import PluginHost, PluginRecord

HOOK = "genesys_study_tables"


def read(folder: Path) -> Summary:
    """Return the summary of the study in `folder`, finished or not."""
    with StudyStore.open(folder) as store:
        kept, name = store.meta("experiment"), store.meta("name")
        compare, plugins = kept["compare"], kept["plugins"]
        section = CompareSection.model_validate(compare)
        local = plugins.get("local", ())
        host = PluginHost(plugins["disable"], local)
        gone = [
            Table(f"{at} is gone: the tables of this plugin are missing", (), ())
            for at in local
            if not Path(at).exists()
        ]
        if section.study == "evolution":
            runs = store.results(FinishedRun)
            found = summarise_runs(section, runs, name=name).with_tables(gone)
            return _with_tables(host, found, runs, {})
        results, proposals = store.results(Implemented), stored_proposals(store)
        simulation = bool(store.meta("simulation"))
        study = summarise(
            section, proposals, results, name=name, simulation=simulation, cut=store.cut()
        )
        units = {each.name: each.stratum for each in proposals}
        return _with_tables(host, study.with_tables(gone), results, units)


def _with_tables(
    host: PluginHost, study: Summary, results: Sequence[AnyResult], units: Mapping[str, int]
) -> Summary:
    """Add the tables of plugins; a failing plugin is reported in a table and costs nothing else.

    Args:
        units: how many units each proposal changes, by its name.
    """
    if not host.implements(HOOK):
        return study
    found = [records.to_json(result) for result in results]
    try:
        answers = host.answers(HOOK, study={**study.to_json(), "units": units, "results": found})
        return study.with_tables(
            [table for who, each in answers for table in _read(host, who, each)]
        )
    except PluginError as error:
        return study.with_tables([Table(str(error), (), ())])


def _read(host: PluginHost, who: PluginRecord, answer: object) -> tuple[Table, ...]:
    try:
        return records.from_json(_Tables, {"tables": answer}).tables
    except ValueError as error:
        hint = "return a list of tables, each with `title`, `columns` and `rows` of texts"
        raise host.wrong_answer(who, HOOK, f"invalid return value: {error}", hint) from None


@dataclass(frozen=True)
class _Tables:
    tables: tuple[Table, ...]
