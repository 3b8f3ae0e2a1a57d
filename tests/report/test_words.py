"""The verdict says what the tests allow and no more."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raytune_rec.report import words
from raytune_rec.report.pictures.charts import binned, sensible
from raytune_rec.report.pictures.importance import distributions, importance
from raytune_rec.report.run import Run
from raytune_rec.report.tables import web
from raytune_rec.report.tables.terminal import console
from raytune_rec.report.trials import Trial


def _row(value: float, backbone: str = "deepfm", strategy: str = "single", claims: bool = False, pretrainings: int = 0) -> dict:
    measures = {"auc": {"mean": value, "low": value - 0.01, "high": value + 0.01, "replicates": [value] * 5}, "valid": value}
    return {
        "strategy": strategy, "prompt": "none", "backbone": backbone, "claims": claims, "baseline": not claims, "trials": 4,
        "tuned_parameters": 10, "tuned_share": 0.1, "seconds": 8.0, "pretrainings": pretrainings,
        "units": {"music": measures, "book": measures}, "mean": measures,
    }  # fmt: skip


def _comparison(baseline: str, unit: str, low: float, high: float, p: float) -> dict:
    return {
        "method": "new",
        "baseline": baseline,
        "unit": unit,
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "p": p,
        "p_holm": p,
    }


def _run(comparisons: list[dict], claims: bool = True, pretrainings: int = 3, further: dict | None = None) -> Run:
    rows = {"new": _row(0.80, claims=claims, pretrainings=pretrainings), "other": _row(0.78, pretrainings=3)}
    rows["lr"] = _row(0.79, backbone="linear")
    return Run(Path("x"), 'name = "x"', {
        "protocol": {"confidence": 0.95, "bootstrap": 2000,
                     "rows": {"music": 7000, "book": 900}, "metric": "auc", "split": "test",
                     "cohort": "all rows",
                     "candidates": "logged rows"},
        "units": {"music": {}, "book": {}}, "methods": rows, "comparisons": comparisons, "method_order": ["new", "other", "lr"],
        "users": 1234,
        "winners": {u: {"test": "new"} for u in ("music", "book", "mean")},
        **(further or {}),
    })  # fmt: skip


AHEAD, OPEN, BEHIND, LEANING = (0.001, 0.005, 0.001), (-0.002, 0.004, 0.5), (-0.006, -0.002, 0.001), (0.001, 0.005, 0.2)


def _all(music: tuple, book: tuple) -> list[dict]:
    return [_comparison(b, u, *v) for b in ("other", "lr") for u, v in (("music", music), ("book", book), ("mean", AHEAD))]


@pytest.mark.parametrize(
    ("music", "book", "headline"),
    [
        (AHEAD, AHEAD, "new is better than all 2 baselines in music and book."),
        (AHEAD, OPEN, "new is better than all 2 baselines in music but not clearly different from other or lr in book."),
        (LEANING, LEANING, "new is not clearly different from other or lr in music and book."),
        (BEHIND, AHEAD, "new is worse than other and lr in music but better than all 2 baselines in book."),
    ],
)
def test_headline(music: tuple, book: tuple, headline: str) -> None:
    assert words.verdict(_run(_all(music, book))).headline == headline


def _both(unit: str, other: tuple, lr: tuple) -> list[dict]:
    return [_comparison("other", unit, *other), _comparison("lr", unit, *lr)]


def test_a_headline_joins_equal_outcomes_with_and_whatever_the_baselines() -> None:
    """An interval that was above zero before correction is no other outcome, nor is what another unit showed."""
    other, lr = _comparison("other", "music", *LEANING), _comparison("lr", "book", *OPEN)
    rest = [_comparison("lr", "mean", *AHEAD), _comparison("other", "mean", *AHEAD)]
    said = words.verdict(_run([other, lr, *rest])).headline
    assert said == "new is not clearly different from other in music and not clearly different from lr in book."
    both = [*_both("music", OPEN, BEHIND), *_both("book", BEHIND, OPEN), *rest]
    first, then = ("not clearly different from other and worse than lr", "not clearly different from lr and worse than other")
    assert words.verdict(_run(both)).headline == f"new is {first} in music, and {then} in book."


def test_a_headline_of_many_baselines_counts_them_and_speaks_of_cold_and_warm_items_alone() -> None:
    many = [f"b{i}" for i in range(9)]
    said = {"cold items": [AHEAD] * 3 + [OPEN] * 4 + [BEHIND] * 2, "warm items": [BEHIND] * 9}
    said |= {name: [AHEAD] * 9 for name in ("all items", "cold items among cold", "warm items among warm")}
    listed = [_comparison(b, unit, *v) for unit, values in said.items() for b, v in zip(many, values, strict=True)]
    methods = {"new": _row(0.8, claims=True), **{b: _row(0.79) for b in many}}
    run = _run(listed, further={"methods": methods, "method_order": list(methods), "units": {u: {} for u in said}, "winners": {}})
    assert words.verdict(run).headline == (
        "new is better than 3 of 9 baselines, not clearly different from 4 of 9 baselines and worse than b7 and b8 in cold items "
        "but worse than 9 of 9 baselines in warm items."
    )


def test_points_name_the_strongest_baseline_its_interval_and_what_the_prompt_adds_to_the_linear_part() -> None:
    points = dict(words.verdict(_run(_all(LEANING, OPEN))).points)
    assert points["In music"] == (
        "new has AUC 0.8000, the strongest baseline lr 0.7900: +0.0030 (95 % interval +0.0010 to +0.0050), "
        "a gain that does not stand after correction for 6 comparisons."
    )
    assert points["In book"].endswith("no clear difference.")
    assert points["Beyond the linear part"].startswith("Against lr, on average over domains: +0.0030")
    assert points["Beyond the linear part"].endswith("Domain by domain: +0.0030 in music and +0.0010 in book.")
    assert "7\u202f000 in music and 900 in book" in points["How sure"]


def test_it_says_what_intervals_hold_and_what_they_leave_out() -> None:
    def sure(**further: Any) -> str:
        return dict(words.verdict(_run(_all(AHEAD, AHEAD), **further)).points)["How sure"]

    every = "by user (users are drawn 2,000 times, each with all their rows in every one of the units), with the variance between"
    assert "of 1\u202f234 different users" in sure() and every in sure()
    assert "3 pre-trainings or more stand under each method that starts from one" in sure()
    assert "One pre-training stands under new: its variance is in no interval." in sure(pretrainings=1)
    gone = {"not_compared": [{"method": "new", "baseline": "lr", "unit": "book", "why": "lr has no result there"}]}
    assert sure(further=gone).endswith("Not compared: new with lr in book (lr has no result there).")
    run = _run(_all(AHEAD, AHEAD), pretrainings=1, further={"averaged": {"auc": ["music"]}, **gone})
    for text in (_printed(run), web.main(run, dict.fromkeys(run.methods, "red")).caption):
        assert "One pre-training stands under new" in " ".join(text.split())
        assert "mean is over music: there is no AUC in book, whose test rows have one class" in " ".join(text.split())
    assert "Not compared: new with lr in book" in " ".join(_printed(run).split())


def test_a_loss_before_correction_is_told_as_such() -> None:
    points = dict(words.verdict(_run(_all((-0.006, -0.002, 0.2), OPEN))).points)
    assert points["In music"].endswith("a loss that does not stand after correction for 6 comparisons.")


def test_without_a_claim_nothing_is_claimed() -> None:
    said = words.verdict(_run([], claims=False)).headline
    assert said == "new has the highest mean test AUC. No method claims to be better than another, so no difference was tested."


def test_a_comparison_without_a_value_is_open() -> None:
    assert words.outcome({"low": None, "high": None, "p_holm": None}, 0.95) == "open"


def test_numbers_as_text() -> None:
    assert words.signed(-0.00123) == "\N{MINUS SIGN}0.0012" and words.signed(None) == words.fixed(None) == words.NONE
    assert words.p_value(0.0004) == "< 0.001" and words.p_value(0.0123) == "0.012"
    assert [words.duration(s) for s in (0.3456, 119, 600, 8000)] == ["0.346 s", "119 s", "10 min", "2.2 h"]
    assert words.listed(["a"]) == "a" and words.listed(["a", "b", "c"]) == "a, b and c"


def _printed(run: Run) -> str:
    printer = Console(width=120, file=io.StringIO())
    printer.print(console(run.results))
    assert isinstance(printer.file, io.StringIO)
    return printer.file.getvalue()


def test_console_table() -> None:
    text = _printed(_run(_all(AHEAD, AHEAD)))
    assert "0.8000 ±0.0100" in text and text.index("new") < text.index("other") < text.index("lr") and "10 %" in text
    assert "half of the 95 % interval, by user" in text


def test_units_without_a_result_are_named_with_the_reason() -> None:
    """In the table and on the page; what the mean leaves out for want of a class is told once."""
    gone = {"untested": {"film": "no test row"}}
    run = _run(_all(AHEAD, AHEAD), further=gone)
    said = "No result in film (no test row), and the mean is over the other 2."
    assert said in web.main(run, dict.fromkeys(run.methods, "")).caption
    assert said.rstrip(".") in " ".join(_printed(run).split())
    assert "No result" not in _printed(_run(_all(AHEAD, AHEAD)))
    both = {"untested": {"film": "no test row", "book": "its 9 test rows have one label"}, "averaged": {"auc": ["music"]}}
    assert words.untested(_run([], further=both).results) == "No result in film (no test row)."
    del both["averaged"]
    alone = words.untested(_run([], further=both).results)
    assert alone == "No result in film (no test row) and book (its 9 test rows have one label)."


def test_medians_of_neighbours() -> None:
    x, y = binned([1, 2, 3, 10, 20, 30], [5, 6, 100, 1, 2, 3])
    assert x.tolist() == [2, 20] and y.tolist() == [6, 2]
    x, y = binned([1, 2, 2, 2, 2, 2, 2, 3, 4], [9, 1, 2, 3, 4, 5, 6, 8, 8])  # a value that was tried often is one point
    assert x.tolist() == [2, 3] and y.tolist() == [3.5, 8]


def test_the_range_leaves_out_what_is_far_on_the_bad_side() -> None:
    low, high = sensible([0.79, 0.788, 0.785, 0.5], higher=True)
    assert high == 0.79 and 0.77 < low < 0.785
    low, high = sensible([0.51, 0.512, 0.515, 0.9], higher=False)
    assert low == 0.51 and high < 0.53


def test_importance_finds_the_option_that_decides() -> None:
    trials = [
        Trial(
            "r",
            "u",
            i,
            "complete",
            -abs(i % 8 - 2.0),
            {"right": i % 8, "noise": (i * 7 % 40) / 40, "kind": "ab"[i % 2 == 0], "fixed": 3},
        )
        for i in range(40)
    ]
    found = importance(trials, higher=True)
    assert next(iter(found)) == "right" and found["right"] > 0.6 and "fixed" not in found
    assert sum(found.values()) == pytest.approx(1)
    assert importance(trials[:4], higher=True) == {}


def test_a_wide_option_is_taken_on_a_log_scale() -> None:
    found = distributions([{"lr": 1e-4, "rate": 0.1, "both": 1}, {"lr": 1e-1, "rate": 0.4, "both": 2, "one": 3}])
    assert found["lr"].log and not found["rate"].log and "one" not in found


def test_methods_that_are_equal_on_every_row_have_no_interval() -> None:
    same = {**_comparison("single", "music", 0.0, 0.0, 1.0), "low": None, "high": None}
    run = _run([same, _comparison("single", "book", 0.01, 0.03, 0.001)])
    assert words.difference(run, same) == "equal on every row."
    assert "interval" in words.difference(run, {**same, "difference": 0.02, "low": 0.01, "high": 0.03, "p": 0.01, "p_holm": 0.01})
