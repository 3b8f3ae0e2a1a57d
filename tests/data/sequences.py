"""A history as text, and samples of it with masked items (UPSR, sections 3.3.2 and 3.4).

    Given the following purchase history of user: <item 1>, <item 2>, <extra_id_0>, predict masked item purchased by the user?

The plain definition: what the backbone `t5` and its objective make of rows is held to it.

Shapes: N users, L places of a history with the item that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from raytune_rec.data.hashing import scramble, share, text_hash
from raytune_rec.data.tokens import BEFORE, BEHIND, BETWEEN, SENTINELS, sentinel


@dataclass(frozen=True)
class Sample:
    """What is read and what is to be told.

    Args:
        source: the sequence with sentinels in place of masked items.
        target: each masked item's text behind its sentinel.
    """

    source: str
    target: str


def sample(items: Sequence[str], masked: Sequence[bool], most: int, count: Callable[[str], int]) -> Sample:
    """A sequence of which some items are masked, no longer than `most` tokens (UPSR: 512): the oldest items are left out, whether
    masked or not, the last one never.

    For a ranking, `items` are a history with any text behind it, of which that last one alone is masked; `target` is not read.

    Differs from the paper: the target holds the sentinels, as in T5's own pre-training (Raffel et al., JMLR 2020), so that the
    decoder is told which item comes.

    Args:
        items: texts of L items, oldest first. masked: of each of them. count: the number of a text's tokens.
    """
    start = 0
    while start + 1 < len(items) and count(_sequence(items[start:], masked[start:])[0]) > most:
        start += 1
    source, told = _sequence(items[start:], masked[start:])
    return Sample(source, " ".join(f"{sentinel(number)} {text}" for number, text in enumerate(told)))


def _sequence(items: Sequence[str], masked: Sequence[bool]) -> tuple[str, list[str]]:
    """(the sequence, the texts that are masked in it)."""
    told = [text for text, hidden in zip(items, masked, strict=True) if hidden]
    names = iter(range(len(told)))
    shown = [sentinel(next(names)) if hidden else text for text, hidden in zip(items, masked, strict=True)]
    return BEFORE + BETWEEN.join(shown) + BEHIND, told


def draws(seed: int, users: Sequence[str], epoch: int, places: int) -> np.ndarray:
    """(N, places + 1) float64 in [0, 1), a hash of (seed, user, epoch, place): of each place from the last one back, and one
    more for the whole sequence. What is drawn of a user hangs on nobody else, and what of an item not on how many came before.
    """
    whose = scramble(text_hash(users) ^ text_hash([f"{seed}/masking/{epoch}"]))
    return share(scramble(whose[:, None] ^ scramble(np.arange(places + 1, dtype=np.uint64))))


def masked_places(drawn: np.ndarray, lengths: np.ndarray, ratio: float | np.ndarray, last: float | np.ndarray) -> np.ndarray:
    """(N, L) bool, which items are masked: each with probability `ratio`; in a share `last` of the sequences the last one
    alone (UPSR: 0.1 and 0.1).

    Differs from the paper, which does not say what a sequence without a masked item trains on: there the item of the least draw
    is masked. Of more than a hundred, those of the least draws.

    Args:
        drawn: (N, L + 1), as `draws` gives them. lengths: (N,) int64 items of each sequence, at the front of its L places.
        ratio, last: for all sequences, or (N, 1) for each.
    """
    places = drawn.shape[1] - 1
    back = lengths[:, None] - 1 - np.arange(places)  # places from the last item back; negative in the padding
    own = np.where(back >= 0, np.take_along_axis(drawn, np.maximum(back, 0), 1), 2.0)
    rank = own.argsort(1, kind="stable").argsort(1, kind="stable")
    several = (own < ratio) & (rank < SENTINELS) | (rank == 0)
    return np.where(drawn[:, -1:] < last, back == 0, several) & (back >= 0)
