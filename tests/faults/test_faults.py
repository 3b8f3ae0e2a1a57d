"""Faults cost time and nothing else: a head and three nodes, and a trainer that only adds. `python -m benchmarks.faults` has real
runs."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults import classes, injection, inside, table
from benchmarks.faults.cluster import Nodes
from benchmarks.faults.fault import Subject
from benchmarks.faults.ours import OURS
from benchmarks.faults.plain import script
from benchmarks.faults.plain.classes import SECONDS
from benchmarks.faults.plain.subject import PLAIN
from benchmarks.kills import journal
from benchmarks.kills.sweep import STAGES
from benchmarks.sweep.plain import Rows, Training
from raytune_rec.schema.work import Pack
from raytune_rec.tuning.packs.folder import PackFolder
from tests.faults.test_plain import made_up
from tests.tuning import fake
from tests.tuning.test_runner import ROOT, _expected, _facts, _search


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    import ray

    made = Nodes()
    made.whole()
    variables = {"PYTHONPATH": str(ROOT)}
    ray.init(made.variables["RAY_ADDRESS"], log_to_driver=False, runtime_env={"env_vars": variables})
    yield made
    ray.shutdown()
    made.stop()


@pytest.mark.slow
def test_a_search_under_faults_ends_as_one_without(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node crashes, another leaves and one comes, a trial raises, a folder is lost at work, a process dawdles, and every result
    is told twice."""
    from raytune_rec.tuning.run.ray_tune import PackSearcher

    real, ended = PackSearcher.on_trial_complete, list[str]()

    def twice(self: PackSearcher, trial_id: str, *result: Any, **error: Any) -> None:
        ended.append(trial_id)
        if len(ended) in (2, 4):
            assert nodes.crash(0) if len(ended) == 2 else nodes.replace(1)
        real(self, trial_id, *result, **error)
        real(self, trial_id, *result, **error)

    def struck(resolved: Any, pack: Pack, store: Any, backbones: Any, device: str) -> fake.FakeTrainer:
        folder = PackFolder.of(tmp_path, job, pack).path
        trainer = fake.build(resolved, pack, store, backbones, device)
        epoch = trainer.epoch

        def fault() -> None:
            epoch()
            number = inside.tick(Path(store) / "epochs")
            if number == 3:
                raise RuntimeError("a fault that was injected")
            if number == 7:
                shutil.rmtree(folder, ignore_errors=True)
            if number == 9:
                time.sleep(0.5)

        trainer.epoch = fault  # type: ignore[method-assign]
        return trainer

    monkeypatch.setattr(PackSearcher, "on_trial_complete", twice)
    job = fake.job(trials=6, round=6, pack=2, concurrent=3, max_failures=3)
    _search(tmp_path, job, struck, seconds=0.0)
    assert len(ended) > 4 and inside.tick(tmp_path / "data" / "epochs") > 9, "all of them came"
    assert _facts(tmp_path) == _expected(tmp_path / "alone", job)
    assert {*journal.read(tmp_path / "journal").results.values()} == {1}
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.slow
def test_the_yardstick_goes_on_with_its_trials_and_reads_what_has_ended(nodes: Nodes, tmp_path: Path) -> None:
    """Four epochs, and one more that raises; the same search again trains nothing."""

    def struck(rows: Rows, config: Mapping[str, Any]) -> Training:
        training = script.build(rows, config)
        epoch = training.epoch

        def fault() -> float:
            if inside.tick(tmp_path / "epochs") == 3:
                raise RuntimeError("a fault that was injected")
            return epoch()

        training.epoch = fault  # type: ignore[method-assign]
        return training

    tuned = {"trials": 2, "concurrent": 2, "max_failures": 1}
    job = {"seed": 3, "training": {"epochs": 2, "batch_size": 64}, "tune": tuned}
    found = [script.search("feed", made_up(), job, tmp_path / "plain", struck) for _ in range(2)]
    told = [[results[i].metrics or {} for i in range(len(results))] for results in found]
    values = [sorted((metrics["epoch"], metrics["value"]) for metrics in trials) for trials in told]
    assert not found[0].errors and [epoch for epoch, _ in values[0]] == [2, 2]
    assert values[0] == values[1] and inside.tick(tmp_path / "epochs") == 6


@pytest.mark.parametrize(("subject", "name"), [(subject, name) for subject in (OURS, PLAIN) for name in subject.classes])
def test_what_is_drawn_of_a_class_is_the_same_again(subject: Subject, name: str) -> None:
    """So that a campaign goes on in parts, and a finding can be made again."""
    seconds = dict.fromkeys((*STAGES, SECONDS), 10.0)

    def drawn() -> list[Any]:
        made = [subject.classes[name].draw(random.Random(f"0/{name}/{n}"), seconds, Nodes()) for n in range(20)]
        return [(d.start, [(s.target, s.moment) for s in d.strikes], dict(d.inside), d.first, d.words) for d in made]

    first = drawn()
    assert first == drawn()
    for start, strikes, _, _, _ in first:
        assert start in ("nothing", "prepared", "pretrained", "finished")
        assert all(moment.seconds <= 10.0 for _, moment in strikes)


def test_the_drivers_stage_begins_where_its_folder_ends() -> None:
    """A run that begins with its pre-training done has two stages behind it, and waits for those that are left."""
    seconds = dict.fromkeys(STAGES, 10.0)
    made = [classes.CLASSES["driver_killed"].draw(random.Random(n), seconds, Nodes()) for n in range(60)]
    counts = {(d.start, d.strikes[0].moment.count) for d in made}
    assert counts == {("nothing", 0), ("prepared", 0), *(("pretrained", count) for count in range(4))}


def test_the_table_counts_as_one_does_by_hand() -> None:
    def run(completed: bool, trained: int, recovery: float, processes: int = 0, **wrong: Any) -> dict[str, Any]:
        clean = {"wrong": [], "lost": 0, "twice": 0, "left": {"processes": processes, "shared": 0}}
        return {"completed": completed, "trained": trained, "recovery": recovery, **clean, **wrong}

    made = [run(True, 110, 2.0), run(True, 100, 4.0, 1, wrong=["x"], lost=1, twice=2), run(False, 90, 9.0)]
    told = table.summary(made, 100)
    assert {k: told[k] for k in ("runs", "completed", "same", "lost", "twice", "left")} == {
        "runs": 3, "completed": 2, "same": 1, "lost": 1, "twice": 2, "left": 1,
    }  # fmt: skip
    assert told["repeated"] == pytest.approx(10 / 300) and told["recovery"] == 4.0
    assert table.least(10, 10) == pytest.approx(0.05**0.1)  # all of ten: the share p at which p^10 is 5 %
    assert table.least(0, 4) == 0.0


def test_recovery_ends_with_the_first_epoch_of_a_pack_begun_after_the_fault() -> None:
    noted = [
        {"lanes": [], "pack": "a", "time": 1.0},
        {"epoch": "a", "trained": 2, "time": 3.5},
        {"lanes": [], "pack": "b", "time": 4.0},
        {"epoch": "a", "trained": 2, "time": 5.0},
        {"epoch": "b", "trained": 2, "time": 6.0},
    ]
    assert injection._recovery(noted, 3.0, 99.0) == 6.0
    assert injection._recovery(noted, 4.5, 99.0) == 99.0, "nothing was begun any more"


def test_an_event_is_counted_once_over_all_processes(tmp_path: Path) -> None:
    assert [inside.tick(tmp_path / "epoch") for _ in range(4)] == [1, 2, 3, 4]
