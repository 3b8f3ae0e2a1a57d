"""Atomic text and JSON, and fingerprints that are the same everywhere."""

import dataclasses
import errno
import hashlib
import json
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from safetensors import SafetensorError

from raytune_rec.artifacts import weights
from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import STORAGE, read_json, write_json, write_text
from raytune_rec.storage.fingerprint import file_sha256, fingerprint


class _Model(BaseModel):
    rate: float = 1e-4
    hidden: tuple[int, ...] = (16, 16)


@dataclasses.dataclass(frozen=True)
class _Facts:
    model: _Model
    folder: Path


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"b": [1, 2.5], "a": float("nan"), "c": _Facts(_Model(), Path("x")).folder.name})
    assert read_json(tmp_path / "new" / "a.json") == {"a": None, "b": [1, 2.5], "c": "x"}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.json"]  # no temporary file stays


def test_a_write_that_the_disk_refuses_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own error on a write names none, and safetensors' is of another kind."""

    def full(path: Path) -> None:
        path.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'"):
        STORAGE.put(tmp_path / "a.txt", full)
    with pytest.raises(FileExistsError, match=r"File exists: '.*b\.txt'"):
        write_text(tmp_path / "a.txt" / "b.txt", "")
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    monkeypatch.setattr(weights, "save_file", lambda *_: (_ for _ in ()).throw(SafetensorError(said)))
    with pytest.raises(OSError, match=r"No space left on device: '.*w\.safetensors'"):
        weights.write(tmp_path / "w.safetensors", {"x": torch.zeros(1)})
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def broken(path: Path) -> None:
        path.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        STORAGE.put(tmp_path / "a.txt", broken)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b'{"a": ', b"\xff\xfe"])
def test_damaged_json_is_named_with_a_remedy(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(damage)
    with pytest.raises(ArtifactError, match=r"a\.json: damaged.*delete this file and run again"):
        read_json(path)


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"a\.json: cannot be read \(No such file or directory\)"):
        read_json(tmp_path / "a.json")


def test_a_fingerprint_is_for_ever() -> None:
    value = {"b": (1, 2.5, 1e-7), "a": None, "model": _Model(), "path": Path("x/y"), "set": {"q", "p"}, ("music", "train"): True}
    canonical = (
        r'{"[\"music\",\"train\"]":true,"a":null,"b":[1,2.5,1e-07],'
        r'"model":{"hidden":[16,16],"rate":0.0001},"path":"x/y","set":["p","q"]}'
    )
    assert fingerprint(value) == hashlib.sha256(canonical.encode()).hexdigest()[:16] == "f817c9190a180f75"


def test_a_fingerprint_sees_values_not_types_or_order() -> None:
    as_dict = {"model": {"hidden": [16, 16], "rate": 1e-4}, "folder": "x/y"}
    assert fingerprint(_Facts(_Model(), Path("x/y"))) == fingerprint(as_dict)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    distinct = [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": None}, {"a": [1]}, {}]
    assert len({fingerprint(v) for v in distinct}) == len(distinct)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_equals_nothing_has_no_fingerprint(value: float) -> None:
    with pytest.raises(ArtifactError, match=r"value\.lr\[1\]: (nan|inf) has no fingerprint"):
        fingerprint({"lr": [1.0, value]})


def test_an_object_has_no_fingerprint() -> None:
    with pytest.raises(ArtifactError, match="a object has no fingerprint"):
        fingerprint(object())


def test_file_sha256(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "abc")
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(ArtifactError, match="cannot be read"):
        file_sha256(tmp_path / "b")


def test_json_is_sorted_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "ü", "a": 1e-4})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.index('"a"') < text.index('"b"') and "ü" in text
    assert json.loads(text)["a"] == 1e-4
