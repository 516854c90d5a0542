"""Auditing a block from outside: find its source, have it audited in a worker, read the reply.

Nothing of the block runs in this process: a file is read as text, a tree as data.
"""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genesys_engine import __version__
from genesys_engine.engine.common.temporary import temporary_folder
from genesys_engine.gab.checks.brief import brief
from genesys_engine.gab.checks.report import ADVICE, CheckReport, Finding
from genesys_engine.gab.checks.trace import Trace
from genesys_engine.gab.errors import EnvironmentProblem, InputError, TreeError, UnitError
from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.sandbox.protocol import Limits, Outcome

if TYPE_CHECKING:
    from genesys_engine.gab.tree import GABTree
    from genesys_engine.plugins.api import Executor

AUDIT = "genesys_engine.plugins.audit_job:audit"
LIMITS = judged(Limits(wall_s=120.0))
REFERENCE = "gpt"  # the seed that costs are compared with
_OURS = ("genesys_engine.plugins.audit_job", "genesys_engine.plugins.auditor.served")
PRELOAD = ("torch", "torch._dynamo", *_OURS)
"""For a template that serves many audits."""
PRELOAD_ONCE = ("genesys_engine.gab.lean_torch", *_OURS)
"""For a template that serves one: `gab.lean_torch` says what is left out."""
_LARGEST = 1 << 20  # bytes of a source file
_DEEPEST = 4  # levels of tables and lists in what was measured
_DESIGN = re.compile(r"(?P<run>.+):(?P<design>[^:/\\]+)")


# What makes PyTorch trace code by itself, for which `lean_torch` leaves out too much.
_TRACES = re.compile(r"flex_attention|\bcompiler\b|\bjit\b|\bfunc\b|\bvmap\b")


def preload_for(source: str) -> tuple[str, ...]:
    """Return what a template imports that serves one audit of `source`."""
    return PRELOAD if _TRACES.search(source) else PRELOAD_ONCE


Kind = Literal["source", "tree", "design"]


@dataclass(frozen=True)
class Target:
    """What is to be audited: a source, or a finding that says why there is none.

    `name` is the path of a file, or RUN:DESIGN; lines of findings are those of the file only where
    `kind` is "source", else those of the composed module.  `parents` are the fingerprints of the
    designs that it was made from.
    """

    name: str
    source: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    refused: Finding | None = None
    kind: Kind = "source"


@dataclass(frozen=True)
class AuditResult:
    """The report of an audit, and what holds on this machine alone."""

    report: CheckReport
    facts: Mapping[str, float] = field(default_factory=dict)
    machine_findings: tuple[Finding, ...] = ()


def find_target(path: str, design: str | None = None) -> Target:
    """Read a Python file, a tree in JSON, or a design of a run: `RUN:DESIGN`, or apart.

    DESIGN is a number, or the name of a seed.

    A tree that breaks the contract of units is a target that is refused, with its finding.

    Raises:
        InputError: no such file, run or design, or it is not text.
    """
    if design is not None:
        return _design(Path(path), design)
    both = _DESIGN.fullmatch(path)
    if both and Path(both["run"]).is_dir():
        return _design(Path(both["run"]), both["design"])
    text = _read(Path(path))
    if Path(path).suffix == ".json" or text.lstrip().startswith("{"):
        return _tree(path, text)
    return Target(path, text)


def audit(
    target: Target,
    executor: Executor,
    *,
    scratch: Path | None = None,
    limits: Limits = LIMITS,
    **order: Any,
) -> AuditResult:
    """Have the target audited; `order` are those of `plugins.auditor.audit.Order` less `source`.

    Instead of `reference` a `reference_seed` may be given, which the worker composes.  Without a
    `scratch` folder the worker gets a temporary one.

    Raises:
        EnvironmentProblem: the machine could not run the audit.
    """
    if target.refused is not None:
        return read_refusal(target)
    payload = {"source": target.source, "parents": dict(target.parents), **order}
    with ExitStack() as stack:
        folder = scratch or stack.enter_context(temporary_folder("audit"))
        outcome = executor.submit(AUDIT, payload, folder, judged(limits)).result()
    return read_outcome(outcome)


def read_refusal(target: Target) -> AuditResult:
    """Return the report of a target that was refused before anything ran."""
    assert target.refused is not None, "every target has an audit"
    return AuditResult(CheckReport((target.refused,)))


def read_outcome(outcome: Outcome) -> AuditResult:
    """Return what a worker's answer amounts to; an audit that did not end is a finding.

    Raises:
        EnvironmentProblem: the machine could not run the audit.
    """
    if outcome.status == "infrastructure":
        raise EnvironmentProblem(f"the audit could not be run: {outcome.reason}")
    if outcome.status != "ok" or outcome.value is None:
        return AuditResult(CheckReport((_unfinished(outcome.status, outcome.reason),)))
    try:
        return _read_reply(outcome.value)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"the reply is not a valid audit: {error!r:.300}"
        return AuditResult(CheckReport((_unfinished("bad_reply", reason),)))


