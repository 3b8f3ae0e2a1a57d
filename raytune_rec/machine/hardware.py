"""What this process may use of the machine: its processors and its memory.

A container, a batch system or `taskset` gives a process less than the machine has. Affinity and the limits of cgroups (v1 and
v2, with those of all parents) say how much; where a machine does not tell them, what it has counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MIB = 2**20

_ROOT = Path("/")


def cpus(root: Path = _ROOT) -> int:
    """Processors that this process may keep busy: the least of those there are, its affinity, and the quota of its cgroups.

    A part of a processor counts as one, so that there is always one.

    Args:
        root: holds `proc` and `sys`.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else math.inf
    quota = min(_quotas(root), default=math.inf)
    return max(1, math.ceil(min(os.cpu_count() or 1, affinity, quota)))


def memory_mib(root: Path = _ROOT) -> float:
    """MiB that this process may take: the least of the machine's memory and the limits of its cgroups.

    Args:
        root: holds `proc` and `sys`.
    """
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([host, *_memory_limits(root)]) / MIB


def _quotas(root: Path) -> Iterator[float]:
    """Processors that each cgroup above this process allows; nothing where it sets no quota."""
    for folder in _cgroups(root, "cpu"):
        words = _words(folder / "cpu.max") or [*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")]
        numbers = [float(word) for word in words if word.isdigit()]  # no quota: `max` in v2, -1 in v1
        if len(numbers) == len(words) == 2 and min(numbers) > 0:
            yield numbers[0] / numbers[1]


def _memory_limits(root: Path) -> Iterator[float]:
    """Bytes that each cgroup above this process allows; v1 writes a number beyond every memory for no limit."""
    for folder in _cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from (float(word) for word in _words(folder / name) if word.isdigit() and int(word) > 0)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the cgroups of this process that one controller rules, innermost first, their parents behind."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            mounts = ["", "unified"]  # v2: one tree
        elif controller in controllers.split(","):
            mounts = [controllers, controller]  # v1: a tree for each group of controllers
        else:
            continue
        for mount in mounts:
            base = root / "sys/fs/cgroup" / mount
            folder = _inside(base, path)
            yield folder
            while folder != base:
                folder = folder.parent
                yield folder


def _inside(base: Path, path: str) -> Path:
    """Where a cgroup is below a mount: a container may see its own cgroup as the mount's root, and the host's path to it."""
    parts = PurePosixPath(path).parts[1:]
    if ".." in parts:  # outside of this process's view
        return base
    inside = (base.joinpath(*parts[start:]) for start in range(len(parts)))
    return next((folder for folder in inside if folder.is_dir()), base)


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    """Lines of a small file; none where it is missing or refused."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
