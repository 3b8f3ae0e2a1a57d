"""Backbones that this process has loaded: each once, whatever number of prompts stands on it."""

from __future__ import annotations

import threading
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from raytune_rec.artifacts import backbone as backbone_artifact
from raytune_rec.components import component, options_of
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.contract import Entities
from raytune_rec.schema.prepared import ById, DataSchema
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.marker import MARKER
from raytune_rec.strategies.aliases import ALIASES
from raytune_rec.task import Unit
from raytune_rec.training.beside import Beside
from raytune_rec.training.model import Model
from raytune_rec.training.parts import Parts, parts_of
from raytune_rec.training.stack import with_new_items

_SOMEBODY = Unit("", "domain")
"""Whose items are all that the data know, new ones too, and none its own."""
_LOADED: WeakValueDictionary[Any, Base] = WeakValueDictionary()
_LOADING = threading.Lock()


class Base:
    """A backbone, and all that prompts on it share: its tensors, and the part of the store beside it.

    Args:
        folder: of the artifact, whose facts and tensors these are.
    """

    def __init__(self, folder: Path, facts: backbone_artifact.BackboneFacts, start: Mapping[str, Tensor]) -> None:
        self.folder, self.facts, self.start = folder, facts, start
        self._stores: dict[str | None, Store] = {}
        self._grown: dict[Hashable, Mapping[str, Tensor]] = {}
        self._zeros: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        self._beside: Beside | None = None
        self._held: dict[Hashable, Mapping[str, Tensor] | None] = {}

    @classmethod
    def loaded(cls, folder: Path) -> Base:
        """The backbone of a folder, read and checked unless this process holds it already.

        Raises:
            ArtifactError: see `artifacts.backbone.load`.
        """
        STORAGE.fetch(folder)
        with _LOADING:
            key = _identity(folder)
            base = _LOADED.get(key)
            if base is None:
                base = _LOADED[key] = cls(folder, *backbone_artifact.load(folder))
            return base

    def store(self, attribute: str | None = None) -> Store:
        """What maps raw rows; one for each attribute that tasks tell (`Store.open`)."""
        if attribute not in self._stores:
            self._stores[attribute] = Store.open(self.folder / backbone_artifact.DATA, complete=False, attribute=attribute)
        return self._stores[attribute]

    def starts(self, parts: Parts) -> Mapping[str, Tensor]:
        """Its tensors, with rows for new items where a model has them."""
        key = type(parts.backbone), parts.new
        if key not in self._grown:
            self._grown[key] = with_new_items(parts, self.start)
        return self._grown[key]

    def zeros(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A table of which the backbone knows nothing, held once."""
        return self._zeros.setdefault((name, shape), torch.zeros(shape))

    def beside(self, by_id: ById) -> Beside:
        """Items and users, held once, beside a unit's own items."""
        if self._beside is None:
            self._beside = Beside.of([self.everything()])
        own, items = Beside.of([by_id]), self._beside.items
        assert items is not None and own.items is not None
        return replace(self._beside, items=_with_feedback(items, own.items), members=own.members)

    def holding(self, model: Model, tuned: Collection[str]) -> Model:
        """A model with items and users encoded; they are held once for all that do not tune what encodes them.

        Args:
            tuned: full names of tensors.
        """
        backbone = model.parts.backbone
        reads = backbone.item_groups | backbone.user_groups
        own = any(p.group in reads for name, p in model.parts.of_backbone.items() if name in tuned)
        if own or backbone.reads_feedback:
            return model.holding()
        key = (type(backbone), repr(model.parts.options["backbone"][0]), *model.parts.sites.items())
        if key not in self._held:
            self._held[key] = model.holding().held
        return replace(model, held=self._held[key])

    def everything(self) -> ById:
        """All items and users, for a model of no unit."""
        return self.store().by_id(_SOMEBODY, feedback=False)

    def pretrained(self, schema: DataSchema, folders: Sequence[Path] = ()) -> Parts:
        """The backbone as it was pre-trained, with the prompt that learned with it, for data of this schema."""
        facts = self.facts
        prompt = facts.prompt if facts.learn_prompt else "none"
        strategy = ALIASES["pretrained" if prompt == "none" else "prompt_untuned"]
        options = {
            "backbone": [options_of("backbones", facts.name, facts.options, folders)],
            "prompt": [options_of("prompts", prompt, facts.prompt_options if prompt != "none" else {}, folders)],
        }
        return parts_of(facts.name, prompt, strategy, options, schema, facts, folders)

    def serves(self, task: str, folders: Sequence[Path] = ()) -> bool:
        """Whether it answers rows of a task by itself."""
        return task in component("backbones", self.facts.name, folders).tasks


def beside(prompt: Path, fingerprint: str) -> Path:
    """The folder of the backbone on which a prompt of a run stands: `backbones/<fingerprint>` in the folder of its run.

    Raises:
        ArtifactError: there is none; where it was looked for.
    """
    places = [parent / "backbones" / fingerprint for parent in prompt.absolute().parents[:2]]
    for place in places:
        STORAGE.fetch(place)
        if (place / "backbone.json").is_file():
            return place
    looked = " and ".join(map(str, reversed(places)))
    raise ArtifactError(
        f"{prompt}: its backbone is neither {looked}; copy it there, or name its folder: load_prompt(PROMPT, BACKBONE)."
    )


def _identity(folder: Path) -> Any:
    """The same for one backbone, another for one that was written anew in its place."""
    try:
        state = (folder / MARKER).stat()
    except OSError:
        return folder.absolute()
    return folder.resolve(), state.st_ino, state.st_mtime_ns


def _with_feedback(items: Entities, own: Entities) -> Entities:
    """All items, with who took a unit's own ones."""
    return items if own.feedback is None else replace(items, feedback=own.feedback)
