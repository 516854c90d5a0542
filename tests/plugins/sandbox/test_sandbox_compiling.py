"""The compile profile: what it opens is the tool chain, and all else is as shut as without it."""

import errno
import re
from pathlib import Path

import pytest
from sandbox_support import need
from test_sandbox_attacks import DENIED, STOPPED

from genesys_engine.plugins.sandbox import SandboxHost, readable, seccomp, syscalls, toolchain
from genesys_engine.plugins.sandbox.landlock import EXECUTE
from genesys_engine.plugins.sandbox.protocol import Job, Limits

ATTACKS = "compiling_attacks"
COMPILER = pytest.mark.skipif(not toolchain.programs(), reason="this machine has no g++")
# What the profile opens: these start processes, and end otherwise than without it.
OPENED = {
    "fork_bomb": ({"crashed"}, "started too much"),
    "fork_by_syscall": ({"ok"}, ""),  # the child ends with the job
    "double_fork": ({"ok", "bad_reply"}, ""),  # the child, which may not leave, may answer too
}

# Without TorchDynamo: importing it sets what is looked for here.
PRELOAD = ("torch", "genesys_engine.plugins.auditor.run")


@pytest.fixture(scope="module", params=["standard", "strict"])
def host(request):
    need(request.param)
    host = SandboxHost(workers=1, preload=PRELOAD, at_most=request.param)
    yield host
    host.close()


# --- as without it ---


@pytest.mark.parametrize("name", STOPPED)
def test_what_the_kernel_refuses_stays_refused(attack, name):
    statuses, reason = OPENED.get(name, ({STOPPED[name][0]}, STOPPED[name][1]))
    outcome = attack(name, compiles=True)
    assert outcome.status in statuses, outcome
    assert re.search(reason, outcome.reason), outcome


def test_no_shell_is_started_through_libc(attack):
    assert attack("libc_system", compiles=True).value == {"started": False, "exists": False}


# --- without it ---


@COMPILER
@pytest.mark.parametrize("name", ["start_compiler", "read_headers"])
def test_without_the_profile_there_is_no_compiler(attack, name):
    outcome = attack(name, module=ATTACKS)
    assert outcome.status == "error"
    assert DENIED in outcome.reason


def test_without_the_profile_nothing_is_set(attack):
    found = attack("where_caches_are", module=ATTACKS).value
    assert found["TORCHINDUCTOR_CACHE_DIR"] is None
    assert found["TRITON_CACHE_DIR"] is None


# --- with it ---


@COMPILER
def test_the_compiler_starts(attack):
    assert "Free Software" in attack("start_compiler", module=ATTACKS, compiles=True).value["text"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("run_what_was_compiled", marks=COMPILER),
        pytest.param("script", marks=COMPILER),
        "leave_the_session",
        "new_namespace_by_clone",
    ],
)
def test_only_the_tool_chain_is_executed_and_no_process_leaves_the_job(attack, name):
    outcome = attack(name, module=ATTACKS, compiles=True)
    assert outcome.status == "error"
    assert DENIED in outcome.reason


@COMPILER
def test_a_compiled_program_is_kept_like_its_job(attack):
    """The loader runs what can be read; so this is open, and worth nothing."""
    found = attack("run_through_the_loader", module=ATTACKS, compiles=True).value
    assert set(found.values()) == {errno.EACCES, errno.EPERM}, found
    assert len(found) == 14


@COMPILER
def test_a_compiled_library_is_kept_like_its_job(attack):
    found = attack("load_what_was_compiled", module=ATTACKS, compiles=True).value
    assert found == {"socket": errno.EACCES}


@COMPILER
@pytest.mark.parametrize(
    "name", ["shell_through_the_loader", "compile_to_outside", "compile_from_outside"]
)
def test_the_tools_reach_nothing_more(attack, name):
    found = attack(name, module=ATTACKS, compiles=True).value
    assert found["code"] != 0
    assert "Permission denied" in found["error"]


@COMPILER
def test_nothing_outlives_the_deadline(attack):
    outcome = attack("outlive_the_deadline", module=ATTACKS, compiles=True, wall_s=2)
    assert outcome.status == "timeout"


