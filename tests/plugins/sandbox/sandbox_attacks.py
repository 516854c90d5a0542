"""What hostile code may try, one attack per function; each runs as a job in the sandbox.

`payload` holds the victims (paths, ports, process ids) that the test has laid out.  An attack that
is stopped raises; one that returns says what it got.
"""

import contextlib
import ctypes
import fcntl
import gc
import json
import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"


def syscall(x86, arm, *arguments):
    """Make a system call behind Python's back; raise what it answers."""
    result = LIBC.syscall(x86 if X86 else arm, *map(ctypes.c_long, arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def pointer(data):
    return ctypes.addressof(ctypes.create_string_buffer(data))


# --- reading ---


def read_environment(payload, scratch):
    return {"python": dict(os.environ), "kernel": Path("/proc/self/environ").read_text()}


def list_home(payload, scratch):
    return {"names": os.listdir(payload["home"])}


def read_home(payload, scratch):
    return {"text": Path(payload["home_file"]).read_bytes().hex()}


def read_store(payload, scratch):
    return {"text": Path(payload["store"]).read_text()}


def read_store_by_descriptor(payload, scratch):
    handle = os.open(payload["store"], os.O_PATH)
    return {"text": Path(f"/proc/self/fd/{handle}").read_text()}


def read_passwords(payload, scratch):
    return {"text": Path("/etc/shadow").read_text() + Path("/etc/passwd").read_text()}


def read_parent_environment(payload, scratch):
    return {"text": Path(f"/proc/{os.getppid()}/environ").read_text()}


def read_parent_memory(payload, scratch):
    with open(f"/proc/{os.getppid()}/mem", "rb") as memory:
        return {"byte": memory.read(1).hex()}


def read_engine_command(payload, scratch):
    return {"text": Path(f"/proc/{payload['engine']}/cmdline").read_text()}


def read_parent_by_syscall(payload, scratch):
    target = ctypes.create_string_buffer(8)
    span = ctypes.create_string_buffer(
        ctypes.addressof(target).to_bytes(8, "little") + (8).to_bytes(8, "little")
    )
    at = ctypes.addressof(span)
    return {"bytes": syscall(310, 270, os.getppid(), at, 1, at, 1, 0)}


def list_processes(payload, scratch):
    return {"names": [name for name in os.listdir("/proc") if name.isdigit()]}


def trace_parent(payload, scratch):
    return {"attached": syscall(101, 117, 16, os.getppid(), 0, 0)}


def read_kernel_log(payload, scratch):
    return {"log": os.open("/dev/kmsg", os.O_RDONLY)}


# --- changing what is outside ---


def write_outside(payload, scratch):
    Path(payload["outside"], "new").write_text("here I was")
    return {}


def overwrite_outside(payload, scratch):
    Path(payload["victim"]).write_text("overwritten")
    return {}


def write_corpus(payload, scratch):
    assert Path(payload["corpus"], "text").read_text() == "text"  # reading it is meant
    Path(payload["corpus"], "text").write_text("poison")
    return {}


def empty_corpus(payload, scratch):
    os.open(Path(payload["corpus"], "text"), os.O_RDONLY | os.O_TRUNC)
    return {}


def truncate_outside(payload, scratch):
    os.truncate(payload["victim"], 0)
    return {}


def chmod_outside(payload, scratch):
    os.chmod(payload["victim"], 0o777)
    return {}


def chmod_corpus_by_descriptor(payload, scratch):
    os.fchmod(os.open(Path(payload["corpus"], "text"), os.O_RDONLY), 0o777)
    return {}


def chown_outside(payload, scratch):
    os.chown(payload["victim"], os.getuid(), os.getgid())
    return {}


def touch_outside(payload, scratch):
    os.utime(payload["victim"], (0, 0))
    return {}


def label_outside(payload, scratch):
    os.setxattr(payload["victim"], "user.mark", b"here I was")
    return {}


def link_from_outside(payload, scratch):
    os.link(payload["victim"], scratch / "mine")
    return {}


def move_from_outside(payload, scratch):
    os.rename(payload["victim"], scratch / "mine")
    return {}


def delete_outside(payload, scratch):
    os.unlink(payload["victim"])
    return {}


def delete_the_scratch_folder_of_others(payload, scratch):
    os.rmdir(payload["outside"])
    return {}


def link_in_scratch(payload, scratch):
    (scratch / "model.safetensors").symlink_to(payload["victim"])
    return {}


def queue_in_scratch(payload, scratch):
    os.mkfifo(scratch / "model.safetensors")
    return {}


def climb_out(payload, scratch):
    os.chdir("/")
    (scratch / ".." / ".." / "outside" / "new").write_text("here I was")
    return {}


# --- the network ---


def connect_tcp(payload, scratch):
    socket.create_connection(("127.0.0.1", payload["tcp"]), timeout=2).send(b"hello")
    return {}


def listen_tcp(payload, scratch):
    return {"port": socket.create_server(("127.0.0.1", 0)).getsockname()[1]}


def send_udp(payload, scratch):
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", payload["udp"]))
    return {}


def connect_unix(payload, scratch):
    socket.socket(socket.AF_UNIX).connect(payload["unix"])
    return {}


def connect_abstract(payload, scratch):
    socket.socket(socket.AF_UNIX).connect("\0" + payload["abstract"])
    return {}


def ask_dns(payload, scratch):
    return {"address": socket.gethostbyname("example.org")}


def netlink(payload, scratch):
    return {"socket": socket.socket(16, socket.SOCK_RAW).fileno()}


def socket_by_syscall(payload, scratch):
    return {"socket": syscall(41, 198, socket.AF_INET, socket.SOCK_STREAM, 0)}


def datagram_pair(payload, scratch):
    one, _ = socket.socketpair(type=socket.SOCK_DGRAM)
    one.sendto(b"hello", payload["datagram"])
    return {}


def packet_pair(payload, scratch):
    return {"socket": socket.socketpair(type=socket.SOCK_SEQPACKET)[0].fileno()}


def send_to_an_address(payload, scratch):
    one, _ = socket.socketpair()
    return {"sent": one.sendto(b"hello", payload["datagram"])}


def send_a_message_to_an_address(payload, scratch):
    one, _ = socket.socketpair()
    return {"sent": one.sendmsg([b"hello"], [], 0, payload["datagram"])}


def connect_a_pair(payload, scratch):
    socket.socketpair()[0].connect(payload["unix"])
    return {}


def name_a_pair(payload, scratch):
    socket.socketpair()[0].bind("\0" + payload["abstract"] + "-mine")
    return {}


def bring_up_network(payload, scratch):
    """A pair of sockets is left open; with rights in its namespace it could configure devices."""
    one, _ = socket.socketpair()
    flags = b"lo".ljust(16, b"\0") + (1).to_bytes(2, "little") + bytes(22)
    fcntl.ioctl(one.fileno(), 0x8914, flags)
    return {}


# --- too much ---


def fork_bomb(payload, scratch):
    while True:
        os.fork()


def fork_by_syscall(payload, scratch):
    if syscall(56, 220, signal.SIGCHLD, 0, 0, 0, 0) == 0:
        time.sleep(600)
    return {}


def thread_bomb(payload, scratch):
    threading.stack_size(64 << 10)
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def memory_bomb(payload, scratch):
    held = []
    while True:
        held.append(bytearray(16 << 20))


def mapping_bomb(payload, scratch):
    held = []
    while True:
        held.append(mmap.mmap(-1, 64 << 20))


def shared_memory_bomb(payload, scratch):
    return {"segment": syscall(29, 194, 0, 1 << 30, 0o1600)}


def anonymous_file_bomb(payload, scratch):
    return {"file": os.memfd_create("memory")}


def shared_folder(payload, scratch):
    Path("/dev/shm/left-behind").write_bytes(bytes(1 << 20))
    return {}


def big_file(payload, scratch):
    with (scratch / "big").open("wb") as file:
        while True:
            file.write(bytes(1 << 20))


def file_bomb(payload, scratch):
    for number in range(10**7):
        (scratch / str(number)).touch()
    return {}


def disk_bomb(payload, scratch):
    for number in range(10**7):
        (scratch / str(number)).write_bytes(os.urandom(1 << 20))
    return {}


def hidden_disk_bomb(payload, scratch):
    held = []
    while True:  # deleted, but open: no listing shows it
        file = (scratch / "hidden").open("wb")
        (scratch / "hidden").unlink()
        file.write(os.urandom(4 << 20))
        held.append(file)


def reserved_disk_bomb(payload, scratch):
    held = []
    for _ in range(20):  # reserved, not written
        file = (scratch / "hidden").open("wb")
        (scratch / "hidden").unlink()
        os.posix_fallocate(file.fileno(), 0, 8 << 20)
        held.append(file)
    time.sleep(600)


def nested_folders(payload, scratch):
    for _ in range(1200):  # more than Python calls itself
        os.mkdir("deeper", 0o700)
        os.chdir("deeper")
    os.mkdir("locked", 0)
    return {}


def open_file_bomb(payload, scratch):
    held = []
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))


