"""Jobs: every mistake at once, with the place, the rule and the value; defaults; settings over a file."""

from pathlib import Path
from typing import Any

import pytest

from raytune_rec import config
from raytune_rec.errors import JobError

_JOB: dict[str, Any] = {
    "name": "small",
    "data": {"source": "synthetic"},
    "backbone": {"name": "deepfm"},
    "methods": {"single": {"strategy": "single", "baseline": True}},
}
_TOML = """
name = "small"
components = ["own"]
[data]
source = "synthetic"
[backbone]
name = "deepfm"
[training]
lr = { default = 1e-3, linear = 1e-2 }
[methods.single]
strategy = "single"
"""


def _file(folder: Path, text: str = _TOML) -> Path:
    path = folder / "job.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_job_has_every_default() -> None:
    job = config.parse(_JOB)
    assert job.tune.trials == 64 and job.evaluate.replicates == 5 and job.training.metric == "auc"
    assert job.data.max_rejected == 0.01 and job.methods["single"].baseline


def test_a_filled_in_job_reads_as_itself() -> None:
    job = config.parse(_JOB)
    assert config.parse(job.model_dump(by_alias=True)) == job


def test_every_mistake_is_reported_at_once() -> None:
    wrong = {
        **_JOB,
        "name": "a/b",
        "tune": {"trials": 0, "sampler": "magic"},
        "training": {"epochs": "many", "colour": "red"},
        "data": {"max_rejected": 2},
    }
    with pytest.raises(JobError) as error:
        config.parse(wrong)
    text = "\n".join(error.value.problems)
    places = ("name", "tune.trials", "tune.sampler", "training.epochs", "training.colour", "data.source", "data.max_rejected")
    assert [place for place in places if f"{place}:" not in text] == []
    assert "(given: 0)" in text and "(given: 'many')" in text and "no such option" in text
    assert "required" in text
    assert len(error.value.problems) == 7


def test_methods_name_what_exists() -> None:
    rows = {"plate": {"strategy": "prompt", "prompt": "plate", "pretraining": "missing"}}
    with pytest.raises(JobError, match=r"no pre-training 'missing'"):
        config.parse({**_JOB, "methods": rows})
    with pytest.raises(JobError, match=r"evaluate: no method 'plate'; the job has single"):
        config.parse({**_JOB, "evaluate": {"compare": ["plate"]}})


def test_a_metric_of_lists_may_choose_and_its_further_objectives_are_of_lists_too() -> None:
    data = {**_JOB["data"], "split": {"kind": "leave_one_out"}, "sequences": {}}
    lists = {"training": {"metric": "ndcg@10"}, "tune": {"objectives": ["list_auc", "parameters"], "sampler": "nsga2"}}
    job = config.parse({**_JOB, "data": data, **lists})
    assert job.training.metric == "ndcg@10" and job.tune.objectives == ["list_auc", "parameters"]
    for metric, objective in (("hit@10", "logloss"), ("auc", "mrr")):
        with pytest.raises(JobError, match=rf"tune\.objectives: '{objective}', but training\.metric = '{metric}': .*of one kind"):
            config.parse({**_JOB, "training": {"metric": metric}, "tune": {"objectives": [objective]}})
    with pytest.raises(JobError, match=r"pretrain\.training: metric = 'mrr', but training\.metric = 'auc': .*of one kind"):
        config.parse({**_JOB, "pretrain": {"training": {"metric": "mrr"}}})
    with pytest.raises(JobError, match=r"metric = 'mrr', but the rows are single interactions; choose one of auc, logloss"):
        config.parse({**_JOB, "training": {"metric": "mrr"}})
    with pytest.raises(JobError, match=r"metric = 'auc', but the rows are histories with candidates; choose one of list_auc"):
        config.parse({**_JOB, "data": data})
    with pytest.raises(JobError) as error:
        config.parse({**_JOB, "training": {"metric": "hit@3"}})
    assert len(error.value.problems) == 1 and "'ndcg@10'" in str(error.value)


def test_settings_go_over_the_file(tmp_path: Path) -> None:
    job = config.read(_file(tmp_path), ["tune.trials=4", "training.lr.linear=5e-3", "title=a b", "data.options.seed = 3"])
    assert job.tune.trials == 4
    assert job.training.lr == {"default": 1e-3, "linear": 5e-3}
    assert job.title == "a b" and job.data.options == {"seed": 3}


