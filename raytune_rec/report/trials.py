"""The trials of a run as the report reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_rec.errors import ArtifactError
from raytune_rec.schema.work import Scalar
from raytune_rec.storage.files import read_json


@dataclass(frozen=True)
class Trial:
    """One line of `trials.json`. `curve[0]` is the validation metric before training; a value that was not finite is NaN.

    Args:
        unit: the tuning unit: one of the table of results, or a fold that it pools.
        measures: further objectives at the best epoch, by name, without `parameters`.
        front: whether no other trial of its method and unit surpasses it without falling behind in another objective; false
            where only one objective was searched.
    """

    method: str
    unit: str
    number: int
    state: str
    value: float
    options: Mapping[str, Scalar] = field(default_factory=dict)
    best_epoch: int = 0
    epochs: int = 0
    curve: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    parameters: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)
    front: bool = False

    @property
    def key(self) -> str:
        """Of this trial alone in its run."""
        return f"{self.method}/{self.unit}/{self.number}"

    @property
    def complete(self) -> bool:
        return self.state == "complete" and math.isfinite(self.value)

    def objective(self, name: str) -> float:
        """A further objective; NaN where the trial has none of this name."""
        return float(self.parameters) if name == "parameters" else self.measures.get(name, math.nan)


def read_trials(folder: Path) -> tuple[Trial, ...]:
    """All trials of a run; none where `trials.json` is missing.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = Path(folder) / "trials.json"
    try:
        return tuple(trial_of(t) for t in (read_json(path) if path.exists() else []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a list of trials ({error!r}); run `tune` again.") from None


def trial_of(t: Mapping[str, Any]) -> Trial:
    """One line of `trials.json`, or of `tuning.search.records.trials`."""
    return Trial(
        method=str(t["method"]),
        unit=str(t["unit"]),
        number=int(t["number"]),
        state=str(t["state"]).lower(),
        value=number(t.get("value")),
        options=dict(t.get("options") or {}),
        best_epoch=int(t.get("best_epoch") or 0),
        epochs=int(t.get("epochs") or 0),
        curve=tuple(number(v) for v in t.get("curve") or ()),
        losses=tuple(number(v) for v in t.get("losses") or ()),
        seconds=float(t.get("seconds") or 0),
        parameters=int(t.get("parameters") or 0),
        measures={str(k): number(v) for k, v in (t.get("measures") or {}).items()},
        front=bool(t.get("front")),
    )


def number(value: Any) -> float:
    """A JSON number; null, which stands for what was not finite, is NaN."""
    return float("nan") if value is None else float(value)
