"""Backbone and prompt artifacts: what is written comes back; everything else is refused by a sentence."""

import dataclasses
import json
import os
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from raytune_rec.artifacts import backbone, prompt, weights
from raytune_rec.artifacts.facts import close_folder
from raytune_rec.artifacts.versions import versions
from raytune_rec.errors import ArtifactError
from raytune_rec.storage import files
from raytune_rec.storage.marker import MARKER
from raytune_rec.task import Task, Unit

_GOLDEN = Path(__file__).parents[1] / "golden"
_MAKE: dict[str, Any] = runpy.run_path(str(_GOLDEN / "make.py"))


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path, backbone.BackboneFacts]:
    facts = backbone.save(tmp_path / "backbone", *_MAKE["backbone_parts"](), _MAKE["store"](tmp_path / "store"))
    prompt.save(tmp_path / "prompt", *_MAKE["prompt_parts"](facts.fingerprint))
    return tmp_path / "backbone", tmp_path / "prompt", facts


@pytest.mark.parametrize("version", sorted(p.name for p in _GOLDEN.glob("v*")))
def test_golden_artifacts_load_for_ever(version: str) -> None:
    facts, tensors = backbone.load(_GOLDEN / version / "backbone")
    assert facts.name == "deepfm" and facts.sites == {"fields": (2, 2)} and facts.curve == (0.5, None, 0.75)
    assert tensors["embedding.user"].tolist() == [[0, 1], [2, 3], [4, 5]]
    found, own = prompt.load(_GOLDEN / version / "prompt", facts.fingerprint)
    assert found.unit == Unit("music", domain="music")
    assert found.strategy.train == ("prompt", "linear") and found.options["prompt.temperature"] == 1e-5
    assert own["rows.user"].tolist() == [0, 2] and own["backbone.linear.user"].tolist() == [[0.0], [1.5]]


def test_the_same_artifact_has_the_same_bytes(saved: tuple[Path, Path, backbone.BackboneFacts]) -> None:
    again = backbone.save(saved[0].parent / "twin", *_MAKE["backbone_parts"](), saved[0].parent / "store")
    assert again == saved[2]
    for name in ("backbone.json", "backbone.safetensors", MARKER):
        assert (saved[0] / name).read_bytes() == (saved[0].parent / "twin" / name).read_bytes()


def test_weights_of_any_layout_give_the_same_bytes(tmp_path: Path) -> None:
    stack = torch.arange(12.0).view(2, 3, 2)
    views = {"b": stack[1].t(), "a": stack[0], "c": torch.tensor(3)}  # views of one storage, one of them not contiguous
    copies = {name: views[name].clone().contiguous() for name in reversed(views)}
    assert weights.write(tmp_path / "x", views) == weights.write(tmp_path / "y", copies)
    assert torch.equal(weights.read(tmp_path / "x")["b"], views["b"])


@pytest.mark.parametrize("place", [0, 1])
def test_a_truncated_file_is_refused(saved: tuple[Path, Path, Any], place: int) -> None:
    path = saved[place] / f"{('backbone', 'prompt')[place]}.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArtifactError, match=r"its sha256 is .* damaged or exchanged"):
        _load(saved, place)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        weights.read(path)


def _lost(path: Path, name: str) -> None:
    (path / name).unlink()


def _changed(path: Path, name: str) -> None:
    (path / name).write_bytes((path / name).read_bytes()[:-1] + b" ")


@pytest.mark.parametrize(
    ("damage", "name", "told", "places"),
    [
        (_changed, "{}.safetensors", r"damaged or exchanged\. Copy the artifact anew", (0, 1)),
        (
            _changed,
            "{}.json",
            r"Copy the artifact anew, or export it again|delete this file and run again, or copy it anew",
            (0, 1),
        ),
        (_lost, MARKER, "run the job again to finish it, or copy the whole folder", (0, 1)),
        (_lost, "{}.json", "check the path, or run its stage again", (0, 1)),
        (_changed, "data/users.parquet", "copy the whole backbone folder anew", (0,)),
    ],
)
def test_a_damaged_artifact_that_is_copied_anew_or_saved_again_loads(
    saved: tuple[Path, Path, Any], damage: Any, name: str, told: str, places: tuple[int, ...]
) -> None:
    def save(place: int) -> None:
        if place:
            prompt.save(saved[1], *_MAKE["prompt_parts"](saved[2].fingerprint))
        else:
            backbone.save(saved[0], *_MAKE["backbone_parts"](), saved[0].parent / "store")

    def copy(place: int) -> None:
        shutil.rmtree(saved[place])
        shutil.copytree(whole / str(place), saved[place])

    whole = saved[0].parent / "copies"
    for place in places:
        shutil.copytree(saved[place], whole / str(place))
        for remedy in (copy, save):
            damage(saved[place], name.format(("backbone", "prompt")[place]))
            with pytest.raises(ArtifactError, match=told):
                _load(saved, place)
            remedy(place)
            assert _load(saved, place)


