"""TensorBoard's view of the search: the best trials of each unit, and the best of each method, as runs, and one HParams table.

tensorboard/                          the HParams experiment: every option of any run, and the final metric
tensorboard/<unit>/01-<method>-<trial>/  validation metric and training loss by epoch, the trial's options and final value
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard.summary import hparams
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from raytune_rec.names import path_name
from raytune_rec.report.trials import Trial, read_trials
from raytune_rec.schema.work import Scalar
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.listing import remove_files

BEST = 20
"""Trials of a unit that become runs, and the best of each method."""
FINAL = "final/validation"
_OURS = ".raytune_rec"
_FILES = f"**/events.out.tfevents.*{_OURS}"
"""The end of the names of our files: others in this folder are not ours to remove."""


def write(run: Path) -> None:
    """Write `tensorboard/` into a run folder, in place of what an earlier call wrote there. Reads `trials.json` alone.

    Args:
        run: the folder. Without `trials.json` nothing is written.

    Raises:
        ArtifactError: `trials.json` is damaged.
    """
    trials = [t for t in read_trials(run) if t.complete]
    folder = Path(run) / "tensorboard"
    remove_files(folder, _FILES)
    if not trials:
        return
    chosen = {unit: best([t for t in trials if t.unit == unit]) for unit in dict.fromkeys(t.unit for t in trials)}
    _experiment(folder, [_options(t) for shown in chosen.values() for t in shown])
    for unit, shown in chosen.items():
        for place, t in enumerate(shown, start=1):
            _run(folder / path_name(unit) / f"{place:02d}-{path_name(t.method)}-{t.number}", t)


def files(run: Path) -> list[Path]:
    """What `write` has written into a run folder."""
    return STORAGE.list(Path(run) / "tensorboard", _FILES)


def best(trials: Sequence[Trial], count: int = BEST) -> list[Trial]:
    """The best trials first, then the best of each method that has none among these: what was exported is there.
    Whether higher is better shows in the curves: a trial's value is the best point of its own."""
    curves = [(t, [v for v in t.curve if math.isfinite(v)]) for t in trials]
    up = sum(abs(t.value - max(c)) < abs(t.value - min(c)) for t, c in curves if c)
    down = sum(abs(t.value - max(c)) > abs(t.value - min(c)) for t, c in curves if c)
    ordered = sorted(trials, key=lambda t: (-t.value if up >= down else t.value, t.method, t.number))
    firsts = {t.method: t for t in reversed(ordered)}
    return [t for place, t in enumerate(ordered) if place < count or t is firsts[t.method]]


def _options(t: Trial) -> dict[str, Scalar]:
    return {"method": t.method, "unit": t.unit, **t.options}


def _experiment(folder: Path, of_runs: Sequence[Mapping[str, Scalar]]) -> None:
    """One description of all columns at the root; a description in each run would show the options of one of them only. What is a
    word (method, unit, a choice) comes with all its values, so that rows can be filtered by it."""
    columns: dict[str, list[Scalar]] = {}
    for name, value in (option for options in of_runs for option in options.items()):
        columns.setdefault(name, []).append(value)
    words = {name: list(dict.fromkeys(values)) for name, values in columns.items() if all(isinstance(v, str) for v in values)}
    experiment, _, _ = hparams({name: values[-1] for name, values in columns.items()}, {FINAL: 0.0}, words)
    writer = FileWriter(str(folder), filename_suffix=_OURS)
    writer.add_summary(experiment)
    writer.close()


def _run(folder: Path, t: Trial) -> None:
    with SummaryWriter(str(folder), filename_suffix=_OURS) as writer:
        for epoch, value in enumerate(t.curve):
            if math.isfinite(value):
                writer.add_scalar("validation", value, epoch)
        for epoch, loss in enumerate(t.losses, start=1):
            if math.isfinite(loss):
                writer.add_scalar("training/loss", loss, epoch)
        writer.add_scalar(FINAL, t.value, t.best_epoch)
        _, start, end = hparams(_options(t), {FINAL: t.value})
        for summary in (start, end):
            writer._get_file_writer().add_summary(summary)
