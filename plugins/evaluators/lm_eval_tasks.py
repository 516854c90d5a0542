"""Tasks loaded by lm-eval, adapted so that they keep their promises.  Workers only.

* Few-shot examples are drawn with a fixed seed, that of lm-eval's command line: without one every
  process draws others.
* No prompt holds its own question with its answer.  lm-eval 0.4.13 leaves the question out only
  where `fewshot_split` names the very split that is scored, and compares raw documents with
  processed ones.
* Where the contexts of an item vary and its answer does not, as in winogrande, lengths decide
  nothing.  lm-eval divides by those of the contexts.
* What a task's code or data raise names the task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genesys_engine.gab.errors import InputError, in_a_line
from genesys_engine.plugins.evaluators.demands import Demands, loaded_demands

SEED = 1234  # of few-shot draws: what `lm_eval` takes where nobody names another
BY_LENGTH = ("acc_norm", "acc_bytes", "acc_mutual_info")


def load_tasks(configs: Sequence[tuple[Mapping[str, Any], str]]) -> dict[str, Any]:
    """Return lm-eval's tasks by name, from (configuration, the file that it is of).

    Raises:
        InputError: a task cannot be loaded, or asks for more than its data have.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_defaults=False)
    found: dict[str, Any] = {}
    for config, where in configs:
        name = config["task"]
        for label, task in _named(name, where, manager.load)([dict(config)])["tasks"].items():
            found[label] = adapted(task, name, where)
    return found


def adapted(task: Any, name: str, where: str) -> Any:
    """Return a task that keeps its promises.

    Raises:
        InputError: it asks for more than its data have.
    """
    task.set_fewshot_seed(SEED)
    if sampler := getattr(task, "sampler", None):
        demands = loaded_demands(name, where, task)
        examples = _named(name, where, sampler.fewshot_docs)()
        demands.check_counts(len(task.eval_docs), len(examples))
        if demands.shots:
            task.sampler = WithoutItself(task, demands)
            task.fewshot_context = task.sampler.told(task.fewshot_context)
    if getattr(task, "multiple_input", 0) and not callable(task.config.process_results):
        task.process_results = _without_lengths(task)
    for method in ("build_all_requests", "process_results"):
        setattr(task, method, _named(name, where, getattr(task, method)))
    return task


class WithoutItself:
    """The sampler of a task, less the question that the examples are drawn for.

    Where lm-eval draws no example that is the question, they are those that it draws.
    """

    def __init__(self, task: Any, demands: Demands) -> None:
        self._task = task
        self._drawing = task.sampler
        self._demands = demands
        self._question: Any = None

    def told(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """Return `make`, which makes the prompt of a document, such that the sampler knows it."""

        def context(doc: Any, *args: Any, **options: Any) -> Any:
            self._question = doc
            return make(doc, *args, **options)

        return context

    def sample(self, n: int, eval_doc: Any = None, **_: Any) -> list[Any]:
        """Return `n` examples.

        Raises:
            InputError: there are not so many.
        """
        own = self._example(self._question)

        def other(doc: Any) -> bool:
            return bool(doc != self._question) and (own is None or self._example(doc) != own)

        try:
            drawn = list(self._drawing.sample(n, eval_doc=eval_doc))
        except (AssertionError, ValueError):  # too few for the way in which it draws
            drawn = []
        kept = [doc for doc in drawn if other(doc)]
        if len(kept) < n:
            pool = list(self._drawing.fewshot_docs())
            rest = [doc for doc in pool if other(doc)]
            for doc in kept:  # once for each: a pool may hold a document twice
                if doc in rest:
                    rest.remove(doc)
            if len(kept) + len(rest) < n:
                raise self._demands.too_few(len(kept) + len(rest), len(pool))
            kept += self._drawing.rnd.sample(rest, n - len(kept))
        return kept

    def _example(self, doc: Any) -> Any:
        """Return question and answer of a document as an example has them, None if it has none."""
        task, few = self._task, self._task.fewshot_cfg
        try:
            question = task.doc_to_text(doc, few.doc_to_text)
            answer = task.doc_to_target(doc, few.doc_to_target)
            choices: Any = task.doc_to_choice(doc, few.doc_to_choice) if few.doc_to_choice else None
            if task.multiple_input:
                return choices[question], answer
            if choices and isinstance(answer, int):
                return question, choices[answer]
            return question, answer[0] if isinstance(answer, list) else answer
        except Exception:  # a template made for documents of another split may raise anything
            return None


def _without_lengths(task: Any) -> Callable[..., dict[str, Any]]:
    """Return `process_results` of a task whose contexts vary: the likeliest one is its choice,
    however long, for the answer that is scored is the same."""
    original = task.process_results

    def process_results(doc: Any, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        found: dict[str, Any] = original(doc, results)
        count = len(task.doc_to_choice(doc))
        likely = [score for score, _ in results[:count]]
        right = float(likely.index(max(likely)) == task.doc_to_text(doc))
        return found | {metric: right for metric in BY_LENGTH if metric in found}

    return process_results


def _named(name: str, where: str, do: Callable[..., Any]) -> Callable[..., Any]:
    """Return `do` with errors that name the task and its file."""

    def done(*args: Any, **options: Any) -> Any:
        try:
            return do(*args, **options)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # whatever a task's code, templates and data raise
            raise InputError(
                f"lm-eval cannot use the task {name}: {in_a_line(error)}",
                where=where,
                hint="fix the task, or leave it out",
            ) from error

    return done
