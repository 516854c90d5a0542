"""The one place that talks to Ray: a connection to a cluster, its nodes, and a host on each.

Ray is imported here, by the thread that connects, and by nobody who does not use it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from genesys_engine.gab.errors import EnvironmentProblem
from genesys_engine.plugins.executors.options import SandboxOptions
from genesys_engine.plugins.executors.ray_host import NodeHost
from genesys_engine.plugins.executors.terms import Terms
from genesys_engine.plugins.sandbox import Level

WHERE = "[executor] ray"
REACH_S = 5.0
STARTS = 3  # of a cluster of one's own: a busy machine misses Ray's own deadline for it
ASK_S = 120.0  # a busy node starts a process slowly
SPARE_CALLS = 8  # a host answers these next to its running jobs
_OWN_STORE_BYTES = 100 << 20  # object store of a cluster of one's own: its files are all in place
# Read when Ray is imported, or by the processes that it starts.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # else faults of workers are printed on our stdout
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_agent_register_timeout_ms": "120000",  # a busy machine starts them slowly
    "RAY_raylet_start_wait_time_s": "120",
}
_NO_LOGS: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}


class RayOptions(SandboxOptions):
    """Which cluster, and what one job takes of it; the rest is as for `process`, on every node."""

    address: str | None = Field(
        default=None,
        description='a cluster: "host:port", or "auto" for the one that runs on this machine; left'
        " out: one is started here for the run",
    )
    num_cpus: float = Field(default=1.0, ge=0, description="CPUs that one job takes")
    num_gpus: float = Field(
        default=0.0,
        ge=0,
        description="GPUs that one job takes; 0.5 lets two share one, 2 gives a training two of the"
        " same node",
    )
    resources: Mapping[str, float] = Field(
        default_factory=dict, description="custom resources of the cluster that one job takes"
    )
    shared_folder: bool = Field(
        default=True,
        description="whether nodes use the files of this machine where they see them; false: they"
        " are sent to each node's own disk, once",
    )
    retries: int = Field(
        default=2, ge=0, description="how often a job is run again whose node or worker was lost"
    )
    patience_s: float = Field(
        default=300.0, gt=0, description="seconds without a node for the jobs until it is said"
    )
    connect_s: float = Field(default=180.0, gt=0, description="seconds to wait for a cluster")


@dataclass(frozen=True)
class RayNode:
    """A node of a cluster, and what is free there."""

    id: str
    name: str
    free: Mapping[str, float]


@dataclass
class Host:
    """A node's host, as the coordinator sees it; `busy` counts the jobs that it runs."""

    node: RayNode
    slots: int
    actor: Any
    ready: Any  # what answers once it has started
    asked_at: float = field(default_factory=time.monotonic)
    running: bool = False  # it has
    alone: bool = False  # with a job that must have it for itself
    busy: int = 0
    gone: bool = False
    shipping: threading.Lock = field(default_factory=threading.Lock)  # held while files are sent


