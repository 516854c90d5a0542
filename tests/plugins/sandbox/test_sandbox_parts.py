"""The parts of the sandbox by themselves: levels, filter, file rules, what is left behind."""

import errno
import fcntl
import json
import os
import re
import resource
import socket
import sys
import sysconfig
import termios
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genesys_engine.gab.errors import EXIT_ENVIRONMENT, EnvironmentProblem, InputError
from genesys_engine.plugins.sandbox import (
    Isolation,
    Limits,
    SandboxHost,
    isolation_here,
    readable,
    seccomp,
    syscalls,
    usage,
)
from genesys_engine.plugins.sandbox.landlock import NAMES, READ
from genesys_engine.plugins.sandbox.protocol import Job
from genesys_engine.plugins.sandbox.scratch import remove, take_tensors

ALLOW, KILL = "allow", "kill"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="kernel calls of Linux")

# --- levels ---


@pytest.mark.parametrize(
    ("isolation", "level", "missing"),
    [
        (Isolation(), "process", ("landlock", "seccomp", "namespaces")),
        (Isolation(landlock=7), "process", ("seccomp", "namespaces")),
        (Isolation(seccomp=True, namespaces=True), "process", ("landlock",)),
        (Isolation(landlock=1, seccomp=True), "standard", ("namespaces",)),
        (Isolation(landlock=7, seccomp=True, namespaces=True), "strict", ()),
    ],
)
def test_a_level_needs_all_its_measures(isolation, level, missing):
    assert isolation.level == level
    assert isolation.missing("strict") == missing
    assert isolation.at_most("process") == Isolation()
    isolation.demand(level)
    assert isolation.to_json()["level"] == level
    if missing:
        with pytest.raises(EnvironmentProblem) as caught:
            isolation.demand("strict")
        assert caught.value.exit_code == EXIT_ENVIRONMENT
        assert caught.value.where == "[sandbox] require"
        assert all(name in str(caught.value) for name in missing)


def test_no_job_runs_below_the_required_level(tmp_path):
    host = SandboxHost(workers=1, preload=(), max_restarts=0, require="standard", at_most="process")
    try:
        outcome = host.submit("os:getpid", {}, tmp_path / "job", Limits()).result(250)
        assert outcome.status == "infrastructure"
        assert "isolation level 'standard' is required" in outcome.reason
        assert not (tmp_path / "job").exists()
    finally:
        host.close()


# --- the filter, run by a small machine of our own, so that both processors are proved ---


def answer(program, number, *arguments, architecture):
    """Run a filter on a call; return `allow`, `kill` or the error number."""
    data = {0: number, 4: architecture}
    for place, value in enumerate(arguments):
        data |= {16 + 8 * place: value & 0xFFFFFFFF, 20 + 8 * place: value >> 32 & 0xFFFFFFFF}
    value = at = 0
    while True:
        code, yes, no, constant = program[at]
        at += 1
        if code == 0x20:
            value = data.get(constant, 0)
        elif code == 0x54:
            value &= constant
        elif code == 0x06:
            kind = constant & 0xFFFF0000
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(kind, constant & 0xFFFF)
        else:
            test = {0x15: value == constant, 0x35: value >= constant, 0x45: value & constant}
            at += yes if test[code] else no


@pytest.fixture(params=["x86_64", "aarch64"])
def ask(request, monkeypatch):
    """Ask the filter of a processor: by the name of a call, or by its number."""
    monkeypatch.setattr(syscalls.platform, "machine", lambda: request.param)
    programs = {
        accelerator: seccomp.program(pid=77, accelerator=accelerator)
        for accelerator in (False, True)
    }
    known = syscalls.architecture()
    names = {}
    for table in vars(syscalls).values():
        if isinstance(table, dict):
            names |= {k: v for k, v in table.items() if isinstance(v, tuple) and k.islower()}
    column = ("x86_64", "aarch64").index(request.param)

    def ask(call, *arguments, architecture=known, accelerator=False):
        number = names[call][column] if isinstance(call, str) else call
        if number is None:
            pytest.skip(f"{request.param} has no {call}")
        return answer(programs[accelerator], number, *arguments, architecture=architecture)

    return ask


def test_the_filter_refuses_whole_tables(ask):
    for table in (syscalls.PROGRAMS, *syscalls.REFUSED):
        for name, numbers in table.items():
            if None not in numbers:
                assert ask(name) == errno.EPERM, name


