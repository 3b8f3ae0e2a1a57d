"""The prompt artifact: a unit's tuned tensors beside a backbone that many share.

    prompt.safetensors  prompt.json  README.md  _complete.json

Tensors are named `prompt.<name>` and, for tuned groups of the backbone, `backbone.<name>`. Where a unit keeps only some rows of a
table, `rows.<vocabulary>` (v,) int64 lists their global ids; the other rows are the backbone's own. Of a group of cold items
`feedback.item`, `.user`, `.time`, `.value` and `.stay` (E,) tell who took each in training, since a prompt may read it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.artifacts.card import card
from raytune_rec.artifacts.facts import close_folder, open_folder, read_facts, replace_facts
from raytune_rec.artifacts.prompt_facts import FORMATS, PromptFacts, from_first
from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import write_json, write_text
from raytune_rec.storage.listing import remove_files
from raytune_rec.storage.marker import MARKER

_WEIGHTS = "prompt.safetensors"


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
    write_text(folder / "README.md", card(whole))
    write_json(folder / "prompt.json", whole)
    close_folder(folder, "prompt", whole.format)
    return whole


def read(folder: Path) -> PromptFacts:
    """The facts alone; marker and format are checked.

    Raises:
        ArtifactError: see `load`.
    """
    return read_facts(Path(folder), "prompt", PromptFacts, FORMATS, {"row": "method"}, from_first)


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
    write_text(folder / "README.md", card(facts))
    replace_facts(folder, "prompt", facts.format, facts)
    return facts
