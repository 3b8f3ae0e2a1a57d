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


def results(sizes: dict[str, int], distances: dict[str, float] | None = None) -> tuple[dict, dict[tuple[str, str], float]]:
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
    tested, protocol = RowsTested(predictions, labels, groups), {"metric": "auc"}
    made = summarise(facts, tested, ["good"], ["plain"], protocol, bootstrap=200, distances=distances)
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


def test_gains_on_near_and_far_units_are_those_of_their_areas() -> None:
    far = {"f": 0.1, "a": 0.9, "e": 0.2, "b": 0.5, "c": 0.8, "d": 0.4}
    made, areas = results(SIZES, far)
    told = made["sizes"]
    assert told["distances"] == far and "g" not in told["distances"], "a unit without a distance is in no third of it"
    assert told["nearness"] == {"near": ["f", "e"], "between": ["d", "b"], "far": ["c", "a"]}
    gained = {c["of"]: c["difference"] for c in told["differences"]}
    for name, units in told["nearness"].items():
        assert told["means"]["plain"][name]["mean"] == pytest.approx(np.mean([areas["plain", u] for u in units]))
        assert gained[name] == pytest.approx(np.mean([areas["good", u] - areas["plain", u] for u in units]))
    assert set(told["thirds"]) == {"small", "middle", "large"} <= set(gained)
    few, _ = results(SIZES, {u: far[u] for u in "fab"})
    assert "nearness" not in few["sizes"] and "nearness" not in results(SIZES)[0]["sizes"]
