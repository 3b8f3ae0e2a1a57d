"""What a process may use, from made-up `proc` and `sys` trees of every kind that is about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from raytune_rec.machine import hardware as machine

HOST = 8
GIB = 2**30


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processors and 16 GiB, all of them allowed."""
    monkeypatch.setattr(os, "cpu_count", lambda: HOST)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(HOST)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 16 * GIB // 4096}.__getitem__)


def tree(root: Path, cgroup: str, **files: str) -> Path:
    """A root whose process is in `cgroup`; the names of files below `sys/fs/cgroup` have `__` for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


NONE = "9223372036854771712\n"
CASES = {
    "v2, no limits": ("0::/\n", {}, HOST, 16 * GIB),
    "v2, container's own root": ("0::/\n", {"cpu_dot_max": "150000 100000\n", "memory_dot_max": f"{GIB}\n"}, 2, GIB),
    "v2, written as max": ("0::/a\n", {"a__cpu_dot_max": "max 100000\n", "a__memory_dot_max": "max\n"}, HOST, 16 * GIB),
    "v2, half a processor": ("0::/a\n", {"a__cpu_dot_max": "50000 100000\n"}, 1, 16 * GIB),
    "v2, a tenth of another period": ("0::/a\n", {"a__cpu_dot_max": "40000 10000\n"}, 4, 16 * GIB),
    "v2, the parent is tighter": (
        "0::/slurm/job_7/step_0\n",
        {
            "slurm__job_7__cpu_dot_max": "300000 100000\n", "slurm__job_7__memory_dot_max": f"{2 * GIB}\n",
            "slurm__job_7__step_0__cpu_dot_max": "max 100000\n", "slurm__job_7__step_0__memory_dot_max": f"{3 * GIB}\n",
        }, 3, 2 * GIB,
    ),
    "v2, the host's path in a container": (
        "0::/docker/0123/step\n",
        {"step__memory_dot_max": "max\n", "step__cpu_dot_max": "max 100000\n", "cpu_dot_max": "200000 100000\n",
         "memory_dot_max": f"{GIB}\n"}, 2, GIB,
    ),
    "v2, outside of the view": ("0::/../other\n", {"memory_dot_max": f"{GIB}\n"}, HOST, GIB),
    "v1": (
        "4:memory:/lim\n3:cpu,cpuacct:/lim\n1:name=systemd:/\n0::/\n",
        {
            "memory__lim__memory_dot_limit_in_bytes": f"{3 * GIB}\n", "memory__memory_dot_limit_in_bytes": NONE,
            "cpu,cpuacct__lim__cpu_dot_cfs_quota_us": "250000\n", "cpu,cpuacct__lim__cpu_dot_cfs_period_us": "100000\n",
        }, 3, 3 * GIB,
    ),
    "v1, no limits": (
        "4:memory:/lim\n3:cpu:/lim\n",
        {
            "memory__lim__memory_dot_limit_in_bytes": NONE,
            "cpu__lim__cpu_dot_cfs_quota_us": "-1\n", "cpu__lim__cpu_dot_cfs_period_us": "100000\n",
        }, HOST, 16 * GIB,
    ),
    "v1, the parent is tighter": (
        "4:memory:/pod/box\n3:cpu:/pod/box\n",
        {
            "memory__pod__memory_dot_limit_in_bytes": f"{GIB}\n", "memory__pod__box__memory_dot_limit_in_bytes": f"{5 * GIB}\n",
            "cpu__pod__cpu_dot_cfs_quota_us": "100000\n", "cpu__pod__cpu_dot_cfs_period_us": "100000\n",
            "cpu__pod__box__cpu_dot_cfs_quota_us": "-1\n", "cpu__pod__box__cpu_dot_cfs_period_us": "100000\n",
        }, 1, GIB,
    ),
    "more than there is": ("0::/\n", {"cpu_dot_max": "6400000 100000\n", "memory_dot_max": f"{64 * GIB}\n"}, HOST, 16 * GIB),
    "nonsense": ("0::/\nx\n1:cpu\n", {"cpu_dot_max": "much\n", "memory_dot_max": "\n"}, HOST, 16 * GIB),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_least_of_machine_and_cgroups_counts(tmp_path: Path, case: str) -> None:
    cgroup, files, cpus, memory = CASES[case]
    root = tree(tmp_path, cgroup, **files)
    assert (machine.cpus(root), machine.memory_mib(root)) == (cpus, memory / 2**20)


def test_affinity_counts_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert machine.cpus(tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cpus(tmp_path) == HOST
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cpus(tmp_path) == 1


def test_the_ray_that_is_started_here_gets_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not what the host has."""
    from raytune_rec.tuning.run import cluster

    given: dict[str, object] = {}
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster.ray, "init", lambda **how: given.update(how))
    monkeypatch.setattr(cluster.ray_start, "check", lambda environment: None)
    monkeypatch.setattr(cluster.ray_start, "provide_token", lambda environment: None)
    monkeypatch.setattr(cluster, "cpus", lambda: 3)
    monkeypatch.setattr(cluster, "memory_mib", lambda: 1024.0)
    monkeypatch.setattr(cluster, "get_system_memory", lambda: 16 * GIB)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    cluster.connect(1)
    assert given["num_cpus"] == 3 and given["address"] == "local"
    assert given["object_store_memory"] == GIB * 3 // 10 and given["_memory"] == GIB * 6 // 10
    monkeypatch.setattr(cluster, "memory_mib", lambda: 16 * 1024.0)
    given.clear()
    cluster.connect(1)
    assert "_memory" not in given, "where nothing allows less, Ray's own shares stand"
