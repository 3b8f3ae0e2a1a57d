"""How many steps a training makes. Below a few hundred most models stay as they were drawn."""

from __future__ import annotations

from collections.abc import Iterable

from raytune_rec.schema.prepared import ALL_DOMAINS, DataSchema
from raytune_rec.tuning.search.plan import Planned, training_rows

FEW = 300
"""Steps of a whole training below which a warning is told."""


def steps(schema: DataSchema, planned: Iterable[Planned]) -> list[str]:
    """Lines on the steps of methods or pre-trainings: the fewest among their units, and a warning for each that makes few.

    Args:
        schema: of prepared data, whose numbers of rows are known.
    """
    said: dict[tuple[str, int, int, int], list[str]] = {}
    for each in planned:
        if each.epochs and each.parts.trained_groups:
            unit, count = min(((unit, training_rows(schema, unit)) for unit in each.units), key=lambda entry: entry[1])
            said.setdefault((unit, count, each.base.training.batch_size, each.epochs), []).append(each.method.name)
    return [_line(names, *facts) for facts, names in said.items()]


def not_searched(schema: DataSchema, least: int) -> list[str]:
    """Lines on units that take what wins on another, one for each of these. least: `tune.least_valid`."""
    takers: dict[str, list[str]] = {}
    for unit, lender in schema.searched(least).items():
        if unit != lender:
            takers.setdefault(lender, []).append(unit)
    why = f"fewer than {least:,} validation rows (tune.least_valid)"
    return [f"not searched, for {why}: {', '.join(units)}; tuned with what wins on {lender}" for lender, units in takers.items()]


def _line(names: list[str], unit: str, rows: int, batch: int, epochs: int) -> str:
    of_epoch = -(-rows // batch)
    where = "all domains" if unit == ALL_DOMAINS else unit
    text = f"steps on {where}: {of_epoch:,} an epoch, at most {of_epoch * epochs:,} in all ({', '.join(names)})"
    if of_epoch * epochs >= FEW:
        return text
    return (
        f"warning: {text}; fewer than {FEW} leave most models untrained: lower training.batch_size ({batch}) or raise "
        f"training.epochs ({epochs})."
    )
