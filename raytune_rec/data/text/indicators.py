"""Five indicators of what an attribute is worth as item text (UPSR, section 3.2), in each domain.

    naturalness         perplexity of a letter under counts of all texts of the other domains (`ngrams`); lower is more natural
    domain consistency  Jensen-Shannon divergence, in bits, of its words from those of each other domain, on average; 0: the same
    informativeness     entropy of the words of a text, in bits, on average
    ambiguity           share of its texts that name several items of the domain
    length              words of a text, on average

Differs from the paper: its naturalness is the perplexity of T5, which this project does not presuppose; consistency and noise it
judges by eye, here they are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.data.hashing import text_hash
from raytune_rec.data.text.ngrams import Counts, alphabet, numbered, perplexity
from raytune_rec.data.tokens import words_of

ITEMS = 2000
"""Most texts of a domain of which letters and words are counted, those of the least hashes."""
_LETTERS = 1000
"""Of each of them that count."""
_COVERED = 0.1
_Key = tuple[str, str]
"""Attribute and domain."""


@dataclass(frozen=True)
class Indicators:
    """Of an attribute in a domain. None: there is no other domain to compare with.

    Args:
        covered: share of the items that have it.
    """

    covered: float
    perplexity: float | None
    divergence: float | None
    entropy: float
    ambiguity: float
    length: float


def indicators(texts: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, dict[str, Indicators]]:
    """Attribute -> domain -> indicators, of domains where some item has it.

    Args:
        texts: attribute -> domain -> the text of each item, empty where it has none.
    """
    there = {(a, d): kept for a, of in texts.items() for d, values in of.items() if (kept := [v for v in values if v.strip()])}
    drawn = {key: _drawn(values) for key, values in there.items()}
    odd, apart = _perplexities(drawn), _divergences(drawn)
    found: dict[str, dict[str, Indicators]] = {}
    for (attribute, domain), values in there.items():
        split = [words_of(text) for text in drawn[attribute, domain]]
        found.setdefault(attribute, {})[domain] = Indicators(
            covered=len(values) / len(texts[attribute][domain]),
            perplexity=odd.get((attribute, domain)),
            divergence=apart.get((attribute, domain)),
            entropy=float(np.mean([entropy(Counter(each).values()) for each in split])),
            ambiguity=shared(values) / len(values),
            length=float(np.mean([len(each) for each in split])),
        )
    return found


def propose(found: Mapping[str, Mapping[str, Indicators]], most: int) -> tuple[list[str], list[str]]:
    """The attributes for pre-training and those for tuning, each in order, from means over the domains that have them.

    Pre-training takes what is as natural as the middle of the attributes, or more, and no longer than the limit; tuning takes the
    others behind these. Within both the shorter comes first: it is the coarser, and what is cut at the limit is the longest. An
    attribute that fewer than a tenth of the items have in every domain is left out.

    Domain consistency is not ruled by: words differ between two domains' categories where these mean the same to a reader.

    Args:
        most: words that an item text may have.
    """
    kept = [attribute for attribute, of in found.items() if max(each.covered for each in of.values()) >= _COVERED]
    length = {attribute: float(np.mean([each.length for each in found[attribute].values()])) for attribute in kept}
    odd = {attribute: float(np.mean([each.perplexity or 0 for each in found[attribute].values()])) for attribute in kept}
    natural = float(np.median(list(odd.values()))) if odd else 0.0
    ordered = sorted(kept, key=lambda attribute: (length[attribute], attribute))
    general = [attribute for attribute in ordered if odd[attribute] <= natural and length[attribute] <= most]
    return general, [*general, *(attribute for attribute in ordered if attribute not in general)]


def entropy(weights: Iterable[float]) -> float:
    """In bits, of values that occur so often, or with such shares; 0 of none."""
    share = np.array([*weights], np.float64)
    share = share[share > 0] / max(share.sum(), 1e-300)
    return float(-(share * np.log2(share)).sum())


def divergence(one: Counter[str], other: Counter[str]) -> float:
    """Jensen-Shannon divergence of two counts of words, in bits: 0 of equal shares, 1 where they have none in common; of texts
    without a word 1.
    """
    both = sorted(one.keys() & other.keys())
    p, q = (np.array([counts[name] for name in both], np.float64) / max(counts.total(), 1) for counts in (one, other))
    return max(0.0, 1 - float((p * np.log2(1 + q / p) + q * np.log2(1 + p / q)).sum()) / 2)


def shared(texts: Sequence[str]) -> int:
    """How many of the texts stand there several times."""
    counts = np.asarray(pc.value_counts(pa.array([text.strip() for text in texts])).field("counts"))
    return int(counts[counts > 1].sum())


def _perplexities(drawn: Mapping[_Key, Sequence[str]]) -> dict[_Key, float]:
    """Under counts of all texts of the other domains; none where there is one domain alone."""
    domains = sorted({domain for _, domain in drawn})
    if len(domains) <= 1:
        return {}
    letters = alphabet([text for values in drawn.values() for text in values])
    own = {key: Counts.of(numbered(values, letters)) for key, values in drawn.items()}
    of_domain = {d: Counts.together([counts for (_, of), counts in own.items() if of == d]) for d in domains}
    whole = Counts.together(list(of_domain.values()))
    found: dict[_Key, float] = {}
    for domain, counts in of_domain.items():
        others = whole.without(counts)  # of one domain at a time: those of all grow with the square of their number
        found |= {key: perplexity(read, others, len(letters)) for key, read in own.items() if key[1] == domain}
    return found


def _divergences(drawn: Mapping[_Key, Sequence[str]]) -> dict[_Key, float]:
    """From each other domain that has the attribute, on average; none where no other has it."""
    words = {key: Counter(word for text in values for word in words_of(text)) for key, values in drawn.items()}
    apart: dict[_Key, list[float]] = {}
    for attribute in {attribute for attribute, _ in words}:
        for one, other in combinations([key for key in words if key[0] == attribute], 2):
            bits = divergence(words[one], words[other])
            apart.setdefault(one, []).append(bits)
            apart.setdefault(other, []).append(bits)
    return {key: float(np.mean(each)) for key, each in apart.items()}


def _drawn(texts: Sequence[str]) -> list[str]:
    if len(texts) > ITEMS:
        least = np.argsort(text_hash(f"{place}" for place in range(len(texts))), kind="stable")[:ITEMS]
        texts = [texts[place] for place in sorted(least.tolist())]
    return [text[:_LETTERS] for text in texts]
