"""Small real things to test with: a corpus, a model, a trainer's budget, a finished run.

The corpus and the run are made by the engine itself, so this module imports it, inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.plugins.api import Corpus, TrainBudget

if TYPE_CHECKING:
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.plugins.students import Students

CONTEXT = 64
VOCABULARY = 300
BUDGET = TrainBudget(tokens=12_288, batch_tokens=512, peak_lr=3e-3, seed=1)
EXPERIMENT = """
[run]
name = "sample <&>"
[population]
seeds = ["gpt", "retnet"]
[corpus]
max_bytes = 300_000
vocab_size = 512
heldout = 0.2
[ladder]
rungs = [{ scale = "0.2M", verifications = 7, noise_seeds = 2 }]
[[evaluators]]
use = "heldout"
[budget]
designs = 4
[executor]
use = "recorded"
"""


def tiny_corpus(cache: Path) -> Corpus:
    """Return 200 KB of Python's own source, byte-level BPE with 300 tokens."""
    from genesys_engine.engine.corpus import CorpusOptions, prepare

    options = CorpusOptions(max_bytes=200_000, vocab_size=VOCABULARY, heldout=0.2)
    return Corpus.open(prepare(options, cache))


def small_source() -> str:
    """Return the composed source of the block `gpt`."""
    return compose(library.seed("gpt"))


def small_model(vocab_size: int = VOCABULARY, *, seed: int = 0) -> LanguageModel:
    """Return an untrained model of one small GPT block; runs that block's code here."""
    from genesys_engine.gab.model import LanguageModel
    from genesys_engine.gab.scales import ModelConfig

    config = ModelConfig(d_model=32, n_blocks=1, vocab_size=vocab_size, context=CONTEXT)
    return LanguageModel(load_block(small_source()), config, seed=seed)


def small_students(source: str = "") -> Students:
    """Return what builds models of a block, `gpt` if none is given; runs its code here."""
    from genesys_engine.plugins.model_subject import SUBJECT
    from genesys_engine.plugins.sandbox.subject import SameProcess
    from genesys_engine.plugins.students import Students

    block = {"source": source or small_source(), "device": "cpu"}
    return Students(SameProcess(SUBJECT, Path()), block)


def weights_digest(model: Any) -> str:
    """Return the SHA-256 over all parameters and buffers."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def finished_run(
    folder: Path, cache: Path, *, experiment: str = EXPERIMENT, local: tuple[str, ...] = ()
) -> Path:
    """Run the whole loop with real operators and a recorded executor; return the run's folder.

    Its scores are made from hashes of the designs: they say nothing about them.
    """
    from genesys_engine.engine.common.machine import machine, versions
    from genesys_engine.engine.config import load_experiment
    from genesys_engine.engine.run import lifecycle
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.plugins.host import PluginHost
    from genesys_engine.plugins.registry import Description

    host = PluginHost(local=local)
    where = "genesys_engine.plugins.testing.recorded:RecordedExecutor"
    host.registry.register(Description("executor", "recorded", where, "recorded", "testing", "0"))
    file = folder.with_suffix(".toml")
    file.write_text(experiment, encoding="utf-8")
    read = load_experiment(file, (), host.registry)
    callbacks = lifecycle.Callbacks(
        on_event=lambda event: None,
        on_past=lambda event: None,
        should_stop=lambda: None,
        on_stage=lambda text: None,
    )
    meta: Mapping[str, Any] = {
        "name": read.run.name,
        "sets": [],
        "experiment": read.to_json(),
        "experiment_digest": read.digest,
        "versions": versions(),
        "machine": machine(),
        "components": [],
        "corpus": _corpus_facts(read, cache),
    }
    with Store.create(folder, meta, file) as store:
        lifecycle.execute(store, read, host, callbacks)
    return folder


def _corpus_facts(experiment: Any, cache: Path) -> dict[str, Any]:
    from genesys_engine.engine.corpus import prepare

    corpus = Corpus.open(prepare(experiment.corpus, cache))
    return {
        "folder": str(corpus.folder),
        "digest": corpus.digest,
        "source": experiment.corpus.use,
        "train_tokens": len(corpus.train),
        "heldout_tokens": corpus.heldout_tokens,
        "vocab_size": corpus.vocab_size,
    }
