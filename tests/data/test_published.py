"""Public data sets in the columns in which they are published: read, and each of twenty ways to damage them told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from raytune_rec.errors import DataError

_ALI = [*("click", "purchase"), *map(str, (101, 121, 122, *range(124, 130), 205, 206, 207, 210, 216, 508, 301)), "D853"]
_KUAI = ["user_id", "video_id", "is_click", "duration_ms", "tab", "user_active_degree", "follow_user_num_range"]
_KUAI += ["fans_user_num_range", "register_days_range", "video_type"]
FORMATS: dict[str, tuple[list[str], dict[str, str]]] = {
    "mind": (
        ["User_ID", "News_ID", "label", "Category", "SubCategory"],
        {"domain": "Category", "user": "User_ID", "item": "News_ID"},
    ),
    "ali_ccp": (_ALI, {"domain": "301", "user": "101", "item": "205"}),
    "kuairand": (_KUAI, {"domain": "tab", "user": "user_id", "item": "video_id"}),
}
OTHERS = {
    "mind": {"subcategory": "SubCategory"},
    "ali_ccp": {"label": "click"} | {f"f{n}": str(n) for n in (121, 122, *range(124, 130), 206, 207, 210, 216)},
    "kuairand": {"label": "is_click"},
}
"""Further columns that we call otherwise."""
LABEL = {"mind": "label", "ali_ccp": "click", "kuairand": "is_click"}


def lines_of(name: str) -> list[str]:
    """300 rows of 20 users and 15 items in two domains."""
    header, keys = FORMATS[name]
    lines = [",".join(header)]
    for n in range(300):
        row = {column: str(n % 3) for column in header}
        row |= {
            keys["domain"]: f"d{n % 2}",
            keys["user"]: f"u{n % 20}",
            keys["item"]: f"i{n // 20}",
            LABEL[name]: str(n // 2 % 2),
        }
        lines.append(",".join(row[column] for column in header))
    return lines


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_a_published_format_become_domains_users_items_and_features(name: str, make: Any, write: Any) -> None:
    store = make(name, {"files": write(f"{name}.csv", lines_of(name))})
    assert store.schema.domains == ("d0", "d1") and sum(store.schema.rows.values()) == 300
    assert store.columns == FORMATS[name][1] | OTHERS[name]  # so that rows to score may come as they are published
    counts = {"mind": {"item": 1}, "ali_ccp": {"user": 8, "item": 4}, "kuairand": {"user": 4, "item": 1, "context": 1}}[name]
    further = [f for f in store.schema.fields if f.name not in ("user", "item", "domain")]
    assert {role: sum(f.role == role for f in further) for role in counts} == counts and len(further) == sum(counts.values())


def damaged(name: str) -> list[tuple[bytes, str, str]]:
    """A line, the value that is told, and the rule: of each column that a row must have, and of the line as a whole."""
    header, keys = FORMATS[name]
    good = lines_of(name)[1].split(",")

    def with_cell(column: str, cell: str) -> bytes:
        return ",".join(cell if c == column else value for c, value in zip(header, good, strict=True)).encode()

    label, whole = LABEL[name], ",".join(good)
    told = [(label, v, v, "label is not a finite number") for v in ("nan", "inf", "-inf", "yes", "0x1", "1,5".replace(",", ";"))]
    told += [(label, v, v, "label is neither 0 nor 1") for v in ("2", "-1", "0.5", "")]
    told += [(keys[k], v, v, f"{k} is empty") for k in ("user", "item", "domain") for v in ("", "  ")]
    told += [(keys["domain"], "all", "all", "not a name for a domain")]
    cells = [(with_cell(column, cell), value, reason) for column, cell, value, reason in told]
    return [
        *cells,
        (whole.rsplit(",", 1)[0].encode(), whole.rsplit(",", 1)[0], f"a row has {len(header)} cells"),
        (f"{whole},9".encode(), f"{whole},9", f"a row has {len(header)} cells"),
        (f'"{whole}'.encode(), f'"{whole}', "a quote is not closed on its line"),
        (b"\xff" + whole.encode(), "\\xff" + whole, "not utf-8"),
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_each_way_to_damage_a_row_is_told_with_file_line_and_value(name: str, make: Any, tmp_path: Path) -> None:
    lines, expected = [line.encode() for line in lines_of(name)], []
    for n, (raw, value, reason) in enumerate(damaged(name)):
        lines.insert(5 + 9 * n, raw)
        expected.append((str(tmp_path / "log.csv"), 6 + 9 * n, value, reason))
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines) + b"\n")
    store = make(name, {"files": str(tmp_path / "log.csv")}, max_rejected=0.2)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert len(expected) >= 20
    assert set(found.itertuples(index=False, name=None)) == set(expected)  # a domain may be missed as an item's key too
    assert sum(store.schema.rows.values()) == 300


@pytest.mark.parametrize("name", FORMATS)
def test_a_column_that_is_not_there_is_told(name: str, make: Any, write: Any) -> None:
    lines = lines_of(name)
    lines[0] = lines[0].replace(LABEL[name], "clicked", 1)
    with pytest.raises(DataError, match=rf"log\.csv.*{LABEL[name]}"):
        make(name, {"files": write("log.csv", lines)})