def reference_source() -> str:
    """Return the composed source of the block that costs are compared with."""
    from genesys_engine.gab import library
    from genesys_engine.gab.compose import compose

    return compose(library.seed(REFERENCE))


def versions() -> dict[str, str]:
    """Return the versions that an audit's numbers depend on."""
    from importlib.metadata import version

    return {
        "genesys-engine": __version__,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _read(path: Path) -> str:
    if not path.exists():
        hint = "give a Python file, a tree in JSON, or RUN DESIGN for a design of a run"
        raise InputError("no such file", where=str(path), hint=hint)
    if not path.is_file():
        hint = f"to audit a design of a run, add its number: {path} 7"
        raise InputError("not a file", where=str(path), hint=hint)
    with path.open("rb") as file:  # read once: what is audited is what was read
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise InputError(f"the file is larger than {_LARGEST >> 20} MiB", where=str(path))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8"
        raise InputError("not UTF-8 text", where=f"{path}:{line}", hint=hint) from None


def _tree(name: str, text: str) -> Target:
    from genesys_engine.gab.tree import GABTree

    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"not JSON: {error}", where=f"{name}:{line}") from None
    try:
        return _composed(name, GABTree.from_json(data), "tree")
    except UnitError as error:
        return Target(name, refused=_refused(error.code, error), kind="tree")
    except TreeError as error:
        return Target(name, refused=_refused("contract.tree", error), kind="tree")


def _design(run: Path, name: str) -> Target:
    from genesys_engine.engine.store.names import find_design
    from genesys_engine.engine.store.run_store import Store
    from genesys_engine.gab.tree import GABTree

    with Store.open(run) as store:
        design = find_design(store, name)
        tree = GABTree.from_json(store.tree(design))
        prints = {
            f"design {parent}": store.report(parent).measurements.fingerprint
            for parent in store.design(design).parents
        }
    known = {parent: value for parent, value in prints.items() if value}
    return _composed(f"{run}:{design}", tree, "design", known)


def _composed(
    name: str, tree: GABTree, kind: Kind, parents: Mapping[str, str] | None = None
) -> Target:
    from genesys_engine.gab.compose import compose

    tree.validate()
    return Target(name, compose(tree), parents or {}, kind=kind)


def _refused(code: str, error: UnitError | TreeError) -> Finding:
    where = re.fullmatch(r"(?P<unit>.*?)(?::(?P<line>\d+))?", error.where or "", re.DOTALL)
    unit, line = (where["unit"], where["line"]) if where else (error.where, None)
    advice = error.hint or "Fix the tree at this place."
    place = (unit or None, int(line) if line else None)
    missing = error.missing if isinstance(error, UnitError) else None
    trace = Trace(missing=missing) if missing else None
    return Finding(code, "error", error.message, advice, *place, trace=trace)


def _unfinished(status: str, reason: str) -> Finding:
    code = f"check.{status}"
    return Finding(code, "error", reason, ADVICE[code])


def _read_reply(value: Any) -> AuditResult:
    """Read an audit's reply; what the candidate's process says is data, and is checked."""
    report = CheckReport.from_json(value["report"])
    machine = tuple(map(Finding.from_json, value["machine_findings"]))
    for found in (*report.findings, *machine):
        strings = (found.code, found.message, found.advice)
        if found.code not in ADVICE or not all(isinstance(each, str) for each in strings):
            raise ValueError(f"an unknown finding {str(found.code)[:60]!r}")
        if found.severity not in ("error", "warning"):
            raise ValueError("a finding with an unknown severity")
        if not isinstance(found.line, int | None) or not isinstance(found.unit, str | None):
            raise TypeError("a finding without a valid place")
        if not isinstance(found.evidence, dict):
            raise TypeError("evidence of an unknown form")
        _demand_plain(found.evidence, 1)
    _demand_plain(report.measurements, _DEEPEST)
    facts = {name: _finite(number) for name, number in value["facts"].items()}
    brief(report, name="", machine_findings=machine, facts=facts)  # raises where it is unknown
    return AuditResult(report, facts, machine)


def _finite(number: object) -> float:
    """Return a fact; raises `ValueError` or `OverflowError` where it is not a finite number."""
    if not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError("a fact that is not a finite number")
    return float(number)


def _demand_plain(value: object, levels: int) -> None:
    """Raise `ValueError` unless value is made of strings and finite numbers, `levels` deep."""
    if isinstance(value, dict | list):
        if not levels:
            raise ValueError("a value that is nested too deep")
        for each in value.values() if isinstance(value, dict) else value:
            _demand_plain(each, levels - 1)
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"a value of the type {type(value).__name__}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
