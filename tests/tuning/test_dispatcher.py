"""What becomes of packs whose processes end."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.errors import ArtifactError, DataError, RunFailed
from raytune_rec.schema.work import Lane, LaneResult, Pack
from raytune_rec.storage import local
from raytune_rec.tuning.packs.folder import PackFolder
from raytune_rec.tuning.packs.planner import DONE, FixedPlanner
from raytune_rec.tuning.run.causes import cause
from raytune_rec.tuning.run.dispatcher import Dispatcher
from tests.tuning import fake


@pytest.mark.parametrize("losses", [1, 3])
def test_a_pack_whose_process_died_is_handed_out_again(tmp_path: Path, losses: int) -> None:
    """Ray Tune does not retry a pack whose process died between two packs: its trial is pending still. Machines that are taken
    back may strike one pack as often as they may any."""
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    dispatcher = Dispatcher(FixedPlanner([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None, losses)
    assert dispatcher.next() == pack and dispatcher.next() is None
    for _ in range(losses):
        dispatcher.ended(pack)
        assert dispatcher.failure is None and dispatcher.next() == pack and dispatcher.next() is None
    dispatcher.ended(pack)
    assert dispatcher.next() is DONE
    with pytest.raises(RunFailed, match=r"winner\.plate\.music .*died without a word"):
        raise dispatcher.failure or AssertionError


def test_a_pack_that_said_why_it_failed_is_not_handed_out_again(tmp_path: Path) -> None:
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    dispatcher = Dispatcher(FixedPlanner([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None)
    assert dispatcher.next() == pack
    dispatcher.folder(pack).save_error("RuntimeError", ["the disk is full of music"])
    dispatcher.ended(pack)
    assert dispatcher.next() is DONE and "full of music" in str(dispatcher.failure)


def test_a_pack_that_was_to_be_tried_again_is_handed_out_when_the_machine_of_that_attempt_is_lost(tmp_path: Path) -> None:
    """Its word is of an attempt that Ray Tune was to make again: it must not end the run. A user's mistake does at once, and so
    does what is raised as often as it may be."""
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    folder = PackFolder.of(tmp_path, job, pack)

    def raised(times: int, kind: str = "RuntimeError", losses: int = 1) -> Dispatcher:
        dispatcher = Dispatcher(FixedPlanner([pack]), lambda p: folder, lambda name: None, losses, attempts=3)
        assert dispatcher.next() == pack
        for _ in range(times):
            folder.begin()
            assert folder.error() is None
            folder.save_error(kind, ["music"])
        dispatcher.ended(pack)
        return dispatcher

    again = raised(2)
    assert again.failure is None and again.next() == pack and folder.error() is None, "it may fail as often once more"
    folder.save_error("RuntimeError", ["music"])
    again.ended(pack)
    assert "music" in str(again.failure), "machines were lost as often as they may be"
    assert "music" in str(raised(3).failure) and isinstance(raised(1, "DataError").failure, DataError)


def closed(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """From now on no file can be put in place."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(local, "_sync", refuse)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_pack_that_cannot_write_a_word_ends_for_that_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    pack, job = Pack("winner.plate.music", "plate", (Lane(0, 1, {}, "music"),)), fake.job()
    dispatcher = Dispatcher(FixedPlanner([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None)
    assert dispatcher.next() == pack
    closed(monkeypatch, number)
    dispatcher.ended(pack)
    assert dispatcher.next() is DONE and isinstance(dispatcher.failure, OSError)
    assert (dispatcher.failure.errno, dispatcher.failure.filename) == (number, str(tmp_path / "checkpoints"))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []  # trying leaves nothing


def test_a_result_that_cannot_be_told_ends_the_search_for_that_cause(tmp_path: Path) -> None:
    class Full(FixedPlanner):
        def done(self, pack: Pack, results: Sequence[LaneResult]) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device", "journal/000000000007.json")

    pack, job = (
        Pack("winner.plate.music", "plate", (Lane(0, 1, {"training.lr.default": 1e-2, "backbone.dropout": 0.2}, "music"),)),
        fake.job(),
    )
    dispatcher = Dispatcher(Full([pack]), lambda p: PackFolder.of(tmp_path, job, p), lambda name: None)
    assert dispatcher.next() == pack
    dispatcher.folder(pack).save_results(fake.train(pack, job))
    dispatcher.ended(pack)
    assert dispatcher.next() is DONE and isinstance(dispatcher.failure, OSError) and dispatcher.failure.errno == errno.ENOSPC
    assert dispatcher.folder(pack).results() is not None  # nothing is lost


def test_what_ray_tune_ends_with_is_told_by_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x")
    wrapped = RuntimeError("Trial failed")
    wrapped.__cause__ = full
    assert cause(full, tmp_path) is full and cause(wrapped, tmp_path) is full
    refused = ArtifactError("damaged")
    assert cause(refused, tmp_path) is refused
    told = cause(EOFError("Ran out of input"), tmp_path)
    assert isinstance(told, RunFailed) and "EOFError: Ran out of input" in str(told)
    closed(monkeypatch, errno.ENOSPC)  # Ray Tune reads back an error that it could not write
    told = cause(EOFError("Ran out of input"), tmp_path)
    assert isinstance(told, OSError) and (told.errno, told.filename) == (errno.ENOSPC, str(tmp_path))
