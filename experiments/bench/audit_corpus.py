"""Precision, recall and seconds of the auditor, on blocks whose truth is known.

    python experiments/bench/audit_corpus.py [--only WORD] [--against OTHER_PYTHON] [--json]

`audit_corpus/sound` holds blocks that must pass, `audit_corpus/defective` blocks that must fail
with the code that their name begins with.  The first word of a block's docstring is its kind; a
line `# context: N` or `# class: NAME` is an option of its audit.  Goal: no miss, no false alarm.

Each block is audited in full in one warm worker, as `genesys-engine check` does it; the seconds
are the worker's own processor time.  `--against` audits the same blocks with another build, given
by the interpreter of its environment, turn by turn, and prints the ratio over the blocks that
pass in both: an audit that fails ends early and tells nothing of the cost.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "audit_corpus"
GOAL_RATIO = 1.0  # of the seconds of the other build


@dataclass(frozen=True)
class Block:
    """One block and its truth: `code` is the finding that it must have, "" for none."""

    name: str
    kind: str
    code: str
    source: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """The outcome of an audit: the codes of its errors, the line of the first one, its seconds."""

    errors: tuple[str, ...]
    line: int | None
    seconds: float

    def judge(self, block: Block) -> str:
        """Return "right", or what is wrong with it."""
        if not block.code:
            return "false alarm" if self.errors else "right"
        if not self.errors:
            return "missed"
        return "right" if block.code in self.errors else "other code"


def main() -> int:
    """Audit every block and print the table; return 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="blocks whose kind or name holds this")
    parser.add_argument("--against", default="", help="the interpreter of another build")
    parser.add_argument("--json", action="store_true", help="print each result on a line")
    asked = parser.parse_args()
    blocks = [b for b in read_corpus() if asked.only in b.name or asked.only in b.kind]
    if asked.json:
        for block, result in zip(blocks, audit(blocks), strict=True):
            print(json.dumps([block.name, result.errors, result.line, result.seconds]), flush=True)
        return 0
    sides = {"this build": sys.executable}
    if asked.against:
        sides["the other"] = asked.against
    results = {side: _audit_with(python, asked.only) for side, python in sides.items()}
    wrong = 0
    for side, found in results.items():
        wrong = _print(side, blocks, found) if side == "this build" else wrong
        if side != "this build":
            _print(side, blocks, found)
    ratio = _print_ratio(*results.values()) if len(results) == 2 else 0.0
    return int(wrong > 0 or ratio > GOAL_RATIO)


def read_corpus() -> list[Block]:
    """Return all blocks, sound ones first, by name."""
    return [_read(path) for path in sorted(CORPUS.glob("*/*.py"), key=_order)]


def _order(path: Path) -> tuple[bool, str]:
    return path.parent.name != "sound", path.name


def _read(path: Path) -> Block:
    text = path.read_text(encoding="utf-8")
    sound = path.parent.name == "sound"
    kind = re.match(r'"""(\w[\w ]*):', text)
    options = dict(re.findall(r"^# (context|class): (\w+)$", text, re.MULTILINE))
    given: dict[str, Any] = {}
    if "context" in options:
        given["context"] = int(options["context"])
    if "class" in options:
        given["class_name"] = options["class"]
    code = "" if sound else ".".join(path.stem.split(".")[:2])
    return Block(path.stem, kind[1] if kind else "", code, text, given)


def audit(blocks: list[Block]) -> Iterator[Result]:
    """Audit blocks in full, one after the other, in one warm worker."""
    from genesys_engine.engine.check import audit
    from genesys_engine.plugins.auditor.audit import Order
    from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

    executor = ProcessExecutor(ProcessOptions(preload=audit.PRELOAD), workers=1)
    common: dict[str, Any] = {"reference": audit.reference_source()}
    if "adapt" in {field.name for field in fields(Order)}:  # an older build has none
        common |= {"adapt": True, "class_name": ""}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for block in blocks:
                order = {"source": block.source, **common, **block.options}
                job = executor.submit(audit.AUDIT, order, Path(scratch), audit.LIMITS)
                outcome = job.result()
                findings = audit.read_outcome(outcome).report.findings
                errors = [found for found in findings if found.severity == "error"]
                codes = tuple(found.code for found in errors)
                line = errors[0].line if errors else None
                yield Result(codes, line, float(outcome.facts.get("cpu_s", 0.0)))
    finally:
        executor.close()


def _audit_with(python: str, only: str) -> dict[str, Result]:
    """Run this file with an interpreter, so that each build is measured in the same way."""
    command = [python, __file__, "--json", "--only", only]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: Result(tuple(errors), line, seconds) for name, errors, line, seconds in rows}


def _print(side: str, blocks: list[Block], results: dict[str, Result]) -> int:
    """Print the findings of one build; return how many blocks it judged wrongly."""
    verdicts = {block.name: results[block.name].judge(block) for block in blocks}
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for block in blocks:
        verdict = verdicts[block.name]
        by_kind[block.kind][verdict] += 1
        if verdict != "right":
            outcome = ", ".join(sorted(set(results[block.name].errors))) or "passed"
            print(f"{verdict}: {block.name}: {outcome}")
    for kind, counts in sorted(by_kind.items()):
        wrong = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if verdict != "right")
        print(f"{kind:10} {counts['right']:3} of {counts.total():3} right  {wrong}".rstrip())
    defective = [block for block in blocks if block.code]
    caught = sum(bool(results[block.name].errors) for block in defective)
    alarms = sum(bool(results[b.name].errors) for b in blocks if not b.code)
    placed = sum(results[block.name].line is not None for block in defective)
    others = sum(verdict == "other code" for verdict in verdicts.values())
    print(
        f"{side}: {len(blocks)} blocks, precision {caught / max(1, caught + alarms):.3f}, recall "
        f"{caught / max(1, len(defective)):.3f}, {others} with another code; {placed} of "
        f"{len(defective)} findings name a line; "
        f"{sum(result.seconds for result in results.values()):.1f} s of processor time"
    )
    return sum(verdict != "right" for verdict in verdicts.values())


def _print_ratio(ours: dict[str, Result], other: dict[str, Result]) -> float:
    """Print and return the ratio of the seconds over the blocks that pass in both builds."""
    both = [name for name in ours if not ours[name].errors and not other[name].errors]
    seconds = [sum(side[name].seconds for name in both) for side in (ours, other)]
    ratio = seconds[0] / max(seconds[1], 1e-9)
    print(
        f"{len(both)} blocks pass in both builds: {seconds[0]:.1f} s against {seconds[1]:.1f} s, "
        f"{ratio:.2f} times (goal {GOAL_RATIO:g})"
    )
    return ratio


if __name__ == "__main__":
    sys.exit(main())