def test_own_components_are_relative_to_the_job(tmp_path: Path) -> None:
    assert config.read(_file(tmp_path)).components == [str(tmp_path / "own")]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["tune.trials"], "--set 'tune.trials': write part.option=value"),
        (["tune.trials=0"], r"tune\.trials: .*\(given: 0\)"),
        (["tune.tirals=3"], r"tune\.tirals: no such option"),
        (["name.x=3"], "'name' is a value, not a section"),
        (["name=a/b"], r"^name: a job's name has letters .*\(given: 'a/b'\)\.$"),
        (["evaluate.export=pprr"], r"^evaluate: no method 'pprr'; the job has single\.$"),
        (["data.split.valid=0.5", "data.split.test=0.5"], r"^data\.split: valid 0\.5 and test 0\.5 leave nothing to train on; "),
        (["data.split.kind=cold_users"], r"^data: split\.kind = 'cold_users' needs sequences\.tasks.* or joint\.$"),
        (
            ["data.sequences.tasks=['fwe']"],
            r"^data\.sequences\.tasks\.0: a task .* is few, zero, joint, or 1-shot.*\(given: 'fwe'\)\.$",
        ),
        (["data.sequences.lenght=3"], r"lenght: no such option; known here: length, windows, negatives"),
        (
            ["pretrainings.a.form=x"],
            r"pretrainings\.a\.form: no such option; known here: .*options, space, from, new_ids\.",
        ),
        (
            ["methods.single.options.training.epochs=[1]"],
            r"^methods\.single\.options: training\.epochs = \[1\]: an option .* one value",
        ),
        (
            ["methods.single.options.training={epochs=1}", "methods.single.options.training.epochs=[1]"],
            "an option here is one value",
        ),
    ],
)
def test_wrong_settings(tmp_path: Path, settings: list[str], text: str) -> None:
    with pytest.raises(JobError, match=text):
        config.read(_file(tmp_path), settings)


_LISTS = ["data.split.kind=leave_one_out", "training.metric=ndcg@10"]
_COLD = ["data.split.kind=cold_users", "training.metric=ndcg@10"]
_NEW = ["data.split.kind=cold_items", "training.metric=ndcg@10", "data.sequences.length=9"]
_PLAIN = ["pretrainings.plain.prompt=none", "methods.x.strategy=finetune_all"]
_FEW = "data.sequences.tasks=['few']"


@pytest.mark.parametrize(
    ("job", "wrong", "text", "remedies"),
    [
        ([], "tune.trials", r"write part\.option=value", ["tune.trials=3"]),
        ([], "name.x=y", r"^name\.x: 'name' is a value, not a section; set 'name' itself", ["name=y"]),
        ([], "evaluate.export=pprr", "the job has single", ["evaluate.export=single"]),
        ([], "methods.'a/b'.strategy=single", "use letters, digits and", ["methods.'a +b.1'.strategy=single"]),
        ([], "methods.single.options.training.epochs=[1]", "one value: true or", ["methods.single.options.training.epochs=1"]),
        ([], "training.lr={linear=1e-2}", "name a default too", ["training.lr={linear=1e-2, default=1e-3}"]),
        ([], "training.metric=mrr", "choose one of auc, logloss", ["training.metric=auc", "training.metric=logloss"]),
        ([], "tune.objectives=['auc']", "is training.metric already; leave it out", ["tune.objectives=[]"]),
        ([], "tune.objectives=['mrr']", "name metrics of one kind", ["tune.objectives=['logloss']"]),
        (["tune.stop.rule=median"], "tune.objectives=['logloss']", "leave it out, or tune.objectives", ["tune.objectives=[]"]),
        (["tune.objectives=['logloss']"], "tune.stop.rule=median", "leave it out, or tune.objec", ["tune.stop.rule=none"]),
        ([], "tune.gpus=1.5", "come whole, or as a part of one that is at least 0.01", ["tune.gpus=2", "tune.gpus=0.01"]),
        ([], "pretrainings.a.new_ids=true", "name it as `from`, or leave it out", ["pretrainings.a={new_ids=true, from='x'}"]),
        (_PLAIN, "methods.x.pretraining=plian", "the job has plain", ["methods.x.pretraining=plain"]),
        (
            [*_PLAIN, "methods.x.pretraining=plain", "pretrainings.lin.backbone=linear"],
            "methods.x.backbone=linear",
            "leave it out, or start from a pre-training of 'linear'",
            ["methods.x.backbone=''", "methods.x={strategy='finetune_all', backbone='linear', pretraining='lin'}"],
        ),
        ([], "data.split.valid=0.95", "their sum must be below 1", ["data.split.valid=0.85"]),
        (_COLD, "data.split.cold=0.2", "name few, zero or joint", [_FEW, *(_FEW.replace("few", t) for t in ("zero", "joint"))]),
        (_LISTS, _FEW, "set it to 'cold_users'",
         ["data={sequences={tasks=['few']}, split={kind='cold_users'}, source='synthetic'}"]),
        (["training.metric=mrr"], "data.sequences.length=9", "need split.kind = 'leave_one_out' or 'cold_users' or 'cold_items'",
         ["data={sequences={}, split={kind='leave_one_out'}, source='synthetic'}"]),
        (_NEW[:2], "data.split.cold=0.2", r"such as sequences = \{ length = 50 \}", ["data.sequences={ length = 50 }"]),
        (_LISTS, "data.sequences.item_groups=2", "set it to 'cold_items', or leave item_groups out",
         ["data={sequences={item_groups=2}, split={kind='cold_items'}, source='synthetic'}", "data.sequences={}"]),
        (_NEW, "data.split.cold_from=4", "set cold_from to 5 or more, or leave it out",
         ["data.split.cold_from=5", "data.split.cold_from=0"]),
        (_NEW, "data.split.cold_least=6", "set cold_least to 7 or more, or lower cold_kept",
         ["data.split.cold_least=7", "data.split={kind='cold_items', cold_least=6, cold_kept=4}"]),
        ([*_COLD, _FEW], "data.sequences.events=1", "set events to 2 or more", ["data.sequences.events=2"]),
        ([*_COLD, _FEW], "data.sequences.length=7", "set length to 8 or more, or lower events",
         ["data.sequences.length=8", "data.sequences={tasks=['few'], length=7, events=8}"]),
        (_COLD, "data.sequences.tasks=['9-shot']", "raise events", ["data.sequences={tasks=['9-shot'], events=10}"]),
        (_LISTS, "data.sequences.warm=true", "there are no tasks; name some, or leave it out", ["data.sequences.warm=false"]),
        ([*_COLD, _FEW], "data.sequences.predict=gender", "leave out tasks few", ["data.sequences={predict='gender'}"]),
        (_COLD, "data.sequences.tasks=['few', 'few']", "tasks: each once", [_FEW]),
        ([], "data.text.items.a=['t', 't']", "text columns, each once", ["data.text.items.a=['t']"]),
    ],
)  # fmt: skip
def test_what_an_error_names_is_a_job(tmp_path: Path, job: list[str], wrong: str, text: str, remedies: list[str]) -> None:
    with pytest.raises(JobError, match=text):
        config.read(_file(tmp_path), [*job, wrong])
    for remedy in remedies:
        config.read(_file(tmp_path), [*job, remedy])