@COMPILER
def test_nothing_outlives_the_job(attack):
    assert attack("outlive_the_job", module=ATTACKS, compiles=True).status == "ok"


def test_orphans_end_with_the_job(attack):
    assert attack("orphans_that_stay", module=ATTACKS, compiles=True).status == "ok"


def test_memory_is_counted_over_all_processes(attack):
    limits = {"compiles": True, "memory_bytes": 256 << 20}
    outcome = attack("memory_of_many", module=ATTACKS, **limits)
    assert outcome.status == "crashed"
    assert "bytes of memory in all its processes" in outcome.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("hidden_files_of_many", ""), ("hidden_files_in_many", " by all its processes")],
)
def test_the_disk_is_counted_over_all_processes(attack, name, reason):
    outcome = attack(name, module=ATTACKS, compiles=True)
    assert outcome.status == "crashed"
    assert f"bytes written to the disk{reason}" in outcome.reason


def test_a_cache_is_of_one_job_alone(host, tmp_path):
    """What one candidate leaves there would be code in the process of the next."""
    target, found = f"{ATTACKS}:where_caches_are", []
    for name in ("a", "b"):
        outcome = host.submit(target, {}, tmp_path / name, Limits(compiles=True)).result(250)
        assert set(outcome.value.values()) <= {
            str(tmp_path / name / rest) for rest in ("", ".inductor", ".triton")
        }
        found.append(set(outcome.value.values()))
    assert not found[0] & found[1]
    assert not list((tmp_path / "b").rglob("*.so"))


# --- the parts ---


def job(**limits):
    return Job(1, "os:getpid", "/scratch", Limits(**limits))


def test_execution_is_opened_by_the_profile_alone():
    for limits in ({}, {"accelerator": True}, {"readable": ("/corpus",)}):
        assert not any(rights & EXECUTE for _, rights in readable.of_job(job(**limits)))
    assert not any(rights & EXECUTE for _, rights in readable.installation())


@COMPILER
def test_execution_is_opened_for_files_never_for_folders():
    opened = {path for path, rights in readable.of_job(job(compiles=True)) if rights & EXECUTE}
    assert set(toolchain.programs()) <= opened
    assert all(Path(path).is_file() for path in opened if Path(path).exists())
    assert not any(Path(path).name in ("sh", "bash", "dash", "env") for path in opened)


def test_without_a_compiler_nothing_is_opened(monkeypatch):
    monkeypatch.setattr(toolchain, "programs", tuple)
    assert list(toolchain.rules()) == []


def test_without_a_cpp_compiler_there_is_no_tool_chain(tmp_path, monkeypatch):
    monkeypatch.setattr(toolchain, "PROGRAMS", str(tmp_path))
    assert toolchain.programs.__wrapped__() == ()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_the_profile(machine, monkeypatch):
    from test_sandbox_parts import ALLOW, answer

    monkeypatch.setattr(syscalls.platform, "machine", lambda: machine)
    column, architecture = ("x86_64", "aarch64").index(machine), syscalls.architecture()
    program = seccomp.program(77, compiles=True)

    def ask(table, name, *arguments):
        number = getattr(syscalls, table)[name][column]
        return answer(program, number, *arguments, architecture=architecture)

    opened = [name for name, pair in syscalls.PROGRAMS.items() if pair[column] is not None]
    assert {ask("PROGRAMS", name) for name in opened} == {ALLOW}
    for table in (syscalls.SESSIONS, *syscalls.REFUSED):
        for number in syscalls.numbers(table):
            assert answer(program, number, architecture=architecture) == errno.EPERM, number
    assert ask("CLONE", "clone", 17) == ALLOW  # a process
    assert ask("CLONE", "clone", 0x4111) == ALLOW  # as vfork
    assert ask("CLONE", "clone", 0x3D0F00) == ALLOW  # a thread
    for outside in (0x10000000, 0x40000000, 0x20000000, 0x20000, 0x8000, 0x2000):
        assert ask("CLONE", "clone", outside | 17) == errno.EPERM, hex(outside)
    assert ask("CLONE", "clone", 9) == errno.EPERM  # a child whose end would kill its parent
    assert ask("SOCKETS", "socket", 1) == errno.EACCES
    assert ask("SIGNAL", "kill", 78) == errno.EPERM
