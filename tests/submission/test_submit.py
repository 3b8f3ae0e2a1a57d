"""`raytune-rec submit` against a cluster that is made up here: what is refused, found, gone on with and ended."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from raytune_rec import cli, config
from raytune_rec.command import submit
from raytune_rec.errors import MachineError, RunFailed
from raytune_rec.machine import dashboard, ray_start
from raytune_rec.submission import cluster as cluster_module
from raytune_rec.submission.cluster import Attempt
from raytune_rec.submission.package import PYTHON, left_behind, packed

OUT = "s3://bucket/run"
URL = "http://127.0.0.1:8265"


class _Cluster:
    """Keeps jobs as Ray does: an id is used once, and what has ended stays known."""

    jobs: ClassVar[dict[str, tuple[str, Mapping[str, str]]]] = {}
    entrypoints: ClassVar[list[str]] = []

    def __init__(self, address: str, token: str) -> None:
        self.address = address

    def attempts(self, name: str) -> list[Attempt]:
        of_run = [(key, *value) for key, value in self.jobs.items() if key.rpartition("-")[0] == name]
        return [Attempt(name, int(key.rpartition("-")[2]), status, "why", facts, None, None) for key, status, facts in of_run]

    def begin(self, attempt: str, entrypoint: str, package: Path, metadata: Mapping[str, str]) -> None:
        if attempt in self.jobs:
            raise RunFailed(f"{attempt} already exists")
        assert zipfile.is_zipfile(package)
        self.jobs[attempt] = ("RUNNING", metadata)
        self.entrypoints.append(entrypoint)

    def end(self, attempt: Attempt, status: str = "STOPPED") -> Attempt:
        self.jobs[attempt.id] = (status, attempt.metadata)
        return self.attempts(attempt.name)[attempt.number - 1]

    stop = end

    def follow(self, attempt: Attempt, write: object) -> Attempt:
        return self.end(attempt, "FAILED")

    def log(self, attempt: Attempt) -> str:
        return "one\ntune: 3 of 4 trials\n"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> type[_Cluster]:
    monkeypatch.setattr(submit, "Cluster", _Cluster)
    monkeypatch.setattr(dashboard, "check", lambda url, token: None)
    _Cluster.jobs.clear()
    _Cluster.entrypoints.clear()
    return _Cluster


def _submit(*words: str) -> int:
    return cli.main(["submit", "quickstart", "--address", URL, *words])


def test_the_same_command_finds_its_job_and_goes_on_after_any_end(
    cluster: type[_Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _submit("--out", OUT) == 0
    (first,) = cluster.jobs
    assert first.startswith("raytune-rec-quickstart-") and first.endswith("-1")
    assert cluster.entrypoints == [f"sh raytune_rec/submission/python.sh -m raytune_rec run job.toml --out {OUT}"]
    assert _submit("--out", OUT) == 0 and len(cluster.jobs) == 1
    assert f"{first}: is there already, running" in capsys.readouterr().out
    for end in ("SUCCEEDED", "FAILED", "STOPPED"):
        last = cluster("", "").attempts(first[:-2])[-1]
        cluster("", "").end(last, end)
        assert _submit("--out", OUT) == 0 and list(cluster.jobs)[-1] == f"{first[:-1]}{last.number + 1}"
    assert _submit("--out", f"{OUT}2") == 0 and len({name[:-2] for name in cluster.jobs}) == 2


def test_other_settings_do_not_pass_for_the_job_that_runs(cluster: type[_Cluster], capsys: pytest.CaptureFixture[str]) -> None:
    assert _submit("--out", OUT) == 0
    assert _submit("--out", OUT, "--set", "tune.trials=9") == 2 and len(cluster.jobs) == 1
    assert "works in s3://bucket/run for another job or other settings" in capsys.readouterr().err
    assert _submit("--out", OUT, "--stop") == 0  # the remedies
    assert _submit("--out", OUT, "--set", "tune.trials=9") == 0 and _submit("--out", f"{OUT}2") == 0


def test_status_stop_and_follow(cluster: type[_Cluster], capsys: pytest.CaptureFixture[str]) -> None:
    assert _submit("--out", OUT, "--status") == 2 and "submit it first" in capsys.readouterr().err
    assert _submit("--out", OUT, "--status", "--stop") == 2 and "give one of them" in capsys.readouterr().err
    assert _submit("--out", OUT) == _submit("--out", OUT, "--status") == 0
    told = capsys.readouterr().out
    assert "-1: running" in told and "  tune: 3 of 4 trials" in told and f"dashboard: {URL}/#/jobs/" in told
    assert _submit("--out", OUT, "--stop") == 0 and "-1: stopped; the same command" in capsys.readouterr().out
    assert _submit("--out", OUT, "--stop") == 0 and "has ended already, stopped" in capsys.readouterr().out
    assert _submit("--out", OUT, "--follow") == 1
    assert "-2: failed (why). The same command goes on where it stopped." in capsys.readouterr().err


def test_all_that_is_wrong_is_said_before_anything_is_sent(
    cluster: type[_Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    data = [
        "data.source=tabular",
        "data.options.files=logs/*.csv",
        "data.options.missing=['meta.json']",
        "tune.warm_start=['runs/a']",
    ]
    words = [word for setting in ("data.options.strength=", *data) for word in ("--set", setting)][2:]
    job = tmp_path / "job.toml"
    job.write_text('name = "x"\n[data]\nsource = "tabular"\n[backbone]\nname = "deepfm"\n[methods.a]\nstrategy = "nonsense"\n')
    assert cli.main(["submit", str(job), "--address", URL, "--out", "runs/x", *words]) == 2 and not cluster.jobs
    told = capsys.readouterr().err
    for part in (
        "data.options.files = 'logs/*.csv': is relative",
        "data.options.missing = 'meta.json'",
        "tune.warm_start = 'runs/a'",
    ):
        assert part in told
    assert "--out runs/x: is relative to a folder that Ray removes with the job; name a URI" in told and "nonsense" in told
    assert _submit() == 2 and "--out: is not given; name a URI (s3://bucket/run), or an absolute path" in capsys.readouterr().err


def test_a_folder_with_a_tokenizer_stays_behind_and_the_word_for_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("tokens", "words"):
        (tmp_path / folder).mkdir()
    values = {"name": "x", "backbone": {"name": "deepfm"}, "methods": {"a": {"strategy": "single"}}}
    told = {
        name: left_behind(config.parse({**values, "data": {"source": "tabular", "text": {"tokenizer": name}}}))
        for name in ("tokens", "words", "google/flan-t5-small")
    }
    assert told.pop("tokens")[0].startswith("data.text.tokenizer = 'tokens': is relative to a folder of this machine")
    assert told == {"words": [], "google/flan-t5-small": []}


def test_paths_that_all_machines_share_stay() -> None:
    options = {"files": ["s3://bucket/*.csv", "/shared/log.csv", "~/log.csv"], "columns": {"item": "a.b"}}
    job = config.parse(
        {
            "name": "x",
            "data": {"source": "tabular", "options": options},
            "backbone": {"name": "deepfm"},
            "methods": {"a": {"strategy": "single"}},
        }
    )
    assert left_behind(job) == []


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("", "names no cluster"),
        ("localhost:6379", "is the cluster's own address"),
        ("ray://head:10001", "is no such URL"),
        ("http://", "is no such URL"),
        ("http://head:99999", "is no such URL"),
        ("http://me:secret@head:8265", "is more than the URL"),
    ],
)
def test_an_address_that_is_none_is_told(address: str, rule: str) -> None:
    with pytest.raises(MachineError, match=rule) as raised:
        dashboard.url(address)
    assert "http://127.0.0.1:8265" in str(raised.value) or "leave out" in str(raised.value)
    assert dashboard.url("http://127.0.0.1:8265/") == URL


class _Answers(BaseHTTPRequestHandler):
    """Answers as told by the path of the URL: a status, and a body."""

    def do_GET(self) -> None:
        status, body = self.path.split("/")[1:3]
        if body == "token" and self.headers["Authorization"] == "Bearer right":
            status = "200"
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(b'{"ray_version": "2.60.0"}' if status == "200" and body != "page" else b"<html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_dashboard_is_known_by_its_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dashboard.check(f"{server}/401/token", "right")
    dashboard.check(f"{server}/200/open", "")
    wrong = {
        ("401/token", ""): "asks for a token, and none was sent; set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH",
        ("403/token", "wrong"): "asks for a token, and the token that was sent is not its own; set RAY_AUTH_MODE=token",
        ("404/x", ""): r"is no dashboard of Ray \(HTTP 404\)",
        ("200/page", ""): "is no dashboard of Ray; give the URL",
    }
    for (path, token), rule in wrong.items():
        with pytest.raises(MachineError, match=rule) as raised:
            dashboard.check(f"{server}/{path}", token)
        assert "wrong'" not in str(raised.value) and "Bearer" not in str(raised.value)
    monkeypatch.setattr(dashboard, "ANSWER_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MachineError, match=r"nobody answered within 0\.2 s"):
            dashboard.check(nobody, "")
    with pytest.raises(MachineError, match="nobody can be reached"):
        dashboard.check(nobody, "")


def test_the_token_is_that_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    path = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert ray_start.token(path) == "abc" and ray_start.token({**path, "RAY_AUTH_TOKEN": "d"}) == "d"
    assert ray_start.token({**path, "RAY_AUTH_MODE": "disabled"}) == ray_start.token({"HOME": str(tmp_path)}) == ""


def test_the_package_holds_code_and_job_and_runs_by_itself(tmp_path: Path) -> None:
    own = tmp_path / "own" / "prompts"
    own.mkdir(parents=True)
    (own / "mine.py").write_text("# a prompt\n")
    (own / "data.csv").write_text("1,2\n")
    (own.parent / "secrets.toml").write_text("password = 'x'\n")
    (own.parent / "search_spaces").mkdir()
    (own.parent / "search_spaces" / "mine.toml").write_text("[space]\n")
    job = config.read(Path("jobs/quickstart.toml")).model_copy(update={"components": [str(own.parent)]})
    contents = []
    for _ in range(2):
        with packed(job) as package:
            contents.append(package.read_bytes())
    assert contents[0] == contents[1] and len(contents[0]) < 2 << 20
    with packed(job) as package, zipfile.ZipFile(package) as files:
        names = set(files.namelist())
        assert {"job.toml", PYTHON, "raytune_rec/report/page/style.css", "search_spaces/plate.toml"} <= names
        ours = [file for file in Path("raytune_rec").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        assert {str(file) for file in ours} <= names, "a run on a cluster needs all that a run here does"
        assert not [name for name in names if name.endswith(".pyc")]
        of_user = {"components/0/prompts/mine.py", "components/0/search_spaces/mine.toml"}
        assert {name for name in names if name.startswith("components/")} == of_user
        assert not [
            name for name in files.namelist() if name.endswith((".csv", ".parquet")) or name.startswith(("tests", "runs"))
        ]
        files.extractall(tmp_path / "there")
    where = "import sys; from raytune_rec import cli; print(cli.__file__); sys.exit(cli.main(['check', 'job.toml']))"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path / "there", env={"PYTHONPATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith(str(tmp_path / "there")), done.stderr


def _python(path: Path, packages: bool) -> Path:
    """A Python that has our packages or none, and says what it is asked."""
    path.parent.mkdir(parents=True)
    path.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {int(not packages)}\necho "$0" "$@"\n')
    path.chmod(0o755)
    return path


def _started(path: str, above: str = "") -> subprocess.CompletedProcess[str]:
    """What a job's entry does. path: PATH of its shell. above: an argument of the process that started the shell."""
    start = "import subprocess, sys; sys.exit(subprocess.run(f'sh {sys.argv[1]} -m x', shell=True).returncode)"
    words = [sys.executable, "-c", start, str(Path(PYTHON).absolute()), above]
    return subprocess.run(words, env={"PATH": f"{path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
def test_a_job_runs_the_python_of_rays_workers_whatever_is_on_the_path(tmp_path: Path) -> None:
    bare, full, blank = (_python(tmp_path / name / "bin" / "python", name != "bare") for name in ("bare", "venv", "my venv"))
    for python, command in ((full, f"{full} setup_worker.py --x=1"), (blank, f'"{blank}" setup_worker.py')):
        done = _started(str(bare.parent), f"--python_worker_command={command}")
        assert (done.returncode, done.stdout) == (0, f"{python} -m x\n"), done
    assert _started(str(full.parent)).stdout == f"{full} -m x\n", "where no raylet is seen"


def test_a_python_without_our_packages_is_told_with_the_remedy(tmp_path: Path) -> None:
    bare = _python(tmp_path / "bare" / "bin" / "python", False)
    for done in (_started(str(bare.parent)), _started("/nowhere", f"--python_worker_command={bare} setup.py")):
        assert done.returncode == 2 and "has not the packages that raytune-rec needs; install it for the Python" in done.stderr
        assert "(pip install -c constraints.txt .), and start Ray from there again." in done.stderr and not done.stdout


def test_a_run_folder_in_the_package_of_a_ray_job_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    assert cli.main(["run", "quickstart"]) == 2
    told = capsys.readouterr().err
    assert "lies in the package of this Ray job, which Ray removes with all that is in it; name a URI" in told
    assert not [path for path in place.rglob("*") if path.is_file()]


class _Dashboard:
    """Ray's client for a job of two lines, whose connection breaks once in the middle of them, hours after it was made."""

    def __init__(self, clock: list[float]) -> None:
        self._clock, self._asked = clock, 0

    async def tail_job_logs(self, attempt: str) -> AsyncIterator[str]:
        self._asked += 1
        yield "first\nsec"
        if self._asked == 1:
            self._clock[0] += 7200.0
            raise RuntimeError("WebSocket connection closed unexpectedly")
        yield "ond\n"

    def get_job_info(self, attempt: str) -> SimpleNamespace:
        status = "SUCCEEDED" if self._asked > 1 else "RUNNING"
        return SimpleNamespace(submission_id=attempt, status=status, message="", metadata={}, start_time=None, end_time=None)


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> cluster_module.Cluster:
    clock = [1000.0]

    def tick() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(cluster_module.time, "monotonic", tick)
    monkeypatch.setattr(cluster_module, "_PAUSE", 0.0)
    cluster = object.__new__(cluster_module.Cluster)
    cluster.address, cluster._client = URL, _Dashboard(clock)
    return cluster


_ATTEMPT = Attempt("raytune-rec-x", 1, "RUNNING", "", {}, None, None)


def test_a_connection_that_breaks_after_hours_is_made_anew_and_no_line_comes_twice(followed: cluster_module.Cluster) -> None:
    lines: list[str] = []
    assert followed.follow(_ATTEMPT, lines.append).status == "SUCCEEDED"
    assert "".join(lines) == "first\nsecond\n"


def test_who_reads_the_lines_no_more_is_told_at_once(followed: cluster_module.Cluster) -> None:
    def closed(text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        followed.follow(_ATTEMPT, closed)


def test_a_dashboard_that_stays_away_is_told(followed: cluster_module.Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(attempt: str) -> AsyncIterator[str]:
        followed._client._clock[0] += 50.0
        raise OSError
        yield ""

    monkeypatch.setattr(followed._client, "tail_job_logs", away)
    with pytest.raises(RunFailed, match="has not answered for 120 s; the job may go on, and the same command finds it again"):
        followed.follow(_ATTEMPT, print)
