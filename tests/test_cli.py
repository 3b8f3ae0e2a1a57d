"""The command: its words are frozen, its exit codes mean something, mistakes are plain lines."""

import importlib
import json
import re
import signal
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.core import TyperOption
from typer.testing import CliRunner

from raytune_rec import __version__, cli, components
from raytune_rec.command import doctor
from raytune_rec.command.listing import FAMILIES, listed
from raytune_rec.data.sources.movielens import MovieLens
from raytune_rec.errors import DataError, RunFailed
from raytune_rec.machine import ray_start
from raytune_rec.strategies.aliases import ALIASES

_ROOT = Path(__file__).parents[1]
_STAGE = ["--help", "--out", "--set", "JOB"]
_WORDS = {
    "run": [*_STAGE, "--verify", "--dashboard"],
    "prepare": _STAGE,
    "pretrain": _STAGE,
    "tune": [*_STAGE, "--only-new"],
    "export": _STAGE,
    "evaluate": _STAGE,
    "report": _STAGE,
    "submit": [*_STAGE, "--address", "--follow", "--status", "--stop"],
    "vectors": ["--help", "--out", "--pretraining", "RUN"],
    "init": ["FILES", "--column", "--force", "--help", "--out", "--rows"],
    "score": ["--help", "--carry", "--input", "--output", "--unknown", "PROMPTS"],
    "recommend": ["--help", "--carry", "--count", "--input", "--output", "--unknown", "PROMPTS"],
    "serve": ["--allow", "--help", "--host", "--port", "--token", "PROMPTS"],
    "check": [*_STAGE, "--only-new"],
    "runs": ["--help", "FOLDER"],
    "compare": ["FOLDERS", "--help", "--out"],
    "show": ["--help", "WHAT"],
    "doctor": ["--help", "--out", "--start-ray"],
}
_JOB = """
name = "small"
[data]
source = "synthetic"
[backbone]
name = "deepfm"
[methods.single]
strategy = "single"
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A pipeline that only writes down how it is called."""
    made: list[dict[str, Any]] = []
    pipeline = types.ModuleType("raytune_rec.pipeline")
    pipeline.run = lambda job, out, **how: made.append({"job": job, "out": out, **how})  # type: ignore[attr-defined]
    pipeline.check = lambda job, out: f"plan of {job.name} in {out}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raytune_rec.pipeline", pipeline)
    monkeypatch.setattr(importlib.import_module("raytune_rec"), "pipeline", pipeline, raising=False)
    return made


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(_JOB)
    return tmp_path / "job.toml"


def test_commands_and_flags_are_frozen() -> None:
    group: Any = typer.main.get_command(cli.app)
    found = {}
    for name, command in group.commands.items():
        options = [word for p in command.params if isinstance(p, TyperOption) for word in p.opts]
        found[name] = sorted(["--help", *options, *(p.name.upper() for p in command.params if not isinstance(p, TyperOption))])
    assert found == {name: sorted(words) for name, words in _WORDS.items()}


@pytest.mark.parametrize("stage", ["prepare", "pretrain", "tune", "export", "evaluate", "report"])
def test_a_stage_runs_alone(calls: list[dict[str, Any]], job: Path, stage: str) -> None:
    assert cli.main([stage, str(job)]) == 0
    assert [(c["only"], c["out"]) for c in calls] == [(stage, job.parent / "runs" / "small")]


def test_run_takes_settings_and_a_folder(calls: list[dict[str, Any]], job: Path, tmp_path: Path) -> None:
    assert cli.main(["run", str(job), "--set", "tune.trials=3", "--set", "seed=7", "--out", str(tmp_path / "there")]) == 0
    assert calls[0]["job"].tune.trials == 3 and calls[0]["job"].seed == 7
    assert calls[0]["out"] == tmp_path / "there" and calls[0]["only"] is None and not calls[0]["verify"]
    assert cli.main(["run", str(job), "--verify"]) == 0 and calls[1]["verify"] and not calls[1]["dashboard"]
    assert cli.main(["run", str(job), "--dashboard"]) == 0 and calls[2]["dashboard"]


