"""A discovered design against the seeds, with fresh training seeds: paired differences.

    python experiments/bench/discovery_race.py record FOLDER --designs TREE.json gpt mamba2 ... \\
        --scale 1M --tokens 196608 --batch-tokens 1024 --seeds 101 102 ... [--equal seconds]
    python experiments/bench/discovery_race.py table FOLDER

Designs are trees (.json) and names of the library.  The first tree is the one that the others are
compared with.  All have the text, the trainer and the held-out windows of discover_cpu.toml,
one training at a time on one thread, and with one seed the same data in the same order.

`--equal tokens` (the default) gives all the same tokens.  `--equal seconds` gives each the tokens
that take as many CPU seconds as the best seed took for `--tokens`: what a token costs, and which
seed is best, is read from what was recorded at equal tokens, which therefore comes first.  A design
keeps the tokens of its first training at equal seconds.

`record` appends a line to FOLDER/tokens.jsonl or FOLDER/seconds.jsonl for each training and repeats
none.  `table` trains nothing: gains in percent with 95 % intervals (Student's t, paired by seed).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from fidelity_records import Recipe, Record, append, read_records
from rung_fidelity import Recorder
from scipy.stats import t as student

from genesys_engine.engine.jobs.task_result import InfrastructureFailure
from genesys_engine.gab import library
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.gab.tree import GABTree

EXPERIMENT = Path(__file__).parents[1] / "discover_cpu.toml"
EQUAL = ("tokens", "seconds")


@dataclass(frozen=True)
class Gain:
    """The gain of one design over another in percent: mean, interval, number of shared seeds."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if self.n < 2:
            return f"{self.mean:+.2f} % (1 seed: no interval)"
        return f"{self.mean:+.2f} % ({self.low:+.2f} to {self.high:+.2f}; {self.n} seeds)"


def paired_gain(winner: Mapping[int, float], rival: Mapping[int, float]) -> Gain:
    """Return by how much less `winner` loses than `rival`, both bits per byte by seed.

    Raises:
        ValueError: they share no seed.
    """
    gains = [100 * (rival[s] - winner[s]) / rival[s] for s in sorted(winner.keys() & rival.keys())]
    if not gains:
        raise ValueError("no seed in common")
    mean, n = fmean(gains), len(gains)
    if n < 2:
        return Gain(mean, -math.inf, math.inf, n)
    half = float(student.ppf(0.975, n - 1)) * stdev(gains) / math.sqrt(n)
    return Gain(mean, mean - half, mean + half, n)


def read_design(name: str) -> tuple[str, GABTree]:
    """Return the short name and the tree of a design: a file, or a name of the library.

    Raises:
        InputError: it is neither.
    """
    path = Path(name)
    if path.suffix != ".json":
        if name not in library.design_names():
            hint = f"give a tree (.json) or one of {', '.join(library.design_names())}"
            raise InputError(f"no design of the library: {name!r}", where="--designs", hint=hint)
        return name, library.seed(name)
    try:
        tree = GABTree.from_json(json.loads(path.read_text(encoding="utf-8")))
        tree.validate()
    except (OSError, ValueError) as error:
        raise InputError(f"not a tree: {error}", where=name) from None
    return path.stem, tree


def tokens_in_equal_seconds(records: Sequence[Record], recipe: Recipe) -> dict[str, int]:
    """Return the tokens of each design that cost the CPU seconds of the best seed, by digest.

    Raises:
        InputError: no seed of the library was recorded at equal tokens.
    """
    known = [each for each in records if each.recipe == recipe and each.bits_per_byte is not None]
    scores, seconds = defaultdict(list), defaultdict(list)
    for each in known:
        seconds[each.digest].append(each.cpu_s / each.tokens)
        if each.design in library.seed_names():
            scores[each.digest].append(each.bits_per_byte or math.inf)
    if not scores:
        hint = "record a seed without `--equal seconds` first"
        raise InputError("no seed was recorded at equal tokens", hint=hint)
    best = min(scores, key=lambda digest: fmean(scores[digest]))
    budget = fmean(seconds[best]) * recipe.tokens
    whole = recipe.batch_tokens
    return {
        digest: max(1, round(budget / fmean(costs) / whole)) * whole
        for digest, costs in seconds.items()
    }


