"""The tasks that were made from the corpus, as a folder that lm-eval reads with --include_path."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from genesys_engine.engine.common.options import TomlTable
from genesys_engine.plugins.corpus import Corpus
from genesys_engine.plugins.evaluators.task_names import Task, expand

_LOADER = '''"""Reads the items of a task from the file beside this one."""

import json
from pathlib import Path


def load(items, **_):
    import datasets

    with Path(__file__).with_name(items).open(encoding="utf-8") as file:
        rows = [json.loads(row) for row in file]
    return {"test": datasets.Dataset.from_list(rows)}
'''


def write_tasks(folder: Path, corpus: Corpus, evaluators: Sequence[TomlTable]) -> tuple[str, ...]:
    """Write the offline tasks of the experiment's evaluators and return their names."""
    import yaml

    from genesys_engine.plugins.evaluators.lm_eval import local_items, task_config

    tasks: dict[Task, None] = {}
    for entry in evaluators:
        if entry["use"] == "lm_eval":
            tasks |= dict.fromkeys(expand(entry["tasks"], corpus).local)
    if not tasks:
        return ()
    folder.mkdir()
    (folder / "items.py").write_text(_LOADER, encoding="utf-8")
    for task in tasks:
        rows = (json.dumps(item, ensure_ascii=False) for item in local_items(task, corpus))
        (folder / f"{task.label}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        config = {**task_config(task.label), "dataset_kwargs": {"items": f"{task.label}.jsonl"}}
        text = yaml.safe_dump(config, sort_keys=False) + "custom_dataset: !function items.load\n"
        (folder / f"{task.label}.yaml").write_text(text, encoding="utf-8")
    return tuple(task.label for task in tasks)
