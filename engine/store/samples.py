"""Scores of single items, as arrays next to the loss curves: one row and one chunk a verification.

A worker leaves them as a safetensors file; the file waits in the run's folder until its
verification enters the run, is then written to Zarr by the coordinator, and is removed once that
is committed.  So a kill at any point loses none, and no chunk ever has two writers.  What is in
the file was laid there by a candidate's process: one of another form counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.engine.store.curves import ARRAYS
from genesys_engine.plugins.sandbox.scratch import take_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PENDING = "samples"  # folder of a run
GROUP = "samples"  # of the Zarr group
MOST_BYTES = 8 << 20  # of the file: two million items
MOST_METRICS = 1000
_CHUNK_ITEMS = 4096  # at least, so that a row that is longer than the first has few chunks
_NAME = re.compile(r"\w[^\\]*")
_MOST_NAME_BYTES = 200


def pending_samples(folder: Path, seq: int) -> Path:
    """Return the file that holds the samples of a task until it is applied."""
    return folder / PENDING / f"task-{seq}.safetensors"


def drop_samples(folder: Path, seq: int) -> None:
    """Remove the file of a task that has been applied, and the folder with the last of them."""
    path = pending_samples(folder, seq)
    path.unlink(missing_ok=True)
    with suppress(OSError):  # others wait, or there is no such folder
        path.parent.rmdir()


def write_samples(folder: Path, seq: int, verification: int) -> None:
    """Write what the task `seq` left, if anything of use, as the row `verification`."""
    rows = _rows(pending_samples(folder, seq))
    if not rows:
        return
    import zarr

    group = zarr.open_group(folder / ARRAYS, mode="a")
    for metric, row in sorted(rows.items()):
        array = _array(group, metric, max(verification + 1, group["curves"].shape[0]), len(row))
        array[verification, : len(row)] = row


def _rows(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """Return metric -> scores of the items in a file; what no evaluator writes is left out."""
    from safetensors.numpy import load_file

    try:
        take_tensors(path, MOST_BYTES)
        found = load_file(path)
    except Exception:  # not there, damaged, or of a type that NumPy does not have
        return {}
    if len(found) > MOST_METRICS:
        return {}
    return {
        metric: row for metric, row in found.items() if _is_name(_node(metric)) and _is_row(row)
    }


def _is_row(values: NDArray[Any]) -> bool:
    return values.dtype == "float32" and values.ndim == 1 and len(values) > 0


def _is_name(node: str) -> bool:
    """Tell whether Zarr and the file system take a name as that of an array."""
    plain = bool(_NAME.fullmatch(node)) and node.isprintable() and node != "zarr.json"
    return plain and len(node.encode()) <= _MOST_NAME_BYTES


def _node(metric: str) -> str:
    return metric.replace("/", ".")


def read_samples(folder: Path, verification: int) -> dict[str, NDArray[np.float32]]:
    """Return metric -> scores of the items (NaN: none) of one verification."""
    import numpy as np
    import zarr

    group = zarr.open_group(folder / ARRAYS, mode="r")
    if GROUP not in group:
        return {}
    found = {}
    for _, array in sorted(group[GROUP].arrays()):
        if verification >= array.shape[0]:
            continue
        row = np.asarray(array[verification], dtype=np.float32)
        if np.isfinite(row).any():
            found[str(array.attrs["metric"])] = row
    return found


def _array(group: Any, metric: str, rows: int, items: int) -> Any:
    """Return the array of a metric, made or enlarged to hold `rows` x `items`."""
    name = f"{GROUP}/{_node(metric)}"
    if name not in group:
        array = group.create_array(
            name,
            shape=(rows, items),
            chunks=(1, max(items, _CHUNK_ITEMS)),
            dtype="float32",
            fill_value=float("nan"),
        )
        array.attrs["metric"] = metric
        return array
    array = group[name]
    if array.shape[0] < rows or array.shape[1] < items:
        array.resize((max(rows, array.shape[0]), max(items, array.shape[1])))
    return array
