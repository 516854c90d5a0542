"""Zero-shot tasks, run by lm-eval on items that were prepared with the corpus."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.plugins.api import Score
from genesys_engine.plugins.evaluators.options import LmEvalOptions

if TYPE_CHECKING:
    from torch import nn

    from genesys_engine.plugins.corpus import Corpus


class LmEvalEvaluator:
    """Scores `<task>:acc` for each task; the items are told apart by their likelihood.

    Uses `lm_eval.evaluator.evaluate` on task configurations that are made here: no hub, no
    cache, no `git`, no look at the machine.
    """

    Options = LmEvalOptions

    def __init__(self, options: LmEvalOptions | None = None) -> None:
        self.options = options or LmEvalOptions()

    def evaluate(self, model: nn.Module, corpus: Corpus) -> dict[str, Score]:
        """Return accuracies with lm-eval's own standard errors.

        Raises:
            InputError: the corpus has no task of that name.
        """
        files = {task: corpus.task_items(task) for task in self.options.tasks}
        with _offline(), redirect_stderr(io.StringIO()):  # progress bars that cannot be turned off
            logging.getLogger("lm_eval").setLevel(logging.ERROR)
            from lm_eval.evaluator import evaluate
            from lm_eval.tasks import TaskManager

            from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM

            tasks = TaskManager(include_defaults=False).load(
                [_task(name, path) for name, path in files.items()]
            )
            results = evaluate(
                lm=CorpusLM(model, corpus, self.options.batch_tokens),
                task_dict=tasks,
                limit=self.options.limit,
                bootstrap_iters=1,  # 0 drops every error; that of a mean is analytic anyway
                log_samples=False,
            )
        return {f"{name}:acc": _score(results, name) for name in files}


def _task(name: str, items: Path) -> dict[str, Any]:
    """Return the lm-eval configuration of a multiple-choice task over a JSON-lines file."""

    def load(**_: object) -> dict[str, Any]:
        import datasets

        rows = [json.loads(line) for line in items.read_text(encoding="utf-8").splitlines()]
        return {"test": datasets.Dataset.from_list(rows)}

    return {**task_config(name), "custom_dataset": load}


def task_config(name: str) -> dict[str, Any]:
    """Return what lm-eval has to know of a multiple-choice task, but for where its items are."""
    return {
        "task": name,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "label",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def _score(results: Any, name: str) -> Score:
    """Read the accuracy of one task out of lm-eval's results."""
    numbers = results["results"][name]
    count = results["n-samples"][name]["effective"]
    stderr = numbers["acc_stderr,none"]
    return Score(
        float(numbers["acc,none"]),
        None if stderr == "N/A" else float(stderr),
        higher_is_better=True,
        n=int(count),
    )


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face libraries off the network and quiet while tasks are run."""
    wanted = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
