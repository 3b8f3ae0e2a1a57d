"""An S3-compatible server as the place where files lie: the contract of `storage.base`, a lease in place of a lock."""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from zlib import crc32

import pytest
import s3fs.core
from aiobotocore.httpsession import AIOHTTPSession

from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.storage import claim, lease, objects
from raytune_rec.storage.files import STORAGE, at_hand, matching, read_json, write_json
from raytune_rec.storage.objects import store
from raytune_rec.storage.places import address, begin_here, here, located, shown
from tests.storage.server import BUCKET, serving


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, serving(patch) as address:
        yield address


@pytest.fixture
def run(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder of this test alone."""
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "here"))
    return located(f"s3://{BUCKET}/{tmp_path.name}")


def elsewhere(run: Path, tmp_path: Path) -> Path:
    """The same folder as another machine sees it, that has nothing yet."""
    return Path(str(run).replace(str(tmp_path / "here"), str(tmp_path / "there")))


def test_a_uri_is_a_path_and_is_shown_as_a_uri(run: Path, tmp_path: Path) -> None:
    uri = f"s3://{BUCKET}/{tmp_path.name}"
    assert located(uri) == located(Path(uri)) == run and address(run) == ("s3", uri.removeprefix("s3://"))
    assert shown(f"{run / 'a b'}: x") == f"{uri}/a b: x" and shown((run / "x").as_uri()) == f"{uri}/x"
    blank = Path(str(run).replace(str(tmp_path), f"{tmp_path}/a cache"))
    assert shown(blank / "a b") == f"{uri}/a b" and shown(Path("/a b/c")) == "/a b/c"
    assert address(Path("/data/run")) is None and located("/data/run") == Path("/data/run")
    assert address(located("s3://bucket/../../etc")) is None


def test_a_folder_that_is_replaced_is_entered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray does with what a job brought, where several of its nodes share a machine."""
    (tmp_path / "job").mkdir()
    monkeypatch.chdir(tmp_path / "job")
    begin_here()
    (tmp_path / "job").rmdir()
    with pytest.raises(FileNotFoundError):
        here()
    (tmp_path / "job").mkdir()
    assert here() == Path.cwd() == tmp_path / "job"


@pytest.mark.parametrize("uri", ["gcs://bucket/run", "s3a://bucket/run", "file:///data/run", "S3://bucket/run"])
def test_a_uri_of_no_known_place_is_no_folder_here(uri: str) -> None:
    for given in (uri, Path(uri)):
        with pytest.raises(UserError, match=r"is a URI of no place that is known; name one of s3://, gs://, abfs://, or a path"):
            located(given)


def test_files_are_put_listed_fetched_and_removed(run: Path, tmp_path: Path) -> None:
    there = elsewhere(run, tmp_path)
    write_json(run / "a" / "x.json", {"n": 1})
    assert STORAGE.put_if_absent(run / "journal" / "0.json", b"first")
    assert not STORAGE.put_if_absent(there / "journal" / "0.json", b"other")
    assert STORAGE.get(there / "journal" / "0.json") == b"first"
    assert STORAGE.list(there, "*") == [there / "a", there / "journal"]
    assert STORAGE.list(there, "**/*.json") == [there / "a" / "x.json", there / "journal" / "0.json"]
    STORAGE.fetch(there)
    assert (there / "a" / "x.json").read_bytes() == (run / "a" / "x.json").read_bytes()
    write_json(run / "a" / "x.json", {"n": 2})
    STORAGE.delete(run / "journal" / "0.json")
    STORAGE.fetch(there, only=True)
    assert read_json(there / "a" / "x.json") == {"n": 2} and (there / "a" / "x.json").read_text().count("2")
    assert not (there / "journal" / "0.json").exists()
    (run / "a" / "by a library").write_text("y")
    STORAGE.publish(run)
    assert at_hand(there / "a" / "by a library").read_text() == "y"
    assert matching(str(there / "a" / "*.json")) == [there / "a" / "x.json"]
    STORAGE.make_folder(there / "a")  # as a run does that goes on
    STORAGE.clear(there)
    assert STORAGE.list(there, "**/*") == []


def test_what_is_not_there_is_told_with_its_uri(run: Path) -> None:
    with pytest.raises(ArtifactError, match="no such object") as raised:
        read_json(run / "missing.json")
    assert "s3://" in shown(raised.value)
    with pytest.raises(OSError, match="no such object, or no such bucket") as failed:
        STORAGE.put(located("s3://no-such-bucket/x"), lambda path: path.write_text("x"))
    assert shown(failed.value.filename) == "s3://no-such-bucket/x"


def test_a_lease_has_one_holder_and_goes_on_after_its_death(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.05)
    monkeypatch.setattr(lease, "_gone", lambda facts: False)  # of another machine
    there = elsewhere(run, tmp_path)
    with claim.held(run), pytest.raises(ArtifactError, match="another raytune-rec works in this folder"), claim.held(there):
        pass
    with claim.held(there):  # at once: the first one said that it had ended
        pass
    dead = lease.Lease(STORAGE, run / claim.LOCK)
    assert dead._take()
    monkeypatch.setattr(lease, "SILENT", 0.3)
    with claim.held(there):
        assert len(store("s3").find(f"{BUCKET}/{tmp_path.name}/lock")) == 1
        assert dead._last() > dead.number, "a holder that was only slow sees that it has lost"


@pytest.mark.parametrize("way", ["refused", "taken over", "begun"])
def test_a_refused_run_leaves_no_lease(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """But where another has taken the folder meanwhile, or the run has begun, there is one still."""
    folder, there = f"{BUCKET}/{tmp_path.name}", elsewhere(run, tmp_path)
    with suppress(UserError), claim.held(run):
        if way == "begun":
            claim.claim(run)
        if way == "taken over":
            monkeypatch.setattr(lease.Lease, "_free", lambda self, number: True)
            assert lease.Lease(STORAGE, there / claim.LOCK)._take()
        raise UserError(["a mistake in the job"])
    left = [Path(name).name for name in store("s3").find(folder)]
    assert left == {"refused": [], "taken over": ["000002.json"], "begun": ["000001.json", "run.json"]}[way]


@pytest.mark.parametrize("background", [False, True])
def test_a_machine_that_was_away_too_long_stops(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    """Where nobody has set a handler for SIGTERM, as in a program that calls `raytune_rec.run`, too; and where a shell started it
    in the background, so that it hears no Ctrl-C."""
    monkeypatch.setattr(lease, "BEAT", 0.05)
    exits: list[int] = []

    def leave(code: int) -> NoReturn:
        exits.append(code)
        interrupt_main(signal.SIGUSR1)
        while True:  # a process that ended says no more
            time.sleep(1)

    monkeypatch.setattr(os, "_exit", leave)
    wanted = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.SIG_IGN if background else signal.default_int_handler,
        signal.SIGUSR1: signal.default_int_handler,
    }
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        with pytest.raises(KeyboardInterrupt), claim.held(run):
            STORAGE.put_if_absent(elsewhere(run, tmp_path) / claim.LOCK / "000002.json", b"{}")  # another took it over
            for _ in range(3000):
                time.sleep(0.01)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert exits == ([1] if background else [])


def test_folders_that_a_console_has_made_are_no_files(run: Path, tmp_path: Path) -> None:
    key = f"{BUCKET}/{tmp_path.name}"
    for name in (f"{key}/", f"{key}/logs/"):
        store("s3").pipe_file(name, b"")
    claim.check(run)
    write_json(run / "logs" / "a.json", {})
    there = elsewhere(run, tmp_path)
    assert at_hand(there).is_dir() and read_json(there / "logs" / "a.json") == {}
    assert matching(str(there / "*" / "*")) == [there / "logs" / "a.json"]


def test_a_run_that_was_removed_from_the_bucket_may_begin_anew_there(run: Path, tmp_path: Path) -> None:
    write_json(run / "results.json", {})
    with pytest.raises(ArtifactError, match=r"holds 'results\.json' and is no run"):
        claim.check(run)
    store("s3").rm(f"{BUCKET}/{tmp_path.name}", recursive=True)
    claim.check(run)  # its copy lies here still
    with claim.held(run):
        assert not (run / "results.json").exists()


def test_each_part_of_a_large_file_has_a_checksum_and_the_file_is_not_fetched_by_who_put_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, sent = 5 * 2**20, list[bool]()
    send = AIOHTTPSession.send

    async def counted(self: AIOHTTPSession, request: Any) -> Any:
        if request.method == "PUT":
            content = request.body if isinstance(request.body, bytes) else request.body.getvalue()
            sent.append(base64.b64decode(request.headers["x-amz-checksum-crc32"]) == crc32(content).to_bytes(4, "big"))
        return await send(self, request)

    monkeypatch.setattr(AIOHTTPSession, "send", counted)
    monkeypatch.setattr(objects, "_PART", part)
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: part)
    content = os.urandom(2 * part + 1)
    STORAGE.put(run / "large", lambda path: path.write_bytes(content))
    STORAGE.put(run / "small", lambda path: path.write_bytes(content[:100]))
    assert sent == [True] * 4, "three parts, and a file"
    assert at_hand(elsewhere(run, tmp_path) / "large").read_bytes() == content
    monkeypatch.setattr(objects, "_get", None)
    STORAGE.fetch(run)
    assert (run / "large").read_bytes() == content


def test_what_is_removed_while_it_is_fetched_is_not_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = elsewhere(run, tmp_path)
    for name in ("a.json", "b.json"):
        write_json(run / name, {})
    STORAGE.fetch(there)
    write_json(run / "a.json", {"n": 2})
    real = objects._get

    def removed_before(path: Path, to: Path) -> None:
        STORAGE.delete(run / path.name)
        real(path, to)

    monkeypatch.setattr(objects, "_get", removed_before)
    STORAGE.fetch(there)
    assert not (there / "a.json").exists() and (there / "b.json").exists()


def test_a_store_whose_package_is_missing_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path))
    for scheme, package in (("gs", "gcsfs"), ("abfs", "adlfs")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(OSError, match=f"{package} is not installed on this machine: pip install {package}:"):
            at_hand(f"{scheme}://bucket/log.csv")
