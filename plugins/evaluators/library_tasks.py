"""lm-eval's own tasks and the user's, with data that were brought to this machine before.

The engine's process loads a task's data set once (`prepare`) and stores it beside the task's
name; workers, which reach no network, read it from there (`prepared`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from genesys_engine.gab.errors import EnvironmentProblem, InputError, in_a_line
from genesys_engine.plugins.evaluators.task_names import Task, Tasks

INDEX = "library.json"


def prepare(tasks: Tasks, folder: Path, say: Callable[[str], None]) -> None:
    """Bring the data of library tasks and of the user's folders to `folder`.

    Raises:
        EnvironmentProblem: a data set cannot be reached.
        InputError: a task's file is wrong.
    """
    from genesys_engine.plugins.evaluators import hub

    say("asking the Hugging Face hub")
    problem = hub.unreachable()
    if problem and tasks.library and not hub.has_cached_data():
        raise _no_data(tasks.library[0], problem)
    with hub.offline() if problem else nullcontext():
        _prepare(tasks, folder, say, problem)


def _prepare(tasks: Tasks, folder: Path, say: Callable[[str], None], problem: str) -> None:
    """Do what `prepare` says; `problem`: why only what is here already can be had."""
    from lm_eval.tasks import TaskManager

    entries: list[dict[str, str]] = []
    say("reading lm-eval's index of tasks")
    manager = TaskManager(
        include_path=list(tasks.folders) or None, include_defaults=bool(tasks.library)
    )
    wanted = [*tasks.library, *(name for path in tasks.folders for name in _own(path))]
    for name in wanted:
        say(f"loading the data of {name}")
        for task, object_ in _load(manager, name, problem):
            place = f"task-{len(entries)}"
            _store(object_.dataset, folder / place)
            file = str(manager.task_index[object_.config.task].yaml_path)
            entries.append({"name": task.name, "group": task.group, "file": file, "data": place})
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
        config = dict(load_yaml(Path(entry["file"]), resolve_func=True))
        for key in ("dataset_path", "dataset_name", "dataset_kwargs", "tag", "group"):
            config.pop(key, None)
        loader = _loader(folder / entry["data"])
        found.append((task, {**config, "task": task.label, "custom_dataset": loader}))
    return found


def _no_data(name: str, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the data of the task {name} cannot be reached: {why}",
        where="[[evaluators]] tasks",
        hint='it comes from the Hugging Face hub: connect once, or use "offline" or "bigbench",'
        " which need no hub",
    )


def _load(manager: Any, name: str, problem: str = "") -> list[tuple[Task, Any]]:
    """Return the tasks that a name stands for, loaded; tasks of a group know it."""
    try:
        loaded = manager.load([name])
    except (ConnectionError, OSError) as error:
        raise _no_data(name, problem or in_a_line(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"lm-eval cannot load the task {name}: {error}", where="[[evaluators]] tasks"
        ) from error
    tasks: Mapping[str, Any] = loaded["tasks"]
    grouped = len(tasks) > 1 or name not in tasks
    return [(Task(each, name if grouped else ""), task) for each, task in tasks.items()]


def _own(folder: str) -> list[str]:
    """Return the names of the tasks that a folder of YAML defines."""
    from lm_eval.tasks._yaml_loader import load_yaml

    found = []
    for path in sorted(Path(folder).expanduser().rglob("*.yaml")):
        task = load_yaml(path, resolve_func=False).get("task")
        if isinstance(task, str):
            found.append(task)
    return found


def _store(dataset: Any, folder: Path) -> None:
    import datasets

    splits = {split: rows for split, rows in dataset.items() if rows is not None}
    datasets.DatasetDict(splits).save_to_disk(str(folder))


def _loader(folder: Path) -> Callable[..., Any]:
    def load(**_: object) -> Any:
        import datasets

        return datasets.load_from_disk(str(folder))

    return load
