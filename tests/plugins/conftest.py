"""A small real corpus for the tests of training and evaluation."""

import pytest
from training_support import TinyModel

from genesys_engine.engine.corpus import CorpusOptions, prepare
from genesys_engine.plugins.corpus import Corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Half a megabyte of the standard library, byte-level BPE with 512 tokens."""
    options = CorpusOptions(max_bytes=500_000, vocab_size=512, heldout=0.2)
    return Corpus.open(prepare(options, tmp_path_factory.mktemp("cache")))


@pytest.fixture
def tiny_model(corpus):
    """An untrained model of the corpus's vocabulary."""
    return TinyModel(corpus.vocab_size)
