"""From the product's store and backbone to what the yardsticks in plain PyTorch read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.sweep.case import Case, job_of, packs_of, resolved_of
from benchmarks.sweep.method import Rows, method
from raytune_rec.data.stored.store import Store
from raytune_rec.training.loop import Trainer


def rows_of(case: Case) -> Rows:
    """The rows of the unit, with the backbone beside them."""
    from raytune_rec.artifacts import backbone
    from raytune_rec.data.stored.units import unit_data
    from raytune_rec.training.build import reads_by_id
    from raytune_rec.training.settings import method_of

    store, own, job = Store.open(case.store), method(case.prompt), job_of(case)
    _, tensors = backbone.load(case.backbones()[own.VARIANT], data=False)
    given = own.given(_trainers(case, store), case.epochs) if case.our_noise else None
    return own.plain_rows(
        store.schema, unit_data(store, own.UNIT, by_id=reads_by_id(job, method_of(job, own.ROW))), tensors, given
    )


def _trainers(case: Case, store: Store) -> Iterator[Trainer]:
    """The packs that the product would train."""
    from raytune_rec.training.build import build

    for pack in packs_of(replace(case, scratch=str(Path(case.scratch) / "given"))):
        yield build(resolved_of(case, job_of(case))[pack.method], pack, store, case.backbones())
