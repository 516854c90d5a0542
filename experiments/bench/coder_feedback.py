"""What does feedback to the coder say about a fault, with and without the trace of the check?

    python experiments/bench/coder_feedback.py [--every N] [--show CODE]

The unit-by-unit arms of the recorded study are replayed: replies and reports of then, no model.
Every unit that failed its check is checked again, in an isolated worker, by today's check.  Printed
for each kind of failure: in which share of the feedback the line of the coder's own unit is
quoted, the shapes and dtypes of what the failing expression is made of are given, further names in
scope are, and what is nearest to a missing name.  `before` is the feedback that the model got when
the study was recorded, `after` that of today.  It takes about 4 minutes of one core; every Nth
failure alone takes less.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from genesys_engine.engine.check.design_check import CheckSettings, DesignCheck
from genesys_engine.engine.common.randomness import generator
from genesys_engine.engine.compare.check_reports import CheckReports
from genesys_engine.engine.compare.implementation import open_arms
from genesys_engine.engine.compare.proposals import StudyProposal, read_proposals
from genesys_engine.engine.config import load_experiment
from genesys_engine.gab.compose import class_names, compose
from genesys_engine.gab.tree import GABTree
from genesys_engine.gab.unit import Unit
from genesys_engine.operators.llm import feedback
from genesys_engine.plugins.api import (
    Limits,
    LLMReply,
    LLMRequest,
    LLMUsage,
    OperatorContext,
    Parent,
)
from genesys_engine.plugins.executors.process import ProcessExecutor
from genesys_engine.plugins.llm.replay import ReplayBackend

FOLDER = Path(__file__).parents[1]
STUDY = FOLDER / "gp_vs_direct.toml"
ARMS = ("gp", "no_planner", "no_observer")
TOKENS = 40_000
FACTS = ("own line", "shapes", "dtypes", "in scope", "nearest")
_OF_A_TENSOR = re.compile(r"(?<=[ ;])((self\.)?\w+) (?!of )(\w+ )?\(\d[^)]*\)")
_DTYPE = re.compile(r"\b(float|bfloat|int|complex)\d+ \(|\bbool \(")


@dataclass(frozen=True)
class Failure:
    """A unit that failed its check when the study was recorded, and its report of then."""

    tree: GABTree
    unit: Unit
    report: Mapping[str, Any]


class Recorded:
    """The study's language models: the replies of the recording."""

    def __init__(self, backend: ReplayBackend) -> None:
        self._backend = backend
        self._used: dict[str, LLMUsage] = {}

    def ask(self, role: str, request: LLMRequest) -> LLMReply:
        """Return the recorded reply."""
        reply = self._backend.complete(request)
        before = self._used.get(role, LLMUsage(0, 0, 0))
        self._used[role] = LLMUsage(
            before.calls + 1,
            before.input_tokens + (reply.input_tokens or 0),
            before.output_tokens + (reply.output_tokens or 0),
        )
        return reply

    def usage(self) -> dict[str, LLMUsage]:
        """Return what was used, by role."""
        return self._used


def failures(folder: Path) -> Iterator[Failure]:
    """Replay the arms and yield every unit that failed, each source once."""
    experiment = load_experiment(STUDY)
    section = experiment.compare
    assert experiment.llm is not None, "the study asks language models"
    reports = CheckReports(folder, Path(section.checks))
    backend = ReplayBackend(ReplayBackend.Options(path=experiment.llm.options["path"]))
    arms, seen = open_arms(section), set[str]()
    noted: list[Failure] = []

    def note(report: Mapping[str, Any], tree: GABTree, unit: Unit, *, traced: bool) -> str:
        noted.append(Failure(tree, unit, report))
        return original(report, tree, unit, traced=traced)

    original = feedback.of_report
    with patch.object(feedback, "of_report", note):
        proposals = read_proposals(Path(section.proposals))
        for arm in (each for each in section.arms if each.name in ARMS):
            met = arm.proposals if isinstance(arm.proposals, int) else len(proposals)
            for index, proposal in enumerate(proposals[:met]):
                implement = arms[arm.name].implement
                context = _context(experiment.run.seed, index, proposal, backend, reports)
                parent = Parent(0, proposal.tree(), None, f"Seed design {proposal.parent}.")
                implement(proposal.proposal, [parent], context, token_cap=TOKENS)
                for each in noted:
                    source = compose(each.tree)
                    if source not in seen:
                        seen.add(source)
                        yield each
                noted.clear()


