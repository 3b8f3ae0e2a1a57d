"""Ray Tune's view of a planner: a searcher whose suggestions are packs."""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

from raytune_rec.schema import Pack
from raytune_rec.tuning.packs import packing
from raytune_rec.tuning.run.desk import Desk


class PackSearcher(Searcher):
    """Suggests packs until the planner is done. What Ray reports is only that a pack ended: its result is in its folder.

    Args:
        desk: of the run.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self._running: dict[str, Pack] = {}

    def suggest(self, trial_id: str) -> Any:
        """A configuration, None while a pack must be awaited, or FINISHED."""
        item = self._desk.next()
        if isinstance(item, Pack):
            self._running[trial_id] = item
            return {"pack": packing.to_text(item)}
        return None if item is None else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pack = self._running.pop(trial_id, None)
        if pack is not None:
            self._desk.ended(pack)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the journal is the truth, and Tune's own state is never read."""
