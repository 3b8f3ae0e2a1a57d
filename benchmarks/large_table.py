"""`raytune-rec score` on a table of any size: rows per second, peak memory, and each row once though it is killed half-way.

    python -m benchmarks.large_table RUN FOLDER [--rows 5000000] [--out FILE]

RUN is a finished run of labelled rows. A Parquet file of made-up rows (number, domain, user, item) is written into FOLDER and
scored by the command, which is killed once half of the parts are there (SIGKILL) and called again. Then the result is read beside
the input, some rows at a time: the same rows in the same order, and a score for each; else the exit code is 1. Memory is the
largest resident set of both commands.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.mistakes import at_least
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import UserError
from raytune_rec.scoring.prompts import artifacts_of
from raytune_rec.scoring.whole import ROWS
from raytune_rec.storage.files import STORAGE, write_json

_BLOCK = 500_000


def write(path: Path, backbone: Path, names: list[str], rows: int) -> None:
    """The table, a row group at a time; each item in its domain where domains have items of their own."""
    store, draw = Store.open(backbone / "data", complete=False), np.random.default_rng(0)
    users, (items, domains) = store.vocabulary("user")["raw"].to_numpy(), store.lookup.catalogue
    of_item = np.array(["", *store.schema.domains], object)[domains]
    schema = pa.schema([("number", pa.int64()), *((name, pa.string()) for name in ("domain", "user", "item"))])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, _BLOCK):
            count = min(_BLOCK, rows - first)
            item = draw.integers(1, len(items), count)
            domain = np.where(domains[item] > 0, of_item[item], draw.choice(np.array(names, object), count))
            columns = {"domain": domain, "user": draw.choice(users, count), "item": items[item]}
            writer.write_table(pa.table({"number": np.arange(first, first + count), **columns}, schema))


def blocks(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as source:
        yield from map(pa.Table.from_batches, ([batch] for batch in source.iter_batches(65_536)))


def problems(given: Path, answered: Path) -> list[str]:
    """What is wrong with an answer."""
    counts = [pq.read_metadata(path).num_rows for path in (given, answered)]
    if counts[0] != counts[1]:
        return [f"{counts[1]:,} rows are answered, of {counts[0]:,}"]
    first = 0
    for rows, answer in zip(blocks(given), blocks(answered), strict=True):
        if answer.select(rows.column_names) != rows:
            return [f"the rows behind {first:,} are others"]
        scores = answer["score"].to_numpy()
        if not ((scores > 0) & (scores < 1)).all():
            return [f"behind {first:,} there are rows without a score"]
        first += len(rows)
    return []


def scored(run: Path, given: Path, out: Path, kill_at: int = 0) -> float:
    """Seconds of the command; it is killed when so many parts are there (0: never)."""
    words = [sys.executable, "-m", "raytune_rec", "score", str(run), "--input", str(given), "--output", str(out)]
    begun = time.perf_counter()
    process = subprocess.Popen([*words, "--carry", "number"], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if kill_at and len(STORAGE.list(out.with_name(f".{out.name}.parts"), "*.parquet")) >= kill_at:
            process.kill()
        time.sleep(0.05)
    if process.returncode not in ((0, -signal.SIGKILL) if kill_at else (0,)):
        raise SystemExit(process.returncode)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=at_least(1), default=5_000_000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    try:
        backbone, artifacts = artifacts_of(asked.run)
    except UserError as error:
        parser.error(str(error))
    STORAGE.make_folder(asked.folder)
    given, out = asked.folder / "rows.parquet", asked.folder / "scores.parquet"
    write(given, backbone, list(artifacts), asked.rows)
    STORAGE.delete(out)
    half = max(1, asked.rows // ROWS["score"] // 2)
    seconds = [scored(asked.run, given, out, half)]
    kept = STORAGE.list(out.with_name(f".{out.name}.parts"), "*.parquet")
    seconds.append(scored(asked.run, given, out))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures: dict[str, Any] = {
        "rows": asked.rows, "bytes of the table": given.stat().st_size, "prompts": len(artifacts),
        "rows that the killed command left": len(kept) * ROWS["score"], "problems": problems(given, out),
        "rows per s": asked.rows / sum(seconds), "rows per processor second": asked.rows / (used.ru_utime + used.ru_stime),
        "peak MiB": used.ru_maxrss / 1024, "load": os.getloadavg()[0], "processors": os.cpu_count(),
    }  # fmt: skip
    print(json.dumps(figures, indent=2))
    if asked.out:
        write_json(asked.out, figures)
    if figures["problems"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
