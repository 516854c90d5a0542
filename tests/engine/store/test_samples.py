"""Scores of single items: a row each, whatever their number, and nothing where nothing came."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from engine_process import ask, engine, write_experiment
from safetensors.numpy import save_file

from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.store.samples import (
    MOST_BYTES,
    MOST_METRICS,
    pending_samples,
    read_samples,
    write_samples,
)
from genesys_engine.plugins.sandbox.scratch import _SIZES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.create(tmp_path / "run", {}) as store:
        store.curves.allocate(2)
    return tmp_path / "run"


def leave(folder: Path, seq: int, **arrays: np.ndarray) -> None:
    path = pending_samples(folder, seq)
    path.parent.mkdir(exist_ok=True)
    save_file({k.replace("__", "/"): np.asarray(v, np.float32) for k, v in arrays.items()}, path)


def test_each_verification_has_its_own_row(folder: Path) -> None:
    leave(folder, 4, acc=np.array([1, 0, 1]), group__task=np.array([0.5]))
    leave(folder, 9, acc=np.array([0, 0, 1, 1]))  # more items than before
    write_samples(folder, 9, 3)  # beyond the rows that were planned, and first
    write_samples(folder, 4, 0)
    first, last = read_samples(folder, 0), read_samples(folder, 3)
    assert first.keys() == {"acc", "group/task"}
    assert last.keys() == {"acc"}
    assert np.array_equal(first["acc"], [1, 0, 1, np.nan], equal_nan=True)
    assert np.array_equal(last["acc"], [0, 0, 1, 1])
    assert read_samples(folder, 1) == read_samples(folder, 99) == {}


def test_writing_again_after_a_kill_gives_the_same(folder: Path) -> None:
    leave(folder, 1, acc=np.array([1, 0]))
    write_samples(folder, 1, 0)
    write_samples(folder, 1, 0)
    assert np.array_equal(read_samples(folder, 0)["acc"], [1, 0])
    write_samples(folder, 2, 1)
    assert read_samples(folder, 1) == {}


def lay(
    folder: Path, seq: int, tensors: dict[str, tuple[str, list[object], int]], **more: object
) -> None:
    """Write a file as no library does: name -> (dtype, shape, bytes)."""
    header: dict[str, object] = dict(more)
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path = pending_samples(folder, seq)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))


GOOD = ("F32", [2], 8)


@pytest.mark.parametrize("dtype", sorted(_SIZES.keys() - {"F32"}))
def test_only_single_precision_is_kept(folder: Path, dtype: str) -> None:
    lay(folder, 1, {"acc": (dtype, [2], 2 * _SIZES[dtype])})
    write_samples(folder, 1, 0)
    assert read_samples(folder, 0) == {}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "a\0b",
        "a\nb",
        "a\\b",
        "zarr.json",
        "zarr/json",
        "a" * 300,
        "\u00fc" * 120,
    ],
)
def test_a_name_that_no_array_can_have_is_dropped(folder: Path, name: str) -> None:
    lay(folder, 1, {name: GOOD, "pass@1": GOOD})
    write_samples(folder, 1, 0)
    assert read_samples(folder, 0).keys() == {"pass@1"}


@pytest.mark.parametrize(
    ("tensors", "more"),
    [
        ({"acc": GOOD}, {"__metadata__": 5}),
        ({"acc": ("F32", [True], 4)}, {}),
        ({"acc": ("F32", [1, 2], 8)}, {}),
        ({"acc": ("F32", [], 4)}, {}),
        ({"acc": ("F32", [0], 0)}, {}),
        ({f"m{i}": GOOD for i in range(MOST_METRICS + 1)}, {}),
        ({"acc": ("F32", [MOST_BYTES // 4], MOST_BYTES)}, {}),
    ],
    ids=["metadata", "boolean", "matrix", "scalar", "empty", "many", "large"],
)
def test_what_no_evaluator_writes_is_dropped(
    folder: Path, tensors: dict[str, tuple[str, list[object], int]], more: dict[str, object]
) -> None:
    lay(folder, 1, tensors, **more)
    write_samples(folder, 1, 0)
    assert read_samples(folder, 0) == {}


def test_a_first_row_of_one_item_does_not_cut_later_ones_into_pieces(folder: Path) -> None:
    lay(folder, 1, {"acc": ("F32", [1], 4)})
    lay(folder, 2, {"acc": ("F32", [20_000], 80_000)})
    write_samples(folder, 1, 0)
    write_samples(folder, 2, 1)
    assert len(read_samples(folder, 1)["acc"]) == 20_000
    files = [path for path in (folder / "arrays.zarr" / "samples").rglob("*") if path.is_file()]
    assert len(files) < 12


@pytest.mark.slow
def test_a_run_keeps_them_and_their_mean_is_the_score(tmp_path: Path) -> None:
    tasks = '[[evaluators]]\nuse = "lm_eval"\ntasks = ["minimal_pairs/participle"]\nlimit = 30'
    values = {"verifications": 2, "designs": 1, "preload": ("datasets", "lm_eval.evaluator")}
    experiment = write_experiment(tmp_path, more=tasks, **values)
    run = tmp_path / "run"
    assert engine("run", experiment, "--out", run).code in (0, 1)
    ids = [number for (number,) in ask(run, "SELECT id FROM verifications WHERE status = 'ok'")]
    assert ids
    with Store.open(run) as store:
        for row in store.verifications():
            samples = read_samples(run, row.id)
            pairs = samples["minimal_pairs/participle:acc"]
            score = row.scores["minimal_pairs/participle:acc"]
            assert len(pairs) == score.n == 30
            assert pairs.mean() == pytest.approx(score.value)
            assert row.scores["minimal_pairs:acc"].value == pytest.approx(score.value)
            assert samples["bits_per_byte"].shape == (row.scores["bits_per_byte"].n,)
    assert not (run / "samples").exists(), "none is left waiting"
