"""Engine and template are killed in one instant: the kernel and the keeper end all that is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox_support import GONE_S, HERE, ISOLATION, descendants

from genesys_engine.plugins.sandbox import LEVELS, Limits, SandboxHost

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
REACHED = [level for level in LEVELS if not ISOLATION.missing(level)]
ENGINE = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from genesys_engine.plugins.sandbox import Limits, SandboxHost
scratch = Path({scratch!r})
host = SandboxHost(workers=4, preload=(), at_most={level!r})
host.submit("sandbox_jobs:stubborn", {{}}, scratch / "plain", Limits())
limits = Limits(subject="sandbox_jobs:subject_that_waits")
host.submit("sandbox_jobs:judge_that_waits", {{}}, scratch / "judge", limits)
for name, folder in (("stubborn_family", "family"), ("program_from_a_thread", "thread")):
    target = "compiling_attacks:" + name
    host.submit(target, {{}}, scratch / folder, Limits(compiles=True))
while host.template_pid is None:
    time.sleep(0.01)
(scratch / "template").write_text(str(host.template_pid))
time.sleep(600)
"""
WRITTEN = (
    "template", "plain/pid", "family/job", "family/child", "family/grandchild", "thread/program",
    "judge/pid", "judge/subject/pid",
)  # fmt: skip


def read_pid(path):
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, f"{path} was not written"
        time.sleep(0.01)
    return int(path.read_text())


def alive(pid):
    """Tell whether a process lives; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def survivors(pids):
    end = time.monotonic() + GONE_S
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.01)
    return left


@pytest.fixture
def family(request, tmp_path):
    """An engine with a job, one with a subject, two that compile: (its process, all other ids)."""
    code = ENGINE.format(here=str(HERE), scratch=str(tmp_path), level=request.param)
    engine = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    )
    pids = []
    try:
        pids += [read_pid(tmp_path / name) for name in WRITTEN]
        yield engine, pids
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)
        engine.kill()
        engine.wait()


@LINUX
@pytest.mark.parametrize("family", REACHED, indirect=True)
@pytest.mark.parametrize("template_first", [False, True])
def test_nothing_survives_engine_and_template(family, template_first):
    engine, (template, *jobs) = family
    assert all(map(alive, jobs))
    pair = [template, engine.pid] if template_first else [engine.pid, template]
    for pid in pair:  # in one instant, as far as a process can
        os.kill(pid, signal.SIGKILL)
    engine.wait()
    assert survivors([template, *jobs]) == []


@LINUX
@pytest.mark.parametrize("family", REACHED[-1:], indirect=True)
@pytest.mark.parametrize("victim", ["engine", "template"])
def test_nothing_survives_one_of_them(family, victim):
    engine, (template, *jobs) = family
    os.kill(engine.pid if victim == "engine" else template, signal.SIGKILL)
    assert survivors([template, *jobs]) == []


def keepers(template):
    """Return the processes that were forked from a template and are not below it."""
    command, found = Path(f"/proc/{template}/cmdline").read_bytes(), []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == command:
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted({*found} - {template, *descendants(template)})


@LINUX
def test_a_template_without_its_keeper_is_replaced(tmp_path):
    host = SandboxHost(workers=1, preload=())
    try:
        assert (
            host.submit("sandbox_jobs:empty", {}, tmp_path / "a", Limits()).result(250).value == {}
        )
        template = host.template_pid
        (keeper,) = keepers(template)
        os.kill(keeper, signal.SIGKILL)
        assert (
            host.submit("sandbox_jobs:empty", {}, tmp_path / "b", Limits()).result(250).value == {}
        )
        assert host.template_pid != template
        (keeper,) = keepers(host.template_pid)
    finally:
        host.close()
    assert survivors([keeper]) == []
