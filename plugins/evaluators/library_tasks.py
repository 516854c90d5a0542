"""lm-eval's own tasks and the user's, with data that were brought to this machine before.

The engine's process loads a task's data set once (`prepare`) and stores it beside the task's
name; workers, which reach no network, read it from there (`prepared`).  A folder of the user's is
copied, for workers may not read the original.  Nothing of it runs in the engine's process: neither
the code that it names nor its templates, which are code too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from genesys_engine.gab.errors import EnvironmentProblem, InputError, in_a_line
from genesys_engine.plugins.evaluators.task_names import (
    Task,
    Tasks,
    files_of,
    folder_path,
    task_files,
)

INDEX = "library.json"
PLACE = "[[evaluators]] tasks"

Say = Callable[[str], None]


class Loaded(NamedTuple):
    """A task with its file, as workers find it, and its data; None: its own code brings them."""

    task: Task
    file: str
    dataset: Any


def prepare(tasks: Tasks, folder: Path, say: Say) -> None:
    """Bring the data of library tasks and of the user's folders to `folder`.

    Raises:
        EnvironmentProblem: a data set cannot be reached.
        InputError: a task's file is wrong, or a package that it needs is not installed.
    """
    from genesys_engine.plugins.evaluators import hub

    say("asking the Hugging Face hub")
    problem = hub.unreachable()
    if problem and tasks.library and not hub.has_cached_data():
        raise _no_data(tasks.library[0], problem)
    entries: list[dict[str, Any]] = []
    with hub.offline() if problem else nullcontext():
        for task, file, dataset in _load(tasks, folder, say, problem):
            data = None if dataset is None else f"task-{len(entries)}"
            if data is not None:
                _store(dataset, folder / data)
            entries.append({"name": task.name, "group": task.group, "file": file, "data": data})
    (folder / INDEX).write_text(json.dumps(entries, indent=1), encoding="utf-8")


def prepared(folder: Path | None) -> list[tuple[Task, dict[str, Any]]]:
    """Return each prepared task with its lm-eval configuration.

    Raises:
        InputError: nothing was prepared.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    if folder is None or not (folder / INDEX).is_file():
        raise InputError("the data of lm-eval's tasks were not prepared", where="evaluators")
    found = []
    for entry in json.loads((folder / INDEX).read_text(encoding="utf-8")):
        task = Task(entry["name"], entry["group"])
        config = load_yaml(folder / entry["file"], resolve_func=True)
        for key in ("tag", "group"):  # it stands for itself here
            config.pop(key, None)
        if entry["data"] is not None:
            config = _with_data(config, folder / entry["data"])
        found.append((task, {**config, "task": task.label}))
    return found


