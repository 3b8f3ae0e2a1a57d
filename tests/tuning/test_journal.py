"""The journal: whole segments or none, refused by name where they are damaged, readable by Optuna's own backend."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from raytune_rec.errors import ArtifactError, RunFailed
from raytune_rec.storage import local
from raytune_rec.tuning.search.journal import Journal, merge


def _study(folder: Path, trials: int = 3) -> optuna.Study:
    study = optuna.create_study(storage=JournalStorage(Journal(folder)), study_name="a/b", direction="maximize")
    for i in range(trials):
        trial = study.ask()
        x = trial.suggest_float("x", 0, 1)
        trial.set_user_attr("curve", [0.1, None, i])
        study.tell(trial, x)
    return study


def _plain(study: optuna.Study) -> list:
    return [(t.number, t.state, t.value, t.params, t.user_attrs) for t in study.trials]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    study = _study(tmp_path)
    again = optuna.load_study(study_name="a/b", storage=JournalStorage(Journal(tmp_path)))
    assert _plain(again) == _plain(study)
    assert len(again.trials) == 3


def test_a_batch_is_one_segment(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with journal.batch():
        study = optuna.create_study(storage=JournalStorage(journal), study_name="a/b")
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        assert study.trials[0].params == trial.params  # the batch's own records are seen before they are on disk
        assert not list(tmp_path.glob("*"))
    assert [p.name for p in tmp_path.iterdir()] == ["000000000000.json"]
    assert _plain(optuna.load_study(study_name="a/b", storage=JournalStorage(Journal(tmp_path)))) == _plain(study)


def test_a_batch_that_fails_leaves_nothing_and_closes_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    storage = JournalStorage(journal)
    with pytest.raises(KeyError), journal.batch():
        optuna.create_study(storage=storage, study_name="a/b")
        raise KeyError("stop")
    assert not list(tmp_path.glob("*"))
    with pytest.raises(RunFailed, match="earlier write to the journal failed"):
        optuna.create_study(storage=storage, study_name="c/d")


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    study = _study(tmp_path, trials=1)
    reader = optuna.load_study(study_name="a/b", storage=JournalStorage(Journal(tmp_path)))
    study.ask()
    assert len(reader.trials) == 2


@pytest.mark.parametrize("place", [0.0, 0.5, 0.99])
def test_a_damaged_segment_is_refused_by_name(tmp_path: Path, place: float) -> None:
    _study(tmp_path)
    path = sorted(tmp_path.iterdir())[4]
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x15
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"000000000004\.json: this segment of the journal is damaged"):
        Journal(tmp_path)


def test_a_cut_segment_is_refused_by_name(tmp_path: Path) -> None:
    _study(tmp_path)
    path = sorted(tmp_path.iterdir())[-1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=path.name):
        merge(tmp_path, tmp_path / "out" / "journal.log")


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    _study(tmp_path)
    sorted(tmp_path.iterdir())[2].unlink()
    with pytest.raises(ArtifactError, match=r"000000000002\.json: this segment of the journal is missing"):
        Journal(tmp_path)


def test_a_temporary_file_of_a_killed_driver_does_no_harm(tmp_path: Path) -> None:
    study = _study(tmp_path)
    (tmp_path / ".000000000099.json.abc.tmp").write_text("half")
    assert _plain(optuna.load_study(study_name="a/b", storage=JournalStorage(Journal(tmp_path)))) == _plain(study)


def test_two_writers_are_told_apart(tmp_path: Path) -> None:
    one = JournalStorage(Journal(tmp_path))
    journal = Journal(tmp_path)
    with pytest.raises(RunFailed, match="another process writes this journal"), journal.batch():
        optuna.create_study(storage=JournalStorage(journal), study_name="a/b")
        optuna.create_study(storage=one, study_name="c/d")


def test_merged_it_is_read_by_optunas_file_backend(tmp_path: Path) -> None:
    study = _study(tmp_path / "journal")
    merge(tmp_path / "journal", tmp_path / "journal.log")
    merged = optuna.load_study(study_name="a/b", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal.log"))))
    assert _plain(merged) == _plain(study)
    assert all(json.loads(line) for line in (tmp_path / "journal.log").read_text().splitlines())


def test_a_full_disk_leaves_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = _study(tmp_path)
    before = _plain(study)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space left on device: '.*\d{12}\.json'"):
        patch.setattr(local, "_sync", full)
        study.ask()
    again = optuna.load_study(study_name="a/b", storage=JournalStorage(Journal(tmp_path)))
    assert _plain(again) == before
    again.tell(again.ask(), 0.5)
    assert len(again.trials) == 4
