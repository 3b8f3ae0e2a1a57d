"""How a search alternates between asking and telling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raytune_rec.job.tuning import TuneOptions

STARTUP = 10
"""Most trials that are told before a sampler models them: Optuna's number."""

MODELS = {"tpe", "gp", "nsga2"}
"""Samplers that learn from what was told."""


@dataclass(frozen=True)
class Pace:
    """Fixed when a study begins and recorded with it, so that raising `tune.trials` changes nothing of what was asked before.

    Args:
        round: configurations asked before any of them is told.
        startup: trials told before the sampler models them.
    """

    round: int
    startup: int

    @classmethod
    def of(cls, tune: TuneOptions) -> Pace:
        """That of a job: a quarter of the trials each, unless it names a round."""
        quarter = -(-tune.trials // 4)
        return cls(tune.round or quarter, min(STARTUP, quarter))

    @classmethod
    def recorded(cls, facts: Mapping[str, int]) -> Pace:
        return cls(int(facts["round"]), int(facts["startup"]))

    def modelled(self, sampler: str, trials: int, first: int) -> int:
        """Of so many trials, those that a sampler proposes from what was told.

        Args:
            sampler: its name.
            trials: of the study.
            first: points that are tried first, whatever the sampler thinks.
        """
        if sampler not in MODELS:
            return 0
        before = self.round if sampler == "nsga2" else -(-self.startup // self.round) * self.round
        return max(0, trials - max(before, first))
