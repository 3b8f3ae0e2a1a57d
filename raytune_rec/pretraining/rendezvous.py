"""How the workers of a pre-training meet.

PyTorch's own meeting place listens on every interface. A single worker needs none, and on a Ray of one machine alone a file will
do.
"""

from __future__ import annotations

import ipaddress
import sys
import uuid
from pathlib import Path
from typing import Any

import ray
from ray.train.backend import Backend
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend


class Alone(TorchConfig):
    """One worker: nobody to meet."""

    @property
    def backend_cls(self) -> type[Backend]:
        return Backend


class _ByFile(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        node: Any = ray._private.worker._global_node
        folder = Path(node.get_session_dir_path())
        place = f"file://{folder / f'meeting-{uuid.uuid4().hex}'}"
        worker_group.execute(_set_torch_distributed_env_vars)
        size, backend = len(worker_group), backend_config.backend
        each = [
            worker_group.execute_single_async(
                rank, _setup_torch_process_group, backend=backend, world_rank=rank, world_size=size, init_method=place
            )
            for rank in range(size)
        ]
        ray.get(each)


class ByFile(TorchConfig):
    """Workers of one machine."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _ByFile


def meeting(workers: int, gpu: bool) -> TorchConfig:
    """How so many workers meet on the Ray that is connected."""
    kind = Alone if workers == 1 else ByFile if on_localhost() else TorchConfig
    return kind(backend="nccl" if gpu else "gloo")


def interfaces() -> dict[str, str]:
    """Environment of the workers: on a Ray of this machine alone they speak to each other over its loopback interface."""
    if not on_localhost() or not sys.platform.startswith("linux"):
        return {}
    return {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


def on_localhost() -> bool:
    """Whether the Ray that is connected listens to this machine alone."""
    return ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback
