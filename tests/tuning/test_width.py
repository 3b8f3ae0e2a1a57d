"""The width of packs is measured, kept below the limit, and recorded once."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

import pytest

from raytune_rec import config, pipeline
from raytune_rec.data.stored.store import Store
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Pack
from raytune_rec.training.settings import Resolved, method_of, resolve
from raytune_rec.tuning.packs import width
from raytune_rec.tuning.packs.packing import Width, shared
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.packs.width import largest, measure
from raytune_rec.tuning.run import measuring
from raytune_rec.tuning.run.measuring import measurer
from raytune_rec.tuning.search.plan import plan, searches
from raytune_rec.tuning.search.space import Dimension, Space
from raytune_rec.tuning.search.studies import Search, Studies
from tests.tuning import fake


def _job(**tune: object) -> config.Job:
    return config.parse(
        {
            "name": "wide",
            "data": {"source": "synthetic"},
            "backbone": {"name": "deepfm", "options": {"width": 32, "hidden": [256, 256]}},
            "training": {"batch_size": 2048, "epochs": 1},
            "methods": {"single": {"strategy": "single"}},
            "tune": {"pack": 64, **tune},
        }
    )


def _search(job: config.Job, schema: DataSchema) -> Search:
    """The first search of a job whose methods all start from scratch."""
    made = plan(job, schema).checked()
    return searches(made, made.methods)[0]


def _resolved(job: config.Job) -> Resolved:
    return resolve(job, method_of(job, "single"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    pipeline.run(_job(), folder, only="prepare")
    return folder


def _measures() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _measures(), reason="this machine does not say what a process has needed at most")
def test_the_widest_pack_below_the_limit_is_found_by_training_two_small_ones(run: Path) -> None:
    store = run / "data"
    search = _search(_job(), Store.open(store).schema)
    free = measure(_resolved(_job(memory_mib=10**6)), search, store, {}, packs=2)
    assert free.lanes == 64  # the job's own limit
    assert free.base_mib > 50 and free.lane_mib > 1  # torch alone takes more; so do copies of 100,000 numbers
    tight = measure(_resolved(_job(memory_mib=int(free.base_mib + 10 * free.lane_mib))), search, store, {}, packs=2)
    assert tight.lanes in (4, 8, 16) and tight.limit_mib < free.limit_mib
    assert measure(_resolved(_job(memory_mib=1)), search, store, {}, packs=2).lanes == 1


@pytest.mark.skipif(not _measures(), reason="this machine does not say what a process has needed at most")
def test_of_two_lanes_at_most_one_is_trained_where_two_do_not_fit(run: Path) -> None:
    store = run / "data"
    search = dataclasses.replace(_search(_job(), Store.open(store).schema), most_lanes=2)
    free = measure(_resolved(_job(memory_mib=10**6)), search, store, {}, packs=2)
    assert free.lanes == 2 and free.lane_mib > 1
    tight = _job(memory_mib=int(free.base_mib + 1.5 * free.lane_mib))
    assert measure(_resolved(tight), search, store, {}, packs=2).lanes == 1


def test_no_more_lanes_are_measured_than_are_ready_at_a_time(tmp_path: Path) -> None:
    """A round of each unit: a search of few trials does not wait for the rehearsal of a pack that it will never have."""
    asked: list[int] = []

    def measured(search: Search) -> Width:
        asked.append(search.most_lanes)
        return Width(1)

    SearchPlanner.of(Studies(tmp_path, fake.job(trials=12, round=4)), fake.searches(), measured, 2)
    alone = [dataclasses.replace(search, most_lanes=1) for search in fake.searches(("music",))]
    SearchPlanner.of(Studies(tmp_path / "other", fake.job(trials=4, round=0)), alone, measured, 2)
    assert asked == [8, 8, 1, 1]


class _Refused(type(Path())):  # type: ignore[misc]
    """Of a sandbox or a hardened pod."""

    def write_text(self, *_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", str(self))


def _proc(folder: Path, kind: str) -> Path:
    if kind == "refused":
        return _Refused("/proc/self")
    if kind == "no peak":
        (folder / "status").write_text("VmRSS:\t 1000 kB\n")
    if kind == "no sizes":
        (folder / "status").write_text("Name:\tpython\n")
    return folder if kind.startswith("no ") else folder / "missing"


@pytest.mark.parametrize("kind", ["missing", "refused", "no peak", "no sizes"])
def test_where_memory_cannot_be_measured_the_jobs_own_width_counts(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    monkeypatch.setattr(width, "_PROC", _proc(tmp_path, kind))
    monkeypatch.setattr(width, "build", lambda *_: types.SimpleNamespace(rehearse=lambda: None))
    width._unmeasured.cache_clear()
    search = _search(_job(), Store.open(run / "data").schema)
    for _ in range(2):
        assert measure(_resolved(_job(memory_mib=1)), search, run / "data", {}, packs=2) == Width(64)
    assert [record.getMessage().count("tune.pack = 64") for record in caplog.records] == [1]  # said once


def test_packs_share_what_this_process_may_use(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "cpus", lambda: 6)
    shared: list[int] = []
    monkeypatch.setattr(measuring, "measure", lambda resolved, search, store, backbones, packs, device: shared.append(packs))
    search = _search(_job(), Store.open(run / "data").schema)
    for tune in ({}, {"cpus": 4}, {"cpus": 8}, {"concurrent": 5}):
        measurer(_job(**tune), {"single": _resolved(_job(**tune))}, run / "data", {})(search)
    assert shared == [6, 1, 1, 5]
    monkeypatch.setattr(width, "memory_mib", lambda: 1000.0)
    assert width._memory("cpu") == 1000.0


def test_a_width_is_recorded_with_the_row_and_not_measured_again(tmp_path: Path) -> None:
    job, asked = fake.job(trials=8, round=8, pack=8), []

    def five(search: object) -> Width:
        asked.append(search)
        return Width(5, 100.0, 7.0, 135.0)

    for _ in range(2):
        planner = SearchPlanner.of(Studies(tmp_path, job), fake.searches(("music",), structure=lambda options: (0, ())), five)
        packs = [planner.next(), planner.next()]
        assert [len(pack.lanes) for pack in packs if isinstance(pack, Pack)] == [4, 4]  # 8 lanes in packs of at most 5
    assert len(asked) == 2  # one for each row


def test_what_is_counted_is_measured_at_its_largest() -> None:
    choice = Dimension("prompt.variant", "choice", choices=("fusion", "generative"))
    count = Dimension("prompt.meta_prompts", "int", 2, 24, when=(("prompt.variant", ("fusion",)),))
    other = Dimension("prompt.hidden_width", "int", 8, 64, when=(("prompt.variant", ("generative",)),))
    rate = Dimension("training.lr.default", "float", 1e-4, 1e-2, log=True)
    space = Space((choice, count, other, rate))
    heavy = {"prompt.variant": "generative", "prompt.hidden_width": 64, "training.lr.default": 1e-4}
    assert largest(space, lambda options: float(options.get("prompt.hidden_width", 0))) == heavy  # not the first choice
    assert largest(space, lambda options: 0.0)["prompt.variant"] == "fusion"  # of equals the first


def test_of_choices_the_one_of_most_parameters_is_measured(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths as choices, the smallest first."""
    wide = Dimension("backbone.width", "choice", choices=(4, 64, 8))
    rate = Dimension("training.lr.default", "float", 1e-4, 1e-2, log=True)
    search = dataclasses.replace(_search(_job(), Store.open(run / "data").schema), space=Space((wide, rate)))
    built: list[object] = []
    monkeypatch.setattr(
        "raytune_rec.tuning.packs.width.build", lambda resolved, pack, *_: built.append(pack.lanes[0].options) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        measure(_resolved(_job()), search, run / "data", {}, packs=2)
    assert built == [{"backbone.width": 64, "training.lr.default": 1e-4}]


def test_measuring_leaves_the_threads_of_this_process_alone(run: Path) -> None:
    import torch

    before = torch.get_num_threads()
    job = _job(threads=1)
    measurer(job, {"single": _resolved(job)}, run / "data", {})(_search(job, Store.open(run / "data").schema))
    assert torch.get_num_threads() == before


def test_small_units_of_a_like_size_share_packs_and_large_ones_do_not() -> None:
    rows = {"big": 50_000, "a": 1000, "b": 1200, "c": 1300, "d": 10_000, "e": 1010}
    assert shared(rows, 8, 32, 20_000) == [["big"], ["a", "e", "b"], ["c"], ["d"]]
    assert shared(rows, 8, 16, 20_000) == [["big"], ["a", "e"], ["b", "c"], ["d"]]  # 16 lanes: two units of 8
    assert shared(rows, 8, 32, 0) == [[unit] for unit in rows]
