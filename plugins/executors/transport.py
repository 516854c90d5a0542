"""One job between the coordinator and a host: the call, and the files that have to travel."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, Protocol

from genesys_engine.plugins.corpus import file_digest
from genesys_engine.plugins.executors.files import CHUNK_BYTES, FileFact, Files
from genesys_engine.plugins.executors.node import NodeJob
from genesys_engine.plugins.executors.ray_host import Ran

_TRIES = 5  # files of a folder may change while they are looked at


class Getter(Protocol):
    """Gives the answers of calls."""

    def get(self, ref: Any, timeout_s: float | None = None) -> Any:
        """Return an answer, or raise."""


class Transport:
    """Runs one job on a host.

    `differed` are the paths at which the host had another file.

    Args:
        host: has an `actor`, and the lock `shipping` while files are sent there.
    """

    def __init__(self, cluster: Getter, host: Any, job: NodeJob) -> None:
        self.differed: list[str] = []
        self._get = cluster.get
        self._host = host
        self._actor = host.actor
        self._job = job

    def run(self, patience_s: float) -> Ran:
        """Run the job, send what it lacks, and fetch what it left.

        Raises:
            OSError: a file is gone here, or cannot be written.
            Exception: what the cluster raises where the host is lost.
        """
        for _ in range(_TRIES):
            files = Files.of(self._job)
            call = self._actor.run.remote(pickle.dumps((self._job, files)))
            answer = pickle.loads(self._get(call, patience_s))
            if isinstance(answer, Ran):
                self._fetch(answer)
                return answer
            self._send(files)
        raise OSError(f"the files of a job change while they are sent: {self._job.scratch}")

    def _send(self, files: Files) -> None:
        """Send what the host lacks; one job at a time, so that nothing is sent twice."""
        with self._host.shipping:
            lacking = self._get(self._actor.lacking.remote(files, self._job.scratch))
            digests = {fact: file_digest(Path(fact.path)) for fact in lacking}
            needed, differed = self._get(self._actor.compare.remote(digests))
            self.differed += differed
            for fact in needed:
                self._send_file(fact)

    def _send_file(self, fact: FileFact) -> None:
        with Path(fact.path).open("rb") as file:
            offset = 0
            while True:
                data = file.read(CHUNK_BYTES)
                last = offset + len(data) >= fact.size or not data
                self._get(self._actor.receive.remote(fact, offset, data, last))
                offset += len(data)
                if last:
                    return

    def _fetch(self, ran: Ran) -> None:
        """Write what the job left where it would have left it here; see `Mirror.produced`."""
        if ran.left is None:
            return
        for fact in ran.left:
            name = Path(fact.path).name
            if fact.size > self._job.limits.file_bytes or name in ("", ".", ".."):
                continue
            part = Path(self._job.scratch, f".{name[:200]}.part")
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                while file.tell() < fact.size:
                    data = self._get(self._actor.read.remote(fact.path, file.tell()))
                    if not data:
                        break
                    file.write(data)
            part.replace(Path(self._job.scratch, name))
        self._get(self._actor.drop.remote(self._job.scratch))
