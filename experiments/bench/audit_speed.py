"""How long an audit takes: warm and cold, full and fast, and against probing position by position.

    python experiments/bench/audit_speed.py [--repeats 5] [--cold-only|--warm-only] [--other PYTHON]

Goals on one core of a quiet machine, for the median of the five seeds at d_model 128 in a warm
worker: a full audit below 1.0 s, `--fast` below 0.25 s; 60 blocks a minute on two cores.  The
other sides, from the same run: a cold process for each block, and a causality probe that runs
one forward pass for each position, as the usual scripts do.  Prints wall time, and the worker's
own processor time, which other programs on the machine disturb less.

`--other` is the interpreter of an environment with another build, byte-compiled as this one is:
audits of both take turns, and the ratios of their processor times are printed.  Goals: against the
build before the start-up was cut, cold 0.5 for a full audit and 0.35 for `--fast`; against the last
one in which a block was judged in its own process (eaa6716), warm 1.2.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from genesys_engine.gab import library
from genesys_engine.gab.compose import compose
from genesys_engine.plugins.api import Outcome
from genesys_engine.plugins.executors.process import ProcessExecutor, ProcessOptions

POSITIONS = 128


def _module_of_audits() -> Any:
    """Return the module that has blocks audited: builds to compare with may have it elsewhere."""
    try:
        return import_module("genesys_engine.engine.check.audit")
    except ModuleNotFoundError:
        return import_module("genesys_engine.engine.auditing")


audit = _module_of_audits()


def main() -> None:
    """Measure every side and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold-only", action="store_true")
    parser.add_argument("--warm-only", action="store_true", help="both builds; needs --other")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--other", metavar="PYTHON", help="of the build to compare with")
    options = parser.parse_args()
    repeats = options.repeats
    sources = {name: compose(library.seed(name)) for name in library.seed_names()}
    if options.answer:
        _answer(sources)
        return
    if options.warm_only:
        _warm_with(options.other, list(sources), repeats)
        return
    with tempfile.TemporaryDirectory() as scratch:
        if not options.cold_only:
            _warm(sources, repeats, Path(scratch))
            _throughput(sources, Path(scratch))
        _cold(sources, Path(scratch), repeats, options.other)
    if not options.cold_only:
        if options.other:
            _warm_with(options.other, list(sources), repeats)
        _position_by_position(sources)


def _executor(workers: int) -> ProcessExecutor:
    return ProcessExecutor(ProcessOptions(preload=audit.PRELOAD), workers=workers)


def _warm(sources: dict[str, str], repeats: int, scratch: Path) -> None:
    executor, reference = _executor(1), audit.reference_source()
    _audit(executor, sources["gpt"], scratch, level="fast")  # the template is up
    for level, goal in (("full", 1.0), ("fast", 0.25)):
        medians, cpu = [], []
        for name, source in sources.items():
            more = {"reference": reference} if level == "full" else {}
            runs = [_audit(executor, source, scratch, level=level, **more) for _ in range(repeats)]
            medians.append(statistics.median(seconds for seconds, _ in runs))
            cpu.append(statistics.median(float(o.facts["cpu_s"]) for _, o in runs))
            print(f"warm {level:5} {name:7} {medians[-1]:6.3f} s wall, {cpu[-1]:6.3f} s processor")
        wall, own = statistics.median(medians), statistics.median(cpu)
        print(f"warm {level:5} median  {wall:6.3f} s wall, {own:6.3f} s processor (goal {goal:g})")
    executor.close()


def _answer(sources: dict[str, str]) -> None:
    """Audit the seeds that are named on the standard input; answer with processor seconds."""
    executor, reference = _executor(1), audit.reference_source()
    with tempfile.TemporaryDirectory() as scratch:
        _audit(executor, sources["gpt"], Path(scratch), reference=reference)  # all is warm
        for line in sys.stdin:
            source = sources[line.strip()]
            _, outcome = _audit(executor, source, Path(scratch), reference=reference)
            print(outcome.facts["cpu_s"], flush=True)
    executor.close()


