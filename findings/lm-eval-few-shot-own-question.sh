#!/usr/bin/env bash
# lm-eval 0.4.13: a few-shot prompt may hold its own question together with its answer.
#
# A task that has a test split alone draws its examples from it.  One would expect the question
# itself to be left out, and for `fewshot_split: test` it is; without that key, or where
# `training_split` is the scored split, it is not.  What is left is one log line that recommends
# against it and does not say that answers leak.
#
# Seen (20 documents, 8 examples, seed 1234 as on the command line):
#   fewshot_split: test        0 of 20 prompts hold their own question and answer
#   no fewshot_split           8 of 20 prompts hold their own question and answer
#   training_split: test       8 of 20 prompts hold their own question and answer
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
from lm_eval.tasks import TaskManager

logging.disable(logging.WARNING)
ROWS = [{"question": f"{i} and 1 is", "answer": str(i + 1)} for i in range(20)]


def leaks(**splits):
    config = {
        "task": "sums",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(ROWS)},
        "test_split": "test",
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "num_fewshot": 8,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        **splits,
    }
    task = TaskManager(include_defaults=False).load([config])["tasks"]["sums"]
    task.set_fewshot_seed(1234)
    task.build_all_requests()
    count = 0
    for instance in task.instances:
        *examples, question = instance.args[0].split("\n\n")
        count += f"{question} {instance.args[1]}" in examples
    print(f"{splits or 'no fewshot_split'}: {count} of 20 prompts hold their own question and answer")
    return count


named, unnamed, trained = leaks(fewshot_split="test"), leaks(), leaks(training_split="test")
raise SystemExit(0 if named == 0 and unnamed > 0 and trained > 0 else 1)
PY
