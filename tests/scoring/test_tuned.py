"""What a lane tuned, cut to its rows and laid over the backbone again, is the model that was validated."""

from __future__ import annotations

import numpy as np
import torch

from raytune_rec.schema.contract import Parameter
from raytune_rec.schema.prepared import Table, UnitData
from raytune_rec.scoring.tuned import cut, whole
from raytune_rec.tensors import zeros


def test_rows_that_were_trained_come_back_and_others_are_the_backbones_own() -> None:
    empty = Table({}, np.zeros(0, np.float32))
    data = UnitData(
        "feed", empty, empty, {"colour": np.array([0, 2, 5, 3])}, {"colour": np.array([False, True, True, False])}
    )  # 0, trained, trained, met in validation alone
    start = {"backbone.linear.colour": torch.arange(7.0)}
    best = {"backbone.linear.colour": torch.tensor([-1.0, 20.0, 50.0, 3.0])}
    declared = {"backbone.linear.colour": Parameter("linear.colour", (7,), "linear", zeros, "colour")}
    tuned = cut(best, declared, data)
    assert tuned["rows.colour"].tolist() == [0, 2, 5]
    full = whole(tuned, start, declared)["backbone.linear.colour"]
    # row 0 too: a missing value of a feature trains it
    assert full.tolist() == [-1.0, 1.0, 20.0, 3.0, 4.0, 50.0, 6.0]
