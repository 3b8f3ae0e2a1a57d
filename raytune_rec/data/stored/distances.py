"""How far the training rows of a domain are from those of all others: 1 - Morisita's index of overlap (Morisita, 1959).

Of users with x_i rows in the domain and y_i in the others, X and Y rows in all:

    overlap = 2 sum_i x_i y_i / ((L_x + L_y) X Y),    L_x = sum_i x_i (x_i - 1) / (X (X - 1)), L_y likewise

It is 0 where no user is in both, and near 1 (above counts as 1) where all come equally often in both. Unlike a divergence of two
distributions it hardly depends on how many rows there are: a small domain is not far for being small. Where domains share their
items, the distance is the mean of that of users and that of items. It tells whom and what rows are about, not what users like.
"""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.data.layout import domain_file
from raytune_rec.data.stored.lookup import Lookup
from raytune_rec.schema.prepared import ITEM, SPLITS, USER

Counts = tuple[np.ndarray, np.ndarray]
"""Rows of the table of users or items that occur, and how often each does."""


def distances(lookup: Lookup) -> dict[str, float]:
    """Domain -> its distance from all others, 0 to 1. One without is left out: fewer than two training rows on a side, or nobody
    who comes twice.
    """
    found: dict[str, list[float | None]] = {domain: [] for domain in lookup.schema.domains}
    for name in (USER, ITEM) if lookup.shared_items else (USER,):
        counts = {domain: _counts(lookup, domain, name) for domain in found}
        total = np.zeros(1 + max((int(ids.max(initial=0)) for ids, _ in counts.values()), default=0), np.int64)
        for ids, often in counts.values():
            total[ids] += often
        for domain, own in counts.items():
            found[domain].append(overlap(own, total))
    known = {domain: [o for o in overlaps if o is not None] for domain, overlaps in found.items()}
    return {domain: float((1 - np.minimum(o, 1)).mean()) for domain, o in known.items() if len(o) == len(found[domain])}


def overlap(own: Counts, total: np.ndarray) -> float | None:
    """Morisita's index of a domain and all others; None where it is not defined.

    Args:
        total: (V,) how often each occurs in all domains, this one included.
    """
    ids, x = own[0], own[1].astype(np.float64)
    y = total[ids] - x
    rows, others = x.sum(), total.sum() - x.sum()
    if rows < 2 or others < 2:
        return None
    all_others = _pairs(total.astype(np.float64)) - _pairs(total[ids].astype(np.float64)) + _pairs(y)
    twice = _pairs(x) / (rows * (rows - 1)) + all_others / (others * (others - 1))
    return float(2 * (x @ y) / (twice * rows * others)) if twice else None


def _pairs(counts: np.ndarray) -> float:
    return float(counts @ (counts - 1))


def _counts(lookup: Lookup, domain: str, name: str) -> Counts:
    rows = pq.read_table(domain_file(lookup.path, domain), columns=[name, "split"], partitioning=None)
    trained = rows.filter(pc.equal(rows["split"], SPLITS.index("train")))[name]
    return np.unique(trained.to_numpy(), return_counts=True)
