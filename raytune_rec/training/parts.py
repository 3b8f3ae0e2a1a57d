"""Where a backbone, a prompt and a strategy meet:

the only place that knows both sides, and the only one that can refuse a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.backbones.base import Backbone, reads_entities
from raytune_rec.components import Options, component
from raytune_rec.errors import AssemblyError
from raytune_rec.prompts.base import Prompt
from raytune_rec.schema.contract import Parameter, Reading, Site, SiteShape
from raytune_rec.schema.prepared import ITEM, DataSchema
from raytune_rec.schema.work import Strategy
from raytune_rec.tasks.kinds import REMEDIES

LaneOptions = Mapping[str, Sequence[Options]]
"""`backbone` and `prompt` -> the options of each lane."""


@dataclass(frozen=True)
class Parts:
    """The components of one model.

    Args:
        prompts: one per lane: they differ in shapes only, and the first one computes for all.
        sites: those for which the backbone makes room.
        trained_groups: parameter groups that learn.
        gives: what may be read from the backbone.
        reads_by_id: whether the backbone reads items or users by id, beside the rows.
        new: the last items, so many, that no pre-training has (`Field.new`).
        changed: names of the backbone's parameters to which the prompt adds something.
    """

    backbone: Backbone
    prompts: Sequence[Prompt]
    strategy: Strategy
    sites: Mapping[Site, SiteShape]
    options: LaneOptions
    trained_groups: frozenset[str]
    gives: Mapping[str, Reading]
    reads_by_id: bool
    new: int = 0
    changed: frozenset[str] = frozenset()

    @property
    def lanes(self) -> int:
        return len(self.options["backbone"])

    @cached_property
    def of_backbone(self) -> dict[str, Parameter]:
        """Full name -> what the backbone declares, buffers included."""
        return {f"backbone.{p.name}": p for p in (*self.backbone.parameters(), *self.backbone.buffers())}

    @cached_property
    def moving_groups(self) -> frozenset[str]:
        """Groups of the backbone that are not the same for all lanes and epochs: what learns, and what the prompt adds to."""
        return self.trained_groups | {self.of_backbone[f"backbone.{name}"].group for name in self.changed}

    @cached_property
    def buffers(self) -> frozenset[str]:
        """Full names of what is stored and not trained."""
        return frozenset(f"backbone.{b.name}" for b in self.backbone.buffers())

    def declared(self, lane: int = 0) -> dict[str, Parameter]:
        """Full name -> parameter or buffer, in the true shapes of a lane. A prompt whose place holds zeros has none."""
        prompts = self.prompts[lane : lane + 1] if self.strategy.prompt == "on" else ()
        return self.of_backbone | {f"prompt.{p.name}": p for prompt in prompts for p in prompt.parameters()}


def parts_of(
    backbone: str,
    prompt: str,
    strategy: Strategy,
    options: LaneOptions,
    schema: DataSchema,
    base: BackboneFacts | None = None,
    folders: Sequence[Path] = (),
    where: str = "",
) -> Parts:
    """Components by name, met.

    Args:
        base: the pre-trained backbone; None for a scratch start.
        folders: of the user's own components. where: as for `meet`.
    """
    sites = {Site(s): SiteShape(*shape) for s, shape in base.sites.items()} if base else None
    classes = component("backbones", backbone, folders), component("prompts", prompt, folders)
    return meet(*classes, strategy, options, schema, sites, where)


def meet(
    backbone: type[Backbone],
    prompt: type[Prompt],
    strategy: Strategy,
    options: LaneOptions,
    schema: DataSchema,
    sites: Mapping[Site, SiteShape] | None = None,
    where: str = "",
) -> Parts:
    """Construct both sides, or refuse the pair.

    Args:
        sites: those that a pre-trained backbone was built with; None for a scratch start.
        where: in front of a refusal of the pair: the method.

    Raises:
        AssemblyError: the prompt writes where the backbone takes nothing, reads what it does not give, the pre-trained backbone
            was built for other sites, or the strategy trains a group that neither side has.
    """
    of_backbone, of_prompt = options["backbone"][0], options["prompt"][0]
    takes, gives = backbone.takes(of_backbone, schema), backbone.gives(of_backbone, schema)
    on = strategy.prompt != "off"
    writes = prompt.writes(of_prompt) if on else {}
    names = f"{where}prompt {prompt.__name__} and backbone {backbone.__name__}"
    remedy = (
        "choose another prompt, or" if takes else "leave the prompt out, of a method with a strategy that has none, or choose"
    )
    problems = [
        f"{names} do not fit: the prompt writes {s.value!r}, the backbone takes {_list(takes)}; {remedy} a "
        f"backbone that takes {s.value!r}."
        for s in writes
        if s not in takes
    ]
    missing = [r for r in prompt.reads(of_prompt) if r not in gives] if on else []
    if schema.task.name not in backbone.tasks:
        served = " or ".join(sorted(backbone.tasks))
        remedies = "; or ".join(REMEDIES[name] for name in sorted(backbone.tasks))
        problems.append(
            f"{where}backbone {backbone.__name__} does not fit the data: it serves {served}, and they are {schema.task.name}; "
            f"name another backbone, or, for {remedies}."
        )
    problems += [
        f"{names} do not fit: the prompt reads {r!r}, the backbone gives {_list(gives)}; {remedy} a backbone that gives {r!r}."
        for r in missing
    ]
    if problems:
        raise AssemblyError(problems)
    room = {site: SiteShape(count, takes[site]) for site, count in writes.items() if count and site in backbone.shaped_by}
    if sites is not None and dict(sites) != room:
        raise AssemblyError(
            f"{where}strategy {strategy.name!r}: the pre-trained backbone was built for prompt sites {_sites(sites)}, "
            f"this method writes {_sites(room)}. "
            "Start the method from a pre-training with the same prompt."
        )
    prompts = [prompt(o, schema, gives, takes) for o in options["prompt"]] if on else []
    made = backbone(of_backbone, schema, room)
    own = made.parameters()
    changed = frozenset(n for p in prompts if Site.WEIGHTS in writes for n in p.attach(own))  # type: ignore[attr-defined]
    by_id, groups = reads_entities(backbone, schema.task.chooses), _groups(made, prompts, strategy, where)
    return Parts(made, prompts, strategy, room, options, groups, gives, by_id, schema.field(ITEM).new, changed)


def _groups(backbone: Backbone, prompts: Sequence[Prompt], strategy: Strategy, where: str) -> frozenset[str]:
    """The groups that learn."""
    of_backbone = {p.group for p in backbone.parameters()}
    of_prompt = {p.group for prompt in prompts[:1] for p in prompt.parameters()}
    meaning = {name: {name} for name in of_backbone | of_prompt} | {"all": of_backbone, "prompt": of_prompt}
    if unknown := [name for name in strategy.train if name not in meaning]:
        raise AssemblyError(
            f"{where}strategy {strategy.name!r} trains {name!r}; this backbone and prompt have {_list(of_backbone | of_prompt)}; "
            "choose a strategy that trains some of these, or another backbone."
            for name in unknown
        )
    return frozenset().union(*(meaning[name] for name in strategy.train))


def _list(names: Any) -> str:
    return ", ".join(sorted(str(getattr(n, "value", n)) for n in names)) or "nothing"


def _sites(sites: Mapping[Site, SiteShape]) -> str:
    return ", ".join(f"{s.value} x{shape.count}" for s, shape in sites.items()) or "none"
