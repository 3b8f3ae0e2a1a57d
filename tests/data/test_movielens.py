"""MovieLens: two editions, one language; damaged lines; the real files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raytune_rec.data.sources.base import RawBlock
from raytune_rec.data.sources.movielens import MovieLens
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import ALL_DOMAINS, SPLITS

GENRES = ["unknown|0", "Action|1", "Drama|2", ""]


def source(folder: Path, edition: str, **options: Any) -> MovieLens:
    return MovieLens(MovieLens.Options(path=str(folder), edition=edition, **options))


def rows(blocks: Iterable[RawBlock]) -> list[dict[str, Any]]:
    return [row for block in blocks for row in block.table.to_pylist()]


def rejects(blocks: Iterable[RawBlock]) -> list[tuple[str, int, str, str]]:
    return [(Path(r.file).name, r.line, r.value, r.reason) for block in blocks for r in block.rejects]


@pytest.fixture
def put(tmp_path: Path):
    """put(edition, name=lines ...) -> a folder of small files; names with _ for the dot."""

    def run(edition: str, **given: list[str]) -> Path:
        pairs = [(u, i) for u in range(1, 21) for i in range(1, 16)]
        if edition == "1m":
            files = {
                "ratings_dat": [f"{u}::{i}::{(u + i) % 5 + 1}::{97 * u + i}" for u, i in pairs],
                "users_dat": [f"{u}::{'FM'[u % 2]}::25::{u}::{u}8067" for u in range(1, 21)],
                "movies_dat": [f"{i}::Film {i} ({1980 + i})::Drama|War" for i in range(1, 16)],
            }
        else:
            files = {
                "u_data": [f"{u}\t{i}\t{(u + i) % 5 + 1}\t{97 * u + i}" for u, i in pairs],
                "u_user": [f"{u}|{20 + u}|{'FM'[u % 2]}|writer|{u}8067" for u in range(1, 21)],
                "u_item": [f"{i}|Film {i} ({1980 + i})|01-Jan-1995||http://x/|0|1|1" for i in range(1, 16)],
                "u_genre": GENRES,
            }
        for name, lines in {**files, **given}.items():
            (tmp_path / name.replace("_", ".")).write_bytes("".join(f"{line}\n" for line in lines).encode("iso-8859-1"))
        return tmp_path

    return run


def test_ages_of_both_editions_are_the_same_seven_brackets(put) -> None:
    codes = [1, 18, 25, 35, 45, 50, 56]
    names = ["Under 18", "18-24", "25-34", "35-44", "45-49", "50-55", "56+"]
    folder = put("1m", users_dat=[f"{n}::F::{code}::0::9" for n, code in enumerate(codes)])
    assert [row["age"] for row in rows(source(folder, "1m").users())] == names
    years = [7, 17, 18, 24, 25, 34, 35, 44, 45, 49, 50, 55, 56, 73]
    folder = put("100k", u_user=[f"{n}|{year}|M|artist|9" for n, year in enumerate(years)])
    assert [row["age"] for row in rows(source(folder, "100k").users())] == [name for name in names for _ in range(2)]


def test_profiles_read_as_text(put) -> None:
    folder = put("1m", users_dat=["1::F::1::10::48067", "2::M::56::0::V5A2B", "3::M::25::20::", "4::::::17::02139-1"])
    assert rows(source(folder, "1m").users()) == [
        {"user": "1", "gender": "F", "age": "Under 18", "occupation": "K-12 student", "region": "4"},
        {"user": "2", "gender": "M", "age": "56+", "occupation": "other", "region": "V"},
        {"user": "3", "gender": "M", "age": "25-34", "occupation": "writer", "region": None},
        {"user": "4", "gender": None, "age": None, "occupation": "technician/engineer", "region": "0"},
    ]


def test_films_have_titles_of_latin_1_years_and_genres(put) -> None:
    titles = {
        "Misérables, Les (1995)": 1995,
        "2001 (1967) (1968)": 1968,
        "1984 (1956) (V)": 1956,
        '"Great" One, The (1994)': 1994,
        "A\x1fB (1950)": 1950,
        "unknown": None,
    }
    lines = [f"{n}::{title}::Action|Children's" for n, title in enumerate(titles)]
    folder = put("1m", movies_dat=lines)
    found = rows(source(folder, "1m").items())
    assert [row["title"] for row in found] == list(titles)
    assert [row["year"] and int(row["year"]) for row in found] == list(titles.values())
    assert all(row["genres"] == ["Action", "Children's"] for row in found)
    put("1m", movies_dat=lines[:4])  # without the odd character the files take Arrow's way
    assert rows(source(folder, "1m").items()) == found[:4]
    folder = put("100k", u_item=["1|Misérables, Les (1995)|01-Jan-1995||http://x/|0|1|1", "267|unknown||||1|0|0"])
    first, second = rows(source(folder, "100k").items())
    assert (first["title"], first["year"], first["genres"]) == ("Misérables, Les (1995)", "1995", ["Action", "Drama"])
    assert (second["title"], second["year"], second["genres"]) == ("unknown", None, [])


def test_no_character_of_a_title_stands_for_a_delimiter(put) -> None:
    folder = put("1m", movies_dat=["1::A (1990)::War", "2::B (1990)\x1fWar"])
    blocks = list(source(folder, "1m").items())
    assert rejects(blocks) == [("movies.dat", 2, "2::B (1990)\x1fWar", "a row has 3 cells")] and len(rows(blocks)) == 1


@pytest.mark.parametrize(
    ("edition", "name", "bad", "reason"),
    [
        ("1m", "users_dat", "2::M::old::3::1", "old: age is no whole number"),
        ("1m", "users_dat", "2::M::25::21::1", "21: occupation is none of 0 to 20"),
        ("1m", "users_dat", "2::M::25::1", "2::M::25::1: a row has 5 cells"),
        ("1m", "movies_dat", "2::A::B (1990)::War", "2::A::B (1990)::War: a row has 3 cells"),
        ("100k", "u_user", "2|-1|M|artist|1", "-1: age is no whole number"),
        ("100k", "u_item", "2|B (1990)||||0|2|0", "2: the flag of a genre is neither 0 nor 1"),
        ("100k", "u_item", "2|B (1990)||||0|1", "2|B (1990)||||0|1: a row has 8 cells"),
    ],
)
def test_a_damaged_profile_or_film_is_told_by_its_line(put, edition: str, name: str, bad: str, reason: str) -> None:
    good = {
        "users_dat": ["1::F::1::10::4", "3::M::56::0::V"],
        "movies_dat": ["1::A (1990)::War", "3::C (1990)::War"],
        "u_user": ["1|24|M|artist|8", "3|30|F|writer|9"],
        "u_item": ["1|A (1990)||||0|1|0", "3|C (1990)||||0|0|1"],
    }[name]
    read = source(put(edition, **{name: [good[0], "", bad, good[1]]}), edition)
    blocks = list(read.users() if "user" in name else read.items())
    assert rejects(blocks) == [(name.replace("_", "."), 3, *reason.split(": ", 1))]
    assert [line for block in blocks for line in block.lines.tolist()] == [1, 4]
    assert [row["user" if "user" in name else "item"] for row in rows(blocks)] == ["1", "3"]


def test_damaged_ratings_are_told_by_their_line(put, make) -> None:
    lines = [f"{n % 20 + 1}::{n % 15 + 1}::{n % 5 + 1}::{n}" for n in range(60)]
    lines[10:10] = ["7::7::6::5", "7::7::::5", "7::7::5", "7::7::5::noon"]
    folder = put("1m", ratings_dat=lines)
    store = make("movielens", {"path": str(folder), "edition": "1m"}, max_rejected=0.1)
    found = pd.read_parquet(store.path / "rejected.parquet")
    assert found["line"].tolist() == [11, 12, 13, 14]
    assert found["reason"].tolist() == [
        *("rating outside 1 to 5", "label is neither 0 nor 1", "a row has 4 cells"),
        "timestamp is not a finite number, such as seconds since 1970",
    ]


@pytest.mark.parametrize("edition", ["100k", "1m"])
def test_a_rating_is_a_click_or_makes_the_label(put, make, edition: str) -> None:
    options = {"path": str(put(edition)), "edition": edition}
    clicks = make("movielens", options, positive_above=3)
    assert clicks.schema.domains == ("movies",)
    for split in SPLITS:
        assert (clicks.load(ALL_DOMAINS, split).label == 1).all()
    rated = make("movielens", {**options, "label": "rating"}, out="rated", positive_above=3)
    label = np.concatenate([rated.load("movies", split).label for split in SPLITS])
    assert len(label) == 300 and label.sum() == 120
    with pytest.raises(DataError, match=r"set data\.positive_above"):
        make("movielens", {**options, "label": "rating"}, out="none")


def test_clock_times_are_taken_where_there_are_any(put) -> None:
    folder = put("1m", ratings_dat=["1::9::5::978300760"])
    ordered = b"user_id\titem_id\trating\tposition\n1\t9\t5\t1\n1\t8\t4\t0\n"
    (folder / "ratings_ordered.tsv.gz").write_bytes(gzip.compress(ordered))
    read = source(folder, "1m")
    row = {"domain": "movies", "user": "1", "item": "9", "rating": "5", "label": 1.0}
    assert rows(read.read()) == [row | {"timestamp": "978300760"}]
    before = read.fingerprint_inputs()
    (folder / "ratings.dat").unlink()
    assert rows(read.read()) == [row | {"position": "1"}, row | {"item": "8", "rating": "4", "position": "0"}]
    assert read.fingerprint_inputs() != before
    (folder / "ratings_ordered.tsv.gz").unlink()
    with pytest.raises(DataError, match=r"there is no ratings\.dat or ratings_ordered\.tsv\.gz; unpack MovieLens 1m"):
        next(iter(read.read()))


def test_all_missing_files_are_told_before_the_first_row(put) -> None:
    folder = put("100k")
    (folder / "u.item").unlink()
    (folder / "u.genre").unlink()
    with pytest.raises(DataError) as error:
        next(iter(source(folder, "100k").read()))
    assert "there is no u.item; unpack MovieLens 100k and name the folder" in str(error.value)
    assert "there is no u.genre" in str(error.value)
    with pytest.raises(DataError, match=r"u\.genre: genres are not numbered"):
        list(source(put("100k", u_genre=["Action|0", "Drama|2"]), "100k").items())


REAL = [("100k", (943, 1_682, 100_000), "timestamp", 1_682), ("1m", (6_040, 3_416, 999_611), "position", 3_883)]


@pytest.mark.parametrize(("edition", "counts", "time", "films"), REAL)
def test_real_files(real_data: Path, edition: str, counts: tuple[int, int, int], time: str, films: int) -> None:
    folder = real_data / f"movielens-{edition}"
    if not folder.is_dir() or (folder / "ratings.dat").exists():
        pytest.skip(f"the counts are those of other files than in {folder}")
    read = source(folder, edition)
    users: set[str] = set()
    items: set[str] = set()
    total = 0
    for block in read.read():
        users.update(block.table["user"].unique().to_pylist())
        items.update(block.table["item"].unique().to_pylist())
        total += len(block.table)
        assert not block.rejects and time in block.table.column_names
    assert (len(users), len(items), total) == counts
    people, titles = list(read.users()), list(read.items())
    assert rejects(people) == rejects(titles) == []
    assert {row["user"] for row in rows(people)} == users
    known = {row["item"]: row for row in rows(titles)}
    assert len(known) == films and items <= set(known)
    assert known["1"]["title"] == "Toy Story (1995)" and known["1"]["year"] == "1995"
    assert known["1"]["genres"] == ["Animation", "Children's", "Comedy"]
    assert sum(row["year"] is None for row in known.values()) == (edition == "100k")
    assert len({row["age"] for row in rows(people)}) == 7 and len({row["occupation"] for row in rows(people)}) == 21
