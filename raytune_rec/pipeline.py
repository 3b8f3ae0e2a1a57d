"""prepare -> pretrain -> tune -> export -> evaluate -> report.

Every stage that is done is skipped, so that the same command resumes. What a finished stage wrote is listed in its marker; what
of it is lost is made anew, and what follows as far as that comes out otherwise.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import tomli_w
from rich.console import Console

from raytune_rec.artifacts import backbone
from raytune_rec.components import files_of
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError, RunFailed
from raytune_rec.heartbeat import SECONDS, Heartbeat
from raytune_rec.machine import ray_start
from raytune_rec.machine.ray_address import is_local
from raytune_rec.report.tables.terminal import console as results_table
from raytune_rec.stages import evaluate, export, failures, prepare, pretrain, report, tune
from raytune_rec.stages.context import Context
from raytune_rec.storage import claim, listing
from raytune_rec.storage.files import STORAGE, lies_there, read_json, write_text
from raytune_rec.storage.fingerprint import file_sha256, fingerprint
from raytune_rec.storage.listing import Files
from raytune_rec.storage.marker import complete
from raytune_rec.storage.places import begin_here, shown
from raytune_rec.storage.stage import Stage
from raytune_rec.tracking import watch
from raytune_rec.tuning.run import cluster, resources, sharing

STAGES: Mapping[str, ModuleType] = {
    "prepare": prepare,
    "pretrain": pretrain,
    "tune": tune,
    "export": export,
    "evaluate": evaluate,
    "report": report,
}


_WIDTH = 120
"""Columns of a log file, where there is no terminal: the table of a few domains fits."""


def run(
    job: Job,
    out: Path,
    only: str | None = None,
    say: Callable[[str], None] | None = None,
    *,
    until: str = "report",
    verify: bool = False,
    dashboard: bool = False,
) -> None:
    """Run a job, or go on with it.

    Args:
        job: what to do.
        out: the run folder; a new or an empty one is made a run.
        only: the one stage to run; those before it must be done.
        say: shows a line.
        until: the last stage to run; those before it run if they are not done.
        verify: read all that finished stages wrote; otherwise large files are known by their size.
        dashboard: start Ray's before anything else, and tell its address.

    Raises:
        UserError: the job, its data or the folder is wrong, what comes before a stage is missing, or another process works in it.
        RunFailed: work could not be finished, or something of it failed and the rest is done.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(job.tune.threads))
    begin_here()
    check(job)  # a mistake in a method must not wait for the end of the pre-training
    out = out.absolute()
    console = _console()
    context = Context(job, out, _said_of(say or partial(console.print, soft_wrap=True)), {})
    names = list(STAGES)
    ray_start.check_kept(out)
    claim.check(out)
    if only not in (None, names[0]) and not claim.claimed(out):
        raise ArtifactError(f"{out}: there is no run here, and {only} goes on with one; {_remedy(out, names[0])}")
    _ask_ray(context, [only] if only else names[: names.index(until) + 1], dashboard)
    with claim.held(out), Heartbeat(context.say, 0 if console.is_terminal else SECONDS) as heartbeat:
        context.say, context.at = heartbeat.say, heartbeat.at
        if not claim.claimed(out):
            heartbeat.begin("prepare")
            prepare.inputs(context)  # files that are not there make no run
        claim.claim(out)
        STORAGE.sweep(out)
        with watch.told(job, out, heartbeat.say, heartbeat.at):
            for name, module in STAGES.items():
                heartbeat.begin(name)
                _stage(context, name, module, verify, only if only in _after(name) else None)
                if name == "pretrain":
                    fingerprints = _marker(context, name, module, {}).facts()["backbones"]
                    context.backbones = {v: backbone.of_fingerprint(out, fp) for v, fp in fingerprints.items()}
                if name == (only or until):
                    break
        if (text := _repeatable(job, out)) != _read(out / "job.toml"):
            write_text(out / "job.toml", text)
            report_again(job, out)
    if only is None and until == "report":
        console.print(results_table(read_json(out / "results.json")))
        context.say(f"report: {(out / 'report' / 'index.html').as_uri()}")
    if failed := failures.recorded(out):
        raise RunFailed("\n".join(["Not everything that was asked for is there:", *map(str, failed)]))


def report_again(job: Job, out: Path) -> None:
    """Make the page of a finished run anew, where something was added to it or its job says more than what was done (a title,
    published numbers); nothing where it has none."""
    context = Context(job, out, lambda line: None, {})
    if complete(_folder(context, "report")):
        marker = _marker(context, "report", report, report.inputs(context))
        marker.reopen()
        report.page(context)
        marker.finish({}, _files(context, report))


def _said_of(say: Callable[[str], None]) -> Callable[[str], None]:
    """Lines name what lies in an object store by its URI."""
    return lambda line: say(shown(line))


def lost(context: Context, names: Sequence[str]) -> str:
    """What some finished stages wrote and is not whole, in words; empty where all is."""
    return _named([file for name in names for file in _lost(context, name, _marker(context, name, STAGES[name], {}), False)])


