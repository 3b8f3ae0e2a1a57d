"""The runner on a small real Ray cluster, with a trainer that only adds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from raytune_rec import config
from raytune_rec.errors import AssemblyError, MachineError, RunFailed
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.storage import local
from raytune_rec.tuning.packs.folder import PackFolder
from raytune_rec.tuning.packs.planner import FixedPlanner, SearchPlanner
from raytune_rec.tuning.run import runner, sharing
from raytune_rec.tuning.search.records import trials
from raytune_rec.tuning.search.studies import Studies
from tests.pipeline.here import without_ray
from tests.tuning import fake

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield
    ray.shutdown()


def _search(
    run: Path, job: config.Job, build: Any = fake.build, units: tuple[str, ...] = ("music",), **options: Any
) -> SearchPlanner:
    (run / "data").mkdir(parents=True, exist_ok=True)
    planner = SearchPlanner.of(Studies(run / "journal", job), fake.searches(units))
    runner.run(job, fake.methods(job), planner, run, run / "data", {}, build=build, open_store=fake.open_store, **options)
    return planner


def _facts(run: Path) -> list:
    return [
        (t["study"], t["number"], t["state"], t["value"], t["losses"], tuple(t["options"].items()))
        for t in trials(run / "journal")
    ]


def _expected(run: Path, job: config.Job, units: tuple[str, ...] = ("music",)) -> list:
    """The same search without a cluster."""
    planner = SearchPlanner.of(Studies(run / "journal", job), fake.searches(units))
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, fake.train(pack, job))
    return _facts(run)


def test_a_search_on_ray_gives_the_trials_of_one_without(tmp_path: Path, cluster: None) -> None:
    job = fake.job()
    units = ("music", "book")
    planner = _search(tmp_path, job, units=units)
    assert _facts(tmp_path) == _expected(tmp_path / "alone", job, units)
    assert planner.progress().done == planner.progress().total == 48
    built = [n for n in fake.notes(tmp_path / "data") if n.startswith("built")]
    assert len(built) == len(set(built))
    assert len(list((tmp_path / "data").glob("*.txt"))) < len(built)  # processes are used again ...
    assert fake.notes(tmp_path / "data").count("opened") == len(
        list((tmp_path / "data").glob("*.txt"))
    )  # ... and open the store once
    assert not list((tmp_path / "checkpoints").glob("*"))
    assert not (tmp_path / "tune").exists()
    assert not list(tmp_path.rglob("*.pkl"))


def test_every_machine_is_asked_what_it_sees(tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("word")
    ((machine, wrong),) = sharing._on_all(file, "word", [other])
    assert wrong == {str(other): "there is no such folder"}
    broken: dict[str, Any] = {}
    exec("def looked(*_):\n    import not_installed_there", broken)  # travels as it is: no module has it
    monkeypatch.setattr(sharing, "looked", broken["looked"])
    with pytest.raises(MachineError, match=r"not_installed_there.*install this version of it") as raised:
        list(sharing._on_all(file, "word", []))
    assert str(raised.value).startswith(f"{machine}: ")


def test_when_all_is_told_ray_is_not_needed(tmp_path: Path) -> None:
    job = fake.job()
    expected = _expected(tmp_path, job)
    _search(tmp_path, job, connect=lambda: pytest.fail("Ray was started"))
    assert _facts(tmp_path) == expected


def test_a_result_on_disk_is_told_without_training(tmp_path: Path) -> None:
    job = fake.job(trials=4, round=4, pack=4)
    planner = SearchPlanner.of(Studies(tmp_path / "journal", job), fake.searches(("music",)))
    while isinstance(pack := planner.next(), Pack):
        PackFolder.of(tmp_path, job, pack).save_results(fake.train(pack, job))
    assert all(t["state"] == "running" for t in trials(tmp_path / "journal"))
    _search(tmp_path, job, connect=lambda: pytest.fail("Ray was started"))
    assert all(t["state"] == "complete" for t in trials(tmp_path / "journal"))
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_checkpoints_change_nothing(tmp_path: Path, cluster: None) -> None:
    """A checkpoint after every epoch, and a process that dies in every pack."""

    def dies(resolved: Any, pack: Pack, store: Any, backbones: Any, device: str) -> fake.FakeTrainer:
        folder = PackFolder.of(tmp_path, job, pack)
        trainer = fake.build(resolved, pack, store, backbones, device)
        epoch = trainer.epoch

        def fragile() -> None:
            epoch()
            if trainer.done == 3 and not (flag := Path(store) / f"{pack.name}.{trainer.done}").exists():
                assert folder.state() is not None
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        trainer.epoch = fragile  # type: ignore[method-assign]
        return trainer

    job = fake.job(trials=2, round=2, pack=4, max_failures=1)
    _search(tmp_path, job, dies, seconds=0.0)
    assert _facts(tmp_path) == _expected(tmp_path / "alone", job)


@pytest.mark.parametrize("kept", [True, False])
def test_lanes_go_on_after_a_rung_where_they_were(
    tmp_path: Path, kept: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake sums over its epochs, so that one that is lost or trained twice shows. Without the states it starts anew."""
    if kept:
        request.getfixturevalue("cluster")
    else:
        without_ray(monkeypatch)

    def loses(resolved: Any, pack: Pack, store: Any, backbones: Any, device: str) -> fake.FakeTrainer:
        for name, _ in pack.after if not kept else ():
            (tmp_path / "checkpoints" / name / "state.json").unlink(missing_ok=True)
        trainer = fake.build(resolved, pack, store, backbones, device)
        epoch = trainer.epoch
        trainer.epoch = lambda: (fake.note(store, "epoch"), epoch())[1]  # type: ignore[method-assign,func-returns-value]
        return trainer

    job = fake.job(stop={"rule": "halving", "factor": 2}, trials=8, round=8)
    _search(tmp_path, job, loses, units=("music", "book"))
    expected = _expected(tmp_path / "alone", job, ("music", "book"))
    assert _facts(tmp_path) == expected
    assert {state for _, _, state, *_ in expected} == {"complete", "pruned"}
    assert not list((tmp_path / "checkpoints").glob("*"))


