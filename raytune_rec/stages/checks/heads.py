"""The raw files of a job, looked at before it runs: the head of each is prepared in a folder of the caller's.

Small logs are read whole, so that what a preparation would refuse is refused here. Of larger ones the first rows of each file
tell what cannot be read, which domains there are, and the least of sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raytune_rec.components import component, options_of
from raytune_rec.data.preparing import preparation
from raytune_rec.data.sources.base import Source
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.job.data import DataOptions, SplitOptions
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.stages import prepare
from raytune_rec.storage.files import read_json, scratch

ROWS = 200_000
"""Of each file, at most."""


@dataclass(frozen=True)
class Looked:
    """What the heads of the files told.

    Args:
        schema: of the rows that were read; None where they cannot be prepared.
        lines: what stands out in them. problems: why a run would fail.
        summary: of the preparation; empty where there is none.
    """

    schema: DataSchema | None
    lines: list[str]
    problems: list[str]
    summary: dict[str, Any]


def look(data: DataOptions, metric: str | None, folders: Sequence[Path], store: Path) -> Looked | None:
    """What the raw files tell; None where their source reads none that it could stop in.

    Args:
        metric: of validation; None: whether there is enough to train and validate with is not asked.
        folders: of the user's own components.
        store: a folder that is made, with what was read as a preparation leaves it.
    """
    try:
        options = options_of("data.sources", data.source, data.options, folders)
        source = component("data.sources", data.source, folders)(options)
        head = source.head(ROWS) if hasattr(source, "head") else None
    except UserError as error:
        return Looked(None, [], list(error.problems), {})
    if head is None:
        return None
    seen = _prepared(data, metric, head, store)
    if not head.cut:
        return seen
    if seen.problems:  # too few rows of a kind may be for want of those that were not read
        simpler = data.model_copy(update={"split": SplitOptions(), "sequences": None, "text": None})
        with scratch() as folder:
            seen = replace(_prepared(simpler, None, head, folder / "data"), schema=None)
    more = f"at most {ROWS:,} rows of each file were looked at, and there are more: what follows of sizes is the least"
    return replace(seen, schema=seen.schema and replace(seen.schema, rows={}), lines=[*seen.lines, more])


def problems_of(data: DataOptions, folders: Sequence[str]) -> list[str]:
    """What is wrong with the files of a job whose other parts are wrong too. folders: of the user's own components."""
    with scratch() as place:
        seen = look(data, None, [Path(folder) for folder in folders], place / "data")
    return seen.problems if seen else []


def _prepared(data: DataOptions, metric: str | None, source: Source, store: Path) -> Looked:
    lines: list[str] = []
    try:
        if metric is None:
            preparation.prepare(data, source, store)
        else:
            prepare.make(data, metric, source, store, lines.append, lambda doing: None)
    except UserError as error:
        return Looked(None, lines, [problem.replace(f"{store.parent}/", "") for problem in error.problems], {})
    schema, summary = Store.open(store).schema, read_json(store / "summary.json")
    lines.append(prepare.sizes(schema))
    if rejected := summary["rejected_by_reason"]:
        lines.append(prepare.rejections(rejected))
    return Looked(schema, lines, [], summary)
