"""Which blocks of the library can be exported to ONNX, with which open sizes: a table.

    python experiments/bench/onnx_exports.py            # the seeds
    python experiments/bench/onnx_exports.py mixers     # and gpt with each sequence mixer

Each is traced in an isolated worker and compared with PyTorch, as `export --format onnx` does it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.gab.tree import GABTree, grow
from genesys_engine.gab.unit import Unit
from genesys_engine.plugins.checkpoint import save_checkpoint
from genesys_engine.plugins.models import build_model
from genesys_engine.plugins.onnx_subject import SUBJECT
from genesys_engine.plugins.sandbox import Limits, SandboxHost

MODEL = {"d_model": 64, "n_blocks": 2, "vocab_size": 300, "context": 128}
JOB = "genesys_engine.plugins.onnx_job:export"
PRELOAD = ("torch", "torch._dynamo", "genesys_engine.plugins.onnx_job")


def trees(mixers: bool) -> Iterator[tuple[str, GABTree]]:
    """Yield what is exported, by name."""
    for name in library.seed_names():
        yield name, library.seed(name)
    gpt = library.seed("gpt")
    place = next(each for each in gpt.places() if each.node.ret == "sequence_mixer")
    for unit in library.units("sequence_mixer") if mixers else ():
        yield unit.name, gpt.replace(place.index, grown(unit))


def grown(unit: Unit) -> GABTree:
    """Return the tree of a unit; each slot holds the library's first unit without slots."""
    leaves = {
        slot.name: next(each for each in library.units(slot.interface) if not each.slots)
        for slot in unit.slots
    }
    return grow(unit, {name: grow(leaf) for name, leaf in leaves.items()})


def row(host: SandboxHost, tree: GABTree) -> tuple[str, str]:
    """Return the open sizes of a tree's graph, and its difference or the reason."""
    with tempfile.TemporaryDirectory() as folder:
        weights, scratch = Path(folder, "weights.safetensors"), Path(folder, "scratch")
        scratch.mkdir()
        order = {"source": compose(tree), "model": MODEL, "seed": 1}
        save_checkpoint(build_model(order, "cpu"), weights)
        order |= {"checkpoint": str(weights), "metadata": {}}
        limits = Limits(
            wall_s=1800, memory_bytes=8 << 30, subject=SUBJECT, subject_readable=(str(weights),)
        )
        outcome = host.submit(JOB, order, scratch, limits).result()
    if outcome.status != "ok" or outcome.value is None:
        return outcome.status, outcome.reason.splitlines()[-1][:80]
    value = outcome.value
    if not value["axes"]:
        last = value["refused"][-1]
        return "-", f"line {last['line']}: {last['reason'][:80]}"
    return str(value["axes"]), f"{value['difference']:.1e}"


def main() -> None:
    """Print a row for each."""
    with closing(SandboxHost(workers=1, preload=PRELOAD)) as host:
        for name, tree in trees("mixers" in sys.argv):
            started = time.monotonic()
            axes, said = row(host, tree)
            print(f"{name:32} {axes:18} {said}  ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
