"""Zero-shot tasks, run by lm-eval on items that were prepared before the run."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesys_engine.gab.errors import InputError
from genesys_engine.plugins.api import Score
from genesys_engine.plugins.evaluators.minimal_pairs import GROUP as PAIRS
from genesys_engine.plugins.evaluators.minimal_pairs import items as pair_items
from genesys_engine.plugins.evaluators.options import LmEvalOptions
from genesys_engine.plugins.evaluators.task_names import PLACE, Task, expand, score_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from genesys_engine.plugins.corpus import Corpus


CONTROL_SHARE, CONTROL_LIMIT = 4, 25
BOOTSTRAPS = 100
"""Resamples, always the same, for the error of F1, MCC or perplexity; that of a mean is exact."""


class LmEvalEvaluator:
    """Scores `<task>:<metric>`, for the offline tasks `<task>:acc`.

    A task of a group is called `<group>/<task>`; the group's own score is the mean over its
    tasks.  Uses `lm_eval.evaluator.evaluate` on task configurations that are made here: no hub,
    no `git`, no look at the machine.  `samples` holds the score of every single item of the last
    model, NaN where a task has fewer items than another.
    """

    Options = LmEvalOptions
    preload = ("datasets", "lm_eval.evaluator")

    def __init__(self, options: LmEvalOptions | None = None) -> None:
        self.options = options or LmEvalOptions()
        self.samples: dict[str, NDArray[np.float32]] = {}

    @staticmethod
    def metrics(options: LmEvalOptions, corpus: str) -> Iterator[str]:
        """Yield the scores of the tasks, as far as their names and files tell."""
        return score_names(options.tasks, corpus)

    def for_control(self) -> LmEvalEvaluator:
        """Return the evaluator of an untrained model: the same, on the first quarter of the items.

        The model guesses, so its score is known up to chance.
        """
        limit = CONTROL_LIMIT if self.options.limit is None else self.options.limit // CONTROL_SHARE
        return LmEvalEvaluator(self.options.model_copy(update={"limit": max(2, limit)}))

    def evaluate(self, model: nn.Module, corpus: Corpus) -> dict[str, Score]:
        """Return scores with lm-eval's own standard errors.

        Raises:
            InputError: the corpus has no task of that name, or a task's data were not prepared.
        """
        wanted = expand(self.options.tasks, corpus)
        data = Path(self.options.data) if self.options.data else None
        tasks = [(task, _items(task, corpus, data)) for task in (*wanted.local, *wanted.bigbench)]
        configs = [(_config(task.label, items), PLACE) for task, items in tasks]
        names = {task.label: task for task, _ in tasks}
        with _offline(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            # Progress bars and messages cannot be turned off.
            logging.getLogger("lm_eval").setLevel(logging.ERROR)
            from lm_eval.evaluator import evaluate

            from genesys_engine.plugins.evaluators.library_tasks import prepared
            from genesys_engine.plugins.evaluators.lm_eval_model import CorpusLM
            from genesys_engine.plugins.evaluators.lm_eval_tasks import load_tasks

            if wanted.library or wanted.folders:
                found = prepared(data)
                configs += [(config, origin) for _, config, origin in found]
                names |= {task.label: task for task, _, _ in found}
            results = evaluate(
                lm=CorpusLM(model, corpus, self.options.batch_tokens),
                task_dict={"tasks": load_tasks(configs)},
                limit=self.options.limit,
                bootstrap_iters=BOOTSTRAPS,
                log_samples=True,
            )
        scores: dict[str, Score] = {}
        for label, task in names.items():
            _demand_answers(results, label, task, self.options.limit)
            scores |= _scores(results, label, task)
        self.samples = _samples(results, names)
        return scores | _group_scores(scores)


def task_config(name: str) -> dict[str, Any]:
    """Return lm-eval's configuration of a multiple-choice task, without the place of its items.

    It names fields instead of using templates: lm-eval compiles a template again for every item,
    which took longer than scoring it, and reads a text of digits back as a number.
    """
    return {
        "task": name,
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def local_items(task: Task, corpus: Corpus) -> list[dict[str, Any]]:
    """Return the items of a task from the corpus or from templates.

    Raises:
        InputError: the corpus has no task of that name.
    """
    if task.group == PAIRS:
        return pair_items(task.name)
    return _rows(corpus.task_items(task.name))


def _items(task: Task, corpus: Corpus, data: Path | None) -> list[dict[str, Any]]:
    from genesys_engine.plugins.evaluators.bigbench import items_path
    from genesys_engine.plugins.evaluators.task_names import BIGBENCH

    return (
        _rows(items_path(data, task.name)) if task.group == BIGBENCH else local_items(task, corpus)
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the items of a file; a line ends at a line feed alone: a text may hold U+2028."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _config(label: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the lm-eval configuration of a multiple-choice task over `items`."""

    def load(**_: object) -> dict[str, Any]:
        import datasets

        return {"test": datasets.Dataset.from_list(list(items))}

    return {**task_config(label), "custom_dataset": load}


