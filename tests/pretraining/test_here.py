"""Pre-training without Ray: the artifact, its facts, a backbone taken from elsewhere, and the state on disk."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raytune_rec.artifacts import backbone
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, AssemblyError, JobError, RunFailed
from raytune_rec.pretraining import checkpoint
from raytune_rec.pretraining.artifact import best
from raytune_rec.pretraining.finished import adopt
from raytune_rec.pretraining.pretraining import Pretraining, streamed
from raytune_rec.pretraining.train import in_memory, pretrain
from raytune_rec.schema.prepared import Table
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.training.build import build
from raytune_rec.training.feed import StreamFeed, TableFeed
from raytune_rec.training.settings import method_of, settings
from tests.pipeline.here import resolved_on
from tests.pretraining.conftest import DATA, job, prepared, recipe_in

Make = Callable[..., Pretraining]


@pytest.fixture(scope="module")
def plate(store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A PLATE pre-training and what was returned."""
    folder = tmp_path_factory.mktemp("plate")
    return folder / "b", pretrain(recipe_in(job(), "plate"), {"training.lr.default": 0.02}, 5, store.path, folder / "b", folder)


def test_artifact_and_facts_are_complete(store: Store, plate: tuple[Path, dict[str, Any]]) -> None:
    facts, tensors = backbone.load(plate[0])
    found = plate[1]
    assert facts.data_fingerprint == store.schema.fingerprint
    assert (facts.name, facts.prompt, facts.pretraining, facts.learn_prompt) == ("deepfm", "plate", "plate", True)
    assert (facts.seed, facts.trials) == (3, 5)
    assert facts.options["hidden"] == [8, 6] and facts.prompt_options["meta_prompts"] == 10
    assert dict(facts.sites) == {"fields": (2, 4)}
    assert facts.training["lr"] == {"default": 0.02} and found["recipe"] == {"training.lr.default": 0.02}
    assert {"prompt.domain", "prompt.meta", "backbone.norm.0.mean", "backbone.deep.0.prompt"} <= set(tensors)
    assert facts.parameters["prompt.meta"].group == "prompt" and facts.parameters["backbone.norm.0.mean"].group == "interaction"
    assert facts.versions["torch"] == torch.__version__
    assert list(facts.curve) == found["curve"] and facts.value == found["best"] == max(found["curve"])
    assert len(found["curve"]) == len(found["losses"]) + 1 == found["epochs"] + 1
    assert found["fingerprint"] == facts.fingerprint and found["rows_per_second"] > 0
    assert found["best"] > 0.55, "it learned"


def test_a_pre_training_may_be_judged_by_a_metric_of_its_own(store: Store, tmp_path: Path) -> None:
    own = job(pretrain={"workers": 0, "training": {"epochs": 4, "metric": "logloss"}}, pretrainings={"plain": {}})
    found = pretrain(recipe_in(own, "plain"), {}, 0, store.path, tmp_path / "b", tmp_path)
    facts = backbone.read(tmp_path / "b")
    assert (facts.metric, found["metric"], own.training.metric) == ("logloss", "logloss", "auc")
    assert facts.value == found["best"] == min(found["curve"]) < found["curve"][0]


def test_what_is_saved_is_the_best_epoch(store: Store, tmp_path: Path) -> None:
    recipe = {"training.lr.default": 0.1, "training.epochs": 12}
    own = job()
    facts = pretrain(recipe_in(own, "plain"), recipe, 0, store.path, tmp_path / "b", tmp_path)
    assert 0 < facts["best_epoch"] < facts["epochs"], "this recipe overfits"
    resolved = resolved_on(own, "pretrained", {"plain": tmp_path / "b"})
    untouched = build(resolved, Pack("p", "pretrained", (Lane(0, unit="all"),)), store, {"plain": tmp_path / "b"})
    untouched.epoch()
    assert untouched.records[0].curve == pytest.approx([facts["best"]], abs=1e-6)


def test_a_neutral_prompt_is_not_saved_but_its_place_is(store: Store, tmp_path: Path) -> None:
    pretrain(recipe_in(job(), "pte"), {"training.epochs": 1}, 0, store.path, tmp_path / "b", tmp_path)
    facts, tensors = backbone.load(tmp_path / "b")
    assert not [n for n in tensors if n.startswith("prompt.")]
    assert not facts.learn_prompt and "backbone.deep.0.prompt" in tensors and dict(facts.sites) == {"fields": (2, 4)}


def test_one_call_tells_of_each_epoch(store: Store, tmp_path: Path) -> None:
    told: list[int] = []
    tell = lambda facts: told.append(facts["epochs"])  # noqa: E731
    pretrain(recipe_in(job(), "plain"), {"training.epochs": 2}, 0, store.path, tmp_path / "b", tmp_path, tell=tell)
    assert told == [1, 2]


