"""What a run needs of Ray is asked before it does anything, and each remedy that is named leads on."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raytune_rec import config, pipeline
from raytune_rec.command import doctor
from raytune_rec.errors import MachineError
from raytune_rec.machine import ray_address, ray_start

OUT = "unset RAY_ADDRESS to start Ray on this machine"


@pytest.fixture(autouse=True)
def short(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray_address, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(ray_address, "ANSWER_SECONDS", 20.0)


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of somebody who listens and never says a word."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        yield f"127.0.0.1:{silent.getsockname()[1]}"


WRONG = {
    "http://127.0.0.1:8265": ("address of a dashboard", "127.0.0.1:6379"),
    "HTTPS://head.example/ray": ("address of a dashboard", "head.example:6379"),
    "http://[fd00::2]:8265": ("address of a dashboard", "[fd00::2]:6379"),
    "http://[nonsense": ("address of a dashboard", "host:6379"),
    "ray://head:10001": ("Ray Client's", "head:6379"),
    "ray://": ("Ray Client's", "host:6379"),
    "anyscale://cluster": ("anyscale:// is no address", "cluster:6379"),
    "head": ("names no port", "head:6379"),
    "head:": ("names no port", "head:6379"),
    "[fd00::2]": ("names no port", "[fd00::2]:6379"),
    "head:80": ("from 1024 to 65535", None),
    "head:65536": ("from 1024 to 65535", None),
    "head:6379x": ("from 1024 to 65535", None),
    "head:-6379": ("from 1024 to 65535", None),
    "head:٦٣٧٩": ("from 1024 to 65535", None),
    "head:6379:6380": ("from 1024 to 65535", None),
    "head:6379/": ("from 1024 to 65535", None),
    "fd00::2:6379": ("stands in brackets", "[fd00::2]:6379"),
    "::1": ("stands in brackets", "[fd00::2]:6379"),
    "[head]:6379": ("no IPv6 address", None),
    " head:6379": ("write host:port", "10.0.0.5:6379"),
    "me@head:6379": ("write host:port", "10.0.0.5:6379"),
    ":6379": ("write host:port", "10.0.0.5:6379"),
}


@pytest.mark.parametrize("address", WRONG)
def test_what_is_no_address_of_a_cluster_is_told_with_one_that_fits(address: str) -> None:
    said = ray_address.look({"RAY_ADDRESS": address})
    text, remedy = WRONG[address]
    assert said.state == "wrong" and f"RAY_ADDRESS = {address!r}: " in said.text and text in said.text and OUT in said.text
    if remedy is not None:
        assert remedy in said.text and isinstance(ray_address.parse(remedy), tuple)


@pytest.mark.parametrize("address", ["", "local"])
def test_without_a_cluster_ray_is_started_here(address: str) -> None:
    assert ray_address.look({"RAY_ADDRESS": address}).state == "ok" and ray_address.look({}).state == "ok"


def test_forms_of_an_address() -> None:
    assert ray_address.parse("head.example:6379") == ("head.example", 6379)
    assert ray_address.parse("[fd00::2]:1024") == ("fd00::2", 1024)
    assert ray_address.parse("[fe80::1%eth0]:65535") == ("fe80::1%eth0", 65535)


def test_an_address_that_nobody_answers(listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
        said = ray_address.look({"RAY_ADDRESS": closed})
        assert said.state == "wrong" and "Connection refused" in said.text and OUT in said.text
    monkeypatch.setattr(ray_address, "ANSWER_SECONDS", 0.3)
    said = ray_address.look({**os.environ, "RAY_ADDRESS": listener})
    assert said.state == "wrong" and "no answer as of Ray within 0.3 s" in said.text and OUT in said.text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no machine of the name 'head' is known"),
        (TimeoutError(), "nobody answered within 1 s"),
        (OSError(113, "No route to host"), "No route to host"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_why_an_address_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fails)
    said = ray_address.look({"RAY_ADDRESS": "head:6379"})
    assert said.state == "wrong" and text in said.text and OUT in said.text


@pytest.mark.parametrize(
    ("script", "state", "text"),
    [
        ("print('ray 2.60.0 3.11.7 2.60.0 3.11.9')", "ok", "a cluster of Ray 2.60.0, Python 3.11.7, answers"),
        ("print('ray 2.50.0 3.11.7 2.60.0 3.11.9')", "wrong", "(pip install ray==2.50.0)"),
        ("print('ray 2.60.0 3.12.1 2.60.0 3.11.9')", "wrong", "on Python 3.12.1, this environment"),
        ("raise ConnectionError('Could not find any running Ray instance. --address')", "wrong", "no Ray runs on this machine"),
        ("import sys; sys.exit('nobody')", "wrong", "no Ray runs on this machine"),
        ("class AuthenticationError(Exception): pass\nraise AuthenticationError('x')", "wrong", "asks for a token"),
        ("import os; os.abort()", "wrong", "ended with -6"),
        ("raise RuntimeError('out of luck')", "wrong", "RuntimeError: out of luck"),
    ],
)  # fmt: skip
def test_what_a_cluster_answers(monkeypatch: pytest.MonkeyPatch, script: str, state: str, text: str) -> None:
    monkeypatch.setattr(ray_address, "_ASK", script)
    said = ray_address.look({**os.environ, "RAY_ADDRESS": "auto"})
    assert (said.state, "--address" in said.text) == (state, False) and text in said.text
    assert state == "ok" or OUT in said.text


@pytest.fixture
def brief() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def folders(root: Path) -> dict[str, str]:
    (root / "file").write_text("")
    (root / "dangling").symlink_to(root / "gone" / "further")
    return {
        "RAY_TMPDIR=/proc/x": "cannot be made or written",
        f"RAY_TMPDIR={root / 'file'}": "Not a directory",
        f"RAY_TMPDIR={root / 'file' / 'below'}": "Not a directory",
        f"RAY_TMPDIR={root / 'dangling'}": "cannot be made or written",
        "RAY_TMPDIR=": "no absolute path",
        "RAY_TMPDIR=tmp": "no absolute path",
        f"RAY_TMPDIR=/tmp/{'x' * 90}": "at most 107 bytes",
        f"RAY_TMPDIR=/tmp/{'ä' * 30}": "at most 107 bytes",
    }


def test_a_temporary_folder_that_ray_cannot_use(brief: Path) -> None:
    for setting, reason in folders(brief).items():
        name, _, value = setting.partition("=")
        said = ray_start.folder({name: value})
        assert said.state == "wrong" and reason in said.text and f"RAY_TMPDIR={value or '.'}" in said.text
        remedy = re.search(r"set RAY_TMPDIR=(\S+)\.$", said.text)
        assert remedy is not None and ray_start.folder({name: value, "RAY_TMPDIR": remedy[1]}).state == "ok"
    assert ray_start.folder({"RAY_TMPDIR": str(brief / "new" / "er")}).state == "ok" and not (brief / "new").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Ray reads TMPDIR on Linux alone")
def test_tmpdir_counts_where_ray_reads_it() -> None:
    assert ray_start.folder({"TMPDIR": "/proc/x"}).state == "wrong"
    assert ray_start.folder({"TMPDIR": "/proc/x", "RAY_TMPDIR": "/tmp"}).state == "ok"


def test_the_longest_folder_that_fits_is_rays_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte: what Ray takes is not refused, and what it refuses is."""
    for digits in (2, 7):
        monkeypatch.setattr(os, "getpid", lambda digits=digits: 10**digits - 1)
        room = ray_start._LONGEST - len(f"/ray/session_2000-01-01_00-00-00_000000_{10**digits - 1}/sockets/plasma_store")
        fits = "/tmp/" + "x" * (room - len("/tmp/"))
        assert ray_start.folder({"RAY_TMPDIR": fits}).state == "ok"
        assert ray_start.folder({"RAY_TMPDIR": fits + "x"}).state == "wrong"


