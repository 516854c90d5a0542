"""The socket and the server."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from genesys_engine.engine.dashboard.access import TOKEN, Hosts, new_token
from genesys_engine.engine.dashboard.app import Dashboard
from genesys_engine.engine.dashboard.catalogue import Catalogue
from genesys_engine.gab.errors import EnvironmentProblem

PORT = 8765
LEAVE_S = 1
"""How long the server waits at its end for browsers that still listen."""


@dataclass(frozen=True)
class Options:
    """How the server is to be reached; `port` None takes `PORT`, or any where that is taken.

    `control`: the page may stop runs and pin designs.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    names: tuple[str, ...] = ()
    control: bool = False


@dataclass(frozen=True)
class Prepared:
    """A server that listens, and the address that opens its page."""

    server: uvicorn.Server
    listening: socket.socket
    address: str

    def run(self) -> None:
        """Serve until it is asked to end."""
        with self.listening:
            self.server.run(sockets=[self.listening])


def prepare(runs: Iterable[Path], options: Options) -> Prepared:
    """Return a server that listens already.

    Raises:
        InputError: a folder holds neither a run nor a study.
        EnvironmentProblem: the port is taken, or the address is not one of this machine.
    """
    dashboard = Dashboard(Catalogue(runs), control=options.control)
    listening = _listen(options)
    port, token = listening.getsockname()[1], new_token()
    app = dashboard.app(token=token, hosts=Hosts(options.host, options.names), port=port)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would hold the token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LEAVE_S,
    )
    shown = f"[{options.host}]" if ":" in options.host else options.host
    return Prepared(uvicorn.Server(config), listening, f"http://{shown}:{port}/?{TOKEN}={token}")


def _listen(options: Options) -> socket.socket:
    """Return a socket that listens."""
    try:
        return _bound(options.host, PORT if options.port is None else options.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and options.port is None:
            return _bound(options.host, 0)
        raise _unusable(options, error) from error


def _bound(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, proto)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def _unusable(options: Options, error: OSError) -> EnvironmentProblem:
    where = f"{options.host}:{options.port or PORT}"
    if error.errno == errno.EADDRINUSE:
        return EnvironmentProblem(
            "the port is in use", where=where, hint="give another with --port, or 0 for any"
        )
    if error.errno == errno.EACCES:
        return EnvironmentProblem(
            "this port needs more rights", where=where, hint="give one above 1023 with --port"
        )
    return EnvironmentProblem(
        f"this address cannot be listened on: {error.strerror or error}",
        where=where,
        hint="give --host an address of this machine, such as 127.0.0.1",
    )