def _demand_answers(results: Any, label: str, task: Task, limit: int | None) -> None:
    """Compare the result of a task with the request.

    Raises:
        InputError: not every document was scored, or there is no score.
    """
    there = int(results["n-samples"][label]["original"]) if label in results["n-samples"] else 0
    asked = there if limit is None else min(limit, there)
    scored = len({row["doc_id"] for row in results["samples"].get(label, ())})
    if scored == asked > 0 and _scores(results, label, task):
        return
    given = ", ".join(map(str, results["results"].get(label, {}))) or "nothing"
    raise InputError(
        f"the task {task.key} was asked to score {asked} documents: {scored} were scored, and"
        f" lm-eval gave {given}",
        where=PLACE,
        hint="look at its metrics and its process_results, or leave it out",
    )


def _scores(results: Any, label: str, task: Task) -> dict[str, Score]:
    """Read the scores of one task out of lm-eval's results; the first filter counts."""
    numbers = results["results"][label]
    count = int(results["n-samples"][label]["effective"])
    found: dict[str, Score] = {}
    for key, value in numbers.items():
        metric, _, filtered = key.partition(",")
        name = f"{task.key}:{metric}"
        if not filtered or metric.endswith("_stderr") or name in found:
            continue
        if not isinstance(value, int | float):
            continue
        stderr = numbers.get(f"{metric}_stderr,{filtered}", "N/A")
        up = bool(results["higher_is_better"][label].get(metric, True))
        found[name] = Score(
            float(value), None if stderr == "N/A" else float(stderr), higher_is_better=up, n=count
        )
    return found


def _group_scores(scores: Mapping[str, Score]) -> dict[str, Score]:
    """Return the mean over the tasks of each group, for every metric that all of them have."""
    parts: dict[str, list[Score]] = {}
    for name, score in scores.items():
        group, slash, rest = name.partition("/")
        if slash:
            parts.setdefault(f"{group}:{rest.rpartition(':')[2]}", []).append(score)
    return {name: _mean(some) for name, some in parts.items()}


def _mean(scores: Sequence[Score]) -> Score:
    """Return the plain mean of scores of independent tasks, with its standard error."""
    errors = [score.stderr for score in scores if score.stderr is not None]
    stderr = math.hypot(*errors) / len(scores) if len(errors) == len(scores) else None
    value = statistics.fmean(score.value for score in scores)
    total = sum(score.n for score in scores)
    return Score(value, stderr, scores[0].higher_is_better, total)


def _samples(results: Any, names: Mapping[str, Task]) -> dict[str, NDArray[np.float32]]:
    """Return the score of every item, by metric, in the order of the items."""
    import numpy as np

    found: dict[str, NDArray[np.float32]] = {}
    for label, task in names.items():
        rows = results["samples"].get(label, ())
        for metric in dict.fromkeys(m for row in rows for m in row["metrics"]):
            values = [row.get(metric) for row in rows]
            if all(isinstance(value, int | float | np.number) for value in values):
                found[f"{task.key}:{metric}"] = np.array(values, dtype=np.float32)
    return found


@contextmanager
def _offline() -> Iterator[None]:
    """Keep the Hugging Face libraries off the network, and lm-eval to this one process."""
    wanted = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DISABLE_MULTIPROC": "1"}
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
