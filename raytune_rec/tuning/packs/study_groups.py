"""Studies that share packs, in rounds: ask, train, decide who goes on, tell. The plan of it stands in the journal.

A study group is one large unit, or several small ones of a method. A round asks its studies for configurations, which
climb one ladder of early stopping; the lanes that train side by side up to a rung are a rung batch. When all of its packs have
reported, the rung is decided study by study: who has ended, or was stopped, is told; the others form the next one, in new packs.

Each of these steps is one segment of the journal. A rung batch that is not decided yet is trained again after an interruption,
from the states and results that its packs left on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from raytune_rec.config import Job
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.schema.work import Lane, LaneResult, Pack
from raytune_rec.tuning.packs.packing import Width, pack_name, parts, shared
from raytune_rec.tuning.search.early_stopping import Member, ladders, survivors, turn
from raytune_rec.tuning.search.journal import Journal
from raytune_rec.tuning.search.studies import Search, Studies, Study

PLAN, WIDTH = "plan", "width"
Measure = Callable[[Search], Width]
Place = tuple[int, int, int]
"""Round, ladder and rung of a rung batch, each from 0."""

Plan = list[dict[str, Any]]
"""The packs of a rung batch as the journal keeps them: name, until, lanes as (unit, trial), and where they go on from."""


class StudyGroup:
    """Studies that share packs.

    Args:
        studies: of one method; their units are of a like size where there are several.
        tune: rule of early stopping.
        journal: that all studies write to.
        width: most lanes of a pack.
        abreast: packs of the group that can train at a time: a rung batch is cut into at least as many.
    """

    def __init__(self, studies: Sequence[Study], tune: TuneOptions, journal: Journal, width: int, abreast: int = 1) -> None:
        self.studies = {study.search.unit: study for study in studies}
        self.method = studies[0].search.method
        self._lead, self._tune, self._journal, self._width = studies[0], tune, journal, width
        self._abreast = abreast
        self._climbs = ladders(tune.stop, self._lead.search.epochs)
        keys = sorted(key for key in self._lead.attributes if key.startswith(PLAN + "."))
        self._plans: dict[Place, Plan] = {_place(key): self._lead.attributes[key] for key in keys}
        settled = {unit: study.settled() for unit, study in self.studies.items()}
        self._open: dict[Place, list[Pack]] = {}
        for place, plan in self._plans.items():
            left = [planned for planned in plan if any(t not in settled[unit] for unit, t in planned["lanes"])]
            if left and _next(place) not in self._plans:
                self._open[place] = self._packs(plan if plan[0]["until"] else left)
        self._results: dict[Place, dict[str, Sequence[LaneResult]]] = {place: {} for place in self._open}

    def open(self) -> list[Pack]:
        """Packs of rung batches that are not decided."""
        return [pack for packs in self._open.values() for pack in packs]

    def past(self) -> list[str]:
        """Packs whose folders may go."""
        return self._idle(self._plans)

    def ask(self) -> list[Pack]:
        """The first rung batches of the next round: one write to the journal. Empty while some are open or budgets are spent."""
        counts = {unit: min(s.pace.round, s.budget - s.asked()) for unit, s in self.studies.items()}
        if self._open or not any(n > 0 for n in counts.values()):
            return []
        number = 1 + max((place[0] for place in self._plans), default=-1)
        ladder = turn([share for _, share in self._climbs], number)
        with self._journal.batch():
            lanes = [lane for unit, study in self.studies.items() if counts[unit] > 0 for lane in study.ask(counts[unit])]
            if lanes:
                self._begin((number, ladder, 0), lanes, {})
        return self.open()

    def report(self, pack: Pack, results: Sequence[LaneResult]) -> tuple[list[Pack], list[str]]:
        """Take the results of a pack, and tell who has ended. Returns the packs that come next, and those that may go."""
        place = next((p for p, packs in self._open.items() if any(pack.name == other.name for other in packs)), None)
        if place is None:  # decided already
            return [], []
        self._results[place][pack.name] = results
        self._tell(zip(pack.lanes, results, strict=True))
        if not pack.until:
            self._open[place] = [other for other in self._open[place] if other.name != pack.name]
        if len(self._results[place]) < len(self._open[place]) if pack.until else self._open[place]:
            return [], self._idle([place])
        if pack.until:
            self._decide(place)
        self._open.pop(place, None)
        del self._results[place]
        return self._open.get(_next(place), []), self._idle([_previous(place), place])

    def _tell(self, reached: Iterable[tuple[Lane, LaneResult]]) -> None:
        by_unit: dict[str, list[LaneResult]] = {}
        for lane, result in reached:
            if result.status != "paused":
                by_unit.setdefault(lane.unit, []).append(result)
        with self._journal.batch():
            for unit, results in by_unit.items():
                self.studies[unit].tell(results)

    def _decide(self, place: Place) -> None:
        """Tell who is stopped, and plan the rung batch of the others: one write to the journal."""
        reached = [
            (lane, result, (pack.name, i))
            for pack in self._open[place]
            for i, (lane, result) in enumerate(zip(pack.lanes, self._results[place][pack.name], strict=True))
        ]
        until, lanes, after = self._open[place][0].until, list[Lane](), dict[tuple[str, int], tuple[str, int]]()
        with self._journal.batch():
            for unit, study in self.studies.items():
                of_unit = [entry for entry in reached if entry[0].unit == unit]
                kept = self._kept(place, until, study, [result for _, result, _ in of_unit])
                study.tell([replace(r, status="pruned") for _, r, _ in of_unit if r.status == "paused" and r.trial not in kept])
                on = sorted(((lane, at) for lane, _, at in of_unit if lane.trial in kept), key=lambda entry: entry[0].trial)
                lanes += [lane for lane, _ in on]
                after |= {(unit, lane.trial): at for lane, at in on}
            if lanes:
                self._begin(_next(place), lanes, after)

    def _kept(self, place: Place, until: int, study: Study, results: Sequence[LaneResult]) -> set[int]:
        """Trials of one study's bracket that go on."""
        paused = {r.trial for r in results if r.status == "paused"}
        if not paused:
            return set()
        members = [Member(r.trial, r.curve, r.best if r.status != "failed" else math.nan) for r in results]
        rounds = [planned for at, plan in self._plans.items() if at[0] == place[0] for planned in plan]
        first = min(trial for planned in rounds for unit, trial in planned["lanes"] if unit == study.search.unit)
        return paused & survivors(self._tune.stop, until, members, study.curves(first), study.higher)

    def _begin(self, place: Place, lanes: Sequence[Lane], after: Mapping[tuple[str, int], tuple[str, int]]) -> None:
        """Plan a rung batch and write it down. Where every bracket has one trial left, nobody is to be stopped any more."""
        climb, (number, ladder, rung) = self._climbs[place[1]][0], place
        contested = any(sum(lane.unit == unit for lane in lanes) > 1 for unit in self.studies)
        until = climb[rung] if rung < len(climb) and contested else 0
        plan = [
            {
                "name": pack_name(self.method, list(self.studies), f"r{number}", f"b{ladder}", f"h{rung}", f"p{k}"),
                "until": until,
                "lanes": [[lane.unit, lane.trial] for lane in part],
                "after": [list(after[lane.unit, lane.trial]) for lane in part if after],
            }
            for k, part in enumerate(parts(lanes, self._width, self._lead.search.structure, self._abreast))
        ]
        self._lead.set_attribute(_key(place), plan)
        self._plans[place], self._open[place], self._results[place] = plan, self._packs(plan), {}

    def _packs(self, plan: Plan) -> list[Pack]:
        numbers = {unit: [t for planned in plan for u, t in planned["lanes"] if u == unit] for unit in self.studies}
        lanes = {unit: study.lanes(numbers[unit]) for unit, study in self.studies.items()}
        return [
            Pack(
                planned["name"], self.method, tuple(lanes[unit][t] for unit, t in planned["lanes"]), planned["until"],
                tuple((name, i) for name, i in planned["after"]),
            )
            for planned in plan
        ]  # fmt: skip

    def _idle(self, places: Iterable[Place]) -> list[str]:
        """Packs of some rung batches that are neither open nor what an open one goes on from."""
        packs = self.open()
        needed = {pack.name for pack in packs} | {name for pack in packs for name, _ in pack.after}
        return [planned["name"] for place in places for planned in self._plans.get(place, []) if planned["name"] not in needed]