def _console() -> Console:
    """Standard output. Nothing in a line is markup: it holds paths and names."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if console.is_terminal:
        return console
    return Console(highlight=False, markup=False, emoji=False, width=max(console.width, _WIDTH))


def job_text(job: Job) -> str:
    """The job with every default filled in; the run can be repeated from it."""
    return tomli_w.dumps(_without_none(job.model_dump(mode="json", by_alias=True)))


def _repeatable(job: Job, out: Path) -> str:
    """The text of a job beside a copy of the user's own components in the run folder: where these lie they may be changed later,
    and what a submitted job brought is gone."""
    folders = []
    for files in filter(None, (files_of(Path(folder)) for folder in job.components)):
        folders.append(f"{claim.COMPONENTS}/{fingerprint({name: file_sha256(path) for name, path in files.items()})}")
        for name, path in files.items():
            if not lies_there(copy := out / folders[-1] / name):
                STORAGE.copy(path, copy)
    return job_text(job.model_copy(update={"components": folders}))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def check(job: Job, out: Path | None = None) -> Any:
    """The plan of a job, as something that a console prints; data that are prepared in the run folder `out` tell more of it."""
    from raytune_rec.stages.checks.check import told

    return told(job, out)


def _stage(context: Context, name: str, module: ModuleType, verify: bool, following: str | None) -> None:
    """Run one stage unless it is done. What follows a stage that comes out otherwise is done anew.

    Args:
        verify: read all that it wrote.
        following: the stage that alone is to run after it.
    """
    marker = _marker(context, name, module, module.inputs(context))
    done = marker.done()
    lost = _lost(context, name, marker, verify) if done else []
    if done and not lost:
        return
    state = f"has lost {_named(lost)}" if lost else "is not finished"
    if following:
        why = f"{following} needs what {name} makes, and {name} {state} there"
        raise ArtifactError(f"{context.folder}: {why}; {_remedy(context.folder, name)}")
    before = marker.files() if lost else None
    if lost:
        context.say(f"{name}: lost or damaged, and made anew: {_named(lost)}")
    else:  # before it begins, so that an interruption after it leaves nothing that was made of its earlier result
        _forget_after(context, name)
        marker.begin()
    started = time.perf_counter()
    if lost:
        marker.reopen()
    write_text(context.folder / "job.toml", _repeatable(context.job, context.folder))  # once nothing refuses the job any more
    facts = module.run(context)
    files = _files(context, module)
    if before is not None and files != before:
        _forget_after(context, name)
    marker.finish(facts, files)
    context.say(f"{name}: done in {time.perf_counter() - started:.1f} s")


def _lost(context: Context, name: str, marker: Stage, verify: bool) -> list[str]:
    """What a finished stage wrote and is not whole. Of what a later one rewrote, that one says what it was.

    Raises:
        ArtifactError: a segment of the journal: nothing makes it anew.
    """
    files = marker.files()
    for later in (_marker(context, after, STAGES[after], {}) for after in _after(name)):
        if complete(later.folder):
            files |= {file: facts for file, facts in later.files().items() if file in files}
    lost = listing.lost(context.folder, files, verify)
    if segments := [context.folder / file for file in lost if file.startswith("journal/0")]:
        what = "this segment of the journal is missing or damaged"
        raise ArtifactError(f"{path}: {what}; copy it anew, or start a new run." for path in segments)
    return lost


def _files(context: Context, module: ModuleType) -> Files:
    return listing.listing(context.folder, module.outputs(context), getattr(module, "REWRITTEN", ()))


def _forget_after(context: Context, name: str) -> None:
    for later in _after(name):
        _marker(context, later, STAGES[later], {}).forget()


def _after(name: str) -> list[str]:
    names = list(STAGES)
    return names[names.index(name) + 1 :]


def _named(files: list[str]) -> str:
    others = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(files[:3]) + others


def _remedy(out: Path, missing: str) -> str:
    return f"run `raytune-rec {missing} JOB --out {out}`, or all stages with `raytune-rec run JOB --out {out}`."


def _ask_ray(context: Context, names: list[str], dashboard: bool) -> None:
    """What the stages that are left need of Ray is asked before anything is done; a process that has one goes on with it."""
    left = [STAGES[name] for name in names if not complete(_folder(context, name))]
    ray = sys.modules.get("ray")  # loading it takes seconds
    using = [stage for stage in left if hasattr(stage, "uses_ray") and stage.uses_ray(context.job)]
    if not using:
        if dashboard:
            context.say("no dashboard: nothing is left that Ray is needed for")
        return
    if not (ray and ray.is_initialized()):
        ray_start.check(os.environ)
    packs = any(stage is not pretrain or context.job.pretrain.trials for stage in using)
    resources.ask(context.job, context.say, packs=packs, workers=pretrain in using)
    sharing.check(context.folder, context.job)
    if not dashboard and is_local(os.environ):
        cluster.begin(context.job.tune.threads)
    else:
        cluster.connect(context.job.tune.threads, dashboard)
        watched = cluster.dashboard() or "no dashboard: the Ray that this process has was started without one"
        context.say(watched if is_local(os.environ) else cluster.described())


def _marker(context: Context, name: str, module: ModuleType, inputs: Mapping[str, Any]) -> Stage:
    free, resumes = getattr(module, "FREE", ()), getattr(module, "RESUMES", True)
    return Stage(_folder(context, name), name, inputs, module.FORMAT, free=free, resumes=resumes)


def _folder(context: Context, name: str) -> Path:
    return context.folder / "stages" / name


def _without_none(value: Any) -> Any:
    """TOML has no null: what is not set is left out."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value