class Cluster:
    """A connection to a cluster.  Every method is called by threads of the executor alone."""

    def __init__(
        self, options: RayOptions, workers: int, stops: Callable[[], bool] = lambda: False
    ) -> None:
        """Connect, or start a cluster on this machine; where it `stops`, no answer is waited for.

        Raises:
            EnvironmentProblem: Ray is not installed, or no cluster can be had.
        """
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise EnvironmentProblem(
                "the executor 'ray' needs Ray",
                where=WHERE,
                hint="pip install 'genesys-engine[ray]'",
            ) from error
        self._ray = ray
        self._options = options
        self._stops = stops
        self._asked_for = 0
        self._own = not ray.is_initialized()
        if self._own:
            logging.getLogger("ray").setLevel(logging.CRITICAL + 1)
            self._connect(options, workers)
        self._host_class = ray.remote(NodeHost)

    def _connect(self, options: RayOptions, workers: int) -> None:
        if options.address is not None:
            _demand_listener(options.address)
        for left in reversed(range(STARTS)):
            try:
                if options.address is None:
                    self._start(options, workers)
                else:
                    self._ray.init(address=options.address, **_NO_LOGS)
                return
            except Exception as error:
                self._ray.shutdown()  # it keeps what it has of a cluster that it could not join
                if not left or "timed out during startup" not in str(error):
                    raise _no_cluster(options.address, error) from error

    def _start(self, options: RayOptions, workers: int) -> None:
        """Start a cluster on this machine, on its loopback address alone."""
        gpus = {} if options.num_gpus else {"num_gpus": 0}
        self._ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, math.ceil(workers * options.num_cpus)),
            resources={name: n * workers for name, n in options.resources.items()},
            object_store_memory=_OWN_STORE_BYTES,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **gpus,
            **_NO_LOGS,
        )

    # --- nodes -------------------------------------------------------------------------------

    def nodes(self) -> list[RayNode]:
        """Return the nodes that are alive, by name; those of one machine are told apart."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        alike = Counter(node["NodeManagerHostname"] for node in alive)
        free = self._free()
        found = []
        for node in alive:
            host, name = node["NodeManagerHostname"], node["NodeID"]
            label = host if alike[host] == 1 else f"{host}/{name[:6]}"
            found.append(RayNode(name, label, free.get(name, node["Resources"])))
        return sorted(found, key=lambda node: (node.name, node.id))

    def _free(self) -> Mapping[str, Mapping[str, float]]:
        """Return what is free on each node, by its id."""
        from ray._private.state import available_resources_per_node

        found: Mapping[str, Mapping[str, float]] = available_resources_per_node()
        return found

    def offers(self) -> str:
        """Say what the cluster has, and how much of it is free."""
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        kinds = [name for name in sorted(total) if _is_counted(name)]
        parts = [f"{name} {total[name]:g} ({free.get(name, 0):g} free)" for name in kinds]
        return ", ".join(parts) or "nothing"

    @property
    def version(self) -> str:
        """The version of Ray, which all nodes have."""
        return f"Ray {self._ray.__version__}"

    def fits(self, node: RayNode) -> int:
        """Return how many jobs have room on a node at a time."""
        options, counts = self._options, []
        wanted = {"CPU": options.num_cpus, **options.resources}
        counts += [int(node.free.get(name, 0) / n + 1e-6) for name, n in wanted.items() if n]
        if (gpus := options.num_gpus) > 0:
            free = node.free.get("GPU", 0)
            whole = int(free) * int(1 / gpus) if gpus < 1 else int(free / gpus + 1e-6)
            counts.append(max(whole, int(free >= gpus)))
        return min(counts, default=1)

    def ask_for(self, jobs: int) -> None:
        """Let a cluster that grows by itself know for how many jobs it should have room in all, 0
        to ask for nothing any more; others take no notice."""
        if jobs == self._asked_for:
            return
        self._asked_for = jobs
        with contextlib.suppress(Exception):
            from ray.autoscaler.sdk import request_resources

            options = self._options
            bundle = {"CPU": options.num_cpus, "GPU": options.num_gpus, **options.resources}
            request_resources(bundles=[{k: v for k, v in bundle.items() if v}] * jobs)

    # --- hosts -------------------------------------------------------------------------------

    def fault(self, node: RayNode, terms: Terms) -> str:
        """Ask a node why it can get no work; "" if it can.

        The question travels by value: the node may have no genesys-engine at all.
        """

        def ask(data: Mapping[str, Any], at_most: Level) -> str:
            try:
                from genesys_engine.plugins.executors.node import node_fault
                from genesys_engine.plugins.executors.terms import Terms
                from genesys_engine.plugins.sandbox import isolation_here
            except ImportError as error:
                return f"genesys-engine is missing there, or too old ({error})"
            return node_fault(Terms.from_json(data), isolation_here(at_most))

        return self._asked(node, ask, terms.to_json(), self._options.isolation)

    def level(self, node: RayNode) -> str:
        """Say which level of isolation a node without a fault reaches."""

        def ask(at_most: Level) -> str:
            from genesys_engine.plugins.sandbox import isolation_here

            return f"isolation {isolation_here(at_most).level}"

        return self._asked(node, ask, self._options.isolation)

    def _asked(self, node: RayNode, ask: Callable[..., str], *arguments: object) -> str:
        """Return what a function gives on a node."""
        remote = self._ray.remote(ask).options(
            num_cpus=0, max_retries=1, scheduling_strategy=self._at(node)
        )
        ref, end = remote.remote(*arguments), time.monotonic() + ASK_S
        while not self._ray.wait([ref], timeout=0.5)[0]:
            if self._stops() or time.monotonic() > end:
                raise TimeoutError(f"no answer within {ASK_S:g} s")
        found: str = self._ray.get(ref)
        return found

    def host(self, node: RayNode, slots: int, terms: Terms) -> Host:
        """Begin to start a host for `slots` jobs at a time."""
        options = self._options
        gpus = options.num_gpus * slots
        if gpus > 1:
            gpus = float(-(-slots // int(1 / options.num_gpus))) if options.num_gpus < 1 else gpus
        actor = self._host_class.options(
            num_cpus=options.num_cpus * slots,
            num_gpus=gpus,
            resources={name: n * slots for name, n in options.resources.items()},
            max_concurrency=slots + SPARE_CALLS,
            max_restarts=0,
            enable_task_events=False,  # of every call; nobody reads them, and they cost
            scheduling_strategy=self._at(node),
        ).remote(terms, SandboxOptions(**options.model_dump(include=_SANDBOX)), slots,
                 options.num_gpus, shared=options.shared_folder)  # fmt: skip
        return Host(node, slots, actor, actor.isolation.remote())

    def _at(self, node: RayNode) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node.id, soft=False)

    def get(self, ref: Any, timeout_s: float | None = None) -> Any:
        """Return what a call gives; raises what Ray does where its host is lost."""
        return self._ray.get(ref, timeout=timeout_s)

    def is_ready(self, ref: Any) -> bool:
        """Tell whether a call has been answered, or has failed."""
        return bool(self._ray.wait([ref], timeout=0)[0])

    def kill(self, host: Host) -> None:
        """Kill a host, and with it all that runs there."""
        with contextlib.suppress(Exception):
            self._ray.kill(host.actor)

    @staticmethod
    def raised_there(error: BaseException) -> BaseException | None:
        """Return what the code of a host has raised; None for any other error."""
        from ray.exceptions import RayTaskError

        return error.cause if isinstance(error, RayTaskError) else None

    @staticmethod
    def is_of_ray(error: BaseException) -> bool:
        """Tell whether Ray says so, of a host; its error of a call without an answer in time is an
        OSError too, as Python's own is.
        """
        from ray.exceptions import RayError

        return isinstance(error, RayError)

    @staticmethod
    def out_of_memory(error: BaseException) -> bool:
        """Tell whether a host was killed by the memory monitor of its node."""
        from ray.exceptions import OutOfMemoryError

        return isinstance(error, OutOfMemoryError) or "running low on memory" in str(error)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ask_for(0)
        if self._own:
            self._ray.shutdown()


_SANDBOX = set(SandboxOptions.model_fields)


def _is_counted(name: str) -> bool:
    """Tell whether a resource is something that a job may take."""
    return not name.startswith("node:") and name not in ("memory", "object_store_memory")


def _demand_listener(address: str) -> None:
    """Raise `EnvironmentProblem` where nothing listens; Ray itself takes minutes to find out."""
    if address == "auto":
        return
    hint = "start one with `ray start --head` there, and `ray start --address=...` on this machine"
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise EnvironmentProblem(
            f"{address!r} is no address of a Ray cluster",
            where=f"{WHERE}: address",
            hint='write "host:port" (6379 unless chosen otherwise), or "auto"; this machine has to'
            " be a node of the cluster: `ray start --address=host:port --num-cpus=0`",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise EnvironmentProblem(
            f"no Ray cluster answers at {address}: {error}", where=f"{WHERE}: address", hint=hint
        ) from error


def _no_cluster(address: str | None, error: Exception) -> EnvironmentProblem:
    """Return what Ray's own error means."""
    text = " ".join(str(error).split())
    if "ersion mismatch" in text:
        found = [" ".join(each) for each in re.findall(r"(Ray|Python): (\S+)", text)]
        facts = f"it has {', '.join(found[:2])}, and this machine {', '.join(found[2:])}"
        return EnvironmentProblem(
            f"the Ray cluster at {address} has other versions than this machine:"
            f" {facts if len(found) == 4 else text}",
            where=f"{WHERE}: address",
            hint="install the same versions of Ray and Python on all nodes and on this machine",
        )
    what = "no Ray cluster could be started here" if address is None else (
        f"no Ray cluster could be joined at {address}"
    )  # fmt: skip
    return EnvironmentProblem(
        f"{what}: {text[:600]}",
        where=WHERE,
        hint="see that this machine is a node of it: `ray start --address=host:port`"
        if address is not None
        else "see docs/scale.md",
    )
