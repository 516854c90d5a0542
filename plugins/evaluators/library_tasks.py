"""lm-eval's own tasks and the user's, with data that were brought to this machine before.

The engine's process loads a task's data set once (`prepare`) and stores it next to the task's
name; workers, which reach no network, read it from there (`prepared`).  A folder of the user's is
copied, for workers may not read the original.  Nothing of it runs in the engine's process: neither
the code that it names nor its templates, which are code too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from genesys_engine.gab.errors import EnvironmentProblem, InputError, in_a_line
from genesys_engine.plugins.evaluators.demands import loaded_demands, read_demands
from genesys_engine.plugins.evaluators.task_names import (
    PLACE,
    Task,
    Tasks,
    files_of,
    folder_path,
    is_folder,
    task_files,
)

INDEX = "library.json"
LEAVE_OUT = "leave the task out, or copy it to a folder of your own with a smaller num_fewshot"
ONE_FILE_EACH = "write each task into a file of its own, in this folder, and name it in the group"
FILES = frozenset({"data_files", "data_dir"})  # keys of `dataset_kwargs`

Say = Callable[[str], None]


class Loaded(NamedTuple):
    """A task with its file, as workers find it, and its data; None: its own code brings them.

    `origin` is the file that errors name: the user's own, of which workers have a copy.
    """

    task: Task
    file: str
    origin: str
    dataset: Any


class Prepared(NamedTuple):
    """A task with its lm-eval configuration, and the file that errors name."""

    task: Task
    config: dict[str, Any]
    origin: str


def prepare(tasks: Tasks, folder: Path, say: Say) -> None:
    """Bring the data of library tasks and of the user's folders to `folder`.

    Raises:
        EnvironmentProblem: a data set cannot be reached.
        InputError: a task's file is wrong, asks for more than its data have, or has the name of
            another, or a package that it needs is not installed.
    """
    from genesys_engine.plugins.evaluators import hub

    problem = ""
    if tasks.library or not all(_all_here(folder_path(name)) for name in tasks.folders):
        say("asking the Hugging Face hub")
        problem = hub.unreachable()
    if problem and tasks.library and not hub.has_cached_data():
        raise _no_data(tasks.library[0], problem)
    entries: list[dict[str, Any]] = []
    origins = {task.label: PLACE for task in (*tasks.local, *tasks.bigbench)}
    with hub.offline() if problem else nullcontext():
        for task, file, origin, dataset in _load(tasks, folder, say, problem):
            if (other := origins.setdefault(task.label, origin)) is not origin:
                raise _named_twice(task, origin, other)
            data = None if dataset is None else f"task-{len(entries)}"
            if data is not None:
                _store(dataset, folder / data)
            about = {"name": task.name, "group": task.group, "origin": origin}
            entries.append({**about, "file": file, "data": data})
    (folder / INDEX).write_text(json.dumps(entries, indent=1), encoding="utf-8")


def prepared(folder: Path | None) -> list[Prepared]:
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
        found.append(Prepared(task, {**config, "task": task.label}, entry.get("origin", PLACE)))
    return found


def _with_data(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the configuration of a task that reads its data from `folder`.

    A task in Python does not ask its configuration for them: its class gets the limit.
    """
    import datasets

    def load(**_: object) -> Any:
        # What a task makes of data on a disk is kept next to them, where a worker may not write.
        return datasets.load_from_disk(str(folder), keep_in_memory=True)

    def download(self: Any, *_: object, **__: object) -> None:
        self.dataset = load()

    if (base := config.get("class")) is not None:
        return {**config, "class": type(base.__name__, (base,), {"download": download})}
    elsewhere = ("dataset_path", "dataset_name", "dataset_kwargs")
    kept = {key: value for key, value in config.items() if key not in elsewhere}
    return {**kept, "custom_dataset": load}


def _load(tasks: Tasks, folder: Path, say: Say, problem: str) -> Iterator[Loaded]:
    """Yield all tasks, loaded; `problem` says why only cached data are available."""
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
            if sampler := getattr(task, "sampler", None):
                demands = loaded_demands(each, file, task, fix=LEAVE_OUT)
                demands.check_counts(len(task.eval_docs), len(sampler.df))
            yield Loaded(Task(each, name if grouped else ""), file, file, task.dataset)


def _own(folder: Path, copy: Path, say: Say, problem: str) -> Iterator[Loaded]:
    """Copy a folder of the user's, and yield its tasks; a file without one is there to include."""
    for file in files_of(folder):
        place = copy / file.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    for file, task, dataset in _own_tasks(folder, say, problem):
        yield Loaded(task, f"{copy.name}/{file.relative_to(folder)}", str(file), dataset)


