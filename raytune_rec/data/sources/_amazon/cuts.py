"""Items of a category cut into domains: by what they are, or by who took them. Shapes: I items, U users, N rows, A attributes."""

from __future__ import annotations

import numpy as np

REST = -1
"""Items of no domain of their own."""
_FACTORS, _POWERS, _ROUNDS = 32, 3, 30


def by_attribute(item: np.ndarray, attribute: np.ndarray, items: int, parts: int, least: int) -> np.ndarray:
    """(I,) the attribute whose domain an item is of.

    The rule: turn by turn the attribute that most and the one that fewest of the items left have, but `least` of them, makes a
    domain of these, until there are `parts`; so there are large domains and small ones. Of equal attributes the smallest. One
    that more than half of all items have tells nothing and is passed over. What is left is `REST`.

    Args:
        item, attribute: (P,) which item has which. least: 1 or more.
    """
    known, code = np.unique(attribute, return_inverse=True)
    pairs = np.unique(np.stack([code, item], axis=1), axis=0)
    counts = np.bincount(pairs[:, 0])
    pairs = pairs[counts[pairs[:, 0]] <= items / 2]
    domain = np.full(items, REST, np.int64)
    for turn in range(parts):
        left = pairs[domain[pairs[:, 1]] == REST]
        counts = np.bincount(left[:, 0], minlength=1)
        enough = np.flatnonzero(counts >= least)
        if not len(enough):
            break
        chosen = enough[(counts[enough] if turn % 2 else -counts[enough]).argmin()]
        domain[left[left[:, 0] == chosen, 1]] = known[chosen]
    return domain


def by_taker(user: np.ndarray, item: np.ndarray, users: int, items: int, parts: int, seed: int) -> np.ndarray:
    """(I,) the cluster of an item, 0 being the largest.

    The rule: an item is the users who took it, each weighing 1 / sqrt(how much he took); the 32 strongest directions of these
    vectors (Halko et al., SIAM Review 2011: three powers of a random range), at length 1, fall into `parts` clusters by spherical
    k-means from random items. Items that nobody took are `REST`.

    Args:
        user, item: (N,) rows. seed: of the start.
    """
    from scipy import sparse  # some tenths of a second to load

    draw = np.random.default_rng(seed)
    weight = 1 / np.sqrt(np.bincount(user, minlength=users))[user]
    taken = sparse.csr_matrix((weight, (item, user)), shape=(items, users))
    basis = draw.standard_normal((users, _FACTORS))
    for _ in range(_POWERS):
        basis, _ = np.linalg.qr(taken.T @ (taken @ basis))
    vectors = taken @ basis
    length = np.linalg.norm(vectors, axis=1)
    known = np.flatnonzero(length > 0)
    unit = vectors[known] / length[known, None]
    centres = unit[draw.choice(len(known), min(parts, len(known)), replace=False)]
    for _ in range(_ROUNDS):
        cluster = (unit @ centres.T).argmax(1)
        sums = np.stack([unit[cluster == c].sum(0) for c in range(len(centres))])
        norm = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norm > 0, sums / np.maximum(norm, 1e-12), centres)
    by_size = np.argsort(-np.bincount(cluster, minlength=len(centres)), kind="stable")
    domain = np.full(items, REST, np.int64)
    domain[known] = np.argsort(by_size)[cluster]
    return domain