def record(options: argparse.Namespace) -> None:
    """Train what is missing, seed by seed, and print a line for each.

    Raises:
        InputError: a design cannot be read, or its cost is not known yet.
    """
    recipe = Recipe(scale=options.scale, tokens=options.tokens, batch_tokens=options.batch_tokens)
    designs = dict(read_design(each) for each in options.designs)
    at_equal_tokens = read_records(options.folder / "tokens.jsonl")
    recipes = dict.fromkeys(designs, recipe)
    file = options.folder / f"{options.equal}.jsonl"
    if options.equal == "seconds":
        tokens = tokens_in_equal_seconds(at_equal_tokens, recipe) | kept_tokens(file, recipe)
        for name, tree in designs.items():
            if tree.digest not in tokens:
                hint = "record it without `--equal seconds` first"
                raise InputError(f"the cost of {name} is not known", hint=hint)
            recipes[name] = recipe.model_copy(update={"tokens": tokens[tree.digest]})
    options.folder.mkdir(parents=True, exist_ok=True)
    done_before = {each.key: each for each in at_equal_tokens}
    with ExitStack() as stack:
        recorder = Recorder(stack, file, EXPERIMENT)
        for seed in options.seeds:
            known = {each.key for each in read_records(file)}
            for name, tree in designs.items():
                key = (tree.digest, recipes[name], seed)
                if key in known:
                    continue
                if done := done_before.get(key):  # equal seconds are equal tokens for the best seed
                    append(file, done)
                else:
                    done = recorder.record(name, tree, recipes[name], seed)
                score = done.reason if done.bits_per_byte is None else f"{done.bits_per_byte:.4f}"
                print(f"{name}, seed {seed}: {score}, {done.tokens} tokens, {done.cpu_s} CPU s",
                      flush=True)  # fmt: skip


def kept_tokens(file: Path, recipe: Recipe) -> dict[str, int]:
    """Return the tokens that designs were given at equal seconds before, by digest."""
    return {
        each.digest: each.recipe.tokens
        for each in reversed(read_records(file))
        if each.recipe.model_copy(update={"tokens": recipe.tokens}) == recipe
    }


def table(folder: Path) -> None:
    """Print each comparison that was recorded: the discovery against each other design.

    Raises:
        InputError: nothing was recorded.
    """
    files = [folder / f"{equal}.jsonl" for equal in EQUAL]
    if not any(map(read_records, files)):
        raise InputError("nothing was recorded", where=str(folder), hint="run `record` first")
    for equal, file in zip(EQUAL, files, strict=True):
        by_scale: dict[str, list[Record]] = defaultdict(list)
        for each in read_records(file):
            by_scale[each.recipe.scale].append(each)
        for scale, records in by_scale.items():
            print(f"{scale}, equal {equal}\n\n" + "\n".join(rows(records)), end="\n\n")


def ordered_scores(records: Sequence[Record]) -> dict[str, dict[int, float]]:
    """Return bits per byte by design and seed, the discovery first; a failure is infinite."""
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for each in records:
        scores[each.design][each.seed] = each.bits_per_byte or math.inf
    first = next((name for name in scores if name not in library.design_names()), min(scores))
    return {first: scores[first], **scores}


def rows(records: Sequence[Record]) -> list[str]:
    """Return a table in Markdown: a row for each design, the discovery first."""
    scores = ordered_scores(records)
    first = next(iter(scores))
    lines = [
        f"| design | bits per byte by seed | mean | gain of {first} | tokens | CPU s | size |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in scores.items():
        own = [each for each in records if each.design == name]
        listed = " ".join(f"{found[seed]:.3f}" for seed in sorted(found))
        gain = "" if name == first else str(paired_gain(scores[first], found))
        cost = f"{fmean(each.cpu_s for each in own):.1f}"
        cells = (name, listed, f"{fmean(found.values()):.4f}", gain, f"{own[0].tokens:,}", cost)
        lines.append("| " + " | ".join((*cells, f"{own[0].parameters:,}")) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options; record or print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--designs", nargs="+", required=True)
    recording.add_argument("--scale", default="1M")
    recording.add_argument("--tokens", type=int, default=196_608)
    recording.add_argument("--batch-tokens", type=int, default=1024)
    recording.add_argument("--seeds", nargs="+", type=int, default=list(range(101, 109)))
    recording.add_argument("--equal", choices=EQUAL, default="tokens")
    commands.add_parser("table").add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            record(options)
        else:
            table(options.folder)
    except (GenesysError, InfrastructureFailure) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
