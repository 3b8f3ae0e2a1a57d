"""A head, which trains nothing, and three nodes of a processor each: raylets on this machine, with tokens on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.kills.processes import ROOT, Process, family
from raytune_rec.machine import ray_start

NODES = 3
_SMALL: dict[str, Any] = {"object_store_memory": 100 * 2**20}
_TRIES = 5
"""Ray waits half a minute for a node that it starts, which a busy machine may need longer."""


def set_out(temporary: Path) -> None:
    """Before Ray is loaded: what all processes of a cluster and its clients are given, tokens among it.

    Args:
        temporary: takes the token, and Ray's own files; short, for a socket's path is limited.
    """
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    os.environ.update({**own, "RAY_AUTH_TOKEN_PATH": str(temporary / "token"), "RAY_TMPDIR": str(temporary)})
    os.environ.pop("RAY_ADDRESS", None)
    ray_start.provide_token(os.environ)


class Nodes:
    """The cluster.

    Args:
        head: options of the head more.
    """

    def __init__(self, head: Mapping[str, Any] | None = None) -> None:
        self._head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": False, **_SMALL, **(head or {})}
        self._cluster: Any = None
        self._nodes: list[Any] = []

    @property
    def variables(self) -> dict[str, str]:
        """Of a command that joins."""
        names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
        return {"RAY_ADDRESS": self._cluster.address, **{name: os.environ[name] for name in names if name in os.environ}}

    def whole(self) -> None:
        """Start it, or what of it is missing."""
        from ray.cluster_utils import Cluster

        if self._cluster is None:
            self._cluster, self._nodes = _patiently(lambda: Cluster(initialize_head=True, head_node_args=self._head)), []
        while len(self._nodes) < NODES:
            self.add()
        self._cluster.wait_for_nodes(timeout=300)

    def add(self) -> None:
        self._nodes.append(_patiently(lambda: self._cluster.add_node(num_cpus=1, **_SMALL)))

    def crash(self, place: int) -> bool:
        """SIGKILL for a raylet and all that it started."""
        return self._remove(place, graceful=False)

    def replace(self, place: int) -> bool:
        """A node is told to go, and then another one comes."""
        self._remove(place, graceful=True)
        self.add()
        return True

    def lose_head(self) -> bool:
        """The head and all nodes are gone."""
        self.stop()
        return True

    def _remove(self, place: int, graceful: bool) -> bool:
        """One of those where something trains, if there is one."""
        nodes = [node for node in self._nodes if _trains(node)] or self._nodes
        node = nodes[place % len(nodes)]
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=graceful)
        return True

    def stop(self) -> None:
        if self._cluster is not None:
            self._cluster.shutdown()
        self._cluster, self._nodes = None, []

    def trainers(self) -> list[Process]:
        """Processes that train, on any node."""
        return [process for process in family(lambda process: process.pid == os.getpid()) if process.trains]


def _trains(node: Any) -> bool:
    """Whether a process of a node's raylet trains."""
    raylets = {of.process.pid for of in node.all_processes.get("raylet", ())}
    return any(process.trains for process in family(lambda process: process.pid in raylets))


def _patiently(start: Callable[[], Any]) -> Any:
    for left in reversed(range(_TRIES)):
        try:
            return start()
        except Exception:  # Ray raises no kind of its own
            if not left:
                raise
    raise AssertionError
