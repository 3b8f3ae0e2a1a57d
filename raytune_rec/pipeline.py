"""prepare -> pretrain -> tune -> export -> evaluate -> report.

Every stage that is done is skipped, so that the same command resumes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import tomli_w
from rich.console import Console

from raytune_rec import ray_start
from raytune_rec.artifacts.files import MARKER, read_json, write_text
from raytune_rec.artifacts.lock import held
from raytune_rec.artifacts.stage import Stage
from raytune_rec.config import Job
from raytune_rec.errors import RunFailed
from raytune_rec.report.table import console as results_table
from raytune_rec.stages import evaluate, export, failures, prepare, pretrain, report, tune
from raytune_rec.stages.context import Context

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


def run(job: Job, out: Path, only: str | None = None, say: Callable[[str], None] | None = None) -> None:
    """Run a job, or go on with it.

    Args:
        job: what to do.
        out: the run folder, absolute.
        only: the last stage to run; those before it run if they are not done.
        say: shows a line.

    Raises:
        UserError: the job, its data or the folder is wrong, or another process works in it.
        RunFailed: work could not be finished, or something of it failed and the rest is done.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(job.tune.threads))
    check(job)  # a mistake in a row must not wait for the end of the pre-training
    console = Console(highlight=False, soft_wrap=True)
    console = console if console.is_terminal else Console(highlight=False, width=max(console.width, _WIDTH))
    context = Context(job, out, say or console.print, {})
    _ask_ray(context, only)
    with held(out):
        for name, module in STAGES.items():
            _stage(context, name, module)
            if name == "pretrain":
                fingerprints = _marker(context, name, module, {}).facts()["backbones"]
                context.backbones = {v: out / "backbones" / fp for v, fp in fingerprints.items()}
            if name == only:
                break
    if only is None:
        console.print(results_table(read_json(out / "results.json")))
        console.print(f"report: {(out / 'report' / 'index.html').as_uri()}")
    if failed := failures.recorded(out):
        raise RunFailed("\n".join(["Not everything that was asked for is there:", *map(str, failed)]))


def write_job(job: Job, out: Path) -> None:
    """The job with every default filled in; the run can be repeated from it."""
    write_text(out / "job.toml", tomli_w.dumps(_without_none(job.model_dump(mode="json", by_alias=True))))


def check(job: Job) -> Any:
    """The plan of a job, as something that a console prints."""
    from raytune_rec.stages.plan import plan

    return plan(job)


def _stage(context: Context, name: str, module: ModuleType) -> None:
    """Run one stage unless it is done. What follows a stage that runs is done anew."""
    marker = _marker(context, name, module, module.inputs(context))
    if marker.done():
        return
    started = time.perf_counter()
    # before it begins, so that an interruption after it leaves nothing that was made of its earlier result
    names = list(STAGES)
    for later in names[names.index(name) + 1 :]:
        shutil.rmtree(_folder(context, later), ignore_errors=True)
    marker.begin()
    write_job(context.job, context.folder)  # once nothing refuses the job any more
    facts = module.run(context)
    marker.finish(facts)
    context.say(f"{name}: done in {time.perf_counter() - started:.1f} s")


def _ask_ray(context: Context, only: str | None) -> None:
    """What the stages that are left need of Ray is asked before anything is done; a process that has one goes on with it."""
    last = only or list(STAGES)[-1]
    names = list(STAGES)[: list(STAGES).index(last) + 1]
    left = [STAGES[name] for name in names if not (_folder(context, name) / MARKER).exists()]
    ray = sys.modules.get("ray")  # loading it takes seconds
    if any(stage.uses_ray(context.job) for stage in left if hasattr(stage, "uses_ray")) and not (ray and ray.is_initialized()):
        ray_start.check(os.environ)


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
