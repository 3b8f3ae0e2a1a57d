"""The benchmark of a search over many domains: what is compared, and that both sides search the same."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from benchmarks.many import __main__ as many
from benchmarks.many import ours
from benchmarks.many.case import Case, at_start, job_of, prepare, rows_of, spread
from benchmarks.many.measured import curve, seconds_to
from benchmarks.many.trial import Trial
from raytune_rec.errors import JobError
from tests.pipeline.here import without_ray

ROWS = {"a": 300, "b": 500, "c": 900}


def _case(folder: Path, further: str = "") -> Case:
    draw, lines = np.random.default_rng(0), [f"domain,user,item,label{',' + further if further else ''}"]
    likes = draw.normal(size=(40, 30)) > 0
    for domain, count in ROWS.items():
        pairs = zip(draw.integers(0, 40, count), draw.integers(0, 30, count), strict=True)
        lines += [f"{domain},u{u},i{i},{int(likes[u, i])}{',1.5' if further else ''}" for u, i in pairs]
    (folder / "log.csv").write_text("\n".join(lines))
    columns = 'columns={domain="domain",user="user",item="item",label="label"}'
    fields = f',features={{ {further} = {{role="context",kind="numerical"}} }}' if further else ""
    settings = (
        "data.source=tabular",
        f'data.options={{files="{folder / "log.csv"}",{columns}{fields}}}',
        'data.split={kind="hash",valid=0.2,test=0.1,seed=1}',
        "training.epochs=3",
        "pretrain.training.batch_size=64",
    )
    return Case("plate_many", settings, str(folder / "run"), str(folder / "scratch"), 4, 2)


def test_a_curve_is_the_mean_of_the_best_so_far_and_says_when_a_value_was_reached() -> None:
    points = [("b", 3.0, 0.7), ("a", 1.0, 0.6), ("a", 2.0, 0.55), ("b", 4.0, 0.65), ("a", 5.0, 0.9)]
    found = curve(points, {"a": 0.5, "b": 0.5})
    assert found == [(0.0, 0.5), (1.0, pytest.approx(0.55)), (3.0, pytest.approx(0.65)), (5.0, pytest.approx(0.8))]
    assert (seconds_to(found, 0.5), seconds_to(found, 0.6), seconds_to(found, 0.81)) == (0.0, 3.0, math.inf)


def test_the_time_to_the_lower_end_is_compared() -> None:
    kept = {"trials": 1, "epochs": 1, "load_before": 0.0}
    ways = {
        "ours": {"seconds": 4.0, "points": [("a", 2.0, 0.7), ("a", 4.0, 0.8)], **kept},
        "plain": {"seconds": 30.0, "points": [("a", 10.0, 0.6), ("a", 20.0, 0.7)], **kept},
    }
    found = many.summary(ways, {"a": 0.5})
    assert found["plain"]["common"] == 0.7 and found["plain"]["times"] == 7.5 and found["plain"]["times_to_common"] == 10.0


def test_some_domains_are_spread_evenly_over_their_sizes() -> None:
    names = tuple("abcdefghij")
    assert spread(names, 10) == spread(names, 20) == names
    assert spread(names, 1) == ("e",) and spread(names, 2) == ("c", "h") and len(set(spread(names, 7))) == 7


def test_both_sides_search_one_model_and_packs_change_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    monkeypatch.setattr(ours, "connect", lambda threads: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    case = _case(tmp_path)
    case = replace(case, domains=prepare(case))
    assert case.domains == ("a", "b", "c") and Case.from_text(case.to_text()) == case, "from the smallest to the largest"
    found = ours.run(replace(case, scratch=str(tmp_path / "packs")))
    alone = ours.run(replace(case, scratch=str(tmp_path / "alone"), packs=False))
    assert found.trials == 12 and {domain for domain, _, _ in found.points} == set(case.domains)
    assert sorted((d, v) for d, _, v in found.points) == sorted((d, v) for d, _, v in alone.points)
    assert many.differs(rows_of(case), found.firsts) < 1e-5

    rows, trial = rows_of(case)["c"], Trial.__new__(Trial)
    options = {"lr.prompt": 1e-3, "lr.linear": 1e-3, "weight_decay.prompt": 0.0, "weight_decay.linear": 0.0, "dropout": 0.1}
    own = {**options, "temperature": 1.0, "meta_prompts": 10, "seed": 1}
    trial.setup(own, rows, batch_size=64, epochs=3, patience=3)
    results = [trial.step() for _ in range(3)]
    assert [result["done"] for result in results] == [False, False, True]
    assert results[-1]["value"] >= at_start(rows)
    trial.setup({**own, "lr.prompt": 0.0, "lr.linear": 0.0}, rows, batch_size=64, epochs=9, patience=2)
    assert [trial.step()["done"] for _ in range(2)] == [False, True], "what does not rise ends by its patience"


def test_data_that_the_plain_model_does_not_embed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)
    case = _case(tmp_path, "price")
    case = replace(case, domains=prepare(case))
    with pytest.raises(JobError, match=r"embeds categorical fields alone, and the data have price \(numerical\)"):
        rows_of(case)
    with pytest.raises(JobError, match="the plain model is a 'deepfm', and the job's backbone is 'dcn'"):
        job_of(replace(case, settings=(*case.settings, "backbone.name=dcn")))
