#!/usr/bin/env bash
# litellm 1.106.2: `validate_environment` takes an empty variable for a key.
#
# The function exists to say before a call which keys are missing; shells, container files and CI
# systems hand a secret that is not there on as an empty variable.  It asks whether the name is in
# the environment and not whether it holds anything, and so reports that nothing is missing; the
# first call then fails with an authentication error.
#
# Seen: unset: keys_in_environment False, missing_keys ['OPENAI_API_KEY']; set to "": True, [].
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q litellm==1.106.2
LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_MODE=PRODUCTION "$work/venv/bin/python" - <<'PY'
import os

import litellm

os.environ.pop("OPENAI_API_KEY", None)
unset = litellm.validate_environment("openai/gpt-4o")
os.environ["OPENAI_API_KEY"] = ""
empty = litellm.validate_environment("openai/gpt-4o")
print("unset:", unset, "empty:", empty)
assert unset["missing_keys"] == ["OPENAI_API_KEY"] and not unset["keys_in_environment"]
assert empty["missing_keys"] == [] and empty["keys_in_environment"]
PY
echo "still so: an empty variable counts as a key"
