"""Skills: train a small model of the block on a synthetic task, and test it on new items.

What a block can do at all shows here in seconds, long before held-out text tells it: attention
solves `mqar` at any number of pairs that it is trained for, a recurrence only up to what its state
holds (Arora et al. 2023, arXiv 2312.04927).  The score is the accuracy on items that were not
trained on, at the places that are asked; its control is the same model before training.

The model has nothing of the run's: its sizes, its tokens and its recipe (what the built-in trainers
do if nothing else is asked, in fp32) are the task's, so that scores compare between runs and rungs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesys_engine.plugins.api import BlockScores, Score
from genesys_engine.plugins.evaluators.options import (
    CopyingOptions,
    MemoriseOptions,
    MqarOptions,
    RecallNoisyOptions,
    SkillOptions,
)
from genesys_engine.plugins.evaluators.skill_tasks import IGNORED, TASKS
from genesys_engine.plugins.ratio import ratio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from genesys_engine.plugins.students import Student, Students

_TEST, _LESSONS = 1, 2  # streams of a seed


class SkillEvaluator:
    """Scores `SKILL:acc`, the accuracy of a model of the block that was trained on the skill."""

    Options: type[SkillOptions]

    def __init__(self, options: SkillOptions | None = None) -> None:
        self.options = options or self.Options()
        self.task = TASKS[self.options.skill](**self.options.of_task())
        self.metric = _metric(self.options)
        self.samples: dict[str, NDArray[np.float32]] = {}

    @staticmethod
    def metrics(options: SkillOptions, corpus: str) -> tuple[str, ...]:
        """Return the name of the score."""
        return (_metric(options),)

    def evaluate_block(self, students: Students) -> BlockScores:
        """Train a model, and return its score and that of the same model untrained."""
        options, task = self.options, self.task
        student = students.build(
            vocabulary=task.vocabulary,
            context=task.length,
            width=options.chosen("width"),
            blocks=options.chosen("blocks"),
            seed=options.seed,
        )
        untrained = self._score(student)
        self._teach(student)
        return BlockScores(self._score(student), untrained)

    def guessed(self) -> dict[str, Score]:
        """Return the accuracy of guessing among the tokens that can be right."""
        return {self.metric: Score(self.task.chance, None, True, self.options.items)}

    def _teach(self, student: Student) -> None:
        import numpy as np

        rng = np.random.default_rng([self.options.seed, _LESSONS])
        steps = self.options.chosen("steps")
        for step in range(steps):
            items = self.task.draw(rng, self.options.chosen("batch"))
            student.teach(items.inputs, items.targets, step / steps)

    def _score(self, student: Student) -> dict[str, Score]:
        """Return the accuracy over all asked places of the test items.

        Places of one item are answered by one run of the model, so the standard error is that of
        a ratio over items.
        """
        import numpy as np

        rng = np.random.default_rng([self.options.seed, _TEST])
        items = self.task.draw(rng, self.options.items)
        asked = items.targets != IGNORED
        right = ((student.answers(items.inputs) == items.targets) & asked).sum(axis=1)
        counts = asked.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.samples = {self.metric: (right / counts).astype(np.float32)}
        value, stderr = ratio(right, counts)
        return {self.metric: Score(value, stderr, higher_is_better=True, n=len(right))}


def _metric(options: SkillOptions) -> str:
    return f"{options.skill}:acc"


class MqarEvaluator(SkillEvaluator):
    """Multi-query associative recall."""

    Options = MqarOptions


class CopyingEvaluator(SkillEvaluator):
    """Selective copying."""

    Options = CopyingOptions


class RecallNoisyEvaluator(SkillEvaluator):
    """Recall among noise."""

    Options = RecallNoisyOptions


class MemoriseEvaluator(SkillEvaluator):
    """Memorisation."""

    Options = MemoriseOptions
