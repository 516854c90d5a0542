"""A process that the system refuses to start for a moment is started again; nothing runs twice."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import commands
import pytest

from genesys_engine.plugins.executors import slurm_cluster
from genesys_engine.plugins.sandbox import Limits, SandboxHost, starting

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # the template searches where we do: it must find the jobs
LIMITS = Limits(wall_s=60)
MOMENTARY = (errno.EAGAIN, errno.ENOMEM, errno.EFAULT)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(starting, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def refuse(monkeypatch):
    """Have a function of a module refuse its next calls with an error number, then do its work."""

    def refuse(module, name, number, times):
        real, left = getattr(module, name), [number] * times

        def refusing(*arguments, **options):
            if left:
                raise OSError(left.pop(), "refused")
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, refusing)
        return left

    return refuse


@pytest.mark.parametrize("number", MOMENTARY)
def test_a_command_is_started_again_and_runs_once(refuse, tmp_path, number):
    left = refuse(subprocess, "Popen", number, times=3)
    code = f"open({str(tmp_path / 'ran')!r}, 'a').write('once ')"
    assert commands.run([sys.executable, "-c", code], check=True).stdout == ""
    assert left == []
    assert (tmp_path / "ran").read_text() == "once "


@pytest.mark.parametrize(("number", "tried"), [(errno.EAGAIN, 4), (errno.ENOENT, 1)])
def test_what_stays_refused_is_raised(refuse, number, tried):
    left = refuse(subprocess, "Popen", number, times=9)
    with pytest.raises(OSError, match="refused") as error:
        commands.run([sys.executable, "-c", ""])
    assert error.value.errno == number
    assert len(left) == 9 - tried


def test_what_fails_after_its_start_is_not_repeated(tmp_path):
    code = f"open({str(tmp_path / 'ran')!r}, 'a').write('once '); raise SystemExit(11)"
    assert commands.run([sys.executable, "-c", code]).returncode == errno.EAGAIN
    assert (tmp_path / "ran").read_text() == "once "


@pytest.fixture
def host():
    host = SandboxHost(workers=1, preload=(), max_restarts=1, at_most="process")
    yield host
    host.close()


def test_a_template_that_is_refused_costs_no_job(refuse, host, tmp_path):
    refuse(subprocess, "Popen", errno.EFAULT, times=5)
    os.kill(_template_of(host, tmp_path), 9)
    assert host.submit("sandbox_jobs:empty", {}, tmp_path, LIMITS).result(250).status == "ok"


def test_a_refusal_that_lasts_is_the_machine_s_and_later_jobs_run(refuse, host, tmp_path):
    template = _template_of(host, tmp_path)
    left = refuse(subprocess, "Popen", errno.EAGAIN, times=10_000)
    os.kill(template, 9)
    outcome = host.submit("sandbox_jobs:empty", {}, tmp_path, LIMITS).result(250)
    assert outcome.status == "infrastructure"
    assert f"[Errno {errno.EAGAIN}] refused" in outcome.reason
    left.clear()
    assert host.submit("sandbox_jobs:empty", {}, tmp_path, LIMITS).result(250).status == "ok"


def test_a_fork_that_is_refused_costs_no_job(tmp_path):
    host = SandboxHost(workers=1, preload=("refused_forks",), at_most="process")
    try:
        outcome = host.submit("sandbox_jobs:empty", {}, tmp_path, LIMITS).result(250)
        assert outcome.status == "ok", outcome.reason
    finally:
        host.close()


def test_a_command_of_slurm_that_is_refused_is_asked_later(refuse):
    refuse(subprocess, "Popen", errno.ENOMEM, times=9)
    with pytest.raises(slurm_cluster.Busy, match="squeue"):
        slurm_cluster.ask_slurm("squeue")


def _template_of(host, folder):
    """Return the host's template once it is ready."""
    assert host.submit("sandbox_jobs:empty", {}, folder, LIMITS).result(250).status == "ok"
    return host.template_pid
