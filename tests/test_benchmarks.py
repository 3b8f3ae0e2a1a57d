"""What a benchmark says of a path that leads nowhere."""

from __future__ import annotations

import runpy
import signal
import subprocess
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks import three_nodes
from benchmarks.backbones.measured import TUNED, Case, Ours, job_of, measure
from benchmarks.backbones.plain import NAMES
from benchmarks.kills.processes import Command, read
from benchmarks.mistakes import told
from benchmarks.sweep import driver
from raytune_rec.errors import RunFailed


def refused(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the command of a benchmark, which must refuse it."""
    name, *arguments = words.split()
    monkeypatch.setattr("sys.argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
    assert ended.value.code == 2


@pytest.mark.parametrize(
    "words",
    [
        "cold_curve nowhere --out curve",
        "beauty_metadata nowhere meta.json.gz",
        "axis --data nowhere",
        "elastic nowhere --run nowhere",
        "serving nowhere",
        "splits nowhere",
        "large_table nowhere folder",
        "retention nowhere",
        "many --out out --set data.options.path=nowhere",
        "same compare nowhere nowhere",
        "sweep --data nowhere --out sweep",
    ],
)
def test_a_wrong_path_is_told_in_a_line_that_names_it(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(words, monkeypatch)
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "meta.json.gz").exists()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("domains --out out --pack 0", "--pack: give a whole number of 1 or more (given: '0')"),
        ("domains --out out --domains 3 0", "--domains: give a whole number of 1 or more"),
        ("backbones --lanes 1.5", "--lanes: give a whole number of 1 or more"),
        ("prepare_large out --seed -1", "--seed: give a whole number of 0 or more"),
        ("taste --out out --worlds 3", "--worlds: an interval needs two numbers or more, each once (given: 3); name others."),
        (
            "splits plate_douban --out out --seeds 1 2 1",
            "--seeds: an interval needs two numbers or more, each once (given: 1 2 1)",
        ),
        ("retention nowhere --rate 0", "--rate 0: a learning rate is above 0 and at most 1; name another."),
        ("many --out out --trials 0", "--trials: give a whole number of 1 or more (given: '0')"),
        ("cold_items --items 150", "--items: new items come in groups of 100; give multiples of it (given: 150)"),
    ],
)
def test_a_number_of_nothing_is_refused_in_a_line(
    words: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(words, monkeypatch)
    assert rule in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_what_cannot_be_finished_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["three_nodes", "no_such_job", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended, told():
        three_nodes.main()
    assert ended.value.code == 1 and capsys.readouterr().err.startswith("three_nodes: exit code 2; what it said is in ")
    assert "no_such_job" in (tmp_path / "out" / "undisturbed.log").read_text()


def test_a_process_that_had_ended_is_not_counted_as_struck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.three_nodes.time.sleep", lambda _: None)
    with subprocess.Popen(["sleep", "60"]) as ended, subprocess.Popen(["sleep", "60"]) as working:
        gone, there = read(ended.pid), read(working.pid)
        assert gone and there
        ended.kill()
        ended.wait()
        turns = iter([[], [gone], [there]])
        at_work = cast(Command, SimpleNamespace(code=None))
        three_nodes._strike(at_work, lambda: next(turns), Random(0), tmp_path / "log")
        assert working.wait() == -signal.SIGKILL
    with pytest.raises(RunFailed, match="the job has ended before all was killed that is to be; what it said"):
        three_nodes._strike(cast(Command, SimpleNamespace(code=0)), list, Random(0), tmp_path / "log")


def test_the_driver_of_a_search_is_timed_without_training(tmp_path: Path) -> None:
    """A sweep's last table: the product's planner, asked for packs that answer at once."""
    found = driver.measured([6, 20], [1, 2], tmp_path)
    assert [(of["trials"], of["domains"]) for of in found] == [(6, 1), (6, 2), (20, 1), (20, 2)]
    assert driver.table(found).row_count == 4


def test_a_backbone_and_its_plain_model_are_the_same(tmp_path: Path) -> None:
    """The weights that one has learnt give the other the same validation AUC, which the benchmark asserts of every CTR model,
    trained whole and frozen with each prompt.
    """
    cases = [Case(name, tuned) for tuned in TUNED for name in (NAMES if tuned != "generative" else NAMES[:1])]
    ours = Ours(job_of(tmp_path, cases, 600, 64), tmp_path / "run")
    found = list(measure(ours, cases, lanes=2, repeats=1))
    assert [case for case, _ in found] == cases
    assert all(len(times[kind]) == 1 for _, times in found for kind in ("ours", "plain", "lanes"))
