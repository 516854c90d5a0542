"""What the contract tests of a plugin ask of the engine; see `plugins/testing/engine.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from genesys_engine.engine.common.machine import machine, versions
from genesys_engine.engine.common.records import from_json, to_json
from genesys_engine.engine.config import Experiment, load_experiment
from genesys_engine.engine.corpus import CorpusOptions, prepare
from genesys_engine.engine.corpus.prepared import PreparedCorpus, prepared
from genesys_engine.engine.store.run_store import Store
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.host import PluginHost
from genesys_engine.plugins.registry import Description

if TYPE_CHECKING:
    from genesys_engine.plugins.api import RunStore

RECORDED = "genesys_engine.plugins.testing.recorded:RecordedExecutor"
HELDOUT = 0.2


class SampleEngine:
    """Implements `plugins.testing.engine.Engine`."""

    def corpus(self, cache: Path, *, max_bytes: int, vocab_size: int) -> Path:
        """Prepare a corpus of Python's own source; return its folder."""
        options = CorpusOptions(max_bytes=max_bytes, vocab_size=vocab_size, heldout=HELDOUT)
        return prepare(options, cache)

    def run(self, folder: Path, cache: Path, experiment: str, local: Sequence[str]) -> None:
        """Carry out a run of an experiment (TOML) in a new folder; its executor is `recorded`.

        Args:
            local: files of plugins.
        """
        from genesys_engine.engine.run import lifecycle
        from genesys_engine.engine.run.context import RunContext

        host = PluginHost(local=tuple(local))
        host.registry.register(
            Description("executor", "recorded", RECORDED, "recorded", "testing", "0")
        )
        file = folder.with_suffix(".toml")
        file.write_text(experiment, encoding="utf-8")
        read = load_experiment(file, (), host.registry)
        callbacks = lifecycle.Callbacks(
            on_event=lambda event: None,
            on_past=lambda event: None,
            should_stop=lambda: None,
            on_stage=lambda text: None,
        )
        with Store.create(folder, _meta(read, cache), file.read_bytes()) as store:
            corpus = from_json(PreparedCorpus, store.meta("corpus"))
            lifecycle.execute(store, RunContext(host, read, corpus), callbacks)

    def open(self, folder: Path) -> AbstractContextManager[RunStore]:
        """Open a run to read it."""
        return Store.open(folder)

    def log(self, folder: Path) -> list[dict[str, object]]:
        """Return the events of a run: id, kind, payload, at."""
        with Store.open(folder) as store:
            return [
                {"id": e.id, "kind": e.kind, "payload": e.payload, "at": e.at}
                for e in store.events()
            ]

    def report(self, folder: Path, section: str) -> str:
        """Return the HTML page of a run with the registered `section` alone."""
        from genesys_engine.engine.report import render_report
        from genesys_engine.engine.report.page import registered_sections

        with Store.open(folder) as store:
            return render_report(store, sections={section: registered_sections(store)[section]})


def _meta(experiment: Experiment, cache: Path) -> Mapping[str, object]:
    corpus = Corpus.open(prepare(experiment.corpus, cache))
    return {
        "name": experiment.run.name,
        "sets": [],
        "experiment": experiment.to_json(),
        "experiment_digest": experiment.digest,
        "versions": versions(),
        "machine": machine(),
        "components": [],
        "corpus": to_json(prepared(corpus, experiment.corpus.use, {})),
    }
