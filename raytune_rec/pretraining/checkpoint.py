"""The state of a trainer after an epoch, on disk: safetensors for tensors, JSON for the rest."""

from __future__ import annotations

from pathlib import Path

from raytune_rec.artifacts import weights
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.training.loop import Trainer

_TENSORS, _FACTS = "state.safetensors", "state.json"


def save(folder: Path, trainer: Trainer) -> None:
    """Write everything that the next epoch needs. The facts come last and hold the sha256 of the tensors."""
    tensors, facts = trainer.state()
    sha256 = weights.write(folder / _TENSORS, tensors)
    write_json(folder / _FACTS, {"sha256": sha256, "state": facts})


def restore(folder: Path, trainer: Trainer) -> None:
    """Go on from a saved state of the same plan.

    Raises:
        ArtifactError: it is damaged.
    """
    held = read_json(folder / _FACTS)
    trainer.restore(weights.read(folder / _TENSORS, held["sha256"]), held["state"])
