"""Lists of candidates with one right item each, for users with histories. Shapes as in `base`; R replicates, V items."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raytune_rec.data.cold_items import AMONG, COLD, WARM
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.evaluation.measures import measure_lists, spread
from raytune_rec.evaluation.measures.cohorts import taken
from raytune_rec.evaluation.measures.inputs import ListOutcomes, Outcome, Replicates
from raytune_rec.evaluation.measures.measure_lists import BEST, SHUFFLED
from raytune_rec.evaluation.measures.tested import Groups, ListsTested
from raytune_rec.evaluation.metrics.candidate_lists import mean_of, outcome, places, positive_first
from raytune_rec.job.data import DataOptions
from raytune_rec.schema.prepared import CANDIDATES, DOMAIN, HISTORY, ITEM, POSITIVE, SEEN, DataSchema, Split, Table
from raytune_rec.task import Task, UnitKind
from raytune_rec.tasks.base import PASS, Asked, Further, Passes

Reached = tuple[Outcome, Outcome | None, spread.Spread | None, Mapping[str, Outcome]]
"""Where the positives stand among the candidates, and among all items where that is asked too; how the scores lie where rows tell
cold items from warm ones; and the other rankings of `Further`."""


class Lists:
    examples = "histories"
    units: frozenset[UnitKind] = frozenset({"domain", "fold", "items"})
    trains: frozenset[str] = frozenset()

    def __init__(self, task: Task) -> None:
        self.task = task

    def check(self, summary: Mapping[str, Any], store: Store, data: DataOptions) -> None:
        check_ranked(summary, store.schema)
        store.reader.check_candidates()

    def most_rows(self, table: Table, chunk: int) -> int:
        return min(chunk, PASS) if POSITIVE in table.columns else chunk

    def reduce(
        self, logit: Tensor, columns: Mapping[str, Tensor], rows: Tensor, item_domains: Tensor | None
    ) -> tuple[Tensor, ...]:
        """`better`, `ties` and `size` of each list."""
        return outcome(_listed(logit, columns, rows, item_domains))

    def value(self, metric: str, kept: tuple[Tensor, ...], label: Tensor) -> Tensor:
        return mean_of(metric, *kept)

    def test(self, passes: Passes, table: Table, further: Further) -> Reached:
        """With one replicate. Without candidates the ranking of all items is the only one."""
        whole = {n: c for n, c in table.columns.items() if n != CANDIDATES}
        sampled, of_all = table, None
        if CANDIDATES in table.columns:
            sampled = replace(table, columns={n: c for n, c in table.columns.items() if n not in (POSITIVE, SEEN)})
            of_all = self._places(passes, replace(table, columns=whole, cold=None))[0] if further.full else None
        places, lie = self._places(passes, sampled)
        others = reranked(passes, table, further)
        if further.shuffled is not None:
            columns = {**sampled.columns, HISTORY: shuffled(table.columns[HISTORY], further.shuffled)}
            others[SHUFFLED] = self._places(passes, replace(sampled, columns=columns, cold=None))[0]
        return places, of_all, lie, others

    def outcome(self, method: str, unit: str, reached: Sequence[Reached], table: Table, trained: Replicates) -> ListOutcomes:
        full = [of_all for _, of_all, _, _ in reached if of_all is not None]
        sampled = joined([of_candidates for of_candidates, _, _, _ in reached], axis=0)
        lie = spread.together([lie for _, _, lie, _ in reached], axis=0)
        others = {name: joined([further[name] for *_, further in reached], axis=0) for name in reached[0][3]}
        return ListOutcomes(method, unit, sampled, joined(full, axis=0) if full else None, trained, lie, others)

    def pooled(
        self, method: str, name: str, parts: Sequence[tuple[ListOutcomes, list[int]]], trained: Replicates
    ) -> ListOutcomes:
        full = [_chosen(o.full, places) for o, places in parts if o.full is not None]
        sampled = joined([_chosen(o.sampled, places) for o, places in parts], axis=1)
        lie = spread.together([o.spread and o.spread.of(places) for o, places in parts], axis=1)
        others = {
            ranking: joined([_chosen(o.others[ranking], places) for o, places in parts], axis=1)
            for ranking in parts[0][0].others
            if all(ranking in o.others for o, _ in parts)
        }
        return ListOutcomes(method, name, sampled, joined(full, axis=1) if full else None, trained, lie, others)

    def tested(self, outcomes: Sequence[ListOutcomes], tables: Mapping[str, Mapping[str, Table]], groups: Groups) -> ListsTested:
        return ListsTested(outcomes, groups)

    def reached(
        self, measures: Mapping[str, Any], parts: Mapping[str, ListOutcomes], place: int, protocol: Mapping[str, str]
    ) -> dict[str, Any]:
        """Means over the unit's own lists. A unit with several parts, such as users with and without items, has the metrics of
        each: `few.auc`, `zero.auc`. What they were ranked among stands beside them.
        """
        means = {
            (f"{part}." if part else "") + metric: float(v[place].mean())
            for part, lists in parts.items()
            for metric, v in measure_lists.values(lists).items()
        }
        ranked = {"full": protocol.get("full"), **{part: protocol.get(f"candidates of {part}") for part in parts}}
        told = "; ".join([protocol["candidates"], *(f"{name}: {among}" for name, among in ranked.items() if among)])
        return {**means, "protocol": told} if means else {}

    def masks(self, store: Store, name: str, units: Mapping[str, Table]) -> dict[str, np.ndarray]:
        """Of cold and of warm items, by how often a row's item was taken in training."""
        if name not in (COLD, WARM):
            return {}
        positive = np.concatenate([table.columns[POSITIVE] for table in units.values()])
        return taken(store.items().count[positive])

    def protocol(self, data: DataOptions, store: Store) -> dict[str, str]:
        sequences = data.sequences
        assert sequences is not None
        whose, further = _of_domains(store)
        without = "" if sequences.repeats == "count" else f", without those that the user had taken before{further}"
        new = " and the cold ones" if data.split.kind == "cold_items" and not data.split.cold_kept else ""
        every = f"all items of the training split{new}{whose}{without}"
        how = f"drawn uniformly (seed {data.split.seed}), the same for every method"
        drawn = f"{sequences.negatives} items{whose} that the user never took, {how}"
        cold, rows, among = data.split, "all rows", dict[str, str]()
        if cold.kind == "cold_items":
            later = cold.cold_first > cold.cold_kept
            held = f"{cold.cold_held} behind the first {cold.cold_first}" if later else f"the next {cold.cold_held}"
            rows = (
                f"cold items: {cold.cold_kept} rows of each train, the later half of {held} tests; "
                "warm items: the last row of each user"
            )
            if cold.cold_most:
                rows = f"the last row of each user; cold items have {cold.cold_most} training rows at most"
            among = {f"candidates of {name}": f"all {kind}{without}" for name, kind in AMONG.items()}
        cohort = sequences.cold_users if sequences.tasks else rows
        if sequences.users:
            cohort += f" of at most {sequences.users:,} users of a domain, by a hash (seed {data.split.seed})"
        if sequences.ahead > 1:
            cohort += f", the last {sequences.ahead} of each user apart, each after what he took before it"
        if sequences.repeats == "leave_out":
            cohort += ", but none that repeats an item of its history"
        if not sequences.negatives:
            return {"candidates": every, "ranking": "full", **among, "cohort": cohort}
        return {"candidates": drawn, **({"full": every} if sequences.full else {}), **among, "cohort": cohort}

    def refusal(self, asked: Asked, unit: str, columns: Collection[str]) -> str:
        if asked == "predict":
            return f"predict: the artifact of {unit!r} predicts no attribute of users; ask `score` or `recommend`."
        if asked == "score" and ITEM not in columns:
            return (
                f"rows to score: there is no column item; there are {', '.join(columns) or 'none'}. Give one raw item id for "
                "each row, or ask `recommend` for the best of all items."
            )
        return ""

    def scored(self, logits: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """-inf for an item that training did not know: it cannot be ranked."""
        return np.where(columns[CANDIDATES] > 0, logits.reshape(-1, 1), -np.inf)[:, 0]

    def _places(self, passes: Passes, table: Table) -> tuple[Outcome, spread.Spread | None]:
        columns = {n: torch.as_tensor(table.columns[n]) for n in (POSITIVE, SEEN, DOMAIN) if n in table.columns}
        domains = None if table.item_domains is None else torch.as_tensor(table.item_domains)
        parts, kinds = [], []
        for rows, logits in passes(table, PASS):
            listed = _listed(logits.unsqueeze(0), columns, rows, domains)
            parts.append(outcome(listed))
            if table.cold is not None:
                cold = table.cold if POSITIVE in columns else table.cold[table.columns[CANDIDATES][rows, 1:]]
                kinds.append(spread.of_kinds(listed[0].numpy(), cold))
        better, ties, size = (torch.cat(each, dim=1).numpy() for each in zip(*parts, strict=True))
        return Outcome(better, ties, size[0]), spread.spread(kinds) if kinds else None


def _listed(logit: Tensor, columns: Mapping[str, Tensor], rows: Tensor, item_domains: Tensor | None) -> Tensor:
    """(U, n, K) scores of candidates as they are, the positive first; those of all items (U, n, V) as (U, n, V + 1), likewise."""
    if POSITIVE not in columns:
        return logit
    positive, seen, domain = (columns[name][rows] for name in (POSITIVE, SEEN, DOMAIN))
    return positive_first(logit, positive, seen, domain, item_domains)


def shuffled(histories: np.ndarray, seed: int) -> np.ndarray:
    """Histories (N, L), padded behind, each in a random order."""
    keys = np.random.default_rng(seed).random(histories.shape)
    return np.take_along_axis(histories, np.where(histories > 0, keys, 2).argsort(1, kind="stable"), 1)


def retrieved(passes: Passes, table: Table, most: int) -> np.ndarray:
    """(N, K) ids of the items that a model ranks first for each list, of all that may be recommended there, best first; K is
    `most`, and 0 stands behind where there are fewer.
    """
    columns = {n: torch.as_tensor(table.columns[n]) for n in (POSITIVE, SEEN, DOMAIN)}
    domains = None if table.item_domains is None else torch.as_tensor(table.item_domains)
    found = np.zeros((len(table), most), np.int64)
    for rows, logits in passes(replace(table, columns={n: c for n, c in table.columns.items() if n != CANDIDATES}), PASS):
        listed = _listed(logits.unsqueeze(0), columns, rows, domains)[0]
        scores = listed[:, 1:].scatter(1, columns[POSITIVE][rows].unsqueeze(1), listed[:, :1])
        best, ids = (part[:, :most] for part in scores.sort(dim=1, descending=True, stable=True))
        found[rows.numpy(), : ids.shape[1]] = ids.where(best > -torch.inf, 0).numpy()
    return found


def reranked(passes: Passes, table: Table, further: Further) -> dict[str, Outcome]:
    """Where the positives stand among what another method found (UPSR, section 4.4). One that is not among it stands behind it,
    with one candidate more: no reranking finds it again.

    Differs from the paper: which does not say what becomes of such a positive.
    """
    if further.retrieved is None:
        return {}
    ids = torch.as_tensor(np.concatenate([table.columns[POSITIVE][:, None], further.retrieved], axis=1))
    columns = {n: c for n, c in table.columns.items() if n not in (POSITIVE, SEEN)} | {CANDIDATES: ids.numpy()}
    parts: dict[int, list[tuple[Tensor, ...]]] = {size: [] for size in further.sizes}
    for rows, logits in passes(replace(table, columns=columns, item_domains=None, cold=None), PASS):
        is_positive = ids[rows, 1:] == ids[rows, :1]
        others = logits[:, 1:].masked_fill(is_positive | (ids[rows, 1:] == 0), -torch.inf)
        for size, found in parts.items():
            known = is_positive[:, :size].any(1, keepdim=True)
            better, ties = places(torch.cat([logits[:, :1].where(known, -torch.inf), others[:, :size]], 1).unsqueeze(0))
            real = (ids[rows, 1:][:, :size] > 0).sum(1) + ~known[:, 0]
            found.append((torch.where(known[:, 0], better, real.double() - 1), ties, real.expand(1, -1)))
    outcomes = {
        f"{BEST}{size}.": [torch.cat(each, 1).numpy() for each in zip(*found, strict=True)] for size, found in parts.items()
    }
    return {name: Outcome(better, ties, real[0]) for name, (better, ties, real) in outcomes.items()}


def joined(outcomes: Sequence[Outcome], axis: int) -> Outcome:
    """Of several replicates (axis 0), or of several parts of the lists (axis 1)."""
    better, ties = (np.concatenate([getattr(o, name) for o in outcomes], axis=axis) for name in ("better", "ties"))
    return Outcome(better, ties, np.concatenate([o.candidates for o in outcomes]) if axis else outcomes[0].candidates)


def _chosen(outcome: Outcome, places: list[int]) -> Outcome:
    return Outcome(outcome.better[places], outcome.ties[places], outcome.candidates)


def _of_domains(store: Store) -> tuple[str, str]:
    """Which items a list has and lacks, in words, where there are several domains."""
    if len(store.schema.domains) == 1:
        return "", ""
    return ("", ", or in another domain") if store.lookup.shared_items else (" of the list's domain", "")


def check_ranked(summary: Mapping[str, Any], schema: DataSchema) -> None:
    """Refuse histories of which a domain cannot be validated, or none tested, since no row of theirs is ranked.

    Raises:
        DataError: every domain, why its rows are not ranked, and what would rank them.
    """
    if schema.groups:
        return
    problems = [_unranked(name, "valid", summary) for name in schema.domains if not schema.rows[name, "valid"]]
    if not any(schema.rows[name, "test"] for name in schema.domains):
        problems += [_unranked(name, "test", summary) for name in schema.domains]
    if problems:
        twice = summary["interactions"]["duplicates"]
        log = f"; {twice:,} rows of the log repeat the user and item of another: look whether it was given twice" if twice else ""
        remedy = "Set data.sequences.repeats = 'count' to test and recommend what a user took before too, or change data.split"
        raise DataError([*problems, f"{remedy}{log}."])


def _unranked(name: str, split: Split, summary: Mapping[str, Any]) -> str:
    domain = summary["domains"][name]
    counts = {
        "repeat an item of their history": domain["repeats"][split],
        "have an item that training does not know": domain[f"users_without_{split}"],
    }
    why = " and ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"domain {name!r}: none of its {domain[split]['rows']:,} {split} rows can be ranked: {why}."
