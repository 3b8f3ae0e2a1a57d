"""What the preparation counts for people: summary.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.schema.prepared import SPLITS, Split


class Summary:
    """Counts, fed a bucket at a time. All rows of one (domain, user, item) are in one bucket, so repeats are found there."""

    def __init__(self) -> None:
        self.read = self.refused = self.duplicates = 0
        self.not_taken: int | None = None  # rows of label 0 that histories leave out
        self.without_value: Counter[str] = Counter()  # column that says what a row is worth -> its empty cells
        self.time_unit = ""  # of plain numbers
        self.features: dict[str, dict[str, Any]] = {}  # of users and items: how many have a row, and what of it is told
        self.alike: dict[str, dict[str, Any]] = {}  # users and items: how many look like another, and an example
        self._rows: dict[int, np.ndarray] = {}  # domain -> (splits, 2): rows, positives
        self._seen: dict[tuple[int, str], np.ndarray] = {}  # (domain, user or item) -> which codes occur

    def count(self, domain: np.ndarray, rows: Mapping[str, np.ndarray], split: np.ndarray) -> None:
        """A bucket's rows; `domain` is the final place, `user` and `item` are codes."""
        for d in np.unique(domain).tolist():
            here = domain == d
            counts = np.zeros((len(SPLITS), 2), np.int64)
            counts[:, 0] = np.bincount(split[here], minlength=len(SPLITS))
            counts[:, 1] = np.bincount(split[here], rows["label"][here] > 0.5, minlength=len(SPLITS))
            self._rows[d] = self._rows.get(d, 0) + counts
            for name in ("user", "item"):
                self._mark(d, name, rows[name][here])
            # sorted by hand: np.unique of a few thousand such keys takes a hundred times as long
            pairs = np.sort(rows["user"][here].astype(np.int64) << 32 | rows["item"][here].astype(np.int64))
            self.duplicates += int((pairs[1:] == pairs[:-1]).sum())

    def _mark(self, domain: int, name: str, codes: np.ndarray) -> None:
        seen = self._seen.get((domain, name), np.zeros(0, bool))
        if (size := int(codes.max()) + 1) > len(seen):
            seen = np.append(seen, np.zeros(size - len(seen), bool))
        seen[codes] = True
        self._seen[domain, name] = seen

    def rows(self, domains: tuple[str, ...]) -> dict[tuple[str, Split], int]:
        return {(name, s): int(self._rows[i][j, 0]) for i, name in enumerate(domains) for j, s in enumerate(SPLITS)}

    def values(self, domains: tuple[str, ...], vocabulary: Mapping[str, int], reasons: Mapping[str, int]) -> dict[str, Any]:
        """The summary as JSON values.

        Args:
            vocabulary: field -> ids of the training split.
            reasons: rejected rows by reason, those of users and items included.
        """
        kept = sum(int(c[:, 0].sum()) for c in self._rows.values())
        counts = {"read": self.read, "rejected": self.refused, "kept": kept, "duplicates": self.duplicates}
        if self.not_taken is not None:
            counts["not_taken"] = self.not_taken
        without = {name: count for name, count in self.without_value.items() if count}
        return {
            "interactions": {**counts, **({"without_value": without} if without else {})},
            "rejected_by_reason": dict(reasons),
            "vocabulary": dict(vocabulary),
            **({"time_unit": self.time_unit} if self.time_unit else {}),
            "features": self.features,
            "alike_domains": alike(domains),
            **({"alike": self.alike} if self.alike else {}),
            "domains": {name: self._domain(i) for i, name in enumerate(domains)},
        }

    def _domain(self, i: int) -> dict[str, Any]:
        rows, positives = self._rows[i][:, 0], self._rows[i][:, 1]
        splits = {s: {"rows": int(n), "positives": int(p), "positive_share": round(int(p) / max(int(n), 1), 6)}
                  for s, n, p in zip(SPLITS, rows, positives, strict=True)}  # fmt: skip
        return {
            "rows": int(rows.sum()),
            "positive_share": round(int(positives.sum()) / max(int(rows.sum()), 1), 6),
            "users": int(self._seen[i, "user"].sum()),
            "items": int(self._seen[i, "item"].sum()),
            **{str(s): counts for s, counts in splits.items()},
        }


def untested(domain: Mapping[str, Any], rows: int, histories: bool) -> str:
    """Why a domain will lack a value in the results, in words; empty where it has all.

    Args:
        domain: of the summary. rows: that are tested.
    """
    if not rows:
        return "no test row" + (" that can be ranked" if domain["test"]["rows"] else "")
    one = not histories and domain["test"]["positives"] in (0, rows)
    return f"one label in all its test rows ({rows:,}), and AUC needs both" if one else ""


def alike(names: Sequence[str]) -> list[list[str]]:
    """Names that are told apart by case, blanks or the form of a letter alone. All at once: there may be millions of them."""
    folded = pc.utf8_lower(pc.utf8_normalize(pa.array(names, pa.string()), "NFKC"))
    for sign, same in (("\u00df", "ss"), ("\u03c2", "\u03c3")):  # sharp s, and the sigma of a word's end
        folded = pc.replace_substring(folded, sign, same)
    places = pc.dictionary_encode(pc.replace_substring_regex(folded, r"[\s\p{Z}]+", "")).indices.to_numpy()
    groups: dict[int, list[str]] = {}
    for i in np.flatnonzero(np.bincount(places, minlength=1)[places] > 1).tolist():
        groups.setdefault(int(places[i]), []).append(names[i])
    return list(groups.values())
