"""Hashes that are the same on every machine: of raw values, of users for a purpose, of rows. All (N,) uint64."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def text_hash(values: Iterable[str]) -> np.ndarray:
    """(N,) uint64: BLAKE2b-64 of each value in UTF-8, the same on every machine."""
    hashes = [int.from_bytes(hashlib.blake2b(v.encode(), digest_size=8).digest(), "little") for v in values]
    return np.array(hashes, dtype=np.uint64)


def scramble(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output function: a bijection of uint64 without visible pattern."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def row_hash(seed: int, domain: np.ndarray, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(N,) uint64 hash of (seed, domain, user, item).

    Args:
        domain, user, item: (N,) uint64, `text_hash` of the raw values.
    """
    x = scramble(text_hash([str(seed)]) ^ domain)
    return scramble(scramble(x ^ user) ^ item)


def share(hashes: np.ndarray) -> np.ndarray:
    """uint64 hashes -> float64 in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def user_hash(seed: int, purpose: str, users: np.ndarray) -> np.ndarray:
    """(N,) uint64 hash of (seed, what it is for, user), from `text_hash` of the raw users."""
    return scramble(users ^ text_hash([f"{seed}/{purpose}"]))