def output_flood(payload, scratch):
    while True:
        os.write(1, b"x" * (1 << 16))


def raise_limits(payload, scratch):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {}


# --- outliving the deadline ---


def sleep_forever(payload, scratch):
    time.sleep(600)


def ignore_signals(payload, scratch):
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        time.sleep(600)


def double_fork(payload, scratch):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    return {}


def leave_the_group(payload, scratch):
    os.setpgid(0, os.getppid())
    return {}


def threads_that_stay(payload, scratch):
    for _ in range(8):
        threading.Thread(target=time.sleep, args=(600,)).start()
    return {"stays": True}


def hang_at_exit(payload, scratch):
    import atexit

    atexit.register(time.sleep, 600)
    return {"left": True}


def stop_myself(payload, scratch):
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


# --- other processes and programs ---


def signal_parent(payload, scratch):
    os.kill(os.getppid(), signal.SIGKILL)
    return {}


def signal_engine(payload, scratch):
    os.kill(payload["engine"], signal.SIGTERM)
    return {}


def signal_everybody(payload, scratch):
    os.kill(-1, signal.SIGKILL)
    return {}


def signal_by_handle(payload, scratch):
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), signal.SIGKILL)
    return {}


def signal_by_input(payload, scratch):
    """Have the kernel signal the engine whenever a pipe has something to read."""
    read, write = os.pipe()
    fcntl.fcntl(read, 10, signal.SIGTERM)  # F_SETSIG
    fcntl.fcntl(read, 8, payload["engine"])  # F_SETOWN
    fcntl.fcntl(read, fcntl.F_SETFL, os.O_ASYNC)
    os.write(write, b"now")
    return {}


