"""What attacks on the sandbox have in common: victims, limits, and a look at what still lives."""

import os
import pwd
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from genesys_engine.plugins.sandbox import isolation_here

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))  # the template searches where we do: it must find the attacks

ISOLATION = isolation_here()
LIMITS = {
    "wall_s": 30,
    "memory_bytes": 1 << 30,
    "file_bytes": 8 << 20,
    "disk_bytes": 64 << 20,
}
GONE_S = 60.0


class Victims:
    """What lies and listens outside, and whether it is as it was."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("corpus", "outside", "run"):
            (folder / name).mkdir()
        self.victim = folder / "outside" / "victim"
        self.store = folder / "run" / "store.sqlite"
        for path in (self.victim, self.store, folder / "corpus" / "text"):
            path.write_text("text")
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(type=2)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.name = f"genesys-test-{os.getpid()}"
        self.abstract.bind("\0" + self.name)
        self.datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagram.bind(str(folder / "datagram"))
        self.sockets = (self.tcp, self.udp, self.unix, self.abstract, self.datagram)
        for one in self.sockets:
            one.setblocking(False)
            if one.type == socket.SOCK_STREAM:
                one.listen()
        self.before = self._look()

    def _look(self):
        facts = {}
        for name in ("corpus", "outside", "run"):
            for path in (self.folder / name, *sorted((self.folder / name).rglob("*"))):
                found = path.stat()
                text = path.read_text() if path.is_file() else ""
                owner = (found.st_uid, found.st_gid, found.st_mode, found.st_nlink)
                time_ = found.st_mtime_ns if path.is_file() else 0
                facts[str(path)] = (text, owner, time_)
        return facts

    def payload(self):
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        return {
            "home": str(home),
            "home_file": str(next((p for p in home.glob("*") if p.is_file()), home)),
            "store": str(self.store),
            "victim": str(self.victim),
            "outside": str(self.victim.parent),
            "corpus": str(self.folder / "corpus"),
            "engine": os.getpid(),
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "unix": str(self.folder / "socket"),
            "abstract": self.name,
            "datagram": str(self.folder / "datagram"),
        }

    def assert_unharmed(self):
        assert self._look() == self.before
        for one in (self.tcp, self.unix, self.abstract):
            with pytest.raises(BlockingIOError):
                one.accept()
        for one in (self.udp, self.datagram):
            with pytest.raises(BlockingIOError):
                one.recv(16)


def assert_nothing_lives(template):
    """Check that no descendant of the template is there any more."""
    end = time.monotonic() + GONE_S
    while (left := descendants(template)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left


def descendants(pid):
    found = []
    for tasks in Path(f"/proc/{pid}/task").iterdir():
        for child in (tasks / "children").read_text().split():
            found.append(int(child))
            with suppress(FileNotFoundError, ProcessLookupError):  # gone since it was listed
                found += descendants(int(child))
    return found


def need(level):
    missing = ISOLATION.missing(level)
    if missing:
        pytest.skip(f"this kernel offers no {', '.join(missing)}")
