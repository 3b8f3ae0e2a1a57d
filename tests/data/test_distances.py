"""How far a domain is from the others, against the definition by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from raytune_rec.data.stored.distances import distances, overlap
from tests.data.conftest import Make

WHO = {"a": [0, 0, 0, 1, 1, 2], "b": [0, 0, 1, 1, 2, 2, 3], "c": [4, 4, 5, 6], "d": [0, 4, 4, 6]}
"""Domain -> the user of each training row; the items of a domain go round, d's are its own."""


def _lines(test: list[int]) -> list[str]:
    """Rows of training, then one that validates and some that test."""
    lines = ["domain,user,item,label,split"]
    for domain, users in WHO.items():
        item = [f"i{7 + n if domain == 'd' else n % 3}" for n in range(len(users))]
        lines += [f"{domain},u{u},{i},{n % 2},train" for n, (u, i) in enumerate(zip(users, item, strict=True))]
        lines += [f"{domain},u0,i0,{n % 2},valid" for n in range(2)] + [f"{domain},u{u},i1,{u % 2},test" for u in test]
    return lines


def _morisita(x: dict[str, int], y: dict[str, int]) -> float:
    """The chance that a row here and one there are of one user, over that of two rows on one side, mean of both sides."""

    def alike(a: list[str], b: list[str], same: bool) -> float:
        pairs = [p == q for (i, p), (j, q) in product(enumerate(a), enumerate(b)) if not same or i != j]
        return float(np.mean(pairs))

    here, there = ([name for name, n in side.items() for _ in range(n)] for side in (x, y))
    return alike(here, there, False) / ((alike(here, here, True) + alike(there, there, True)) / 2)


def _counts(values: list[str]) -> dict[str, int]:
    return {name: values.count(name) for name in values}


@pytest.mark.parametrize("shared", [False, True])
def test_a_distance_is_one_minus_morisitas_overlap_of_training_rows(make: Make, write: Callable[..., str], shared: bool) -> None:
    found = []
    for out, test in (("one", [0, 1]), ("other", [4, 5, 6, 5])):
        files = write(f"{out}.csv", _lines(test))
        columns = {name: name for name in ("domain", "user", "item", "label", "split")}
        options = {"files": files, "columns": columns, "shared_items": shared}
        found.append(distances(make("tabular", options, out, split={"kind": "given"}).lookup))
    assert found[0] == found[1], "rows that test have no part in it"
    for domain in WHO:
        sides = [
            _morisita(
                _counts([row[k] for row in _trained() if row[0] == domain]),
                _counts([row[k] for row in _trained() if row[0] != domain]),
            )
            for k in ((1, 2) if shared else (1,))
        ]
        assert found[0][domain] == pytest.approx(np.mean(np.clip(1 - np.array(sides), 0, 1))), domain
    assert shared or found[0]["c"] > found[0]["a"]


def _trained() -> list[list[str]]:
    return [line.split(",") for line in _lines([]) if line.endswith("train")]


def test_a_domain_is_not_far_for_being_small() -> None:
    """Of rows of one law a tenth is as near as all; an information-theoretic distance would call it far."""
    draw = np.random.default_rng(0)
    rate = draw.lognormal(0, 1, 3000)
    others, own = (draw.choice(3000, n, p=rate / rate.sum()) for n in (60_000, 20_000))
    for rows in (20_000, 2000, 400):
        ids, often = np.unique(own[:rows], return_counts=True)
        total = np.bincount(np.concatenate([others, own[:rows]]), minlength=3000)
        assert overlap((ids, often), total) == pytest.approx(1, abs=0.15)


def test_what_is_not_defined_is_left_out() -> None:
    one = np.array([1]), np.array([1])
    assert overlap(one, np.array([0, 5])) is None, "a single row"
    assert overlap((np.array([1, 2]), np.array([1, 1])), np.array([0, 1, 1, 1, 1])) is None, "nobody comes twice"
