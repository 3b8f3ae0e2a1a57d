"""Pieces of words learnt from texts: a Unigram tokenizer (Kudo, ACL 2018) with the special tokens of T5.

Differs from the paper: expected counts are those of the best way to cut each word (hard EM), and the pieces that leave are those
of least count. So the same texts make the same tokenizer, which that of the package does not: it counts in the order of a hash
that differs from run to run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from raytune_rec.data.models import package
from raytune_rec.data.tokens import BEFORE, BEHIND, BETWEEN, END, PAD, SENTINELS, UNKNOWN, sentinel
from raytune_rec.errors import DataError

_SPECIAL = (PAD, END, UNKNOWN, *(sentinel(number) for number in range(SENTINELS)))
_LONGEST = 16
"""Letters of a piece."""
_SEEDS = 10
"""Pieces to begin with, as a multiple of those that are wanted."""
_LEFT = 0.75
"""Share of the pieces that stay in a round."""
_ROUNDS = 2
"""In which counts settle, where no piece leaves any more."""


def learnt(texts: Iterable[str], size: int) -> bytes:
    """The content of a tokenizer.json: lowercased words, cut into pieces that may begin with the blank before them.

    Args:
        size: most tokens, the special ones included.

    Raises:
        DataError: the package tokenizers is missing, or the letters alone are more than `size`.
    """
    made = package("tokenizers", "data.text.tokenizer = 'unigram'", ", or set it to 'words'")
    cut = _tokenizer(made, {})
    words: Counter[str] = Counter()
    for text in (*texts, BEFORE + BETWEEN + BEHIND):
        words.update(word for word, _ in cut.pre_tokenizer.pre_tokenize_str(cut.normalizer.normalize_str(text)))
    letters: Counter[str] = Counter()
    for word, count in words.items():
        letters.update({letter: count * word.count(letter) for letter in {*word}})
    wanted = size - len(_SPECIAL)
    if len(letters) > wanted:
        raise DataError(
            f"data.text.vocabulary = {size}: the texts have {len(letters)} different letters, and {len(_SPECIAL)} tokens are of "
            f"T5; set it to {len(letters) + len(_SPECIAL)} or more."
        )
    pieces = _seeds(words, letters, wanted * _SEEDS)
    settled = 0
    while settled < _ROUNDS:
        settled += len(pieces) <= wanted
        counts = _counted(_tokenizer(made, pieces), words)
        kept = max(wanted, int(len(pieces) * _LEFT))
        best = sorted((piece for piece in pieces if piece not in letters), key=lambda piece: (-counts[piece], piece))
        best = [piece for piece in best if counts[piece]][: kept - len(letters)]
        pieces = _scores({piece: counts[piece] for piece in (*letters, *best)})
    content: str = _tokenizer(made, pieces).to_str()
    return content.encode()


def _tokenizer(made: Any, pieces: Mapping[str, float]) -> Any:
    ordered = sorted(pieces.items(), key=lambda item: (-item[1], item[0]))
    tokenizer = made.Tokenizer(made.models.Unigram([*((token, 0.0) for token in _SPECIAL), *ordered], _SPECIAL.index(UNKNOWN)))
    tokenizer.normalizer = made.normalizers.Sequence([made.normalizers.NFKC(), made.normalizers.Lowercase()])
    tokenizer.pre_tokenizer = made.pre_tokenizers.Metaspace()
    tokenizer.decoder = made.decoders.Metaspace()
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def _seeds(words: Mapping[str, int], letters: Mapping[str, int], most: int) -> dict[str, float]:
    """Letters, and the parts of words that cover most letters of the texts."""
    parts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + _LONGEST) + 1):
                parts[word[start:end]] += count
    often = sorted(
        (part for part, count in parts.items() if count > 1 and part not in _SPECIAL),
        key=lambda part: (-parts[part] * len(part), part),
    )
    return _scores({**letters, **{part: parts[part] for part in often[:most]}})


def _counted(tokenizer: Any, words: Mapping[str, int]) -> Counter[str]:
    """How often each piece stands in the best way to cut each word."""
    counts: Counter[str] = Counter()
    listed = list(words)
    tokenizer.pre_tokenizer = None  # words have their blank already
    for word, encoded in zip(listed, tokenizer.encode_batch(listed, add_special_tokens=False), strict=True):
        for piece in encoded.tokens:
            counts[piece] += words[word]
    return counts


def _scores(counts: Mapping[str, int]) -> dict[str, float]:
    """Logarithms of shares; of what does not occur that of half a time."""
    total = math.log(sum(counts.values()))
    return {piece: math.log(max(count, 0.5)) - total for piece, count in counts.items()}