def test_weights_are_kept_where_they_are_wanted(tmp_path: Path, cluster: None) -> None:
    job = fake.job()
    options = [{"training.lr.default": 0.01, "backbone.dropout": 0.1 * r} for r in range(3)]
    packs = [
        Pack(f"winner.{unit}", "plate", tuple(Lane(0, r, o, unit) for r, o in enumerate(options))) for unit in ("music", "book")
    ]
    (tmp_path / "data").mkdir()
    for connect in (lambda: None, lambda: pytest.fail("Ray was started")):
        planner = FixedPlanner(packs)
        runner.run(
            job,
            fake.methods(job),
            planner,
            tmp_path,
            tmp_path / "data",
            {},
            keep_weights=True,
            build=fake.build,
            open_store=fake.open_store,
            connect=connect,
        )
        for pack in packs:
            assert list(planner.results[pack.name]) == fake.train(pack, job)
            folder = PackFolder.of(tmp_path, job, pack)
            for i, result in enumerate(planner.results[pack.name]):
                assert folder.weights(i)["prompt.x"].tolist() == list(result.losses)


def test_a_pack_that_fails_is_retried_and_then_named(tmp_path: Path, cluster: None) -> None:
    def broken(resolved: Any, pack: Pack, store: Any, backbones: Any, device: str) -> fake.FakeTrainer:
        fake.note(store, f"tried {pack.name}")
        if pack.method == "plate":
            raise RuntimeError("the disk is full of music")
        return fake.FakeTrainer(resolved.job, pack, 0.0)

    job = fake.job(max_failures=1, trials=4)
    with pytest.raises(RunFailed, match=r"pack plate@music@r0\.b0\.h0\.p\d .*RuntimeError: the disk is full of music"):
        _search(tmp_path, job, broken)
    tried = [n for n in fake.notes(tmp_path / "data") if "plate" in n]
    assert any(tried.count(name) == 2 for name in tried)
    assert "Traceback" in next((tmp_path / "logs").glob("*.txt")).read_text()
    _search(tmp_path, job)  # mended, the same command goes on
    assert _facts(tmp_path) == _expected(tmp_path / "alone", job)


def test_what_ray_tune_makes_of_a_full_disk_is_told_as_one(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(tuner: Any) -> None:
        monkeypatch.setattr(local, "_sync", lambda path: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        raise EOFError("Ran out of input")  # of the error that it could not write

    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"):
        patch.setattr("ray.tune.Tuner.fit", unreadable)
        _search(tmp_path, fake.job())


def test_a_mistake_of_the_user_is_not_retried(tmp_path: Path, cluster: None) -> None:
    def refuses(resolved: Any, pack: Pack, store: Any, backbones: Any, device: str) -> fake.FakeTrainer:
        fake.note(store, f"tried {pack.name}")
        raise AssemblyError(["these do not meet", "nor do those"])

    with pytest.raises(AssemblyError) as caught:
        _search(tmp_path, fake.job(), refuses)
    assert caught.value.problems == ("these do not meet", "nor do those")
    tried = [n for n in fake.notes(tmp_path / "data") if n.startswith("tried")]
    assert len(tried) == len(set(tried))


_DRIVER = """
import sys
from pathlib import Path
import ray
from raytune_rec.tuning.run import runner, sharing
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake

def connect():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print("connected", flush=True)

run, job = Path(sys.argv[1]), fake.job()
(run / "data").mkdir(parents=True, exist_ok=True)
planner = SearchPlanner.of(Studies(run / "journal", job), fake.searches(("music",)))
how = {"build": fake.slow, "open_store": fake.open_store, "connect": connect, "seconds": 0.1}
runner.run(job, fake.methods(job), planner, run, run / "data", {}, **how)
"""


def _driver(run: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(run)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def _until(run: Path, told: int, driver: subprocess.Popen[str]) -> None:
    """Wait until the journal has so many segments, or the driver has ended."""
    deadline = time.monotonic() + 300
    while driver.poll() is None and len(list((run / "journal").glob("[0-9]*.json"))) < told:
        assert time.monotonic() < deadline, "the driver does nothing"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_driver_that_is_killed_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, cluster: None, ending: signal.Signals
) -> None:
    job = fake.job()
    driver = _driver(tmp_path)
    _until(tmp_path, 8, driver)
    driver.send_signal(ending)
    code = driver.wait(timeout=60)
    assert code == (-9 if ending == signal.SIGKILL else 143)
    before = [t for t in _facts(tmp_path) if t[2] == "complete"]
    assert 0 < len(before) < 24
    _search(tmp_path, job)  # another driver
    assert _facts(tmp_path) == _expected(tmp_path / "alone", job)
    assert not list((tmp_path / "checkpoints").glob("*"))
