"""Peak memory of the processes of a verification at one rung, for every seed design.

    python experiments/bench/worker_memory.py [--scale 0.2M] [--seeds gpt mamba2] [--set KEY=VALUE]
        [--other CHECKOUT]

Each seed is trained for a few steps, and its weights are scored, in real workers, which are watched
from outside.  Printed are, of the trainer, the judge and its two subjects, the largest resident
memory that the kernel has noted, and the largest that was seen of two others: *proportional*, in
which a page that several processes share counts for each with its part of it, and *private*, what
the process alone holds.  Resident memory counts the pages of the warm template, which are there
once, in full for every worker; n workers need the template and n times what is private.

`--set` is that of `run`.  With `--other`, a checkout of another build with its environment in
`.venv`, that build's own script of this name is watched in the same way, before ours.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path("experiments/bench/worker_memory.py")
STEPS = 12
PAUSE_S = 0.05


def main() -> None:
    """Watch this build, and another one where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="0.2M")
    parser.add_argument("--seeds", nargs="*", default=["gpt", "mamba2", "retnet", "rwkv6", "ttt"])
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="KEY=VALUE")
    parser.add_argument("--other", metavar="CHECKOUT", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.scale, options.seeds, options.sets)
        return
    if options.other is not None:
        other = options.other.absolute()
        watch("other", [str(other / ".venv/bin/python"), str(other / SCRIPT)], other)
    watch("this", [sys.executable, *sys.argv, "--measure"], Path.cwd())


# --- seen from outside ---------------------------------------------------------------------------


@dataclass
class Peak:
    """The largest memory of a process so far (MB): resident, proportional, private."""

    resident: float = 0.0
    proportional: float = 0.0
    private: float = 0.0


def watch(side: str, command: Sequence[str], folder: Path) -> None:
    """Run a command, and print the peaks of the jobs that it has run by their scratch folders."""
    found: dict[tuple[str, int], Peak] = {}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for pid in _descendants(process.pid):
                with contextlib.suppress(OSError):  # gone meanwhile
                    _look(pid, found)
            time.sleep(PAUSE_S)
    if process.returncode:
        raise SystemExit(f"{side}: the measurement ended with {process.returncode}")
    print(f"{side:<6} {'job':<24}{'resident':>10}{'proportional':>14}{'private':>9}   MB")
    for (name, _), peak in found.items():
        numbers = f"{peak.resident:>10.0f}{peak.proportional:>14.0f}{peak.private:>9.0f}"
        print(f"{side:<6} {name:<24}{numbers}", flush=True)


def _look(pid: int, found: dict[tuple[str, int], Peak]) -> None:
    """Note what a process holds now, if it is one of a job: its folder is a temporary one."""
    folder = (Path("/proc") / str(pid) / "cwd").readlink()
    if not folder.is_relative_to(tempfile.gettempdir()):
        return
    now = _fields(pid, "smaps_rollup")
    peak = found.setdefault((_job(folder), pid), Peak())
    peak.resident = max(peak.resident, _fields(pid, "status").get("VmHWM", 0.0))
    peak.proportional = max(peak.proportional, now["Pss"])
    peak.private = max(peak.private, now["Private_Clean"] + now["Private_Dirty"])


def _job(folder: Path) -> str:
    """Return the part of a job's folder that names it: that of a subject lies inside it."""
    inside = folder.name.startswith("subject")
    return f"{folder.parent.name}/{folder.name}" if inside else folder.name


def _fields(pid: int, file: str) -> dict[str, float]:
    """Return the fields of a file of /proc that are amounts of memory, in MB."""
    rows = [line.split() for line in Path(f"/proc/{pid}/{file}").read_text().splitlines()]
    return {row[0][:-1]: int(row[1]) / 1024 for row in rows if row[-1] == "kB"}


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                yield child
                yield from _descendants(child)


# --- the jobs ------------------------------------------------------------------------------------


def measure(scale_name: str, seeds: Sequence[str], sets: Sequence[str]) -> None:
    """Run the two jobs of a short verification of each seed."""
    from genesys_engine.engine.common.records import to_json
    from genesys_engine.engine.evaluate.verification import EVALUATE, TRAIN
    from genesys_engine.engine.evaluate.verifier import verification_job
    from genesys_engine.engine.jobs.subjects import serving
    from genesys_engine.engine.run.assembly import build_corpus, load, open_executor
    from genesys_engine.gab import library
    from genesys_engine.gab.compose import compose, load_block
    from genesys_engine.gab.scales import fit_scale, get_scale

    scale = get_scale(scale_name)
    with tempfile.TemporaryDirectory(prefix="worker-memory-") as folder:
        file = Path(folder) / "experiment.toml"
        file.write_text(f'[[ladder.rungs]]\nscale = "{scale.name}"\nverifications = 9\n')
        setup = load(file, sets)
        context = setup.on(build_corpus(setup.experiment, lambda stage: None))
        batch = context.rungs[0].batch_tokens
        with open_executor(setup) as executor:
            for name in seeds:
                source = compose(library.seed(name))
                fit = fit_scale(load_block(source), scale, context.corpus.vocab_size)
                job = verification_job(context.verify, source, fit.config, 0, 0)
                job = job.with_budget(STEPS * batch, batch)
                trained = Path(folder) / f"{name}-trained"
                weights = trained / "model.safetensors"
                scoring = job.evaluation(weights)
                asked = (
                    (TRAIN, to_json(job.training), trained, context.verify.limits),
                    (
                        EVALUATE,
                        to_json(scoring),
                        Path(folder) / f"{name}-scored",
                        serving(context.verify.evaluation, scoring.checkpoint),
                    ),
                )
                for target, given, scratch, limits in asked:
                    scratch.mkdir()
                    outcome = executor.submit(target, given, scratch, limits).result()
                    if outcome.status != "ok":
                        raise SystemExit(f"{scratch.name}: {outcome.status}: {outcome.reason}")


if __name__ == "__main__":
    main()
