"""Jobs that misbehave, each in one way; the tests of the sandbox run them in real processes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def empty(payload, scratch):
    return {}


def echo(payload, scratch):
    return {"payload": payload, "scratch": str(scratch), "cwd": str(Path.cwd())}


def environment(payload, scratch):
    whole = Path("/proc/self/environ").read_text()
    try:
        parent = Path(f"/proc/{os.getppid()}/environ").read_text()
    except PermissionError:  # the template does not let others look into it
        parent = "closed"
    return {"now": dict(os.environ), "start": whole, "template": parent}


def limits(payload, scratch):
    import resource

    names = ("AS", "CPU", "FSIZE", "NOFILE", "CORE")
    soft = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names}
    return {"soft": soft, "fds": sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir())}


def identity(payload, scratch):
    return {"pid": os.getpid(), "group": os.getpgid(0), "session": os.getsid(0)}


def threads(payload, scratch):
    import torch

    return {"torch": torch.get_num_threads(), "hash": hash("a"), "path": sys.path}


def numbers(payload, scratch):
    import random

    import torch

    return {"python": random.random(), "torch": torch.rand(1).item()}


def raises(payload, scratch):
    raise ValueError("seven is not eight")


def raises_half_a_character(payload, scratch):
    raise ValueError("\ud800")


def returns_half_a_character(payload, scratch):
    return {"a\ud800": ["\udfff", {"b": "\ud83d\ude00"}]}


def leaves(payload, scratch):
    sys.exit("left")


def unprintable(payload, scratch):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    raise Odd


def loop(payload, scratch):
    (scratch / "pid").write_text(str(os.getpid()))
    while True:
        pass


def stubborn(payload, scratch):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    (scratch / "pid").write_text(str(os.getpid()))
    time.sleep(600)


def sleeps(payload, scratch):
    (scratch / "pid").write_text(str(os.getpid()))
    time.sleep(payload["seconds"])
    return {"slept": payload["seconds"]}


def holds(payload, scratch):
    """Run until the test says that it may end."""
    (scratch / "here").write_text("1")
    while not (scratch / "go").exists():
        time.sleep(0.01)
    return {}


def once(payload, scratch):
    """Sleep on the first attempt, return at once on the second."""
    marker = scratch / "attempts"
    with marker.open("a") as file:
        file.write("x")
    if len(marker.read_text()) == 1:
        time.sleep(600)
    return {"attempts": len(marker.read_text())}


def notes_attempts(payload, scratch):
    """Note each attempt, and wait for ever."""
    number = 1 + len(list(scratch.glob("attempt*")))
    (scratch / f"attempt{number}").write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def judge_that_waits(payload, scratch, subject):
    """Wait for ever for a subject that is deaf to signals, as this process is."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    (scratch / "pid").write_text(str(os.getpid()))
    subject.ask("wait")
    return {}


def subject_that_waits(scratch):
    return stubborn({}, scratch)


def exits(payload, scratch):
    os._exit(payload["code"])


def segfault(payload, scratch):
    ctypes.string_at(0)


def aborts(payload, scratch):
    os.abort()


def python_memory(payload, scratch):
    return {"size": len(bytearray(1 << 34))}


def torch_memory(payload, scratch):
    import torch

    return {"size": torch.zeros(1 << 32).numel()}


def many_small(payload, scratch):
    held = []
    while True:
        held.append(bytearray(1 << 20))


def big_file(payload, scratch):
    (scratch / "big").write_bytes(b"x" * (4 << 20))
    return {}


def chatter(payload, scratch):
    for _ in range(2000):
        print("a line of output " * 64)
    print("the end", flush=True)
    os._exit(3)


def huge(payload, scratch):
    return {"text": "x" * (9 << 20)}


def floods_reply(payload, scratch):
    while True:
        os.write(3, b"x" * 65536)


def malformed(payload, scratch):
    os.write(3, payload["text"].encode("latin-1"))
    os._exit(0)


def returns_list(payload, scratch):
    return [1, 2]


def returns_nan(payload, scratch):
    return {"loss": float("nan")}


def returns_object(payload, scratch):
    return {"loss": object()}


def closes_everything(payload, scratch):
    os.closerange(0, 64)
    time.sleep(600)


_LIVES = "import time, os; open('{}', 'w').write(str(os.getpid())); time.sleep(600)"


def grandchild(payload, scratch):
    """Leave a process behind, in the group or in a session of its own, and return or stay."""
    path = scratch / "grandchild"
    subprocess.Popen(
        [sys.executable, "-S", "-c", _LIVES.format(path)],
        start_new_session=payload["own_session"],
    )
    while not path.exists() or not path.read_text():
        time.sleep(0.01)
    if payload["stay"]:
        time.sleep(600)
    return {"pid": int(path.read_text())}


def kills_template(payload, scratch):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def link_log(payload, scratch):
    """Put a link in the place of the log, to have it written elsewhere."""
    (scratch / "output.log").unlink()
    (scratch / "output.log").symlink_to(payload["victim"])
    print("overwritten", flush=True)
    return {}


def folder_for_log(payload, scratch):
    """Put a folder in the place of the log, and have the job asked for again."""
    marker = scratch / "attempts"
    with marker.open("a") as file:
        file.write("x")
    if len(marker.read_text()) == 1:
        (scratch / "output.log").unlink()
        (scratch / "output.log").mkdir()
        (scratch / "output.log" / "inside").write_text("text")
        (scratch / "output.log").chmod(payload["mode"])
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def data_set(payload, scratch):
    """Use a library that the template imported: its files must land in the scratch folder."""
    import datasets

    source = scratch / "rows.jsonl"
    source.write_text('{"a": 1}\n{"a": 2}\n')
    rows = datasets.load_dataset("json", data_files={"test": str(source)})["test"]
    cache = Path(rows.cache_files[0]["filename"]).resolve()
    return {"rows": rows["a"][:], "cache": str(cache)}


def reserves(payload, scratch):
    """Reserve addresses without memory behind them, as the driver of an accelerator does."""
    import mmap

    size = 1 << 36
    held = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=0)
    return {"reserved": len(held)}


def check_without_language(payload, scratch, subject):
    """Check a block whose language nobody looked at: what then runs is the sandbox's matter."""
    from genesys_engine.plugins.auditor import run
    from genesys_engine.plugins.auditor.candidate import Candidate

    run.check_source = lambda *_: []
    return run.check_block(**payload, candidate=Candidate(subject)).to_json()


def sees_devices(payload, scratch):
    """Tell which accelerators this process sees, and when it ran."""
    began = time.monotonic()
    time.sleep(payload.get("sleep_s", 0.3))
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return {"seen": seen, "began": began, "ended": time.monotonic()}
