"""The command `raytune-rec` with a fault within its own processes, the driver or those that train.

    export RAYTUNE_KILLS_NOTES=FILE RAYTUNE_KILLS_RUN=DIR RAYTUNE_FAULT='{"kind": "exception", "count": 7, "state": "STATE"}'
    python -m benchmarks.faults.inside run JOB --out DIR

All paths are absolute, for processes on all nodes read them. The folder STATE, which is there already, outlives processes and
attempts: it counts the events that may be struck, so that each fault comes once, at the event of its number, and says when.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults import inside as this  # by its name, so that worker processes find it too
from benchmarks.kills import notes
from raytune_rec.storage.local import Local

FAULT = "RAYTUNE_FAULT"
FIRED, FULL = "fired", "full"
"""Files of the state: when the fault came; that the disk is full until somebody makes room."""


def fault() -> dict[str, Any]:
    return dict(json.loads(os.environ.get(FAULT, "{}")))


def build(resolved: Any, pack: Any, *others: Any) -> Any:
    """The trainer of a pack, struck at one of its epochs; winners that are trained again are spared."""
    prepare_writes()
    trainer = notes.build(resolved, pack, *others)
    strike, epoch = STRIKES.get(fault().get("kind", "")), trainer.epoch
    if strike is None or "@winner" in pack.name:
        return trainer

    def struck() -> None:
        if due("epoch"):
            strike(trainer, Path(os.environ[notes.RUN]) / "checkpoints" / pack.name)
        epoch()

    trainer.epoch = struck
    return trainer


def _raise(trainer: Any, folder: Path) -> None:
    raise RuntimeError("a fault that was injected")


def _poison(trainer: Any, folder: Path) -> None:
    """The first lane's weights are no numbers any more, and so its loss is none."""
    with torch.no_grad():
        for tensor in trainer.model.trained.values():
            tensor[0] = torch.nan


def _dawdle(trainer: Any, folder: Path) -> None:
    time.sleep(fault()["seconds"])


def _delete(trainer: Any, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


STRIKES: dict[str, Callable[[Any, Path], None]] = {
    "exception": _raise, "nan": _poison, "straggler": _dawdle, "deleted": _delete,
}  # fmt: skip


def due(event: str) -> bool:
    """Count an event, over all processes and attempts; whether the fault comes with this one."""
    own = fault()
    number = tick(Path(own["state"]) / event)
    if number != own["count"]:
        return False
    fire(Path(own["state"]))
    return True


def tick(path: Path) -> int:
    """The number of a call, over all processes: each adds a byte to a file."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, b".")
        return os.lseek(handle, 0, os.SEEK_CUR)
    finally:
        os.close(handle)


def fire(state: Path) -> None:
    (state / FIRED).write_text(str(time.time()))


@cache
def prepare_writes() -> None:
    """From here on this process's writes meet the fault, where it is one of writes."""
    if (strike := WRITES.get(fault().get("kind", ""))) is None:
        return
    real = Local.put

    def put(self: Local, path: Path, fill: Callable[[Path], object], private: bool = False) -> None:
        if not path.is_relative_to(os.environ[notes.RUN]):
            return real(self, path, fill, private)
        return real(self, path, strike(path, fill), private)

    Local.put = put  # type: ignore[method-assign]


def _half(temporary: Path, fill: Callable[[Path], object]) -> None:
    fill(temporary)
    os.truncate(temporary, temporary.stat().st_size // 2)


def _kill(path: Path, fill: Callable[[Path], object]) -> Callable[[Path], object]:
    """SIGKILL for the process that writes a file of a kind, in the middle of it."""
    if not path.relative_to(os.environ[notes.RUN]).match(fault()["files"]) or not due("write"):
        return fill

    def ends(temporary: Path) -> None:
        _half(temporary, fill)
        os.kill(os.getpid(), signal.SIGKILL)

    return ends


def _full(path: Path, fill: Callable[[Path], object]) -> Callable[[Path], object]:
    """From one write on there is no room, for anybody."""
    full = Path(fault()["state"]) / FULL
    if not full.exists():
        if not due("write"):
            return fill
        full.touch()

    def fails(temporary: Path) -> None:
        _half(temporary, fill)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary))

    return fails


def _late(path: Path, fill: Callable[[Path], object]) -> Callable[[Path], object]:
    """Every write waits, now more, now less."""
    state = Path(fault()["state"])
    if (number := tick(state / "write")) == 1:
        fire(state)
    time.sleep(fault()["seconds"] * (number * 7 % 10) / 10)
    return fill


def _erring(path: Path, fill: Callable[[Path], object]) -> Callable[[Path], object]:
    """A write fails as it does where a server is asked too much."""
    if not due("write"):
        return fill

    def fails(temporary: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(temporary))

    return fails


def _timed(path: Path, fill: Callable[[Path], object]) -> Callable[[Path], object]:
    """No fault: a line for each write, with the seconds that filling and syncing its file takes."""
    began = time.perf_counter()

    def filled(temporary: Path) -> None:
        fill(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        with open(Path(fault()["state"]) / "seconds", "a", encoding="utf-8") as file:
            file.write(f"{time.perf_counter() - began}\n")

    return filled


WRITES: dict[str, Callable[[Path, Callable[[Path], object]], Callable[[Path], object]]] = {
    "killed at write": _kill, "disk full": _full, "late": _late, "erring": _erring, "timed": _timed,
}  # fmt: skip


def tell_twice() -> None:
    """The driver hears of the end of every trial twice, as where a message comes again."""
    from raytune_rec.tuning.run.ray_tune import PackSearcher

    real = PackSearcher.on_trial_complete

    def ended(self: PackSearcher, trial_id: str, *result: Any, **error: Any) -> None:
        fire(Path(fault()["state"]))
        real(self, trial_id, *result, **error)
        real(self, trial_id, *result, **error)

    PackSearcher.on_trial_complete = ended  # type: ignore[method-assign]


def pass_on() -> None:
    """Processes of a cluster that was there before get this command's variables by the runtime environment."""
    import ray

    real, names = ray.init, (FAULT, notes.NOTES, notes.RUN, "PYTHONPATH")

    def init(*args: Any, **options: Any) -> Any:
        variables = options["runtime_env"]["env_vars"]
        variables.update({name: os.environ[name] for name in names if name in os.environ})
        return real(*args, **options)

    ray.init = init


def main() -> int:
    prepare_writes()
    if fault().get("kind") == "told twice":
        tell_twice()
    if "RAY_ADDRESS" in os.environ:
        pass_on()
    return notes.main(this.build, 10.0 if fault().get("kind") == "timed" else notes.SECONDS)


if __name__ == "__main__":
    sys.exit(this.main())
