"""What a job's plan says of its search before anything runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from raytune_rec import config, pipeline
from raytune_rec.job import shipped
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.stages.checks import check
from raytune_rec.stages.checks.check import declared
from raytune_rec.stages.steps import steps
from raytune_rec.training import build, settings
from raytune_rec.tuning.search import plan as planning
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.plan import for_recipes, plan

_JOB: dict[str, Any] = {
    "name": "small",
    "data": {"source": "synthetic"},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [4]}},
    "methods": {"fm": {"strategy": "single"}, "lr": {"strategy": "single", "backbone": "linear"}},
}


def _said(job: config.Job) -> str:
    console = Console(width=400)
    with console.capture() as caught:
        console.print(pipeline.check(job))
    return caught.get()


@pytest.mark.parametrize("name", shipped.names("jobs"))
def test_of_every_shipped_search_at_least_half_is_modelled(name: str) -> None:
    job = config.read(shipped.folder("jobs") / f"{name}.toml")
    assert "warning" not in _said(job)
    for tune in (job.tune, *([for_recipes(job).tune] if job.pretrain.trials else [])):
        assert 4 * Pace.of(tune).round <= tune.trials
    if name.startswith("plate_"):
        assert job.tune.trials >= 64 and job.tune.stop.rule == "hyperband"


@pytest.mark.parametrize("name", shipped.names("jobs"))
def test_a_shipped_job_that_compares_pretrainings_trains_each_several_times(name: str) -> None:
    """One run of a pre-training is luck; the two that make one for time say so in their tables."""
    job = config.read(shipped.folder("jobs") / f"{name}.toml")
    used = {planned.method.pretraining for planned in plan(job, declared(job)).methods} - {""}
    made = [pretraining for pretraining in used if not job.pretrainings[pretraining].from_path]
    assert len(made) < 2 or not job.evaluate.compare or job.pretrain.replicates >= 3 or name in ("quickstart", "sasrec_ml1m")


def test_a_long_name_of_a_method_is_never_cut() -> None:
    name = "a method whose name says all that there is to say of it " + "x" * 39
    console = Console(width=120)
    with console.capture() as caught:
        console.print(pipeline.check(config.parse({**_JOB, "methods": {name: {"strategy": "single"}}})))
    cells = [line.split("│")[1].strip() for line in caught.get().splitlines() if line.startswith("│")]
    assert "".join(cells).replace(" ", "") == name.replace(" ", "")


def test_the_plan_tells_how_many_trials_are_modelled_and_warns_below_half() -> None:
    line = next(line for line in _said(config.parse(_JOB)).splitlines() if "fm" in line)
    assert [cell.strip() for cell in line.split("│")][5:7] == ["64 on each of 3", "48"]
    said = _said(
        config.parse({**_JOB, "tune": {"trials": 20, "round": 16}, "pretrain": {"trials": 5}, "pretrainings": {"a": {}}})
    )
    assert "warning: fm, lr: 4 of 20 trials are modelled" in said
    assert "raise tune.trials, or lower tune.round (16)." in said
    assert "warning: pretrain.a: 1 of 5 trials are modelled" in said and "raise pretrain.trials." in said
    assert "warning" not in _said(config.parse({**_JOB, "tune": {"trials": 20, "round": 5}}))  # the remedy
    assert "warning" not in _said(config.parse({**_JOB, "tune": {"trials": 20, "round": 16, "sampler": "random"}}))


def _steps(job: config.Job, schema: DataSchema) -> list[str]:
    """The lines on a job's methods, on units with the rows of a schema."""
    return steps(schema, [replace(planned, units=schema.unit_names) for planned in plan(job, declared(job)).methods])


def test_steps_are_told_of_the_smallest_unit_and_few_are_warned_of() -> None:
    """2,432 rows in batches of 128 are 19 steps an epoch."""
    schema = DataSchema((), ("much", "little"), "", {("much", "train"): 10**6, ("little", "train"): 2432})
    training = {"batch_size": 128, "epochs": 15}
    slow = {"strategy": "single", "options": {"training.epochs": 16}}
    job = config.parse({**_JOB, "training": training, "methods": {**_JOB["methods"], "slow": slow}})
    few, enough = _steps(job, schema)
    assert few.startswith("warning: steps on little: 19 an epoch, at most 285 in all (fm, lr); fewer than 300 leave")
    assert few.endswith("lower training.batch_size (128) or raise training.epochs (15).")
    assert enough == "steps on little: 19 an epoch, at most 304 in all (slow)"
    mended = config.parse({**_JOB, "training": {**training, "batch_size": 64}})  # the remedy
    assert _steps(mended, schema) == ["steps on little: 38 an epoch, at most 570 in all (fm, lr)"]


def test_a_pre_training_makes_the_steps_of_all_domains_and_its_own_batches() -> None:
    schema = DataSchema((), ("a", "b"), "", {("a", "train"): 1000, ("b", "train"): 500})
    pretrain = {"training": {"batch_size": 10, "epochs": 1}}
    job = config.parse({**_JOB, "pretrain": pretrain, "pretrainings": {"v": {}}})
    (line,) = steps(schema, plan(job, declared(job)).recipes)
    assert line.startswith("warning: steps on all domains: 150 an epoch, at most 150 in all (pretrain.v);")


def test_a_job_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method and each pre-training is looked up, resolved and put together once; trials only lay their options over it."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> None:
        function = getattr(planning, name)

        def call(*args: Any) -> Any:
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(planning, name, call)

    for name in ("method_of", "resolve", "assemble"):
        counted(name)
    for module in (settings, build, check):
        for name in ("method_of", "resolve", "assemble", "settings"):
            if hasattr(module, name) and module is not planning:
                monkeypatch.setattr(module, name, None)  # nobody else does it
    job = config.read(shipped.folder("jobs") / "plate_douban.toml")
    pipeline.check(job)
    assert set(calls.values()) == {len(job.methods) + len(job.pretrainings)}
