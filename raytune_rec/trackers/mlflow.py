"""MLflow: a run of an experiment, and a run nested in it for each trial."""

from __future__ import annotations

import math
import os
import posixpath
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator

from raytune_rec import components
from raytune_rec.report.trials import Trial
from raytune_rec.trackers.base import State, TrackedRun

_RUN, _TRIAL = "raytune_rec.run", "raytune_rec.trial"
"""Tags by which a run and a trial are found again."""
_PARENT, _NOTE, _SOURCE = "mlflow.parentRunId", "mlflow.note.content", "mlflow.source.name"
_POINTS, _VALUES = 500, 100
"""Metrics and parameters of a request; a server takes at most 1,000 and 100."""
_LONGEST = 250
"""Characters of a name, which a server takes."""
_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""What is not set otherwise: seconds, times, and that MLflow's makers are told nothing."""


class Mlflow:
    """MLflow. Who may write is told by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

    A trial that was stopped early is KILLED there, one that diverged FAILED.
    """

    needs: ClassVar = {"mlflow": "raytune-rec[mlflow]"}

    class Options(components.Options):
        uri: str = Field("", description="of the server, or sqlite:///PATH; empty: MLFLOW_TRACKING_URI, else as MLflow chooses")
        experiment: str = Field(
            "raytune-rec", description="that the run belongs to; made if it is new", min_length=1, max_length=200
        )

        @field_validator("uri")
        @classmethod
        def _without_password(cls, uri: str) -> str:
            parts = urlsplit(uri)
            if "@" in parts.netloc or "password" in parse_qs(parts.query):
                raise ValueError("a job is kept and shown, and holds no password; set MLFLOW_TRACKING_URI instead")
            return uri

    def __init__(self, options: Options) -> None:
        self.options = options

    def begin(self, run: TrackedRun) -> set[str]:
        for name, value in _LIMITS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.options.uri or None)
        known = self._client.get_experiment_by_name(self.options.experiment)
        self._experiment = known.experiment_id if known else self._client.create_experiment(self.options.experiment)
        if found := list(self._found(f"tags.`{_RUN}` = '{run.key}'")):
            self._run = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            trials = {t.data.tags[_TRIAL]: t for t in self._found(f"tags.`{_PARENT}` = '{self._run}'")}
            self._open = {key: t for key, t in trials.items() if t.info.status == "RUNNING"}
            return set(trials) - set(self._open)
        told = {_RUN: run.key, _NOTE: str(run.facts.get("title", "")), _SOURCE: "raytune-rec"}
        made = self._client.create_run(self._experiment, tags=told, run_name=run.name)
        self._run, self._open = made.info.run_id, {}
        self._log(self._run, {}, run.facts, 0)
        return set()

    def tell(self, trial: Trial) -> None:
        ended = round(time.time() * 1000)
        begun = ended - round(trial.seconds * 1000)
        made = self._open.get(trial.key) or self._client.create_run(
            self._experiment,
            start_time=begun,
            tags={_PARENT: self._run, _TRIAL: trial.key, "state": trial.state},
            run_name=f"{trial.method} on {trial.unit}, {trial.number}",
        )
        curves = {"validation": dict(enumerate(trial.curve)), "training/loss": dict(enumerate(trial.losses, start=1))}
        last = {"final/validation": trial.value, "parameters": trial.parameters, "epochs": trial.epochs, **trial.measures}
        facts = {"method": trial.method, "unit": trial.unit, "trial": trial.number, **trial.options}
        self._log(made.info.run_id, curves | {k: {trial.best_epoch: v} for k, v in last.items()}, facts, made.info.start_time)
        status = {"complete": "FINISHED", "pruned": "KILLED"}.get(trial.state, "FAILED")
        self._client.set_terminated(made.info.run_id, status, made.info.start_time + ended - begun)

    def end(self, state: State, measures: Mapping[str, float]) -> str:
        self._log(self._run, {name: {0: value} for name, value in measures.items()}, {}, 0)
        if state != "open":
            self._client.set_terminated(self._run, state.upper())
        server = self._client.tracking_uri.rstrip("/")
        page = f"/#/experiments/{self._experiment}/runs/{self._run}"
        return f"{server}{page}" if server.startswith("http") else f"{server}, run {self._run}"

    def _found(self, which: str) -> Iterator[Any]:
        """All runs of the experiment that a filter finds, page by page."""
        token = None
        while True:
            page = self._client.search_runs([self._experiment], which, page_token=token)
            yield from page
            if not (token := page.token):
                return

    def _log(self, run: str, curves: Mapping[str, Mapping[int, float]], facts: Mapping[str, Any], begun: int) -> None:
        """Told twice it is there once: a point of a curve is known by its time, which is made of its step."""
        from mlflow.entities import Metric, Param

        points = [
            Metric(_allowed(name), float(value), begun + step, step)
            for name, curve in curves.items()
            for step, value in curve.items()
            if math.isfinite(value)
        ]
        values = [Param(_allowed(name), str(value)[:500]) for name, value in facts.items()]
        while points or values:
            self._client.log_batch(run, points[:_POINTS], values[:_VALUES])
            del points[:_POINTS], values[:_VALUES]


def _allowed(name: str) -> str:
    """A name without what MLflow refuses in one: it is a path, which has no empty part, `.` or `..`."""
    return posixpath.normpath(re.sub(r"[^\w./: -]", "_", name))[:_LONGEST]
