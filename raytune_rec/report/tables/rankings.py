"""The page's tables of ranking metrics, one for each unit and ranking: sampled and full rankings never share one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_rec.evaluation.measures.measure_lists import BEST, FULL, SHUFFLED
from raytune_rec.report import words
from raytune_rec.report.run import Run, own, title
from raytune_rec.report.tables.web import Cell, Line, WebTable

METRICS = ("auc", "hit@1", "hit@5", "ndcg@5", "hit@10", "ndcg@10", "hit@20", "ndcg@20", "hit@50", "ndcg@50")
"""As the tables of papers on sequential recommendation have them; NDCG@1 is HIT@1."""


def tables(run: Run, colour: Mapping[str, str]) -> list[tuple[str, WebTable]]:
    """(heading, table): first those among the protocol's candidates, then those among all items, then those of what another
    method found, of the units on which that was measured. None where rows with labels were tested."""
    if not run.lists:
        return []
    measured_units = [
        (unit, prefix) for prefix in prefixes(run.results) for unit in run.units if measured(run.results, unit, prefix)
    ]
    return [(heading(run.results, unit, prefix), _table(run, colour, unit, prefix)) for unit, prefix in measured_units]


def prefixes(results: Mapping[str, Any]) -> list[str]:
    """What stands in front of the metrics of each ranking."""
    every = {name for facts in results["units"].values() for name in facts}
    best = sorted((name.removesuffix("_found") for name in every if name.endswith("_found")), key=lambda n: int(n.split()[1]))
    return ["", FULL, *(f"{name}." for name in best)]


def metrics(results: Mapping[str, Any], unit: str, prefix: str) -> list[str]:
    """The columns of a ranking: beside the protocol's candidates also what shuffled histories reach. Left out is what stands in
    the first table, with its interval, and what lists are too short for: of at most ten candidates every order has a HIT@10 of 1,
    and an NDCG@20 that is its NDCG@10."""
    shuffled = [] if prefix else [SHUFFLED + name for name in ("hit@10", "ndcg@10")]
    known = {name for measures in measured(results, unit, prefix).values() for name in measures}
    usual = [name for name in METRICS if (prefix or name != own(results)) and not _too_short(results, unit, prefix, name)]
    return [*usual, *(name for name in shuffled if name in known)]


def _too_short(results: Mapping[str, Any], unit: str, prefix: str, name: str) -> bool:
    """Whether the longest list of a ranking decides a metric, or makes it that of a smaller cut. Among what another method found
    positives may be missing, so that nothing is decided."""
    metric, _, cut = name.partition("@")
    facts, key = results["units"][unit], prefix.replace(".", "_")
    longest = facts[f"{key}candidates"][1] if f"{key}found" not in facts else math.inf
    cuts = [int(other.partition("@")[2]) for other in METRICS if other.startswith(f"{metric}@")]
    return bool(cut) and (int(cut) >= longest if metric == "hit" else any(longest <= smaller < int(cut) for smaller in cuts))


def heading(results: Mapping[str, Any], unit: str, prefix: str) -> str:
    return f"{unit}: {_kind(results, unit, prefix)}"


def _kind(results: Mapping[str, Any], unit: str, prefix: str) -> str:
    protocol = results["protocol"]
    if prefix.startswith(BEST):
        return f"reranking ({prefix.removesuffix('.')})"
    kind = "full" if prefix or _own(unit) in protocol else protocol.get("ranking", "sampled")
    return f"{kind} ranking"


def values(results: Mapping[str, Any], unit: str, prefix: str) -> dict[str, list[tuple[float | None, float | None, bool]]]:
    """Method -> (mean, sd, whether it is the best) of each of `metrics`; empty where it was not measured. Where all are equal
    there is no best."""
    names = metrics(results, unit, prefix)
    means = {method: [m.get(prefix + name, {}) for name in names] for method, m in measured(results, unit, prefix).items()}
    known = [[row[i]["mean"] for row in means.values() if row[i].get("mean") is not None] for i in range(len(names))]
    best = [max(column) if len(set(column)) > 1 else None for column in known]
    return {
        method: [
            (v.get("mean"), v.get("sd"), v.get("mean") is not None and v["mean"] == best[i])
            for i, v in enumerate(means.get(method, []))
        ]
        for method in results.get("method_order") or results["methods"]
    }


def candidates(results: Mapping[str, Any], unit: str, prefix: str) -> str:
    """The ranking's protocol in words, and what a constant score reaches."""
    protocol, facts = results["protocol"], results["units"][unit]
    key = prefix.replace(".", "_")
    told = "best" if prefix.startswith(BEST) else "full"
    said = protocol.get(told, "all items") if prefix else protocol.get(_own(unit), protocol["candidates"])
    least, most = facts[f"{key}candidates"]
    said += f" ({words.count(least) if least == most else f'{words.count(least)} to {words.count(most)}'} a list)"
    if (found := facts.get(f"{key}found")) is not None:
        said += f"; {words.percent(found)} of the positives are among them"
    constant = facts.get(f"{key}constant", {})
    reached = ", ".join(f"{title(name)} {words.fixed(value)}" for name, value in constant.items())
    return said + (f"; a constant score reaches {reached}" if reached else "")


def _own(unit: str) -> str:
    """The fact of the protocol that tells a table's own candidates, where it has some."""
    return f"candidates of {unit}"


def measured(results: Mapping[str, Any], unit: str, prefix: str) -> dict[str, Mapping[str, Any]]:
    """Method -> its measures on a unit, of the methods that were measured there with this ranking."""
    measured_units = {method: facts["units"].get(unit, {}) for method, facts in results["methods"].items()}
    return {method: m for method, m in measured_units.items() if f"{prefix}auc" in m}


def _table(run: Run, colour: Mapping[str, str], unit: str, prefix: str) -> WebTable:
    shown, names = values(run.results, unit, prefix), metrics(run.results, unit, prefix)
    lines = [Line(method, colour[method], "", _cells(row, len(names))) for method, row in shown.items()]
    repeated = any(sd is not None for row in shown.values() for _, sd, _ in row)
    means = "lists and replicates, with the standard deviation over replicates below it" if repeated else "lists"
    protocol, facts = run.results["protocol"], run.results["units"][unit]
    users = "" if facts.get("users") is None else f" of {words.count(facts['users'])} users"
    caption = (
        f"{_kind(run.results, unit, prefix).capitalize()} of {words.count(facts['n'])} test lists{users}; candidates: "
        f"{candidates(run.results, unit, prefix)}; split: {protocol['split']}; cohort: {protocol['cohort']}; "
        f"ties: {protocol['ties']}. Mean over {means}; the best of a column is bold.{words.tied(run.results, unit, ' ')}"
    )
    return WebTable(caption, ["method", *(title(name) for name in names)], lines)


def _cells(values: Sequence[tuple[float | None, float | None, bool]], count: int) -> list[Cell]:
    if not values:
        return [Cell(words.NONE)] * count
    return [Cell(words.fixed(mean), f"sd {words.fixed(sd)}" if sd is not None else "", best) for mean, sd, best in values]
