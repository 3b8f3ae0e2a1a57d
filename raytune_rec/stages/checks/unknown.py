"""What a job says outside its methods: options of components, rates of parameter groups. Slips there would change nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from raytune_rec.components import Family, component, names, options_of
from raytune_rec.config import Job
from raytune_rec.errors import JobError
from raytune_rec.tuning.search.plan import Plan


def unknown_components(job: Job) -> list[str]:
    """Sections of components that do not exist, or that nothing reads, or with wrong options. One that no method uses is fine."""
    folders = [Path(f) for f in job.components]
    sections: dict[Family, Mapping[str, Any]] = {
        "prompts": job.prompts, "objectives": job.objectives,
        "backbones": {**job.backbones, job.backbone.name: job.backbone.options}, "trackers": job.trackers,
    }  # fmt: skip
    problems: list[str] = []
    for family, section in sections.items():
        for name, options in section.items():
            try:
                options_of(family, name, options, folders)
            except JobError as error:
                problems += error.problems
    if job.backbones.get(name := job.backbone.name):
        problems.append(f"backbones.{name}: {name!r} is the job's own backbone, whose options are backbone.options; move them.")
    return problems


def not_installed(job: Job) -> list[str]:
    """Trackers of the job whose packages are not here."""
    folders, known = [Path(f) for f in job.components], names("trackers", [Path(f) for f in job.components])
    needed = {name: component("trackers", name, folders).needs for name in job.trackers if name in known}
    return [
        f"trackers.{name}: needs {package}, which is not installed; pip install '{what}', or leave [trackers.{name}] out."
        for name, packages in needed.items()
        for package, what in packages.items()
        if not _installed(package)
    ]


def _installed(package: str) -> bool:
    """Whether it can be imported. A folder of this name, such as ./wandb, is no package."""
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:  # of `a.b`, where there is no `a`
        return False
    return spec is not None and spec.origin is not None


def unknown_groups(plan: Plan) -> list[str]:
    """Learning rates and decays of parameter groups that neither a method nor a shipped component has."""
    known = {"default"}.union(*(planned.groups for planned in plan.planned.values()))
    rates = {"lr": plan.job.training.lr, "weight_decay": plan.job.training.weight_decay}
    return [
        f"training.{table}.{group}: there is no parameter group {group!r}; there are {', '.join(sorted(known - {'default'}))}."
        for table, groups in rates.items()
        for group in groups
        if group not in known
    ]
