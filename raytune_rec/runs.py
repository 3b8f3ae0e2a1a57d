"""Runs from Python: start one, open one that is there, and put several side by side. `raytune_rec.run`, `.open`, `.compare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_rec import config
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError, JobError, UserError
from raytune_rec.job import shipped
from raytune_rec.storage.files import STORAGE, at_hand
from raytune_rec.storage.places import located, shown

if TYPE_CHECKING:
    import pandas as pd

    from raytune_rec.report.run import Run as Read

_STAGES = ("prepare", "pretrain", "tune", "export", "evaluate", "report")


class Run:
    """A run that is done.

    Attributes:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        return f"Run({shown(self.folder)!r})"

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def _read(self) -> Read:
        from raytune_rec.report.run import read

        return read(self.folder)

    @cached_property
    def results(self) -> pd.DataFrame:
        """A row for each method, unit and test metric, with its interval (`report.tables.frames.results`)."""
        from raytune_rec.report.tables import frames

        return frames.results(self._read)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row for each trial of the search, with a column for each searched option."""
        from raytune_rec.report.tables import frames

        return frames.trials(self._read)

    @cached_property
    def winners(self) -> pd.DataFrame:
        """A row for each method and unit: validation value, trial and options of the winner."""
        from raytune_rec.report.tables import frames

        return frames.winners(self._read)

    @property
    def metric(self) -> str:
        """The test metric that ranks the methods."""
        return self._read.lead

    @property
    def data(self) -> str:
        """Fingerprint of the prepared data."""
        return str(self._read.results.get("provenance", {}).get("data", ""))

    @property
    def artifacts(self) -> dict[str, Path]:
        """Unit -> the folder of its artifact, for `raytune_rec.scoring.load_prompt`."""
        return self._read.artifacts

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.folder / "report" / "index.html"


def run(
    job: Job | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    set: config.Settings = (),
) -> Run:
    """Run a job, or go on with it, as `raytune-rec run` does.

    Args:
        job: a job, the path of its file, or the name of a shipped one.
        out: the run folder; None: `runs/<the job's name>`.
        set: `part.option=value` texts, or option -> value, over the job.

    Raises:
        UserError: the job, its data or the folder is wrong. RunFailed: something of the work failed.
    """
    if isinstance(job, Job):
        if set:
            raise JobError("set changes a job that is read from a file; of a Job use model_copy, or give its path.")
        checked = job
    else:
        checked = config.read(shipped.job_path(job), set)
    from raytune_rec import pipeline

    folder = located(out or Path("runs") / checked.name).absolute()
    pipeline.run(checked, folder)
    return Run(folder)


def open(run: str | os.PathLike[str]) -> Run:
    """A run that has results.

    Raises:
        ArtifactError: there is none in this folder.
    """
    folder = located(run).absolute()
    if not at_hand(folder / "results.json").is_file():
        raise ArtifactError(
            f"{folder}: there are no results of a run here; name a run folder, or finish it with `raytune-rec run`."
        )
    return Run(folder)


def compare(runs: Sequence[Run | str | os.PathLike[str]]) -> pd.DataFrame:
    """Runs side by side: index (metric, unit, method), a column for each run, the metrics that rank a run's methods first.

    Two runs whose folders are named alike are told apart by their paths. What a run has not is NaN. Differences between runs are
    no paired tests: those stand in each run's own comparisons.

    Raises:
        ArtifactError: a folder holds no results. UserError: fewer than two runs.
    """
    import pandas as pd

    opened = [each if isinstance(each, Run) else open(each) for each in runs]
    if len(opened) < 2:
        raise UserError(f"compare: name two runs or more (given: {len(opened)}).")
    names = [each.name for each in opened]
    titles = [each.name if names.count(each.name) == 1 else shown(each.folder) for each in opened]
    titles = [title if titles.count(title) == 1 else f"{title} ({place})" for place, title in enumerate(titles, 1)]
    columns = {
        title: each.results.set_index(["metric", "unit", "method"])["value"] for each, title in zip(opened, titles, strict=True)
    }
    table = pd.concat(columns, axis=1, sort=False)
    leads = [each.metric for each in opened]
    order = sorted(range(len(table)), key=lambda place: table.index[place][0] not in leads)
    return table.iloc[order]


def found(folder: Path) -> list[tuple[Path, list[str]]]:
    """Run folders in a folder, each with the stages that are done, by name."""
    from raytune_rec.storage.marker import complete

    places = sorted({path.parent for path in STORAGE.list(located(folder), "*/run.json")})
    for place in places:
        STORAGE.fetch(place / "stages")
    return [(place, [stage for stage in _STAGES if complete(place / "stages" / stage)]) for place in places]
