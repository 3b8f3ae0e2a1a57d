"""Several objectives: the page shows each row's front, and nothing of it where only one objective was searched."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from raytune_rec.report.page.render import build
from raytune_rec.report.pictures import charts, panels
from raytune_rec.report.pictures import pareto as front
from raytune_rec.report.run import Run, read
from raytune_rec.report.trials import Trial

TWO = 'name = "x"\n[tune]\nobjectives = ["parameters"]\n'
THREE = 'name = "x"\n[tune]\nobjectives = ["parameters", "logloss"]\n'


def _trial(number: int, value: float, parameters: int, front: bool, row: str = "new", **options: float) -> Trial:
    return Trial(
        row, "music", number, "complete", value, {"prompt.width": number, **options},
        parameters=parameters, measures={"logloss": 1 - value}, front=front,
    )  # fmt: skip


TRIALS = (
    _trial(0, 0.70, 100, True),
    _trial(1, 0.74, 20_000, True, **{"training.lr": 0.001234}),
    _trial(2, 0.69, 5_000, False),
    _trial(3, 0.72, 400, True),
    _trial(0, 0.68, 0, True, row="untuned"),
    Trial("new", "music", 4, "pruned", float("nan"), curve=(0.5, 0.6), parameters=100),
)


def _run(job: str = TWO, trials: tuple[Trial, ...] = TRIALS, metric: str = "auc") -> Run:
    rows = {
        "new": {"claims": True, "units": {"music": {"trial": 1}}},
        "untuned": {"claims": False, "units": {"music": {"trial": 0}}},
    }
    results = {"method_order": ["new", "untuned"], "methods": rows, "unit_order": ["music"], "protocol": {"metric": metric}}
    return Run(Path("x"), job, results, trials)


COLOUR = {"new": "#111111", "untuned": "#222222"}


def test_the_table_holds_the_front_with_the_best_metric_first_and_marks_the_winner() -> None:
    table = front.table(_run(), COLOUR)
    assert table is not None
    assert table.head == ["method", "domain", "trial", "validation AUC", "tuned parameters", "searched options"]
    lines = [(line.name, *(c.text for c in line.cells)) for line in table.lines]
    assert lines == [
        ("new", "music", "1", "0.7400", "20\u202f000", "width 1, lr 0.0012"),
        ("new", "music", "3", "0.7200", "400", "width 3"),
        ("new", "music", "0", "0.7000", "100", "width 0"),
        ("untuned", "music", "0", "0.6800", "0", "width 0"),
    ]
    assert [any(c.best for c in line.cells) for line in table.lines] == [True, False, False, True]


def test_folds_have_a_front_and_a_winner_each() -> None:
    folds = [replace(t, unit=unit, value=t.value + up) for unit, up in (("m.1", 0.0), ("m.2", 0.1)) for t in TRIALS]
    run = _run(trials=tuple(folds))
    won = {r: f["units"]["music"] for r, f in run.results["methods"].items()}
    rows = {r: {"claims": r == "new", "units": {"music": {"folds": {"m.1": f, "m.2": f}}}} for r, f in won.items()}
    run = replace(run, results={**run.results, "methods": rows, "tables": {"music": ["m.1", "m.2"]}})
    table = front.table(run, COLOUR)
    assert table is not None
    lines = [(line.name, line.cells[0].text, line.cells[1].text, any(c.best for c in line.cells)) for line in table.lines]
    assert lines[:3] == [("new", "m.1", "1", True), ("new", "m.1", "3", False), ("new", "m.1", "0", False)]
    assert lines[3] == ("new", "m.2", "1", True)
    (group,) = front.plots(run, COLOUR)
    assert "new (m.2) from 0.8000 at 100 (trial 0) to 0.8400" in group.panels[0]


def test_where_lower_is_better_the_lowest_metric_stands_first() -> None:
    table = front.table(_run(metric="logloss"), COLOUR)
    assert table is not None and [line.cells[1].text for line in table.lines] == ["0", "3", "1", "0"]


def test_each_further_objective_has_a_plot_and_a_column() -> None:
    groups, table = front.plots(_run(THREE), COLOUR), front.table(_run(THREE), COLOUR)
    assert [g.name for g in groups] == ["tuned parameters", "log loss"] and table is not None
    assert table.head[4:6] == ["tuned parameters", "log loss"] and table.lines[0].cells[4].text == "0.2600"
    assert all("on the front by another objective" in g.caption for g in groups)


def test_a_plot_says_its_ends_and_who_chose_the_winner() -> None:
    (group,) = front.plots(_run(), COLOUR)
    assert "new from 0.7000 at 100 (trial 0) to 0.7400 at 20\u202f000 (trial 1), 3 trials" in group.panels[0]
    assert "The winner (ring) is chosen by validation AUC alone." in group.caption and "further left is better" in group.caption
    assert [name for name, _ in group.key] == ["new", "untuned"]


def test_a_trial_without_the_objective_and_a_row_without_a_complete_trial_are_left_out() -> None:
    lost = Trial("new", "music", 5, "complete", 0.9, parameters=1)
    (_, group) = front.plots(_run(THREE, (lost, *TRIALS[:1])), COLOUR)
    assert "0.9" not in re.sub(r"<.*?>", "", group.panels[0]) and [name for name, _ in group.key] == ["new"]
    assert front.plots(_run(trials=TRIALS[5:]), COLOUR) == [] and front.table(_run(trials=TRIALS[5:]), COLOUR) is None


@pytest.mark.parametrize(
    ("parameters", "scale"),
    [((100, 900), "linear"), ((100, 1_100), "log"), ((0, 900), "linear"), ((0, 100, 20_000), "symlog")],
)
def test_parameters_stand_on_a_log_scale_where_they_span_more_than_tenfold(
    parameters: tuple[int, ...], scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw = charts.front
    monkeypatch.setattr(charts, "front", lambda *a: drawn.append(draw(*a)) or drawn[-1])
    assert front.plots(_run(trials=tuple(_trial(i, 0.7, p, True) for i, p in enumerate(parameters))), COLOUR)
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < min(parameters) and max(parameters) < high


def _line(higher_x: bool, higher_y: bool) -> list[tuple[float, float]]:
    points = charts.Front([1.0, 2.0, 3.0, 4.0], [0.5, 0.7, 0.6, 0.8], "#111111", [0, 1, 2], 1)
    figure = charts.front("music", [points], "x", "y", False, (higher_x, higher_y))
    steps = next(line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post")
    return [(float(x), float(y)) for x, y in zip(*steps.get_data(), strict=True)]


def test_the_line_is_the_best_that_is_to_be_had_at_each_place() -> None:
    assert _line(False, True) == [(1, 0.5), (2, 0.7)]
    assert _line(True, True) == [(3, 0.6), (2, 0.7)]
    assert _line(False, False) == [(1, 0.5)]


def test_the_front_lies_inside_the_frame_however_far_it_is_below() -> None:
    points = charts.Front(list(range(12)), [0.3] + [0.8 + i / 1000 for i in range(11)], "#111111", [0, 11])
    low, high = charts.front("music", [points], "x", "y", False, (False, True)).axes[0].get_ylim()
    assert low < 0.3 and high > 0.81


def _searched(folder: Path, content: dict, objectives: list[str]) -> str:
    trials = [
        t | {"measures": {"logloss": 0.5}, "front": t["method"] == "single" and t["number"] == 3} for t in content["trials"]
    ]
    (folder / "trials.json").write_text(json.dumps(trials))
    (folder / "job.toml").write_text(f'name = "x"\n[tune]\nobjectives = {json.dumps(objectives)}\n')
    return build(folder).read_text(encoding="utf-8")


def test_the_section_stands_on_the_page_of_a_run_with_several_objectives_alone(folder: Path, content: dict, page: str) -> None:
    searched = _searched(folder, content, ["parameters"])
    section = searched.partition('id="front"')[2].partition('id="search"')[0]
    assert section.count("<svg") == 3 and section.count("<tr>") == 1 + 3 and "chosen by validation AUC alone" in section
    assert 'id="front"' not in page and 'id="front"' not in _searched(folder, content, [])


def test_ids_stay_unique_with_several_plots(folder: Path, content: dict) -> None:
    ids = re.findall(r'\bid="([^"]+)"', _searched(folder, content, ["parameters", "logloss"]))
    assert len(ids) == len(set(ids))


def test_files_from_before_several_objectives_are_read(folder: Path) -> None:
    first = read(folder).trials[0]
    assert first.front is False and dict(first.measures) == {} and first.objective("parameters") == first.parameters
    assert front.plots(read(folder), panels.method_colours(read(folder))) == []
