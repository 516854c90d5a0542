"""The engine's end of one template process: start it, talk to it, end it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from genesys_engine.plugins.sandbox.environment import clean_environment, import_path
from genesys_engine.plugins.sandbox.isolation import Level
from genesys_engine.plugins.sandbox.protocol import FrameReader, encode_frame
from genesys_engine.plugins.sandbox.starting import retried

_BOOT = """
import json, sys
arguments = json.loads(sys.argv[1])
path = arguments.pop("path")
sys.path[:] = path[:1] + [p for p in sys.path if p not in path] + path[1:]
from genesys_engine.plugins.sandbox.template import main
main(**arguments)
"""
_CHUNK = 1 << 20
_GONE_S = 1.0


class TemplateLink:
    """A started template.  Used by one thread only, which must outlive the template.

    (The kernel tells the template of its parent's end when the *thread* that started it ends.)

    Raises:
        OSError: the system refuses to start a process.
    """

    def __init__(self, preload: Sequence[str], require: Level, at_most: Level) -> None:
        self.ready = False
        self.alive = True
        self.killed = False  # by somebody else: not by us, nor by a fault of its own
        self.filtered = False  # whether its jobs have the filter on system calls
        self.reason = ""
        self.started = time.monotonic()
        # job -> its processes, and their groups, of the same numbers
        self._pids: dict[int, Sequence[int]] = {}
        self._frames = FrameReader()
        self._unsent: deque[tuple[bytes, Sequence[int]]] = deque()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the link
        self._channel, theirs = socket.socketpair()
        with theirs:
            levels = {"require": require, "at_most": at_most}
            try:
                self._process = self._start(preload, levels, theirs)
            except OSError:
                self._channel.close()
                self._errors.close()
                raise
        self._channel.setblocking(False)

    def _start(
        self, preload: Sequence[str], levels: Mapping[str, Level], theirs: socket.socket
    ) -> subprocess.Popen[bytes]:
        arguments = {
            "path": import_path(),
            "channel": theirs.fileno(),
            "parent": os.getpid(),
            "preload": list(preload),
            **levels,
        }
        # -s -P and an environment of our own isolate as -I does, but heed PYTHONHASHSEED=0.
        return retried(
            lambda: subprocess.Popen(
                [sys.executable, "-s", "-P", "-B", "-c", _BOOT, json.dumps(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                env=clean_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
        )

    @property
    def pid(self) -> int:
        """The process id of the template."""
        return self._process.pid

    def send(self, message: Mapping[str, Any], payload_fd: int) -> None:
        """Queue a message and the file that goes with it; `exchange` sends both."""
        self._unsent.append((encode_frame(message), [payload_fd]))

    def exchange(self, wake: socket.socket, timeout_s: float | None) -> list[dict[str, Any]]:
        """Wait for news from the template or from `wake`; send and receive what is possible."""
        messages: list[dict[str, Any]] = []
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            selector.register(self._channel, events)
            for key, mask in selector.select(timeout_s):
                if key.fileobj is wake:
                    wake.recv(4096)
                    continue
                if mask & selectors.EVENT_READ:
                    messages += self._receive()
                if mask & selectors.EVENT_WRITE and self.alive:
                    self._transmit()
        for message in messages:
            self._note(message)
        return messages

    def _receive(self) -> list[dict[str, Any]]:
        try:
            data = self._channel.recv(_CHUNK)
            if not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.killed = self._process.wait(_GONE_S) == -signal.SIGKILL
                self.kill("the template process ended")
            return self._frames.feed(data)
        except ConnectionResetError:  # reported once; what was sent before can still be read
            return []
        except ValueError as error:
            self.kill(f"the template cannot be understood: {error}")
            return []

    def _transmit(self) -> None:
        data, files = self._unsent.popleft()
        try:
            sent = socket.send_fds(self._channel, [data], files)
            if sent < len(data):
                self._unsent.appendleft((data[sent:], []))
        except BlockingIOError:
            self._unsent.appendleft((data, files))
        except OSError:  # it is gone; reading on will find the end
            self._unsent.clear()

    def _note(self, message: Mapping[str, Any]) -> None:
        match message["event"]:
            case "ready":
                self.ready = True
                self.filtered = message["isolation"]["seccomp"]
            case "failed":
                self.kill(f"the template cannot import its modules: {message['reason']}")
            case "started":
                self._pids[message["job"]] = message["pids"]
            case "ended":
                self._pids.pop(message["job"], None)

    def close(self) -> None:
        """Ask the template to end everything, and kill it if it has not done so in a second."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GONE_S)
        self.kill("closed")

    def kill(self, reason: str) -> None:
        """Kill the template and the process groups of its jobs; `reason` is kept with its log."""
        if not self.alive:
            return
        self.alive = False
        self._process.kill()
        # Its children die with it by the kernel's hand; their descendants do not.
        for pid in itertools.chain(*self._pids.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        self.reason = f"{reason}{self._last_words()}"

    def _last_words(self) -> str:
        code = self._process.returncode
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 1000))
        text = self._errors.read().decode(errors="replace").strip()
        self._errors.close()
        return f" (exit status {code})" + (f"\n{text}" if text else "")
