"""Raw files -> the Parquet store."""

from __future__ import annotations

from typing import Any

from raytune_rec.artifacts.files import read_json
from raytune_rec.data import prepare as preparation
from raytune_rec.stages.context import Context

FORMAT = preparation.FORMAT


def inputs(context: Context) -> dict[str, Any]:
    return preparation.stage_inputs(context.job.data, context.source)


def run(context: Context) -> dict[str, Any]:
    preparation.prepare(context.job.data, context.source, context.store_path)
    schema = context.store.schema
    rows = {split: sum(n for (_, s), n in schema.rows.items() if s == split) for split in ("train", "valid", "test")}
    rejected = read_json(context.store_path / "summary.json").get("rejected", {})
    parts = ", ".join(f"{count:,} {split}" for split, count in rows.items())
    context.say(f"{sum(rows.values()):,} rows in {len(schema.domains)} domains ({parts})")
    return {"fingerprint": schema.fingerprint, "rows": rows, "rejected": rejected}
