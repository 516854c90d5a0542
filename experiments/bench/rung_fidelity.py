"""What a rung predicts: how a cheap training ranks a fixed zoo of designs, next to a long one.

    python experiments/bench/rung_fidelity.py record [--recipes NAME ...] [--seeds N ...]
    python experiments/bench/rung_fidelity.py table

`record` trains every design of the zoo (fidelity_zoo.py) by every recipe, through the verifier of
a run and its executor, one training at a time on one thread, and appends a line to
fidelity.jsonl for each; what stands there is not trained again, so it may be ended at any time.
"Long" is 196,608 tokens at 1M, seven times the computing of the lowest rung of ladder_cpu.toml.

`table` trains nothing: seconds against rank correlation with the long result, of every recipe, of
what its curve says without an evaluation or at a part of its tokens, and of the mean over seeds;
then what an early stop costs and saves, and what a rate of its own for each design changes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from fidelity_records import (
    MACHINE,
    RECIPES,
    Recipe,
    Record,
    append,
    read_records,
    thinned,
)
from fidelity_statistics import FEWEST
from fidelity_stops import forecasts
from fidelity_tables import frontier, markdown, rates, stops
from fidelity_zoo import read_zoo

from genesys_engine.engine.evaluate.verifier import (
    RungSettings,
    Verifier,
    VerifySettings,
    verification_job,
)
from genesys_engine.engine.jobs.facts import number
from genesys_engine.engine.jobs.task_result import InfrastructureFailure
from genesys_engine.engine.jobs.worker_jobs import Trial
from genesys_engine.engine.run.assembly import build_corpus, load, open_executor, open_trials
from genesys_engine.gab.compose import compose, load_block
from genesys_engine.gab.errors import GenesysError, InputError
from genesys_engine.gab.scales import fit_scale, get_scale
from genesys_engine.gab.tree import GABTree

EXPERIMENT = Path(__file__).parents[1] / "ladder_cpu.toml"
RECORDS = Path(__file__).with_name("fidelity.jsonl")
METRIC = "bits_per_byte"
TODAY = "rung published"  # what the lowest rung was before the measured recipe


class Recorder:
    """Trains and scores as a run does, and writes down what comes back."""

    def __init__(self, stack: ExitStack, path: Path, experiment: Path = EXPERIMENT) -> None:
        sets = ["trainer.device=cpu", "run.workers=1", "executor.timeout_s=3600"]
        sets += ["ladder.finalists=0", 'evaluators=[{use="heldout",windows=128}]']
        self.path = path
        self.file, setup = experiment, load(experiment, sets)
        self.experiment = setup.experiment
        built = build_corpus(self.experiment, lambda stage: print(stage, file=sys.stderr))
        self.corpus = built.digest
        self.vocab_size = built.vocab_size
        self.settings = setup.on(built).verify
        executor = stack.enter_context(open_executor(setup))
        self.trials = open_trials(setup, executor)
        stack.callback(self.trials.close)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fidelity-")))
        self.demand_same_text()

    def record(self, name: str, tree: GABTree, recipe: Recipe, seed: int) -> Record:
        """Train a design, score it, append a line, return it."""
        settings, source = self._settings(recipe), compose(tree)
        fit = fit_scale(load_block(source), get_scale(recipe.scale), self.vocab_size)
        job = verification_job(settings, source, fit.config, 0, seed)
        trial = Trial(0, tree.digest, 0, recipe.scale, seed)
        verifier = Verifier(self.trials, settings, self.folder)
        done = verifier.start(0, job, None, trial).result()
        read, facts = done.result, done.facts
        score = read.scores.get(METRIC) if read.ok else None
        record = Record(
            design=name,
            digest=tree.digest,
            recipe=recipe,
            seed=seed,
            status=read.status,
            reason=read.reason,
            bits_per_byte=score and score.value,
            stderr=score and score.stderr,
            parameters=fit.parameters,
            tokens=read.tokens,
            curve=thinned(read.curve),
            cpu_s=round(number(facts, "cpu_s"), 2),
            train_s=round(number(facts, "train_s"), 2),
            wall_s=round(number(facts, "wall_s"), 2),
            corpus=self.corpus,
            **MACHINE,
        )
        append(self.path, record)
        return record

    def _settings(self, recipe: Recipe) -> VerifySettings:
        """Return the settings of a run whose lowest rung is this recipe."""
        scale, trainer = get_scale(recipe.scale), self.settings.trainer
        rung = RungSettings(
            scale=scale.name,
            context=scale.context,
            tokens=recipe.tokens,
            batch_tokens=recipe.batch_tokens,
            peak_lr=scale.peak_lr * recipe.lr_scale,
            lr_scale=recipe.lr_scale,
        )
        asked = replace(trainer, options=trainer_options(recipe))
        return replace(self.settings, rungs=(rung,), trainer=asked)

    def demand_same_text(self) -> None:
        """Refuse to add to what was recorded with another text: bits per byte would not compare.

        Raises:
            InputError: the file has records of another corpus.
        """
        if other := {each.corpus for each in read_records(self.path)} - {self.corpus}:
            raise InputError(
                f"this was recorded with the corpus {other.pop()[:12]}, here it is"
                f" {self.corpus[:12]}",
                where=str(self.path),
                hint=f"record into another --file, or give {self.file.name} its old corpus again",
            )


def trainer_options(recipe: Recipe) -> dict[str, Any]:
    """Return the trainer's options as a user would write them: all others follow from the recipe,
    unless they are given too."""
    return {"device": "cpu", "recipe": recipe.recipe}


def missing(
    path: Path, zoo: dict[str, GABTree], recipes: list[Recipe], seeds: list[int]
) -> Iterator[tuple[str, Recipe, int]]:
    """Yield what is not recorded yet, design by design, the first seed of all before the second."""
    known = {record.key for record in read_records(path)}
    for seed in seeds:
        for name, tree in zoo.items():
            for recipe in recipes:
                if (tree.digest, recipe, seed) not in known:
                    yield name, recipe, seed


def record(path: Path, recipes: list[Recipe], seeds: list[int], only: list[str] | None) -> None:
    """Train what is missing, and print a line for each.

    Raises:
        InputError: a design is not of the zoo, or the file is damaged or of another text.
    """
    zoo = read_zoo()
    if unknown := set(only or ()) - set(zoo):
        hint = f"designs: {', '.join(zoo)}"
        raise InputError(f"the zoo has no design {min(unknown)!r}", where="--designs", hint=hint)
    chosen = {name: tree for name, tree in zoo.items() if only is None or name in only}
    todo = list(missing(path, chosen, recipes, seeds))
    if not todo:
        print("all of it is recorded already")
        return
    with ExitStack() as stack:
        recorder = Recorder(stack, path)
        for at, (name, recipe, seed) in enumerate(todo, 1):
            found = recorder.record(name, zoo[name], recipe, seed)
            score = found.reason if found.bits_per_byte is None else f"{found.bits_per_byte:.4f}"
            print(f"{at}/{len(todo)} {name}: {recipe}, seed {seed}: {score}, {found.cpu_s} CPU s",
                  flush=True)  # fmt: skip


def table(records: list[Record]) -> None:
    """Print what was recorded.

    Raises:
        InputError: the long result of too few designs is recorded.
    """
    long = sum(record.recipe == RECIPES["long"] for record in records)
    if long < FEWEST:
        hint = "run `record` first"
        raise InputError(f"the long result of {long} designs is recorded", hint=hint)
    print(markdown(frontier(records, RECIPES, "long", TODAY)), end="\n\n")
    print(markdown(stops(records, RECIPES)), end="\n\n")
    print(markdown(forecasts(records, RECIPES)), end="\n\n")
    print(markdown(rates(records, RECIPES, "rung", "long")))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options; record or print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--file", type=Path, default=RECORDS)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    recording.add_argument("--seeds", nargs="+", type=int, choices=range(10), default=[0])
    recording.add_argument("--designs", nargs="+", help="of the zoo; left out: all")
    commands.add_parser("table")
    options = parser.parse_args(arguments)
    try:
        if options.command == "record":
            recipes = [RECIPES[name] for name in options.recipes]
            record(options.file, recipes, options.seeds, options.designs)
        else:
            table(read_records(options.file))
    except (GenesysError, InfrastructureFailure) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