def _context(
    seed: int, index: int, proposal: StudyProposal, backend: ReplayBackend, reports: CheckReports
) -> OperatorContext:
    def check(tree: GABTree) -> Mapping[str, Any]:
        found = reports.find(compose(tree))
        assert found is not None, "the recording holds every report"
        return found.to_json()

    return OperatorContext(
        rng=generator(seed, "implement", index),
        seeds=(proposal.parent,),
        llm=Recorded(backend),
        check=check,
    )


def facts_of(text: str, tree: GABTree, unit: Unit) -> dict[str, bool]:
    """Return what a feedback tells about its first finding."""
    first = text.partition("\n\n2. ")[0]
    lines = first.splitlines()
    quoted = lines[1].removeprefix("     | ").strip() if lines[1:] and "| " in lines[1] else ""
    own = class_names(tree)[unit.digest]
    place = re.search(r"at line \d+ in (\w+)", lines[0])
    return {
        "own line": bool(quoted and place and place[1] in (own, unit.name)),
        "shapes": bool(_OF_A_TENSOR.search(first.replace("=", " "))),
        "dtypes": bool(_DTYPE.search(first)),
        "in scope": "also there: " in first or "in scope: " in first,
        "nearest": "nearest to" in first or " has: " in first or "signature: " in first,
    }


def main() -> None:
    """Replay, check again, and print both sides."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--show", default="", help="also print both texts on failures of a code")
    given = parser.parse_args()
    kinds = ("before", "after")
    counts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    lengths: dict[str, list[int]] = defaultdict(list)
    with TemporaryDirectory() as name:
        folder = Path(name)
        executor = ProcessExecutor(
            ProcessExecutor.Options(preload=("genesys_engine.plugins.check_job",)), workers=1
        )
        settings = CheckSettings(("0.2M",), 1024, 1, Limits())
        check = DesignCheck(executor, settings, folder)
        for number, each in enumerate(list(failures(folder))[:: given.every]):
            report = check.report(compose(each.tree), str(number)).to_json()
            code = feedback.codes(each.report)[0]
            now = report if not report["passed"] else each.report
            texts = {
                "before": feedback.of_report(each.report, each.tree, each.unit, traced=False),
                "after": feedback.of_report(now, each.tree, each.unit, traced=True),
            }
            for kind in kinds:
                lengths[kind].append(len(texts[kind]))
                for fact, known in facts_of(texts[kind], each.tree, each.unit).items():
                    counts[code][f"{kind} {fact}"].append(known)
            if given.show and code.startswith(given.show):
                print(*(f"--- {kind}\n{texts[kind]}" for kind in kinds), "", sep="\n")
        executor.close()
    _print(counts, lengths)


def _print(
    counts: Mapping[str, Mapping[str, list[bool]]], lengths: Mapping[str, list[int]]
) -> None:
    print("share of the feedback that tells it, before -> after")
    print(f"{'code':20} {'n':>4} " + " ".join(f"{fact:>15}" for fact in FACTS))
    total: dict[str, list[bool]] = defaultdict(list)
    for found in counts.values():
        for key, values in found.items():
            total[key] += values
    by_count = sorted(counts.items(), key=lambda item: -len(item[1]["before shapes"]))
    for code, found in [*by_count, ("all", total)]:
        cells = [
            "{:6.0%} -> {:4.0%}".format(*(_mean(found[f"{k} {fact}"]) for k in ("before", "after")))
            for fact in FACTS
        ]
        print(f"{code:20} {len(found['before shapes']):4} " + " ".join(f"{c:>15}" for c in cells))
    for kind, sizes in lengths.items():
        print(f"characters of a feedback, {kind}: {sorted(sizes)[len(sizes) // 2]} (median)")


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


if __name__ == "__main__":
    main()
