"""Settings of every test: few threads, no token, no network, and the real data where there is any."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before torch, numpy or Ray is imported; Ray's own processes inherit it.
os.environ.update(
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    RAY_AUTH_MODE="disabled",  # on purpose: a token file of the person who runs the tests must not decide
    RAY_USAGE_STATS_ENABLED="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
    MPLBACKEND="Agg",
)

import pytest
import torch
from hypothesis import settings

from raytune_rec.tuning.run import cluster

torch.set_num_threads(1)
settings.register_profile("any_machine", deadline=None)  # how long an example takes is the machine's, and no fault
settings.load_profile("any_machine")

_ROOT = Path(__file__).parents[1]

_LONG = (
    "pipeline/test_quickstart.py",
    "pipeline/test_kills.py",
    "tuning/test_runner.py",
    "pipeline/test_run.py",
    "pretraining/test_cluster.py",
    "pipeline/test_lost.py",
    "pipeline/test_sequences.py",
)
"""Modules that take longest begin first: else one process waits for the other in the end."""


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """A test that reaches beyond this machine's own networks fails where it does."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _near(str(address[0])):
            raise AssertionError(f"a test connects to {address}: tests work without a network")
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_ray_unasked() -> Iterator[None]:
    """A run in this process starts Ray where it needs it, and not before: most tests need none, others have their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "begin", lambda threads: None)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; without one the test is skipped."""
    named = os.environ.get("RAYTUNE_REC_DATA")
    path = Path(named) if named else _ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real data at {path}; RAYTUNE_REC_DATA names its folder")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long = {_ROOT / "tests" / name: i for i, name in enumerate(_LONG)}
    items.sort(key=lambda item: long.get(item.path, len(long)))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def _near(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_private or host in _own_addresses()


def _own_addresses() -> set[str]:
    """Ray's processes meet at the machine's own address, which may be a public one."""
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    except OSError:
        return set()
