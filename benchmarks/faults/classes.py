"""The classes of faults: what is done to a run, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults.cluster import NODES, Nodes
from benchmarks.faults.fault import Class, Drawn, Start
from benchmarks.kills import damage, journal
from benchmarks.kills.moments import MOST, Moment, draw
from benchmarks.kills.sweep import STAGES, Strike


def within(kind: str, least: int, most: int, **more: Any) -> Callable[..., Drawn]:
    """A fault within the processes, at an event whose number is drawn."""

    def drawn(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
        values = {name: value(chance) if callable(value) else value for name, value in more.items()}
        return Drawn(inside={"kind": kind, "count": chance.randint(least, most), **values})

    return drawn


def _driver(target: str) -> Callable[..., Drawn]:
    """The driver is struck in a stage that is drawn, at any second of it."""

    def drawn(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
        stage = chance.choice(STAGES)
        start: Start = {"prepare": "nothing", "pretrain": "prepared"}.get(stage, "pretrained")  # type: ignore[assignment]
        before = STAGES.index(stage) - {"nothing": 0, "prepared": 1}.get(start, 2)
        moment = Moment("stage", before, chance.uniform(0.0, seconds[stage]))
        return Drawn((Strike(target, moment, chance.random() < 1 / 2),), start)

    return drawn


def _worker(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    kinds = {kind: MOST[kind] for kind in ("checkpoint", "result", "segment")}
    return Drawn((Strike("worker", draw(chance, seconds["tune"], kinds)),))


def _train_worker(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    """Undisturbed the driver pre-trains by itself, with the same result as one worker."""
    strike = Strike("worker", Moment("time", 0, chance.uniform(0.0, seconds["pretrain"])))
    workers = ("--set", "pretrain.workers=1")
    return Drawn((strike,), "prepared", first=workers, words=workers)


def _in_search(chance: random.Random) -> Moment:
    return Moment(
        *chance.choice([("checkpoint", chance.randint(1, 6)), ("result", chance.randint(1, 3))]), chance.uniform(0.0, 1.0)
    )


def node(how: str, when: Callable[[random.Random], Moment] = _in_search) -> Callable[..., Drawn]:
    """A node, or all of them, is struck.

    Args:
        how: method of `Nodes`.
        when: draws the moment.
    """

    def drawn(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
        place, moment = chance.randrange(NODES), when(chance)
        blow = nodes.lose_head if how == "lose_head" else lambda: bool(getattr(nodes, how)(place))
        return Drawn((Strike(how, moment, blow=blow),))

    return drawn


def _segment(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    """Nothing makes a segment anew: it is refused by name, and the run goes on once it is copied back."""
    kept: dict[Path, bytes] = {}
    case = chance.choice(list(damage.CASES))

    def damaged(run: Path) -> Path:
        segment = chance.choice(journal.segments(run / "journal")[:-1])
        kept[segment] = segment.read_bytes()
        damage.CASES[case](segment, chance)
        return segment

    def mended(run: Path) -> None:
        for segment, content in kept.items():
            segment.write_bytes(content)

    return Drawn(start="finished", before=damaged, refused=mended)


def _spoil(path: Path, chance: random.Random) -> Path:
    """A byte is flipped, the end is cut off, or all is gone."""
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    content[place] ^= 1
    flipped, cut = bytes(content), bytes(content[:place])
    spoils: list[Callable[[], object]] = [lambda: path.write_bytes(flipped), lambda: path.write_bytes(cut), path.unlink]
    chance.choice(spoils)()
    return path


def _finished_files(*patterns: str) -> Callable[..., Drawn]:
    """A file of a finished run is spoilt; the same command, told to read all, makes it anew."""

    def drawn(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
        def spoilt(run: Path) -> Path:
            return _spoil(chance.choice(sorted(path for pattern in patterns for path in run.glob(pattern))), chance)

        return Drawn(start="finished", before=spoilt, first=("--verify",), words=("--verify",))

    return drawn


def _checkpoint(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    """The driver is killed with packs at work, and files of their checkpoints are spoilt before it begins again."""

    def spoilt(run: Path) -> None:
        if paths := sorted(run.glob("checkpoints/*/state*")):
            _spoil(chance.choice(paths), chance)

    return Drawn((Strike("driver", Moment("checkpoint", chance.randint(1, 12))),), between=spoilt)


def _concurrency(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    """The driver is killed, and goes on with another number of packs at a time."""
    number = chance.choice([1, 3])
    return Drawn((Strike("driver", _in_search(chance)),), words=("--set", f"tune.concurrent={number}"))


def _room(run: Path) -> None:
    """Somebody makes room on the disk: see `inside.FULL`."""
    (run.parent / f"{run.name}.state" / "full").unlink(missing_ok=True)


def _disk_full(chance: random.Random, seconds: Mapping[str, float], nodes: Nodes) -> Drawn:
    return Drawn(inside={"kind": "disk full", "count": chance.randint(1, 60)}, between=_room)


EPOCHS = 40
"""Most epochs of packs that are waited for: the search of an undisturbed run has more."""

CLASSES: Mapping[str, Class] = {
    "trial_exception": Class(within("exception", 1, EPOCHS)),
    "nan_loss": Class(within("nan", 1, EPOCHS), same=False),
    "worker_killed": Class(_worker),
    "train_worker_killed": Class(_train_worker),
    "driver_killed": Class(_driver("driver")),
    "driver_sigterm": Class(_driver("sigterm")),
    "killed_in_checkpoint": Class(within("killed at write", 1, 12, files="checkpoints/*/state*")),
    "killed_in_export": Class(
        within("killed at write", 1, 4, files=lambda chance: chance.choice(["winners/*/*/*", "artifacts/*/*"]))
    ),
    "disk_full": Class(_disk_full),
    "damaged_segment": Class(_segment),
    "damaged_checkpoint": Class(_checkpoint),
    "damaged_artifact": Class(_finished_files("artifacts/*/*", "backbones/*/*.safetensors")),
    "damaged_parquet": Class(_finished_files("data/**/*.parquet")),
    "straggler": Class(within("straggler", 1, EPOCHS, seconds=5.0)),
    "trial_deleted": Class(within("deleted", 1, EPOCHS)),
    "told_twice": Class(within("told twice", 1, 1)),
    "concurrency_changed": Class(_concurrency),
    "storage_late": Class(within("late", 1, 1, seconds=0.2)),
    "storage_errors": Class(within("erring", 1, 60)),
    "raylet_crash": Class(node("crash")),
    "node_replaced": Class(node("replace")),
    "head_lost": Class(node("lose_head")),
}
