"""`tune --only-new`: prompts for items that a finished run does not have, and nothing else.

The log of a finished run has grown. Items that have no id yet become groups of their own, in a run inside the run, `grown/<n>/`:
ids and backbones are those of the finished run, nothing is searched, what its winners share stays, and rows of new items alone
are trained. It goes through the stages of any run, and so is resumed and mended like one. Its artifacts are then put beside the
others. These, and all else in the run but its page, keep their bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_rec import pipeline
from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.config import BEST, Job
from raytune_rec.errors import ArtifactError, JobError
from raytune_rec.report.grown import FOLDER, folders
from raytune_rec.schema.work import Method
from raytune_rec.stages import failures, prepare
from raytune_rec.stages.context import Context
from raytune_rec.stages.export import artifact_folders
from raytune_rec.storage import claim, marker
from raytune_rec.storage.files import STORAGE, read_json
from raytune_rec.storage.stage import Stage
from raytune_rec.strategies import taken
from raytune_rec.training.settings import method_of

_SPLIT = ("cold_kept", "cold_held", "cold_from", "seed")


def run(job: Job, out: Path, say: Callable[[str], None] | None = None) -> None:
    """Add prompts for the items of a job's log that a finished run does not have, or go on with it.

    Args:
        job: of the run. Its source names the log that has grown; what else it says holds for the new items too.
        out: the run folder, absolute. say: shows a line.

    Raises:
        UserError: the run is not finished or has no artifacts of cold items, or the job is wrong.
        RunFailed: as `pipeline.run`.
    """
    _check_claimed(out)
    with claim.held(out):
        chosen = _methods(job, out)
        folder, grown = _place(job, out, chosen)
        try:
            pipeline.run(grown, folder, say=say)
        finally:
            finished = [each for each in folders(out) if _finished(each)]  # a failure of some of it too is told at the end
            for each in finished:
                _publish(Context(grown, each, print, {}), out)
            if finished:
                pipeline.report_again(job, out)


def planned(job: Job, out: Path) -> tuple[Job, Path]:
    """What `run` would do, as the job that it would run, and where.

    Raises:
        UserError: as `run`.
    """
    _check_claimed(out)
    STORAGE.fetch(out)
    folder, grown = _place(job, out, _methods(job, out))
    return grown, folder


def _check_claimed(out: Path) -> None:
    STORAGE.fetch(out / "stages")
    if not claim.claimed(out) or not marker.complete(out / "stages" / "export"):
        raise ArtifactError(f"{out}: --only-new adds to a finished run; finish it with `raytune-rec run JOB --out {out}`.")


def _methods(job: Job, out: Path) -> list[str]:
    """The method that the run exports, first, and those that train nothing.

    Raises:
        JobError: there is no group of cold items, or the exported method trains more than a prompt.
        ArtifactError: what new items take of the run is not whole.
    """
    context = Context(job, out, print, backbone_artifact.of_run(out))
    exported = marker.read(context.folder / "stages" / "export")["facts"]["method"]
    if not any(unit.kind == "items" for unit in context.store.schema.units) or not exported:
        raise JobError(
            f"--only-new adds prompts for items, and {context.folder} has none: its artifacts are of "
            f"{', '.join(context.store.schema.unit_names[:3])}; it is for runs with data.split.kind = 'cold_items'."
        )
    if exported == BEST:
        raise JobError(
            f"--only-new: validation chose the artifacts of {context.folder} among several methods (evaluate.export = {BEST!r}); "
            "start a new run with this log that exports one method, of strategy 'prompt'."
        )
    if exported not in job.methods:
        raise JobError(
            f"methods: the job has no {exported!r}, of which {context.folder} has artifacts; give the job of that run."
        )
    planned = context.plan.method(exported)
    if planned.method.strategy.prompt != "on" or planned.method.strategy.train not in ((), ("prompt",)):
        raise JobError(
            f"--only-new: {exported!r}, of which {context.folder} has artifacts, trains more than a prompt (strategy "
            f"{planned.method.strategy.name!r}), so that new items would change what others share; start a new run with this log "
            "that exports a method of strategy 'prompt'."
        )
    _check_whole(context, planned.method)
    others = [p.method.name for p in context.plan.methods if not p.parts.trained_groups and p.method.name != exported]
    return [exported, *others]


def _check_whole(context: Context, method: Method) -> None:
    """Refuse a run of which something is lost, or that has no winner to lend, before anything is begun with it.

    Raises:
        ArtifactError: all that new items would miss.
    """
    out = context.folder
    if files := pipeline.lost(context, ("prepare", "pretrain", "export")):
        raise ArtifactError(
            f"{out}: has lost {files}, which new items take; give `raytune-rec run JOB --out {out}` the log as it was when that "
            "run was prepared, and it makes them anew."
        )
    problems = []
    for unit in taken.largest(context.store.schema).values():
        known = failures.winner(context, method.name, unit) or {"replicates": ()}
        on = {replicate["pretraining"] or 0 for replicate in known["replicates"]}
        if lacking := [number for number in context.pretrainings(method.pretraining) if number not in on]:
            problems.append(f"{out}: {method.name} has no winner on {unit} that stands on pre-training {lacking[0]}.")
    if problems:
        raise ArtifactError([*problems, "New items would take it; start a new run with this log."])


def _place(job: Job, out: Path, methods: list[str]) -> tuple[Path, Job]:
    """The folder of the items that are new now, and the job that is run there. One that is not finished is gone on with.

    Raises:
        ArtifactError: one that is not finished was begun with another log.
    """
    runs = [out, *folders(out)]
    number = len(runs)
    if number > 1:
        before, last = runs[-2:]
        grown = _grown(job, out, before, methods)
        same = _same_log(grown, last)
        if not same and marker.complete(last / "stages" / "prepare") and not _finished(last):
            raise ArtifactError(
                f"{last}: is not finished, and the log or [data] is not what it was begun with; finish it with these as they "
                "were, or delete this folder and run again."
            )
        if same or not _finished(last):
            return last, grown
    return out / FOLDER / str(number), _grown(job, out, runs[-1], methods)


def _finished(folder: Path) -> bool:
    return marker.complete(folder / "stages" / "report")


def _same_log(job: Job, folder: Path) -> bool:
    """Whether the prepared data of a folder are there, and of the log as it is now."""
    stage = Stage(folder / "stages" / "prepare", "prepare", prepare.inputs(Context(job, folder, print, {})), prepare.FORMAT)
    try:
        return stage.done()
    except ArtifactError:
        return False


def _grown(job: Job, out: Path, before: Path, methods: list[str]) -> Job:
    """What is run on the new items.

    Args:
        before: whose prepared data know all items that have ids: the run, or what was added to it last.
    """
    values: dict[str, Any] = job.model_dump(by_alias=True)
    values["data"]["known"] = str(before / "data")
    split = {name: values["data"]["split"][name] for name in _SPLIT}
    values["data"]["split"] = {"kind": "cold_items", **split, "cold_least": job.data.split.cold_first + 2}
    values["methods"] = {name: values["methods"][name] for name in job.methods if name in methods}
    used = {method_of(job, name).pretraining for name in methods}
    values["pretrainings"] = {
        name: {**v, "from": str(out), "new_ids": False} for name, v in values["pretrainings"].items() if name in used
    }
    values["pretrain"]["trials"] = 0
    values["tune"] |= {"winners_of": str(out), "warm_start": []}
    values["evaluate"] |= {"export": methods[0], "compare": [n for n in values["evaluate"]["compare"] if n in methods]}
    return Job.model_validate(values)


def _publish(grown: Context, out: Path) -> None:
    """Put finished artifacts beside those of the run; what stands there already stays."""
    for source in artifact_folders(grown):
        target = out / "artifacts" / source.name
        if not marker.complete(target) or read_json(target / "prompt.json") != read_json(source / "prompt.json"):
            marker.copy(source, target)
