"""Which file a path names: the one that lies there, once, and only plain files."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from raytune_rec.errors import DataError

HEAD = "domain,user,item,label"


def rows(count: int, user: str = "u") -> list[str]:
    return [HEAD, *(f"x,{user}{n % 9},i{n % 7},{n % 2}" for n in range(count))]


def size(store) -> int:
    return sum(store.schema.rows.values())


@pytest.mark.parametrize("name", ["part[0-9].csv", "what?.csv", "all*.csv", "a[b.csv"])
def test_a_path_that_exists_is_that_file(make, write, name: str) -> None:
    for other in ("part3.csv", "whats.csv", "alles.csv"):
        write(other, rows(40))
    assert size(make("tabular", {"files": write(name, rows(90))})) == 90


def test_a_pattern_that_names_no_file_is_one(make, write, tmp_path: Path) -> None:
    write("a1.csv", rows(40))
    write("a2.csv", rows(50, "v"))
    assert size(make("tabular", {"files": str(tmp_path / "a[0-9].csv")})) == 90


def test_a_file_of_two_names_is_read_once(make, write, tmp_path: Path) -> None:
    log = write("log.csv", rows(90))
    (tmp_path / "soft.csv").symlink_to(log)
    os.link(log, tmp_path / "hard.csv")
    files = [log, str(tmp_path / "l*.csv"), str(tmp_path / "soft.csv"), str(tmp_path / "hard.csv"), f"{tmp_path}/./log.csv"]
    assert size(make("tabular", {"files": files})) == 90


def test_a_copy_is_no_split_of_its_own(make, write) -> None:
    files = {"train": write("a.csv", rows(40)), "valid": write("b.csv", rows(9)), "test": write("c.csv", rows(40))}
    with pytest.raises(
        DataError, match=r"c\.csv: given as test, and .*a\.csv, the same file or a copy, as train; name two files"
    ):
        make("tabular", files, split={"kind": "given"})


def test_what_is_no_file_is_refused_at_once_and_all_together(make, write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.csv"))
        names = ["pipe.csv", "folder.csv", "socket.csv", "none.csv", "also-none*.csv"]
        files = ["/dev/zero", *(str(tmp_path / name) for name in names)]
        users = {"files": str(tmp_path / "users.csv")}
        with pytest.raises(DataError) as error:
            make("tabular", {"files": files, "users": users, "features": {"age": {"role": "user"}}})
    told = [problem.split(": ", 1)[1].split(",")[0].split(";")[0] for problem in error.value.problems]
    assert told == ["is a device", "is a named pipe", "is a folder", "is a socket", *["no such file"] * 3]


@pytest.mark.parametrize("source", ["douban", "movielens", "amazon"])
def test_a_pipe_in_a_data_set_does_not_hang(source: str, make, tmp_path: Path) -> None:
    names = {"douban": "douban_music/ratings.dat", "movielens": "u.data", "amazon": "Toys/user_sequence.txt"}
    options = {"douban": {"domains": ["music"]}, "movielens": {"edition": "100k"}, "amazon": {"domains": ["Toys"]}}
    (tmp_path / names[source]).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / names[source])
    for name in ("u.user", "u.item", "u.genre"):
        (tmp_path / name).write_text("x\n")
    with pytest.raises(DataError, match=rf"{names[source]}: is a named pipe"):
        make(source, {"path": str(tmp_path), **options[source]})


def test_what_is_wrong_with_many_files_is_said_once(make, write) -> None:
    files = [write(f"{n}.csv", ["domain,who,item,label", f"x,{n},i,1"]) for n in range(5)]
    with pytest.raises(DataError, match=r"0\.csv: there is no column 'user' .*holds for 4 more, up to .*4\.csv") as error:
        make("tabular", {"files": files})
    assert len(error.value.problems) == 1
