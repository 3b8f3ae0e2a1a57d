"""What a job's plan says of its search before anything runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raytune_rec import cli, config, pipeline
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.job import shipped
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.stages.checks import check, heads
from raytune_rec.stages.checks.check import declared
from raytune_rec.stages.steps import steps
from raytune_rec.training import build, settings
from raytune_rec.tuning.packs.width import counted
from raytune_rec.tuning.search import plan as planning
from raytune_rec.tuning.search.pace import Pace
from raytune_rec.tuning.search.plan import for_recipes, plan

_JOB: dict[str, Any] = {
    "name": "small",
    "data": {"source": "synthetic"},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [4]}},
    "methods": {"fm": {"strategy": "single"}, "lr": {"strategy": "single", "backbone": "linear"}},
}


def _rendered(told: Any) -> list[str]:
    console = Console(width=400)
    with console.capture() as caught:
        console.print(told)
    return caught.get().splitlines()


def _said(job: config.Job) -> str:
    return "\n".join(_rendered(pipeline.check(job)))


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


def test_what_trains_nothing_makes_no_steps() -> None:
    job = config.read(shipped.folder("jobs") / "amazon_text.toml")
    assert _steps(job, DataSchema((), ("beauty",), "", {("beauty", "train"): 100})) == [], "and is not told to train longer"


def test_a_pre_training_makes_the_steps_of_all_domains_and_its_own_batches() -> None:
    schema = DataSchema((), ("a", "b"), "", {("a", "train"): 1000, ("b", "train"): 500})
    pretrain = {"training": {"batch_size": 10, "epochs": 1}}
    job = config.parse({**_JOB, "pretrain": pretrain, "pretrainings": {"v": {}}})
    (line,) = steps(schema, plan(job, declared(job)).recipes)
    assert line.startswith("warning: steps on all domains: 150 an epoch, at most 150 in all (pretrain.v);")


_COLD: dict[str, Any] = {
    "name": "cold",
    "data": {
        "source": "amazon", "options": {"path": "nowhere", "domains": ["Toys"]}, "split": {"kind": "cold_items"},
        "sequences": {"item_groups": 4},
    },
    "backbone": {"name": "dssm"}, "training": {"objective": "sampled_softmax", "metric": "ndcg@10"},
    "pretrainings": {"plain": {}},
    "methods": {"promo": {"strategy": "prompt", "prompt": "promo", "pretraining": "plain"}},
}  # fmt: skip


def _mib(job: config.Job, schema: DataSchema) -> float:
    (line,) = [line for line in _rendered(check._table(plan(job, schema))) if line.startswith("│ promo ")]
    return float(line.split("│")[-2])


def test_memory_counts_the_rows_that_a_units_own_items_have() -> None:
    """Each item has a network of its own: they are most of what a lane trains."""
    job = config.parse(_COLD)
    said = _said(job)
    assert "Memory is told for 1,000 users and 1,000 items, 250 of them a unit's own." in said
    schema, spaces = declared(job), {}
    for items in (250, 1000):
        members = tuple(range(1, items + 1))
        known = replace(schema, groups=tuple(replace(unit, members=members) for unit in schema.groups))
        spaces[items] = _mib(job, known)
        (prompt,) = plan(job, known).method("promo").parts.prompts
        fixed = sum(p.size() for p in prompt.parameters() if p.rows is None)
        own = sum(p.size() for p in prompt.parameters() if p.rows)
        assert spaces[items] == pytest.approx(5 * 4 * (fixed + own * (1 + items)) / 2**20, abs=0.05) and own > 500
    assert spaces[1000] > 3 * spaces[250] and _mib(job, schema) == spaces[250]
    heavy = counted(plan(job, known).method("promo").resolved, known, "cold.1")
    assert heavy({"prompt.network": "personal"}) > heavy({"prompt.network": "shared", "prompt.fusion_width": 256})


def test_check_counts_the_trials_of_the_units_that_are_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = config.parse({**_COLD, "tune": {"trials": 8}})
    assert "32 trials on 4 groups of cold items" in _said(job) and "(tune.least_valid) are not searched" in _said(job)
    schema = declared(job)
    rows = {(unit.name, split): 9 if unit.number == 2 else 10**4 for unit in schema.groups for split in ("train", "valid")}
    monkeypatch.setattr(check, "prepared", lambda job, run: replace(schema, rows=rows))
    monkeypatch.setattr(check.estimate, "lines", lambda made, store: [])  # no such rows lie anywhere
    said = "\n".join(_rendered(pipeline.check(job, tmp_path)))
    assert "24 trials on 4 groups of cold items" in said and "are not searched" not in said
    assert "not searched, for fewer than" in said and ": cold.2; tuned with what wins on cold." in said


_RANKED: dict[str, Any] = {
    "name": "cold",
    "data": {
        "source": "tabular",
        "options": {"files": "none.csv", "domain": "shop", "columns": {"user": "u", "item": "i"}},
        "split": {"kind": "leave_one_out"},
        "sequences": {"length": 6},
    },
    "backbone": {"name": "dssm"},
    "training": {"objective": "next_bce", "metric": "ndcg@10"},
    "pretrainings": {"plain": {}},
}
_WALKS: dict[str, Any] = {"strategy": "single", "backbone": "transitions", "space": ["transitions"]}


def _refused(job: dict[str, Any]) -> list[str]:
    with pytest.raises(UserError) as refused:
        pipeline.check(config.parse(job))
    return list(refused.value.problems)


def test_what_is_of_cold_items_is_refused_where_there_are_none_and_the_remedies_help() -> None:
    """Before anything runs: such a prompt would train and change no score."""
    tuned = {"strategy": "prompt", "pretraining": "plain", "prompt": "promo"}
    methods = {"walks": {**_WALKS, "options": {"backbone.similarity": 0.0}}, "tuned": tuned}
    (told,) = _refused(_RANKED | {"methods": methods})
    assert "walks" in _said(config.parse(_RANKED | {"methods": {"walks": methods["walks"]}})), "who took what is known anywhere"
    assert "methods.tuned: prompt 'promo' tells cold items alone" in told and "set data.split.kind = 'cold_items', or " in told
    cold = _RANKED | {"data": _RANKED["data"] | {"split": {"kind": "cold_items"}}, "methods": methods}
    assert "walks" in _said(config.parse(cold))
    (alone,) = _refused(cold | {"pretrainings": {"plain": {}, "walks": {"backbone": "transitions"}}})
    assert "pretrainings.walks: " in alone and "leave this one out, and start methods of it from scratch" in alone


def test_values_that_a_backbone_refuses_on_these_data_are_refused_before_they_are_searched() -> None:
    """Of the default of an option nothing shows."""
    cold = _RANKED | {"data": _RANKED["data"] | {"split": {"kind": "cold_items"}}}
    told, _ = _refused(cold | {"methods": {"walks": _WALKS}})
    assert "set methods.NAME.options.'backbone.similarity' = 0.0" in told
    fixed = {**_WALKS, "options": {"backbone.similarity": 0.0}}
    assert "5 options" in _said(config.parse(cold | {"methods": {"walks": fixed}}))


def test_check_tells_steps_and_sizes_once_data_are_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "ROWS", 100)  # a log too large to be made in passing
    small = "options = { interactions = { feed = 300, search = 200 }, users = 20, items = 15 }"
    (tmp_path / "job.toml").write_text(
        f"name = 'small'\n[data]\nsource = 'synthetic'\n{small}\n[backbone]\nname = 'deepfm'\n[pretrainings.plain]\n"
        "[methods.single]\nstrategy = 'single'\n[training]\nbatch_size = 10\nepochs = 2\n"
    )
    words, out = [str(tmp_path / "job.toml"), "--out", str(tmp_path / "run")], tmp_path / "run"

    def said(*more: str) -> str:
        assert cli.main(["check", *words, *more]) == 0
        return " ".join(capsys.readouterr().out.split())

    before = said()
    assert f"Steps and time are told after `raytune-rec prepare JOB --out {out}`." in before and not out.exists()
    assert "Memory is told for 1,000 users and 1,000 items." in before
    assert cli.main(["prepare", *words]) == 0, "the remedy"
    told = said()
    made = plan(config.read(tmp_path / "job.toml"), Store.open(out / "data").schema)
    lines = [*steps(made.schema, made.recipes), *steps(made.schema, made.methods)]
    assert len(lines) == 2 and all(line in told for line in lines) and "Steps and time are" not in told
    assert "warning: steps on all domains: " in lines[0]
    assert f"Memory is told for {made.schema.field('user').size - 1} users and " in told
    assert lines[0] not in said("--set", "training.batch_size=5") and "steps on all" in said("--set", "training.batch_size=5")
    assert "Steps and time are told after" in said("--set", "data.split.seed=5"), "other data"


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
