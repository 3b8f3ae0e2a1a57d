"""What is gained by the size of a domain, against means by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec.evaluation.measures.inputs import MethodFacts, Predictions
from raytune_rec.evaluation.measures.tested import RowsTested
from raytune_rec.evaluation.results import summarise
from raytune_rec.evaluation.sizes import thirds

SIZES = {"f": 500, "a": 60, "e": 400, "b": 90, "g": 900, "c": 200, "d": 300}


def results(sizes: dict[str, int]) -> tuple[dict, dict[tuple[str, str], float]]:
    """The content of `results.json`, and (method, unit) -> its AUC."""
    draw = np.random.default_rng(2)
    labels = {u: (draw.random(n) < 0.5).astype(np.float32) for u, n in sizes.items()}
    shared = {u: draw.normal(size=n) for u, n in sizes.items()}
    predictions = [
        Predictions(m, u, (skill * labels[u] + shared[u])[None].astype(np.float32))
        for m, skill in (("good", 0.9), ("plain", 0.6))
        for u in sizes
    ]
    groups = {u: draw.integers(0, 50, n) for u, n in sizes.items()}
    facts = [MethodFacts(m, "single", "none", "deepfm", "", m == "plain", 1, 1, 1, 1.0) for m in ("good", "plain")]
    made = summarise(facts, RowsTested(predictions, labels, groups), ["good"], ["plain"], {"metric": "auc"}, bootstrap=200)
    return made, {(p.method, p.unit): roc_auc_score(labels[p.unit], p.scores[0]) for p in predictions}


def test_means_by_rows_and_over_thirds_are_those_of_the_areas() -> None:
    made, areas = results(SIZES)
    told = made["sizes"]
    assert told["thirds"] == {"small": ["a", "b"], "middle": ["c", "d"], "large": ["e", "f", "g"]}
    for method in ("good", "plain"):
        by_rows = sum(n * areas[method, u] for u, n in SIZES.items()) / sum(SIZES.values())
        assert told["means"][method]["rows"]["mean"] == pytest.approx(by_rows)
        for name, units in told["thirds"].items():
            assert told["means"][method][name]["mean"] == pytest.approx(np.mean([areas[method, u] for u in units]))
    gained = {c["of"]: c for c in told["differences"]}
    assert set(gained) == {"rows", "small", "middle", "large"} and all(
        c["low"] < c["difference"] < c["high"] for c in gained.values()
    )
    assert gained["large"]["difference"] == pytest.approx(np.mean([areas["good", u] - areas["plain", u] for u in "efg"]))
    assert gained["small"]["high"] - gained["small"]["low"] > gained["large"]["high"] - gained["large"]["low"]


def test_where_all_are_of_one_size_rows_and_units_count_alike() -> None:
    made, _ = results(dict.fromkeys("abcd", 200))
    assert made["sizes"]["thirds"] == {}, "two in each are the least"
    (by_rows,) = made["sizes"]["differences"]
    (mean,) = [c for c in made["comparisons"] if c["unit"] == "mean"]
    assert [by_rows[k] for k in ("difference", "low", "high")] == pytest.approx([mean[k] for k in ("difference", "low", "high")])
    assert "sizes" not in results({"a": 200})[0]


def test_thirds_hold_every_unit_once_and_the_smallest_first() -> None:
    for count in range(6, 20):
        sizes = {str(i): (7 * i) % count + 1 for i in range(count)}
        cut = list(thirds(sizes).values())
        assert [u for part in cut for u in part] == sorted(sizes, key=lambda u: sizes[u])
        assert max(map(len, cut)) - min(map(len, cut)) <= 1
