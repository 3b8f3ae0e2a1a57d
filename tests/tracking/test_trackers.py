"""Trackers are told of each trial once, whatever happens; a run neither waits for one nor comes out otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import cli, pipeline
from raytune_rec.components import options_of
from raytune_rec.config import Job
from raytune_rec.errors import JobError, UserError
from raytune_rec.stages import evaluate
from raytune_rec.stages.checks.check import told
from raytune_rec.tracking import teller, watch
from raytune_rec.tracking.record import Record
from tests.tracking.conftest import lines, settled

MakeJob = Callable[..., Job]
Run = Callable[[Job, Path], list[str]]


def _results(run: Path) -> dict[str, Any]:
    """Every weight that a run has trained and every number that it has found, but for times."""
    weights = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.safetensors")}
    return weights | {name: _timeless(json.loads((run / name).read_text())) for name in ("trials.json", "results.json")}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "second" not in k}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def test_a_run_and_each_trial_are_told_once_and_nothing_comes_out_otherwise(job: MakeJob, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "told"
    run(job({}), tmp_path / "without")
    said = run(job({"lines": {"file": str(file)}}), tmp_path / "with")
    assert _results(tmp_path / "with") == _results(tmp_path / "without") and len(_results(tmp_path / "with")) > 8
    words = lines(file)
    assert words[0]["facts"]["job"] == "small" and words[0]["facts"]["trials"] == 4
    assert str(tmp_path) not in json.dumps(words)  # a home folder has the name of its user
    trials = [word for word in words if "trial" in word]
    assert sorted(t["trial"] for t in trials) == sorted(settled(tmp_path / "with"))
    assert {t["state"] for t in trials} == {"complete", "pruned"} and all(t["options"] for t in trials)
    assert words[-1]["end"] == "finished" and 0 < words[-1]["measures"]["test/auc/finetune"] < 1
    assert f"trackers.lines: told of this run: {file}" in said
    run(job({"lines": {"file": str(file)}}), tmp_path / "with")
    assert lines(file) == words  # the same command again has nothing to tell


def test_a_finished_run_is_told_when_a_tracker_is_added_and_more_trials_are_added_to_it(
    job: MakeJob, run: Run, tmp_path: Path
) -> None:
    out, file = tmp_path / "run", tmp_path / "told"
    run(job({}), out)
    run(job({"lines": {"file": str(file)}}), out)
    first = {word["trial"] for word in lines(file) if "trial" in word}
    assert first == settled(out)
    run(job({"lines": {"file": str(file)}}, tune={**job({}).tune.model_dump(), "trials": 8}), out)
    every = [word["trial"] for word in lines(file) if "trial" in word]
    assert len(every) == len(set(every)) and set(every) == settled(out) > first
    assert len({word["begin"] for word in lines(file) if "begin" in word}) == 1  # one run there, gone on with


def test_another_place_is_told_everything(job: MakeJob, run: Run, tmp_path: Path) -> None:
    """As where options name another server: that one has no trial yet, whatever the first one was told."""
    out, places = tmp_path / "run", [tmp_path / "first", tmp_path / "second"]
    for file in places:
        run(job({"lines": {"file": str(file)}}), out)
    first, second = map(lines, places)
    assert {word["trial"] for word in second if "trial" in word} == settled(out) and second[-1] == first[-1]
    assert second[0] == first[0]  # the same run, by its key


def test_a_run_that_fails_is_told_as_such_and_gone_on_with(
    job: MakeJob, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, file = tmp_path / "run", tmp_path / "told"
    wanted = job({"lines": {"file": str(file)}})

    def fails(context: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is full"):
        patch.setattr(evaluate, "run", fails)
        run(wanted, out)
    assert lines(file)[-1] == {"end": "failed", "measures": {}}
    run(wanted, out)
    every = [word["trial"] for word in lines(file) if "trial" in word]
    assert len(every) == len(set(every)) == len(settled(out)) and lines(file)[-1]["end"] == "finished"


def test_a_tracker_that_fails_is_a_note_and_is_told_later(job: MakeJob, run: Run, tmp_path: Path) -> None:
    out, file, away = tmp_path / "run", tmp_path / "told", tmp_path / "away"
    away.touch()
    wanted = job({"lines": {"file": str(file), "fails": str(away)}})
    said = [line for line in run(wanted, out) if line.startswith("trackers.lines")]
    assert (out / "results.json").exists() and not file.exists()
    assert "ConnectionError: no answer from https://***@tracker.example/api; the results are whole without it" in said[-1]
    assert "secret-word" not in "".join(said) + "".join(p.read_text() for p in (out / "tracking").iterdir())
    away.unlink()
    run(wanted, out)  # the same command tells what is missing
    assert {word["trial"] for word in lines(file) if "trial" in word} == settled(out)


def test_a_tracker_that_hangs_is_waited_for_no_longer_than_said(
    job: MakeJob, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 1.0)
    said = run(job({"lines": {"hangs": True}}), tmp_path / "run")
    assert any("trackers.lines: has not answered for 1 s; the results are whole without it" in line for line in said)
    assert (tmp_path / "run" / "report" / "index.html").exists()


@pytest.mark.parametrize("said", ["", '{"end": "finished"}\n'])
def test_the_process_of_a_tracker_ends_with_its_driver(said: str, job: MakeJob, run: Run, tmp_path: Path) -> None:
    """A driver that was killed, also while it waits at the end: whoever goes on with its run must not meet another teller."""
    run(job({}), tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "raytune_rec.tracking.teller"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    folders = job({}).components
    given = {"run": str(tmp_path / "run"), "tracker": "lines", "options": {"hangs": True}, "folders": folders, "facts": {}}
    process.stdin.write(f"{json.dumps(given)}\n{said}")
    process.stdin.close()
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()


def test_what_is_told_is_noted_before_all_is(job: MakeJob, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill in the middle of thousands costs a few."""
    run(job({}), tmp_path / "run")
    monkeypatch.setattr(teller, "KEPT", 3)
    folders = [Path(folder) for folder in job({}).components]
    options = {"file": str(tmp_path / "told")}
    told = teller.Teller(tmp_path / "run", "lines", options, folders, {}).tell()
    assert [next(told) for _ in range(4)] == [15, 14, 13, 12]
    assert len(Record.of(tmp_path / "run", "lines", options).told) == 3


