"""The tasks that were made from the corpus, as a folder that lm-eval reads with --include_path."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genesys_engine.plugins.corpus import Corpus

_LOADER = '''"""Reads the items of a task from the file beside this one."""

import json
from pathlib import Path


def load(items, **_):
    import datasets

    text = Path(__file__).with_name(items).read_text(encoding="utf-8")
    return {"test": datasets.Dataset.from_list([json.loads(row) for row in text.splitlines()])}
'''


def write_tasks(
    folder: Path, corpus: Corpus, evaluators: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """Write the offline tasks of the experiment's evaluators and return their names."""
    import yaml

    from genesys_engine.plugins.evaluators.lm_eval import task_config
    from genesys_engine.plugins.evaluators.task_names import expand

    names: list[str] = []
    for entry in evaluators:
        if entry["use"] == "lm_eval":
            names += expand(entry["tasks"], corpus).offline
    names = list(dict.fromkeys(names))
    if not names:
        return ()
    folder.mkdir()
    (folder / "items.py").write_text(_LOADER, encoding="utf-8")
    for name in names:
        shutil.copyfile(corpus.task_items(name), folder / f"{name}.jsonl")
        config = {**task_config(name), "dataset_kwargs": {"items": f"{name}.jsonl"}}
        text = yaml.safe_dump(config, sort_keys=False) + "custom_dataset: !function items.load\n"
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tuple(names)
