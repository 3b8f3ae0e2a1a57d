"""A lane equals its solo run for every prompt method on every backbone that takes it, over random options.

Methods are found by themselves: a new file in `prompts/` is tested without an edit here.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raytune_rec.components import component, kinds
from raytune_rec.schema.work import Lane, Method, Pack, Strategy
from raytune_rec.training.build import table_feed, train_with
from raytune_rec.training.loop import Trainer
from raytune_rec.training.settings import settings as settings_of
from tests.training.conftest import AS_HISTORIES, OWN, job, objective, unit_of, world_of
from tests.training.test_contract import PAIRS, fits
from tests.training.test_lanes import same

TRAINED = {
    "everything": Strategy("own", "scratch", ("all", "prompt"), "on"),
    "prompt": Strategy("own", "scratch", ("prompt",), "on"),  # beside a backbone that stays as it was drawn
}
COMMON = {
    "training.lr.default": st.floats(1e-4, 0.05),
    "training.weight_decay.default": st.floats(0, 1e-2),
    "training.beta1": st.floats(0.5, 0.95),
    "training.patience": st.integers(1, 2),
    "training.schedule": st.sampled_from(["constant", "cosine"]),
}


def drawn(family: str, name: str) -> dict[str, st.SearchStrategy[Any]]:
    """Values for every option that lanes of a pack may differ in, within what the option allows."""
    options = component(family, name, [OWN]).Options  # type: ignore[arg-type]
    part = {"backbones": "backbone", "prompts": "prompt"}[family]
    return {
        f"{part}.{field}": _values(options.model_fields[field]) for field, kind in kinds(options).items() if kind != "structural"
    }


def _values(field: Any) -> st.SearchStrategy[Any]:
    bounds: dict[str, float] = {}
    for rule in field.metadata:
        bounds |= {name: getattr(rule, name) for name in ("ge", "gt", "le", "lt") if hasattr(rule, name)}
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt"))
    if field.annotation is int:
        return st.integers(int(low), int(min(high or low + 8, low + 8)))
    if high is not None:
        return st.floats(low + 0.05 * (high - low), low + 0.6 * (high - low))
    return st.floats(low + 0.05, low + 5)  # a temperature near 0 lets rounding decide


def trainer(row: Method, lanes: list[Lane]) -> Trainer:
    schema, rows = world_of(row.backbone)
    metric, data = ("ndcg@10", {"data": AS_HISTORIES}) if schema.task.histories else ("auc", {})
    small = {"name": row.backbone, "options": {"width": 8, "inner": 8} if schema.task.histories else {}}
    size, count = 64, (150, 60)
    if row.backbone == "t5":  # its passes are long
        small["options"] |= {"heads": 2, "head_width": 4, "blocks": 1, "decoder_blocks": 1}
        size, count = 8, (20, 12)
    training = {"batch_size": size, "epochs": 2, "objective": objective(row.backbone), "metric": metric}
    own = job(training=training, backbone=small, **data)
    pack, units = Pack("p", row.name, tuple(lanes)), {"music": unit_of("music", rows(count[0], 1), rows(count[1], 2))}
    of_lanes = [settings_of(own, row, lane) for lane in lanes]
    return train_with(own, pack, row, of_lanes, schema, units, table_feed(own, pack, units, size), dtype=torch.float64)


@pytest.mark.parametrize("trained", list(TRAINED))
@pytest.mark.parametrize(("backbone", "prompt"), [pair for pair in PAIRS if fits(*pair) and pair[1] != "none"])
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_a_lane_equals_its_solo_run(backbone: str, prompt: str, trained: str, data: st.DataObject) -> None:
    row = Method("own", TRAINED[trained], backbone, prompt)
    options = st.fixed_dictionaries(COMMON | drawn("backbones", backbone) | drawn("prompts", prompt))
    # one trial number: beside a frozen backbone all lanes stand on the one that is drawn for it
    lanes = [Lane(3, 0, values, "music") for values in data.draw(st.lists(options, min_size=2, max_size=4))]
    packed = trainer(row, lanes)
    packed.run()
    for i, lane in enumerate(lanes):
        solo = trainer(row, [lane])
        solo.run()
        same(packed.results()[i], solo.results()[0], 1e-9)
        for name, tensor in solo.best(0).items():
            torch.testing.assert_close(packed.best(i)[name], tensor, atol=1e-9, rtol=0)
