"""Each remedy that an error of a plan names is followed: the job that was refused is then a plan. No file is read."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from raytune_rec import config
from raytune_rec.errors import UserError
from raytune_rec.stages.checks.check import told

ROWS: dict[str, Any] = {
    "name": "rows",
    "data": {"source": "synthetic"},
    "backbone": {"name": "deepfm", "options": {"width": 4, "hidden": [4]}},
    "pretrainings": {"plain": {}},
    "methods": {"m": {"strategy": "finetune_all", "pretraining": "plain"}},
}
HISTORIES: dict[str, Any] = {
    "name": "histories",
    "data": {"source": "synthetic", "split": {"kind": "leave_one_out"}, "sequences": {"length": 5}},
    "backbone": {"name": "sasrec", "options": {"width": 4, "heads": 1, "inner": 4}},
    "training": {"metric": "ndcg@10"},
    "methods": {"m": {"strategy": "single", "space": ["sequence"]}},
}
GONE = object()
"""In place of a value: it is left out."""

Changes = dict[str, Any]
DEPTH: Changes = {"type": "int", "low": 1, "high": 3}
DSSM: Changes = {"name": "dssm", "options": {"width": 4, "heads": 1, "inner": 4}}
PROMPT: Changes = {"methods.m.strategy": "prompt", "methods.m.prompt": "plate"}
CASES: list[tuple[str, dict[str, Any], Changes, str, list[Changes]]] = [
    (
        "an option of no part",
        ROWS,
        {"methods.m.options": {"lr.default": 0.1}},
        "begin with backbone., prompt., training. or",
        [{"methods.m.options": {"training.lr.default": 0.1}}],
    ),
    (
        "another structure",
        ROWS,
        {"methods.m.options": {"backbone.width": 8}},
        "leave it out, or start from a pre-training of its own (pretrainings.NAME.options)",
        [
            {"methods.m.options": {}},
            {"pretrainings.wide": {"options": {"backbone.width": 8}}, "methods.m.pretraining": "wide"},
        ],
    ),
    (
        "a metric of its own",
        ROWS,
        {"methods.m.options": {"training.metric": "logloss"}},
        "so set it under [training] alone",
        [{"methods.m.options": {}, "training.metric": "logloss"}],
    ),
    (
        "another first layer",
        ROWS,
        PROMPT,
        "needs another first layer; start it from a pre-training with that prompt",
        [{"pretrainings.with": {"prompt": "plate"}, "methods.m.pretraining": "with"}],
    ),
    (
        "a prompt that nobody trains",
        ROWS,
        {**PROMPT, "methods.m.strategy": "prompt_untuned", "pretrainings.plain": {"prompt": "plate", "learn_prompt": False}},
        "its prompt would stay as it was drawn. Start the method from a pre-training that learns it, or choose a strategy that",
        [{"pretrainings.plain.learn_prompt": True}, {"methods.m.strategy": "prompt"}],
    ),
    (
        "an export that stands on nothing",
        ROWS,
        {"methods.s": {"strategy": "single"}, "evaluate.export": "s"},
        "an artifact stands on a pre-trained backbone. Name another method",
        [{"evaluate.export": "m"}],
    ),
    (
        "options of the job's backbone twice",
        ROWS,
        {"backbones.deepfm": {"dropout": 0.1}},
        "is the job's own backbone, whose options are backbone.options; move them",
        [{"backbones.deepfm": GONE, "backbone.options.dropout": 0.1}],
    ),
    (
        "an objective of other outputs",
        HISTORIES,
        {"training.objective": "bce"},
        "set training.objective for this method to ",
        [{"methods.m.options": {"training.objective": name}} for name in ("softmax", "sampled_softmax", "bpr", "next_bce")],
    ),
    (
        "an option that no component has",
        ROWS,
        {"spaces.own": {"space": {"backbone.depth": DEPTH}}, "methods.m.space": ["own"]},
        "its components have no such option; leave it out, or mark it optional = true",
        [{"methods.m.space": []}, {"spaces.own.space": {"backbone.depth": {**DEPTH, "optional": True}}}],
    ),
    (
        "a rate of no group",
        ROWS,
        {"training.lr": {"default": 0.1, "lineer": 0.1}},
        "there is no parameter group 'lineer'; there",
        [{"training.lr": {"default": 0.1, "linear": 0.1}}],
    ),
    (
        "no methods",
        ROWS,
        {"methods": {}},
        "write one as [methods.<name>] with a strategy",
        [{"methods.s": {"strategy": "single"}}],
    ),
    (
        "a prompt of cold items",
        HISTORIES,
        {
            "backbone": DSSM,
            "pretrainings.plain": {},
            "methods.m": {"strategy": "prompt", "prompt": "promo", "pretraining": "plain", "space": ["promo"]},
        },
        "set data.split.kind = 'cold_items', or choose another prompt",
        [
            {"data.split": {"kind": "cold_items"}},
            {"methods.m.prompt": "soft_prompt", "methods.m.space": [], "backbone": HISTORIES["backbone"]},
        ],
    ),
    (
        "fewer rungs than needed",
        HISTORIES,
        {"tune.objectives": ["hit@10"], "tune.stop.rule": "halving"},
        "compares trials by one objective; leave it out, or tune.objectives",
        [{"tune.stop": GONE}, {"tune.objectives": []}],
    ),
]


@pytest.mark.parametrize(("job", "wrong", "text", "remedies"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_remedy_that_an_error_of_a_plan_names_makes_a_plan(
    job: dict[str, Any], wrong: Changes, text: str, remedies: list[Changes]
) -> None:
    assert told(config.parse(job)), "as it stands"
    refused = changed(job, wrong)
    with pytest.raises(UserError) as error:
        told(config.parse(refused))
    assert text in " ".join(" ".join(error.value.problems).split())
    for remedy in remedies:
        assert told(config.parse(changed(refused, remedy)))


def changed(job: dict[str, Any], changes: Changes) -> dict[str, Any]:
    values = copy.deepcopy(job)
    for key, value in changes.items():
        table, names = values, key.split(".")
        for name in names[:-1]:
            table = table.setdefault(name, {})
        if value is GONE:
            del table[names[-1]]
        else:
            table[names[-1]] = copy.deepcopy(value)
    return values
