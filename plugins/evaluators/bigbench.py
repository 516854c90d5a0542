"""BIG-bench's multiple-choice tasks, read straight out of the source archive of its package.

The archive (358 MB, Srivastava et al. 2022, arXiv 2206.04615; Apache-2.0) is fetched once with
pip, checked against its SHA-256, and never installed or imported.  Its tasks carry a canary:
nothing of them may ever be trained on.
"""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.registry import suggest

FOLDER = "bigbench"
TASK_FILE = "task.json"
MOST_ITEMS = 3000  # one task has 50,000
FETCH = "genesys-engine data fetch bigbench"


def items_path(data: Path | None, task: str) -> Path:
    """Return the file with the items of a task.

    Raises:
        InputError: it was not prepared.
    """
    path = None if data is None else data / FOLDER / f"{task}.jsonl"
    if path is None or not path.is_file():
        raise InputError(
            f"the items of bigbench/{task} were not prepared",
            where="evaluators",
            hint=f"fetch them with `{FETCH}`",
        )
    return path


def extract(archive: Path, tasks: Iterable[str], folder: Path) -> dict[str, int]:
    """Write the items of `tasks` to `folder`/<task>.jsonl; return how many each has.

    Raises:
        InputError: the archive has no such task, or it is not a multiple-choice task.
    """
    wanted = list(tasks)
    found = dict(_task_files(archive, set(wanted)))
    counts = {}
    folder.mkdir(parents=True, exist_ok=True)
    for task in wanted:
        if task not in found:
            raise InputError(
                f"BIG-bench has no task {task!r} of one file",
                where="evaluators",
                hint=suggest(task, list(names(archive))),
            )
        items = multiple_choice(task, found[task])
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        (folder / f"{task}.jsonl").write_text(text, encoding="utf-8")
        counts[task] = len(items)
    return counts


def names(archive: Path) -> Iterator[str]:
    """Yield the tasks of one file in an archive, without reading them."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if (name := _task_name(member.name)) is not None:
                yield name


def multiple_choice(task: str, definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items of a task in the shape of the offline ones.

    An example is used where exactly one of its choices is right; choices stand in random order,
    since in some tasks the right one always comes first.

    Raises:
        InputError: no example is of that kind.
    """
    before = str(definition.get("example_input_prefix", "\nQ: "))
    after = str(definition.get("example_output_prefix", "\nA: "))
    rng = random.Random(f"genesys_engine.bigbench/{task}")
    items = []
    for example in definition.get("examples", ()):
        targets = example.get("target_scores")
        if not targets or sorted(targets.values())[-2:] not in ([0, 1], [0.0, 1.0], [1]):
            continue
        choices = sorted(targets)
        rng.shuffle(choices)
        right = next(choice for choice in choices if targets[choice] == 1)
        context = f"{before}{example['input']}{after}".lstrip("\n").rstrip()
        spaced = [f" {choice}" for choice in choices]
        items.append({"context": context, "choices": spaced, "label": choices.index(right)})
        if len(items) == MOST_ITEMS:
            break
    if not items:
        raise InputError(
            f"bigbench/{task} has no example with exactly one right choice",
            where="evaluators",
            hint="choose a multiple-choice task",
        )
    return items


def _task_files(archive: Path, wanted: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (task, its definition) of the wanted tasks; the archive is read once, in order."""
    left = set(wanted)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = _task_name(member.name)
            if name not in left:
                continue
            file = tar.extractfile(member)
            if file is not None:
                yield name, json.load(file)
                left.discard(name)
            if not left:
                return


def _task_name(member: str) -> str | None:
    """Return the task of `.../benchmark_tasks/<task>/task.json`, None for another member."""
    parts = member.split("/")
    if len(parts) < 3 or parts[-1] != TASK_FILE or parts[-3] != "benchmark_tasks":
        return None
    return parts[-2]