@pytest.mark.parametrize("place", [0, 1])
def test_a_folder_without_its_marker_does_not_exist(saved: tuple[Path, Path, Any], place: int) -> None:
    (saved[place] / MARKER).unlink()
    with pytest.raises(ArtifactError, match=r"no complete (backbone|prompt) .*_complete\.json is missing.*run the job again"):
        _load(saved, place)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"format": 99}, "format 99; this version reads 1"),
        ({"format": None}, "format None"),
        ({"data_fingerprint": None}, r"data_fingerprint: .*string"),
        ({"colour": "red"}, "colour"),
        ({"weights_sha256": "0" * 64}, "its sha256 is"),
    ],
)
def test_facts_that_do_not_fit_are_refused(saved: tuple[Path, Path, Any], place: int, change: dict[str, Any], text: str) -> None:
    _edit(saved[place] / f"{('backbone', 'prompt')[place]}.json", change)
    with pytest.raises(ArtifactError, match=text):
        _load(saved, place)


def test_tensors_that_do_not_fit_are_all_named(saved: tuple[Path, Path, Any]) -> None:
    parameters = json.loads((saved[1] / "prompt.json").read_text())["parameters"]
    parameters["prompt.domain"]["shape"] = [3]
    parameters["prompt.more"] = {"shape": [1], "dtype": "float32", "group": "prompt", "rows": None}
    parameters["backbone.linear.user"] |= {"dtype": "float64", "rows": "item"}
    _edit(saved[1] / "prompt.json", {"parameters": parameters})
    with pytest.raises(ArtifactError) as error:
        prompt.load(saved[1], None)
    text = str(error.value)
    assert "'prompt.domain' is float32[2], the facts say float32[3]" in text
    assert "'prompt.more' is missing" in text and "'rows.item' is missing" in text
    assert "'rows.user' is not in the facts" in text and "float64[2, 1]" in text


def test_a_foreign_backbone_is_refused_with_both_fingerprints(saved: tuple[Path, Path, backbone.BackboneFacts]) -> None:
    with pytest.raises(ArtifactError, match=rf"tuned beside backbone {saved[2].fingerprint}.*given is feedfeedfeedfeed"):
        prompt.load(saved[1], "feedfeedfeedfeed")
    assert prompt.load(saved[1], None)[0].unit.name == "music"


def test_other_weights_are_another_backbone(saved: tuple[Path, Path, backbone.BackboneFacts]) -> None:
    facts, tensors = _MAKE["backbone_parts"]()
    tensors["output.bias"] += 1e-6
    again = backbone.save(saved[0].parent / "other", facts, tensors, saved[0].parent / "store")
    assert again.fingerprint != saved[2].fingerprint


def test_changed_data_files_are_refused_where_they_matter(saved: tuple[Path, Path, Any]) -> None:
    (saved[0] / "data" / "users.parquet").write_bytes(b"x")
    (saved[0] / "data" / "vocabulary" / "item.parquet").unlink()
    with pytest.raises(ArtifactError) as error:
        backbone.load(saved[0])
    assert "users.parquet: missing or changed" in str(error.value) and "item.parquet: missing or changed" in str(error.value)
    assert backbone.load(saved[0], data=False)[0].name == "deepfm"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no such folder; give the folder that holds backbone\.json"):
        backbone.load(tmp_path / "none")
    with pytest.raises(ArtifactError, match="no prepared data"):
        backbone.save(tmp_path / "b", *_MAKE["backbone_parts"](), tmp_path / "none")
    backbone.save(tmp_path / "b", *_MAKE["backbone_parts"](), _MAKE["store"](tmp_path / "store"))
    assert backbone.load((tmp_path / "b" / "backbone.json").parent)


