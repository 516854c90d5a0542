"""What the skill tasks predict: how the accuracies of small models rank the zoo of designs.

    python experiments/bench/skill_fidelity.py record [--skills NAME ...] [--seeds N ...]
    python experiments/bench/skill_fidelity.py table

`record` trains a model of every design of the zoo (fidelity_zoo.py) on every skill task, on one
thread and in this process, and appends a line to skill_fidelity.jsonl for each; what stands there
is not trained again.  The tasks are those of docs/evaluation.md with smaller batches (`OPTIONS`).

`table` trains nothing: the rank correlation of each accuracy with the held-out bits per byte after
a long training (fidelity.jsonl, the recipe "long"), next to that of the lowest rung and of both
together, and what a skill adds to the rung: the correlation of what the rung leaves unexplained.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, variance

from fidelity_records import MACHINE, RECIPES, SkillRecord, append, read_lines, read_records
from fidelity_statistics import FEWEST, advantage, agreement, partial, ranks
from fidelity_tables import READINGS, markdown, of_recipe, scored

from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.gab.tree import GABTree
from genesys_engine.plugins.evaluators import skills

RECORDS = Path(__file__).with_name("skill_fidelity.jsonl")
TRAININGS = Path(__file__).with_name("fidelity.jsonl")
EVALUATORS = {
    "mqar": skills.MqarEvaluator,
    "copying": skills.CopyingEvaluator,
    "recall_noisy": skills.RecallNoisyEvaluator,
    "memorise": skills.MemoriseEvaluator,
}
OPTIONS: dict[str, dict[str, int]] = {
    "mqar": {"batch": 32},
    "copying": {"batch": 16},
    "recall_noisy": {"batch": 16},
    "memorise": {"batch": 16, "steps": 60},
}
"""Smaller batches than the small size of the tasks, which is 64 items: seconds for each design."""


def measure(name: str, tree: GABTree, skill: str, seed: int) -> SkillRecord:
    """Train a model of a design on a skill task, and return what it says."""
    from genesys_engine.gab.compose import compose
    from genesys_engine.plugins.model_subject import SUBJECT
    from genesys_engine.plugins.sandbox.subject import SameProcess, SubjectRaised
    from genesys_engine.plugins.students import Students

    accuracy = untrained = None
    reason, options = "", OPTIONS[skill]
    evaluator = EVALUATORS[skill]
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        block = {"source": compose(tree), "device": "cpu"}
        students = Students(SameProcess(SUBJECT, Path(scratch)), block)
        try:
            found = evaluator(evaluator.Options(seed=seed, **options)).evaluate_block(students)
            accuracy, untrained = (
                each[f"{skill}:acc"].value for each in (found.trained, found.untrained)
            )
        except (SubjectRaised, MemoryError) as error:
            reason = str(error)
    cpu_s = round(time.process_time() - begun, 2)
    return SkillRecord(design=name, digest=tree.digest, seed=seed, skill=skill, options=options,
                       accuracy=accuracy, untrained=untrained, reason=reason, cpu_s=cpu_s,
                       **MACHINE)  # fmt: skip


def record(path: Path, chosen: Sequence[str], seeds: Sequence[int]) -> None:
    """Train what is missing, and print a line for each.

    Raises:
        InputError: the file is damaged.
    """
    import torch
    from fidelity_zoo import read_zoo

    torch.set_num_threads(1)
    known = {each.key for each in read_lines(path, SkillRecord)}
    for seed in seeds:
        for skill in chosen:
            options = tuple(sorted(OPTIONS[skill].items()))
            for name, tree in read_zoo().items():
                if (tree.digest, skill, options, seed) in known:
                    continue
                found = measure(name, tree, skill, seed)
                append(path, found)
                score = found.reason if found.accuracy is None else f"{found.accuracy:.3f}"
                print(f"{skill}, seed {seed}, {name}: {score}, {found.cpu_s} CPU s", flush=True)


def table(records: Sequence[SkillRecord], trainings: Path) -> Iterator[tuple[str, ...]]:
    """Yield a row for each skill alone and with the rung, and one for the rung, with the head.

    A skill that was recorded for fewer than `FEWEST` designs has none.

    Raises:
        InputError: none was recorded for more.
    """
    every = read_records(trainings)
    long, rung = (of_recipe(every, RECIPES[name]) for name in ("long", "rung"))
    truth, cheap = (scored(found, READINGS[0]) for found in (long, rung))
    seconds = {name: READINGS[0].cpu_s(of[0]) for name, of in rung.items()}
    yield ("score", "designs", "CPU s", "sigma, points", "best / median / worst",
           "Spearman (95 %)", "better half", "with the rung", "over the rung (95 %)",
           "adds to the rung (95 %)")  # fmt: skip
    yield _row("rung, held-out", cheap, truth, seconds, None)
    errors: dict[str, dict[str, float]] = {}
    for skill in EVALUATORS:
        own = [each for each in records if each.skill == skill and each.seed == 0]
        errors[skill] = {each.design: _error(each) for each in own}
        if len(errors[skill].keys() & truth.keys() & cheap.keys()) < FEWEST:
            continue
        spent = {each.design: each.cpu_s for each in own}
        sigma = _sigma([each for each in records if each.skill == skill])
        yield _row(skill, errors[skill], truth, spent, cheap, sigma)
    if all(len(of) < FEWEST for of in errors.values()):
        raise InputError("no skill was recorded for enough designs", hint="run `record` first")
    shared = set.intersection(*map(set, errors.values()))
    if len(shared) < FEWEST:
        return
    placed = [ranks({name: of[name] for name in shared}) for of in errors.values()]
    together = {name: sum(of[name] for of in placed) for name in shared}
    spent = {n: sum(e.cpu_s for e in records if e.design == n and e.seed == 0) for n in shared}
    yield _row("all four, mean rank", together, truth, spent, cheap)


def _row(
    name: str,
    error: Mapping[str, float],
    truth: Mapping[str, float],
    seconds: Mapping[str, float],
    rung: Mapping[str, float] | None,
    sigma: float = math.nan,
) -> tuple[str, ...]:
    """Return the cells of one score; the last ones where there is a `rung` to compare it with."""
    agreed = agreement(error, truth)
    spent = f"{fmean(seconds[design] for design in error):.1f}"
    both, over, adds = "", "", ""
    if rung is not None:
        shared = error.keys() & rung.keys() & truth.keys()
        parts = [ranks({n: score[n] for n in shared}) for score in (error, rung)]
        mean = {n: parts[0][n] + parts[1][n] for n in shared}
        both = f"{agreement(mean, truth).spearman:.2f}"
        over = _with_interval(advantage(mean, rung, truth))
        adds = _with_interval(partial(error, rung, truth))
    values = sorted(1 - each for each in error.values())
    known = rung is not None and values[0] >= 0
    spread = f"{values[-1]:.2f} / {values[len(values) // 2]:.2f} / {values[0]:.2f}" if known else ""
    points = f"{sigma:.1f}" if math.isfinite(sigma) else ""
    interval = f"{agreed.spearman:.2f} ({agreed.low:.2f} to {agreed.high:.2f})"
    return (name, str(agreed.n), spent, points, spread, interval, f"{agreed.upper_half:.2f}", both,
            over, adds)  # fmt: skip


def _with_interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _error(found: SkillRecord) -> float:
    """Return the share of wrong answers; 1 of a design that failed."""
    return 1.0 if found.accuracy is None else 1 - found.accuracy


def _sigma(records: Sequence[SkillRecord]) -> float:
    """Return the deviation of an accuracy between seeds, in points of percent; NaN if unknown."""
    seeds: dict[str, list[float]] = {}
    for each in records:
        seeds.setdefault(each.design, []).append(_error(each))
    several = [scores for scores in seeds.values() if len(scores) > 1]
    if not several:
        return math.nan
    return 100 * math.sqrt(fmean(variance(scores) for scores in several))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options; record or print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--file", type=Path, default=RECORDS)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--skills", nargs="+", choices=EVALUATORS, default=list(EVALUATORS))
    recording.add_argument("--seeds", nargs="+", type=int, choices=range(10), default=[0])
    commands.add_parser("table")
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            record(options.file, options.skills, options.seeds)
        else:
            print(markdown(table(read_lines(options.file, SkillRecord), TRAININGS)))
    except GenesysError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