def form(studies: Studies, searches: Sequence[Search], measure: Measure | None = None, slots: int = 1) -> list[StudyGroup]:
    """The study groups of all searches, whose studies are opened or made.

    Args:
        measure: finds how wide packs may be; called once for each method, and recorded. None: as the job says.
        slots: packs that can train at a time; the groups share them.
    """
    job, sharing = studies.job, list[tuple[list[Study], int]]()
    for method in dict.fromkeys(search.method for search in searches):
        of_method = {search.unit: search for search in searches if search.method == method}
        opened = {unit: studies.open(search) for unit, search in of_method.items()}
        width = _width(next(iter(opened.values())), list(of_method.values()), job, measure)
        rows = {unit: search.rows for unit, search in of_method.items()}
        groups = shared(rows, next(iter(opened.values())).pace.round, width, job.tune.share_rows)
        sharing += [([opened[unit] for unit in units], width) for units in groups]
    abreast = -(-slots // max(1, len(sharing)))
    return [StudyGroup(together, job.tune, studies.journal, width, abreast) for together, width in sharing]


def _width(lead: Study, searches: Sequence[Search], job: Job, measure: Measure | None) -> int:
    """Most lanes of a method's packs: measured once, on its largest unit, and recorded with its first study."""
    if WIDTH not in lead.attributes:
        largest = max(searches, key=lambda search: search.rows)
        most = lead.pace.round * len(searches)  # more lanes are never ready at a time, and those of a language model take minutes
        largest = replace(largest, most_lanes=min(largest.most_lanes or most, most))
        width = measure(largest) if measure and largest.space.dimensions else Width(job.tune.pack)
        lead.set_attribute(WIDTH, asdict(width))
    return min(searches[0].most_lanes or job.tune.pack, job.tune.pack, int(lead.attributes[WIDTH]["lanes"]))


def _next(place: Place) -> Place:
    return place[0], place[1], place[2] + 1


def _previous(place: Place) -> Place:
    return place[0], place[1], place[2] - 1


def _key(place: Place) -> str:
    return "{}.{:06d}.{:02d}.{:03d}".format(PLAN, *place)


def _place(key: str) -> Place:
    number, ladder, rung = (int(part) for part in key.split(".")[1:])
    return number, ladder, rung