def test_what_the_facts_do_not_say_is_not_written(tmp_path: Path) -> None:
    facts, tensors = _MAKE["prompt_parts"]("x")
    with pytest.raises(ArtifactError, match=r"'rows\.user' is int64\[1\], 'backbone\.linear\.user' needs int64\[2\]"):
        prompt.save(tmp_path / "p", facts, {**tensors, "rows.user": torch.tensor([0])})
    assert not (tmp_path / "p").exists()


def test_test_metrics_are_added_after_evaluation(saved: tuple[Path, Path, Any]) -> None:
    facts, tensors = _MAKE["prompt_parts"](saved[2].fingerprint)
    prompt.save(saved[1], dataclasses.replace(facts, test=None), tensors)
    assert "Test: not evaluated yet." in (saved[1] / "README.md").read_text()
    before = (saved[1] / "prompt.safetensors").read_bytes()
    prompt.with_test(saved[1], {"auc": 0.79})
    assert prompt.load(saved[1], saved[2].fingerprint)[0].test == {"auc": 0.79}
    card = (saved[1] / "README.md").read_text()
    assert "| test auc | 0.79 |" in card and "not evaluated" not in card
    assert (saved[1] / "prompt.safetensors").read_bytes() == before


def test_an_artifact_is_whole_at_any_moment_while_test_metrics_are_added(
    saved: tuple[Path, Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For who reads it meanwhile, and for the same command after a kill there."""
    put, seen = files.STORAGE.put, []

    def read_before_and_after(path: Path, *rest: Any) -> None:
        seen.append(prompt.read(saved[1]).test)
        put(path, *rest)
        seen.append(prompt.read(saved[1]).test)

    with monkeypatch.context() as patch:
        patch.setattr(type(files.STORAGE), "put", lambda self, *what: read_before_and_after(*what))
        whole = prompt.with_test(saved[1], {"auc": 0.71})
    assert len(seen) >= 8 and seen[0] != seen[-1] == {"auc": 0.71}
    held = {path.name: path.read_bytes() for path in saved[1].iterdir()}
    for last in range(1, 4):
        prompt.with_test(saved[1], {"auc": 0.6})
        left = iter(range(last))
        with monkeypatch.context() as patch, pytest.raises(StopIteration):
            patch.setattr(type(files.STORAGE), "put", lambda self, *what, left=left: (next(left), put(*what)))
            prompt.with_test(saved[1], {"auc": 0.71})
        assert prompt.with_test(saved[1], {"auc": 0.71}) == whole
        assert {path.name: path.read_bytes() for path in saved[1].iterdir()} == held


def test_the_card_tells_what_a_person_needs(saved: tuple[Path, Path, Any]) -> None:
    card = (saved[1] / "README.md").read_text()
    parts = ("# plate prompt for music", "prompt + linear", "load_prompt", saved[2].fingerprint, "| trial | 5 |")
    assert [part for part in parts if part not in card] == []


def test_the_card_of_a_model_of_histories_tells_how_to_ask_it(saved: tuple[Path, Path, Any]) -> None:
    facts, tensors = _MAKE["prompt_parts"](saved[2].fingerprint)
    about, test = "It serves new users.", {"auc": 0.8, "hit@5": 0.3, "hit@10": 0.4}
    told = {"unit": Unit.of_fold("few", 1), "about": about, "task": Task("lists", 50), "test": test}
    prompt.save(saved[1], dataclasses.replace(facts, **told), tensors)
    card = (saved[1] / "README.md").read_text()
    assert "| test hit@10 | 0.4 |" in card and "hit@5" not in card and "other cuts than 10: in `prompt.json`" in card
    assert prompt.read(saved[1]).test == test
    parts = ("# plate prompt for few.1", about, "prompt.recommend(users, k=10)", '"history": [["...", "..."]]', "the last 50 of")
    assert [part for part in parts if part not in card] == []
    code = card.split("```python")[1].split("```")[0]
    compile(code, "card", "exec")
    assert '{"user": ["..."], "item": ["..."]}' not in code and "domain" not in code
    for predicts in ("", "gender"):
        task = Task("lists", 50).telling(predicts)
        prompt.save(saved[1], dataclasses.replace(facts, task=task, domains=("Books", "CDs")), tensors)
        card = (saved[1] / "README.md").read_text()
        found: dict[str, Any] = {}
        exec(next(line for line in card.splitlines() if line.startswith("users = ")), found)
        assert found["users"] == {"user": ["..."], "history": [["...", "..."]], "domain": ["Books"]}
        assert "whose items are meant: Books, CDs." in card


def test_versions_name_the_libraries() -> None:
    assert set(versions()) == {"python", "raytune_rec", "torch", "ray", "optuna", "numpy", "pyarrow"}
    assert all(versions().values())


def _load(saved: tuple[Path, Path, Any], place: int) -> object:
    return backbone.load(saved[0]) if place == 0 else prompt.load(saved[1], saved[2].fingerprint)


def _edit(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    close_folder(path.parent, path.stem, 1)  # as one who means it


@pytest.mark.parametrize("place", [0, 1])
def test_altered_facts_are_noticed(saved: tuple[Path, Path, Any], place: int) -> None:
    path = saved[place] / f"{('backbone', 'prompt')[place]}.json"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(ArtifactError, match=r"its sha256 is .* the facts were altered\. Copy the artifact anew"):
        _load(saved, place)


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        ({"prompt.domain": torch.tensor([0.25, torch.nan])}, "'prompt.domain' holds what is no finite number"),
        ({"prompt.domain": torch.tensor([0.25, -torch.inf])}, "'prompt.domain' holds what is no finite number"),
        ({"rows.user": torch.tensor([0, -2])}, "'rows.user' holds the negative id -2"),
        ({"rows.user": torch.tensor([2, 2])}, "'rows.user' holds an id twice"),
        ({"rows.user": torch.tensor([0.0, 2.0])}, r"'rows.user' is float32\[2\], 'backbone.linear.user' needs int64\[2\]"),
    ],
)
def test_nonsense_in_sound_files_is_refused(saved: tuple[Path, Path, Any], tensor: dict[str, torch.Tensor], text: str) -> None:
    sha256 = weights.write(saved[1] / "prompt.safetensors", _MAKE["prompt_parts"]("x")[1] | tensor)
    _edit(saved[1] / "prompt.json", {"weights_sha256": sha256})
    with pytest.raises(ArtifactError, match=text):
        prompt.load(saved[1], None)


def test_a_manifest_leads_nowhere(saved: tuple[Path, Path, Any]) -> None:
    for name in ("../../../etc/passwd", "/etc/passwd", "vocabulary/../../x", "x/y/z"):
        _edit(saved[0] / "backbone.json", {"data_files": {name: "0" * 64}})
        with pytest.raises(ArtifactError, match="is no data file of a backbone"):
            backbone.load(saved[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000 + "]" * 5000, "not JSON"),
        ('{"a": ' * 100 + "1" + "}" * 100, "nests deeper than 64"),
        ('{"format": 1, "format": 2}', "names 'format' twice"),
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": 1e999}', "1e999 is no finite number"),
        ('{"format": ' + "9" * 4000 + "}", "is beyond 64 bits"),
        ('{"format": 18446744073709551616}', "is beyond 64 bits"),
        ("\ud800", "not JSON"),
    ],
)
def test_what_is_hardly_json_is_refused(saved: tuple[Path, Path, Any], text: str, said: str) -> None:
    (saved[1] / "prompt.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ArtifactError, match=rf"prompt\.json: damaged, .*{said}"):
        prompt.load(saved[1], None)


@pytest.mark.parametrize("name", ["prompt.json", "prompt.safetensors", MARKER])
def test_what_is_no_file_is_refused_and_not_waited_for(saved: tuple[Path, Path, Any], name: str) -> None:
    for make in (os.mkfifo, os.mkdir):
        path = saved[1] / name
        path.rmdir() if path.is_dir() else path.unlink()
        make(path)
        with pytest.raises(ArtifactError):
            prompt.load(saved[1], None)


def test_tensors_are_read_to_where_torch_would_put_them(tmp_path: Path) -> None:
    """Products of tensors elsewhere may differ in the last bit: a served model would not be the one that was evaluated."""
    sha256 = weights.write(tmp_path / "a.safetensors", {"a": torch.rand(3), "b": torch.rand(7, 5), "c": torch.rand(11)})
    assert all(tensor.data_ptr() % 64 == 0 for tensor in weights.read(tmp_path / "a.safetensors", sha256).values())
