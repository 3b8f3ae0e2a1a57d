"""What is tested on a unit: rows with a label each, candidate lists, or classes. Each says the same things in its own way.

Shapes: R replicates, N rows or lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from raytune_rec.errors import UserError
from raytune_rec.evaluation.measures import measure_classes
from raytune_rec.evaluation.measures import spread as spreads
from raytune_rec.evaluation.measures.inputs import ClassOutcomes, ListOutcomes, Outcome, Predictions
from raytune_rec.evaluation.measures.measure import Meter, RowMeter, Undrawn, cohort
from raytune_rec.evaluation.measures.measure_lists import BEST, COMPARED, OF_COHORTS, SHUFFLED, ListMeter, chosen
from raytune_rec.evaluation.metrics.candidate_lists import mean_of
from raytune_rec.evaluation.uncertainty.users import Users

Groups = Mapping[str, NDArray[np.integer]]
Mask = NDArray[np.bool_]


class Tested(Protocol):
    """All rows of the table on all units.

    Attributes:
        kind: as in `results.json`. ties: what they count there. compared: the metrics of comparisons. lead: that which ranks the
            rows of the table. groups: unit -> (N,) user ids. units: in order.
    """

    kind: str
    ties: str
    compared: Sequence[str]
    lead: str
    groups: Groups
    units: list[str]

    def meter(self, unit: str, users: Users) -> Meter: ...

    def facts(self, unit: str) -> dict[str, Any]:
        """What `results.json` says of a unit."""

    def size(self, unit: str, mask: Mask) -> dict[str, Any]: ...

    def cohort(self, unit: str, mask: Mask, places: NDArray[np.intp], size: int) -> Meter:
        """Of the rows in `mask`. places: the user of each of these, among `size`."""

    def beside(self, method: str, unit: str) -> dict[str, Any]:
        """What the measures of a method on a unit hold besides metrics."""


class RowsTested:
    """Rows with a label each.

    Args:
        predictions: of methods of the table on units. labels: unit -> (N,). groups: unit -> (N,) user ids.
    """

    kind = "rows"
    ties = "count half"
    compared: Sequence[str] = ("auc",)
    lead = "auc"

    def __init__(self, predictions: Sequence[Predictions], labels: Mapping[str, NDArray[np.floating]], groups: Groups) -> None:
        self._labels, self.groups = labels, groups
        self._predictions = {(p.method, p.unit): p for p in predictions}
        self.units = [u for u in labels if any(p.unit == u for p in predictions)]
        _users_known({u: len(labels[u]) for u in self.units}, groups, "rows")

    def meter(self, unit: str, users: Users) -> Meter:
        methods = {method: p for (method, u), p in self._predictions.items() if u == unit}
        return RowMeter(methods, self._labels[unit], users.places[unit], users.size)

    def facts(self, unit: str) -> dict[str, Any]:
        every = np.ones(len(self._labels[unit]), dtype=np.bool_)
        tied = [method for (method, u), p in self._predictions.items() if u == unit and _constant_rows(p.scores)]
        return {**self.size(unit, every), "users": len(np.unique(self.groups[unit]))} | ({"tied": tied} if tied else {})

    def size(self, unit: str, mask: Mask) -> dict[str, Any]:
        return {"n": int(mask.sum()), "positives": int((np.asarray(self._labels[unit])[mask] > 0).sum())}

    def cohort(self, unit: str, mask: Mask, places: NDArray[np.intp], size: int) -> Meter:
        of_unit = {method: p for (method, u), p in self._predictions.items() if u == unit}
        values = {method: cohort(p.scores, self._labels[unit], mask) for method, p in of_unit.items()}
        return Undrawn(values, {method: p.trained for method, p in of_unit.items()})

    def beside(self, method: str, unit: str) -> dict[str, Any]:
        return {}


class ListsTested:
    """Candidate lists, each with one positive.

    Args:
        outcomes: of methods of the table on units. groups: unit -> (N,) user ids.

    Raises:
        UserError: methods of the table that were tested on different lists.
    """

    kind = "lists"
    ties = "expected value over a random order of the tied"
    compared: Sequence[str] = COMPARED
    lead = "auc"

    def __init__(self, outcomes: Sequence[ListOutcomes], groups: Groups) -> None:
        self.groups = groups
        self._outcomes = {(o.method, o.unit): o for o in outcomes}
        self.units = _tested_units(groups, outcomes)
        _users_known({u: self._count(u) for u in self.units}, groups, "lists")
        for unit in self.units:
            self._same(unit)

    def meter(self, unit: str, users: Users) -> Meter:
        return ListMeter(self._of(unit), users.places[unit], users.size)

    def facts(self, unit: str) -> dict[str, Any]:
        outcomes = self._of(unit).values()
        known: dict[str, Outcome] = {}
        for o in outcomes:
            known = o.rankings | known
        rankings = {name.replace(".", "_"): known[name] for name in known if name != SHUFFLED}
        sizes: dict[str, Any] = {f"{name}candidates": _range(ranking) for name, ranking in rankings.items()}
        sizes |= {f"{name}constant": _constant(name, ranking) for name, ranking in rankings.items()}
        best = {name: ranking for name, ranking in rankings.items() if name.startswith(BEST)}
        sizes |= {f"{name}found": 1 - float(_missed(name, ranking).mean()) for name, ranking in best.items()}
        tied = [method for method, o in self._of(unit).items() if _alike(o.sampled)]
        facts = {"n": self._count(unit), "users": len(np.unique(self.groups[unit])), **sizes}
        spread = {"score_edges": spreads.EDGES} if any(o.spread is not None for o in outcomes) else {}
        return facts | ({"tied": tied} if tied else {}) | spread

    def size(self, unit: str, mask: Mask) -> dict[str, Any]:
        return {"n": int(mask.sum()), "users": len(np.unique(self.groups[unit][mask]))}

    def cohort(self, unit: str, mask: Mask, places: NDArray[np.intp], size: int) -> Meter:
        of_lists = {method: chosen(o, mask) for method, o in self._of(unit).items()}
        return ListMeter(of_lists, places, size, OF_COHORTS)

    def beside(self, method: str, unit: str) -> dict[str, Any]:
        spread = self._outcomes[method, unit].spread
        return {} if spread is None else {"scores": spread.facts()}

    def _of(self, unit: str) -> dict[str, ListOutcomes]:
        return {method: o for (method, u), o in self._outcomes.items() if u == unit}

    def _count(self, unit: str) -> int:
        return len(next(iter(self._of(unit).values())).sampled.candidates)

    def _same(self, unit: str) -> None:
        count = self._count(unit)
        for method, o in self._of(unit).items():
            for outcome in o.rankings.values():
                if (lists := np.shape(outcome.better)[-1]) != count or np.shape(outcome.ties)[-1] != count:
                    rule = f"method {method!r} has {lists} lists, others {count}"
                    raise UserError(f"{unit}: {rule}; test all methods on the same lists.")


class ClassesTested:
    """Users with a class each.

    Args:
        outcomes: of methods of the table on units. groups: unit -> (N,) user ids.

    Raises:
        UserError: methods of the table that were tested on different users.
    """

    kind = "classes"
    ties = "of equal scores the class that training met more often"
    compared: Sequence[str] = measure_classes.COMPARED
    lead = "accuracy"

    def __init__(self, outcomes: Sequence[ClassOutcomes], groups: Groups) -> None:
        self.groups = groups
        self._outcomes = {(o.method, o.unit): o for o in outcomes}
        self.units = _tested_units(groups, outcomes)
        for o in outcomes:
            if not np.array_equal(o.truth, self._truth(o.unit)) or np.shape(o.predicted)[-1] != len(o.truth):
                raise UserError(f"{o.unit}: method {o.method!r} has other users or classes; test all methods on the same users.")
        _users_known({u: len(self._truth(u)) for u in self.units}, groups, "rows")

    def meter(self, unit: str, users: Users) -> Meter:
        outcomes = {method: o for (method, u), o in self._outcomes.items() if u == unit}
        return measure_classes.ClassMeter(outcomes, users.places[unit])

    def facts(self, unit: str) -> dict[str, Any]:
        _, counts = np.unique(self._truth(unit), return_counts=True)
        users = len(np.unique(self.groups[unit]))
        tied = [o.method for o in self._outcomes.values() if o.unit == unit and _constant_rows(o.predicted)]
        facts = {"n": int(counts.sum()), "users": users, "classes": len(counts), "largest": counts.max() / counts.sum()}
        return facts | ({"tied": tied} if tied else {})

    def size(self, unit: str, mask: Mask) -> dict[str, Any]:
        return {"n": int(mask.sum())}

    def cohort(self, unit: str, mask: Mask, places: NDArray[np.intp], size: int) -> Meter:
        of_unit = {method: o for (method, u), o in self._outcomes.items() if u == unit}
        values = {method: measure_classes.values(o, mask) for method, o in of_unit.items()}
        return Undrawn(values, {method: o.trained for method, o in of_unit.items()})

    def beside(self, method: str, unit: str) -> dict[str, Any]:
        return {}

    def _truth(self, unit: str) -> NDArray[np.integer]:
        return next(o.truth for (_, u), o in self._outcomes.items() if u == unit)


def _tested_units(groups: Groups, outcomes: Sequence[ListOutcomes] | Sequence[ClassOutcomes]) -> list[str]:
    """In the order of the groups."""
    tested = dict.fromkeys(o.unit for o in outcomes)
    return [u for u in dict.fromkeys([*groups, *tested]) if u in tested]


def _users_known(sizes: Mapping[str, int], groups: Groups, what: str) -> None:
    """Refuse rows whose users are not told: users are what is resampled.

    Raises:
        UserError: every unit whose number of user ids is not that of its rows.
    """
    given = {unit: len(groups.get(unit, ())) for unit in sizes}
    wrong = [f"{u}: {n} {what} and {given[u]} user ids; give each one its user." for u, n in sizes.items() if given[u] != n]
    if wrong:
        raise UserError(wrong)


def _constant_rows(values: NDArray[Any]) -> bool:
    """Whether a replicate or more of (R, N) or (N,) says the same of every row. Of one row nothing can differ."""
    rows = np.atleast_2d(values)
    return rows.shape[1] > 1 and bool((rows == rows[:, :1]).all(axis=1).any())


def _alike(outcome: Outcome) -> bool:
    """Whether the candidates of a list all score the same, in every list: nothing is known that tells them apart."""
    return bool(np.all(np.equal(outcome.better, 0) & np.equal(outcome.ties, np.asarray(outcome.candidates) - 1)))


def _constant(name: str, outcome: Outcome) -> dict[str, float]:
    """What a score that is the same for all candidates of a ranking reaches: what ties alone are worth."""
    size, missed = (torch.as_tensor(a).double().unsqueeze(0) for a in (outcome.candidates, _missed(name, outcome)))
    others = size - 1
    return {metric: float(mean_of(metric, others * missed, others * (1 - missed), size)) for metric in ("hit@10", "ndcg@10")}


def _missed(name: str, outcome: Outcome) -> Mask:
    """(N,) which lists of a ranking lack the positive (of a `BEST` alone): it stands behind them, as one candidate more."""
    size = np.asarray(outcome.candidates)
    return size > int(name.removeprefix(BEST).removesuffix("_")) if name.startswith(BEST) else np.zeros(len(size), np.bool_)


def _range(outcome: Outcome) -> list[int]:
    """[least, most] candidates of a list."""
    return [int(np.min(outcome.candidates)), int(np.max(outcome.candidates))] if len(outcome.candidates) else [0, 0]
