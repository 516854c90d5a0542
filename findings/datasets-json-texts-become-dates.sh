#!/usr/bin/env bash
# datasets 5.2.0 (pyarrow 26.0.1): a JSON-lines column of texts comes back as dates.
#
# JSON has no dates, so that a string is expected to stay one.  `load_dataset("json", ...)` hands
# the inference of types to pyarrow, which makes timestamps of a column whose strings all look like
# one, per block of the file.  A corpus loses its text ("2024-01-01" becomes midnight), and whether
# it does depends on the other rows.  A number written as text becomes the type of its neighbours.
#
# Seen: datetime objects for two rows of dates, streamed or not; the same strings stay text beside
# one row with a word; {"x": 1} and {"x": "1"} come back as 1 and 1.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q datasets==5.2.0 pyarrow==26.0.1
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/hf" "$work/venv/bin/python" - <<'PY'
import datetime
import json

import datasets

datasets.disable_progress_bars()


def read(name, rows, streaming=True):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    files = {"train": f"{name}.jsonl"}
    return list(datasets.load_dataset("json", data_files=files, split="train", streaming=streaming))


dates = [{"text": "2024-01-01"}, {"text": "2024-01-02 10:00:00"}]
for streaming in (True, False):
    found = [row["text"] for row in read(f"dates-{streaming}", dates, streaming)]
    print("streaming" if streaming else "loaded", found)
    assert all(isinstance(value, datetime.datetime) for value in found)
beside = [row["text"] for row in read("beside", [*dates, {"text": "a word"}])]
numbers = [row["x"] for row in read("numbers", [{"x": 1}, {"x": "1"}])]
print("beside a word", beside, "| numbers", numbers)
assert beside[:2] == ["2024-01-01", "2024-01-02 10:00:00"] and numbers == [1, 1]
PY
echo "still so: texts that look like dates become dates"
