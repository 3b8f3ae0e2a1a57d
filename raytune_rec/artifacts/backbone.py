"""The backbone artifact: weights, facts, and what maps raw rows to ids. Any program can load it without the run that made it.

backbone.safetensors  backbone.json  _complete.json
data/schema.json  data/vocabulary/<field>.parquet  data/users.parquet  data/items.parquet  data/texts/
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict
from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.artifacts.facts import close_folder, open_folder, read_facts
from raytune_rec.artifacts.weights import TensorFacts
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.work import Scalar, numbered
from raytune_rec.storage import marker
from raytune_rec.storage.files import STORAGE, lies_there, read_json, write_json
from raytune_rec.storage.fingerprint import file_sha256, fingerprint
from raytune_rec.storage.listing import remove_files

FORMATS = (1, 2)
DATA = "data"
PRETRAINED = "pretrain.json"
"""In a run folder: what each pre-training reached, by name."""
_WEIGHTS = "backbone.safetensors"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneFacts:
    """What there is to know of a backbone.

    Args:
        name, options: the component and its options.
        prompt, prompt_options: the prompt that it was pre-trained for; `none` without.
        sites: site -> (count, width) that the backbone makes room for.
        pretraining: name of the pre-training in its job.
        learn_prompt: whether the prompt learned in pre-training too.
        training: options of the recipe that won.
        trials: recipes tried.
        data_fingerprint: of the prepared data.
        trained_fingerprint: of what of them training saw (`DataSchema.trained`); empty in older artifacts.
        origin: fingerprint of the backbone whose tensors these are, but for those that ids index, which are untrained.
        seed: of the job. replicate: which replicate of the pre-training this is, from 0.
        metric, value: validation metric of the best epoch.
        epochs, curve: epochs trained; the metric after each, the first entry before training. None where it was not finite.
        parameters: tensor name -> facts, buffers included.
        versions: of the libraries.
        fingerprint: of the backbone; empty: taken of the facts and the weights when it is saved.
        weights_sha256, data_files: filled in when it is saved; data file (relative path) -> sha256.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: int = 2
    name: str
    options: Mapping[str, Any]
    prompt: str = "none"
    prompt_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sites: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    pretraining: str = ""
    learn_prompt: bool = True
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trials: int = 0
    data_fingerprint: str
    trained_fingerprint: str = ""
    origin: str = ""
    seed: int = 0
    replicate: int = 0
    metric: str = "auc"
    value: float | None = None
    epochs: int = 0
    curve: tuple[float | None, ...] = ()
    parameters: Mapping[str, TensorFacts]
    versions: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    fingerprint: str = ""
    weights_sha256: str = ""
    data_files: Mapping[str, str] = dataclasses.field(default_factory=dict)


def save(folder: Path, facts: BackboneFacts, tensors: Mapping[str, Tensor], data_store: Path) -> BackboneFacts:
    """Write a backbone, marker last.

    Args:
        folder: of the artifact; what stands there is replaced.
        facts: of the backbone.
        tensors: parameters and buffers by name, without the lane axis.
        data_store: folder of the prepared data; its schema, vocabularies and user and item tables are copied.

    Returns:
        The facts as written.
    """
    folder = Path(folder)
    weights.check(folder / _WEIGHTS, tensors, facts.parameters)
    open_folder(folder)
    sha256 = weights.write(folder / _WEIGHTS, tensors)
    whole = dataclasses.replace(facts, weights_sha256=sha256, data_files=_copy_data(Path(data_store), folder / DATA))
    if not whole.fingerprint:
        identity = (whole.name, whole.options, whole.prompt, whole.prompt_options, whole.sites, whole.data_fingerprint, sha256)
        whole = dataclasses.replace(whole, fingerprint=fingerprint(identity))
    write_json(folder / "backbone.json", whole)
    close_folder(folder, "backbone", whole.format)
    return whole


def read(folder: Path) -> BackboneFacts:
    """The facts alone; marker and format are checked.

    Raises:
        ArtifactError: see `load`.
    """
    return read_facts(Path(folder), "backbone", BackboneFacts, FORMATS, {"variant": "pretraining"})


