"""Weights & Biases: a group of runs, one for the whole run and one for each trial."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from raytune_rec import components
from raytune_rec.report.trials import Trial
from raytune_rec.trackers.base import State, TrackedRun

_SETTINGS = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "init_timeout": 30,
    "save_code": False,
    "silent": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}
"""What the job says is told, and nothing of this machine, its user or its files."""


class Wandb:
    """Weights & Biases. Who may write is told by WANDB_API_KEY, or by `wandb login`.

    The runs of a search are a group: the whole run (job type `run`) and its trials (`trial`). `mode = "offline"` keeps them in
    `tracking/wandb` of the run folder, for `wandb sync`.
    """

    needs: ClassVar = {"wandb": "raytune-rec[wandb]"}

    class Options(components.Options):
        project: str = Field("raytune-rec", description="that the runs belong to", min_length=1, max_length=100)
        entity: str = Field("", description="user or team; empty: as the key says")
        mode: Literal["", "online", "offline"] = Field("", description="offline: kept in the run; empty: WANDB_MODE, or online")

    def __init__(self, options: Options) -> None:
        self.options = options

    def begin(self, run: TrackedRun) -> set[str]:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb's makers are told nothing
        self._tracked = run
        self._run = self._opened("", "run", run.name, run.facts)
        return set()

    def tell(self, trial: Trial) -> None:
        facts = {"method": trial.method, "unit": trial.unit, "trial": trial.number, **trial.options}
        opened = self._opened(trial.key, "trial", f"{trial.method} on {trial.unit}, {trial.number}", facts)
        for epoch in range(max(len(trial.curve), len(trial.losses) + 1)):
            loss = {"training/loss": trial.losses[epoch - 1]} if 0 < epoch <= len(trial.losses) else {}
            value = {"validation": trial.curve[epoch]} if epoch < len(trial.curve) else {}
            opened.log(_finite(value | loss), step=epoch)
        last = {"final/validation": trial.value, "parameters": trial.parameters, "epochs": trial.epochs, **trial.measures}
        opened.summary.update(_finite(last) | {"best_epoch": trial.best_epoch, "state": trial.state})
        opened.finish(exit_code=int(trial.state == "fail"))

    def end(self, state: State, measures: Mapping[str, float]) -> str:
        self._run.summary.update(_finite(measures) | {"state": state})
        url, kept = self._run.url, self._tracked.folder / "wandb" / "offline-run-*"
        self._run.finish(exit_code=int(state == "failed"))
        return url or f"kept here, for `wandb sync {kept}`"

    def _opened(self, key: str, kind: str, name: str, facts: Mapping[str, Any]) -> Any:
        """A run of the group, the same for the same key."""
        import wandb

        tracked = self._tracked
        return wandb.init(
            project=self.options.project,
            entity=self.options.entity or None,
            group=f"{tracked.name}-{tracked.key[:8]}",
            job_type=kind,
            id=hashlib.sha256(f"{tracked.key}/{key}".encode()).hexdigest()[:16],
            name=name,
            config=dict(facts),
            mode=self.options.mode or None,
            dir=str(tracked.folder),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**_SETTINGS),
        )


def _finite(values: Mapping[str, float]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
