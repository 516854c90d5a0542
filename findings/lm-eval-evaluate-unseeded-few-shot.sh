#!/usr/bin/env bash
# lm-eval 0.4.13: `evaluate()` draws other few-shot examples in every process.
#
# `simple_evaluate()` and the command line seed each task's sampler (1234).  `evaluate()`, which
# takes tasks that are loaded already, does not: the sampler of a task begins with
# `Random(None)`.  One would expect the documented default seed in both.
#
# Seen: three loads of one task with 2 examples from 50 gave three different first prompts; with
# `task.set_fewshot_seed(1234)` all three were the same.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q lm_eval==0.4.13 datasets==5.2.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" "$work/venv/bin/python" - <<'PY'
import logging

import datasets
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

logging.disable(logging.WARNING)
ROWS = [{"question": f"{i} and 1 is", "answer": str(i + 1)} for i in range(50)]


class Listener(LM):
    def loglikelihood(self, requests):
        self.heard = [request.args[0] for request in requests]
        return [(-1.0, False)] * len(requests)

    loglikelihood_rolling = generate_until = None


def prompts(seed):
    config = {
        "task": "sums",
        "custom_dataset": lambda **_: {
            "train": datasets.Dataset.from_list(ROWS),
            "test": datasets.Dataset.from_list(ROWS[:5]),
        },
        "training_split": "train",
        "fewshot_split": "train",
        "test_split": "test",
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "num_fewshot": 2,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    tasks = TaskManager(include_defaults=False).load([config])
    if seed is not None:
        tasks["tasks"]["sums"].set_fewshot_seed(seed)
    model = Listener()
    evaluate(lm=model, task_dict=tasks, bootstrap_iters=0)
    return tuple(model.heard)


unseeded = {prompts(None) for _ in range(3)}
seeded = {prompts(1234) for _ in range(3)}
print(f"different prompts in 3 evaluations: {len(unseeded)} unseeded, {len(seeded)} seeded")
raise SystemExit(0 if len(unseeded) > 1 and len(seeded) == 1 else 1)
PY
