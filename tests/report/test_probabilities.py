"""The report says where scores are no probabilities."""

from __future__ import annotations

from typing import Any

from raytune_rec.report.probabilities import warning


def test_a_log_loss_above_that_of_a_constant_is_told_with_the_worst() -> None:
    def method(**losses: float) -> dict[str, Any]:
        return {"units": {unit: {"logloss": {"mean": loss}} for unit, loss in losses.items()}}

    results = {
        "protocol": {"metric": "auc"},
        "units": {"music": {"n": 100, "positives": 50}, "book": {"n": 100, "positives": 10}, "film": {"n": 9, "positives": 9}},
        "methods": {"good": method(music=0.6, book=0.3), "wild": method(music=0.7, book=1.9, film=5.0)},
    }
    said = warning(results, " ")
    assert said.startswith(" Log loss is above that of a constant score in 2 of 4 results, most for wild in book (1.9000, where ")
    assert "a constant has 0.3251)" in said and said.endswith(" With training.metric = 'logloss' validation chooses by them.")
    assert warning({**results, "protocol": {"metric": "logloss"}}).endswith("are no probabilities."), "which it does already"
    assert warning({**results, "methods": {"good": results["methods"]["good"]}}) == ""
    assert warning({"units": {"all": {"n": 5, "users": 5}}, "methods": {"m": method(all=9.0)}}) == "", "of lists"