def _warm_with(other: str, names: list[str], repeats: int) -> None:
    """Have warm workers of both builds audit each seed in turns."""
    sides = {}
    for build, python in (("this", sys.executable), ("other", other)):
        sides[build] = subprocess.Popen(
            [python, str(Path(__file__).resolve()), "--answer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tempfile.gettempdir(),  # Python would import this very checkout from another
        )
    for name in names:
        cpu: dict[str, list[float]] = {build: [] for build in sides}
        for _ in range(repeats):
            for build, side in sides.items():
                assert side.stdin is not None
                assert side.stdout is not None
                side.stdin.write(f"{name}\n")
                side.stdin.flush()
                cpu[build].append(float(side.stdout.readline()))
        this, that = (statistics.median(cpu[build]) for build in sides)
        print(
            f"warm full  {name:7} {this:.3f} s of processor time, {that:.3f} of the other build:"
            f" {this / that:.3f} (of the fastest runs {min(cpu['this']) / min(cpu['other']):.3f})"
        )
    for side in sides.values():
        side.communicate()


def _throughput(sources: dict[str, str], scratch: Path) -> None:
    executor, reference = _executor(2), audit.reference_source()
    _audit(executor, sources["gpt"], scratch, level="fast")
    started = time.perf_counter()
    jobs = [
        executor.submit(audit.AUDIT, {"source": s, "reference": reference}, scratch, audit.LIMITS)
        for s in list(sources.values()) * 4
    ]
    for job in jobs:
        assert job.result().status == "ok"
    minutes = (time.perf_counter() - started) / 60
    print(f"two warm workers: {len(jobs) / minutes:.0f} full audits a minute (goal 60)")
    executor.close()


def _cold(sources: dict[str, str], scratch: Path, repeats: int, other: str | None) -> None:
    """Time the whole command, its template and its worker; the builds take turns."""
    file = scratch / "block.py"
    file.write_text(sources["gpt"], encoding="utf-8")
    builds = {"this": sys.executable} | ({"other": other} if other else {})
    for flags in ([], ["--fast"]):
        cpu: dict[str, list[float]] = {build: [] for build in builds}
        wall: dict[str, list[float]] = {build: [] for build in builds}
        for _ in range(repeats):
            for build, python in builds.items():
                started, before = time.perf_counter(), _children_s()
                command = [python, "-m", "genesys_engine", "check", str(file), *flags]
                # In the scratch folder: Python would import this very checkout from another.
                subprocess.run(command, check=True, capture_output=True, cwd=scratch)
                wall[build].append(time.perf_counter() - started)
                cpu[build].append(_children_s() - before)
        level = " ".join(flags) or "full"
        for build in builds:
            seconds = statistics.median(wall[build]), statistics.median(cpu[build])
            print(
                f"cold process {level:6} gpt, {build:5} {seconds[0]:.2f} s wall, {seconds[1]:.2f} s"
                " processor of the command, its template and its worker"
            )
        if other:
            ratio = statistics.median(cpu["this"]) / statistics.median(cpu["other"])
            print(f"cold process {level:6} gpt, this / other: {ratio:.3f} of the processor time")


def _children_s() -> float:
    """Return the processor time of the child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _position_by_position(sources: dict[str, str]) -> None:
    """Time the causality probe alone: batched suffixes against a forward pass a position."""
    import torch

    from genesys_engine.gab.checks.sourcemap import SourceMap
    from genesys_engine.plugins.auditor.candidate import here
    from genesys_engine.plugins.auditor.causality import check_causality
    from genesys_engine.plugins.auditor.subject import Subject

    torch.set_num_threads(1)
    for name, source in sources.items():
        subject = Subject(here(source), SourceMap(source), POSITIONS, 0, 128)
        model = subject.shared.eval()
        started = time.process_time()
        assert not list(check_causality(subject))
        batched = time.process_time() - started
        tokens = subject.tokens(1, POSITIONS)
        started = time.process_time()
        whole = subject.run(model, tokens)
        for cut in range(1, POSITIONS):
            other = tokens.clone()
            other[:, cut:] = subject.other_tokens(tokens[:, cut:])
            assert torch.allclose(whole[:, :cut], subject.run(model, other)[:, :cut])
        single = time.process_time() - started
        print(
            f"causality {name:7} {batched:6.3f} s batched with gradients and both modes, "
            f"{single:6.3f} s for one forward pass a position"
        )


def _audit(
    executor: ProcessExecutor, source: str, scratch: Path, **order: Any
) -> tuple[float, Outcome]:
    started = time.perf_counter()
    payload = {"source": source, **order}
    outcome = executor.submit(audit.AUDIT, payload, scratch, audit.LIMITS).result()
    seconds = time.perf_counter() - started
    result = audit.read_outcome(outcome)
    assert result.report.passed, [str(found) for found in result.report.findings]
    return seconds, outcome


if __name__ == "__main__":
    main()
