"""Search spaces: what is shipped can be composed, mistakes come all at once, and a row searches what it has."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import optuna
import pytest

from raytune_rec import config
from raytune_rec.errors import JobError
from raytune_rec.tuning.search.restrict import restrict as _restrict
from raytune_rec.tuning.search.space import Dimension, Space
from raytune_rec.tuning.search.space_files import available, compose

optuna.logging.set_verbosity(optuna.logging.WARNING)

restrict = partial(_restrict, declared=("embedding", "linear", "interaction", "output", "encoder", "prompt", "profile"))


def _job(**spaces: Any) -> config.Job:
    values = {"name": "x", "data": {"source": "s"}, "backbone": {"name": "b"}, "methods": {}, "spaces": spaces}
    return config.parse(values)


def _ask(space: Space, seed: int = 0) -> dict:
    return space.ask(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask())


@pytest.mark.parametrize("name", available())
def test_every_shipped_space_can_be_composed_and_asked(name: str) -> None:
    space = compose([name])
    assert space.first
    assert set(_ask(space)) <= space.keys()


def test_the_papers_settings_come_first_though_their_temperature_lies_outside() -> None:
    point = compose(["plate"]).first[0]
    assert point.outside
    assert (point.values["prompt.meta_prompts"], point.values["prompt.temperature"]) == (10, 1e-5)


def test_a_missing_space_lists_what_exists() -> None:
    with pytest.raises(JobError, match=r"there is no 'plat'; there are .*plate.*training"):
        compose(["plat"])
    assert compose(["plate"]).keys()


def test_all_mistakes_come_at_once() -> None:
    space = {
        "a": {"type": "flot", "low": 0, "high": 1},
        "b": {"type": "float", "low": 2, "high": 1},
        "c": {"type": "float", "low": 0, "high": 1, "log": True},
        "d": {"type": "int", "low": 1.5, "high": 3},
        "e": {"type": "choice", "choices": []},
        "f": {"type": "int", "low": 1, "high": 3, "choices": [1]},
        "g": 3,
        "h": {"type": "float", "low": 1, "high": 3, "step": 1, "log": True},
        "ok": {"type": "int", "low": 1, "high": 3},
    }
    first = [{"ok": 9}, {"ok": 1.5}, {"nothing": 1}]
    with pytest.raises(JobError) as caught:
        compose(["own"], _job(own={"space": space, "first": first, "more": 1}))
    text = "\n".join(caught.value.problems)
    for part in [
        "own: a: type must be 'float', 'int' or 'choice' (given: 'flot')",
        "own: b: low must not be above high (given: low = 2, high = 1)",
        "own: c: a logarithmic range starts above 0 (given: low = 0)",
        "own: d: low and high must be whole numbers (given: low = 1.5, high = 3)",
        "own: e: choices must list at least one value",
        "own: f: a int has no setting 'choices'",
        "own: g: describe it as",
        "own: h: a logarithmic range has no step",
        "first point: ok: 9 lies outside 1..3",
        "first point: ok: must be a int (given: 1.5)",
        "first point: nothing: it is not searched; searched are ok",
        "unknown part 'more'",
    ]:
        assert part in text
    assert len(caught.value.problems) == 12


_FLOAT = {"type": "float", "low": 1, "high": 3}
_CHOICE = {"type": "choice", "choices": [1, 2]}


@pytest.mark.parametrize(
    ("wrong", "text", "remedies"),
    [
        ({"space": {"k": {**_FLOAT, "type": "flot"}}}, "must be 'float', 'int' or 'choice'", [{"space": {"k": _FLOAT}}]),
        ({"space": {"k": 3}}, "describe it as { type = 'float', low = ..., high = ... }", [{"space": {"k": _FLOAT}}]),
        ({"space": {"k": {**_FLOAT, "low": 9}}}, "low must not be above high", [{"space": {"k": {**_FLOAT, "low": 3}}}]),
        ({"space": {"k": {**_FLOAT, "low": "1"}}}, "low and high must be numbers", [{"space": {"k": {**_FLOAT, "low": 1.5}}}]),
        ({"space": {"k": {**_FLOAT, "type": "int", "low": 1.5}}}, "be whole numbers",
         [{"space": {"k": {**_FLOAT, "type": "int"}}}]),
        ({"space": {"k": {**_FLOAT, "low": 0, "log": True}}}, "starts above 0",
         [{"space": {"k": {**_FLOAT, "low": 0.1, "log": True}}}]),
        ({"space": {"k": {**_FLOAT, "step": 1, "log": True}}}, "leave out one of the two",
         [{"space": {"k": {**_FLOAT, "step": 1}}}, {"space": {"k": {**_FLOAT, "log": True}}}]),
        ({"space": {"k": {**_FLOAT, "step": 0}}}, "step must be a number above 0", [{"space": {"k": {**_FLOAT, "step": 0.5}}}]),
        ({"space": {"k": {**_FLOAT, "choices": [1]}}}, "it has high, log, low, optional, step, type, when",
         [{"space": {"k": {**_FLOAT, "log": False, "optional": False, "step": 1, "when": {}}}}]),
        ({"space": {"k": {**_CHOICE, "choices": []}}}, "at least one value", [{"space": {"k": {**_CHOICE, "choices": [1]}}}]),
        ({"space": {"k": {**_CHOICE, "choices": [1, 1.0]}}}, "plain values, each once", [{"space": {"k": _CHOICE}}]),
        ({"space": {"k": {**_FLOAT, "log": "yes"}}}, "must be true or false", [{"space": {"k": {**_FLOAT, "log": True}}}]),
        ({"space": {"k": {**_FLOAT, "when": "a"}, "a": _CHOICE}}, "a table of option = value",
         [{"space": {"k": {**_FLOAT, "when": {"a": 1}}, "a": _CHOICE}}]),
        ({"space": {"k": {**_FLOAT, "when": {"k": 1}}}}, "condition it on something else",
         [{"space": {"k": {**_FLOAT, "when": {"a": 1}}, "a": _CHOICE}}]),
        ({"space": [_FLOAT]}, "write the options as a [space] table", [{"space": {"k": _FLOAT}}]),
        ({"space": {"k": _FLOAT}, "first": {"k": 1}}, "write each point as a [[first]] table",
         [{"space": {"k": _FLOAT}, "first": [{"k": 1}]}]),
        ({"space": {"k": _FLOAT}, "more": 1}, "it has [space] and [[first]]", [{"space": {"k": _FLOAT}, "first": []}]),
        ({"space": {"k": _FLOAT}, "first": [{"n": 1}]}, "searched are k", [{"space": {"k": _FLOAT}, "first": [{"k": 1}]}]),
        ({"space": {"k": _CHOICE}, "first": [{"k": 3}]}, "be one of [1, 2]", [{"space": {"k": _CHOICE}, "first": [{"k": 2}]}]),
        ({"space": {"k": _FLOAT}, "first": [{"k": 9}]}, "mend it, or set outside = true",
         [{"space": {"k": _FLOAT}, "first": [{"k": 3}]}, {"space": {"k": _FLOAT}, "first": [{"k": 9, "outside": True}]}]),
    ],
)  # fmt: skip
def test_what_an_error_names_is_a_search_space(wrong: dict[str, Any], text: str, remedies: list[dict[str, Any]]) -> None:
    with pytest.raises(JobError, match=re.escape(text)) as caught:
        compose(["own"], _job(own=wrong))
    assert len(caught.value.problems) == 1
    for remedy in remedies:
        assert set(_ask(compose(["own"], _job(own=remedy)))) <= set(remedy["space"])


def test_keys_may_be_dotted_or_quoted() -> None:
    dotted = {"space": {"training": {"lr": {"linear": {"type": "float", "low": 1e-4, "high": 1e-2}}}}}
    quoted = {"space": {"training.lr.linear": {"type": "float", "low": 1e-4, "high": 1e-2}}}
    assert compose(["x"], _job(x=dotted)) == compose(["x"], _job(x=quoted))


def test_a_conditional_option_is_asked_only_under_its_condition_whatever_the_order() -> None:
    table = {
        "b": {"type": "float", "low": 0, "high": 1, "when": {"a": "on"}},
        "a": {"type": "choice", "choices": ["on", "off"]},
    }
    space = compose(["x"], _job(x={"space": table}))
    assert [d.key for d in space.dimensions] == ["a", "b"]
    for seed in range(8):
        asked = _ask(space, seed)
        assert ("b" in asked) == (asked["a"] == "on")
    assert {len(point) for point in space.grid()} == {1, 2}


def test_conditions_in_a_circle_are_refused() -> None:
    table = {k: {"type": "choice", "choices": [1, 2], "when": {o: 1}} for k, o in (("a", "b"), ("b", "a"))}
    with pytest.raises(JobError, match="condition of a leads back to itself"):
        compose(["x"], _job(x={"space": table}))


def test_a_row_searches_the_rates_of_the_groups_it_trains() -> None:
    space = compose(["training", "plate"])
    base = {"prompt.variant": "fusion"}
    linear = restrict(space, groups={"linear"}, prompt=False)
    assert linear.keys() == {"training.lr.linear", "training.weight_decay.linear", "backbone.dropout"}
    prompt = restrict(space, groups={"prompt", "linear"}, prompt=True, base=base)
    assert {"training.lr.prompt", "prompt.temperature"} <= prompt.keys()
    assert not {"training.lr.default", "training.lr.embedding"} & prompt.keys()
    assert {"training.lr.default"} <= restrict(space, groups={"encoder", "linear"}, prompt=False).keys()
    assert restrict(space, groups=(), prompt=False, known=lambda k: False).dimensions == ()


def test_what_the_row_sets_is_not_searched_and_decides_conditions() -> None:
    space = compose(["pte"])
    found = restrict(space, groups={"prompt"}, prompt=True, fixed={"prompt.variant": "generative"})
    assert found.keys() == {"prompt.hidden_width", "training.lr.prompt", "training.weight_decay.prompt"}
    assert not any(point.outside for point in found.first)
    assert len(found.first) == 2  # without the temperature the first two points are one


@pytest.mark.parametrize(
    ("views", "searched"),
    [
        ("both", {"profile_mask", "item_mask", "temperature", "weight"}),
        ("behaviour", {"item_mask", "temperature", "weight"}),
        ("none", set()),
    ],
)
def test_a_row_of_ppr_searches_the_options_of_the_views_that_it_has(views: str, searched: set[str]) -> None:
    own = restrict(compose(["ppr"]), groups={"prompt"}, prompt=True, fixed={"prompt.views": views})
    common = {"prompt.tokens", "training.lr.prompt", "training.weight_decay.prompt"}
    assert own.keys() == common | {f"prompt.{name}" for name in searched}
    assert own.first and set(own.first[0].values) == own.keys()


def test_options_that_do_not_exist_are_named_together() -> None:
    space = Space(
        (
            Dimension("training.lr.linaer", "float", 0, 1),
            Dimension("backbone.droput", "float", 0, 1),
            Dimension("prompt.x", "float", 0, 1, when=(("prompt.y", (1,)),)),
        )
    )
    with pytest.raises(JobError) as caught:
        restrict(space, groups={"linear"}, prompt=True, known=lambda key: key != "backbone.droput", where="row plate")
    text = "\n".join(caught.value.problems)
    assert "row plate: training.lr.linaer: there is no parameter group 'linaer'" in text
    assert "row plate: backbone.droput: its components have no such option" in text
    assert "row plate: prompt.x: its condition names 'prompt.y', which is neither searched nor set; set it" in text
    dropout = replace(space.dimensions[1], optional=True)
    mended = Space((replace(space.dimensions[0], key="training.lr.linear"), dropout, space.dimensions[2]))
    known = {"groups": {"linear"}, "prompt": True, "known": lambda key: key != "backbone.droput", "fixed": {"prompt.y": 1}}
    assert restrict(mended, **known).keys() == {"training.lr.linear", "prompt.x"}


def _range(key: str, **table: Any) -> list[str]:
    """What is wrong with a space of one option, and with first points of these values."""
    first = [{key: value} for value in table.pop("first", ())]
    with pytest.raises(JobError) as caught:
        compose(["x"], _job(x={"space": {key: table}, "first": first}))
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ({"type": "float", "low": 0.0, "high": 0.35, "step": 0.1}, r"steps of 0.1 from low = 0.0 .* high = 0.35; .* 0.3 and 0.4"),
        ({"type": "float", "low": -1, "high": 1, "step": 0.3}, r"high = 1.0; the nearest are 0.8 and 1.1"),
        ({"type": "float", "low": 1e-5, "high": 1e-4, "step": 2e-5}, r"the nearest are 9e-05 and 0.00011"),
        ({"type": "float", "low": 0, "high": 0.5, "step": 2}, r"the nearest are 0.0 and 2.0"),
        ({"type": "int", "low": 1, "high": 10, "step": 4}, r"the nearest are 9 and 13"),
        ({"type": "int", "low": -7, "high": 8, "step": 10}, r"the nearest are 3 and 13"),
    ],
)
def test_a_high_that_the_step_does_not_reach_is_refused_with_the_nearest(table: dict[str, Any], rule: str) -> None:
    (problem,) = _range("k", **table)
    assert re.search(rule, problem)
    for high in (float(x) for x in problem.removesuffix(".").split("nearest are ")[1].split(" and ")):  # the remedy
        assert compose(["x"], _job(x={"space": {"k": {**table, "high": high}}})).dimensions[0].contains(high)


def test_a_first_point_between_two_steps_is_refused_with_both() -> None:
    fine = {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1, "when": {"c": 1}}
    table = {"k": fine, "n": {"type": "int", "low": -4, "high": 8, "step": 3}, "c": {"type": "choice", "choices": [1, 2]}}
    space = {"space": table, "first": [{"k": 0.15, "n": 0}, {"k": 0.3, "n": -1}]}
    with pytest.raises(JobError) as caught:
        compose(["x"], _job(x=space))
    k, n = caught.value.problems
    assert "first point: k: 0.15 lies between the steps 0.1 and 0.2; mend it, or set outside = true" in k
    assert "first point: n: 0 lies between the steps -1 and 2;" in n
    space["first"][0]["outside"] = True  # the second remedy
    assert compose(["x"], _job(x=space)).first[0].outside


def test_ranges_hold_the_values_of_their_steps_and_no_others() -> None:
    tenths = Dimension("x", "float", 0.0, 1.0, step=0.1)
    assert [tenths.at(i) for i in range(11)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert tenths.contains(0.3) and not tenths.contains(0.1 + 0.2) and not tenths.contains(0.15)
    assert [Dimension("x", "int", 1, 9, step=4).contains(v) for v in (1, 6, 9, 10, 5.0, True)] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert Dimension("x", "float", 0.0, 0.3, step=0.1).grid(5) == (0.0, 0.1, 0.2, 0.3)
    assert Dimension("x", "float", -0.3, 0.3, step=0.1).grid(5) == (-0.3, -0.1, 0.0, 0.1, 0.3)
    assert Dimension("x", "choice", choices=(1, 2)).contains(1) and not Dimension("x", "choice", choices=(1, 2)).contains(True)
    assert not Dimension("x", "float", 0.0, 1.0).contains(10**400) and not tenths.fits(10**400)


def test_choices_that_are_equal_are_refused() -> None:
    for choices in ([1, 1.0], [1, True], ["a", "a"]):
        assert (
            "choices must be plain values, each once; 1, 1.0 and true are equal" in _range("k", type="choice", choices=choices)[0]
        )


def test_a_grid_of_many_conditional_options_ends_at_once() -> None:
    switch = Dimension("on", "choice", choices=(False, True))
    others = [Dimension(f"k{i}", "float", 0.0, 1.0, when=(("on", (True,)),)) for i in range(12)]
    points = Space((switch, *others)).grid()
    assert next(points) == {"on": False}
    assert len(next(points)) == 13


def test_a_grid_keeps_to_its_range() -> None:
    dimensions = (
        Dimension("f", "float", 1e-3, 1.0, log=True),
        Dimension("i", "int", 1, 3),
        Dimension("s", "float", 0.0, 1.0, step=0.5),
        Dimension("w", "int", 2, 25, step=3),
    )
    for d in dimensions:
        values = d.grid(5)
        assert all(d.contains(v) for v in values)
        assert len(set(values)) == len(values) <= 5
    assert dimensions[1].grid(5) == (1, 2, 3)
    assert dimensions[2].grid(5) == (0.0, 0.5, 1.0)
    assert all((v - 2) % 3 == 0 for v in dimensions[3].grid(5))
