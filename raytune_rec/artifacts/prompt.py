"""The prompt artifact: a unit's tuned tensors beside a backbone that many share.

    prompt.safetensors  prompt.json  README.md  _complete.json

Tensors are named `prompt.<name>` and, for tuned groups of the backbone, `backbone.<name>`. Where a unit keeps only some rows of a
table, `rows.<vocabulary>` (v,) int64 lists their global ids; the other rows are the backbone's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict
from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.artifacts.card import card
from raytune_rec.artifacts.facts import close_folder, open_folder, read_facts
from raytune_rec.artifacts.weights import TensorFacts
from raytune_rec.errors import ArtifactError
from raytune_rec.schema import Scalar
from raytune_rec.storage.files import write_json, write_text
from raytune_rec.storage.listing import remove_files
from raytune_rec.storage.marker import MARKER

FORMATS = (1, 2)
_WEIGHTS = "prompt.safetensors"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategyFacts:
    """Who was trained, from which start: see `schema.Strategy`."""

    name: str
    start: Literal["scratch", "backbone"]
    train: tuple[str, ...]
    prompt: Literal["off", "on", "neutral"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptFacts:
    """What there is to know of a prompt.

    Args:
        unit: what it serves. about: a sentence on that, where it is no domain.
        method: of the results table.
        strategy: who was trained.
        prompt, prompt_options: the component and its options.
        backbone, backbone_options: likewise.
        backbone_fingerprint: the only backbone beside which these tensors mean something.
        data_fingerprint: of the prepared data.
        history: most items of a user's history that it reads; 0: its rows are single interactions.
        predicts: the attribute of users that it predicts; empty: it scores items.
        domains: that items belong to, where each raw row must name its own; empty where none need be named.
        parameters: tensor name -> facts; `rows.*` are not listed.
        tuned_parameters: how many numbers were trained.
        trial, options, seed, replicate: the winning trial, its flat options, the job's seed, which replicate this is.
        valid: validation metric -> value.
        test: test metric -> value; None until `evaluate` has run.
        versions: of the libraries.
        weights_sha256: filled in when it is saved.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: int = 2
    unit: str
    about: str = ""
    method: str
    strategy: StrategyFacts
    prompt: str
    prompt_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone: str
    backbone_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    backbone_fingerprint: str
    data_fingerprint: str
    history: int = 0
    predicts: str = ""
    domains: tuple[str, ...] = ()
    parameters: Mapping[str, TensorFacts]
    tuned_parameters: int
    trial: int
    options: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    seed: int = 0
    replicate: int = 0
    valid: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    test: Mapping[str, Any] | None = None
    versions: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    weights_sha256: str = ""


def save(folder: Path, facts: PromptFacts, tensors: Mapping[str, Tensor]) -> PromptFacts:
    """Write a prompt, marker last.

    Args:
        folder: of the artifact; what stands there is replaced.
        facts: of the prompt.
        tensors: `prompt.*`, `backbone.*` and `rows.*`, without the lane axis, true shapes.

    Returns:
        The facts as written.
    """
    folder = Path(folder)
    weights.check(folder / _WEIGHTS, tensors, facts.parameters)
    open_folder(folder)
    whole = dataclasses.replace(facts, weights_sha256=weights.write(folder / _WEIGHTS, tensors))
    _write(folder, whole)
    close_folder(folder, "prompt", whole.format)
    return whole


def read(folder: Path) -> PromptFacts:
    """The facts alone; marker and format are checked.

    Raises:
        ArtifactError: see `load`.
    """
    return read_facts(Path(folder), "prompt", PromptFacts, FORMATS, {"row": "method"})


def load(folder: Path, backbone_fingerprint: str | None) -> tuple[PromptFacts, dict[str, Tensor]]:
    """A checked prompt.

    Args:
        folder: of the artifact.
        backbone_fingerprint: of the backbone that it will stand beside; None: only look at it.

    Raises:
        ArtifactError: it is missing, unfinished, damaged, of an unknown format, or made for another backbone.
    """
    folder = Path(folder)
    facts = read(folder)
    if backbone_fingerprint is not None and facts.backbone_fingerprint != backbone_fingerprint:
        raise ArtifactError(
            f"{folder}: this prompt was tuned beside backbone {facts.backbone_fingerprint}, and the backbone given is "
            f"{backbone_fingerprint}; load it with the folder backbones/{facts.backbone_fingerprint} of the run that made it, "
            "or tune a prompt for this backbone."
        )
    tensors = weights.read(folder / _WEIGHTS, facts.weights_sha256)
    weights.check(folder / _WEIGHTS, tensors, facts.parameters)
    return facts, tensors


def remove(folder: Path) -> None:
    """Delete a prompt that stands for nothing any more; what is no prompt stays."""
    if (Path(folder) / "prompt.json").exists():
        remove_files(folder, _WEIGHTS, "prompt.json", "README.md", MARKER, ".*.tmp")


def with_test(folder: Path, test: Mapping[str, Any]) -> PromptFacts:
    """Add the test metrics to a prompt's facts and card.

    Returns:
        The facts as written.
    """
    folder = Path(folder)
    facts = dataclasses.replace(read(folder), test=dict(test))
    _write(folder, facts)
    close_folder(folder, "prompt", facts.format)
    return facts


def _write(folder: Path, facts: PromptFacts) -> None:
    write_text(folder / "README.md", card(facts))
    write_json(folder / "prompt.json", facts)
