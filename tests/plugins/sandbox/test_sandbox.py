"""The sandbox against real processes, real signals and real damage."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import pytest

from genesys_engine.plugins.sandbox import (
    Isolation,
    Limits,
    SandboxHost,
    isolation_here,
    sandbox_status,
)
from genesys_engine.plugins.sandbox.judge import judge
from genesys_engine.plugins.sandbox.protocol import Ended, FrameReader, encode_frame

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # the template searches where we do: it must find the jobs

SHORT = Limits(wall_s=2)  # enough for a busy machine to begin it
LONG = Limits(wall_s=60)
HELD = Limits(wall_s=200)


@pytest.fixture(scope="module")
def host():
    os.environ["SECRET_API_KEY"] = "sk-never-seen"
    try:
        host = SandboxHost(workers=2, preload=("torch",))
        yield host
    finally:
        del os.environ["SECRET_API_KEY"]
        host.close()


@pytest.fixture(scope="module")
def open_host(host):
    """A host without Landlock and seccomp: what is left must hold by itself."""
    open_host = SandboxHost(workers=2, preload=(), at_most="process")
    yield open_host
    open_host.close()


@pytest.fixture
def run_open(open_host, tmp_path):
    def run(name, limits=LONG, **payload):
        target = f"sandbox_jobs:{name}"
        return open_host.submit(target, payload, tmp_path / name, limits).result(250)

    return run


@pytest.fixture
def run(host, tmp_path):
    def run(name, limits=LONG, **payload):
        return host.submit(f"sandbox_jobs:{name}", payload, tmp_path / name, limits).result(250)

    return run


def alive(pid):
    """Tell whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(path, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def wait_dead(pid, seconds=60.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


# --- what a job gets and gives ---


def test_payload_comes_back_from_the_scratch_folder(run, tmp_path):
    payload = {"text": "ä\n", "list": [1, 2.5, None], "nested": {"a": True}}
    outcome = run("echo", **payload)
    assert outcome.status == "ok"
    scratch = str(tmp_path / "echo")
    assert outcome.value == {"payload": payload, "scratch": scratch, "cwd": scratch}
    assert 0 < outcome.facts["wall_s"] < 60
    assert outcome.facts["max_rss_bytes"] > 10 << 20


def test_no_key_in_any_environment(run_open, tmp_path):
    outcome = run_open("environment")
    assert outcome.status == "ok"
    assert "sk-never-seen" not in json.dumps(outcome.value)
    now = outcome.value["now"]
    scratch = str(tmp_path / "environment")
    assert now["HOME"] == now["TMPDIR"] == scratch
    assert now["HF_HOME"].startswith(scratch)
    assert (now["HF_HUB_OFFLINE"], now["OMP_NUM_THREADS"], now["PYTHONHASHSEED"]) == ("1", "1", "0")
    assert now["TOKENIZERS_PARALLELISM"] == "false"


def test_limits_hold_and_no_descriptor_is_inherited(run):
    value = run("limits", Limits(wall_s=7, memory_bytes=1 << 30, file_bytes=12345)).value
    cpu_s = 7 * os.cpu_count() + 1
    assert value["soft"] | {"AS": 0} == {
        "AS": 0,
        "CPU": cpu_s,
        "FSIZE": 12345,
        "NOFILE": 512,
        "CORE": 0,
    }
    assert 1 << 30 < value["soft"]["AS"] < 64 << 30
    assert value["fds"][:4] == [0, 1, 2, 3]
    assert len(value["fds"]) == 5  # the fifth is the listing's own


def test_own_session_and_group(run):
    value = run("identity").value
    assert value["pid"] == value["group"] == value["session"]


def test_one_thread_fixed_hashes_and_equal_generators(run):
    threads = run("threads").value
    assert threads["torch"] == 1
    assert threads["hash"] == run("threads").value["hash"]
    assert run("numbers").value == run("numbers").value


def test_template_has_one_thread_when_it_forks(host, run):
    run("empty")
    assert len(list(Path(f"/proc/{host.template_pid}/task").iterdir())) == 1


def test_a_payload_that_is_not_json_is_refused_at_once(host, tmp_path):
    with pytest.raises(TypeError):
        host.submit("sandbox_jobs:empty", {"x": object()}, tmp_path, LONG)
    with pytest.raises(ValueError, match="JSON"):
        host.submit("sandbox_jobs:empty", {"x": float("nan")}, tmp_path, LONG)


# --- failures, each under its own name ---


@pytest.mark.parametrize(
    ("name", "payload", "status", "reason"),
    [
        ("raises", {}, "error", "ValueError: seven is not eight"),
        ("raises_half_a_character", {}, "error", "ValueError: ?"),
        ("leaves", {}, "error", "SystemExit: left"),
        ("unprintable", {}, "error", "Odd: (no message)"),
        ("no_such_job", {}, "error", "no_such_job"),
        ("exits", {"code": 0}, "crashed", "exit code 0"),
        ("exits", {"code": 70}, "crashed", "exit code 70"),
        ("segfault", {}, "crashed", "SIGSEGV"),
        ("segfault", {}, "crashed", "sandbox_jobs.py"),  # and where it was
        ("aborts", {}, "crashed", "SIGABRT"),
        ("chatter", {}, "crashed", "the end"),
        ("python_memory", {}, "memory", "MemoryError"),
        ("torch_memory", {}, "memory", "can't allocate memory"),
        ("many_small", {}, "memory", "MemoryError"),
        ("big_file", {}, "error", "File too large"),
        ("huge", {}, "bad_reply", "exceeds"),
        ("floods_reply", {}, "bad_reply", "exceeds"),
        ("returns_list", {}, "bad_reply", "returned a list"),
        ("returns_nan", {}, "bad_reply", "not JSON"),
        ("returns_object", {}, "bad_reply", "not JSON"),
        ("malformed", {"text": "{"}, "bad_reply", "not JSON"),
        ("malformed", {"text": "[" * 100_000}, "bad_reply", "not JSON"),
        ("malformed", {"text": "\xff\xfe"}, "bad_reply", "not UTF-8"),
        ("malformed", {"text": "[]"}, "bad_reply", "not an object"),
        ("malformed", {"text": '{"status": "ok", "value": 3}'}, "bad_reply", "type int"),
        ("malformed", {"text": '{"status": "infrastructure"}'}, "bad_reply", "no known status"),
        ("malformed", {"text": '{"status": "ok", "value": {"x": NaN}}'}, "bad_reply", "NaN"),
        ("loop", {}, "timeout", "longer than 1.5 s"),
        ("loop", {}, "timeout", "in loop"),  # the stack at the deadline
        ("stubborn", {}, "timeout", "longer than 1.5 s"),
        ("closes_everything", {}, "timeout", "longer than 1.5 s"),
    ],
)
def test_failure_has_its_status_and_reason(run, name, payload, status, reason):
    limits = Limits(
        wall_s=1.5 if status == "timeout" else 30, memory_bytes=1 << 30, file_bytes=1 << 20
    )
    outcome = run(name, limits, **payload)
    assert (outcome.status, outcome.value) == (status, None)
    assert reason in outcome.reason
    assert len(outcome.reason) <= 2000
    assert run("empty").status == "ok"  # and the sandbox goes on


def test_deadline_is_kept_and_the_process_is_gone(run, tmp_path):
    outcome = run("stubborn", SHORT)  # it would stay for ten minutes
    assert outcome.status == "timeout"
    assert outcome.facts["wall_s"] >= SHORT.wall_s
    assert wait_dead(int((tmp_path / "stubborn" / "pid").read_text()))


def test_output_is_kept_but_bounded(run, tmp_path):
    run("chatter")
    log = tmp_path / "chatter" / "output.log"
    assert log.read_text().startswith("a line of output")
    assert log.stat().st_size <= 256 << 10


def test_a_link_in_place_of_the_log_leads_nowhere(run_open, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for _ in range(2):  # the second attempt finds the link that the first has left
        assert run_open("link_log", victim=str(victim)).status == "ok"
        assert victim.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o700, 0])
def test_a_folder_in_place_of_the_log_is_removed(run_open, tmp_path, mode):
    outcome = run_open("folder_for_log", mode=mode)
    assert outcome.status == "ok", outcome
    assert (tmp_path / "folder_for_log" / "output.log").is_file()


def test_a_scratch_folder_that_cannot_be_made_is_infrastructure(host, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = host.submit("sandbox_jobs:empty", {}, tmp_path / "file" / "x", LONG).result(250)
    assert outcome.status == "infrastructure"
    assert "could not be started" in outcome.reason


@pytest.mark.parametrize("own_session", [False, True])
@pytest.mark.parametrize("stay", [False, True])
def test_no_grandchild_outlives_its_job(run_open, tmp_path, own_session, stay):
    limits = Limits(wall_s=3 if stay else 60)
    outcome = run_open("grandchild", limits, own_session=own_session, stay=stay)
    assert outcome.status == ("timeout" if stay else "ok")
    assert wait_dead(int((tmp_path / "grandchild" / "grandchild").read_text()))


# --- many jobs ---


def test_two_at_the_same_time_the_third_waits_in_line(host, tmp_path):
    jobs = [host.submit("sandbox_jobs:holds", {}, tmp_path / str(i), HELD) for i in range(3)]
    for i in range(2):
        wait_for(tmp_path / str(i) / "here")
    assert not any(job.done() for job in jobs)
    assert not (tmp_path / "2").exists()
    (tmp_path / "0" / "go").touch()
    wait_for(tmp_path / "2" / "here")
    assert not jobs[1].done()
    for i in (1, 2):
        (tmp_path / str(i) / "go").touch()
    assert [job.result(250).status for job in jobs] == ["ok"] * 3


def test_a_queued_job_can_be_cancelled(host, tmp_path):
    jobs = [host.submit("sandbox_jobs:holds", {}, tmp_path / str(i), HELD) for i in range(3)]
    assert jobs[2].cancel()
    for i in range(2):
        wait_for(tmp_path / str(i) / "here")
        (tmp_path / str(i) / "go").touch()
    assert [job.result(250).status for job in jobs[:2]] == ["ok", "ok"]
    assert not (tmp_path / "2").exists()


def test_a_hundred_quick_jobs(host, tmp_path):
    host.submit("sandbox_jobs:empty", {}, tmp_path / "warm", LONG).result()
    jobs = [host.submit("sandbox_jobs:echo", {"i": i}, tmp_path / str(i), LONG) for i in range(100)]
    values = [job.result(250).value["payload"]["i"] for job in jobs]
    assert values == list(range(100))


# --- the death of the template and of the engine ---


def test_jobs_recover_when_the_template_is_killed(host, tmp_path):
    jobs = [host.submit("sandbox_jobs:once", {}, tmp_path / str(i), LONG) for i in range(4)]
    for i in range(2):
        wait_for(tmp_path / str(i) / "attempts")
    before = host.template_pid
    os.kill(before, signal.SIGKILL)
    wait(jobs[:2], 60)
    for i in (2, 3):  # these were never lost; let their first attempt end by the same means
        wait_for(tmp_path / str(i) / "attempts")
    os.kill(host.template_pid, signal.SIGKILL)
    outcomes = [job.result(250) for job in jobs]
    assert [(o.status, o.value) for o in outcomes] == [("ok", {"attempts": 2})] * 4
    assert host.template_pid != before


def test_a_job_that_kills_the_template_is_blamed_and_its_neighbour_is_not(open_host, tmp_path):
    bad = open_host.submit("sandbox_jobs:kills_template", {}, tmp_path / "bad", LONG)
    good = open_host.submit("sandbox_jobs:sleeps", {"seconds": 0.2}, tmp_path / "good", LONG)
    assert bad.result(250).status == "crashed"
    assert good.result(250).status == "ok"


def test_a_hung_template_is_noticed_by_the_second_guard(tmp_path):
    host = SandboxHost(workers=2, preload=(), guard_s=0.5)
    try:
        late = host.submit("sandbox_jobs:stubborn", {}, tmp_path / "late", Limits(wall_s=5))
        pid = int(wait_for(tmp_path / "late" / "pid"))
        other = host.submit("sandbox_jobs:once", {}, tmp_path / "other", LONG)
        wait_for(tmp_path / "other" / "attempts")
        os.kill(host.template_pid, signal.SIGSTOP)
        assert late.result(250).status == "timeout"
        assert wait_dead(pid)
        assert other.result(250).value == {"attempts": 2}
    finally:
        host.close()


def test_a_template_that_cannot_start_gives_jobs_back(tmp_path):
    host = SandboxHost(workers=1, preload=("no_such_module_anywhere",), max_restarts=1)
    try:
        outcome = host.submit("sandbox_jobs:empty", {}, tmp_path, LONG).result(250)
        assert outcome.status == "infrastructure"
        assert "no_such_module_anywhere" in outcome.reason
    finally:
        host.close()


def test_close_ends_everything_at_once(tmp_path):
    host = SandboxHost(workers=1, preload=())
    running = host.submit("sandbox_jobs:stubborn", {}, tmp_path / "0", LONG)
    queued = host.submit("sandbox_jobs:empty", {}, tmp_path / "1", LONG)
    pid, template = int(wait_for(tmp_path / "0" / "pid")), host.template_pid
    start = time.monotonic()
    host.close()
    host.close()
    assert time.monotonic() - start < 60  # the job alone would take ten minutes
    assert not alive(pid)
    assert not alive(template)
    assert running.result(0).status == queued.result(0).status == "infrastructure"
    with pytest.raises(RuntimeError, match="closed"):
        host.submit("sandbox_jobs:empty", {}, tmp_path, LONG)


def kill_each_attempt(folder, times, whom):
    """Kill a process of a job that notes its attempts as soon as each of them runs."""
    killed = []
    for attempt in range(1, times + 1):
        end = time.monotonic() + 60
        while (file := folder / f"attempt{attempt}") and not (file.exists() and file.read_text()):
            assert time.monotonic() < end
            time.sleep(0.01)
        killed.append(whom(int(file.read_text())))
        os.kill(killed[-1], signal.SIGKILL)
    return killed


@pytest.mark.parametrize("who", ["job", "template"])
@pytest.mark.parametrize("level", ["host", "open_host"])
def test_a_job_that_is_killed_twice_from_outside(request, tmp_path, level, who):
    """The filter lets no job do this to itself: without it the job may have, and is blamed."""
    host = request.getfixturevalue(level)
    if level == "host" and not isolation_here().seccomp:
        pytest.skip("no filter on system calls here")
    job = host.submit("sandbox_jobs:notes_attempts", {}, tmp_path / "job", LONG)
    killed = kill_each_attempt(
        tmp_path / "job", 2, lambda pid: pid if who == "job" else host.template_pid
    )
    outcome = job.result(250)
    assert outcome.status == ("infrastructure" if level == "host" else "crashed")
    assert "twice" in outcome.reason
    assert len(set(killed)) == 2
    assert not (tmp_path / "job" / "attempt3").exists()
    assert host.submit("sandbox_jobs:empty", {}, tmp_path / "next", LONG).result(250).status == "ok"


ENGINE = """
import signal, sys, time
from pathlib import Path
# A shell that starts its commands in the background hands down an ignored SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {here!r})
from genesys_engine.plugins.sandbox import Limits, SandboxHost
scratch = Path({scratch!r})
host = SandboxHost(workers=2, preload=(), at_most="process")
payload = {{"own_session": True, "stay": True}}
host.submit("sandbox_jobs:grandchild", payload, scratch / "a", Limits())
host.submit("sandbox_jobs:stubborn", {{}}, scratch / "b", Limits())
while host.template_pid is None:
    time.sleep(0.01)
(scratch / "template").write_text(str(host.template_pid))
time.sleep(600)
"""


@pytest.fixture
def engine(tmp_path):
    """An engine process of its own with two jobs: (process, ids of all that it started)."""
    code = ENGINE.format(here=str(HERE), scratch=str(tmp_path))
    root = str(HERE.parents[2])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root})
    names = ("template", "a/grandchild", "b/pid")
    try:
        yield process, [int(wait_for(tmp_path / name)) for name in names]
    finally:
        process.kill()
        process.wait()


