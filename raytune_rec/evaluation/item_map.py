"""Where the vectors of items lie before and after tuning, drawn in a plane (PROMO, RecSys 2024, section 5.4 and Figure 4).

Differs from the paper: it draws t-SNE of two models, each by itself, and colours clusters of k-means. Here both are projected on
the same two principal axes, so that equal places mean equal vectors, and items are told apart by whether they are cold. What the
plane leaves out is told (`explained`), and what is said of neighbours is measured in the whole space.

Shapes: V items, D numbers of a vector.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOST = {"cold": 100, "warm": 200}
"""Items of each kind that are kept to be drawn."""
NEAREST = 10


def item_map(before: Array, after: Array, cold: NDArray[np.integer], warm: NDArray[np.integer], seed: int) -> dict[str, Any]:
    """What `results.json` says of it.

    Args:
        before, after: (V, D). cold: ids of a unit's own items. warm: ids of those that are no unit's.
        seed: of the sample that is drawn where there are more than `MOST`.

    Returns:
        explained: shares of the variance of all these vectors along the two axes. cold, warm: {items, before: [[x, y], ...],
        after: the same items}; items: how many there are. near: {before, after}: of the `NEAREST` items closest to a cold one
        that is drawn, among all cold and warm ones, the share that are cold.
    """
    if before.shape[1] == 1:
        before, after = (np.pad(table, ((0, 0), (0, 1))) for table in (before, after))  # a plane has two axes
    draw, tables = np.random.default_rng([seed, 4]), {"before": before, "after": after}
    both = np.concatenate([table[ids] for table in tables.values() for ids in (cold, warm)]).astype(np.float64)
    centre, axes, explained = _principal(both)
    chosen = {kind: np.sort(draw.permutation(len(ids))[: MOST[kind]]) for kind, ids in (("cold", cold), ("warm", warm))}
    told: dict[str, Any] = {"explained": explained}
    for kind, ids in (("cold", cold), ("warm", warm)):
        planes = {name: np.round((table[ids[chosen[kind]]] - centre) @ axes, 4) for name, table in tables.items()}
        told[kind] = {"items": len(ids), **planes}
    told["near"] = {name: _near(table[cold], table[warm], chosen["cold"]) for name, table in tables.items()}
    return told


def _principal(vectors: Array) -> tuple[Array, Array, Array]:
    """The mean (D,), the two axes of most variance (D, 2), each with its largest number positive, and their shares of it (2,)."""
    centre = vectors.mean(0)
    variances, axes = np.linalg.eigh(np.cov(vectors, rowvar=False, bias=True))
    axes = axes[:, :-3:-1]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0))
    return centre, axes, variances[:-3:-1] / max(variances.sum(), 1e-300)


def _near(cold: Array, warm: Array, chosen: NDArray[np.integer]) -> float:
    """The share of cold items among the nearest of each chosen one."""
    every = np.concatenate([cold, warm]).astype(np.float64)
    squares, most = (every**2).sum(1), min(NEAREST, len(every) - 1)
    shares = []
    for item in chosen:
        distance = squares - 2 * every @ every[item]  # but for the item's own square
        distance[item] = np.inf
        shares.append((distance.argpartition(most - 1)[:most] < len(cold)).mean())
    return float(np.mean(shares))