def of_run(run: Path) -> dict[str, Path]:
    """Name of a pre-training (`schema.work.numbered`) -> folder of its backbone, in a run folder.

    Raises:
        ArtifactError: the run has no finished pre-training.
    """
    path = Path(run) / PRETRAINED
    if not lies_there(path):
        raise ArtifactError(f"{run}: no run with a finished backbone ({path.name} is missing); name a run folder.")
    known = read_json(path)
    if not isinstance(known, dict) or not all(isinstance(facts, dict) for facts in known.values()):
        raise ArtifactError(f"{path}: damaged, it lists no pre-trainings; delete this file and run again.")
    made = {name: facts["fingerprint"] for name, facts in known.items() if "fingerprint" in facts}  # others failed
    return {name: of_fingerprint(run, fingerprint) for name, fingerprint in made.items()}


def of_fingerprint(run: Path, fingerprint: str) -> Path:
    """Where a run keeps a backbone.

    Raises:
        ArtifactError: a damaged file names what is no fingerprint.
    """
    if not isinstance(fingerprint, str) or not re.fullmatch(r"[0-9a-f]{16}", fingerprint):
        raise ArtifactError(f"{run}: {fingerprint!r} is no fingerprint of a backbone; delete {run / PRETRAINED} and run again.")
    return Path(run) / "backbones" / fingerprint


def find(path: Path, pretraining: str) -> list[Path]:
    """The folders of a pre-training's replicates, the first one first: `path`, or in a run folder those of the pre-training of
    this name, or of its only one.

    Raises:
        ArtifactError: a run has several pre-trainings, and none of this name.
    """
    if lies_there(path / "backbone.json") or not lies_there(path / PRETRAINED):
        return [path]
    known = of_run(path)
    pretrainings = [name for name in known if "#" not in name]
    if pretraining not in pretrainings and len(pretrainings) != 1:
        names = ", ".join(pretrainings) or "none"
        rule = f"the run has the backbones {names}, not {pretraining!r}"
        raise ArtifactError(f"{path}: {rule}; name the folder of one, in backbones/.")
    name = pretraining if pretraining in pretrainings else pretrainings[0]
    return [known[n] for n in (numbered(name, i) for i in range(len(known))) if n in known]


def load(folder: Path, *, data: bool = True) -> tuple[BackboneFacts, dict[str, Tensor]]:
    """A checked backbone.

    Args:
        folder: of the artifact.
        data: check the data files too; a process that reads prepared rows does not need them.

    Raises:
        ArtifactError: it is missing, unfinished, damaged, or of an unknown format. The sentence says what to do.
    """
    folder = Path(folder)
    facts = read(folder)
    if data:
        _check_data(folder / DATA, facts.data_files)
    tensors = weights.read(folder / _WEIGHTS, facts.weights_sha256)
    weights.check(folder / _WEIGHTS, tensors, facts.parameters)
    return facts, tensors


def move(folder: Path, target: Path) -> None:
    """Give a backbone another place; a damaged one there is replaced."""
    marker.copy(folder, target)
    marker.withdraw(folder)
    remove_files(folder, "**/*")


def _copy_data(store: Path, target: Path) -> dict[str, str]:
    """Copy what maps raw rows to ids: relative path -> sha256."""
    if not (store / "schema.json").exists():
        raise ArtifactError(f"{store}: no prepared data (schema.json is missing); run `raytune-rec prepare` first.")
    vocabulary = STORAGE.list(store / "vocabulary", "*.parquet")
    texts = STORAGE.list(store / "texts", "*")
    tables = [store / "schema.json", *vocabulary, store / "users.parquet", store / "items.parquet", *texts]
    sha256 = {}
    for source in (path for path in tables if path.exists()):
        name = source.relative_to(store).as_posix()
        STORAGE.copy(source, target / name)
        sha256[name] = file_sha256(target / name)
    return sha256


def _check_data(folder: Path, files: Mapping[str, str]) -> None:
    if outside := [name for name in files if not re.fullmatch(r"((vocabulary|texts)/)?[\w.-]+", name) or ".." in name]:
        raise ArtifactError(f"{folder}: {outside[0][:99]!r} is no data file of a backbone; copy the whole backbone folder anew.")
    wrong = [folder / name for name, sha256 in files.items() if not _same(folder / name, sha256)]
    problems = [f"{path}: missing or changed since the backbone was saved." for path in wrong]
    if problems:
        raise ArtifactError([*problems, f"{folder}: raw rows cannot be mapped to ids; copy the whole backbone folder anew."])


def _same(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256
