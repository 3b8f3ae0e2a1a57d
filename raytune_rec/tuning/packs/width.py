"""How many lanes a pack may have: found by a dry run against a memory limit."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path

import torch

from raytune_rec.data.stored.store import Store
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.machine.hardware import MIB, memory_mib
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Lane, Pack, Scalar
from raytune_rec.training.build import assemble, build
from raytune_rec.training.settings import Resolved
from raytune_rec.tuning.packs.packing import Width
from raytune_rec.tuning.search.space import Dimension, Space, holds
from raytune_rec.tuning.search.studies import Search

SMALL, LARGE = 2, 16
"""Lanes of the two packs that are measured: one gives the sum of base and lanes, two give both."""

COMBINATIONS = 64
"""Of choices, that are weighed at most."""

_PROC = Path("/proc/self")

SHARE = 0.8
"""Of a machine's memory that all its packs together may take."""


def measure(
    resolved: Resolved, search: Search, store: Path, backbones: Mapping[str, Path], packs: int, device: str = "cpu"
) -> Width:
    """Train a step of a small and of a larger pack, and validate, on the search's rows; from the two peaks, the widest that fits.

    The lanes have the largest padded options of the space. A power of two below the job's own limit, so that small differences
    between measurements do not change the plan.

    Args:
        resolved: the search's method.
        packs: that share the machine at a time.
        device: where packs train.
    """
    job = resolved.job
    limit = job.tune.memory_mib or _memory(device) * SHARE / (max(1, packs) if device == "cpu" else _share(job.tune))
    most = min(search.most_lanes or job.tune.pack, job.tune.pack)
    if most < min(SMALL, job.tune.pack):
        return Width(most)
    many = LARGE if most == job.tune.pack else min(LARGE, most)
    opened = Store.open(store)
    options = largest(search.space, counted(resolved, opened.schema, search.unit))

    def run(lanes: int) -> None:
        rehearsed = tuple(Lane(i, 0, options, search.unit) for i in range(lanes))
        build(resolved, Pack("dry-run", search.method, rehearsed), opened, backbones, device).rehearse()

    run(SMALL)  # what is loaded once and kept is no lane's
    held = _held(device)
    gc.freeze()  # what is held stays, and need not be looked through again
    try:
        small = large = _peak(lambda: run(SMALL), device)
        if many > SMALL:
            large = _peak(lambda: run(many), device)
    finally:
        gc.unfreeze()
    if held is None or small is None or large is None:
        _unmeasured(job.tune.pack)
        return Width(most)
    lane = max(large - small, 0.0) / (many - SMALL) if many > SMALL else small / SMALL
    base = held + max(small - SMALL * lane, 0.0)
    fits = math.floor((limit - base) / lane) if lane else most
    lanes = most if fits >= most else 1 << (max(1, fits).bit_length() - 1)
    return Width(lanes, round(base, 1), round(lane, 3), round(limit, 1))


def largest(space: Space, weight: Callable[[Mapping[str, Scalar]], float]) -> dict[str, Scalar]:
    """The heaviest configuration with the highest number of everything that is counted; of equals the first.

    Args:
        weight: of a configuration. It is asked for every combination of choices, up to COMBINATIONS.
    """
    return max(islice(_highest(space.dimensions, {}), COMBINATIONS), key=weight)


def counted(resolved: Resolved, schema: DataSchema, unit: str) -> Callable[[Mapping[str, Scalar]], float]:
    """Counts the parameters of a configuration on a unit: of backbone and prompt, in their true shapes."""
    job, method, own = resolved.job, resolved.method, len(schema.unit(unit).members)

    def weight(options: Mapping[str, Scalar]) -> float:
        parts = assemble(job, method, [resolved.lay(options)], schema, resolved.start)
        declared = [*parts.backbone.parameters(), *(p for prompt in parts.prompts[:1] for p in prompt.parameters())]
        return sum(p.size(own) for p in declared)

    return weight


def _highest(left: Sequence[Dimension], chosen: dict[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """Every combination of choices that goes on from what is chosen."""
    if not left:
        yield chosen
        return
    d = left[0]
    if not holds(d, chosen):
        yield from _highest(left[1:], chosen)
        return
    bound = d.high if d.kind == "int" else d.low
    for value in d.choices if d.kind == "choice" else (d.cast(bound),):
        yield from _highest(left[1:], {**chosen, d.key: value})


def _share(tune: TuneOptions) -> float:
    """Packs on one GPU."""
    return max(1.0, 1.0 / tune.gpus) if tune.gpus else 1.0


def _memory(device: str) -> float:
    if device != "cpu":
        return torch.cuda.get_device_properties(device).total_memory / MIB
    return memory_mib()


def _held(device: str) -> float | None:
    """MiB that a process holds before it trains; None where the machine does not say."""
    _trim()
    return 0.0 if device != "cpu" else _status("VmRSS")


def _peak(run: Callable[[], None], device: str) -> float | None:
    """MiB that a function needs at most beyond what was held before; None where the machine does not say."""
    _trim()
    if device != "cpu":
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return (torch.cuda.max_memory_allocated(device) - held) / MIB
    try:
        (_PROC / "clear_refs").write_text("5")  # the peak begins anew
    except OSError:  # no Linux, or a sandbox that refuses it
        return None
    before = _status("VmRSS")
    run()
    peak = _status("VmHWM")
    return None if before is None or peak is None else peak - before


@lru_cache(maxsize=1)
def _unmeasured(pack: int) -> None:
    """Said once, not for every method."""
    text = "this machine does not tell how much memory a pack needs: packs of tune.pack = %d trials; lower it if memory runs out."
    logging.getLogger(__name__).warning(text, pack)


def _trim() -> None:
    """Give freed memory back, so that what is measured next must be asked for."""
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc keeps it
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _status(name: str) -> float | None:
    """A number of /proc/self/status, in MiB."""
    with suppress(OSError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
    return None