def own_input_for_another(payload, scratch):
    fcntl.fcntl(os.pipe()[0], 8, payload["engine"])
    return {}


def own_input_for_a_thread_of_another(payload, scratch):
    fcntl.fcntl(os.pipe()[0], 15, struct.pack("ii", 1, payload["engine"]))  # F_SETOWN_EX
    return {}


def own_socket_for_another(payload, scratch):
    pair = socket.socketpair()
    fcntl.ioctl(pair[0], 0x8901, struct.pack("i", payload["engine"]))  # FIOSETOWN
    return {}


def own_socket_for_a_group(payload, scratch):
    pair = socket.socketpair()
    fcntl.ioctl(pair[0], 0x8902, struct.pack("i", -payload["engine"]))  # SIOCSPGRP
    return {}


def asynchronous_input(payload, scratch):
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETFL, os.O_ASYNC)
    return {}


def asynchronous_input_by_ioctl(payload, scratch):
    pair = socket.socketpair()
    fcntl.ioctl(pair[0], 0x5452, struct.pack("i", 1))  # FIOASYNC
    return {}


def lease_a_file(payload, scratch):
    (scratch / "file").write_text("text")
    fcntl.fcntl(os.open(scratch / "file", os.O_RDONLY), 1024, fcntl.F_RDLCK)  # F_SETLEASE
    return {}