def test_trials_start_apart(store: Store, tmp_path: Path) -> None:
    rest = ({"training.epochs": 1}, 0, store.path, tmp_path / "b", tmp_path)
    found = [pretrain(recipe_in(job(), "plain"), *rest, Lane(trial)) for trial in (0, 0, 1)]
    assert found[0]["fingerprint"] == found[1]["fingerprint"] != found[2]["fingerprint"]


def test_a_saved_state_goes_on_bit_identically(store: Store, plan: Make, tmp_path: Path) -> None:
    whole, first, second = (in_memory(plan(job()), store) for _ in range(3))
    whole.run()
    first.epoch()
    first.epoch()
    checkpoint.save(tmp_path / "state", first)
    checkpoint.restore(tmp_path / "state", second)
    second.run()
    assert second.records[0].curve == whole.records[0].curve and second.records[0].losses == whole.records[0].losses
    assert all(torch.equal(best(second)[n], t) for n, t in best(whole).items())


def test_a_damaged_state_is_refused(store: Store, plan: Make, tmp_path: Path) -> None:
    trainer = in_memory(plan(job()), store)
    trainer.epoch()
    checkpoint.save(tmp_path / "state", trainer)
    (tmp_path / "state" / "state.safetensors").write_bytes(b"short")
    with pytest.raises(ArtifactError, match="sha256"):
        checkpoint.restore(tmp_path / "state", trainer)


def test_divergence_is_a_failed_run(store: Store, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"diverged.*Lower its learning rate"):
        pretrain(recipe_in(job(), "plain"), {"training.lr.default": 1e30}, 0, store.path, tmp_path / "b", tmp_path)
    assert not (tmp_path / "b").exists()


def test_mistakes_are_refused_before_anything_starts(store: Store, tmp_path: Path) -> None:
    rest = (0, store.path, tmp_path / "b", tmp_path)
    with pytest.raises(JobError, match="no such option"):
        pretrain(recipe_in(job(workers=1), "plain"), {"training.speed": 1}, *rest)
    linear = job(workers=1, backbone={"name": "linear"})
    with pytest.raises(AssemblyError, match="do not fit"):
        pretrain(recipe_in(linear, "plate"), {}, *rest)


