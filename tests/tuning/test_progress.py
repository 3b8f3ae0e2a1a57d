"""Lines of a job's log say how far the search is and how long it takes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raytune_rec.schema.work import Pack
from raytune_rec.tuning.packs.planner import Progress, SearchPlanner
from raytune_rec.tuning.run import progress
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake


def test_a_line_tells_domains_pace_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    states = [Progress(40, 400, {}, 0, 3), Progress(40, 400, {}, 0, 3), Progress(70, 400, {"plate/music": 0.71234}, 1, 3)]
    planner = SimpleNamespace(progress=lambda: states[0])
    dispatcher: Any = SimpleNamespace(planner=planner, packs_done=5)
    lines: list[str] = []
    reporter = progress.Reporter("tune", lines.append)
    for _ in range(2):
        reporter.show(dispatcher)
        now[0] += progress.SECONDS
    states[:] = states[-1:]
    now[0] = 1000.0 + 120
    reporter.show(dispatcher)
    first = "tune: 40 of 400 trials, 0 of 3 domains done, 5 packs"  # an earlier start has made them: no pace yet
    paced = (
        "tune: 70 of 400 trials, 1 of 3 domains done, 5 packs, 15.0 trials a minute, about 22 min left; best plate/music 0.7123"
    )
    assert lines == [first, paced]


def test_a_domain_is_done_when_all_its_searches_are(tmp_path: Path) -> None:
    job = fake.job()
    planner = SearchPlanner.of(Studies(tmp_path / "journal", job), fake.searches())
    counted = {planner.progress().units_done}
    while isinstance(pack := planner.next(), Pack):
        planner.done(pack, fake.train(pack, job))
        now = planner.progress()
        counted.add(now.units_done)
        assert now.units == 2 and (now.units_done == 2) == (now.done == now.total)
    assert counted == {0, 1, 2}
