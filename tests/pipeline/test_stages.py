"""Stages without training: what is refused before a long wait, and what a changed stage does to those after it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raytune_rec import config, pipeline
from raytune_rec.config import Job, parse
from raytune_rec.errors import DataError, UserError
from raytune_rec.job import shipped
from raytune_rec.stages import pretrain
from raytune_rec.stages.prepare import check_units
from raytune_rec.storage.base import TEMPORARY
from raytune_rec.storage.claim import held
from raytune_rec.storage.files import write_json

JOB: dict[str, Any] = {
    "name": "small",
    "data": {"source": "synthetic"},
    "backbone": {"name": "deepfm"},
    "pretrainings": {"plain": {}, "plate": {"prompt": "plate"}, "pte": {"prompt": "plate", "learn_prompt": False}},
    "methods": {"single": {"strategy": "single"}},
}


GOLDEN = Path(__file__).parents[1] / "golden" / "v1" / "backbone"


def job(**changes: Any) -> Job:
    return parse(JOB | changes)


class _Chain:
    """Three stages, each of which notes that it ran; `trials` of the first may be raised."""

    def __init__(self) -> None:
        self.trials, self.ran, self.broken = 1, list[str](), ""

    def stages(self) -> dict[str, Any]:
        own = {"FORMAT": 1, "FREE": ("trials",), "outputs": lambda _: []}
        return {n: SimpleNamespace(**own, inputs=self._inputs(n), run=self._run(n)) for n in "abc"}

    def _inputs(self, name: str) -> Any:
        # of the later stages: something that the first one decides
        return lambda context: {"trials": self.trials} if name == "a" else {"winner": f"w{self.trials}"}

    def _run(self, name: str) -> Any:
        def run(context: Any) -> dict[str, Any]:
            if name == self.broken:
                raise KeyboardInterrupt
            self.ran.append(name)
            return {}

        return run


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> _Chain:
    made = _Chain()
    monkeypatch.setattr(pipeline, "STAGES", made.stages())
    return made


def _run(out: Path, until: str = "c") -> None:
    pipeline.run(job(), out, until=until, say=lambda line: None)


def test_a_run_sweeps_what_a_kill_left_once_it_has_the_folder(chain: _Chain, tmp_path: Path) -> None:
    _run(tmp_path, until="a")
    folders = ("stages/a", "stages/b", "journal")
    left = [tmp_path / folder / f".x.json.abcdefgh{TEMPORARY}" for folder in folders]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    with held(tmp_path), pytest.raises(UserError, match="another raytune-rec works in this folder"):
        _run(tmp_path)
    assert all(path.exists() for path in left)
    _run(tmp_path)
    assert not any(path.exists() for path in left) and chain.ran == ["a", "b", "c"]


def test_raising_the_trials_by_one_stage_and_going_on_later(chain: _Chain, tmp_path: Path) -> None:
    _run(tmp_path)
    chain.trials, chain.ran = 2, []
    _run(tmp_path, until="a")
    _run(tmp_path)
    assert chain.ran == ["a", "b", "c"]
    _run(tmp_path)
    assert chain.ran == ["a", "b", "c"]


def test_an_interruption_behind_a_raised_stage_leaves_nothing_stale(chain: _Chain, tmp_path: Path) -> None:
    _run(tmp_path)
    chain.trials, chain.ran, chain.broken = 2, [], "b"
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path)
    chain.broken = ""
    _run(tmp_path)
    assert chain.ran == ["a", "b", "c"]


_LINEAR = {"strategy": "single", "backbone": "linear"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"methods": {}}, "nothing to tune"),
        ({"methods": {"x": {"strategy": "magic"}}}, "there is no 'magic'"),
        ({"methods": {"x": {"strategy": "single", "space": ["nowhere"]}}}, "there is no 'nowhere'"),
        ({"methods": {"x": {"strategy": "single", "options": {"training.lr.linaer": 0.1}}}}, "no parameter group 'linaer'"),
        ({"backbone": {"name": "deepfm", "options": {"hidden": [8, 0]}}}, r"hidden\.1: .*greater than or equal to 1"),
        ({"prompts": {"plate": {"domain_prompt": False, "user_prompt": False}}}, "both off"),
        (
            {"prompts": {"plat": {"meta_prompts": 3}}},
            r"prompts: there is no 'plat'; there are \w+, .*\bplate, ppr, ",
        ),
        ({"backbones": {"bert4rec": {"width": 0}}}, r"backbones\.bert4rec\.width: .*\(given: 0\)"),  # which no row uses
        (
            {"backbone": {"name": "deepfm", "options": {"width": -2}}, "methods": {"x": _LINEAR}},
            r"deepfm\.width: .*\(given: -2\)",
        ),
        ({"backbones": {"bert4rc": {"width": 3}}}, "backbones: there is no 'bert4rc'"),
        ({"backbones": {"deepfm": {"width": 3}}}, r"backbones\.deepfm: 'deepfm' is the job's own backbone, whose options are"),
        ({"objectives": {"sampled_sofmax": {"negatives": 3}}}, "objectives: there is no 'sampled_sofmax'"),
        (
            {"training": {"lr": {"default": 0.1, "promt": 0.1}}},
            r"training\.lr\.promt: there is no parameter group 'promt'; there are",
        ),
        (
            {"training": {"weight_decay": {"linaer": 0.1}}},
            r"training\.weight_decay\.linaer: there is no parameter group 'linaer'",
        ),
        (
            {"methods": {"x": {"strategy": "finetune_partial:encoder", "pretraining": "plain"}}},
            r"^methods\.x: strategy 'finetune_partial:encoder' trains 'encoder'; .* choose a strategy that trains some of these",
        ),
        (
            {"methods": {"x": {"strategy": "prompt", "prompt": "ppr", "pretraining": "plain"}}},
            r"methods\.x: prompt Ppr and backbone DeepFM do not fit: the prompt writes 'prefix', .*; choose another prompt, or a",
        ),
        (
            {"backbone": {"name": "linear"}},
            r"pretrainings\.plate: prompt Plate and backbone Linear do not fit: the prompt reads 'user_features'",
        ),
        ({"training": {"objective": "mse"}}, "objectives: there is no 'mse'"),
        ({"methods": {"x": {"strategy": "single", "options": {"training.metric": "logloss"}}}}, "the job chooses by 'auc'"),
        ({"pretrainings": {"plain": {"options": {"training.metric": "logloss"}}}}, r"it under \[pretrain\.training\]"),
        ({"spaces": {"training": {"space": {"training.epochs": {"type": "int", "low": 0, "high": 3}}}}}, r"epochs: .*given: 0"),
        ({"evaluate": {"export": "single"}}, "'single' starts from scratch"),
        ({"methods": {"x": {"strategy": "prompt", "prompt": "plate", "pretraining": "plain"}}}, "needs another first layer"),
        ({"methods": {"x": {"strategy": "finetune_all", "pretraining": "plate"}}}, "needs another first layer"),
        (
            {"methods": {"x": {"strategy": "finetune_all", "pretraining": "plain", "options": {"backbone.width": 2}}}},
            r"methods.x: backbone.width = 2, and the backbone that it starts from is pre-trained with \d+; leave it out",
        ),
        ({"methods": {"x": {"strategy": "prompt_untuned", "prompt": "plate", "pretraining": "pte"}}}, "learns none"),
    ],
)
def test_a_mistake_in_a_method_is_refused_before_anything_is_done(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        pipeline.run(job(**changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_takes_no_prompt_is_refused_with_one_and_tuned_without(tmp_path: Path) -> None:
    with_prompts: dict[str, Any] = {"backbone": {"name": "mmoe"}}
    remedy = r"the backbone takes nothing; leave the prompt out, of a method with a strategy that has none, or choose a backbone"
    with pytest.raises(UserError, match=rf"pretrainings\.plate: prompt Plate and backbone Mmoe do not fit: .*{remedy}"):
        pipeline.run(job(**with_prompts), tmp_path)
    without = {"pretrainings": {"plain": {}}, "methods": {"x": {"strategy": "finetune_all", "pretraining": "plain"}}}
    pipeline.run(job(**with_prompts, **without), tmp_path, only="prepare")
    other = {"name": "wide_deep"}
    pipeline.run(job(backbone=other), tmp_path / "other", only="prepare")


def test_a_second_driver_of_a_folder_is_refused(tmp_path: Path) -> None:
    with held(tmp_path), pytest.raises(UserError, match=r"another raytune-rec works in this folder; wait until it has ended"):
        pipeline.run(job(), tmp_path, only="prepare")
    assert not list(tmp_path.iterdir()), "neither has left anything"
    pipeline.run(job(), tmp_path, only="prepare")
    pipeline.run(job(), tmp_path, only="prepare")


def test_rejecting_too_much_can_be_mended_in_the_same_folder(tmp_path: Path) -> None:
    lines = [f"x,u{n % 9},i{n % 7},{n % 2}" for n in range(400)] + ["x,u1,i1,7"] * 8
    (tmp_path / "log.csv").write_text("\n".join(["domain,user,item,label", *lines]) + "\n")
    data: dict[str, Any] = {"source": "tabular", "options": {"files": str(tmp_path / "log.csv")}}
    with pytest.raises(DataError, match="max_rejected"):
        pipeline.run(job(data=data), tmp_path / "run", only="prepare")
    said: list[str] = []
    pipeline.run(job(data={**data, "max_rejected": 0.1}), tmp_path / "run", only="prepare", say=said.append)
    assert any("8 rows were rejected (label is neither 0 nor 1: 8), see " in line for line in said)
    assert any("rows in 1 domain (" in line for line in said)


def _domain(**rows: tuple[int, int]) -> dict[str, Any]:
    given = {"train": (9, 4), "valid": (4, 2), "test": (4, 2)} | rows
    return {split: {"rows": n, "positives": p} for split, (n, p) in given.items()}


def test_domains_that_cannot_be_validated_are_named() -> None:
    check_units({"domains": {"a": _domain(), "b": _domain(test=(0, 0))}}, "auc")
    check_units({"domains": {"a": _domain(valid=(4, 4))}}, "logloss")
    none = (0, 0)
    domains = {"a": _domain(valid=none, test=none), "b": _domain(valid=(3, 3), test=none), "c": _domain(train=none, test=none)}
    with pytest.raises(DataError) as error:
        check_units({"domains": domains}, "auc")
    text = "\n".join(error.value.problems)
    assert "'a': no row to validate with" in text and "'b': its 3 validation rows have one label" in text
    assert "'c': no row to train with" in text and "no domain has a test row" in text


def _histories(tmp_path: Path, lines: list[str], **data: Any) -> Job:
    (tmp_path / "log.csv").write_text("\n".join(["domain,user,item,label,position", *lines]) + "\n")
    columns = {name: name for name in ("domain", "user", "item", "label", "position")}
    source: dict[str, Any] = {"source": "tabular", "options": {"files": str(tmp_path / "log.csv"), "columns": columns}}
    training = {"metric": "ndcg@5", "objective": "softmax"}
    return job(data=source | data, training=training, backbone={"name": "sasrec"}, pretrainings={})


@pytest.mark.parametrize("split", [{"cold": 0.1}, {"cold_below": 2}])
def test_folds_with_too_few_cold_users_are_refused_before_anything_trains(tmp_path: Path, split: dict[str, Any]) -> None:
    lines = [f"x,u{u},i{(u + k) % 7},1,{k}" for u in range(30) for k in range(4)]
    lines += [f"x,one{u},i1,1,1" for u in range(60)] if "cold_below" in split else []  # many, with nothing after their first item
    sequences = {"length": 5, "negatives": 1, "tasks": ["few"], "events": 4, "folds": 5}
    own = _histories(tmp_path, lines, split={"kind": "cold_users", **split}, sequences=sequences)
    with pytest.raises(DataError) as error:
        pipeline.run(own, tmp_path / "run", only="prepare")
    text = str(error.value)
    assert "unit 'few.1': no row of cold users to test with." in text and "lower data.sequences.folds" in text
    assert "unit 'few.1': no row of cold users to train with." in text or "cold" in split


def test_histories_tell_what_they_leave_out_and_fewer_candidates_do_in_the_same_folder(tmp_path: Path) -> None:
    lines = [f"x,u{u},i{(u + k) % 9},1,{k}" for u in range(30) for k in range(5)]
    lines += ["x,u1,i8,0,9", "x,u2,i8,0,9", "x,u3,only once,1,9"]
    data: dict[str, Any] = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 5, "negatives": 5}}
    with pytest.raises(DataError, match=r"negatives = 5, but some user of 'x/valid' has only 4 items never taken; lower it"):
        pipeline.run(_histories(tmp_path, lines, **data), tmp_path / "run", only="prepare")
    data["sequences"]["negatives"], said = 4, list[str]()
    pipeline.run(_histories(tmp_path, lines, **data), tmp_path / "run", only="prepare", say=said.append)
    assert any("interactions of label 0, left out since histories hold what users took: 2" in line for line in said)
    left = "x: interactions left out of histories, since training does not know their item: 1"
    assert any(f"{left}; users without a test row for that: 1" in line for line in said)


def test_a_pretraining_of_other_inputs_is_not_taken_for_finished(tmp_path: Path) -> None:
    fingerprint = "f" * 16
    shutil.copytree(GOLDEN, tmp_path / "backbones" / fingerprint)
    write_json(tmp_path / "pretrain.json", {"plain": {"fingerprint": fingerprint, "inputs": "old"}})
    context: Any = SimpleNamespace(folder=tmp_path, job=job())
    assert list(pretrain._finished(context, "old")) == ["plain"]
    assert pretrain._finished(context, "new") == {}
    (tmp_path / "backbones" / fingerprint / "data" / "users.parquet").unlink()
    assert pretrain._finished(context, "old") == {}, "a damaged one is not finished"
    for text in ("[]", "{", '{"plain": 3}', '{"plain": {"inputs": "old", "fingerprint": "../x"}}'):
        (tmp_path / "pretrain.json").write_text(text)
        assert pretrain._finished(context, "old") == {}


@pytest.mark.parametrize("name", shipped.names("jobs"))
def test_every_shipped_job_has_a_plan(name: str) -> None:
    """Its rows fit their pre-trainings, its spaces their rows, its objectives their backbones."""
    own = config.read(shipped.folder("jobs") / f"{name}.toml")
    assert own.name == name
    pipeline.check(own)
