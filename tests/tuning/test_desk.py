"""What becomes of packs whose processes end."""

from __future__ import annotations

from pathlib import Path

import pytest

from raytune_rec.errors import RunFailed
from raytune_rec.schema import Lane, Pack
from raytune_rec.tuning.desk import Desk
from raytune_rec.tuning.folder import PackFolder
from raytune_rec.tuning.planner import DONE, FixedPlanner
from tests.tuning import fake


def test_a_pack_whose_process_died_is_handed_out_once_more(tmp_path: Path) -> None:
    """Ray Tune does not retry a pack whose process died between two packs: its trial is pending still."""
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    desk = Desk(FixedPlanner([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None)
    assert desk.next() == pack and desk.next() is None
    desk.ended(pack)
    assert desk.failure is None and desk.next() == pack and desk.next() is None
    desk.ended(pack)
    assert desk.next() is DONE
    with pytest.raises(RunFailed, match=r"winner\.plate\.music .*died without a word"):
        raise desk.failure or AssertionError


def test_a_pack_that_said_why_it_failed_is_not_handed_out_again(tmp_path: Path) -> None:
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    desk = Desk(FixedPlanner([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None)
    assert desk.next() == pack
    desk.folder(pack).save_error("RuntimeError", ["the disk is full of music"])
    desk.ended(pack)
    assert desk.next() is DONE and "full of music" in str(desk.failure)
