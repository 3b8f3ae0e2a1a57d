"""What a log file of a run holds: a word at intervals, whole lines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from raytune_rec import config, pipeline
from raytune_rec.heartbeat import Heartbeat
from raytune_rec.stages.context import Context

JOB = config.parse(
    {
        "name": "small",
        "data": {"source": "synthetic", "options": {"interactions": {"a": 300}, "users": 20, "items": 20}},
        "backbone": {"name": "linear"},
        "methods": {"single": {"strategy": "single"}},
    }
)


def test_a_long_stage_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = threading.Event()

    def say(line: str) -> None:
        if line.startswith("prepare: 1,000,000 rows read, ") and line.endswith(" s so far"):
            heard.set()

    def long(context: Context) -> dict[str, Any]:
        context.at("1,000,000 rows read")
        assert heard.wait(30), "silence"
        return {}

    monkeypatch.setattr(pipeline, "SECONDS", 0.01)
    monkeypatch.setattr(pipeline.prepare, "run", long)
    pipeline.run(JOB, tmp_path, only="prepare", say=say)


def test_every_pass_of_a_preparation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Heartbeat, "at", lambda heartbeat, doing: told.append(doing))
    pipeline.run(JOB, tmp_path, only="prepare", say=lambda line: None)
    parts = ("splitting the rows and counting ids", "reading the features of users and items", "writing the rows")
    assert told == ["300 rows read", *parts]


def test_lines_are_not_broken_and_not_read_as_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"{'word ' * 60}{'x' * 300} [bold]domain[/bold] {tmp_path}"
    monkeypatch.setattr(pipeline.prepare, "run", lambda context: context.say(line) or {})
    pipeline.run(JOB, tmp_path, only="prepare")
    assert line in capsys.readouterr().out.splitlines()


def test_what_speaks_for_itself_is_not_interrupted() -> None:
    """A line of the work's own starts the silence anew, and the end is no silence."""
    lines: list[str] = []
    with Heartbeat(lines.append, 3600) as heartbeat:
        heartbeat.say("own")
    with Heartbeat(lines.append, 0):
        pass
    assert lines == ["own"]
