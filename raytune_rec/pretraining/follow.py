"""One line per epoch in the process that waits for the workers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_rec.artifacts.files import read_json
from raytune_rec.errors import ArtifactError
from raytune_rec.pretraining.export import Facts

Tell = Callable[[Facts], None]
"""Is told the facts of a pre-training after each of its epochs."""

_SECONDS = 0.5
log = logging.getLogger("raytune_rec.pretraining")


def line(facts: Facts) -> None:
    """Log an epoch."""
    loss = facts["losses"][-1] if facts["losses"] else None
    log.info(
        "pre-training %s: epoch %d, loss %s, validation %s %s (best %s), %.0f rows/s",
        facts["variant"], facts["epochs"], _number(loss), facts["metric"], _number(facts["curve"][-1]), _number(facts["best"]),
        facts["rows_per_second"],
    )  # fmt: skip


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
            facts = read_json(path) if path.exists() else None
        except ArtifactError:
            continue
        if facts is not None and facts["epochs"] > told:
            told = facts["epochs"]
            tell(facts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
