"""How natural a text is, where there is no language model to ask: the perplexity under counts of letters in other texts.

P(c | h) = (N(hc) + T(h) P(c | h')) / (N(h) + T(h)) of a letter c behind the letters h, where N counts, T(h) is how many
different letters follow h, and h' is h without its first letter (Witten and Bell, 1991, interpolated); below the empty h all
letters are level. Letters, because product words are seldom met twice: no text has an unknown one.

Shapes: M places of all texts, each letter and the end of each text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONTEXT = 4
"""Letters before the one that is told."""
_START, _END, _OTHER, _FIRST = 0, 1, 2, 3
LETTERS = 253
"""Most letters with a number of their own; the rarer ones are one letter."""
_BITS = 8


@dataclass(frozen=True)
class Counts:
    """Of some texts: for each length of context, 0 to `CONTEXT`, the contexts with the letter behind them, and how often."""

    grams: tuple[np.ndarray, ...]
    counts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, places: np.ndarray) -> Counts:
        """(M,) of `numbered`."""
        every = [np.unique(_last(places, k + 1), return_counts=True) for k in range(CONTEXT + 1)]
        return cls(tuple(grams for grams, _ in every), tuple(counts for _, counts in every))

    @classmethod
    def together(cls, parts: Sequence[Counts]) -> Counts:
        grams, counts = [], []
        for k in range(CONTEXT + 1):
            keys, place = np.unique(np.concatenate([part.grams[k] for part in parts]), return_inverse=True)
            grams.append(keys)
            counts.append(np.bincount(place, np.concatenate([part.counts[k] for part in parts]), len(keys)).astype(np.int64))
        return cls(tuple(grams), tuple(counts))

    def without(self, part: Counts) -> Counts:
        """What is left of counts that were put together of this part and others."""
        grams, counts = [], []
        for k in range(CONTEXT + 1):
            left = self.counts[k].copy()
            left[np.searchsorted(self.grams[k], part.grams[k])] -= part.counts[k]
            grams.append(self.grams[k][left > 0])
            counts.append(left[left > 0])
        return Counts(tuple(grams), tuple(counts))


def alphabet(texts: Sequence[str]) -> dict[str, int]:
    """Letter -> number: the most frequent ones, of equal ones the first."""
    letters, counts = np.unique(_points(texts), return_counts=True)
    frequent = letters[np.lexsort((letters, -counts))][:LETTERS]
    return {chr(letter): number for number, letter in enumerate(frequent.tolist(), _FIRST)}


def numbered(texts: Sequence[str], letters: dict[str, int]) -> np.ndarray:
    """(M,) int64: of each place the letters up to it and its own, in eight bits each, its own last."""
    numbers = np.full(sys.maxunicode + 1, _OTHER, np.int64)
    numbers[[ord(letter) for letter in letters]] = [*letters.values()]
    sizes = np.array([len(text) for text in texts], np.int64) + CONTEXT + 1  # of each what starts it, its letters, its end
    ends = np.cumsum(sizes)
    own = np.ones(int(sizes.sum()), bool)
    own[((ends - sizes)[:, None] + np.arange(CONTEXT)).ravel()] = False
    is_letter = own.copy()
    is_letter[ends - 1] = False
    flat = np.where(own, _END, _START)
    flat[is_letter] = numbers[_points(texts)]
    whole = np.zeros(len(flat), np.int64)
    for back in range(CONTEXT, -1, -1):
        whole[CONTEXT:] = whole[CONTEXT:] << _BITS | flat[CONTEXT - back : len(flat) - back]
    return whole[own]


def perplexity(read: Counts, counts: Counts, letters: int) -> float:
    """Of a letter of some texts, on average: 2 to the mean number of bits that one needs.

    Args:
        read: counts of these texts. counts: of other texts. letters: how many the alphabet has.
    """
    places = read.grams[CONTEXT]
    chance = np.full(len(places), 1 / (letters + 2))  # all letters, the rarer ones as one, and the end
    for k in range(CONTEXT + 1):
        grams, often = counts.grams[k], counts.counts[k]
        contexts, start = np.unique(grams >> _BITS, return_index=True)
        total = np.add.reduceat(often, start).astype(np.float64) if len(grams) else np.zeros(0)
        kinds = np.diff([*start, len(grams)]).astype(np.float64)
        wanted = _last(places, k + 1)
        here, n, t = _found(grams, often, wanted), *(_found(contexts, c, wanted >> _BITS) for c in (total, kinds))
        chance = np.where(n > 0, (here + t * chance) / np.maximum(n + t, 1), chance)
    return float(2 ** -np.average(np.log2(chance), weights=read.counts[CONTEXT]))


def _points(texts: Sequence[str]) -> np.ndarray:
    """(letters,) uint32, the code points of all texts."""
    return np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)


def _last(places: np.ndarray, letters: int) -> np.ndarray:
    return places & ((1 << _BITS * letters) - 1)


def _found(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(M,) the value of each wanted key, 0 where there is none."""
    if not len(keys):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0).astype(np.float64)
