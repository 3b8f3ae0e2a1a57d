"""What is trained next. A planner hands out packs and takes their results; it knows nothing of processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from raytune_rec.schema import LaneResult, Pack
from raytune_rec.tuning.studies import Search, Studies, Study


class Done(Enum):
    """Nothing is left to hand out, and nothing is awaited."""

    DONE = "done"


DONE = Done.DONE


@dataclass(frozen=True)
class Progress:
    """How far a planner is.

    Args:
        done, total: trials.
        best: study -> best validation metric so far.
    """

    done: int
    total: int
    best: Mapping[str, float] = field(default_factory=dict)


class Planner(Protocol):
    """Hands out packs.

    A pack is handed out once; the caller brings its results, after a restart too. The order in which they come decides nothing.
    """

    def next(self) -> Pack | Done | None:
        """A pack to train; None while one must be awaited; DONE at the end."""
        ...

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> None:
        """The results of a pack's lanes. A pack that is done already is left as it is."""
        ...

    def told(self) -> Iterable[Pack]:
        """Packs whose results are stored for good: their folders may go."""
        ...

    def progress(self) -> Progress: ...


class SearchPlanner:
    """Studies side by side. A study's next round is asked when all packs of its last one are told.

    Args:
        studies: of one journal; their packs are handed out in turns.
    """

    def __init__(self, studies: Sequence[Study]) -> None:
        self._studies = {study.name: study for study in studies}
        self._queues = {study.name: deque(p for p in study.packs() if not study.told(p)) for study in studies}
        self._awaited: dict[str, set[str]] = {study.name: set() for study in studies}
        self._turns = deque(study.name for study in studies)
        self._finished = {study.name: study.finished() for study in studies}
        self._best = {study.name: study.best() for study in studies}

    @classmethod
    def of(cls, studies: Studies, searches: Iterable[Search]) -> SearchPlanner:
        """A planner of searches, whose studies are opened or made."""
        return cls([studies.open(search) for search in searches])

    def next(self) -> Pack | Done | None:
        for _ in range(len(self._turns)):
            name = self._turns.popleft()
            queue, awaited = self._queues[name], self._awaited[name]
            if not queue and not awaited:
                queue += self._studies[name].ask()
            if queue or awaited:  # else its budget is spent
                self._turns.append(name)
            if queue:
                pack = queue.popleft()
                awaited.add(pack.name)
                return pack
        return None if any(self._awaited.values()) else DONE

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> None:
        study = self._studies[f"{pack.row}/{pack.unit}"]
        study.tell(results)
        self._awaited[study.name].discard(pack.name)
        self._finished[study.name] = study.finished()
        self._best[study.name] = study.best()

    def told(self) -> Iterable[Pack]:
        return [pack for study in self._studies.values() for pack in study.packs() if study.told(pack)]

    def progress(self) -> Progress:
        total = sum(max(study.budget, study.asked()) for study in self._studies.values())
        return Progress(sum(self._finished.values()), total, {k: v for k, v in self._best.items() if v is not None})


class FixedPlanner:
    """A list of packs, each trained once: the winners, with their replicates.

    Args:
        packs: with names that differ from those of the search.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        assert len({pack.name for pack in packs}) == len(packs), "packs share a folder"
        self._queue = deque(packs)
        self._awaited: set[str] = set()
        self._lanes = {pack.name: len(pack.lanes) for pack in packs}
        self.results: dict[str, tuple[LaneResult, ...]] = {}
        """Pack -> results of its lanes, in their order."""

    def next(self) -> Pack | Done | None:
        if self._queue:
            pack = self._queue.popleft()
            self._awaited.add(pack.name)
            return pack
        return None if self._awaited else DONE

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> None:
        self._awaited.discard(pack.name)
        self.results[pack.name] = tuple(results)

    def told(self) -> Iterable[Pack]:
        return ()  # the results are the folders

    def progress(self) -> Progress:
        return Progress(sum(self._lanes[name] for name in self.results), sum(self._lanes.values()))
