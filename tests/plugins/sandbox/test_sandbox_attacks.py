"""Attacks in real processes: each has its outcome, harms nothing outside, and leaves nothing."""

import errno
import json
import os
import pwd
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from sandbox_support import LIMITS, assert_nothing_lives, need

from genesys_engine.plugins.auditor import judged
from genesys_engine.plugins.sandbox import Limits, SandboxHost, syscalls
from genesys_engine.plugins.sandbox.scratch import remove

SECRET = "sk-never-seen"
DENIED = "PermissionError"

# attack -> (status, what the reason says); all of them need Landlock and seccomp
STOPPED = {
    "list_home": ("error", DENIED),
    "read_home": ("error", DENIED),
    "read_store": ("error", DENIED),
    "read_store_by_descriptor": ("error", DENIED),
    "read_passwords": ("error", DENIED),
    "read_parent_environment": ("error", DENIED),
    "read_parent_memory": ("error", DENIED),
    "read_engine_command": ("error", DENIED),
    "read_parent_by_syscall": ("error", DENIED),
    "list_processes": ("error", DENIED),
    "trace_parent": ("error", DENIED),
    "read_kernel_log": ("error", DENIED),
    "write_outside": ("error", DENIED),
    "overwrite_outside": ("error", DENIED),
    "write_corpus": ("error", DENIED),
    "empty_corpus": ("error", DENIED),
    "truncate_outside": ("error", DENIED),
    "chmod_outside": ("error", DENIED),
    "chmod_corpus_by_descriptor": ("error", DENIED),
    "chown_outside": ("error", DENIED),
    "touch_outside": ("error", DENIED),
    "label_outside": ("error", DENIED),
    "link_from_outside": ("error", "Error"),  # "cross-device", says Landlock
    "move_from_outside": ("error", "Error"),
    "delete_outside": ("error", DENIED),
    "delete_the_scratch_folder_of_others": ("error", DENIED),
    "link_in_scratch": ("error", DENIED),
    "queue_in_scratch": ("error", DENIED),
    "climb_out": ("error", DENIED),
    "connect_tcp": ("error", DENIED),
    "listen_tcp": ("error", DENIED),
    "send_udp": ("error", DENIED),
    "connect_unix": ("error", DENIED),
    "connect_abstract": ("error", DENIED),
    "ask_dns": ("error", "gaierror"),
    "netlink": ("error", DENIED),
    "socket_by_syscall": ("error", DENIED),
    "bring_up_network": ("error", DENIED),
    "datagram_pair": ("error", DENIED),
    "packet_pair": ("error", DENIED),
    "send_to_an_address": ("error", DENIED),
    "send_a_message_to_an_address": ("error", DENIED),
    "connect_a_pair": ("error", DENIED),
    "name_a_pair": ("error", DENIED),
    "fork_bomb": ("error", DENIED),
    "fork_by_syscall": ("error", DENIED),
    "shared_memory_bomb": ("error", DENIED),
    "anonymous_file_bomb": ("error", DENIED),
    "shared_folder": ("error", DENIED),
    "double_fork": ("error", DENIED),
    "leave_the_group": ("error", DENIED),
    "signal_parent": ("error", DENIED),
    "signal_engine": ("error", DENIED),
    "signal_everybody": ("error", DENIED),
    "signal_by_handle": ("error", DENIED),
    "signal_by_input": ("error", DENIED),
    "own_input_for_another": ("error", DENIED),
    "own_input_for_a_thread_of_another": ("error", DENIED),
    "own_socket_for_another": ("error", DENIED),
    "own_socket_for_a_group": ("error", DENIED),
    "asynchronous_input": ("error", DENIED),
    "asynchronous_input_by_ioctl": ("error", DENIED),
    "lease_a_file": ("error", DENIED),
    "watch_a_folder": ("error", DENIED),
    "outlive_my_parent": ("error", DENIED),
    "close_myself_to_others": ("error", DENIED),
    "let_others_trace_me": ("error", DENIED),
    "adopt_orphans": ("error", DENIED),
    "keep_my_rights": ("error", DENIED),
    "speculate": ("error", DENIED),
    "kill_myself": ("error", DENIED),
    "kill_my_group": ("error", DENIED),
    "kill_myself_by_a_timer": ("error", DENIED),
    "kill_myself_by_a_limit": ("error", "PermissionError|not allowed"),
    "limit_parent": ("error", DENIED),
    "slow_parent": ("error", DENIED),
    "execute": ("error", DENIED),
    "start_program": ("error", DENIED),
    "spawn_program": ("error", DENIED),
    "libc_mount": ("error", DENIED),
    "new_namespaces": ("error", DENIED),
    "become_somebody": ("error", DENIED),
    "kernel_ring": ("error", DENIED),
    "kernel_program": ("error", DENIED),
    "kernel_keys": ("error", DENIED),
    "newest_calls": ("error", "not implemented"),
    "write_pth": ("error", DENIED),
    "write_sitecustomize": ("error", DENIED),
    "change_the_checker": ("error", DENIED),
}
# attack -> the same; these hold at every level
CONTAINED = {
    "memory_bomb": ("memory", "MemoryError"),
    "mapping_bomb": ("memory", "Cannot allocate memory"),
    "big_file": ("error", "File too large"),
    "file_bomb": ("crashed", "files in its scratch folder"),
    "disk_bomb": ("crashed", "bytes written to the disk"),
    "hidden_disk_bomb": ("crashed", "bytes written to the disk"),
    "reserved_disk_bomb": ("crashed", "bytes written to the disk"),
    "nested_folders": ("ok", ""),
    "open_file_bomb": ("error", "Too many open files"),
    "output_flood": ("timeout", "longer than"),
    "raise_limits": ("error", "not allowed to raise maximum limit"),
    "sleep_forever": ("timeout", "in sleep_forever"),
    "ignore_signals": ("timeout", "longer than"),
    "stop_myself": ("timeout", "longer than"),
    "threads_that_stay": ("ok", ""),
    "hang_at_exit": ("ok", ""),
    "patch_torch": ("crashed", "without a reply"),
    "patch_the_worker": ("ok", ""),  # what ends the job was looked up before it began
    "patch_the_encoder": ("bad_reply", "forged"),
    "forge_reply": ("bad_reply", "forged"),
    "forge_seal": ("bad_reply", "forged"),
    "reply_twice": ("bad_reply", "not JSON"),
    "huge_reply": ("bad_reply", "exceeds"),
    "endless_reply": ("bad_reply", "exceeds"),
    "deep_reply": ("bad_reply", "not JSON"),
    "pickled_reply": ("bad_reply", "reply is not"),
    "pickle_in_reply": ("ok", ""),
    "raise_in_del": ("ok", ""),
    "exhaust_the_stack": ("error", "RecursionError"),
    "overflow_the_stack": ("crashed", "SIGSEGV"),
    "close_everything": ("crashed", "without a reply"),
    "leave_quietly": ("crashed", "without a reply"),
    "leave_loudly": ("error", "SystemExit"),
    "plant_modules": ("ok", ""),
    "swap_after_reply": ("ok", ""),
}
AT_DEADLINE = {name for name, (status, _) in CONTAINED.items() if status == "timeout"}


