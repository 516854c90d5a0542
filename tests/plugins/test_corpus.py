"""Reading a prepared corpus: windows, masks, byte counts, damage."""

import json
import shutil

import numpy as np
import pytest
from training_support import CONTEXT

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.corpus import Corpus


def take(corpus, count, seed=0, rows=4):
    batches = corpus.batches(seed, rows, CONTEXT)
    return [next(batches) for _ in range(count)]


def test_mask_leaves_out_document_ends_and_what_follows_them(corpus):
    windows = corpus.heldout_windows(CONTEXT)
    end = corpus.end_of_text
    crossing = (windows.targets == end) | (windows.inputs == end)
    assert crossing.any()
    assert np.array_equal(windows.mask, ~crossing)
    assert windows.real_tokens == windows.mask.size - crossing.sum()


def test_targets_are_the_next_tokens(corpus):
    for batch in take(corpus, 3):
        assert np.array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        assert batch.inputs.shape == batch.targets.shape == (4, CONTEXT)


def test_heldout_windows_meet_every_token_once(corpus):
    windows = corpus.heldout_windows(CONTEXT)
    stream = np.asarray(corpus.heldout)
    assert np.array_equal(windows.targets.ravel(), stream[1 : 1 + windows.targets.size])
    assert len(stream) - 1 - windows.targets.size < CONTEXT


def test_a_limit_spreads_windows_over_the_whole_text(corpus):
    everything = corpus.heldout_windows(CONTEXT)
    few = corpus.heldout_windows(CONTEXT, 5)
    rows = [np.flatnonzero((everything.inputs == row).all(axis=1))[0] for row in few.inputs]
    assert rows == [len(everything.inputs) * i // 5 for i in range(5)]


def test_byte_lengths_sum_to_the_bytes_of_the_text(corpus):
    lengths = corpus.byte_lengths
    for split, stream in (("train", corpus.train), ("heldout", corpus.heldout)):
        assert lengths[np.asarray(stream)].sum() == corpus.manifest["splits"][split]["bytes"]
    assert lengths[corpus.end_of_text] == 0


def test_batches_follow_the_seed(corpus):
    first, again, other = take(corpus, 5), take(corpus, 5), take(corpus, 5, seed=1)
    assert all(np.array_equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a.inputs, b.inputs) for a, b in zip(first, other, strict=True))


def test_an_epoch_meets_every_window_once_and_the_next_one_moves(corpus):
    count = (len(corpus.train) - CONTEXT) // CONTEXT
    windows = np.concatenate([b.inputs for b in take(corpus, 2 * count, rows=1)])
    first, second = windows[:count], windows[count:]
    stream = np.asarray(corpus.train)
    offset = int(np.random.default_rng((0, 0)).integers(len(stream) - count * CONTEXT))
    expected = stream[offset : offset + count * CONTEXT].reshape(count, CONTEXT)
    assert sorted(map(bytes, first)) == sorted(map(bytes, expected.astype(np.int64)))
    assert set(map(bytes, first)) != set(map(bytes, second))


def test_too_large_a_batch_is_refused(corpus):
    with pytest.raises(InputError, match="too few for one batch"):
        next(corpus.batches(0, 1000, 4096))
    with pytest.raises(InputError, match="fewer than one context"):
        corpus.heldout_windows(10_000_000)


def test_text_that_spells_the_end_of_text_token_stays_text(corpus):
    ids = corpus.tokenizer.encode("a <|endoftext|> b", add_special_tokens=False).ids
    assert corpus.end_of_text not in ids
    assert corpus.tokenizer.decode(ids) == "a <|endoftext|> b"


def test_damage_is_noticed(corpus, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(corpus.folder, folder)
    Corpus.open(folder).check()
    shard = folder / "train.bin"
    whole = shard.read_bytes()

    shard.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"train\.bin.*bytes instead of"):
        Corpus.open(folder)

    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"train\.bin.*differs from what was prepared"):
        Corpus.open(folder).check()

    shard.unlink()
    with pytest.raises(InputError, match="missing"):
        Corpus.open(folder)


@pytest.mark.parametrize("content", ["{", json.dumps({"format": 99}), "[]"])
def test_an_unreadable_manifest_is_an_input_error(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest|format"):
        Corpus.open(tmp_path)
    with pytest.raises(InputError, match="no prepared corpus"):
        Corpus.open(tmp_path / "nothing")