@pytest.mark.parametrize(("verb", "package"), [("check", "no_such_package"), ("run", "no_such.package")])
def test_a_tracker_that_is_not_installed_is_refused_before_anything_runs(
    verb: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb").mkdir()  # a folder of this name is no package
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    (tmp_path / "own" / "trackers").mkdir(parents=True)
    own = Path(__file__).with_name("conftest.py").read_text().split("'''")[1]
    (tmp_path / "own" / "trackers" / "lines.py").write_text(own.replace("needs = {}", f'needs = {{"{package}": "a-package"}}'))
    text = (pipeline.job_text(_quickstart())).replace("components = []", f'components = ["{tmp_path / "own"}"]')
    (tmp_path / "job.toml").write_text(f"{text.split('[trackers]')[0]}\n[trackers.lines]\n")
    assert cli.main([verb, "job.toml", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert (
        f"trackers.lines: needs {package}, which is not installed; pip install 'a-package', or leave [trackers.lines] out."
        in said
    )
    assert not (tmp_path / "out" / "data").exists()


def _quickstart() -> Job:
    from raytune_rec import config
    from raytune_rec.job import shipped

    return config.read(shipped.job_path("quickstart"))


def test_options_of_trackers_are_checked_and_hold_no_password(job: MakeJob) -> None:
    for trackers, text in (
        ({"mlflow": {"uri": "https://me:word@host/api"}}, r"trackers.mlflow.uri: a job is kept and shown, and holds no password"),
        ({"mlflow": {"url": "x"}}, r"trackers.mlflow.url: no such option; known here: uri, experiment. Did you mean uri\?"),
        ({"mlfow": {}}, r"trackers: there is no 'mlfow'; there are lines, mlflow, wandb"),
        ({"wandb": {"mode": "off"}}, r"trackers.wandb.mode: Input should be '', 'online' or 'offline'"),
    ):
        with pytest.raises(UserError, match=text):
            told(job(trackers))
    for uri in ("postgresql://me:word@host/db", "postgresql://host/db?user=me&password=word"):
        with pytest.raises(JobError, match="set MLFLOW_TRACKING_URI instead"):
            options_of("trackers", "mlflow", {"uri": uri})


def test_words_of_an_error_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    error = ValueError("401 for key 0123456789abcdef\nat http://me:word@host:5000/x or http://me:w@rd@host")
    assert teller.words(error) == "ValueError: 401 for key *** at http://***@host:5000/x or http://***@host"
    assert (
        teller.without_secrets("told: postgresql://h/db?password=word&user=me") == "told: postgresql://h/db?password=***&user=me"
    )


def test_where_a_run_is_to_be_seen_is_told_without_a_password(job: MakeJob, run: Run, tmp_path: Path) -> None:
    """As of a server that MLFLOW_TRACKING_URI names with one."""
    (tmp_path / "http:").mkdir()
    said = run(job({"lines": {"file": f"{tmp_path}/http://me:secret-word@host"}}), tmp_path / "run")
    assert f"trackers.lines: told of this run: {tmp_path}/http://***@host" in said
