"""A stage is skipped, resumed or refused; it never mixes two results and never empties a stranger's folder."""

from pathlib import Path

import pytest

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import read_json
from raytune_rec.storage.marker import MARKER
from raytune_rec.storage.stage import Stage, differences

_INPUTS = {"tune": {"trials": 16, "pack": 32}, "data": "abc", "seed": 0}


def _stage(folder: Path, resumes: bool = False, format: int = 1, **tune: object) -> Stage:
    inputs = {**_INPUTS, "tune": {**_INPUTS["tune"], **tune}}  # type: ignore[dict-item]
    return Stage(folder, "tune", inputs, format, free=("tune.trials",), resumes=resumes)


def _finished(folder: Path) -> Path:
    stage = _stage(folder)
    assert not stage.done()
    stage.begin()
    (folder / "result").write_text("x")
    stage.finish({"rows": 3})
    return folder


def test_a_finished_stage_is_skipped(tmp_path: Path) -> None:
    folder = _finished(tmp_path / "s")
    again = _stage(folder)
    assert again.done() and again.facts() == {"rows": 3}
    assert sorted(p.name for p in folder.iterdir()) == [MARKER, "result"]


def test_every_difference_is_listed_with_old_and_new(tmp_path: Path) -> None:
    folder = _finished(tmp_path / "s")
    changed = Stage(folder, "tune", {"tune": {"trials": 16, "pack": 8}, "data": "xyz", "extra": True}, 1)
    with pytest.raises(ArtifactError) as error:
        changed.done()
    text = "\n".join(error.value.problems)
    assert "tune.pack was 32 when 'tune' ran there, and is 8 now" in text
    assert "data was 'abc'" in text and "is 'xyz' now" in text
    assert "extra was not there" in text and "seed was 0" in text and "is not there now" in text
    assert "Use another --out folder" in error.value.problems[-1]
    assert len(error.value.problems) == 5


def test_one_and_one_point_zero_are_the_same_option_but_true_is_not() -> None:
    assert list(differences({"a": 1}, {"a": 1.0})) == []
    assert [d[0] for d in differences({"a": {"b": 1}}, {"a": {"b": True}})] == ["a.b"]


def test_a_free_key_may_be_raised_not_lowered(tmp_path: Path) -> None:
    folder = _finished(tmp_path / "s")
    assert not _stage(folder, trials=32).done()
    with pytest.raises(ArtifactError, match=r"tune\.trials was 16 .* is 8 now \(it may be raised, not lowered\)"):
        _stage(folder, trials=8).done()


@pytest.mark.parametrize("resumes", [False, True])
def test_raised_work_begins_without_the_old_marker(tmp_path: Path, resumes: bool) -> None:
    folder = _finished(tmp_path / "s")
    _stage(folder, resumes, trials=32).begin()
    assert not (folder / MARKER).exists()
    assert (folder / "result").exists()
    with pytest.raises(ArtifactError, match=r"seed was 0") if resumes else _nothing():
        Stage(folder, "tune", {**_INPUTS, "seed": 1}, 1, resumes=resumes, free=("tune.trials",)).done()


def test_an_interrupted_stage_begins_anew_and_removes_nothing_that_it_did_not_write(tmp_path: Path) -> None:
    stage = _stage(tmp_path / "s")
    stage.begin()
    (stage.folder / "half").mkdir()
    (stage.folder / "half" / "file").write_text("x")
    again = _stage(tmp_path / "s", pack=8)  # nothing was finished: other options are welcome
    assert not again.done()
    again.begin()
    assert sorted(p.name for p in again.folder.iterdir()) == ["_begun.json", "half"]
    again.forget()
    assert not again.done() and [p.name for p in again.folder.iterdir()] == ["half"]


def test_an_interrupted_stage_that_resumes_keeps_its_files_and_refuses_other_options(tmp_path: Path) -> None:
    stage = _stage(tmp_path / "s", resumes=True)
    stage.begin()
    (stage.folder / "journal").write_text("x")
    _stage(tmp_path / "s", resumes=True).begin()
    assert (stage.folder / "journal").exists()
    with pytest.raises(ArtifactError, match=r"tune\.pack was 32"):
        _stage(tmp_path / "s", resumes=True, pack=8).done()


def test_a_strangers_folder_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ArtifactError, match=r"holds files that stage 'tune' did not write.*another --out folder"):
        _stage(tmp_path).begin()
    assert (tmp_path / "thesis.tex").exists()


def test_another_format_or_stage_is_refused(tmp_path: Path) -> None:
    folder = _finished(tmp_path / "s")
    with pytest.raises(ArtifactError, match="made in format 1 of stage 'tune'; this version has 2"):
        _stage(folder, format=2).done()
    with pytest.raises(ArtifactError, match="belongs to stage 'tune', not to 'prepare'"):
        Stage(folder, "prepare", _INPUTS, 1).done()


def test_a_damaged_marker_is_named(tmp_path: Path) -> None:
    folder = _finished(tmp_path / "s")
    (folder / MARKER).write_text("[]")
    with pytest.raises(ArtifactError, match=r"_complete\.json: damaged"):
        _stage(folder).done()
    assert read_json(folder / MARKER) == []


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