PRELOAD = ("torch", "torch._dynamo", "genesys_engine.plugins.auditor.run")


@pytest.fixture(scope="module")
def host():
    os.environ["SECRET_API_KEY"] = SECRET
    host = SandboxHost(workers=1, preload=PRELOAD)
    yield host
    host.close()
    del os.environ["SECRET_API_KEY"]


@pytest.fixture(scope="module")
def lowest(host):
    """A host without what only some kernels offer."""
    lowest = SandboxHost(workers=1, preload=PRELOAD, at_most="process")
    yield lowest
    lowest.close()


@pytest.mark.parametrize("name", STOPPED)
def test_what_the_kernel_refuses(attack, name):
    need("standard")
    if name.endswith("_home") and not Path(pwd.getpwuid(os.getuid()).pw_dir).is_dir():
        pytest.skip("this user has no home folder")
    status, reason = STOPPED[name]
    outcome = attack(name)
    assert outcome.status == status, outcome
    assert re.search(reason, outcome.reason), outcome


@pytest.mark.parametrize("level", ["host", "lowest"])
@pytest.mark.parametrize("name", CONTAINED)
def test_what_is_contained(attack, name, level, tmp_path, request):
    if name.endswith(("file_bomb", "disk_bomb")) and sys.platform != "linux":
        pytest.skip("no /proc here to tell what a process has written")
    status, reason = CONTAINED[name]
    host = request.getfixturevalue(level)
    outcome = attack(name, wall_s=0.7 if name in AT_DEADLINE else 30, host=host)
    assert outcome.status == status, outcome
    assert reason in outcome.reason, outcome
    remove(tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_thread_bomb_is_bounded(attack):
    """Where it ends depends on which allocation fails first; that it ends does not."""
    outcome = attack("thread_bomb", wall_s=5)
    assert outcome.status in ("error", "memory", "crashed", "timeout"), outcome


def test_every_attack_has_an_outcome():
    import sandbox_attacks

    told = {"read_environment", "look_for_patches", "import_planted", "libc_system"}
    told |= {"steal_the_beginning", "thread_bomb", "every_refused_call", *STOPPED, *CONTAINED}
    helpers = {"syscall", "pointer", "control"}
    written = {
        name
        for name, found in vars(sandbox_attacks).items()
        if getattr(found, "__module__", "") == "sandbox_attacks" and callable(found)
        if not isinstance(found, type)
    }
    assert written - helpers == told
    assert len(told) >= 35


# --- attacks whose traces are looked for ---


def test_no_key_is_seen(attack):
    outcome = attack("read_environment")
    assert outcome.status == "ok"
    assert SECRET not in json.dumps(outcome.value)


def test_a_patched_library_is_patched_in_one_job_only(attack):
    assert attack("patch_torch").status == "crashed"
    seen = attack("look_for_patches").value
    assert (seen["zeros"], seen["loads"], seen["env"]["HF_HUB_OFFLINE"]) == ([0.0, 0.0], 1, "1")


def test_a_planted_module_is_imported_by_nobody(attack, tmp_path):
    assert attack("plant_modules").status == "ok"
    seen = attack("import_planted").value
    assert not seen["planted"]
    assert not any(entry in ("", ".", str(tmp_path / "scratch/scratch")) for entry in seen["path"])


def test_no_program_starts_through_libc(attack):
    need("standard")
    assert attack("libc_system").value == {"started": False, "exists": False}


@pytest.mark.parametrize("compiles", [False, True])
def test_the_kernel_refuses_every_call_of_the_tables(host, tmp_path, compiles):
    """Each by its number; one that this kernel lacks is "no such call" without a filter too."""
    need("standard")
    tables = [syscalls.SESSIONS if compiles else syscalls.PROGRAMS, *syscalls.REFUSED]
    tables += [syscalls.SOCKETS, syscalls.OPAQUE]
    calls = {name: pair for table in tables for name, pair in table.items()}
    target, limits = "sandbox_attacks:every_refused_call", Limits(**LIMITS, compiles=compiles)
    outcome = host.submit(target, {"calls": calls}, tmp_path / "calls", limits).result(250)
    assert len(outcome.value) > 120
    allowed = {
        name: answer
        for name, answer in outcome.value.items()
        if -answer not in (errno.EPERM, errno.ENOSYS, errno.EACCES)
    }
    assert allowed == {}


def test_a_pickle_is_a_string(attack, tmp_path):
    assert isinstance(attack("pickle_in_reply").value["weights"], str)
    assert attack("pickled_reply").status == "bad_reply"
    assert not list(tmp_path.rglob("unpickled"))


def test_what_a_job_has_left_changes_no_more(attack, tmp_path):
    assert attack("swap_after_reply").status == "ok"
    weights = tmp_path / "scratch/scratch/model.safetensors"
    before = (weights.read_bytes(), weights.stat().st_mtime_ns)
    time.sleep(0.3)
    assert (weights.read_bytes(), weights.stat().st_mtime_ns) == before


def test_the_log_of_a_flood_is_bounded(attack, tmp_path):
    attack("output_flood", wall_s=0.7)
    assert (tmp_path / "scratch/scratch/output.log").stat().st_size <= 256 << 10


def test_a_worker_s_first_words_cannot_be_taken_back(attack):
    # Whoever steals them gets himself asked again, or blamed; never a good result.
    assert attack("steal_the_beginning").status in ("crashed", "infrastructure")


BLOCK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc=(0, 1), device=None, dtype=None):
        super().__init__()
        self.up = nn.Linear(embed_dim, embed_dim, device=device, dtype=dtype)

    def __del__(self):
        raise RuntimeError("raised in __del__")

    def forward(self, X, **Z):
        {body}
        return X + self.up(X), Z
