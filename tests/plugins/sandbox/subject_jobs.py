"""Judges, and subjects that misbehave, each in one way; run in real processes."""

import ctypes
import gc
import json
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import torch

from genesys_engine.plugins.sandbox.subject import Question, SubjectEnded, SubjectRaised

LINK = 3  # the descriptor of the subject's end


def empty(payload, scratch, subject):
    return {}


def relay(payload, scratch, subject):
    """Ask what the payload says, and return what comes."""
    tensors = [torch.arange(size, dtype=torch.float32) for size in payload.get("sizes", ())]
    arguments = payload.get("arguments", {})
    answer, made = subject.ask(payload["operation"], arguments, tensors)
    shapes = [list(t.shape) for t in made]
    return {"answer": answer, "shapes": shapes, "sums": [float(t.double().sum()) for t in made]}


def raised(payload, scratch, subject):
    """Return what an operation raised, as data."""
    try:
        subject.ask(payload["operation"])
    except SubjectRaised as error:
        return error.raised.to_json()
    return {}


def several(payload, scratch, subject):
    """Ask four questions in one message; the third one raises."""
    asked = [Question("echo", {"n": 1}, [torch.ones(3)]), Question("echo", {"n": 2})]
    replies = subject.ask_all([*asked, Question("in_text"), Question("echo", {"n": 4})])
    found = {"answers": [], "sums": []}
    try:
        for answer, made in replies:
            found["answers"].append(answer)
            found["sums"].append([float(each.sum()) for each in made])
    except SubjectRaised as error:
        found["raised"] = error.raised.kinds[0]
    return found


def goes_on(payload, scratch, subject):
    """Go on without the subject."""
    with suppress(SubjectEnded):
        subject.ask("crash")
    return {"gone": True}


def takes_long(payload, scratch, subject):
    subject.ask("tell")
    time.sleep(600)


def every_dtype(payload, scratch, subject):
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool)
    kinds += (torch.complex64, torch.complex128, torch.uint8, torch.int32)
    sent = [torch.tensor([[0, 1, 1]]).to(kind) for kind in kinds]
    sent += [torch.tensor(7.0), torch.empty(0, 3), torch.arange(6.0).view(2, 3).t()]
    _, back = subject.ask("echo", {}, sent)
    same = [torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(sent, back, strict=True)]
    return {"same": same}


def many(payload, scratch, subject):
    for number in range(payload["count"]):
        answer, (back,) = subject.ask("echo", {"n": number}, [torch.full((1000,), float(number))])
        assert answer == {"n": number}
        assert float(back.sum()) == 1000.0 * number
    return {}


def changed_later(payload, scratch, subject):
    """Look at a tensor again after its sender has changed the memory that it came through."""
    _, (first,) = subject.ask("scribbles")
    before = first.clone()
    time.sleep(0.2)
    return {"same": bool(torch.equal(first, before)), "sum": float(first.sum())}


def ask_both(payload, scratch, one, other):
    """Have one subject keep something, and ask the other for it."""
    one.ask("keep", {"word": "first"})
    heard, _ = other.ask("kept")
    return {"heard": heard, "told": [each.ask("tell")[0] for each in (one, other)]}


def maps_of_both(payload, scratch, one, other):
    """Say of each subject, and of this process, how much memory it shares with others."""
    return {"subjects": [each.ask("shared")[0]["bytes"] for each in (one, other)], "own": _shared()}


def lose_the_second(payload, scratch, one, other):
    one.ask("tell")
    other.ask(payload["operation"], payload.get("arguments", {}))
    return {}


# --- the subjects ---


def operations(scratch):
    return {
        name: operation
        for name, operation in globals().items()
        if getattr(operation, "is_operation", False)
    } | {"tell": lambda arguments, tensors: (_facts(scratch), ())}


def operation(function):
    function.is_operation = True
    return function


