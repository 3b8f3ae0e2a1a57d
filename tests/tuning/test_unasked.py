"""No configuration is asked twice, and no study has more trials than there are different ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from raytune_rec.schema.work import LaneResult
from raytune_rec.tuning.search.records import trials, winners
from raytune_rec.tuning.search.space import Dimension, Point, Space
from raytune_rec.tuning.search.studies import Search, Studies, Study
from tests.tuning import fake

SAMPLERS = ["tpe", "random", "grid", "gp", "qmc", "nsga2"]
RATE, DEPTH, DROP = "training.lr.default", "backbone.layers", "backbone.dropout"


def _study(folder: Path, space: Space, **tune: Any) -> Study:
    return Studies(folder, fake.job(**tune)).open(Search("plate", "music", space, fake.alike))


def _search(study: Study) -> list[dict[str, Any]]:
    """All rounds of a study, told with made-up values."""
    while (count := min(study.pace.round, study.budget - study.asked())) > 0:
        with study._storage._backend.batch():  # type: ignore[attr-defined]  # one write
            asked = study.ask(count)
            study.tell([LaneResult(lane.trial, 0, "complete", lane.trial % 5 / 7, 0, (), (), 1, 0.0, 1) for lane in asked])
        if not asked:
            break
    return [dict(lane.options) for lane in study.lanes(range(study.asked())).values()]


def _different(points: list[dict[str, Any]]) -> set[Any]:
    return {tuple(sorted(point.items())) for point in points}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_three_points_have_three_trials(tmp_path: Path, sampler: str) -> None:
    space = Space((Dimension(DROP, "float", 0.0, 0.2, step=0.1),))
    study = _study(tmp_path, space, trials=16, round=16, sampler=sampler)
    assert study.budget == 3
    points = _search(study)
    assert sorted(point[DROP] for point in points) == [0.0, 0.1, 0.2]  # without dust
    assert winners(tmp_path)["plate", "music"].trials == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_conditional_points_are_counted_and_asked_once(tmp_path: Path, sampler: str) -> None:
    """1 + 3 + 2 * 3 points, and a first point outside."""
    kind = Dimension("prompt.variant", "choice", choices=("none", "one", "two"))
    width = Dimension("prompt.hidden_width", "int", 4, 6, when=((kind.key, ("one", "two")),))
    deep = Dimension(DEPTH, "choice", choices=(1, 2), when=((kind.key, ("two",)),))
    first = (Point({kind.key: "one"}), Point({kind.key: "one", width.key: 5}), Point({kind.key: "one", width.key: 99}, True))
    study = _study(tmp_path, Space((kind, width, deep), first), trials=40, round=4, sampler=sampler)
    points = _search(study)
    assert study.budget == len(points) == len(_different(points)) == 11
    assert {kind.key: "one", width.key: 99} in points


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
def test_of_more_points_than_trials_none_is_asked_twice(tmp_path: Path, sampler: str) -> None:
    space = Space(
        (Dimension(DEPTH, "int", 1, 5), Dimension(DROP, "float", -0.2, 0.5, step=0.1), Dimension("k", "choice", choices=(1,)))
    )
    tune = {"trials": 24, "round": 8, "sampler": sampler}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        points = _search(_study(tmp_path / "a", space, **tune))
    assert len(points) == len(_different(points)) == 24
    assert all(space.dimensions[1].contains(point[DROP]) for point in points)
    assert _search(_study(tmp_path / "b", space, **tune)) == points


def test_a_branch_of_one_point_is_asked_once_though_another_has_no_end(tmp_path: Path) -> None:
    kind = Dimension("prompt.variant", "choice", choices=("off", "on"))
    space = Space((kind, Dimension(DROP, "float", 0.0, 0.5, when=((kind.key, ("on",)),))))
    points = _search(_study(tmp_path, space, trials=20, sampler="random"))
    assert len(points) == 20 and points.count({kind.key: "off"}) == 1


def test_raised_trials_go_on_with_what_is_left(tmp_path: Path) -> None:
    space = Space((Dimension(DEPTH, "int", 1, 9),))
    few = _search(_study(tmp_path, space, trials=4, round=0))
    more = _search(_study(tmp_path, space, trials=30, round=0))
    assert more[:4] == few and len(_different(more)) == len(more) == 9


def test_a_round_that_was_stopped_asks_nothing_again(tmp_path: Path) -> None:
    """Trials that are asked and not told are no less asked."""
    space = Space((Dimension(DEPTH, "int", 1, 8),))
    _study(tmp_path, space, trials=8, sampler="tpe").ask(5)
    again = _study(tmp_path, space, trials=8, sampler="tpe")
    assert len(_different([dict(lane.options) for lane in [*again.lanes(range(5)).values(), *again.ask(9)]])) == 8
    assert len(trials(tmp_path)) == 8


_KEYS = ("a", "b", "c")
_VALUES = st.sampled_from([(1, 2), ("x", "y", "z"), (True, False)])


@st.composite
def _spaces(draw: st.DrawFn) -> Space:
    """Up to three options of few values, later ones under conditions, with first points in and outside."""
    dimensions: list[Dimension] = []
    for key in _KEYS[: draw(st.integers(1, 3))]:
        above = draw(st.sampled_from([None, *dimensions]))
        when = () if above is None else ((above.key, (above.at(draw(st.integers(0, (above.size or 1) - 1))),)),)
        if draw(st.booleans()):
            dimensions.append(Dimension(key, "choice", choices=draw(_VALUES), when=when))
        else:
            dimensions.append(Dimension(key, "float", -0.3, -0.3 + 0.3 * draw(st.integers(0, 2)) or 0.0, step=0.3, when=when))
    first = []
    for d in dimensions:
        if draw(st.booleans()):
            first.append(Point({d.key: d.at(0)}))
        elif d.kind == "float" and not d.when and draw(st.booleans()):
            first.append(Point({d.key: 7.0}, True))
    return Space(tuple(dimensions), tuple(first))


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(space=_spaces(), sampler=st.sampled_from(["tpe", "random", "grid"]))
def test_every_point_of_any_small_space_is_asked_once(
    tmp_path_factory: pytest.TempPathFactory, space: Space, sampler: str
) -> None:
    study = _study(tmp_path_factory.mktemp("any"), space, trials=60, round=7, sampler=sampler)
    points = _search(study)
    every = _different(list(space.grid(5)))
    assert len(points) == len(_different(points))
    assert every <= _different(points)
    assert len(every) <= space.different(1000) <= len(every) + len(space.first)
