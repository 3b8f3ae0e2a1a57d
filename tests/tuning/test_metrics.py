"""What a search tells those who watch the cluster's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from raytune_rec.schema.work import Pack
from raytune_rec.tuning.packs.folder import PackFolder
from raytune_rec.tuning.packs.planner import SearchPlanner
from raytune_rec.tuning.run import metrics
from raytune_rec.tuning.run.dispatcher import Dispatcher
from raytune_rec.tuning.search.studies import Studies
from tests.tuning import fake


def test_trials_packs_and_the_best_of_each_study_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[tuple[str, ...], float] = {}

    class Gauge:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            self.name, self.keys = name, tag_keys

        def set(self, value: float, tags: Mapping[str, str]) -> None:
            assert tuple(tags) == self.keys
            told[self.name, *tags.values()] = value

    monkeypatch.setattr(metrics, "Gauge", Gauge)
    job = fake.job()
    planner = SearchPlanner.of(Studies(tmp_path / "journal", job), fake.searches(("music",)))
    dispatcher = Dispatcher(planner, lambda pack: PackFolder.of(tmp_path, job, pack), lambda name: None)
    watched, packs, values = metrics.Metrics("night", "tune"), 0, dict[str, list[float]]()
    while isinstance(pack := dispatcher.next(), Pack):
        results = fake.train(pack, job)
        dispatcher.folder(pack).save_results(results)
        dispatcher.ended(pack)
        packs += 1
        values.setdefault(f"{pack.method}/music", []).extend(result.best for result in results)
        watched.show(dispatcher, last=packs == 1)
    first = told["raytune_rec_trials_done", "night", "tune"]
    assert 0 < first < 24, "between two readings lie seconds"
    watched.show(dispatcher, last=True)
    best = {f"raytune_rec_best {study}": max(of_study) for study, of_study in values.items()}
    assert {f"{name} {rest[2]}" if rest[2:] else name: value for (name, *rest), value in told.items()} == pytest.approx(
        {"raytune_rec_trials_done": 24, "raytune_rec_trials_total": 24, "raytune_rec_packs_done": packs, **best}
    )
