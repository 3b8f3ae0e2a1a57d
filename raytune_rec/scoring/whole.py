"""Whole tables of rows, larger than memory: answered some rows at a time, and gone on after any end.

The result is a folder of parts beside the output until all are there; each is written whole or not at all, and belongs to the
rows of one file by its name. So a killed run goes on behind its last part, and each row is answered once, in its place.

Ray Data is not used: no row needs another, and what matters here, a restart behind the last part, it does not give.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.data.files.written import Written
from raytune_rec.data.stored.raw import UnknownColumns
from raytune_rec.errors import ArtifactError, DataError
from raytune_rec.scoring.base import Base
from raytune_rec.scoring.files import Block, blocks, form_of, identity, inputs
from raytune_rec.scoring.prompts import Prompts, artifacts_of
from raytune_rec.scoring.rows import Answers, Scores, Unknown
from raytune_rec.storage import claim
from raytune_rec.storage.files import STORAGE, read_json, write_json
from raytune_rec.storage.fingerprint import plain
from raytune_rec.storage.places import address, located

ROWS = {"score": 262_144, "recommend": 16_384}
"""Of a part: an answer is a number, or a list of items, each of them an object in memory."""
_FORMAT = 1
_BEGUN = "begun.json"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What is asked of every row.

    Args:
        what: `score` or `recommend`. k: items of a recommendation. unknown: as of `Scorer.score`.
        carry: columns that are no input and go into the answer as they are.
        written: how the cells of a CSV are written.
    """

    what: Literal["score", "recommend"] = "score"
    k: int = 10
    unknown: Unknown = "backbone"
    carry: tuple[str, ...] = ()
    written: Written = field(default_factory=Written)

    @property
    def adds(self) -> tuple[str, ...]:
        """The columns of an answer."""
        return ("score", "unknown") if self.what == "score" else ("items", "scores", "unknown")


def prompts_of(path: Path, folders: list[Path]) -> tuple[Prompts, dict[str, str]]:
    """The artifacts of a run, or of a folder of them, on their backbone; name -> sha256 of each, and of the backbone.

    Raises:
        ArtifactError: there are none, or they stand on several backbones.
    """
    backbone, artifacts = artifacts_of(path)
    prompts = Prompts(Base.loaded(backbone), folders)
    for name, folder in artifacts.items():
        prompts.add(name, folder)
    weights = {name: prompt_artifact.read(folder).weights_sha256 for name, folder in artifacts.items()}
    return prompts, {"": prompts.base.facts.weights_sha256, **weights}


def answer(prompts: Prompts, hashes: Mapping[str, str], asked: Asked, given: Path, out: Path, say: Say) -> None:
    """Answer every row of a table: the rows as they are, with further columns.

    `score` adds `score`, `recommend` `items` and `scores`; both `unknown`, the names of columns that held what training did not
    know, parted by blanks, empty where there were none.

    Args:
        hashes: of what answers.
        given: a Parquet or CSV file, or a folder of them. out: likewise; a folder gets a file of each file's name.
        say: shows a line.

    Raises:
        DataError: rows that cannot be read or answered; file, row and remedy.
        ArtifactError: something lies at `out` that no such command wrote, or wrote from something else.
    """
    if address(place := located(out)):
        raise DataError(f"--output {place}: an answer grows beside its parts, on a disk; name a path there, and copy it then.")
    files = inputs(given)
    folder = given.is_dir()
    targets = {file: out / file.name if folder else out for file in files}
    if not folder and out.suffix.lower() != given.suffix.lower():
        raise DataError(f"--output {out}: answers are written as the input is; give a name that ends in {given.suffix}.")
    if asked.what == "recommend" and files[0].suffix.lower() == ".csv":
        raise DataError(f"--input {given}: histories are lists, which CSV does not hold; give them as Parquet.")
    if out.is_dir() != folder and out.exists():
        raise DataError(f"--output {out}: is {'a file' if folder else 'a folder'}, unlike the input; name another one.")
    for file, target in targets.items():
        work = target.with_name(f".{target.name}.parts")
        with STORAGE.lease(work / claim.LOCK) as granted:
            if not granted:
                raise ArtifactError(f"{out}: another command writes it; wait until it has ended, or name another --output.")
            part = {"format": _FORMAT, "rows": ROWS[asked.what]}
            stands_on = plain({"of": hashes, "asked": asked, "input": identity(file), "part": part})
            try:
                _file(prompts, stands_on, asked, file, target, work, say)
            finally:
                _tidy(work)


