"""A real Ray cluster on loopback, whose nodes a test may add and kill.

Nodes are bound to 127.0.0.2: with 127.0.0.1 `ray.init(address=...)` takes another address instead
and hangs for minutes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

TRIES = 4  # a busy machine is too slow for Ray's own deadlines of a start
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_raylet_start_wait_time_s": "120",
}
SOON = {  # a lost node is noticed after a second instead of half a minute
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}


class TestCluster:
    """A cluster whose first node, the head, stays."""

    __test__ = False

    def __init__(self, cpus: int) -> None:
        os.environ.update(SETTINGS)
        self._cpus = cpus
        for left in reversed(range(TRIES)):
            from ray.cluster_utils import Cluster

            self._cluster = Cluster(initialize_head=False)
            try:
                self._add(cpus, _system_config=SOON)
                return
            except Exception:
                self._cluster.shutdown()
                if not left:
                    raise

    @property
    def address(self) -> str:
        """The address that an executor is given."""
        return str(self._cluster.address)

    def _add(self, cpus: int, **more: Any) -> Any:
        return self._cluster.add_node(
            node_ip_address="127.0.0.2",
            num_cpus=cpus,
            object_store_memory=80 << 20,
            include_dashboard=False,
            include_log_monitor=False,
            **more,
        )

    @contextmanager
    def node(self, cpus: int = 1, **more: Any) -> Iterator[Any]:
        """Add a node for a while."""
        node = None
        for left in reversed(range(TRIES)):
            try:
                node = self._add(cpus, **more)
                break
            except Exception:
                if not left:
                    raise
        try:
            yield node
        finally:
            with suppress(Exception):
                self._cluster.remove_node(node, allow_graceful=False)

    @staticmethod
    def kill(node: Any) -> None:
        """End a node as a power failure does: SIGKILL for all of its processes."""
        for infos in node.all_processes.values():
            for info in infos:
                with suppress(ProcessLookupError):
                    os.kill(info.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()
