"""MLflow and Weights & Biases themselves, without a network: what they hold after a run, and after a kill in the middle."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.config import Job
from raytune_rec.trackers.base import TrackedRun
from raytune_rec.trackers.mlflow import Mlflow
from tests.tracking.conftest import settled


def _needs(package: str) -> pytest.MarkDecorator:
    spec = importlib.util.find_spec(package)
    return pytest.mark.skipif(spec is None or spec.origin is None, reason=f"pip install 'raytune-rec[{package}]'")


def _forget(run: Path, tracker: str) -> None:
    """As after a kill between the telling of trials and the note of it."""
    path = run / "tracking" / f"{tracker}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"told": [], "ended": ""}))


@_needs("mlflow")
def test_mlflow_has_a_run_and_one_nested_in_it_for_each_trial(
    job: Callable[..., Job], run: Callable[[Job, Path], list[str]], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    out, uri = tmp_path / "run", f"sqlite:///{tmp_path}/tracked.db"
    wanted = job({"mlflow": {"uri": uri, "experiment": "shops"}})
    said = run(wanted, out)
    assert [line for line in said if line.startswith(f"trackers.mlflow: told of this run: {uri}, run ")]
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("shops")
    assert experiment

    def parents_and_trials() -> tuple[list[Any], dict[str, Any]]:
        found = client.search_runs([experiment.experiment_id])
        trials = [r for r in found if "raytune_rec.trial" in r.data.tags]
        assert len({r.data.tags["raytune_rec.trial"] for r in trials}) == len(trials)
        return [r for r in found if r not in trials], {r.data.tags["raytune_rec.trial"]: r for r in trials}

    (parent,), trials = parents_and_trials()
    assert parent.info.status == "FINISHED" and parent.data.params["job"] == "small" and parent.info.run_name == "run"
    assert 0 < parent.data.metrics["test/auc/finetune"] < 1
    assert set(trials) == settled(out)
    for known in json.loads((out / "trials.json").read_text()):
        there = trials[f"{known['method']}/{known['unit']}/{known['number']}"]
        assert there.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert there.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[known["state"]]
        assert {k: there.data.params[k] for k in known["options"]} == {k: str(v) for k, v in known["options"].items()}
        curve = sorted(client.get_metric_history(there.info.run_id, "validation"), key=lambda m: m.step)
        assert [m.value for m in curve] == pytest.approx(known["curve"])
    _forget(out, "mlflow")
    client.update_run(trials["finetune/feed/0"].info.run_id, status="RUNNING")  # the kill came in the middle of this one
    run(wanted, out)
    again = parents_and_trials()
    assert [r.info.run_id for r in again[0]] == [parent.info.run_id]
    assert {k: r.info.run_id for k, r in again[1].items()} == {k: r.info.run_id for k, r in trials.items()}
    mended = again[1]["finetune/feed/0"]
    assert mended.info.status in ("FINISHED", "KILLED") and mended.data.metrics == trials["finetune/feed/0"].data.metrics


@_needs("mlflow")
def test_mlflow_takes_the_name_of_any_unit(tmp_path: Path) -> None:
    """A group of items is called as the data call it."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/tracked.db"
    tracker = Mlflow(Mlflow.Options(uri=uri))
    tracker.begin(TrackedRun("a" * 32, "run", tmp_path))
    units = ["Crime//War", "../Drama", "Film & TV", "x" * 300]
    where = tracker.end("finished", {f"test/auc/plate/{unit}": 0.5 for unit in units})
    there = MlflowClient(tracking_uri=uri).get_run(where.split()[-1]).data.metrics
    assert len(there) == len(units) and {"test/auc/plate/Crime/War", "test/auc/plate/Film _ TV"} < set(there)


@_needs("mlflow")
def test_a_server_that_does_not_answer_costs_a_run_nothing(
    job: Callable[..., Job], run: Callable[[Job, Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = run(job({"mlflow": {"uri": "http://127.0.0.1:9"}}), tmp_path / "run")
    assert [
        line for line in said if line.startswith("trackers.mlflow: MlflowException: ") and "the same command tells it" in line
    ]
    assert (tmp_path / "run" / "report" / "index.html").exists()


@_needs("wandb")
def test_wandb_has_a_group_of_the_run_and_its_trials(
    job: Callable[..., Job], run: Callable[[Job, Path], list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    wanted = job({"wandb": {"mode": "offline"}})
    said = run(wanted, out)
    kept = out / "tracking" / "wandb"
    assert [line for line in said if line.endswith(f"kept here, for `wandb sync {kept}/offline-run-*`")]

    def ids() -> set[str]:
        return {path.name.split("-")[-1] for path in kept.glob("offline-run-*")}

    first = ids()
    assert len(list(kept.glob("offline-run-*"))) == len(first) == 1 + len(settled(out))
    assert all(list(path.glob("*.wandb")) for path in kept.glob("offline-run-*"))
    assert not list(kept.glob("offline-run-*/files/*"))  # what is installed here is nobody's matter
    run(wanted, out)  # all is told
    assert len(list(kept.glob("offline-run-*"))) == len(first)
    _forget(out, "wandb")
    run(wanted, out)
    assert ids() == first  # told a second time they are the same runs, which `wandb sync` joins
