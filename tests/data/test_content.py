"""What a file holds: unlike its name it is refused with what it is; a line is read alike whatever stands beside it."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_rec.data.files.delimited import DelimitedText, Format
from raytune_rec.data.files.json_lines import json_block
from raytune_rec.errors import DataError, JobError

HEAD = "domain,user,item,label"
TEXT = "\n".join([HEAD, *(f"x,u{n % 9},i{n % 7},{n % 2}" for n in range(90))]) + "\n"
COLUMNS = {"user": "user", "label": "label"}


def zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("log.csv", text)
    return buffer.getvalue()


def parquet(text: str) -> bytes:
    return pd.read_csv(io.StringIO(text)).to_parquet()


ROWS = [dict(zip(HEAD.split(","), line.split(","), strict=True)) for line in TEXT.splitlines()[1:]]
JSON_LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
PLAIN, PACKED, TABLE = TEXT.encode(), gzip.compress(TEXT.encode()), parquet(TEXT)


@pytest.mark.parametrize(
    ("name", "content", "told", "remedies"),
    [
        ("log.csv", PACKED, "is gzip-compressed, .*let its name end in .gz", [("log.csv.gz", PACKED)]),
        ("log.csv.gz", gzip.compress(PACKED), "gzip-compressed twice; unpack it once", [("log.csv.gz", PACKED)]),
        ("log.jsonl.gz", JSON_LINES, "its name ends in .gz, and it is not gzip-.*; rename it", [("log.jsonl", JSON_LINES)]),
        ("log.csv.gz", PACKED[:40], "cannot be read .*damaged, fetch or write it again", [("log.csv.gz", PACKED)]),
        ("log.csv", bz2.compress(PLAIN), "is bzip2-compressed.*unpack it, or pack it",
         [("log.csv", PLAIN), ("log.csv.gz", PACKED)]),
        ("log.csv.xz", lzma.compress(PLAIN), "is xz-compressed.*unpack it", [("log.csv", PLAIN)]),
        ("log.csv", zipped(TEXT), "is a zip archive", [("log.csv", PLAIN), ("log.csv.gz", PACKED)]),
        ("log.xlsx", zipped(TEXT), "Excel workbook.*export it as CSV, JSON lines or Parquet",
         [("log.csv", PLAIN), ("log.jsonl", JSON_LINES), ("log.parquet", TABLE)]),
        ("log.csv", TABLE, r"is Parquet.*let its name end in \.parquet", [("log.parquet", TABLE)]),
        ("log.parquet", PLAIN, "cannot be read as Parquet.*name it for what it is, such as .csv", [("log.csv", PLAIN)]),
        ("log.parquet", JSON_LINES, "cannot be read as Parquet.*or .jsonl", [("log.jsonl", JSON_LINES)]),
        ("log.parquet", PACKED, "is gzip-compressed, .*let its name end in .gz", [("log.csv.gz", PACKED)]),
        ("log.parquet.gz", gzip.compress(TABLE), r"unpack the file, and let its name end in \.parquet", [("log.parquet", TABLE)]),
        ("log.csv", TEXT.encode("utf-16"), "is UTF-16 text.*iconv", [("log.csv", PLAIN)]),
        ("log.csv", TEXT.encode("utf-32"), "is UTF-32 text.*iconv", [("log.csv", PLAIN)]),
        ("log.csv", TEXT.encode("utf-16-le"), "holds NUL bytes.*UTF-16 text; convert it to UTF-8", [("log.csv", PLAIN)]),
        ("log.csv", PLAIN.replace(b"\n", b"\r"), "lines end in CR alone; convert them", [("log.csv", PLAIN)]),
        ("log.csv", b"\n <HTML><body>404</body></HTML>\n", "HTML or XML page.*fetch the file again", [("log.csv", PLAIN)]),
        ("log.json", json.dumps(ROWS, indent=1).encode(), "one JSON array.*jq", [("log.json", JSON_LINES)]),
        ("log.jsonl", PLAIN, "is not JSON lines.*name it for what it is, such as .csv", [("log.csv", PLAIN)]),
        ("log.csv", JSON_LINES, r"holds JSON.*let its name end in \.jsonl", [("log.jsonl", JSON_LINES)]),
        ("log.jsonl", b"", "the file is empty.*or write it again", [("log.jsonl", JSON_LINES)]),
    ],
    ids=itertools.count(),  # what is packed holds the time
)  # fmt: skip
def test_a_file_unlike_its_name_says_what_it_is_and_is_read_as_it_is_told_to_be(
    name: str, content: bytes, told: str, remedies: list[tuple[str, bytes]], make, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: .*{told}"):
        make("tabular", {"files": str(tmp_path / name)})
    for n, (mended, good) in enumerate(remedies):
        (tmp_path / mended).write_bytes(good)
        assert sum(make("tabular", {"files": str(tmp_path / mended)}, f"mended{n}").schema.rows.values()) == 90


def test_a_tar_archive_is_told(make, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "log.csv.gz", "w:gz") as file:
        entry = tarfile.TarInfo("log.csv")
        entry.size = len(TEXT)
        file.addfile(entry, io.BytesIO(TEXT.encode()))
    with pytest.raises(DataError, match=r"log\.csv\.gz: is a tar archive"):
        make("tabular", {"files": str(tmp_path / "log.csv.gz")})


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_remedy_for_another_delimiter_helps(delimiter: str, make, write) -> None:
    log = write("log.csv", TEXT.replace(",", delimiter).splitlines())
    with pytest.raises(DataError, match=r"set data\.options\.delimiter = "):
        make("tabular", {"files": log})
    assert sum(make("tabular", {"files": log, "delimiter": delimiter}, "mended").schema.rows.values()) == 90


def test_a_file_of_users_may_be_written_otherwise(make, write, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_bytes(b"user;town\n" + "".join(f"u{n};Köln\n" for n in range(9)).encode("latin-1"))
    options = {"files": write("log.csv", TEXT.splitlines()), "features": {"town": {"role": "user"}}}
    with pytest.raises(DataError, match=r"users\.csv: .*set data\.options\.users\.delimiter = \";\""):
        make("tabular", {**options, "users": {"files": str(tmp_path / "users.csv")}})
    side = {"files": str(tmp_path / "users.csv"), "delimiter": ";"}
    with pytest.raises(DataError, match=r"not utf-8 .*9 rows in all; set data\.options\.encoding"):
        make("tabular", {**options, "users": side}, "encoding")
    store = make("tabular", {**options, "users": {**side, "encoding": "latin-1"}}, "mended")
    assert store.vocabulary("town")["raw"].to_pylist() == ["Köln"]


def test_quotes_that_are_letters(make, write) -> None:
    log = write("log.csv", [HEAD, *(f'x,"u{n % 9},i{n % 7},{n % 2}' for n in range(90))])
    with pytest.raises(DataError, match=r"a quote is not closed on its line .*set data\.options\.quote = ''"):
        make("tabular", {"files": log})
    assert '"u1' in make("tabular", {"files": log, "quote": ""}, "mended").vocabulary("user")["raw"].to_pylist()
    with pytest.raises(JobError, match="is a quote or a line break"):
        make("tabular", {"files": log, "delimiter": '"'}, "delimiter")


def test_columns_of_one_name_are_refused_where_they_are_mapped(make, write, tmp_path: Path) -> None:
    twice = write("twice.csv", ["domain,user , item,label,user", "x,a,b,1,c"])
    with pytest.raises(DataError, match=r"there are 2 columns 'user' \(wanted as user\)"):
        make("tabular", {"files": twice})
    with pytest.raises(DataError, match=r"there are 2 columns 'item'"):
        make("tabular", {"files": twice, "header": ["domain", "user", "item", "label", "item"]})
    (tmp_path / "log.jsonl").write_text('{"domain": "x", "user": "a", "item": "b", "label": 1, "user": "c"}\n')
    with pytest.raises(DataError, match="a key stands twice in the object"):
        make("tabular", {"files": str(tmp_path / "log.jsonl")})


def test_a_header_with_a_mark_blanks_and_quotes(make, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes(TEXT.replace(HEAD, '"domain", user ,item,"label"').encode("utf-8-sig"))
    assert sum(make("tabular", {"files": str(tmp_path / "log.csv")}).schema.rows.values()) == 90


LINES = st.sampled_from(
    [
        "a,1",
        'a b,"1"',
        '"a,b",1',
        '"a""b",1',
        'a"b,1',
        '"a"b,1',
        '"a,1',
        "a,1,2",
        "a",
        "",
        "  ",
        "a,",
        ",",
        '"",1',
        "NA,1",
        "null,0",
        "nan,1",
        "é,1",
        "a\x00b,1",
        "a\rb,1",
        '"a\rb",1',
        "\udcff,1",
        "a,1,\udcff",
        "x" * 200_000 + ",1",
        "a,1\r",
        '"a",1\r',
        " ,1",
        '""",1',
    ]
)


