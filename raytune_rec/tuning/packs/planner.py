"""What is trained next. A planner hands out packs and takes their results; it knows nothing of processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.tuning.packs.study_groups import Measure, StudyGroup, form
from raytune_rec.tuning.search.studies import Search, Studies


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
        units_done, units: units, and those of them whose searches are all at their end; 0 of 0 where nothing is searched.
    """

    done: int
    total: int
    best: Mapping[str, float] = field(default_factory=dict)
    units_done: int = 0
    units: int = 0


class Planner(Protocol):
    """Hands out packs.

    A pack is handed out once; the caller brings its results, after a restart too. The order in which they come decides nothing.
    """

    def next(self) -> Pack | Done | None:
        """A pack to train; None while one must be awaited; DONE at the end."""
        ...

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> Iterable[str]:
        """The results of a pack's lanes; names packs that are needed no more. A pack that is done already is left as it is."""
        ...

    def past(self) -> Iterable[str]:
        """Packs of an earlier start that are needed no more: their folders may go."""
        ...

    def progress(self) -> Progress: ...


class SearchPlanner:
    """Groups of studies side by side, each at its own pace.

    Args:
        groups: of one journal; their packs are handed out in turns.
    """

    def __init__(self, groups: Sequence[StudyGroup]) -> None:
        self._groups = {(group.method, unit): group for group in groups for unit in group.studies}
        self._queues = {group: deque(group.open()) for group in groups}
        self._awaited: dict[StudyGroup, set[str]] = {group: set() for group in groups}
        self._turns = deque(groups)
        studies = [study for group in groups for study in group.studies.values()]
        self._finished = {study.name: study.finished() for study in studies}
        self._total = {study.name: max(study.budget, study.asked()) for study in studies}
        self._best = {study.name: study.best() for study in studies}

    @classmethod
    def of(cls, studies: Studies, searches: Sequence[Search], measure: Measure | None = None, slots: int = 1) -> SearchPlanner:
        """A planner of searches, whose studies are opened or made."""
        return cls(form(studies, searches, measure, slots))

    def next(self) -> Pack | Done | None:
        for _ in range(len(self._turns)):
            group = self._turns.popleft()
            queue, awaited = self._queues[group], self._awaited[group]
            if not queue and not awaited:
                queue += group.ask()
            if queue or awaited:  # else its budget is spent
                self._turns.append(group)
            if queue:
                pack = queue.popleft()
                awaited.add(pack.name)
                return pack
        return None if any(self._awaited.values()) else DONE

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> Iterable[str]:
        group = self._groups[pack.method, pack.lanes[0].unit]
        following, gone = group.report(pack, results)
        self._queues[group] += following
        self._awaited[group].discard(pack.name)
        for unit in pack.units:
            study = group.studies[unit]
            self._finished[study.name] = study.finished()
            self._best[study.name] = study.best()
        return gone

    def past(self) -> Iterable[str]:
        return [name for group in dict.fromkeys(self._groups.values()) for name in group.past()]

    def progress(self) -> Progress:
        best = {k: v for k, v in self._best.items() if v is not None}
        units = {unit for _, unit in self._groups}
        names = {(unit, group.studies[unit].name) for (_, unit), group in self._groups.items()}
        open_units = {unit for unit, name in names if self._finished[name] < self._total[name]}
        return Progress(sum(self._finished.values()), sum(self._total.values()), best, len(units - open_units), len(units))


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

    def done(self, pack: Pack, results: Sequence[LaneResult]) -> Iterable[str]:
        self._awaited.discard(pack.name)
        self.results[pack.name] = tuple(results)
        return ()  # the results are the folders

    def past(self) -> Iterable[str]:
        return ()

    def progress(self) -> Progress:
        return Progress(sum(self._lanes[name] for name in self.results), sum(self._lanes.values()))
