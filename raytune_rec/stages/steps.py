"""How many steps a training makes. Below a few hundred most models stay as they were drawn."""

from __future__ import annotations

from collections.abc import Iterable

from raytune_rec.config import Job
from raytune_rec.schema import ALL_DOMAINS, DataSchema, Lane
from raytune_rec.training.settings import PRETRAIN, method_of, settings
from raytune_rec.tuning.search.searches import training_rows

FEW = 300
"""Steps of a whole training below which a warning is told."""


def steps(job: Job, schema: DataSchema, names: Iterable[str]) -> list[str]:
    """Lines on the steps of methods or pre-trainings: the fewest among their units, and a warning for each that makes few.

    Args:
        schema: of prepared data, whose numbers of rows are known.
        names: of methods, `pretrain.<name>` for a pre-training.
    """
    said: dict[tuple[str, int, int, int], list[str]] = {}
    for name in names:
        method = method_of(job, name)
        if not method.strategy.train:
            continue
        training = settings(job, method, Lane(0)).training
        units = (ALL_DOMAINS,) if name.startswith(PRETRAIN) else schema.unit_names
        unit, count = min(((unit, training_rows(schema, unit)) for unit in units), key=lambda entry: entry[1])
        said.setdefault((unit, count, training.batch_size, training.epochs), []).append(name)
    return [_line(names, *facts) for facts, names in said.items()]


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
