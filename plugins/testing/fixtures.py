"""Fixtures for pytest; switch them on in the conftest.py next to your pyproject.toml:

pytest_plugins = ["genesys_engine.plugins.testing.fixtures"]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genesys_engine.plugins.api import Corpus, GABTree, Trainer, compose
from genesys_engine.plugins.testing import samples
from genesys_engine.plugins.testing.recorded import RecordedExecutor
from genesys_engine.plugins.testing.scripted import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genesys_engine.gab.model import LanguageModel


@pytest.fixture(scope="session")
def genesys_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for prepared corpora."""
    return tmp_path_factory.mktemp("genesys-cache")


@pytest.fixture(scope="session")
def tiny_corpus(genesys_cache: Path) -> Corpus:
    """200 KB of Python's own source, prepared."""
    return samples.tiny_corpus(genesys_cache)


@pytest.fixture
def small_model(tiny_corpus: Corpus) -> LanguageModel:
    """An untrained model of one small GPT block, with the vocabulary of `tiny_corpus`."""
    return samples.small_model(tiny_corpus.vocab_size)


@pytest.fixture
def small_trainer() -> Trainer:
    """The built-in trainer; `samples.BUDGET` is a budget of a second."""
    from genesys_engine.plugins.trainers.pytorch import TorchTrainer

    return TorchTrainer()


@pytest.fixture
def recorded_executor() -> Iterator[RecordedExecutor]:
    """An executor that answers at once, by hashes of the designs."""
    executor = RecordedExecutor()
    yield executor
    executor.close()


@pytest.fixture
def scripted_llm() -> Callable[..., ScriptedLLM]:
    """Makes a language model that gives these replies in order: `scripted_llm("one", "two")`.

    Give it to an operator as `api.OperatorContext(rng, llm=scripted_llm(...))`.
    """
    return lambda *replies: ScriptedLLM(replies)


@pytest.fixture
def check_block() -> Callable[[GABTree], list[str]]:
    """Makes the engine's built-in check of a tree, at the smallest scale; runs its code here.

    `check_block(tree)` returns the findings as texts: none where the block passes.
    """

    def check(tree: GABTree) -> list[str]:
        from genesys_engine.plugins.auditor.here import check_block

        report = check_block(compose(tree), vocab_size=512, seed=1, scales=["0.2M"])
        return [str(finding) for finding in report.findings]

    return check


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, genesys_cache: Path) -> Path:
    """A finished run: two seeds, four children, one rung; do not write into it."""
    return samples.finished_run(tmp_path_factory.mktemp("runs") / "sample", genesys_cache)