def test_check_prints_the_plan(calls: list[dict[str, Any]], job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(job)]) == 0
    assert f"plan of small in {job.parent / 'runs' / 'small'}" in capsys.readouterr().out.replace("\n", "") and calls == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["run"], "Missing argument 'JOB'"),
        (["run", "job.toml", "--colour"], "No such option: --colour"),
        (["rnu", "job.toml"], "No such command 'rnu'"),
        (["show", "everything"], "'everything' is not one of 'backbones'"),
        (["run", "nowhere"], "nowhere: no such job file, and no shipped job of that name"),
        (["check", "n" * 300], "nnn: no such job file"),
        (["run", "job.toml", "--set", "tune.trials=0"], r"tune.trials: Input should be greater than or equal to 1 (given: 0)."),
        (["check", "job.toml", "--set", "seed"], "--set 'seed': write part.option=value."),
        (["run", "job.toml", "--out", "job.toml/x"], "cannot be made (Not a directory)"),
    ],
)
def test_a_mistake_is_one_plain_line(
    calls: list[dict[str, Any]], job: Path, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    heard = capsys.readouterr().err
    assert text in heard and heard.startswith("raytune-rec: ") and heard.count("\n") == 1
    assert calls == []


@pytest.mark.parametrize(
    ("words", "text", "mended"),
    [
        (["check", "nowhere"], "no shipped job of that name; shipped are ", ["check", "quickstart"]),
        (
            ["prepare", "job.toml", "--out", "job.toml/x"],
            "name a folder that you may write to",
            ["prepare", "job.toml", "--out", "x"],
        ),
        (["run", "job.toml", "--set", "seed"], "write part.option=value", ["run", "job.toml", "--set", "seed=1"]),
        (["run", "job.toml", "--set", "sead=1"], "no such option; known here: name, ", ["run", "job.toml", "--set", "name=x"]),
        (["run"], "Missing argument 'JOB'", ["run", "job.toml"]),
        (["show", "everything"], "is not one of 'backbones'", ["show", "backbones"]),
    ],
)
def test_the_command_that_a_mistake_names_is_run(
    calls: list[dict[str, Any]], job: Path, words: list[str], text: str, mended: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert text in capsys.readouterr().err
    assert cli.main(mended) == 0


def test_several_mistakes_are_several_lines(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(job), "--set", "tune.trials=0", "--set", "tune.pack=0", "--set", "colour=red"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError(["a.csv:3: no 'x'.", "Mend it."]), 2, "raytune-rec: a.csv:3: no 'x'.\nraytune-rec: Mend it.\n"),
        (RunFailed("3 of 16 packs failed."), 1, "raytune-rec: 3 of 16 packs failed.\n"),
        (
            OSError(28, "No space left on device", "x.parquet"),
            1,
            "raytune-rec: x.parquet: No space left on device. Make room there, or name a folder on another disk with --out. "
            "The same command goes on where this one stopped.\n",
        ),
        (
            OSError(21, "Is a directory", "results.json"),
            1,
            "raytune-rec: results.json: Is a directory. A folder lies where a file belongs: remove it. "
            "The same command goes on where this one stopped.\n",
        ),
        (OSError(2, "No such file or directory", "x"), 1, "raytune-rec: x: No such file or directory\n"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 4 GiB"),  # as torch says it
            1,
            "raytune-rec: out of memory (DefaultCPUAllocator: can't allocate memory: 4 GiB); lower training.batch_size or "
            "tune.pack, or give the process more.\n",
        ),
        (
            MemoryError("4 GiB"),
            1,
            "raytune-rec: out of memory (4 GiB); lower training.batch_size or tune.pack, or give the process more.\n",
        ),
        (KeyboardInterrupt(), 130, "raytune-rec: Interrupted. The same command goes on where this one stopped.\n"),
    ],
)
def test_exit_codes(
    calls: list[dict[str, Any]],
    job: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(sys.modules["raytune_rec.pipeline"], "run", fails)
    assert cli.main(["run", str(job)]) == code
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("out", [[], ["--out", "run"]])
def test_a_folder_that_is_gone_under_the_command_is_told(
    out: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert cli.main(["prepare", "quickstart", *out]) == 1
    heard = "the folder that this command was given in is gone; change into one that is there, and give it again."
    assert capsys.readouterr().err == f"raytune-rec: {heard}\n"


def test_a_file_that_ends_too_early_is_no_ctrl_c(
    calls: list[dict[str, Any]], job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """typer takes an EOFError for a person who leaves a prompt."""

    def fails(*_: object, **__: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(sys.modules["raytune_rec.pipeline"], "run", fails)
    assert cli.main(["run", str(job)]) == 1
    assert "a file ended too early (Ran out of input)" in capsys.readouterr().err


def test_sigterm_ends_every_stage_with_a_word(
    calls: list[dict[str, Any]], job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["raytune_rec.pipeline"], "run", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr("raytune_rec.machine.signals.threading.Timer", lambda *_: types.SimpleNamespace(start=lambda: None))
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", str(job)])
    assert ended.value.code == 143 and "Ended by SIGTERM. The same command goes on" in capfd.readouterr().err


@pytest.mark.parametrize("seconds", [60, 0], ids=["within the block", "after it"])
@pytest.mark.parametrize(("name", "code", "said"), [("SIGTERM", 143, "Ended by SIGTERM"), ("SIGINT", 130, "interrupted")])
def test_a_signal_that_meets_an_object_as_it_goes_is_not_forgotten(name: str, code: int, said: str, seconds: int) -> None:
    """Python prints what is raised in `__del__`, and goes on."""
    script = f"""
import signal, sys, time
from raytune_rec.machine.signals import ends_on_sigterm
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is given one that does nothing
class Going:
    def __del__(self):
        signal.raise_signal(signal.{name})
        time.sleep(0)
try:
    with ends_on_sigterm():
        Going()
        print("went on")
        time.sleep({seconds})
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert ended.returncode == code and ended.stdout == "went on\n"
    assert ended.stderr.count(said) == 1 and "Traceback" not in ended.stderr


def test_shipped_jobs_go_by_name(calls: list[dict[str, Any]], job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job.parent / "jobs").mkdir()
    (job.parent / "jobs" / "tiny.toml").write_text(_JOB.replace("small", "tiny"))
    monkeypatch.setattr("raytune_rec.job.shipped._PACKAGE", job.parent)
    assert cli.main(["run", "tiny"]) == 0
    assert calls[0]["job"].name == "tiny"


@pytest.mark.parametrize("what", list(cli.Shown))
def test_show_lists_what_there_is(what: cli.Shown, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", what.value]) == 0
    shown = capsys.readouterr().out
    families: dict[str, components.Family] = {"backbones": "backbones", "prompts": "prompts", "objectives": "objectives"}
    for name in components.names(families[what]) if what in families else ALIASES if what == "strategies" else ():
        assert name in shown


def test_show_tells_kinds_defaults_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "backbones"])
    of_bert = capsys.readouterr().out.partition("bert4rec")[2]
    dropout = next(line for line in of_bert.splitlines() if line.strip().startswith("dropout "))
    assert "numeric" in dropout and "float, ge 0, lt 1" in dropout and "0.1" in dropout and "dropout rate" in dropout


def test_every_option_says_what_it_does() -> None:
    options = [(what, t.name, *row) for what in (*FAMILIES, "job") for t in listed(what) for row in t.options]
    assert len(options) > 300 and [option for option in options if not option[-1]] == []


def test_show_sources_tells_files_options_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "sources"])
    shown = capsys.readouterr().out
    of_movies, of_tables = (re.split(r"\n(?=\w+  \w)", shown.partition(f"\n{name}  ")[2])[0] for name in ("movielens", "tabular"))
    assert "`u.data`, `u.user`, `u.item`, `u.genre`" in of_movies and "features.<name>.separator " in of_tables
    told = {words[0]: words[1:] for line in of_movies.splitlines() if len(words := line.split()) == 3}
    for field in MovieLens(MovieLens.Options(path="x", edition="100k")).fields():
        assert told[field.name] == [field.role, field.kind]


@pytest.mark.parametrize(("words", "offered"), [("run quick", "quickstart"), ("show sou", "sources"), ("eval", "evaluate")])
def test_a_shell_completes_commands_and_jobs(words: str, offered: str) -> None:
    environment = {"COMP_WORDS": f"raytune-rec {words}", "COMP_CWORD": str(len(words.split()))}
    completed = CliRunner(env={**environment, "_RAYTUNE_REC_COMPLETE": "complete_bash"}).invoke(cli.app, prog_name="raytune-rec")
    assert completed.output.split() == [offered]


def test_doctor_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--out", str(tmp_path)]) == 0
    assert "writable" in capsys.readouterr().out
    found = {"python": "3.11", "ray": "not installed"}
    monkeypatch.setattr(doctor, "versions", lambda: found)
    assert cli.main(["doctor", "--out", str(tmp_path)]) == 1
    heard = capsys.readouterr()
    assert "install ray" in heard.out and "needs attention" in heard.err


@pytest.mark.parametrize(
    ("environment", "token", "text"),
    [
        ({}, False, "makes its own token"),
        ({}, True, "set it to token before"),
        ({"RAY_AUTH_MODE": "token"}, False, "ray get-auth-token --generate"),
        ({"RAY_AUTH_MODE": "token"}, True, "there is a token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x"}, False, "there is a token"),
        ({"RAY_AUTH_MODE": "disabled"}, True, "For tests only"),
    ],
)
def test_doctor_knows_both_token_modes(tmp_path: Path, environment: dict[str, str], token: bool, text: str) -> None:
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("secret")
    found = ray_start.tokens({"HOME": str(tmp_path), **environment})
    assert text in found.text and "secret" not in found.text


def test_the_module_is_the_command() -> None:
    def call(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "raytune_rec", word], cwd=_ROOT, capture_output=True, text=True, check=False)

    version, nothing = call("--version"), call("nothing")
    assert (version.stdout.strip(), version.returncode) == (f"raytune-rec {__version__}", 0)
    assert nothing.returncode == 2 and "Traceback" not in nothing.stderr


def test_show_job_tells_every_option_and_the_schema_refuses_what_the_job_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "job"]) == 0
    told = capsys.readouterr().out
    options = ("tune.trials ", "tune.stop.rule ", "methods.<name>.strategy ", "pretrainings.<name>.from ", "data.split.kind ")
    assert [option for option in options if f"  {option}" not in told] == []
    assert cli.main(["show", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    job = tomllib.loads(_JOB)
    jsonschema.validate(job, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "tune": {"trails": 3}}, schema)
