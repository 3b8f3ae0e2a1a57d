"""How fast, and in how much memory, a log larger than memory is prepared.

`python -m benchmarks.prepare_large --rows 20000000` writes a made-up CSV (a block at a time) into a temporary folder,
prepares it in a process of its own and prints JSON: seconds (wall clock and processor), rows per second and the peak of
that process's resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.mistakes import at_least, told

_BLOCK = 250_000


def write_log(path: Path, rows: int, users: int, items: int, seed: int) -> None:
    """A CSV with domain, user, item, label and timestamp; popularity falls off as in real logs."""
    g = np.random.default_rng(seed)
    names = [pa.array([f"{letter}{n:07d}" for n in range(count)]) for letter, count in (("u", users), ("i", items))]
    domains = pa.array(["feed", "search", "banner"])
    schema = pa.schema([(n, pa.string()) for n in ("domain", "user", "item")] + [(n, pa.int64()) for n in ("label", "timestamp")])
    with pa.csv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, _BLOCK):
            count = min(_BLOCK, rows - start)
            ids = [(size * g.random(count) ** 2).astype(np.int64) for size in (users, items)]
            columns = [
                domains.take(pa.array(g.choice(3, count, p=[0.6, 0.3, 0.1]))),
                *(column.take(pa.array(places)) for column, places in zip(names, ids, strict=True)),
                pa.array(g.integers(0, 2, count)),
                pa.array(1_600_000_000 + start + np.arange(count)),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def prepare_log(log: Path, out: Path, kind: str) -> None:
    """What the child process does; prints its figures."""
    from raytune_rec.data.preparing.preparation import prepare
    from raytune_rec.data.sources.tabular import Tabular
    from raytune_rec.job.data import DataOptions, SplitOptions

    names = ("domain", "user", "item", "label", "timestamp")
    source = Tabular(Tabular.Options(files=str(log), columns={n: n for n in names}))
    start = time.perf_counter()
    prepare(DataOptions(source="tabular", split=SplitOptions(kind=kind)), source, out)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss / 1024  # Linux counts KiB
    print(
        json.dumps(
            {"seconds": round(seconds, 1), "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_rss_mib": round(peak)}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=at_least(1), default=20_000_000)
    parser.add_argument("--users", type=at_least(1), default=200_000)
    parser.add_argument("--items", type=at_least(1), default=100_000)
    parser.add_argument("--split", default="hash", choices=["hash", "leave_one_out", "time"])
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--folder", type=Path, help="where the temporary files go")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        prepare_log(*arguments.child, arguments.split)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        log, out = Path(folder) / "log.csv", Path(folder) / "store"
        write_log(log, arguments.rows, arguments.users, arguments.items, arguments.seed)
        command = [sys.executable, "-m", "benchmarks.prepare_large", "--split", arguments.split, "--child", str(log), str(out)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        kept = json.loads((out / "summary.json").read_text(encoding="utf-8"))["interactions"]["kept"]
        facts = {"rows": arguments.rows, "kept": kept, "csv_mib": round(log.stat().st_size / 2**20), "split": arguments.split}
        print(json.dumps({**facts, **found, "rows_per_second": round(arguments.rows / found["seconds"])}))


if __name__ == "__main__":
    with told():
        main()