def check(folders: Iterable[str]) -> None:
    """Look at the tasks of the user's folders whose data are on this machine; nothing is kept.

    Raises:
        EnvironmentProblem: data cannot be read.
        InputError: a file is wrong, or a task asks for more than its data have.
    """
    from genesys_engine.plugins.evaluators import hub

    with hub.offline():
        for name in folders:
            for _ in _own_tasks(folder_path(name), lambda stage: None, "", here=True):
                pass


def _own_tasks(
    folder: Path, say: Say, problem: str, *, here: bool = False
) -> Iterator[tuple[Path, Task, Any]]:
    """Yield (file, task, data) of a folder of the user's; other files are there to include.

    Args:
        here: leave out tasks whose data a hub may have.
    """
    configs = {file: _read(file, folder) for file in task_files(folder)}
    groups = dict(_members(configs))
    for file, config in configs.items():
        name = config.get("task")
        if not isinstance(name, str) or (here and not _is_here(config)):
            continue
        say(f"loading the data of {name}")
        with _faults_of(name, str(file), problem):
            dataset = _own_data(config, file.parent)
        if dataset is not None:
            sizes = {split: len(rows) for split, rows in dataset.items()}
            read_demands(name, str(file), config).check_splits(sizes)
        yield file, Task(name, groups.get(name, "")), dataset


def _all_here(folder: Path) -> bool:
    """Tell whether no task of a folder may need the hub."""
    configs = (_read(file, folder) for file in task_files(folder))
    return all(_is_here(config) for config in configs if isinstance(config.get("task"), str))


def _is_here(config: Mapping[str, Any]) -> bool:
    """Tell whether the data of a task are files of this machine, or brought by its code."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    path = config.get("dataset_path")
    files = json.dumps(config.get("dataset_kwargs") or {}, default=str)
    known = path is None or path in _PACKAGED_DATASETS_MODULES
    return (known or is_folder(str(path)) or Path(str(path)).exists()) and "://" not in files


def _members(configs: Mapping[Path, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (task, group) of the groups in a folder of the user's.

    Raises:
        InputError: a group holds anything but names of the folder's tasks, or a file holds a list
            of tasks, of which lm-eval's own command makes several.
    """
    known = {config["task"] for config in configs.values() if isinstance(config.get("task"), str)}
    for file, config in configs.items():
        members = config.get("task")
        if "task_list" in config or (isinstance(members, list) and "group" not in config):
            raise InputError(
                "a list of tasks in one file is not supported", where=str(file), hint=ONE_FILE_EACH
            )
        for member in members if isinstance(members, list) else ():
            if not isinstance(member, str) or member not in known:
                raise InputError(
                    f"the group {config['group']} holds {member!r}, which is no task of this"
                    f" folder ({', '.join(sorted(known)) or 'it has none'})",
                    where=str(file),
                    hint=ONE_FILE_EACH,
                )
            yield member, str(config["group"])


def _read(file: Path, folder: Path) -> dict[str, Any]:
    """Return the content of a user's file, with functions as their names.

    Raises:
        InputError: it is not a YAML mapping, or includes files outside its folder.
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


def _own_data(config: Mapping[str, Any], folder: Path) -> Any:
    """Return the data set that a file of the user's names; None where its code has to bring it.

    Args:
        folder: that of the file.
    """
    import datasets

    if "class" in config or "custom_dataset" in config:
        return None
    options = dict(config.get("dataset_kwargs") or {})
    options.pop("trust_remote_code", None)  # as lm-eval does: `datasets` runs no such code
    for key in FILES & options.keys():
        options[key] = _in_folder(options[key], folder)
    path = str(config["dataset_path"])
    if path.startswith(("./", "../")):
        path = _in_folder(path, folder)
    found = datasets.load_dataset(path, config.get("dataset_name"), **options)
    if not isinstance(found, datasets.DatasetDict):
        raise ValueError(f"dataset_kwargs give a {type(found).__name__}, not whole splits by name")
    return found


def _in_folder(value: Any, folder: Path) -> Any:
    """Return the files of a task: relative to its file, else as lm-eval finds them."""
    if isinstance(value, list):
        return [_in_folder(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: _in_folder(item, folder) for key, item in value.items()}
    if not isinstance(value, str) or "://" in value or Path(value).is_absolute():
        return value
    pattern = any(sign in value for sign in "*?[")
    there = any(folder.glob(value)) if pattern else (folder / value).exists()
    return str(folder / value) if there else value


@contextmanager
def _faults_of(name: str, where: str, problem: str) -> Iterator[None]:
    """Report faults in loading a task, which are never bugs of the engine."""
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
            hint="fix the task, or leave it out",
        ) from error


def _named_twice(task: Task, origin: str, other: str) -> InputError:
    return InputError(
        f"the task {task.key} is there twice, here and in {other}",
        where=origin,
        hint="rename one of them, or leave it out: each task has scores of its own",
    )


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
