"""Wall time of `genesys-engine --help` and what it imports, against a bare interpreter.

    python experiments/bench/cli_startup.py

Goal: below 0.25 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 15
HEAVY = ("torch", "numpy", "datasets", "lm_eval", "litellm", "lancedb", "zarr", "pydantic", "deap")


def main() -> None:
    """Print the medians of both sides, from one run."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "genesys-engine --help": [sys.executable, "-m", "genesys_engine", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        low, high = min(values) * 1000, max(values) * 1000
        median = statistics.median(values) * 1000
        print(f"{name:24} median {median:6.0f} ms  (range {low:.0f} to {high:.0f}, n={REPEATS})")
    code = (
        "import sys\nfrom genesys_engine.engine.cli import main\nmain(['--help'])\n"
        "print(len(sys.modules), *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    count, *modules = done.stderr.split()
    heavy = [name for name in HEAVY if name in modules]
    print(f"modules imported: {count}; heavy among them: {', '.join(heavy) or 'none'}")


if __name__ == "__main__":
    main()