def watch_a_folder(payload, scratch):
    fcntl.fcntl(os.open(scratch, os.O_RDONLY), 1026, 0x80000002)  # F_NOTIFY
    return {}


def outlive_my_parent(payload, scratch):
    return {"answer": control(1, 0)}  # PR_SET_PDEATHSIG


def close_myself_to_others(payload, scratch):
    return {"answer": control(4, 0)}  # PR_SET_DUMPABLE


def let_others_trace_me(payload, scratch):
    return {"answer": control(0x59616D61, -1)}  # PR_SET_PTRACER, to any


def adopt_orphans(payload, scratch):
    return {"answer": control(36, 1)}  # PR_SET_CHILD_SUBREAPER


def keep_my_rights(payload, scratch):
    return {"answer": control(8, 1)}  # PR_SET_KEEPCAPS


def speculate(payload, scratch):
    return {"answer": control(53, 0, 2)}  # PR_SET_SPECULATION_CTRL: enable


def control(option, *arguments):
    """Ask prctl, which is the same through libc and by its number."""
    more = [ctypes.c_long(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    if LIBC.prctl(option, *more) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return 0


def kill_myself(payload, scratch):
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def kill_my_group(payload, scratch):
    os.kill(0, signal.SIGKILL)
    return {}


def kill_myself_by_a_timer(payload, scratch):
    event = struct.pack("qii", 0, signal.SIGKILL, 0) + bytes(48)
    timer = ctypes.create_string_buffer(8)
    return {"timer": syscall(222, 107, 1, pointer(event), ctypes.addressof(timer))}


def kill_myself_by_a_limit(payload, scratch):
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass


def limit_parent(payload, scratch):
    resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
    return {}


def slow_parent(payload, scratch):
    os.sched_setaffinity(os.getppid(), {0})
    return {}


def execute(payload, scratch):
    os.execv("/bin/sh", ["sh", "-c", "echo program"])


def start_program(payload, scratch):
    return {"text": subprocess.run(["/bin/sh", "-c", "id"], capture_output=True).stdout.hex()}


def spawn_program(payload, scratch):
    return {"pid": os.posix_spawn("/bin/sh", ["sh", "-c", "sleep 600"], {})}


def libc_system(payload, scratch):
    code = LIBC.system(f"echo program > {scratch}/program".encode())
    return {"started": code == 0, "exists": (scratch / "program").exists()}


def libc_mount(payload, scratch):
    if LIBC.mount(b"none", str(scratch).encode(), b"tmpfs", 0, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    return {}


def new_namespaces(payload, scratch):
    if LIBC.unshare(0x10000000 | 0x00020000) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return {}


def become_somebody(payload, scratch):
    if LIBC.setuid(12345) < 0:
        raise OSError(ctypes.get_errno(), "setuid")
    return {}


def kernel_ring(payload, scratch):
    return {"ring": syscall(425, 425, 4, pointer(bytes(256)))}


def kernel_program(payload, scratch):
    return {"program": syscall(321, 280, 0, pointer(bytes(128)), 128)}


def kernel_keys(payload, scratch):
    return {"key": syscall(250, 219, 0, -3, 1)}


def every_refused_call(payload, scratch):
    """Make each call that the filter refuses whole, with nothing; say how it is answered."""
    answers = {}
    for name, numbers in payload["calls"].items():
        if None not in numbers or numbers[0 if X86 else 1] is not None:
            try:
                answers[name] = syscall(*(each or 0 for each in numbers), 0, 0, 0, 0, 0, 0)
            except OSError as error:
                answers[name] = -error.errno
    return answers


def newest_calls(payload, scratch):
    """Calls that are younger than the filter's list: file_setattr, and one that is not yet."""
    return {"answer": syscall(469, 469, 0, 0, 0, 0, 0) + syscall(900, 900)}


# --- the checker and its reply ---


def patch_torch(payload, scratch):
    import torch

    torch.zeros = torch.nn.Linear.forward = lambda *_: "patched"
    json.loads = os.write = lambda *_: "patched"
    os.environ["HF_HUB_OFFLINE"] = "0"
    raise RuntimeError("patched")


def look_for_patches(payload, scratch):
    import torch

    return {"zeros": torch.zeros(2).tolist(), "loads": json.loads("1"), "env": dict(os.environ)}


def patch_the_worker(payload, scratch):
    from genesys_engine.plugins.sandbox import child

    child._encode = lambda _: b'{"status": "ok", "value": {"passed": true}}'
    return {}


def patch_the_encoder(payload, scratch):
    json.dumps = lambda *_, **__: '{"status": "ok", "value": {"passed": true}}'
    return {}


def forge_reply(payload, scratch):
    os.write(3, b'{"status": "ok", "value": {"passed": true}}')
    os._exit(0)


def forge_seal(payload, scratch):
    os.write(3, b'{"status": "ok", "value": {"passed": true}, "seal": "' + b"0" * 32 + b'"}')
    os._exit(0)


def reply_twice(payload, scratch):
    os.write(3, b'{"status": "ok", "value": {"passed": true}}')
    return {"passed": False}


def steal_the_beginning(payload, scratch):
    """Read back what the worker wrote before us: without it the fault would be the engine's."""
    handle = os.open("/proc/self/fd/3", os.O_RDONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):  # the template was quicker
        os.read(handle, 1)
    os._exit(70)


def huge_reply(payload, scratch):
    return {"x": "x" * (9 << 20)}


def endless_reply(payload, scratch):
    while True:
        os.write(3, b"[" * 65536)


def deep_reply(payload, scratch):
    os.write(3, b'{"status": "ok", "value": ' + b'{"a": ' * 100_000)
    os._exit(0)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["HOME"], "unpickled"),)


def pickled_reply(payload, scratch):
    os.write(3, pickle.dumps(Bomb()))
    os._exit(0)


def pickle_in_reply(payload, scratch):
    return {"weights": pickle.dumps(Bomb(), 0).decode("latin-1")}


class Noisy:
    def __del__(self):
        raise RuntimeError("raised in __del__")


def raise_in_del(payload, scratch):
    Noisy()
    cycle = [Noisy()]
    cycle.append(cycle)
    del cycle
    gc.collect()
    return {"done": True}


def exhaust_the_stack(payload, scratch):
    return exhaust_the_stack(payload, scratch)


def overflow_the_stack(payload, scratch):
    sys.setrecursionlimit(10**9)
    threading.stack_size(0)

    class Deep:
        def __repr__(self):
            return repr(self)

    return {"text": repr(Deep())}


def close_everything(payload, scratch):
    os.closerange(0, 1024)
    return {}


def leave_quietly(payload, scratch):
    os._exit(0)


def leave_loudly(payload, scratch):
    raise SystemExit(0)


# --- what others import or read later ---


def write_pth(payload, scratch):
    import torch

    packages = Path(torch.__file__).parent.parent
    (packages / "evil.pth").write_text("import os")
    return {}


def write_sitecustomize(payload, scratch):
    for folder in sys.path:
        try:
            Path(folder, "sitecustomize.py").write_text("")
        except OSError:
            continue
        return {"folder": folder}
    raise PermissionError("in no import folder")


def change_the_checker(payload, scratch):
    from genesys_engine.plugins.auditor import run

    with open(run.__file__, "a") as file:
        file.write("\n")
    return {}


def plant_modules(payload, scratch):
    for name in ("colorsys", "sitecustomize", "torch", "genesys_engine"):
        (scratch / f"{name}.py").write_text("PLANTED = True\n")
    return {}


def import_planted(payload, scratch):
    import colorsys

    return {"planted": hasattr(colorsys, "PLANTED"), "path": sys.path}


def swap_after_reply(payload, scratch):
    """Go on changing the file that the parent is about to read."""
    weights = scratch / "model.safetensors"
    weights.write_bytes(b"good")

    def swap():
        while True:
            weights.write_bytes(os.urandom(64))

    threading.Thread(target=swap, daemon=True).start()
    return {"checkpoint": weights.name}
