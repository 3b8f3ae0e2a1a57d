"""Writes the golden artifacts of the current format: `python tests/golden/make.py`. Never run it over a released format."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raytune_rec.artifacts import backbone, prompt, weights
from raytune_rec.artifacts.prompt_facts import PromptFacts, StrategyFacts
from raytune_rec.task import Unit

FORMAT = 1
_VERSIONS = {"python": "3.11", "raytune_rec": "0.1.0", "torch": "2.13.0"}


def store(folder: Path) -> Path:
    """A prepared data set of two users and two items."""
    (folder / "vocabulary").mkdir(parents=True)
    for field in ("user", "item"):
        ids = pa.table({"raw": ["a", "b"], "id": pa.array([1, 2], pa.int32())})
        pq.write_table(ids, folder / "vocabulary" / f"{field}.parquet")
        pq.write_table(pa.table({field: pa.array([0, 1, 2], pa.int32())}), folder / f"{field}s.parquet")
    (folder / "schema.json").write_text(json.dumps({"fields": ["user", "item", "domain"], "domains": ["music"]}))
    return folder


def backbone_parts() -> tuple[backbone.BackboneFacts, dict[str, torch.Tensor]]:
    tensors = {"embedding.user": torch.arange(6.0).view(3, 2), "output.bias": torch.tensor([0.5])}
    facts = backbone.BackboneFacts(
        name="deepfm",
        options={"width": 2, "hidden": [4], "dropout": 0.2},
        prompt="plate",
        prompt_options={"meta_prompts": 10, "temperature": 1e-5},
        sites={"fields": (2, 2)},
        pretraining="plate",
        training={"epochs": 2, "lr": {"default": 1e-3}},
        trials=3,
        data_fingerprint="0123456789abcdef",
        seed=7,
        value=0.75,
        epochs=2,
        curve=(0.5, None, 0.75),
        parameters=weights.facts(tensors, {"embedding.user": "embedding", "output.bias": "output"}),
        versions=_VERSIONS,
    )
    return facts, tensors


def prompt_parts(fingerprint: str) -> tuple[PromptFacts, dict[str, torch.Tensor]]:
    tensors = {
        "prompt.domain": torch.tensor([0.25, -0.25]),
        "backbone.linear.user": torch.tensor([[0.0], [1.5]]),
        "rows.user": torch.tensor([0, 2]),
    }
    groups = {"prompt.domain": "prompt", "backbone.linear.user": "linear"}
    facts = PromptFacts(
        unit=Unit("music", domain="music"),
        method="plate",
        strategy=StrategyFacts(name="prompt_linear", start="backbone", train=("prompt", "linear"), prompt="on"),
        prompt="plate",
        prompt_options={"meta_prompts": 10, "temperature": 1e-5},
        backbone="deepfm",
        backbone_options={"width": 2, "hidden": [4], "dropout": 0.2},
        backbone_fingerprint=fingerprint,
        data_fingerprint="0123456789abcdef",
        parameters=weights.facts(tensors, groups, {"backbone.linear.user": "user"}),
        tuned_parameters=4,
        trial=5,
        options={"training.lr.prompt": 5e-3, "prompt.temperature": 1e-5},
        seed=7,
        valid={"auc": 0.75},
        test={"auc": 0.74, "protocol": "all rows of the test split"},
        versions=_VERSIONS,
    )
    return facts, tensors


def main() -> None:
    target = Path(__file__).parent / f"v{FORMAT}"
    with tempfile.TemporaryDirectory() as scratch:
        facts = backbone.save(target / "backbone", *backbone_parts(), store(Path(scratch) / "data"))
    prompt.save(target / "prompt", *prompt_parts(facts.fingerprint))


if __name__ == "__main__":
    main()
