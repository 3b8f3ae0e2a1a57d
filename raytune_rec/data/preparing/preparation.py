"""Raw rows -> the store (see ARCHITECTURE.md, Data store).

Memory holds a block, a bucket, the distinct raw ids and the features of users and items, never all rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from raytune_rec.data.blocks import ROW_COLUMNS, SourceField
from raytune_rec.data.layout import domain_file
from raytune_rec.data.preparing.coding.known import Known
from raytune_rec.data.preparing.coding.texts import measured, write_texts
from raytune_rec.data.preparing.coding.vectors import encoder_option, vectors_of, write_vectors
from raytune_rec.data.preparing.disk.spill import Spill
from raytune_rec.data.preparing.disk.tables import Rejects
from raytune_rec.data.preparing.order import backwards, ties
from raytune_rec.data.preparing.passes import Preparation, Tell
from raytune_rec.data.preparing.sequences import write_sequences
from raytune_rec.data.preparing.summary import untested
from raytune_rec.data.schema_file import schema_values
from raytune_rec.data.sources.base import Source
from raytune_rec.data.text.encoders import fingerprints
from raytune_rec.data.tokens import file_of, phrases_of
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.job.data import UNIGRAM, DataOptions, SequenceOptions
from raytune_rec.schema.prepared import ALL_DOMAINS, BESIDE, SPLITS, DataSchema
from raytune_rec.storage.files import STORAGE, read_json, write_json
from raytune_rec.storage.listing import listing, lost, remove_files
from raytune_rec.storage.marker import MARKER, begun, complete
from raytune_rec.storage.stage import Stage

STAGE = "prepare"
FORMAT = 4
"""Raised only when the same input gives another store."""
_TRAINED = 3
"""Raised only when it gives other ids or training rows."""

_PARTS = (
    "_spill/*.arrow",
    "interactions/*/part-*.parquet",
    "train/part-*.parquet",
    "vocabulary/*.parquet",
    "sequences/**/*.parquet",
    "texts/*",
)
_FILES = ("users.parquet", "items.parquet", "rejected.parquet", "schema.json", "summary.json", ".*.json.*.tmp")
_WRITTEN = (*_PARTS, *_FILES)
"""What a preparation writes: that alone is removed before another."""


def stage_inputs(options: DataOptions, source: Source) -> dict[str, Any]:
    """What decides the store, as plain values: the job's options, the source's own, and its files."""
    chosen = options.model_dump(exclude={"options", *(name for name in ("sequences", "text") if getattr(options, name) is None)})
    if options.sequences and not options.sequences.warm:
        chosen["sequences"].pop("warm")
    if options.split.kind != "time":
        chosen["split"].pop("cut")
    of_items = ("cold_most",) if options.split.cold_most else ("cold", "cold_least", "cold_kept", "cold_held", "cold_from")
    of_kind = {"cold_users": ("cold", "cold_below"), "cold_items": of_items}
    read = [name for name in of_kind.get(options.split.kind, ()) if name != "cold_from" or options.split.cold_from]
    chosen["split"] = {k: v for k, v in chosen["split"].items() if not k.startswith("cold") or k in read}
    if options.sequences and options.split.kind != "cold_items":
        for name in ("item_groups", "grouped_by"):
            del chosen["sequences"][name]
    if options.sequences:
        for name in ("predict", "users", "valid_users", "ahead"):
            if chosen["sequences"][name] == SequenceOptions.model_fields[name].default:
                del chosen["sequences"][name]
    if chosen.pop("known"):
        chosen["known"] = Known(options.known).schema.fingerprint
    inputs: dict[str, Any] = {"options": chosen, "source": dict(source.fingerprint_inputs())}
    if options.text is not None:
        if not options.text.items:
            del chosen["text"]["items"]
        if not options.text.vectors:
            del chosen["text"]["vectors"]
        for name, vector in options.text.vectors.items():
            inputs[f"encoder of {name}"] = fingerprints(vector.encoder, encoder_option(name))
        if options.text.tokenizer != UNIGRAM:
            del chosen["text"]["vocabulary"]
        inputs["tokenizer"] = hashlib.sha256(file_of(options.text.tokenizer)).hexdigest()
    plain: dict[str, Any] = json.loads(json.dumps(inputs, default=str))
    return plain


def fingerprint(inputs: Mapping[str, Any], format: int = FORMAT) -> str:
    """16 hex digits of a store's inputs."""
    text = json.dumps({"format": format, **inputs}, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def trained(inputs: Mapping[str, Any]) -> str:
    """16 hex digits of what of a store's inputs decides ids and training rows: not what cold users do, or what is ranked."""
    options = dict(inputs["options"])
    options["split"] = {name: value for name, value in options["split"].items() if name != "cold_from"}
    if sequences := options.get("sequences"):
        served = ("repeats",) if sequences["repeats"] == "count" else ()  # what stands beside a backbone says what is recommended
        held = ("ahead",) if "ahead" in sequences else ()
        options["sequences"] = {name: sequences[name] for name in ("length", "windows", *held, *served)}
    return fingerprint({**inputs, "options": options}, _TRAINED)


Check = Callable[[Mapping[str, Any], DataSchema], None]
"""Is given the summary and the schema of a store, and raises where the data will not do."""


def prepare(options: DataOptions, source: Source, out: Path, check: Check | None = None, tell: Tell = lambda doing: None) -> None:
    """Write the store of a job into the folder `out`, unless it is there.

    Args:
        check: is asked before the store counts as complete.
        tell: told what the preparation is at, in words, again and again.

    Raises:
        DataError: a file or column is missing, or too many rows cannot be used; or no text is what `data.text` asks for.
        ArtifactError: `out` holds something else.
    """
    _check_fields(source.fields(), options.sequences is not None)
    if options.text is not None:
        vectors_of(source.fields(), options.text)
    known = Known(options.known) if options.known else None
    inputs = stage_inputs(options, source)
    stage = Stage(out, STAGE, inputs, FORMAT)
    if _is_done(stage):
        return
    try:
        _begin(stage)
        with Rejects(out / "rejected.parquet") as rejects, Spill(out / "_spill") as spill:
            schema, summary = Preparation(options, source, out, spill, rejects, fingerprint(inputs), tell, known).run()
        schema = replace(schema, trained=known.schema.trained if known else trained(inputs))
        if options.split.kind in ("leave_one_out", "cold_users", "cold_items"):
            for name in schema.domains:
                rows = pq.read_table(domain_file(out, name), partitioning=None)
                summary["domains"][name] |= {"tied": ties(rows), "backwards": backwards(rows)}
        if options.sequences is not None:
            tell("writing histories")
            schema, told = write_sequences(out, schema, options, source.shared_items, known)
            for name, counts in told.items():
                part = "domains" if name in schema.domains else "units"
                summary.setdefault(part, {}).setdefault(name, {}).update(counts)
        for name in () if schema.groups else schema.domains:
            if why := untested(summary["domains"][name], schema.rows[name, "test"], schema.task.histories):
                summary["domains"][name]["untested"] = why
        if options.text is not None:
            tell("cutting texts into tokens")
            of_run = known.tokenizer if known else None
            texts, tokenizer, summary["texts"] = write_texts(out, source.fields(), options.text, source.shared_items, of_run)
            if known:
                known.check_texts(texts, {name: vector.width for name, vector in options.text.vectors.items()})
            schema = replace(schema, texts=texts, tokenizer=tokenizer.fingerprint, phrases=phrases_of(tokenizer))
            schema = replace(
                schema, vectors=write_vectors(out, source.fields(), options.text, tell, known.path if known else None)
            )
            tell("measuring what texts are worth")
            summary["item_texts"] = measured(out, source.fields(), options.text, source.shared_items)
        if check is not None:
            check(summary, schema)
        values = {**schema_values(schema), "shared_items": source.shared_items}
        if columns := dict(getattr(source, "columns", {})):
            values["columns"] = columns
        if options.sequences is not None:
            values["sequences"] = {"options": options.sequences.model_dump(mode="json"), "seed": options.split.seed}
        write_json(out / "schema.json", values, sort=False)
        write_json(out / "summary.json", summary, sort=False)
        STORAGE.publish(out)
        stage.finish({"fingerprint": schema.fingerprint}, listing(out, files(out)))
    except OSError as error:
        raise DataError(f"{out}: the store cannot be written ({error}); make room or choose another folder.") from None


def files(store: Path) -> list[Path]:
    """What a preparation wrote."""
    return STORAGE.list(store, *_WRITTEN, MARKER)


def _is_done(stage: Stage) -> bool:
    """False too where the marker is damaged or files are lost: then the store is made anew.

    Raises:
        ArtifactError: it was prepared from something else.
    """
    try:
        written = stage.files()
        stage.facts()
    except ArtifactError:
        return False
    return stage.done() and not lost(stage.folder, written, every=True)


def _begin(stage: Stage) -> None:
    """An empty folder, or one that a preparation has left, interrupted or damaged since: only such a folder is ever cleared."""
    if _prepared(stage.folder):
        stage.reopen()
    else:
        stage.begin()
    remove_files(stage.folder, *_WRITTEN)


def _prepared(out: Path) -> bool:
    try:
        return complete(out) or begun(out) or "fingerprint" in read_json(out / "schema.json")
    except (ArtifactError, TypeError):
        return False


def _check_fields(fields: tuple[SourceField, ...], histories: bool) -> None:
    reserved = {*ROW_COLUMNS, ALL_DOMAINS, *SPLITS, "raw", "count", "hash", "row", "id", *(BESIDE if histories else ())}
    names = [f.name for f in fields]
    problems = [f"feature {n!r}: this name has a meaning of its own; choose another." for n in names if n in reserved]
    problems += [f"feature {n!r}: named twice." for n in sorted({n for n in names if names.count(n) > 1})]
    problems += [
        f"feature {f.name!r}: text belongs to users and items." for f in fields if f.kind == "text" and f.role == "context"
    ]
    problems += [f"feature {f.name!r}: a vector belongs to users." for f in fields if f.kind == "vector" and f.role != "user"]
    if problems:
        raise DataError(problems)
