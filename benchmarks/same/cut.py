"""Small raw data: some of the users of the real files, in files of the same form."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path


def douban(data: Path, out: Path) -> Path:
    for name in ("douban_music", "douban_book"):
        _keep(data / "douban" / name / "ratings.dat", out / name / "ratings.dat", lambda line: int(line.split("\t")[0]) % 10 == 0)
    for part in ("val", "test"):
        name = f"douban_movie_part/douban_movie_{part}.csv.gz"  # users count from 0 here, and from 1 in the other two
        _keep(data / "douban" / name, out / name, lambda line: int(line.split(",")[1]) % 10 == 9, header=True)
    return out


def movielens(data: Path, out: Path) -> Path:
    name = "ratings_ordered.tsv.gz"
    _keep(data / "movielens-1m" / name, out / name, lambda line: int(line.split("\t")[0]) % 30 == 0, header=True)
    for name in ("users.dat", "movies.dat"):
        (out / name).write_bytes((data / "movielens-1m" / name).read_bytes())
    return out


def amazon(data: Path, out: Path) -> Path:
    for domain in ("Beauty", "Toys"):
        name = f"{domain}/user_sequence.txt.gz"
        _keep(
            data / "amazon2014-5core" / "asin_sequences" / name,
            out / name,
            lambda line: zlib.crc32(line.split(" ")[0].encode()) % 5 == 0,
        )
    return out


def _keep(source: Path, target: Path, chosen: Callable[[str], bool], header: bool = False) -> None:
    raw = source.read_bytes()
    lines = (gzip.decompress(raw) if source.suffix == ".gz" else raw).decode("latin-1").splitlines(keepends=True)
    kept = [line for number, line in enumerate(lines) if (header and number == 0) or chosen(line)]
    content = "".join(kept).encode("latin-1")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(content, mtime=0) if target.suffix == ".gz" else content)
