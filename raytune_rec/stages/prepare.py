"""Raw files -> the Parquet store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_rec.data.preparing import preparation
from raytune_rec.data.sources.base import Source
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.job.data import DataOptions, SplitOptions
from raytune_rec.report.tables import item_texts
from raytune_rec.report.words import counted
from raytune_rec.schema.prepared import SPLITS, DataSchema
from raytune_rec.stages.context import Context
from raytune_rec.stages.notes import notes
from raytune_rec.storage.files import read_json
from raytune_rec.task import GROUPS, Unit
from raytune_rec.tasks.kinds import kind_of

FORMAT = preparation.FORMAT
RESUMES = False
"""An interrupted preparation leaves nothing to go on from, so a mended option may follow it in the same folder."""
Say = Callable[[str], None]


def inputs(context: Context) -> dict[str, Any]:
    return context.log


def outputs(context: Context) -> list[Path]:
    return preparation.files(context.store_path)


def run(context: Context) -> dict[str, Any]:
    data = context.job.data
    make(data, context.job.training.metric, context.source, context.store_path, context.say, context.at)
    schema, summary = context.store.schema, read_json(context.store_path / "summary.json")
    context.say(sizes(schema))
    for unit in schema.groups:
        counts = ", ".join(f"{schema.rows[unit.name, split]:,} {split}" for split in SPLITS)
        context.say(f"{unit.name}: {GROUPS[unit.kind]}, {counts}")
    rejected: dict[str, int] = summary["rejected_by_reason"]
    if rejected:
        context.say(f"{rejections(rejected)}, see {context.store_path / 'rejected.parquet'}")
    for line in item_texts.lines(summary.get("item_texts", {})):
        context.say(line)
    return {"fingerprint": schema.fingerprint, "rows": _rows(schema), "rejected": rejected}


def make(data: DataOptions, metric: str, source: Source, out: Path, say: Say, at: Say) -> None:
    """The store of a source's rows, or of some of them.

    Args:
        metric: of validation.
        say: is told what stands out. at: what is done now.

    Raises:
        DataError: the data will not do.
    """

    def check(summary: Mapping[str, Any], schema: DataSchema) -> None:
        if whose := getattr(source, "cohort", ""):
            say(whose)
        for line in notes(summary, data):  # before a refusal, whose reasons they may be
            say(line)
        check_units(summary, metric, data.split)
        check_groups(schema, bool(data.known))
        kind_of(data.task).check(summary, Store.of(out, schema, source.shared_items, data.sequences, data.split.seed), data)

    preparation.prepare(data, source, out, check, at)


def sizes(schema: DataSchema) -> str:
    """How many rows there are, of which split."""
    rows = _rows(schema)
    parts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    of = kind_of(schema.task).examples
    return f"{sum(rows.values()):,} {of} in {counted(len(schema.domains), 'domain')} ({parts})"


def _rows(schema: DataSchema) -> dict[str, int]:
    return {split: sum(schema.rows[domain, split] for domain in schema.domains) for split in SPLITS}


def rejections(rejected: Mapping[str, int]) -> str:
    """How many rows were rejected, and why. rejected: rows by reason."""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in rejected.items())
    what = "row was" if sum(rejected.values()) == 1 else "rows were"
    return f"{sum(rejected.values()):,} {what} rejected ({reasons})"


def check_units(summary: Mapping[str, Any], metric: str, split: SplitOptions | None = None) -> None:
    """Refuse data on which a domain can be neither trained nor validated, or nothing tested.

    Raises:
        DataError: every domain that lacks rows, or a class where the metric needs both.
    """
    problems = []
    for name, domain in summary["domains"].items():
        valid = domain["valid"]
        problems += [f"domain {name!r}: no row to {word} with." for split, word in _NEEDED if not domain[split]["rows"]]
        if metric == "auc" and valid["rows"] and valid["positives"] in (0, valid["rows"]):
            problems.append(
                f"domain {name!r}: its {valid['rows']} validation rows have one label, and AUC needs both; "
                "validate with more rows, or set training.metric = 'logloss'."
            )
    if not any(domain["test"]["rows"] for domain in summary["domains"].values()):
        problems.append("no domain has a test row.")
    if problems:
        apart = split is not None and split.kind == "time" and split.cut == "all" and len(summary["domains"]) > 1
        remedy = "Set data.split.cut = 'each', which cuts every domain at its own times, change" if apart else "Change"
        if split is not None and split.kind == "cold_items" and not split.cold_most:
            remedy = "Lower data.split.cold or raise data.split.cold_least, so that more items stay warm, change"
        raise DataError([*problems, f"{remedy} data.split, or leave these domains out."])


def check_groups(schema: DataSchema, grown: bool = False) -> None:
    """Refuse folds of cold users, and groups of cold items, of which no row trains (of new items none does), validates or tests.

    Args:
        grown: the items came after a finished run.

    Raises:
        DataError: every unit that lacks rows.
    """
    needed = zip(SPLITS, ("train", "validate", "test"), strict=True)
    lacking = {word: [unit for unit in schema.groups if split in schema.lacking(unit)] for split, word in needed}
    if any(lacking.values()):
        problems = [_without(units, len(schema.groups), word) for word, units in lacking.items() if units]
        remedies = {
            "fold": "Make more users cold (data.split), raise data.sequences.valid, or lower data.sequences.folds.",
            "items": "Make more items cold, raise cold_held or cold_most (data.split), or lower data.sequences.item_groups.",
        }
        if grown:
            remedies["items"] = "Wait for more rows of them, lower data.split.cold_kept, or lower data.sequences.item_groups."
        kinds = dict.fromkeys(unit.kind for units in lacking.values() for unit in units)
        remedy = " ".join(remedies[kind] for kind in kinds)
        raise DataError([*problems, remedy])


def _without(units: Sequence[Unit], of: int, word: str) -> str:
    """units: those without rows. of: how many there are."""
    more = f" The same holds for {len(units) - 1:,} more of {of:,}, up to {units[-1].name}." if len(units) > 1 else ""
    return f"unit {units[0].name!r}: no row of {GROUPS[units[0].kind]} to {word} with.{more}"


_NEEDED = (("train", "train"), ("valid", "validate"))