def test_a_token_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for given in (
        {"HOME": "/proc/nohome"},
        {"HOME": str(tmp_path / "file"), "RAY_AUTH_MODE": "token"},
        {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "folder")},
        {"RAY_AUTH_TOKEN_PATH": "/proc/x/token"},
    ):
        said = ray_start.tokens(given)
        remedy = re.search(r"set RAY_AUTH_TOKEN_PATH to a file that you may write, as (\S+)\.$", said.text)
        assert said.state == "wrong" and remedy is not None
        mended = {**given, "RAY_AUTH_TOKEN_PATH": remedy[1]}
        ray_start.check(mended)
        ray_start.provide_token(mended)
        assert Path(remedy[1]).stat().st_mode & 0o777 == 0o600 and len(Path(remedy[1]).read_text()) == 64
        assert ray_start.tokens({**mended, "RAY_AUTH_MODE": "token"}).text == "RAY_AUTH_MODE=token, and there is a token"
        Path(remedy[1]).unlink()
    assert ray_start.tokens({"HOME": "/proc/nohome", "RAY_AUTH_TOKEN": "x"}).state == "note"  # nothing is written
    assert ray_start.tokens({"HOME": "/proc/nohome", "RAY_AUTH_MODE": "disabled"}).state == "note"


def test_a_token_of_the_home_becomes_its_owners_alone(tmp_path: Path) -> None:
    """Ray itself writes one that everybody reads."""
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0123")
    token.chmod(0o644)
    ray_start.provide_token(given := {"HOME": str(tmp_path)})
    assert (token.read_text(), token.stat().st_mode & 0o777) == ("0123", 0o600)
    assert given["RAY_AUTH_TOKEN_PATH"] == str(token)
    off = {"HOME": "/proc/nohome", "RAY_AUTH_MODE": "disabled"}
    ray_start.provide_token(off)
    assert off == {"HOME": "/proc/nohome", "RAY_AUTH_MODE": "disabled"}


