"""The command `serve`: refused before it starts, or one that answers while prompts come and go, and leaves nothing."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raytune_rec import cli
from tests.pretraining.test_cluster import LINUX, beyond, descendants, listeners
from tests.serving.conftest import ROWS, served

_SECONDS = 180
"""Until the service has to be there, on a busy machine."""


@dataclass(frozen=True)
class Asked:
    """The service of a process."""

    process: subprocess.Popen[str]
    port: int
    token: str

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_SECONDS)
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        read = answer.read()
        connection.close()
        return answer.status, json.loads(read) if read else None


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@pytest.fixture(scope="module")
def asked(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder, port = tmp_path_factory.mktemp("serve"), free_port()
    (folder / "token").write_text("not-to-be-guessed\n")
    env = {k: v for k, v in os.environ.items() if k not in ("RAY_AUTH_MODE", "RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    env |= {"RAY_AUTH_TOKEN_PATH": str(folder / "ray"), "TMPDIR": str(folder), "RAY_TMPDIR": "/tmp"}
    words = [sys.executable, "-m", "raytune_rec", "serve", str(run), "--port", str(port), "--token", str(folder / "token")]
    with (folder / "err").open("w") as err:
        process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=err, text=True)
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline(), process.stdout.readline()]
            assert "2 prompts on backbone" in lines[0] and "ready" in lines[1], (lines, (folder / "err").read_text())
            yield Asked(process, port, "not-to-be-guessed")
        finally:
            process.terminate()
            process.wait(_SECONDS)


def test_requests_are_answered_while_prompts_come_and_go(asked: Asked, run: Path) -> None:
    expected = served(run)[0].score(ROWS)

    def ask(place: int) -> float:
        row = {name: values[place % 6] for name, values in ROWS.items()}
        status, answer = asked("POST", "/score", {"rows": [row]})
        assert status == 200, answer
        return float(answer["scores"][0])

    with ThreadPoolExecutor(8) as pool:
        scores = [pool.submit(ask, i) for i in range(120)]
        for i in range(6):
            assert asked("PUT", f"/prompts/more%20{i}", {"path": f"artifacts/{('shop', 'club')[i % 2]}"})[0] == 201
            assert asked("PUT", "/prompts/shop", {"path": "artifacts/shop"})[0] == 200
            row = {"user": "u1", "item": "i1", "domain": f"more {i}"}
            assert asked("POST", "/score", {"rows": [row], "unknown": "raise"})[0] == 200
            assert i % 3 == 0 or asked("DELETE", f"/prompts/more%20{i}")[0] == 204
        np.testing.assert_allclose([score.result() for score in scores], np.tile(expected, 20), rtol=1e-5)
    answer = asked("GET", "/prompts")[1]
    assert [prompt["name"] for prompt in answer["prompts"]] == ["club", "shop", "more 0", "more 3"]


def test_a_wrong_request_is_told_and_a_token_is_asked_for(asked: Asked) -> None:
    assert asked("POST", "/score", {"rows": ROWS}, token="another")[0] == 401
    status, answer = asked("POST", "/score", {"rows": [{"user": "u1"}]})
    assert status == 422 and "Traceback" not in str(answer)
    assert asked("GET", "/openapi.json", token="")[0] == 200


@pytest.mark.skipif(not LINUX, reason="no other system tells who listens where")
def test_nothing_listens_beyond_this_machine(asked: Asked) -> None:
    heard = listeners(asked.process.pid)
    assert any("ServeReplica" in process for process in heard.values()) and beyond(heard) == {}


@pytest.mark.skipif(not LINUX, reason="no other system tells the processes of a process")
def test_prompts_that_were_added_outlive_the_process_that_serves(asked: Asked) -> None:
    before = asked("GET", "/prompts")[1]
    (replica,) = [pid for pid in descendants(asked.process.pid) if b"ServeReplica" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(replica, signal.SIGKILL)
    ends = time.monotonic() + _SECONDS
    while (answer := asked("GET", "/prompts"))[0] != 200 and time.monotonic() < ends:
        time.sleep(0.2)
    assert answer == (200, before)


def test_it_ends_when_it_is_told_to_and_leaves_nothing(asked: Asked) -> None:
    """The last one: it ends the module's Ray."""
    ours = descendants(asked.process.pid) if LINUX else set()
    asked.process.send_signal(signal.SIGTERM)
    assert asked.process.wait(_SECONDS) == 0
    assert asked.process.stdout is not None and asked.process.stdout.read().endswith("ended\n")
    ends = time.monotonic() + 10
    while (left := [pid for pid in ours if Path(f"/proc/{pid}/exe").exists()]) and time.monotonic() < ends:
        time.sleep(0.1)
    assert left == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host", "0.0.0.0"], r"--host 0\.0\.0\.0: .* name a file that holds one, --token FILE"),
        (["--host", "0.0.0.0", "--token", "none"], "none: cannot be read .*No such file"),
        (["--host", "nobody.invalid", "--token", "TOKEN"], r"nobody can listen there .*name another --port, or a --host"),
        (["--token", "EMPTY"], "holds 0 words; write one that nobody guesses"),
        (["--port", "0"], "greater than or equal to 1"),
        (["RUN/backbones"], "no run with artifacts, and no artifact"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    monkeypatch.setattr("raytune_rec.serving.server.connect", lambda threads: pytest.fail("Ray was started"))
    (tmp_path / "token").write_text("one")
    (tmp_path / "empty").write_text(" \n")
    placed = [str(tmp_path / w.lower()) if w in ("TOKEN", "EMPTY") else w.replace("RUN", str(run)) for w in words]
    assert cli.main(["serve", *([] if words[0].startswith("RUN") else [str(run)]), *placed]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_port_that_is_taken_a_cluster_another_ray_and_a_missing_extra_are_told(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["serve", str(run), "--port", str(taken.getsockname()[1])]) == 2
        assert "nobody can listen there (Address already in use); name another --port" in capsys.readouterr().err
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    assert cli.main(["serve", str(run)]) == 2
    assert "unset RAY_ADDRESS" in capsys.readouterr().err
    monkeypatch.delenv("RAY_ADDRESS")
    with monkeypatch.context() as another:
        another.delattr("ray.serve._private.replica.add_port_to_grpc_server")
        assert cli.main(["serve", str(run)]) == 2
        pinned = re.search(r"install one that has: pip install 'ray\[serve\](==\S+)'", capsys.readouterr().err)
        assert pinned and f"\nray{pinned[1]}\n" in Path("constraints.txt").read_text()
    for name in ("raytune_rec.serving.server", "fastapi"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("raytune_rec.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert cli.main(["serve", str(run)]) == 2
    assert "install it: pip install 'raytune-rec[serve]'" in capsys.readouterr().err