def _file(prompts: Prompts, stands_on: Mapping[str, Any], asked: Asked, file: Path, target: Path, work: Path, say: Say) -> None:
    """One file."""
    mark = target.with_name(f".{target.name}.answers.json")
    written = read_json(mark) if mark.exists() else {}
    there = _state(target) if target.exists() else None
    if there and there not in (written.get("file"), written.get("replaced")):
        raise ArtifactError(f"{target}: is there, and no command of ours wrote it; name another --output, or move it away.")
    if there and there == written["file"] and written["stands_on"] == stands_on:
        _drop_parts(work)
        say(f"{target}: done already")
        return
    begun = work / _BEGUN
    if not begun.exists() or read_json(begun) != stands_on:
        _drop_parts(work)
        write_json(begun, stands_on)
    STORAGE.sweep(work)
    parts = _parts(work)
    rows = sum(pq.read_metadata(part).num_rows for part in parts)
    if parts:
        say(f"{target}: going on after {rows:,} rows")
    for number, block in enumerate(blocks(file, ROWS[asked.what], len(parts), asked.written.form), len(parts)):
        answers = _answered(prompts, asked, block)
        STORAGE.put(work / f"{number:06}.parquet", partial(pq.write_table, answers, compression="zstd"))
        rows += len(block.table)
        say(f"{target}: {rows:,} rows answered")
    if not rows:
        raise DataError(f"{file}: holds no rows; leave it out.")
    says = {"stands_on": stands_on, "rows": rows, "replaced": there}
    delimiter = form_of(file, asked.written.form).delimiter or "," if target.suffix.lower() == ".csv" else ""
    STORAGE.put(target, partial(_join, _parts(work), delimiter, mark, says))
    _drop_parts(work)
    say(f"{target}: {rows:,} rows written")


def _answered(prompts: Prompts, asked: Asked, block: Block) -> pa.Table:
    """Rows with their answers; raises DataError with the place of the first row that has none."""
    table = block.table
    problems = [f"there is no column {name!r} to carry; leave it out." for name in asked.carry if name not in table.column_names]
    problems += [f"column {name}: is called as an answer is; rename it." for name in asked.adds if name in asked.carry]
    twice = [name for name in asked.carry if table.column_names.count(name) > 1]
    problems += [f"column {name}: stands there twice; let each have a name of its own." for name in twice]
    if problems:
        raise DataError(f"{block.file}: {problem}" for problem in problems)
    rows = table.drop_columns(list(asked.carry))
    if block.file.suffix.lower() == ".csv":
        rows = asked.written.read(rows)
    try:
        return _with_answers(prompts, asked, table, rows)
    except UnknownColumns as error:
        kept = [f"--carry {shlex.quote(name)}" for name in error.names if name not in asked.adds]
        hint = [f"{' '.join(kept)}: keeps in the answers what is no input."] if kept else []
        raise DataError(f"{block.file}: {problem}" for problem in (*error.problems, *hint)) from None
    except DataError:
        first = _first_wrong(prompts, asked, rows)
        try:
            _with_answers(prompts, asked, table.slice(first, 1), rows.slice(first, 1))
        except DataError as error:
            raise DataError(f"{block.where(first)}: {problem}" for problem in error.problems) from None
        raise


def _with_answers(prompts: Prompts, asked: Asked, table: pa.Table, rows: pa.Table) -> pa.Table:
    answers: Scores | Answers
    if asked.what == "score":
        answers = prompts.score(rows, asked.unknown)
        made = [pa.array(np.asarray(answers))]
    else:
        answers = prompts.recommend(rows, asked.k, unknown=asked.unknown)
        made = [
            pa.array([[item for item, _ in row] for row in answers], pa.list_(pa.string())),
            pa.array([[score for _, score in row] for row in answers], pa.list_(pa.float64())),
        ]
    for name, column in zip(asked.adds, [*made, _marks(answers.unknown, len(table))], strict=True):
        table = table.append_column(name, column)
    return table


def _marks(unknown: Mapping[str, np.ndarray], count: int) -> pa.Array:
    """(N,) names of the columns that held what was not known."""
    marks = np.full(count, "", object)
    for name, mask in unknown.items():
        marks[mask] = [f"{mark} {name}".strip() for mark in marks[mask]]
    return pa.array(marks, pa.string())


def _first_wrong(prompts: Prompts, asked: Asked, rows: pa.Table) -> int:
    """The first row that cannot be answered, of rows of which one cannot."""
    first = 0
    while len(rows) > 1:
        half = len(rows) // 2
        try:
            _with_answers(prompts, asked, rows.slice(0, half), rows.slice(0, half))
            first, rows = first + half, rows.slice(half)
        except DataError:
            rows = rows.slice(0, half)
    return first


def _join(parts: list[Path], delimiter: str, mark: Path, says: Mapping[str, Any], target: Path) -> None:
    """One file of all parts, a part at a time; and its mark, before the file has its name: a command that is killed between the
    two would not know its own file again.

    Args:
        delimiter: of a CSV; empty: Parquet. Arrow writes one of a byte alone, and else a comma.
    """
    schema, byte = pq.read_schema(parts[0]), delimiter if delimiter.isascii() else ","
    csv = partial(pa.csv.CSVWriter, write_options=pa.csv.WriteOptions(delimiter=byte)) if delimiter else None
    with (csv or pq.ParquetWriter)(target, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part, schema=schema))
    write_json(mark, {**says, "file": _state(target)})


def _parts(work: Path) -> list[Path]:
    """Those that follow one another from the first."""
    return [path for i, path in enumerate(STORAGE.list(work, "*.parquet")) if path.name == f"{i:06}.parquet"]


def _drop_parts(work: Path) -> None:
    for part in STORAGE.list(work, "*.parquet"):
        STORAGE.delete(part)


def _tidy(work: Path) -> None:
    """Leave no folder of parts that has none."""
    if not STORAGE.list(work, "*.parquet"):
        for name in (_BEGUN, claim.LOCK):
            STORAGE.delete(work / name)
        STORAGE.prune(work)


def _state(path: Path) -> dict[str, int]:
    """What tells a file from any other that may stand in its place."""
    return {"bytes": path.stat().st_size, "modified": path.stat().st_mtime_ns}
