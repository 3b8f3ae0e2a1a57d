"""Which lanes share a pack."""

from __future__ import annotations

from raytune_rec.schema.work import Lane
from raytune_rec.tuning.packs.packing import parts


def _lanes(*tokens: int) -> list[Lane]:
    return [Lane(i, 0, {"prompt.tokens": n}) for i, n in enumerate(tokens)]


def _found(tokens: list[int], limit: int) -> list[list[int]]:
    return [[lane.trial for lane in part] for part in parts(_lanes(*tokens), limit, lambda o: ("", (float(o["prompt.tokens"]),)))]


def test_lanes_of_a_like_size_share_a_pack_and_the_largest_come_first() -> None:
    assert _found([1, 8, 2, 7, 1, 8], 2) == [[1, 5], [2, 3], [0, 4]]


def test_without_need_of_a_cut_nothing_moves() -> None:
    assert _found([1, 8, 2, 7], 4) == [[0, 1, 2, 3]]
    assert _found([3, 3, 3, 3], 2) == [[0, 1], [2, 3]]


def test_packs_are_as_even_as_can_be() -> None:
    assert [len(part) for part in _found([5] * 9, 4)] == [3, 3, 3]


def test_what_differs_in_structure_never_shares() -> None:
    lanes = [Lane(i, 0, {"prompt.variant": name}) for i, name in enumerate("abab")]
    found = parts(lanes, 8, lambda options: (options["prompt.variant"], ()))
    assert [[lane.trial for lane in part] for part in found] == [[0, 2], [1, 3]]
