"""Scores rows with one tuned model: a backbone and what a unit tuned. Plain Python, no Ray. Shapes: B rows of a pass, V items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_rec.data.stored.columns import Columns
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import DOMAIN, HISTORY, ITEM, Table
from raytune_rec.scoring.bank import LANE, Bank
from raytune_rec.scoring.base import Base
from raytune_rec.scoring.rows import Answers, Rows, Scores, Unknown
from raytune_rec.task import Unit
from raytune_rec.tasks.base import PASS, Asked, TaskKind
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.tensors import keep_memory
from raytune_rec.training.feed import device_table, take
from raytune_rec.training.model import Model

EVERYBODY = Unit("", "all")
"""Whom a model serves that is no artifact."""
_SCORES = 2**24
"""Most scores of a pass over all items."""


class Scorer:
    """A model ready to score.

    Args:
        model: of one lane; or a bank, of whose units each raw row names one in its column `unit`.
        store: maps raw rows; `score` and `recommend` need it.
        unit: what a model of one lane serves. Its domain stands for a missing `domain` column.
        batch_size: rows of a pass.
        base: the backbone, kept in this process for as long as the scorer is.
    """

    def __init__(
        self,
        model: Model | Bank,
        store: Store | None = None,
        unit: Unit = EVERYBODY,
        batch_size: int = 16384,
        base: Base | None = None,
    ) -> None:
        self.bank = model if isinstance(model, Bank) else Bank.of([model], [unit])
        self.model, self.store, self.batch_size, self.base = self.bank.models[0], store, batch_size, base
        keep_memory()

    def logits(self, table: Table) -> np.ndarray:
        """(N,) float32 logits of prepared rows with global ids; (N, K) of candidates, the positive first."""
        found = torch.zeros(0)
        for index, logits in self.passes(table, self.batch_size):
            if not len(found):
                found = logits.new_empty(len(table), *logits.shape[1:])
            found[index] = logits
        return found.numpy()

    def score(self, rows: Any, unknown: Unknown = "backbone") -> Scores:
        """(N,) probabilities of raw rows.

        Where rows are users with histories, the score of one item each: the sigmoid of its logit, of which only the order within
        a user counts. An item that training did not know cannot be ranked and has 0, below all others.

        Args:
            rows: column -> values (a dictionary of lists, a pandas frame, an Arrow table, or records): `user`, `item`, context
                features, and any user or item features that stand in for the stored ones, by our names or by those of the log
                that was prepared. `domain` may be left out. Of users with histories: `history`,
                `item`, and the columns that `recommend` takes.
            unknown: what becomes of rows with a user, an item or another value that training did not know. `backbone`: they are
                answered by what the backbone makes of the rest of the row, and `unknown` of the answer marks them; `raise`:
                they are refused.

        Raises:
            DataError: rows of a domain that there is not or that the artifact does not serve; a needed column is missing, one is
                unknown (a log's own, such as `label` and `timestamp`, may stay) or holds what it should not, or columns differ
                in length.
        """
        store, given = self._read(rows)
        kind = self._asked("score", store, given)
        columns = store.encode(given.named) | self._lanes(given)
        marked = given.unknown(store, columns, unknown)
        logits = self.logits(Table(columns, np.zeros(given.count, np.float32)))
        return Scores.of(_sigmoid(kind.scored(logits, columns)), marked)

    def recommend(self, rows: Any, k: int = 10, seen: bool | None = None, unknown: Unknown = "backbone") -> Answers:
        """The best of all items for users with histories.

        Args:
            rows: column -> values, as for `score`: `history`, a list of raw item ids for each user, oldest first (unknown ones
                are left out, the model reads the last L); the users' features, or `user`, whose stored ones are taken;
                `domain` may be left out, unless domains have items of their own. `taken`, lists as those of `history`: what a
                user has besides, as in other domains that share their items; not recommended, nor read by the model.
            k: how many items each user gets; fewer where there are no more.
            seen: also what was taken. None: as the rows were tested (`data.sequences.repeats`), which is no by default.
            unknown: as for `score`.

        Returns:
            For each row (raw item id, score) of its best items, best first. Scores are those of `score`; of equal ones the item
            that training met more often stands first. Where domains have items of their own, a row gets those of its domain.

        Raises:
            DataError: k < 1, an artifact whose rows are single interactions, no `history`, or a history that is no list;
                otherwise as `score`.
        """
        store, given = self._read(rows)
        self._asked("recommend", store, given)
        named, count = given.without(ITEM), given.count
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise DataError(
                f"recommend: k must be a whole number, 1 or more (given: {k!r}); it is how many items each user gets."
            )
        seen = store.schema.task.repeats if seen is None else seen
        besides = named.pop("taken", [[]] * count)
        columns = store.encode(named) | self._lanes(given)
        past, further = store.raw.past(named), store.raw.past({**named, HISTORY: besides})
        marked = replace(given, named=given.without(ITEM)).unknown(store, columns, unknown)
        names, domains = store.lookup.catalogue
        answers: list[list[tuple[str, float]]] = [[] for _ in range(count)]
        for index, logits in self.passes(Table(columns, np.zeros(count, np.float32)), _SCORES // len(names) + 1):
            for row, scores in zip(index.tolist(), logits.numpy(), strict=True):
                scores = scores.copy()
                scores[(domains > 0) & (domains != columns[DOMAIN][row])] = -np.inf
                scores[[0] if seen else [0, *past[row], *further[row]]] = -np.inf
                best = top(scores, k)
                answers[row] = list(zip(names[best].tolist(), _sigmoid(scores[best]).tolist(), strict=True))
        return Answers(answers, marked)

    def predict(self, rows: Any, unknown: Unknown = "backbone") -> Answers:
        """The attribute that the artifact predicts, of users with histories.

        Args:
            rows: column -> values, as for `recommend`. The attribute itself plays no part, where it is given.
            unknown: as for `score`.

        Returns:
            For each row (raw value, its probability), of equal ones the value that training met more often.

        Raises:
            DataError: an artifact that predicts no attribute; otherwise as `recommend`.
        """
        store, given = self._read(rows)
        self._asked("predict", store, given)
        if not given.count:
            return Answers([], {})
        columns = store.encode(given.without(ITEM)) | self._lanes(given)
        marked = given.unknown(store, columns, unknown)
        names = store.vocabulary(store.schema.task.attribute)["raw"].to_pylist()
        logits = self.logits(Table(columns, np.zeros(given.count, np.float32)))
        chances = torch.from_numpy(logits).double().reshape(given.count, -1)[:, 1:].softmax(1).numpy()  # id 0 is no class
        best = [(names[i], float(chance[i])) for chance, i in zip(chances, chances.argmax(1), strict=True)]
        return Answers(best, marked)

    def _asked(self, asked: Asked, store: Store, given: Rows) -> TaskKind[Any]:
        """The kind of the task; raises DataError where it does not answer."""
        kind = kind_of(store.schema.task)
        if refusal := kind.refusal(asked, ", ".join(self.bank.names[:5]), given.named):
            raise DataError(refusal)
        return kind

    @torch.no_grad()
    def passes(self, table: Table, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows of a pass (B,), at most so many, and their logits (B,) or (B, K)."""
        named = dict(table.columns)
        lane = named.pop(LANE, np.zeros(len(table), np.int64))
        columns, label = device_table(Table(named, table.label), "cpu")
        for part, rows in self.bank.passes(lane, min(most, PASS) if HISTORY in columns else most):
            batch, real = take(columns, label, rows.clamp(min=0)), rows >= 0
            logit = part.scores(batch)
            yield rows[real], logit.expand(len(rows), *logit.shape[1:])[real]

    def _lanes(self, given: Rows) -> Columns:
        """The column that says which lane each row asks, where there are several."""
        return {LANE: given.lane} if len(self.bank.units) > 1 else {}

    def _read(self, rows: Any) -> tuple[Store, Rows]:
        assert self.store is not None, "a scorer without a store scores prepared rows"
        bank = self.bank
        return self.store, Rows.read(rows, self.store, bank.units, bank.names, bank.plain)


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the k highest scores (V,), best first; of equal ones the lower place first, and none at -inf."""
    kept = np.flatnonzero(scores > -np.inf)
    if len(kept) > k:
        kept = kept[scores[kept] >= np.partition(scores[kept], -k)[-k]]
    return kept[np.argsort(-scores[kept], kind="stable")][:k]


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits.astype(np.float64)).sigmoid().numpy()