def test_without_workers_ray_is_never_imported(store: Store, tmp_path: Path) -> None:
    code = f"""
import sys
import threading
from pathlib import Path
from tests.pretraining.conftest import job, recipe_in
from raytune_rec.pretraining.train import pretrain
store, run = Path({str(store.path)!r}), Path({str(tmp_path)!r})
pretrain(recipe_in(job(), "plain"), {{"training.epochs": 1}}, 0, store, run / "b", run)
assert "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_adopting_a_finished_backbone(store: Store, plate: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    own = job(pretrainings={"plain": {}, "plate": {"prompt": "plate", "from": str(plate[0])}})
    found = adopt(own, "plate", store.path, tmp_path / "b")
    facts, _ = backbone.load(tmp_path / "b")
    assert found["fingerprint"] == facts.fingerprint == plate[1]["fingerprint"]
    assert found["curve"] == plate[1]["curve"] and found["from"] == str(plate[0])
    assert set(plate[1]) <= set(found), "both kinds of backbone have the same facts"


def test_adopting_refuses_what_does_not_fit(store: Store, plate: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    other = prepared(tmp_path / "other", DATA | {"options": DATA["options"] | {"seed": 1}})
    own = job(pretrainings={"plain": {"from": str(plate[0])}})
    with pytest.raises(ArtifactError) as caught:
        adopt(own, "plain", other.path, tmp_path / "b")
    text = str(caught.value)
    assert "Prepare the same source" in text and "prompt 'plate', the pre-training asks for no prompt" in text
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("built", "variant", "text"),
    [
        ({"width": 8}, {}, r"from: .* built with width = 4, .* says backbone\.options\.width = 8; set it to 4, or"),
        ({"hidden": [8, 7]}, {}, r"was built with hidden = .*8, 6.*backbone\.options\.hidden = .*8, 7"),
        ({}, {"backbone.width": 8}, r'width = 4, and .* pretrainings\.plate\.options\."backbone\.width" = 8'),
        ({}, {"from": "nowhere"}, r"^pretrainings\.plate\.from: .*nowhere holds no backbone"),
        ({"dropout": 0.1, "hidden": [8, 6]}, {"training.epochs": 3}, ""),
        ({"width": 8}, {"backbone.width": 4}, ""),
    ],
)
def test_a_finished_backbone_is_what_the_job_says(
    store: Store, plate: tuple[Path, dict[str, Any]], tmp_path: Path, built: dict[str, Any], variant: dict[str, Any], text: str
) -> None:
    options = {key: value for key, value in variant.items() if key != "from"}
    taken = {"prompt": "plate", "from": variant.get("from", str(plate[0])), "options": options}
    own = job(backbone={"name": "deepfm", "options": built}, pretrainings={"plain": {}, "plate": taken})
    if not text:
        adopt(own, "plate", store.path, tmp_path / "b")
        return
    with pytest.raises(ArtifactError, match=text):
        adopt(own, "plate", store.path, tmp_path / "b")


def test_a_row_has_the_structure_of_the_backbone_that_it_starts_from(plate: tuple[Path, dict[str, Any]]) -> None:
    """A smaller one would be a corner of every weight."""
    given = {"backbone.width": 2, "backbone.dropout": 0.4}
    row = {"strategy": "prompt_linear", "prompt": "plate", "pretraining": "plate", "options": given}
    own, facts = job(methods={"x": row}), backbone.read(plate[0])
    with pytest.raises(JobError, match=r"methods\.x: backbone\.width = 2, .* pre-trained with 4; leave it out"):
        settings(own, method_of(own, "x"), Lane(0), facts)
    given["backbone.width"] = 4
    own = job(methods={"x": row})
    assert settings(own, method_of(own, "x"), Lane(0), facts).backbone.dropout == 0.4


def test_a_stream_of_blocks_gives_the_batches_of_the_table(store: Store) -> None:
    """With one worker the same batches; with three, the same rows in shares of equal number of steps, idle ones of no weight."""
    train = store.load("all", "train")
    blocks = [_cut(train, i, i + 1024) for i in range(0, len(train), 1024)]
    rows = len(train)
    size = next(s for s in range(100, 200) if rows % s == 1)
    key = (3, "all", 0)
    whole = list(TableFeed(train, [key], size, 1024).epoch(2))
    shares = [list(StreamFeed(blocks, key, size, rank=r, world=3).epoch(2)) for r in range(3)]
    for step, batch in enumerate(StreamFeed(blocks, key, size).epoch(2)):
        assert torch.equal(batch.index, whole[step].index)
        assert all(torch.equal(c, whole[step].columns[n]) for n, c in batch.columns.items() if n != "age")
        mine = torch.cat([s[step].index[s[step].weight > 0] for s in shares])
        assert sorted(mine.tolist()) == sorted(batch.index[0].tolist())
    assert {len(s) for s in shares} == {len(whole)}
    assert [float(s[-1].weight.sum()) for s in shares] == [1, 0, 0]


class Sum:
    """What an all-reduce does, between threads."""

    def __init__(self, world: int) -> None:
        self.barrier, self.held = threading.Barrier(world, timeout=60), [[]] * world

    def of(self, rank: int) -> Callable[[list[torch.Tensor]], None]:
        def reduce(tensors: list[torch.Tensor]) -> None:
            self.held[rank] = [t.clone() for t in tensors]
            self.barrier.wait()
            total = [sum(parts) for parts in zip(*self.held, strict=True)]
            self.barrier.wait()
            for tensor, value in zip(tensors, total, strict=True):
                tensor.copy_(value)

        return reduce


def test_workers_stay_equal_whatever_their_share(store: Store, plan: Make) -> None:
    """Two workers, the second idle in the last step: weights and the statistics of norms are the same in both, and finite."""
    train = store.load("all", "train")
    size = next(s for s in range(100, 200) if len(train) % s == 1)
    own, both = plan(job(0, size)), Sum(2)
    blocks = [_cut(train, i, i + 1024) for i in range(0, len(train), 1024)]
    feeds = [StreamFeed(blocks, own.key, size, rank=rank, world=2) for rank in range(2)]
    workers = [own.trainer(store, streamed(store, own), feed, reduce=both.of(rank)) for rank, feed in enumerate(feeds)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    [t.start() for t in threads], [t.join() for t in threads]
    first, second = workers[0].state()[0], workers[1].state()[0]
    assert first.keys() == second.keys() and any("norm.0.var" in n for n in first)
    assert all(torch.isfinite(t).all() and torch.equal(t, second[n]) for n, t in first.items())
    assert workers[0].records[0].curve == workers[1].records[0].curve
    assert workers[0].records[0].best > 0.6, "they learn"


def _cut(table: Table, start: int, stop: int) -> Table:
    return Table({n: c[start:stop] for n, c in table.columns.items()}, np.asarray(table.label[start:stop]))
