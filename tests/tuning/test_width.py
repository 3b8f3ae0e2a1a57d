"""The width of packs is measured, kept below the limit, and recorded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from raytune_rec import config, pipeline
from raytune_rec.data.store import Store
from raytune_rec.schema import Pack
from raytune_rec.tuning.packing import Width, teams
from raytune_rec.tuning.plan import searches
from raytune_rec.tuning.planner import SearchPlanner
from raytune_rec.tuning.space import Dimension, Space
from raytune_rec.tuning.studies import Studies
from raytune_rec.tuning.width import largest, measure, measurer
from tests.tuning import fake


def _job(**tune: object) -> config.Job:
    return config.parse(
        {
            "name": "wide",
            "data": {"source": "synthetic"},
            "backbone": {"name": "deepfm", "options": {"width": 32, "hidden": [256, 256]}},
            "training": {"batch_size": 2048, "epochs": 1},
            "rows": {"single": {"strategy": "single"}},
            "tune": {"pack": 64, **tune},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    pipeline.run(_job(), folder, only="prepare")
    return folder


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says what a process has needed at most")
def test_the_widest_pack_below_the_limit_is_found_by_training_two_small_ones(run: Path) -> None:
    store = run / "data"
    search = searches(_job(), Store.open(store).schema, {})[0]
    free = measure(_job(memory_mib=10**6), search, store, {}, packs=2)
    assert free.lanes == 64  # the job's own limit
    assert free.base_mib > 50 and free.lane_mib > 1  # torch alone takes more; so do copies of 100,000 numbers
    tight = measure(_job(memory_mib=int(free.base_mib + 10 * free.lane_mib)), search, store, {}, packs=2)
    assert tight.lanes in (4, 8, 16) and tight.limit_mib < free.limit_mib
    assert measure(_job(memory_mib=1), search, store, {}, packs=2).lanes == 1


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
    assert largest(space) == {"prompt.variant": "fusion", "prompt.meta_prompts": 24, "training.lr.default": 1e-4}


def test_measuring_leaves_the_threads_of_this_process_alone(run: Path) -> None:
    import torch

    before = torch.get_num_threads()
    job = _job(threads=1)
    measurer(job, run / "data", {})(searches(job, Store.open(run / "data").schema, {})[0])
    assert torch.get_num_threads() == before


def test_small_units_of_a_like_size_share_packs_and_large_ones_do_not() -> None:
    rows = {"big": 50_000, "a": 1000, "b": 1200, "c": 1300, "d": 10_000, "e": 1010}
    assert teams(rows, 8, 32, 20_000) == [["big"], ["a", "e", "b"], ["c"], ["d"]]
    assert teams(rows, 8, 16, 20_000) == [["big"], ["a", "e"], ["b", "c"], ["d"]]  # 16 lanes: two units of 8
    assert teams(rows, 8, 32, 0) == [[unit] for unit in rows]
