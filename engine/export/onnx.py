"""A trained design as an ONNX graph with its tokenizer, proven against PyTorch.

PyTorch traces the model and so runs the design's code: that happens in an isolated worker
(`plugins.onnx_job`), and what comes back is a file and numbers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genesys_engine import __version__
from genesys_engine.engine.common.steps import Steps
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.engine.export.checkpoints import find_weights
from genesys_engine.engine.export.write import (
    EXPORTING,
    corpus_for,
    new_folder,
    refuse_used,
    write_json,
    write_tokenizer,
)
from genesys_engine.engine.store.run_store import Store
from genesys_engine.engine.views.details import composed_source
from genesys_engine.gab.errors import EnvironmentProblem, InputError
from genesys_engine.plugins.onnx_job import ATTEMPTS, EXPORTED, MOST_BYTES
from genesys_engine.plugins.onnx_subject import INPUT, OUTPUT, SUBJECT
from genesys_engine.plugins.sandbox.host import SandboxHost
from genesys_engine.plugins.sandbox.protocol import Limits, Outcome
from genesys_engine.plugins.sandbox.scratch import read_plain

JOB = "genesys_engine.plugins.onnx_job:export"
PRELOAD = ("torch", "torch._dynamo", "genesys_engine.plugins.onnx_job")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_GIB = 2**30
LIMITS = Limits(wall_s=1800.0, memory_bytes=16 * _GIB, file_bytes=4 * _GIB, subject=SUBJECT)
WORDS = {
    "batch and length": "any batch and any length up to {context} tokens",
    "batch": "any batch of exactly {context} tokens: fill shorter texts up on the right",
    "none": "one text of exactly {context} tokens: fill a shorter one up on the right",
}


@dataclass(frozen=True)
class ExportedGraph:
    """What was written where; `difference` is the largest of two logits, ONNX against PyTorch.

    `fixed` says why sizes of the input are not open, one reason for each attempt before.
    """

    folder: Path
    design: int
    scale: str
    replicate: int
    axes: str
    accepts: str
    difference: float
    compared: tuple[tuple[int, int], ...]
    fixed: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as the command line gives it out."""
        names = ("design", "scale", "replicate", "axes", "accepts", "difference")
        values = {name: getattr(self, name) for name in names}
        shapes = [list(shape) for shape in self.compared]
        return {
            "folder": str(self.folder),
            **values,
            "compared": shapes,
            "fixed": list(self.fixed),
        }

    def lines(self) -> list[str]:
        """Return what a person is shown."""
        shapes = ", ".join(f"{batch}x{length}" for batch, length in self.compared)
        return [
            f"design {self.design}, trained at {self.scale} (seed {self.replicate}):"
            f" {self.folder / EXPORTED}",
            f"it takes {self.accepts}",
            *(f"no more sizes are open: {reason}" for reason in self.fixed[:1]),
            f"largest difference of a logit from PyTorch: {self.difference:.2g}, for tokens of the"
            f" shapes {shapes}",
        ]


def export_onnx(
    store: Store,
    design: int,
    folder: Path,
    *,
    scale: str | None = None,
    replicate: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> ExportedGraph:
    """Write a design's trained model to `folder` as a graph, with its tokenizer.

    Raises:
        EnvironmentProblem: the extra `onnx` is not installed, or the worker could not run.
        InputError: as for `export`; or PyTorch cannot export the block, with the line.
    """
    _demand_packages()
    refuse_used(folder)
    steps = Steps(say, 2)
    weights = find_weights(store, design, scale, replicate)
    fit = store.report(design).measurements.fits[weights.scale]
    corpus, source = corpus_for(store, fit), composed_source(store, design)
    steps.next(EXPORTING, f"design {design}, trained at {weights.scale}, traced in a worker")
    order = {
        "source": source,
        "model": asdict(fit.model),
        "seed": 0,
        "checkpoint": str(weights.path.absolute()),
        "metadata": {
            "genesys_engine": __version__,
            "design": f"{store.meta('name')}:{design}",
            "tree": store.design(design).digest,
            "context": str(fit.context),
        },
    }
    with new_folder(folder) as partial, temporary_folder("onnx") as scratch:
        found = _traced(order, scratch, weights.path)
        _demand_graph(found, source, f"design {design}")
        graph = read_plain(scratch / EXPORTED, MOST_BYTES)
        (partial / EXPORTED).write_bytes(graph)
        steps.next(EXPORTING, "the tokenizer")
        write_tokenizer(partial, corpus, fit.context)
        exported = ExportedGraph(
            folder,
            design,
            weights.scale,
            weights.row.replicate,
            found["axes"],
            WORDS[found["axes"]].format(context=fit.context),
            found["difference"],
            tuple((int(batch), int(length)) for batch, length in found["compared"]),
            tuple(_words(each, source) for each in found["refused"]),
        )
        facts = {key: value for key, value in exported.to_json().items() if key != "folder"}
        names = {"input": INPUT, "output": OUTPUT, "context": fit.context}
        write_json(partial / "export.json", {**names, **facts})
    return exported


def _demand_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"not installed: {', '.join(missing)}",
            hint="pip install 'genesys-engine[onnx]'",
        )


def _traced(order: Mapping[str, Any], scratch: Path, weights: Path) -> Mapping[str, Any]:
    """Return what the worker answers."""
    limits = replace(LIMITS, subject_readable=(str(weights.absolute()),))
    with closing(SandboxHost(workers=1, preload=PRELOAD)) as host:
        outcome = host.submit(JOB, order, scratch, limits).result()
    if outcome.status == "infrastructure":
        raise EnvironmentProblem(f"the export could not be run: {outcome.reason}")
    if outcome.status != "ok" or outcome.value is None:
        raise InputError(
            f"the export ended with {outcome.status}: {outcome.reason}", where="block.py"
        )
    return _checked(outcome)


def _checked(outcome: Outcome) -> Mapping[str, Any]:
    """Return the answer of a worker; raises `InputError` where it is none."""
    value: Any = outcome.value
    try:
        fine = value["axes"] in ("", *ATTEMPTS) and isinstance(value["difference"], float)
        fine = fine and all(isinstance(size, int) for shape in value["compared"] for size in shape)
        for each in value["refused"]:
            texts = (each["axes"], each["reason"], each["operator"])
            fine = fine and all(isinstance(text, str) for text in texts)
            fine = fine and isinstance(each["line"], int | None)
    except (KeyError, TypeError):
        fine = False
    if not fine:
        raise InputError("the worker's answer is malformed", where="block.py")
    return dict(value)


def _demand_graph(found: Mapping[str, Any], source: str, design: str) -> None:
    """Raise `InputError` with the reason of the last attempt, which demands least."""
    if found["axes"]:
        return
    last = found["refused"][-1]
    raise InputError(
        f"{design} cannot be exported to ONNX: {_words(last, source)}",
        hint="PyTorch must trace the block without looking at values: choose with torch.where in"
        " place of `if`, and use operators that ONNX has; or export without --format onnx",
    )


def _words(refused: Mapping[str, Any], source: str) -> str:
    """Return why an attempt failed: the reason, the operator, and the line with its text."""
    lines = source.split("\n")
    number = refused["line"]
    place = ""
    if number is not None and 0 < number <= len(lines):
        place = f" (line {number}: {lines[number - 1].strip()[:100]})"
    operator = f", operator {refused['operator']}" if refused["operator"] else ""
    return f"{refused['reason']}{operator}{place}"
