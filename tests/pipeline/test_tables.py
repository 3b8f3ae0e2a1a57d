"""The jobs of PLATE's tables and figures, whole, on a small made-up log: every line has its numbers, the paper's beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import pipeline
from raytune_rec.config import parse, read
from raytune_rec.errors import JobError
from raytune_rec.job import shipped
from raytune_rec.report.run import read as read_run
from raytune_rec.report.tables import published, web
from raytune_rec.storage.files import read_json
from tests.pipeline.here import without_ray
from tests.pipeline.test_best import JOB

TINY: dict[str, Any] = {
    "data.source": "synthetic",
    "data.options": {"interactions": {"music": 500, "book": 500, "movie": 700}, "users": 40, "items": 30},
    "training.epochs": 1,
    "pretrain.trials": 0,
    "pretrain.workers": 0,
    "pretrain.replicates": 1,
    "pretrain.training": {"epochs": 1},
    "tune.trials": 1,
    "tune.stop": {},
    "evaluate.replicates": 1,
    "evaluate.bootstrap": 100,
}
NAMES = ("plate_tables", "plate_backbones", "plate_ablation")


@pytest.mark.parametrize("name", NAMES)
def test_a_job_of_the_papers_tables_runs_whole_and_shows_the_papers_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    job = read(shipped.folder("jobs") / f"{name}.toml", TINY)
    pipeline.run(job, tmp_path, say=lambda line: None)
    run = read_run(tmp_path)
    assert set(read_json(tmp_path / "results.json")["methods"]) == set(job.methods) and not run.results.get("missing")
    main = web.main(run, dict.fromkeys(run.methods, ""))
    assert main.head[:5] == ["method", "music", "music: log loss", "book", "book: log loss"]
    assert all(re.fullmatch(r"0\.\d{4}|1", c.text) for line in main.lines for c in line.cells[:8]), "no line without a number"
    shown = published.table(run, {})
    told = {(line.name, line.note.rpartition(" ")[2]): [c.below for c in line.cells] for line in shown.lines} if shown else {}
    for block in job.published:
        for method, values in block.values.items():
            below = told[method, {"auc": "AUC", "logloss": "loss", "tuned_share": "tuned"}[block.metric]]
            assert all(any(f"{v:.4f}" in text or f"{100 * v:.3g} %" in text for text in below) for v in values.values())
            assert shown is not None and block.protocol in shown.caption


def test_a_published_number_stands_beside_a_method_of_the_job() -> None:
    values = {"source": "a paper, Table 1", "protocol": "of its own", "values": {"deepfm": {"a": 0.7}}}
    with pytest.raises(JobError, match="published: no method 'deepfm' to stand beside; the job has pretrained, everything"):
        parse({**JOB, "published": [values]})
    assert parse({**JOB, "published": [{**values, "values": {"linear": {"a": 0.7}}}]}).published[0].metric == "auc"


def test_a_number_that_is_added_later_comes_into_the_page_of_a_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ray(monkeypatch)
    methods = {name: JOB["methods"][name] for name in ("pretrained", "linear")}
    small, said = {**JOB, "methods": methods, "evaluate": {"replicates": 1, "bootstrap": 100}}, list[str]()
    pipeline.run(parse(small), tmp_path, say=said.append)
    page = tmp_path / "report" / "index.html"
    assert "Published numbers" not in page.read_text()
    told = {"source": "a paper, Table 1", "protocol": "of its own", "values": {"linear": {"a": 0.7123}}}
    said.clear()
    pipeline.run(parse({**small, "published": [told]}), tmp_path, say=said.append)
    assert "published 0.7123" in page.read_text() and not [line for line in said if "done in" in line], "no stage ran again"
    pipeline.run(parse({**small, "published": [told]}), tmp_path, say=said.append)
