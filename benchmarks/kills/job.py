"""The job that is killed: small, and with every kind of work that a run knows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import tomli_w

JOB: dict[str, Any] = {
    "name": "kills",
    "seed": 3,
    "data": {
        "source": "synthetic",
        "options": {"interactions": {"feed": 1800, "search": 1100}, "users": 120, "items": 80},
    },
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [8, 8]}},
    "training": {"batch_size": 64, "epochs": 8, "patience": 8, "lr": {"default": 0.005}},
    "pretrain": {"trials": 2, "replicates": 2, "training": {"epochs": 3}, "max_failures": 4},
    "pretrainings": {
        "plate": {
            "prompt": "plate",
            "space": ["training", "plate"],
            "options": {"prompt.meta_prompts": 24, "prompt.elastic": True},
        }
    },
    "prompts": {"plate": {"hidden_width": 8}},
    # a process that is killed more than max_failures times in one pack ends the run, as it should
    "tune": {"trials": 8, "round": 4, "pack": 2, "max_failures": 4, "stop": {"rule": "halving", "min_epochs": 2, "factor": 2}},
    "methods": {
        "single": {"strategy": "single", "baseline": True},
        "untuned": {"strategy": "prompt_untuned", "prompt": "plate", "pretraining": "plate", "baseline": True},
        "plate": {"strategy": "prompt_linear", "prompt": "plate", "pretraining": "plate", "space": ["training", "plate"]},
    },
    "evaluate": {"replicates": 2, "compare": ["plate"], "export": "plate", "bootstrap": 200},
}


def tiny() -> dict[str, Any]:
    """The job for a test: pre-trained in the driver's own process, one row that learns, fewer trials, one process that trains.

    So the process that wrote a result is the one that is killed, and mostly before it has begun with the next pack.
    """
    job = copy.deepcopy(JOB)
    job["pretrain"] |= {"trials": 0, "workers": 0, "training": {"epochs": 1}}
    job["tune"] |= {"trials": 4, "round": 2, "concurrent": 1, "stop": {"rule": "none"}}
    del job["methods"]["single"]
    return job


def write(job: dict[str, Any], path: Path) -> Path:
    path.write_text(tomli_w.dumps(job), encoding="utf-8")
    return path
