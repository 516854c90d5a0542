#!/usr/bin/env bash
# lm-eval 0.4.13: `acc_norm` of a task whose contexts vary divides by the lengths of the contexts.
#
# In a task such as winogrande `doc_to_text` gives the number of the right option, `doc_to_choice`
# the contexts, and what is scored is one and the same ending after each.  `acc_norm` is documented
# as accuracy by the likelihood over the length of the choice; here the "choice" is the context,
# which is not scored, so that the longest context is favoured (likelihoods are negative).  All
# endings being equal, it should be `acc`.
#
# Seen: likelihoods -4 after the short and -6 after the long context:
#   acc 1.0, acc_norm 0.0, acc_bytes 0.0
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
ROW = {"options": ["The dog barked and it", "The very old grey cat of my aunt slept and it"]}
config = {
    "task": "blanks",
    "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list([ROW])},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": lambda row: 0,
    "doc_to_choice": "options",
    "doc_to_target": lambda row: "was loud.",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm", "acc_bytes")
    ],
}
task = TaskManager(include_defaults=False).load([config])["tasks"]["blanks"]
task.build_all_requests()
print([instance.args for instance in task.instances])
scores = task.process_results(ROW, [(-4.0, False), (-6.0, False)])
print(scores)
raise SystemExit(0 if (scores["acc"], scores["acc_norm"], scores["acc_bytes"]) == (1, 0, 0) else 1)
PY