def test_the_filter_decides_by_arguments(ask):
    assert ask("clone", 0x3D0F00) == ALLOW  # a thread, as libc starts it
    assert ask("clone", 17) == errno.EPERM  # a process
    assert ask("clone", 0x3D0F00 | 0x40000000) == errno.EPERM  # a thread in another network
    assert ask("clone3") == errno.ENOSYS
    for call in ("sched_setaffinity", "prlimit64", *syscalls.SIGNAL, *syscalls.SIGNAL_THREAD):
        assert [ask(call, pid, 2) for pid in (77, 0, 78, -1, 1)] == [ALLOW, ALLOW, 1, 1, 1], call
    for flags, verdict in (
        (os.O_RDONLY, ALLOW),
        (os.O_WRONLY | os.O_TRUNC, ALLOW),
        (os.O_RDWR | os.O_TRUNC | os.O_CREAT, ALLOW),
        (os.O_RDONLY | os.O_TRUNC, errno.EPERM),
        (os.O_RDONLY | os.O_TRUNC | os.O_CLOEXEC, errno.EPERM),
    ):
        assert ask("openat", -100, 0, flags) == verdict
    for call in syscalls.SOCKETS:
        assert ask(call, socket.AF_UNIX) == errno.EACCES
    assert ask("setsid") == ALLOW  # worthless where no process can be started


def test_no_job_can_look_as_if_it_was_killed_from_outside(ask):
    for call in syscalls.SIGNAL:
        assert [ask(call, 77, number) for number in (9, 15, 6)] == [errno.EPERM, ALLOW, ALLOW]
    for call in syscalls.SIGNAL_THREAD:
        assert [ask(call, 77, 77, number) for number in (9, 15, 6)] == [errno.EPERM, ALLOW, ALLOW]
    assert ask("timer_create") == errno.EPERM
    processor, files = resource.RLIMIT_CPU, resource.RLIMIT_NOFILE
    assert [ask("setrlimit", which, 1) for which in (processor, files)] == [errno.EPERM, ALLOW]
    assert ask("prlimit64", 0, processor, 1 << 40, 0) == errno.EPERM
    assert ask("prlimit64", 0, processor, 0, 1 << 40) == ALLOW  # reading
    assert ask("prlimit64", 0, files, 1 << 40, 0) == ALLOW


def test_a_pair_of_streams_is_the_only_socket(ask):
    stream, nonblocking = socket.SOCK_STREAM, socket.SOCK_STREAM | 0o4000 | 0o2000000
    assert ask("socketpair", socket.AF_UNIX, stream) == ALLOW
    assert ask("socketpair", socket.AF_UNIX, nonblocking) == ALLOW
    for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM | 0o4000):
        assert ask("socketpair", socket.AF_UNIX, kind) == errno.EPERM
    assert ask("socketpair", 30, stream) == errno.EPERM  # AF_TIPC
    assert ask("sendto", 3, 1 << 40, 1, 0, 0, 0) == ALLOW  # as send(2) calls it
    for address in (1 << 40, 77):  # in one half of the pointer each
        assert ask("sendto", 3, 1 << 40, 1, 0, address, 16) == errno.EPERM


SETOWN, SETSIG, SETOWN_EX, SETLEASE, NOTIFY = 8, 10, 15, 1024, 1026


