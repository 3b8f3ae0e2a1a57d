"""What there is to know of a prompt artifact: the content of `prompt.json`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict

from raytune_rec.artifacts.weights import TensorFacts
from raytune_rec.schema.work import Scalar
from raytune_rec.task import Task, Unit

FORMATS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class StrategyFacts:
    """Who was trained, from which start: see `schema.work.Strategy`."""

    name: str
    start: Literal["scratch", "backbone"]
    train: tuple[str, ...]
    prompt: Literal["off", "on", "neutral"]


@dataclass(frozen=True, kw_only=True)
class PromptFacts:
    """What there is to know of a prompt.

    Args:
        unit: what it serves. about: a sentence on that, where it is no domain.
        method: of the results table.
        strategy: who was trained.
        prompt, prompt_options: the component and its options.
        backbone, backbone_options: likewise.
        backbone_fingerprint: the only backbone beside which these tensors mean something.
        data_fingerprint: of the prepared data.
        task: what its rows are and what is asked of it.
        domains: that items belong to, where each raw row must name its own; empty where none need be named.
        parameters: tensor name -> facts; `rows.*` are not listed.
        tuned_parameters: how many numbers were trained.
        trial, options, seed, replicate: the winning trial, its flat options, the job's seed, which replicate this is.
        valid: validation metric -> value.
        candidates: methods among which validation chose this one -> their metric, mean over replicates; empty: no choice.
        test: test metric -> value; None until `evaluate` has run.
        versions: of the libraries.
        weights_sha256: filled in when it is saved.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: int = FORMATS[-1]
    unit: Unit
    about: str = ""
    method: str
    strategy: StrategyFacts
    prompt: str
    prompt_options: Mapping[str, Any] = field(default_factory=dict)
    backbone: str
    backbone_options: Mapping[str, Any] = field(default_factory=dict)
    backbone_fingerprint: str
    data_fingerprint: str
    task: Task = field(default_factory=Task)
    domains: tuple[str, ...] = ()
    parameters: Mapping[str, TensorFacts]
    tuned_parameters: int
    trial: int
    options: Mapping[str, Scalar] = field(default_factory=dict)
    seed: int = 0
    replicate: int = 0
    valid: Mapping[str, float | None] = field(default_factory=dict)
    candidates: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, Any] | None = None
    versions: Mapping[str, Scalar] = field(default_factory=dict)
    weights_sha256: str = ""


def from_first(values: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of any format as those of the last. Format 1, of 0.1, had `history` and `predicts` in place of the task, and of
    the unit its name.
    """
    if values["format"] != 1:
        return dict(values)
    rest = {name: value for name, value in values.items() if name not in ("history", "predicts")}
    length, attribute = values.get("history", 0), values.get("predicts", "")
    task = Task("lists", length).telling(attribute) if length else Task()
    return {**rest, "unit": _unit_of_first(values, length), "task": asdict(task)}


def _unit_of_first(values: Mapping[str, Any], length: int) -> Any:
    """What is no name stays, to be refused with what else is wrong."""
    name = values.get("unit")
    if not isinstance(name, str):
        return name
    fold = re.fullmatch(r"[^/\\\0]+\.[1-9]\d*", name) and values.get("about", length)
    return asdict(Unit.of_first(name) if fold else Unit(name, domain=name))
