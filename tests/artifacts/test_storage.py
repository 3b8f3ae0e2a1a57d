"""What the rest relies on of the place where files lie: whole files, one winner of two, one holder, markers last."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from raytune_rec.errors import ArtifactError
from raytune_rec.storage import claim, local, marker
from raytune_rec.storage.files import STORAGE, unwritable
from raytune_rec.storage.listing import listing

_HOLDER = """
import sys, time
from pathlib import Path
from raytune_rec.storage import claim
with claim.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
_WRITER = """
import sys, time
from pathlib import Path
from raytune_rec.storage.files import STORAGE
def fill(temporary):
    temporary.write_text("half")
    print("at work", flush=True)
    time.sleep(60)
STORAGE.put(Path(sys.argv[1]), fill)
"""


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in STORAGE.list(folder, "**/*")]


def test_a_file_is_published_once(tmp_path: Path) -> None:
    assert STORAGE.put_if_absent(tmp_path / "a" / "1.json", b"first") and not STORAGE.put_if_absent(
        tmp_path / "a" / "1.json", b"x"
    )
    assert STORAGE.get(tmp_path / "a" / "1.json") == b"first" and names(tmp_path) == ["a", "a/1.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/1\.json"):
        STORAGE.put_if_absent(tmp_path / "file" / "1.json", b"x")


def test_a_file_is_published_once_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    test_a_file_is_published_once(tmp_path)


def test_what_is_private_is_read_by_nobody_else(tmp_path: Path) -> None:
    for private, mode in ((False, 0o644), (True, 0o600)):
        STORAGE.put(tmp_path / "token", lambda path: path.write_text("x"), private)
        assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == mode


def test_a_copy_is_no_result_before_its_last_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, copied = tmp_path / "source", tmp_path / "target", list[str]()
    for name in ("a", "z/b"):
        STORAGE.put(source / name, lambda path, name=name: path.write_text(name))  # type: ignore[misc]
    marker.publish(source, {"files": listing(source, [source])})
    marker.publish(target, {"files": {}})
    real = type(STORAGE).copy

    def copy(self: object, path: Path, to: Path) -> None:
        assert not marker.complete(target)
        copied.append(path.name)
        real(STORAGE, path, to)  # type: ignore[arg-type]

    monkeypatch.setattr(type(STORAGE), "copy", copy)
    marker.copy(source, target)
    assert copied == ["a", "b", marker.MARKER] and marker.files_of(target) == listing(source, [source / "a", source / "z"])


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match="another raytune-rec works in this folder"), claim.held(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with claim.held(tmp_path):
        pass


def test_a_lock_that_its_holder_removes_while_another_takes_it_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a third one, that makes the file anew, would have the folder beside the second."""
    locked = local._locked

    def removed(file: int) -> bool:
        (tmp_path / claim.LOCK).unlink()
        return locked(file)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_locked", removed)
        with pytest.raises(ArtifactError, match="another raytune-rec works in this folder"), claim.held(tmp_path):
            pass
    with claim.held(tmp_path):
        assert names(tmp_path) == [claim.LOCK]
    assert names(tmp_path) == [], "a folder that is no run keeps none"


def test_what_a_killed_writer_left_is_swept_and_what_is_at_work_or_not_ours_stays(tmp_path: Path) -> None:
    place, mine = tmp_path / "journal" / "journal.log", [".notes.tmp", "journal/.journal.log.abcdefgh.tmp", "notes.raytune.tmp"]
    for name in mine:
        STORAGE.put(tmp_path / name, lambda path: path.write_text("mine"))
    (tmp_path / "journal" / ".x.raytune.tmp").symlink_to(tmp_path / mine[0])
    kept = names(tmp_path)
    for swept in (tmp_path, place):  # the folder of a run; a file that is written anew
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(place)], stdout=subprocess.PIPE, text=True)
        try:
            assert writer.stdout is not None and writer.stdout.readline() == "at work\n"
            STORAGE.sweep(swept)
            assert len(names(tmp_path)) == len(kept) + 1
        finally:
            writer.kill()
            writer.communicate()
        STORAGE.sweep(place.with_name("journal.lo"))
        assert len(names(tmp_path)) == len(kept) + 1, "another file's"
        STORAGE.sweep(swept)
        assert names(tmp_path) == kept


def test_a_folder_is_tried_without_touching_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "room").write_text("mine")
    assert unwritable(tmp_path) is None and names(tmp_path) == ["room"] and (tmp_path / "room").read_text() == "mine"
    failure = unwritable(tmp_path / "room")
    assert failure is not None and "room" in str(failure)