def _with_data(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the configuration of a task that reads its data from `folder`.

    A task in Python does not ask its configuration for them: its class is told.
    """
    import datasets

    def load(**_: object) -> Any:
        # What a task makes of data on a disk is kept beside them, where a worker may not write.
        return datasets.load_from_disk(str(folder), keep_in_memory=True)

    def download(self: Any, *_: object, **__: object) -> None:
        self.dataset = load()

    if (base := config.get("class")) is not None:
        return {**config, "class": type(base.__name__, (base,), {"download": download})}
    elsewhere = ("dataset_path", "dataset_name", "dataset_kwargs")
    kept = {key: value for key, value in config.items() if key not in elsewhere}
    return {**kept, "custom_dataset": load}


def _load(tasks: Tasks, folder: Path, say: Say, problem: str) -> Iterator[Loaded]:
    """Yield all tasks, loaded; `problem`: why only what is here already can be had."""
    if tasks.library:
        yield from _library(tasks.library, say, problem)
    for number, name in enumerate(tasks.folders):
        yield from _own(folder_path(name), folder / f"own-{number}", say, problem)


def _library(names: Sequence[str], say: Say, problem: str) -> Iterator[Loaded]:
    """Yield the tasks of lm-eval that names stand for; tasks of a group know it."""
    from lm_eval.tasks import TaskManager

    say("reading lm-eval's index of tasks")
    manager = TaskManager()
    for name in names:
        say(f"loading the data of {name}")
        with _faults_of(name, PLACE, problem):
            tasks = manager.load([name])["tasks"]
        grouped = len(tasks) > 1 or name not in tasks
        for each, task in tasks.items():
            file = str(manager.task_index[task.config.task].yaml_path)
            yield Loaded(Task(each, name if grouped else ""), file, task.dataset)


def _own(folder: Path, copy: Path, say: Say, problem: str) -> Iterator[Loaded]:
    """Copy a folder of the user's, and yield its tasks; a file without one is there to include."""
    for file in files_of(folder):
        place = copy / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    for file in task_files(folder):
        config = _read(file, folder)
        if isinstance(name := config.get("task"), str):
            say(f"loading the data of {name}")
            with _faults_of(name, str(file), problem):
                dataset = _own_data(config)
            yield Loaded(Task(name), f"{copy.name}/{file.relative_to(folder)}", dataset)


def _read(file: Path, folder: Path) -> dict[str, Any]:
    """Return what a file of the user's says, with the names of functions in their place.

    Raises:
        InputError: it is no YAML, no mapping, or includes what lies outside its folder.
    """
    import yaml
    from lm_eval.tasks._yaml_loader import load_yaml

    read: set[Path] = set()
    try:
        config: dict[str, Any] = load_yaml(file, resolve_func=False, _seen=read)
    except (yaml.YAMLError, OSError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            f"lm-eval cannot read this: {getattr(error, 'problem', None) or in_a_line(error)}",
            where=f"{mark.name}:{mark.line + 1}:{mark.column + 1}" if mark else str(file),
            hint="write one YAML mapping, or move the file out of the folder",
        ) from error
    for path in read:
        if not path.is_relative_to(folder):
            raise InputError(
                f"{path} is included and lies outside the folder, which is all that workers see",
                where=str(file),
                hint="copy it into the folder",
            )
    return config


def _own_data(config: Mapping[str, Any]) -> Any:
    """Return the data set that a file of the user's names; None where its code has to bring it."""
    import datasets

    if "class" in config or "custom_dataset" in config:
        return None
    options = dict(config.get("dataset_kwargs") or {})
    options.pop("trust_remote_code", None)  # as lm-eval does: `datasets` runs no such code
    found = datasets.load_dataset(config["dataset_path"], config.get("dataset_name"), **options)
    if not isinstance(found, datasets.DatasetDict):
        raise ValueError(f"dataset_kwargs give a {type(found).__name__}, not whole splits by name")
    return found


@contextmanager
def _faults_of(name: str, where: str, problem: str) -> Iterator[None]:
    """Tell what goes wrong in loading a task: it is never a bug of the engine."""
    try:
        yield
    except OSError as error:
        raise _no_data(name, problem or in_a_line(error), where) from error
    except ImportError as error:
        raise InputError(
            f"the task {name} needs a package that is not installed: {in_a_line(error)}",
            where=where,
            hint="install it beside genesys-engine, or leave the task out",
        ) from error
    except Exception as error:  # whatever a task, its code or its data's format raises
        raise InputError(
            f"lm-eval cannot load the task {name}: {in_a_line(error)}",
            where=where,
            hint="mend the task, or leave it out",
        ) from error


def _no_data(name: str, why: str, where: str = PLACE) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the data of the task {name} cannot be reached: {why}",
        where=where,
        hint='if they come from the Hugging Face hub, connect once, or use "offline" or "bigbench",'
        " which need no hub",
    )


def _store(dataset: Any, folder: Path) -> None:
    import datasets

    splits = {split: rows for split, rows in dataset.items() if rows is not None}
    datasets.DatasetDict(splits).save_to_disk(str(folder))
