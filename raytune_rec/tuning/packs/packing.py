"""Which lanes train together."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from raytune_rec.names import path_name
from raytune_rec.schema.work import Lane, Pack
from raytune_rec.tuning.search.space import Sizes, Structure

NEAR = 1.25
"""Units whose numbers of training rows differ by at most this factor share packs: a shorter one idles at an epoch's end."""


@dataclass(frozen=True)
class Width:
    """How wide packs may be.

    Args:
        lanes: most of a pack.
        base_mib, lane_mib: memory of a pack, and of each lane more, as a dry run found them; 0 where none was made.
        limit_mib: memory of a pack, at most.
    """

    lanes: int
    base_mib: float = 0.0
    lane_mib: float = 0.0
    limit_mib: float = 0.0


def parts(lanes: Sequence[Lane], limit: int, structure: Structure, least: int = 1) -> list[list[Lane]]:
    """The lanes of each pack, at most `limit`, as even as can be. The same lanes give the same packs.

    Lanes of a like size go together, so that little is padded, and the largest come first, so that none of them is left for the
    end. Within a pack they stand in the order of `lanes`.

    Args:
        lanes: in the order in which they were asked, unit by unit.
        limit: most lanes of a pack.
        structure: lanes share a pack only where its key is equal; sizes count in the order in which they are given.
        least: packs, as far as there are lanes: as many as can train at a time.
    """
    alike: dict[Hashable, list[tuple[Sizes, int]]] = {}
    for place, lane in enumerate(lanes):
        key, sizes = structure(lane.options)
        alike.setdefault(key, []).append((tuple(-size for size in sizes), place))
    counts = {key: -(-len(group) // limit) for key, group in alike.items()}
    while sum(counts.values()) < min(least, len(lanes)):
        widest = max(alike, key=lambda key: len(alike[key]) / counts[key])
        counts[widest] += 1
    places = [part for key, group in alike.items() for part in _even([place for _, place in sorted(group)], counts[key])]
    return [[lanes[place] for place in sorted(part)] for part in places]


def shared(rows: Mapping[str, int], round: int, width: int, share_rows: int) -> list[list[str]]:
    """Units that share packs: large ones alone, small ones of a like size together, as many as fill a pack.

    Args:
        rows: unit -> training rows.
        round: lanes of a unit that train at a time.
        width: most lanes of a pack.
        share_rows: most rows of a unit that shares.
    """
    small = sorted((unit for unit, n in rows.items() if n <= share_rows), key=lambda unit: (rows[unit], unit))
    groups = [[unit] for unit in rows if rows[unit] > share_rows]
    most = max(1, width // round)
    group: list[str] = []
    for unit in small:
        if group and (len(group) >= most or rows[unit] > NEAR * max(1, rows[group[0]])):
            groups.append(group)
            group = []
        group.append(unit)
    return [*groups, group] if group else groups


def pack_name(method: str, units: Sequence[str], *place: str) -> str:
    """Also the name of its folder. `@` and `+` part it, which stand in no `path_name`; a unit leads one group of a method."""
    others = f"+{len(units) - 1}" if len(units) > 1 else ""
    return "@".join([path_name(method), path_name(units[0]) + others, ".".join(place)])


def to_text(pack: Pack) -> str:
    return json.dumps(asdict(pack), sort_keys=True)


def from_text(text: str) -> Pack:
    values = json.loads(text)
    lanes = tuple(Lane(**lane) for lane in values.pop("lanes"))
    after = tuple((name, place) for name, place in values.pop("after"))
    return Pack(**values, lanes=lanes, after=after)


def _even(places: list[int], count: int) -> Iterator[list[int]]:
    size, extra = divmod(len(places), count)
    starts = [i * size + min(i, extra) for i in range(count + 1)]
    yield from (places[a:b] for a, b in pairwise(starts))