def test_nothing_survives_an_engine_that_is_killed(engine):
    process, pids = engine
    assert all(map(alive, pids))
    process.kill()
    process.wait()
    assert all(wait_dead(pid) for pid in pids)


def test_interrupt_from_the_terminal_reaches_no_job(engine):
    process, pids = engine
    assert all(os.getsid(pid) != os.getsid(process.pid) for pid in pids)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert all(wait_dead(pid) for pid in pids)


# --- the parts ---


def test_frames_survive_any_cut():
    messages = [{"a": 1}, {"b": "ü" * 1000}, {}]
    data = b"".join(map(encode_frame, messages))
    for step in (1, 3, 1000, len(data)):
        reader = FrameReader()
        seen = [m for i in range(0, len(data), step) for m in reader.feed(data[i : i + step])]
        assert seen == messages


def test_an_isolation_that_failed_is_not_the_job_s_fault():
    before = judge(Ended(1, "exit", exit_code=70, reply="", log="OSError: no"), LONG)
    after = judge(
        Ended(1, "exit", exit_code=70, reply="\n", log="OSError: no"), LONG, filtered=True
    )
    assert (before.status, after.status) == ("infrastructure", "crashed")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1e999", "is not a finite number"),
        ("-Infinity", "is not a finite number"),
        (str(1 << 63), "more than 64 bits"),
        (f"-{10**400}", "more than 64 bits"),
        ("[" * 64 + "]" * 64, "nested deeper than 64"),
        ('{"x":' * 64 + "0" + "}" * 64, "nested deeper than 64"),
    ],
)
def test_a_reply_holds_only_what_can_be_written_down(value, reason):
    reply = f'\n{{"status": "ok", "value": {{"x": [{value}]}}}}'
    outcome = judge(Ended(1, "exit", exit_code=0, reply=reply), LONG)
    assert (outcome.status, outcome.value) == ("bad_reply", None)
    assert reason in outcome.reason


