"""How far a pre-training is, told in the process that waits for the workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_rec.errors import ArtifactError
from raytune_rec.pretraining.artifact import Facts
from raytune_rec.schema.work import numbered
from raytune_rec.storage.files import read_json

Tell = Callable[[Facts], None]
"""Is told the facts of a pre-training after each of its epochs."""

_SECONDS = 0.5
_BETWEEN = 20.0
"""Seconds between two lines, as in the search."""


def silent(facts: Facts) -> None:
    """Tell nobody."""


def saying(say: Callable[[str], None], epochs: int) -> Tell:
    """Say where a pre-training of so many epochs at most is, once in an interval."""
    last = time.monotonic()

    def tell(facts: Facts) -> None:
        nonlocal last
        if time.monotonic() - last >= _BETWEEN:
            last = time.monotonic()
            say(line(facts, epochs))

    return tell


def line(facts: Facts, epochs: int) -> str:
    """An epoch, in words."""
    name = numbered(facts["pretraining"], facts.get("replicate", 0))
    now, best = _number(facts["curve"][-1]), _number(facts["best"])
    return (
        f"pretrain {name}: {facts['epochs']} of {epochs} epochs, "
        f"loss {_number(facts['losses'][-1] if facts['losses'] else None)}, validation {facts['metric']} {now}, best {best}"
    )


@contextmanager
def following(path: Path, tell: Tell) -> Iterator[None]:
    """While the block runs, tell of each epoch that a worker notes in the file `path`, and of the last one when it ends."""
    ended = threading.Event()
    watcher = threading.Thread(target=_follow, args=(path, tell, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _follow(path: Path, tell: Tell, ended: threading.Event) -> None:
    told, last = 0, False
    while not last:
        last = ended.wait(_SECONDS)
        try:
            facts = read_json(path)
        except ArtifactError:
            continue
        if facts["epochs"] > told:
            told = facts["epochs"]
            tell(facts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
