"""Raw rows -> the store (see ARCHITECTURE.md, Data store).

Memory holds a block, a bucket, the distinct raw ids and the features of users and items, never all rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from raytune_rec.config import DataOptions
from raytune_rec.data.blocks import ROW_COLUMNS, SourceField
from raytune_rec.data.cold_users import HISTORY_COLUMNS
from raytune_rec.data.layout import BEGUN, MARKER, domain_file
from raytune_rec.data.preparing.order import ties
from raytune_rec.data.preparing.passes import Preparation, Tell
from raytune_rec.data.preparing.sequences import write_sequences
from raytune_rec.data.preparing.spill import Spill
from raytune_rec.data.preparing.summary import untested
from raytune_rec.data.preparing.tables import Rejects, write_json
from raytune_rec.data.schema_file import schema_values
from raytune_rec.data.sources.base import Source
from raytune_rec.errors import DataError
from raytune_rec.schema import ALL_DOMAINS, SPLITS, DataSchema
from raytune_rec.storage.listing import listing, lost, remove_files

STAGE = "prepare"
FORMAT = 3
"""Raised only when the same input gives another store."""

_PARTS = (
    "_spill/*.arrow",
    "interactions/*/part-*.parquet",
    "train/part-*.parquet",
    "vocabulary/*.parquet",
    "sequences/**/*.parquet",
)
_FILES = ("users.parquet", "items.parquet", "rejected.parquet", "schema.json", "summary.json", "*.json.part")
_WRITTEN = (*_PARTS, *_FILES)
"""What a preparation writes: that alone is removed before another."""


def stage_inputs(options: DataOptions, source: Source) -> dict[str, Any]:
    """What decides the store, as plain values: the job's options, the source's own, and its files."""
    chosen = options.model_dump(exclude={"options", *([] if options.sequences else ["sequences"])})
    if options.sequences and not options.sequences.warm:
        chosen["sequences"].pop("warm")
    if options.split.kind != "time":
        chosen["split"].pop("cut")
    if options.split.kind != "cold_users":
        chosen["split"] = {k: v for k, v in chosen["split"].items() if not k.startswith("cold")}
    if options.sequences and not options.sequences.predict:
        del chosen["sequences"]["predict"]
    inputs = {"options": chosen, "source": dict(source.fingerprint_inputs())}
    plain: dict[str, Any] = json.loads(json.dumps(inputs, default=str))
    return plain


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """16 hex digits of a store's inputs."""
    text = json.dumps({"format": FORMAT, **inputs}, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def trained(inputs: Mapping[str, Any]) -> str:
    """16 hex digits of what of a store's inputs decides ids and training rows: not what cold users do, or what is ranked."""
    options = dict(inputs["options"])
    if sequences := options.get("sequences"):
        served = ("repeats",) if sequences["repeats"] == "count" else ()  # what stands beside a backbone says what is recommended
        options["sequences"] = {name: sequences[name] for name in ("length", "windows", *served)}
    return fingerprint({**inputs, "options": options})


Check = Callable[[Mapping[str, Any], DataSchema], None]
"""Is given the summary and the schema of a store, and raises where the data will not do."""


def prepare(options: DataOptions, source: Source, out: Path, check: Check | None = None, tell: Tell = lambda doing: None) -> None:
    """Write the store of a job into the folder `out`, unless it is there.

    Args:
        check: is asked before the store counts as complete.
        tell: told what the preparation is at, in words, again and again.

    Raises:
        DataError: a file or column is missing, too many rows cannot be used, or `out` holds something else.
    """
    _check_fields(source.fields(), options.sequences is not None)
    inputs = stage_inputs(options, source)
    marker = {"stage": STAGE, "format": FORMAT, "inputs": inputs, "facts": {"fingerprint": fingerprint(inputs)}}
    if _is_done(out, marker):
        return
    try:
        _begin(out, marker)
        with Rejects(out / "rejected.parquet") as rejects, Spill(out / "_spill") as spill:
            schema, summary = Preparation(options, source, out, spill, rejects, fingerprint(inputs), tell).run()
        schema = replace(schema, trained=trained(inputs))
        if options.split.kind in ("leave_one_out", "cold_users"):
            for name in schema.domains:
                summary["domains"][name]["tied"] = ties(pq.read_table(domain_file(out, name), partitioning=None))
        if options.sequences is not None:
            tell("writing histories")
            schema, told = write_sequences(out, schema, options, source.shared_items)
            for name, counts in told.items():
                part = "domains" if name in schema.domains else "units"
                summary.setdefault(part, {}).setdefault(name, {}).update(counts)
        for name in () if schema.cohorts else schema.domains:
            if why := untested(summary["domains"][name], schema.rows[name, "test"], bool(schema.length)):
                summary["domains"][name]["untested"] = why
        if check is not None:
            check(summary, schema)
        values = {**schema_values(schema), "shared_items": source.shared_items}
        if options.sequences is not None:
            values["sequences"] = {"options": options.sequences.model_dump(mode="json"), "seed": options.split.seed}
        write_json(out / "schema.json", values)
        write_json(out / "summary.json", summary)
        write_json(out / MARKER, {**marker, "files": listing(out, files(out))})
        (out / BEGUN).unlink()
    except OSError as error:
        raise DataError(f"{out}: the store cannot be written ({error}); make room or choose another folder.") from None


def files(store: Path) -> list[Path]:
    """What a preparation wrote."""
    return [path for pattern in (*_WRITTEN, MARKER) for path in store.glob(pattern)]


def _is_done(out: Path, marker: Mapping[str, Any]) -> bool:
    if not (out / MARKER).exists():
        return False
    try:
        found = json.loads((out / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(found, dict) or not marker.keys() <= found.keys():  # damaged, so that nothing is known of the store
        return False
    changed = [part for part in _differences("", found, marker) if not part[0].startswith(("facts", "files"))]
    changes = [f"  {key}: {was} -> {now}" for key, was, now in changed]
    if changes:
        raise DataError([f"{out}: was prepared from something else; choose another folder, or undo the change:", *changes])
    return not lost(out, found.get("files", {}), every=True)


def _differences(key: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted(was.keys() | now.keys()):
            yield from _differences(f"{key}.{name}".strip("."), was.get(name), now.get(name))
    elif was != now:
        yield key, was, now


def _begin(out: Path, marker: Mapping[str, Any]) -> None:
    """An empty folder, or one that a preparation has left, interrupted or damaged since: only such a folder is ever cleared."""
    if out.exists() and any(out.iterdir()) and not _prepared(out):
        raise DataError(f"{out}: holds files that no preparation has written; empty the folder, or choose another.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / BEGUN, marker)
    (out / MARKER).unlink(missing_ok=True)
    remove_files(out, *_WRITTEN)


def _prepared(out: Path) -> bool:
    if (out / BEGUN).exists() or (out / MARKER).exists():
        return True
    try:
        return "fingerprint" in json.loads((out / "schema.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _check_fields(fields: tuple[SourceField, ...], histories: bool) -> None:
    reserved = {*ROW_COLUMNS, ALL_DOMAINS, *SPLITS, "raw", "count", "hash", "row", "id", *(HISTORY_COLUMNS if histories else ())}
    names = [f.name for f in fields]
    problems = [f"feature {n!r}: this name has a meaning of its own; choose another." for n in names if n in reserved]
    problems += [f"feature {n!r}: named twice." for n in sorted({n for n in names if names.count(n) > 1})]
    problems += [
        f"feature {f.name!r}: text belongs to users and items." for f in fields if f.kind == "text" and f.role == "context"
    ]
    problems += [f"feature {f.name!r}: a vector belongs to users." for f in fields if f.kind == "vector" and f.role != "user"]
    if problems:
        raise DataError(problems)