def test_numbers_and_depth_within_bounds_are_kept():
    value = {"x": [(1 << 63) - 1, -(1 << 63) + 1, 1.7e308, [[[[[]]]]]]}
    reply = "\n" + json.dumps({"status": "ok", "value": value})
    assert judge(Ended(1, "exit", exit_code=0, reply=reply), LONG).value == value


def test_half_characters_of_a_reply_are_replaced(run):
    """Whole ones, which JSON writes as two halves, are kept."""
    value = run("returns_half_a_character").value
    assert value == {"a?": ["?", {"b": "\U0001f600"}]}


def test_a_c_allocator_that_gives_up_is_a_lack_of_memory():
    log = "terminate called after throwing an instance of 'std::bad_alloc'"
    assert judge(Ended(1, "exit", signal=6, reply="\n", log=log), LONG).status == "memory"
    assert judge(Ended(1, "exit", signal=6, reply="\n", log=""), LONG).status == "crashed"
    assert judge(Ended(1, "exit", signal=24, reply="\n"), LONG).status == "timeout"


@pytest.mark.parametrize("filtered", [False, True])
def test_the_hard_limit_on_processor_time_is_no_hand_from_outside(filtered):
    """There the kernel sends SIGKILL to whoever has ignored SIGXCPU."""
    spent = {"cpu_s": 60.0 * (os.cpu_count() or 1) + 1}
    ended = Ended(1, "exit", signal=9, reply="\n", facts=spent)
    assert judge(ended, LONG, filtered=filtered).status == "timeout"
    early = Ended(1, "exit", signal=9, reply="\n", facts={"cpu_s": 1.0})
    expected = "infrastructure" if filtered else "crashed"
    assert judge(early, LONG, filtered=filtered).status == expected


def test_status_names_every_measure():
    here = isolation_here()
    measures = {measure.name: measure for measure in sandbox_status(here)}
    kernel = {"landlock", "seccomp", "signals", "namespaces"}
    assert {"process", "deadline", "environment", "memory", "orphans"} | kernel <= set(measures)
    if sys.platform == "linux":
        assert all(measures[name].active for name in set(measures) - kernel)
    inactive = {name for name in kernel if not measures[name].active}
    assert inactive - {"signals"} == set(here.missing("strict"))


@pytest.mark.parametrize(("abi", "twice"), [(0, False), (1, False), (5, False), (6, True)])
def test_status_tells_kernels_without_a_scope_for_signals_apart(abi, twice):
    """The filter holds on all of them; with the scope, Landlock does too."""
    measures = {each.name: each for each in sandbox_status(Isolation(landlock=abi, seccomp=True))}
    assert measures["signals"].active
    assert ("twice" in measures["signals"].detail) is twice
    assert str(abi) in measures["signals"].detail or abi == 0
    assert not {each.name: each for each in sandbox_status(Isolation(abi))}["signals"].active