"""


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        ("raise SystemExit(0)", ("ok", "error")),
        ("import os; os._exit(0)", ("crashed",)),
        ("return self.forward(X, **Z)", ("ok", "error")),
        ("raise KeyboardInterrupt", ("ok", "error")),
        ("import os; os.kill(os.getpid(), 6)", ("crashed",)),
        ("open('/etc/passwd', 'a')", ("ok", "error")),
    ],
)
def test_a_hostile_block_passes_no_check(host, tmp_path, body, statuses):
    payload = {"source": BLOCK.format(body=body), "vocab_size": 64, "seed": 0, "scales": ["0.2M"]}
    target = "genesys_engine.plugins.check_job:check"
    outcome = host.submit(target, payload, tmp_path / "check", judged(Limits(**LIMITS))).result(250)
    assert "patch.outside" in {each["code"] for each in outcome.value["findings"]}, outcome
    assert not outcome.value["passed"]
    # And had the language let it through:
    target = "sandbox_jobs:check_without_language"
    outcome = host.submit(target, payload, tmp_path / "loose", judged(Limits(**LIMITS))).result(250)
    assert outcome.status in statuses, outcome
    if outcome.status == "ok":
        assert not outcome.value["passed"]
    assert_nothing_lives(host.template_pid)


def test_the_engine_is_not_signalled(attack):
    need("standard")
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        attack("signal_engine")
        time.sleep(0.1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not seen
