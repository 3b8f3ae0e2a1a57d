"""Which lanes train together."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from urllib.parse import quote

from raytune_rec.schema import Lane, Pack, Scalar

Structure = Callable[[Mapping[str, Scalar]], Hashable]
"""Searched options -> a key that lanes of one pack share."""


def packs(row: str, unit: str, round: int, lanes: Sequence[Lane], limit: int, structure: Structure) -> list[Pack]:
    """The packs of one round, at most `limit` lanes each, as even as can be. The same lanes give the same packs.

    Args:
        row, unit: whose lanes they are.
        round: of the study, 0-based.
        lanes: in the order of their trials.
        limit: most lanes of a pack.
        structure: lanes share a pack only where it is equal.
    """
    alike: dict[Hashable, list[Lane]] = {}
    for lane in lanes:
        alike.setdefault(structure(lane.options), []).append(lane)
    parts = [part for group in alike.values() for part in _even(group, limit)]
    return [Pack(pack_name(row, unit, round, k), row, unit, tuple(part)) for k, part in enumerate(parts)]


def pack_name(row: str, unit: str, round: int, k: int) -> str:
    """Also the name of its folder, so what a file system cannot hold is quoted."""
    return f"{quote(row, safe=' ')}.{quote(unit, safe=' ')}.r{round}.p{k}"


def to_text(pack: Pack) -> str:
    return json.dumps(asdict(pack), sort_keys=True)


def from_text(text: str) -> Pack:
    values = json.loads(text)
    return Pack(values["name"], values["row"], values["unit"], tuple(Lane(**lane) for lane in values["lanes"]))


def _even(lanes: list[Lane], limit: int) -> list[list[Lane]]:
    count = -(-len(lanes) // limit)
    size, extra = divmod(len(lanes), count)
    starts = [i * size + min(i, extra) for i in range(count + 1)]
    return [lanes[a:b] for a, b in pairwise(starts)]
