"""The jobs of UPSR in small: made-up domains whose titles name what a user keeps to."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np

JOBS = Path(__file__).parents[2] / "jobs"
KINDS = ("red pen", "blue ink", "green card", "grey tape", "white glue", "black brush")
COLUMNS = {name: name for name in ("domain", "user", "item", "label", "position")}
TEXTS = ("category", "title", "brand", "price", "description")
SMALL = {"length": 64, "width": 16, "heads": 2, "head_width": 8, "inner": 32, "blocks": 1, "decoder_blocks": 1, "dropout": 0.0}

LESS = {"backbone.width": 8, "backbone.heads": 1, "backbone.inner": 16}
"""Of what a pre-training sets itself."""


def write_log(folder: Path, domains: tuple[str, ...], users: int = 60) -> dict[str, Any]:
    """Users keep to items of one kind, which their titles name, in each domain with other items: options of the source."""
    rows, items, draw = ["domain,user,item,label,position"], [f"domain,item,{','.join(TEXTS)}"], np.random.default_rng(5)
    for domain in domains:
        for i in range(36):
            items.append(f"{domain},{domain[0]}{i},{KINDS[i % 6].split()[1]},{KINDS[i % 6]} no {i // 6},maker {i // 6},$ {i}.5,")
        for user in range(users):
            taken = draw.permutation(6)[:5] * 6 + user % 6
            rows += [f"{domain},{domain}{user},{domain[0]}{item},1,{place}" for place, item in enumerate(taken)]
    name = "-".join(domains)
    (folder / f"{name}.csv").write_text("\n".join(rows))
    (folder / f"{name}-items.csv").write_text("\n".join(items))
    return {
        "files": str(folder / f"{name}.csv"), "columns": COLUMNS, "items": {"files": [str(folder / f"{name}-items.csv")]},
        "features": {text: {"role": "item", "kind": "text"} for text in TEXTS},
    }  # fmt: skip


def small(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A shipped job on a made-up log, with few trials and steps."""
    values = tomllib.loads((JOBS / f"{name}.toml").read_text())
    values["data"] |= {"source": "tabular", "options": options, "sequences": {"length": 6, "negatives": 9, "full": False}}
    text = values["data"]["text"]
    text |= {"length": 8} | ({"vocabulary": 300} if text["tokenizer"] == "unigram" else {})
    for vector in text.get("vectors", {}).values():
        vector["width"] = 6
    for pretraining in values.get("pretrainings", {}).values():
        own = pretraining.get("options", {})
        pretraining["options"] = {key: LESS.get(key, value) for key, value in own.items() if key != "training.epochs"}
    values["backbone"]["options"] |= SMALL
    values["backbones"] = {b: {"width": 8, "inner": 8, "blocks": 1} for b in ("sasrec", "bert4rec", "unisrec")}
    values["training"] |= {"epochs": 2, "batch_size": 16}
    values["tune"] = {"trials": 2}
    values["evaluate"] |= {"bootstrap": 100}
    for method in values["methods"].values():
        method.get("options", {}).pop("training.epochs", None)
    return values