def _shared():
    """Return the bytes that this process maps as shared and that are no file of a folder."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        if rights.endswith("s") and ("/dev/zero" in line or "/memfd" in line):
            begin, end = (int(each, 16) for each in span.split("-"))
            total += end - begin
    return total


@operation
def shared(arguments, tensors):
    return {"bytes": _shared()}, ()


def raises_on_start(scratch):
    raise ValueError("no operations today")


def _facts(scratch):
    return {
        "pid": os.getpid(),
        "scratch": str(scratch),
        "cwd": str(Path.cwd()),
        "home": os.environ["HOME"],
        "fds": sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()),
        "session": os.getsid(0),
    }


@operation
def echo(arguments, tensors):
    return arguments, tensors


KEPT = []


@operation
def keep(arguments, tensors):
    KEPT.append(arguments["word"])
    return {}, ()


@operation
def kept(arguments, tensors):
    return {"words": KEPT}, ()


@operation
def zeros(arguments, tensors):
    return {}, [torch.zeros(*shape) for shape in arguments["shapes"]]


@operation
def crash(arguments, tensors):
    ctypes.string_at(0)


@operation
def killed(arguments, tensors):
    os.kill(os.getpid(), getattr(signal, arguments["signal"]))
    time.sleep(60)


@operation
def leaves(arguments, tensors):
    os._exit(arguments["code"])


@operation
def hangs(arguments, tensors):
    while True:
        pass


@operation
def allocates(arguments, tensors):
    return {}, [torch.zeros(1 << 40)]


@operation
def computes(arguments, tensors):
    held = torch.zeros(3, 5)
    return {}, [held @ held]


def in_text(arguments, tensors):
    space = {"torch": torch}
    source = "def f(x):\n    y = x.sum()\n    return y @ x\n"
    exec(compile(source, "<text>", "exec"), space)
    return {}, [space["f"](torch.zeros(2, 3))]


operation(in_text)


class Strange(Exception):
    def __str__(self):
        raise RuntimeError("not even this")


@operation
def strange(arguments, tensors):
    try:
        raise KeyError("\x1b[31mred\x00")
    except KeyError as error:
        raise Strange from error


@operation
def exits(arguments, tensors):
    raise SystemExit(3)


@operation
def no_json(arguments, tensors):
    return {"x": object()}, ()


@operation
def not_finite(arguments, tensors):
    return {"x": float("nan")}, ()


@operation
def closes(arguments, tensors):
    os.close(LINK)
    time.sleep(600)


@operation
def reads(arguments, tensors):
    return {"text": Path(arguments["path"]).read_text()}, ()


@operation
def writes(arguments, tensors):
    Path(arguments["path"]).write_text("here I was")
    return {}, ()


@operation
def scribbles(arguments, tensors):
    """Change the shared memory as soon as the answer is sent."""
    import threading

    def later():
        time.sleep(0.05)
        for held in gc.get_objects():
            if type(held).__name__ == "Channel":
                held._memory[:] = b"\xff" * len(held._memory)

    threading.Thread(target=later, daemon=True).start()
    return {}, [torch.ones(4096)]


@operation
def looks_for_payloads(arguments, tensors):
    """Look for a word of the payload in everything that this process can name."""
    word = "".join(arguments["halves"])
    texts = [held for held in gc.get_objects() if isinstance(held, dict | list)]
    seen = sum(word in str(value) for held in texts for value in _values(held))
    return {"seen": seen}, ()


def _values(held):
    with suppress(Exception):
        values = list(held.values()) if isinstance(held, dict) else list(held)
        return [value for value in values if isinstance(value, str | bytes)]
    return []


@operation
def lies(arguments, tensors):
    """Send bytes of its own making in the place of an answer."""
    link = socket.socket(fileno=os.dup(LINK))
    if "bytes" in arguments:
        link.sendall(bytes(arguments["bytes"]))
    else:
        text = arguments.get("text")
        body = (text if text is not None else json.dumps(arguments["header"])).encode()
        link.sendall(struct.pack(">I", len(body)) + body)
    time.sleep(600)
