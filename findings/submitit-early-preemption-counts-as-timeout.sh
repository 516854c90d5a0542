#!/usr/bin/env bash
# submitit 1.5.4: a job whose limit is ten minutes or less counts as timed out whenever it is preempted.
#
# submitit tells a preemption from the end of the time limit by how long the job has run: at least
# min(0.8 * limit, limit - 10 minutes).  The second term is negative for a limit below ten minutes
# (and zero at ten), so every preemption of such a job is taken for a timeout, in its first second
# too: a plain function, which is requeued after a preemption, is given up, and a checkpointable one
# loses one of its `max_num_timeout` restarts.  The default limit of an executor is 5 minutes.
#
# Seen, with the preemption signal (USR2) sent right after the start of a plain function: limit 9
# minutes: no second start, "Job not requeued because: timed-out and not checkpointable"; limit 60
# minutes: requeued, and the second start returns.
#
# Exits 0 while that is so.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q submitit==1.5.4
cat > "$work/preempted.py" <<'PY'
import os
import signal
import sys
import time
from pathlib import Path

import submitit


def work(starts):
    """Note the start; the first one is preempted at once."""
    with open(starts, "a") as file:
        file.write("started\n")
    if len(Path(starts).read_text().splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(5)
    return "finished"


def preempt(folder, minutes):
    folder = Path(folder, str(minutes))
    folder.mkdir()
    executor = submitit.LocalExecutor(folder / "jobs")
    executor.update_parameters(timeout_min=minutes)
    job = executor.submit(work, str(folder / "starts"))
    try:
        ended = job.result()
    except submitit.core.utils.UncompletedJobError as error:
        ended = next(line for line in str(error).splitlines() if "not requeued" in line)
    starts = len((folder / "starts").read_text().splitlines())
    print(f"limit {minutes} min: {starts} start(s), {ended}")
    return starts, ended


if __name__ == "__main__":
    short, long = preempt(sys.argv[1], 9), preempt(sys.argv[1], 60)
    assert short[0] == 1 and "timed-out and not checkpointable" in short[1], short
    assert long == (2, "finished"), long
PY
(cd "$work" && PYTHONPATH="$work" "$work/venv/bin/python" preempted.py "$work")
echo "still so: an early preemption of a short job is a timeout"
