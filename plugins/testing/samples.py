"""Small real things to test with: a corpus, a model, a trainer's budget, a finished run.

The corpus and the run are made by the engine itself (see `engine`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.plugins.api import Corpus, TrainBudget
from genesys_engine.plugins.testing.engine import engine

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
    return Corpus.open(engine().corpus(cache, max_bytes=200_000, vocab_size=VOCABULARY))


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
    engine().run(folder, cache, experiment, local)
    return folder
