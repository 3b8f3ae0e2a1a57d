"""Whether all machines of a cluster see the same run folder. Asked before anything is done there: what a pack writes on one
machine the driver reads on another.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from raytune_rec.config import Job
from raytune_rec.errors import MachineError
from raytune_rec.storage.base import TEMPORARY
from raytune_rec.storage.claim import RUN
from raytune_rec.storage.files import STORAGE, passing
from raytune_rec.storage.places import address, located, shown

ANSWER_SECONDS = 120.0
"""Within which a machine answers; one that does not is busy or gone, and tells nothing of a path."""

_TRIES = 4
"""How often a machine may fail to answer before it is told: nodes that share one unpack what a job brought into the same folder,
and each finds it half unpacked by the other for a moment, but once."""

Ask = Callable[[Path, str, Sequence[Path]], Iterable[tuple[str, dict[str, str]]]]
"""Has every machine look (`looked`): its name, and path -> what is wrong with it there."""


def check(run_folder: Path, job: Job, ask: Ask | None = None) -> None:
    """Refuse a run folder, or a folder that packs read, that not every machine of the cluster sees.

    Args:
        run_folder: absolute.
        ask: has all machines look; None: those of the cluster that this process is connected to.

    Raises:
        MachineError: each path that is not shared, with a machine that does not see it.
        OSError: nothing can be written into the run folder from here.
    """
    if ask is None and len(_machines()) < 2:
        return
    others = [*map(Path, job.components), *([located(job.tune.winners_of)] if job.tune.winners_of else [])]
    word = secrets.token_hex(16)
    file = run_folder / f".{RUN}.{word}{TEMPORARY}"  # what an interruption leaves is known as ours
    problems: dict[str, str] = {}
    with passing(run_folder):
        STORAGE.put_if_absent(file, word.encode())
        try:
            for machine, reasons in (ask or _on_all)(file, word, others):
                for path, reason in reasons.items():
                    problems.setdefault(path, _problem(path, machine, reason))
        finally:
            STORAGE.delete(file)
    if problems:
        raise MachineError(problems.values())


def looked(file: Path, word: str, others: Sequence[Path]) -> dict[str, str]:
    """What is wrong on this machine: path -> reason.

    Args:
        file: holds the word, as the driver wrote it into the run folder. others: folders that have to be here too.
    """
    wrong = {str(path): "there is no such folder" for path in others if not address(path) and not path.is_dir()}
    try:
        there = STORAGE.get(file).decode() == word
    except OSError as error:
        return {str(file.parent): error.strerror or str(error), **wrong}
    return wrong if there else {str(file.parent): "another file lies there", **wrong}


def _problem(path: str, machine: str, reason: str) -> str:
    if address(Path(path)):
        remedy = "install what reaches that store there, and give that machine credentials for it"
        return f"{shown(path)}: {machine} does not read what this machine has put there ({reason}); {remedy}."
    remedy = "name a folder that all machines mount under this path, or a URI (s3://bucket/run)"
    return f"{path}: the machines of the cluster do not share it, {machine} does not see what is there ({reason}); {remedy}."


def _on_all(file: Path, word: str, others: Sequence[Path]) -> Iterator[tuple[str, dict[str, str]]]:
    """One small task on each machine of the cluster, the head too.

    Raises:
        MachineError: a machine cannot run it.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(looked)

    def ask(machine: dict[str, str]) -> Any:
        there = NodeAffinitySchedulingStrategy(machine["NodeID"], soft=False)
        return task.options(scheduling_strategy=there).remote(file, word, others)

    machines = _machines()
    for again in reversed(range(_TRIES)):
        asked = {ask(machine): machine for machine in machines}
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
        machines = []
        for answer in ready:
            name = f"{asked[answer]['NodeManagerHostname']} ({asked[answer]['NodeManagerAddress']})"
            try:
                yield name, ray.get(answer)
            except ray.exceptions.RayTaskError as error:  # no pack would run there either
                if not again:
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
                    raise MachineError(
                        f"{name}: does not run raytune_rec ({reason}); install this version of it, with the same packages, on "
                        "every machine of the cluster."
                    ) from error
                machines.append(asked[answer])
            except ray.exceptions.RayError:  # the machine has just gone
                continue
        if not machines:
            return


def _machines() -> list[dict[str, str]]:
    """Of the cluster; none where this process is connected to none."""
    ray: Any = sys.modules.get("ray")
    return [node for node in ray.nodes() if node["Alive"]] if ray and ray.is_initialized() else []
