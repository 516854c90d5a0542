#!/usr/bin/env bash
# ray 2.60.0: `log_to_driver=False` does not keep the driver's stdout clean.
#
# A program that prints JSON and uses Ray turns off `log_to_driver` (and the configuration of logging,
# and sets the logger "ray" to a level beyond CRITICAL).  When a worker dies, which Ray survives and
# the program may have expected, a paragraph "(raylet) A worker died or was killed ..." is written all
# the same, and to the driver's stdout, not to its stderr: what reads the output as JSON breaks.  Only
# the filter meant for repeated lines, RAY_DEDUP_LOGS_SKIP_REGEX, stops it.
#
# Seen: stdout holds "(raylet)" without that variable; with RAY_DEDUP_LOGS_SKIP_REGEX='.*' it is empty.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q ray==2.60.0
cat > "$work/driver.py" <<'PY'
import logging
import os
import sys
import time

import ray

logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
         configure_logging=False, _node_ip_address="127.0.0.1")


@ray.remote(max_restarts=1, max_task_retries=1)
class Actor:
    def pid(self):
        return os.getpid()


actor = Actor.remote()
os.kill(ray.get(actor.pid.remote()), 9)
print(ray.get(actor.pid.remote()) > 0, file=sys.stderr)  # it is back
time.sleep(5)
PY
export HOME="$work" RAY_USAGE_STATS_ENABLED=0
plain=$("$work/venv/bin/python" "$work/driver.py" 2>/dev/null)
quiet=$(RAY_DEDUP_LOGS_SKIP_REGEX='.*' "$work/venv/bin/python" "$work/driver.py" 2>/dev/null)
echo "stdout: ${plain:0:80} ... with the filter: '${quiet}'"
[[ "$plain" == *"(raylet)"* && -z "$quiet" ]]