def test_other_things_that_are_wrong_with_a_token(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    given = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "empty")}
    assert "the token file is empty; delete it" in ray_start.tokens(given).text
    (tmp_path / "empty").unlink()
    assert ray_start.tokens(given).state == "ok"
    said = ray_start.tokens({"RAY_AUTH_MODE": "tokn"})
    assert said.state == "wrong" and "set RAY_AUTH_MODE=token" in said.text
    # a process that joins a cluster brings the cluster's token: Ray aborts without
    joins = {"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    (said,) = ray_start.findings(joins)
    assert said.state == "wrong" and "a file with the cluster's token" in said.text


def small(**changes: object) -> config.Job:
    return config.parse(
        {
            "name": "small",
            "data": {"source": "synthetic", "options": {"interactions": {"a": 300}, "users": 20, "items": 20}},
            "backbone": {"name": "linear"},
            "methods": {"single": {"strategy": "single"}},
            **changes,
        }
    )


def test_all_that_is_wrong_is_told_at_once_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.modules", {k: v for k, v in sys.modules.items() if k != "ray"})
    monkeypatch.setenv("RAY_TMPDIR", "/proc/x")
    monkeypatch.setenv("HOME", "/proc/nohome")
    with pytest.raises(MachineError) as told:
        pipeline.run(small(), tmp_path)
    assert len(told.value.problems) == 2 and list(tmp_path.iterdir()) == []
    wrong = [f.text for f in doctor.findings(tmp_path, start_ray=True) if f.state == "wrong"]
    assert tuple(wrong) == told.value.problems
    pipeline.run(small(), tmp_path, until="pretrain")  # what needs no Ray is not refused for its sake
    assert (tmp_path / "stages" / "pretrain" / "_complete.json").exists()
    with pytest.raises(MachineError):
        pipeline.run(small(), tmp_path, only="tune")
    shutil.rmtree(tmp_path / "stages")