@given(st.lists(LINES, min_size=1, max_size=6), st.sampled_from(['"', ""]), st.sampled_from(["utf-8", "latin-1"]))
@settings(max_examples=300, deadline=None)
def test_a_line_of_text_is_read_alike_whatever_its_neighbours(lines: list[str], quote: str, encoding: str) -> None:
    def read(part: list[str], first: int) -> tuple[list[object], list[object]]:
        raw = "".join(line + "\n" for line in part).encode(encoding, "surrogateescape")
        fast = text.fast(raw, COLUMNS)
        if fast is not None:
            return [[first + n, *row.values()] for n, row in enumerate(fast.to_pylist())], []
        block = text.slow(raw, first, COLUMNS)
        cells = [list(row.values()) for row in block.table.to_pylist()]
        return [[line, *row] for line, row in zip(block.lines.tolist(), cells, strict=True)], list(block.rejects)

    text = DelimitedText(Path("log.csv"), Format(quote=quote, encoding=encoding), ["user", "label"])
    alone = [read([line], n) for n, line in enumerate(lines, 1)]
    assert read(lines, 1) == ([row for rows, _ in alone for row in rows], [r for _, rejects in alone for r in rejects])


JSON = st.sampled_from(
    [
        '{"user": 1, "tags": ["a"]}',
        '{"user": 1.0, "tags": "a|b"}',
        '{"user": "1", "tags": null}',
        '{"user": true}',
        '{"user": [1]}',
        '{"user": {"a": 1}}',
        '{"user": NaN}',
        '{"user": 18446744073709551616, "tags": [1, 2.0, null, ""]}',
        '{"tags": [["a"]]}',
        "[1]",
        "x",
        '{"user": ' + "9" * 400 + "}",
        '{"user": ' + "[" * 5000 + "]" * 5000 + "}",
        '{"user": 1, "user": 2}',
        '{"user": "\\ud800"}',
    ]
)


@given(st.lists(JSON, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_line_of_json_is_read_alike_whatever_its_neighbours(lines: list[str]) -> None:
    def read(part: list[tuple[int, str]]) -> tuple[list[object], list[object]]:
        block = json_block(part, "log.jsonl", {"user": "user", "tags": "tags"}, {"tags": "|"}, set())
        return list(zip(block.lines.tolist(), block.table.to_pylist(), strict=True)), list(block.rejects)

    numbered = list(enumerate(lines, 1))
    alone = [read([line]) for line in numbered]
    assert read(numbered) == ([row for rows, _ in alone for row in rows], [r for _, rejects in alone for r in rejects])