def test_files_that_are_no_job(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"none\.toml: cannot be read"):
        config.read(tmp_path / "none.toml")
    with pytest.raises(JobError, match="not TOML"):
        config.read(_file(tmp_path, "name = "))
    (tmp_path / "job.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(JobError, match=r"not TOML: .*; save it as UTF-8"):
        config.read(tmp_path / "job.toml")
    (tmp_path / "job.toml").write_text("title = 'é'" + _TOML, encoding="utf-8")  # the remedy
    assert config.read(tmp_path / "job.toml").title == "é"


def test_rates_are_per_group() -> None:
    job = config.parse({**_JOB, "training": {"lr": {"default": 1e-3, "linear": 1e-2}, "weight_decay": {"linear": 1e-5}}})
    assert job.training.group_rate("lr", "linear") == 1e-2
    assert job.training.group_rate("lr", "output") == 1e-3
    assert job.training.group_rate("weight_decay", "output") == 0.0


def test_jobs_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.parse(_JOB).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden", "pretrain.plain", "", "a\nb"])
def test_methods_name_folders(name: str) -> None:
    with pytest.raises(JobError, match="names folders"):
        config.parse({**_JOB, "methods": {name: {"strategy": "single"}}})


def test_a_row_has_the_backbone_of_its_pretraining() -> None:
    row = {"strategy": "finetune_all", "pretraining": "plain", "backbone": "linear"}
    with pytest.raises(JobError, match=r"methods\.x\.backbone: 'linear', but its pre-training 'plain' is of 'deepfm'"):
        config.parse({**_JOB, "pretrainings": {"plain": {}}, "methods": {"x": row}})


@pytest.mark.parametrize("lr", [{"linear": 1e-2}, {"default": -1e-3}, {"default": float("nan")}, {"default": float("inf")}])
def test_rates_that_would_train_nothing_or_upwards(lr: dict[str, float]) -> None:
    with pytest.raises(JobError, match=r"training\.lr"):
        config.parse({**_JOB, "training": {"lr": lr}})


def test_a_setting_reaches_a_flat_key_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(
        'name = "x"\n[data]\nsource = "synthetic"\n[backbone]\nname = "deepfm"\n[methods.plate]\nstrategy = "prompt"\n'
    )
    job = config.read(path, ['methods.plate.options."prompt.temperature"=0.5', "training.epochs=3"])
    assert job.methods["plate"].options == {"prompt.temperature": 0.5} and job.training.epochs == 3
    own = config.read(path, ['methods.plate.options."prompt.temperature"=0.5', "methods.plate.options.prompt.temperature=0.4"])
    assert own.methods["plate"].options == {"prompt.temperature": 0.4}
    with pytest.raises(JobError, match=r"no TOML key.*part\.option=value"):
        config.read(path, ["methods..plate=1"])


def test_flat_options_may_be_written_as_tables() -> None:
    options = {"prompt": {"tokens": 3}, "training": {"lr": {"prompt": 0.1}}}
    rows = {"x": {"strategy": "single", "options": options}}
    job = config.parse(
        {**_JOB, "methods": rows, "pretrain": {"training": {"lr": {"default": 0.2}}}, "pretrainings": {"a": {"options": options}}}
    )
    assert job.methods["x"].options == job.pretrainings["a"].options == {"prompt.tokens": 3, "training.lr.prompt": 0.1}
    assert job.pretrain.training == {"lr.default": 0.2}
    with pytest.raises(JobError, match=r"methods\.x\.options: prompt\.tokens is given twice, as 3 and as 4; write it once\.$"):
        config.parse({**_JOB, "methods": {"x": {"strategy": "single", "options": {"prompt": {"tokens": 3}, "prompt.tokens": 4}}}})


def test_a_strategy_that_does_not_go_with_its_prompt_or_pretraining_is_refused_and_the_remedy_works() -> None:
    from raytune_rec.training.settings import method_of

    values = {**_JOB, "pretrainings": {"p": {}, "q": {}}}
    for method, text, mended in (
        (
            {"strategy": "single", "prompt": "plate"},
            r"a\.prompt: strategy 'single' uses no prompt.*leave it out",
            {"prompt": "none"},
        ),
        ({"strategy": "finetune_all"}, r"a\.pretraining: .* starts from a backbone; name one of p, q", {"pretraining": "q"}),
        ({"strategy": "single", "pretraining": "p"}, r"starts from scratch .*; leave 'p' out", {"pretraining": ""}),
    ):
        with pytest.raises(JobError, match=text):
            method_of(config.parse({**values, "methods": {"a": method}}), "a")
        assert method_of(config.parse({**values, "methods": {"a": {**method, **mended}}}), "a").name == "a"
    alone = {**_JOB, "methods": {"a": {"strategy": "finetune_all"}}}
    with pytest.raises(JobError, match=r"the job has none, write one as \[pretrainings\.NAME\]"):
        method_of(config.parse(alone), "a")
    assert method_of(config.parse({**alone, "pretrainings": {"NAME": {}}}), "a").pretraining == "NAME"


def test_a_file_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    assert config.read(_file(tmp_path, "\ufeff" + _TOML)).name == "small"


def test_old_names_are_refused_with_the_new_ones(tmp_path: Path) -> None:
    """All of them at once, beside what else is wrong; what the refusal names is accepted."""
    old = """name = "x"\nseed = -1\n[data]\nsource = "synthetic"\n[backbone]\nname = "deepfm"\n[pretrain]\ntrials = 2
[pretrain.variants.plain]\nspace = ["training"]\n[rows.a]\nstrategy = "finetune_all"\nvariant = "plain"
[rows.b]\nstrategy = "pretrained"\nvariant = "plain"\noptions = { "prompt.variant" = "fusion" }\n"""
    path = tmp_path / "job.toml"
    path.write_text(old)
    with pytest.raises(JobError) as refused:
        config.read(path, ["rows.a.options.training.epochs=3", "pretrain.variants.plain.prompt=none"])
    assert refused.value.problems == (
        "rows: it is called methods now; rename it.",
        "pretrain.variants: it is called pretrainings now; rename it.",
        "methods.a.variant: it is called methods.a.pretraining now; rename it.",
        "methods.b.variant: it is called methods.b.pretraining now; rename it.",
        "--set rows.a.options.training.epochs: it is called methods.a.options.training.epochs now; rename it.",
        "--set pretrain.variants.plain.prompt: it is called pretrainings.plain.prompt now; rename it.",
        "seed: Input should be greater than or equal to 0 (given: -1).",
    )
    new = old.replace("[rows.", "[methods.").replace("[pretrain.variants.", "[pretrainings.")
    path.write_text(new.replace("\nvariant", "\npretraining").replace("seed = -1\n", ""))
    job = config.read(path, ["methods.a.options.training.epochs=3", "pretrainings.plain.prompt=none"])
    assert job.methods["a"].pretraining == "plain" and job.methods["b"].options == {"prompt.variant": "fusion"}


def test_old_names_in_values_are_refused_and_the_values_stay() -> None:
    values = {**_JOB, "rows": {"plate": {"strategy": "single", "variant": "x"}}}
    with pytest.raises(JobError, match=r"^rows: it is called methods now; rename it\.\nmethods\.plate\.variant: "):
        config.parse(values)
    assert values["rows"] == {"plate": {"strategy": "single", "variant": "x"}}