def test_no_job_chooses_whom_input_and_output_signal(ask):
    for command in (SETOWN, SETSIG, SETOWN_EX, SETLEASE, NOTIFY, 2000):
        assert ask("fcntl", 3, command, 77) == errno.EPERM
    assert ask("fcntl", 3, fcntl.F_SETFL, os.O_NONBLOCK) == ALLOW
    assert ask("fcntl", 3, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK) == errno.EPERM
    for name in ("F_DUPFD", "F_DUPFD_CLOEXEC", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETLKW"):
        assert ask("fcntl", 3, getattr(fcntl, name), os.O_ASYNC) == ALLOW
    owner, async_, configure, control = 0x8901, 0x5452, 0x8914, 0x540E
    for accelerator in (False, True):
        for command in (owner, 0x8902, async_, configure, control, 0x5412):
            assert ask("ioctl", 3, command, accelerator=accelerator) == errno.EPERM
        for command in (termios.TCGETS, termios.FIONBIO, termios.FIOCLEX, termios.FIONREAD):
            assert ask("ioctl", 3, command, accelerator=accelerator) == ALLOW
    for command in (0xC00846D6, 0x30000001, 37):  # of a driver
        assert ask("ioctl", 3, command) == errno.EPERM
        assert ask("ioctl", 3, command, accelerator=True) == ALLOW


def test_no_job_loosens_what_its_process_was_given(ask):
    death, dumpable, keep, securebits, memory, subreaper, tracer = (
        1, 4, 8, 28, 35, 36, 0x59616D61,
    )  # fmt: skip
    for option in (death, dumpable, keep, securebits, memory, subreaper, tracer, 53, 62, 999):
        assert ask("prctl", option) == errno.EPERM
    name, no_new_rights, of_memory = 15, 38, 0x53564D41
    for option in (name, no_new_rights, of_memory):
        assert ask("prctl", option) == ALLOW


def test_the_filter_refuses_what_it_does_not_know(ask):
    assert ask(451) == ask(469) == ask(100_000) == errno.ENOSYS
    assert ask(0x40000000 + 59) == errno.ENOSYS  # the second numbering of x86_64
    assert ask(450, architecture=0x40000003) == KILL  # the calls of 32-bit programs


def test_the_filter_allows_ordinary_work(ask):
    refused = {
        number
        for table in vars(syscalls).values()
        if isinstance(table, dict)
        for pair in table.values()
        if isinstance(pair, tuple)
        for number in pair
    }
    allowed = [number for number in range(451) if number not in refused]
    assert len(allowed) > 180
    assert all(ask(number) == ALLOW for number in allowed)


@LINUX
@pytest.mark.parametrize(
    ("column", "header"), [(0, "asm/unistd_64.h"), (1, "asm-generic/unistd.h")]
)
def test_numbers_are_those_of_the_kernel_s_headers(column, header):
    folders = [Path("/usr/include"), Path("/usr/include", sysconfig.get_config_var("MULTIARCH"))]
    found = next((f / header for f in folders if (f / header).exists()), None)
    if found is None:
        pytest.skip("the kernel's headers are not installed")
    pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", found.read_text())
    known = {name: int(number) for name, number in pairs}
    compared = 0
    for table in vars(syscalls).values():
        if isinstance(table, dict):
            for name, numbers in table.items():
                if isinstance(numbers, tuple) and name in known and numbers[column] is not None:
                    assert numbers[column] == known[name], name
                    compared += 1
    assert compared > 80


# --- files ---


def job(scratch, **limits):
    return Job(1, "os:getpid", str(scratch), Limits(**limits))


def test_an_import_folder_is_opened_for_what_can_be_imported(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    for name in ("package/__init__.py", "module.py", "notes.txt", ".env"):
        (tmp_path / name).write_text("")
    (tmp_path / "runs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    rules = [rule for rule in readable.installation() if str(tmp_path) in rule[0]]
    assert (str(tmp_path), NAMES) in rules
    opened = {Path(path).name for path, rights in rules if rights == READ}
    assert opened == {"package", "module.py"}


def test_a_folder_of_installed_packages_is_opened_whole(tmp_path, monkeypatch):
    (tmp_path / "thing-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    rules = [rule for rule in readable.installation() if str(tmp_path) in rule[0]]
    assert rules == [(str(tmp_path), READ)]


def test_the_home_folder_is_no_import_folder(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    (home / "secrets.py").write_text("")
    monkeypatch.setattr(readable, "_home", lambda: home)
    for folder in (tmp_path, home, home / "project"):
        monkeypatch.syspath_prepend(folder)
    paths = {path for path, _ in readable.installation() if str(tmp_path) in path}
    assert paths == {str(home / "project")}


def test_a_job_gets_the_accelerator_only_where_it_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(readable, "accelerator_devices", lambda: ["/dev/nvidia0"])
    plain = dict(readable.of_job(job(tmp_path, readable=("/corpus",))))
    assert set(plain) == {str(tmp_path), "/corpus"}
    cuda = dict(readable.of_job(job(tmp_path, accelerator=True)))
    assert {"/dev/nvidia0", "/proc/driver/nvidia"} <= set(cuda)


def test_a_job_crosses_the_wire_whole(tmp_path):
    sent = job(tmp_path, readable=("/a", "/b"), accelerator=True)
    wire = sent.to_json()
    assert Job.from_json({**wire, "limits": {**wire["limits"], "readable": ["/a", "/b"]}}) == sent


@LINUX
def test_private_data_bounds_a_job_with_an_accelerator(tmp_path):
    """Addresses that hold nothing are free there, as the driver needs it; data are not."""
    here = Path(__file__).parent
    sys.path.insert(0, str(here))
    host = SandboxHost(workers=1, preload=())
    limits = Limits(memory_bytes=1 << 28, accelerator=True)
    try:
        reserve = host.submit("sandbox_jobs:reserves", {}, tmp_path / "a", limits).result(250)
        fill = host.submit("sandbox_jobs:many_small", {}, tmp_path / "b", limits).result(250)
    finally:
        host.close()
        sys.path.remove(str(here))
    assert reserve.value == {"reserved": 1 << 36}
    assert fill.status == "memory"


def test_usage_counts_files_and_follows_no_link(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "data").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/usr")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert usage.excess(str(tmp_path), [0], 200_000) == ""
    assert "bytes" in usage.excess(str(tmp_path), [0], 50_000)


# --- what is left behind ---


def test_a_folder_is_removed_whatever_is_in_it(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("text")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "link").symlink_to(outside)
    (scratch / "locked" / "inner").mkdir(parents=True)
    (scratch / "locked" / "inner" / "file").write_text("")
    (scratch / "locked" / "inner").chmod(0)
    (scratch / "locked").chmod(0)
    os.mkfifo(scratch / "queue")
    before = Path.cwd()
    os.chdir(scratch)
    try:
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(before)
    scratch.chmod(0)
    remove(scratch)
    assert not scratch.exists()
    assert (outside / "precious").read_text() == "text"
    remove(scratch)  # what is not there needs no removing
    (tmp_path / "away").symlink_to(outside)
    remove(tmp_path / "away")
    assert (outside / "precious").exists()


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.safetensors"
    tensors = {"a": torch.zeros(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}
    save_file({**tensors, "none": torch.zeros(0, 2)}, path, metadata={"format": "pt"})
    return path


def test_a_checkpoint_is_taken(weights):
    take_tensors(weights, 1 << 20)


def _replaced(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def _describe(path, shape, offsets, data=b"", encoding="utf-8", **more):
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}, **more}
    text = json.dumps(header).encode(encoding)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p.unlink(), "cannot be opened"),
        (lambda p: (p.rename(p.with_name("x")), p.symlink_to("x")), "cannot be opened"),
        (lambda p: (p.unlink(), os.mkfifo(p)), "plain file"),
        (lambda p: (p.unlink(), p.mkdir()), "plain file"),
        (lambda p: p.with_name("x").hardlink_to(p), "plain file"),
        (lambda p: p.write_bytes(b""), "wrong header"),
        (lambda p: p.write_bytes(b"\xff" * 64), "wrong header"),
        (lambda p: p.write_bytes((50).to_bytes(8, "little") + b"[" * 50), "no safetensors"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), "what its header says"),
        (lambda p: p.write_bytes(p.read_bytes() + b"more"), "what its header says"),
        (lambda p: _replaced(p, b"[3,4]", b"[3,5]"), "another size"),
        (lambda p: _replaced(p, b"[3,4]", b"-3,-4"), "no safetensors"),
        (lambda p: _replaced(p, b"F32", b"F99"), "no safetensors"),
        (lambda p: p.write_bytes(b"x" * (2 << 20)), "exceed"),
        (lambda p: _describe(p, [True], [0, 4], b"x" * 4), "a shape that is none"),
        (lambda p: _describe(p, [1], [False, 4], b"x" * 4), "another size"),
        (lambda p: _describe(p, [1 << 62, 4, 0], [0, 0]), "larger than its file"),
        (lambda p: _describe(p, [1] * 33, [0, 4], b"x" * 4), "too many dimensions"),
        (lambda p: _describe(p, [0], [0, 0], __metadata__=5), "no safetensors"),
        (lambda p: _describe(p, [0], [0, 0], __metadata__={"a": 5}), "metadata"),
        (lambda p: _describe(p, [0], [0, 0], encoding="utf-16"), "no safetensors"),
    ],
)
def test_what_is_no_checkpoint_is_refused(weights, spoil, reason):
    spoil(weights)
    with pytest.raises(InputError, match=reason):
        take_tensors(weights, 1 << 20)


def test_no_shape_takes_long_to_refuse(weights):
    _describe(weights, [2] * 400_000, [0, 4], b"x" * 4)
    start = time.process_time()
    with pytest.raises(InputError, match="no safetensors"):
        take_tensors(weights, 2 << 20)
    assert time.process_time() - start < 2  # about 0.02; multiplying them alone takes many seconds


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a" * 300])
def test_a_name_that_no_file_can_have_is_refused(weights, name):
    with pytest.raises(InputError, match="cannot be opened"):
        take_tensors(weights.with_name(name), 1 << 20)


@LINUX
def test_this_kernel_is_looked_at_without_a_trace():
    before = Path("/proc/self/ns/net").stat().st_ino
    assert isolation_here() == isolation_here()
    assert Path("/proc/self/ns/net").stat().st_ino == before
    assert isolation_here("process") == Isolation()
