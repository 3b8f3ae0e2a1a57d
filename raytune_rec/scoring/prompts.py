"""A backbone that takes prompts by name, while it answers."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.scoring.bank import Bank, Group
from raytune_rec.scoring.base import Base, beside
from raytune_rec.scoring.load import Loaded, loaded
from raytune_rec.scoring.rows import UNIT, Answers, Scores, Unknown
from raytune_rec.scoring.scorer import EVERYBODY, Scorer
from raytune_rec.scoring.tuned import on_base
from raytune_rec.storage.files import STORAGE, at_hand
from raytune_rec.storage.places import located


def load_backbone(path: str | Path, components: Sequence[str | Path] = ()) -> Prompts:
    """A backbone, to which prompts are added by name. A process holds it once, whoever loads it.

    Args:
        path: folder `backbones/<fingerprint>` of a run.
        components: folders of the user's own components, where the backbone or a prompt is one.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    return Prompts(Base.loaded(located(path)), [Path(f) for f in components])


def artifacts_of(path: Path) -> tuple[Path, dict[str, Path]]:
    """The backbone of the artifacts of a run, or of a folder of them; name of each artifact's unit -> its folder.

    Raises:
        ArtifactError: there are none, they stand on several backbones, or two serve one unit.
    """
    place = inside if at_hand(inside := path / "artifacts").is_dir() else at_hand(path)
    single = (place / "prompt.json").is_file()
    artifacts = [place] if single else [file.parent for file in STORAGE.list(place, "*/prompt.json")]
    facts = {folder: prompt_artifact.read(folder) for folder in artifacts}
    if not facts:
        raise ArtifactError(f"{path}: no run with artifacts, and no artifact; name a run folder whose export is done.")
    standing = {artifact.backbone_fingerprint for artifact in facts.values()}
    if len(standing) > 1:
        raise ArtifactError(
            f"{path}: its artifacts stand on several backbones ({', '.join(sorted(standing))}); name one artifact."
        )
    folders: dict[str, list[Path]] = defaultdict(list)
    for folder, artifact in facts.items():
        folders[artifact.unit.name].append(folder)
    if twice := {name: several for name, several in folders.items() if len(several) > 1}:
        raise ArtifactError(
            f"{path}: {' and '.join(folder.name for folder in several)} serve one unit, {name!r}; leave one of them there."
            for name, several in twice.items()
        )
    return beside(artifacts[0], next(iter(standing))), {name: folder for name, (folder,) in folders.items()}


class Prompts:
    """The prompts on one backbone, by the names that rows call them.

    A row names its prompt in the column `unit`, or, without one or where the data have a feature of this name, in `domain`. What
    no prompt serves, the backbone answers as it was pre-trained, and the answer marks it (`Scores.unknown`). Threads may add,
    remove and ask at any time; an answer is made by the prompts of one moment.
    """

    def __init__(self, base: Base, components: Sequence[Path] = ()) -> None:
        self.base, self._folders = base, list(components)
        self._new: dict[str, Loaded] = {}
        self._gone: set[str] = set()
        self._scorer: Scorer | None = None
        self._lock = threading.Lock()

    def copy(self) -> Prompts:
        """The same prompts, to be changed while these answer; tensors are shared."""
        made = Prompts(self.base, self._folders)
        with self._lock:
            made._new, made._gone, made._scorer = dict(self._new), set(self._gone), self._scorer
        return made

    @property
    def names(self) -> tuple[str, ...]:
        """Of the prompts, in the order in which they came."""
        with self._lock:
            return self._names()

    def add(self, name: str, path: str | Path, replace: bool = False) -> None:
        """Serve rows of a name by an exported prompt.

        Args:
            name: in the rows' column `unit` or `domain`.
            path: folder `artifacts/<unit>`.
            replace: in place of the prompt of this name, if there is one; no row is left to the backbone in between.

        Raises:
            ArtifactError: the name is taken or no name; the prompt is damaged, of another backbone, or of another task than those
                that are there.
        """
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise ArtifactError(f"add: a prompt's name is text without blanks at its ends (given: {name!r}); rows name it so.")
        made = loaded(located(path), self.base, self._folders)
        with self._lock:
            if name in self._names() and not replace:
                raise ArtifactError(f"add: there is a prompt {name!r} already; remove it first, or give this one another name.")
            task, mine = self._task(), made.store.schema.task
            if task is not None and task != mine:
                raise ArtifactError(f"{path}: it answers another task than the prompts that are there; load it apart from them.")
            self._gone |= {name} & self._served().keys()
            self._new[name] = made

    def remove(self, name: str) -> None:
        """Leave rows of a name to the backbone again.

        Raises:
            ArtifactError: there is no such prompt.
        """
        with self._lock:
            if name not in (names := self._names()):
                raise ArtifactError(f"remove: there is no prompt {name!r}; there are {', '.join(names[:9]) or 'none'}.")
            if self._new.pop(name, None) is None:
                self._gone.add(name)

    def score(self, rows: Any, unknown: Unknown = "backbone") -> Scores:
        """(N,) probabilities of raw rows: see `Scorer.score`."""
        return self.scorer.score(rows, unknown)

    def recommend(self, rows: Any, k: int = 10, seen: bool | None = None, unknown: Unknown = "backbone") -> Answers:
        """The best items of users with histories: see `Scorer.recommend`."""
        return self.scorer.recommend(rows, k, seen, unknown)

    def predict(self, rows: Any, unknown: Unknown = "backbone") -> Answers:
        """The attribute that the prompts predict: see `Scorer.predict`."""
        return self.scorer.predict(rows, unknown)

    @property
    def scorer(self) -> Scorer:
        """What answers with the prompts of this moment."""
        with self._lock:
            if self._scorer is None or self._new or self._gone:
                self._scorer = self._made()
                self._new, self._gone = {}, set()
            return self._scorer

    def _names(self) -> tuple[str, ...]:
        served = self._served()
        return (*(name for name in served if name not in self._gone), *self._new)

    def _served(self) -> dict[str, int]:
        """Name -> its lane in the bank."""
        bank = self._scorer.bank if self._scorer else None
        return {name: i for i, name in enumerate(bank.names) if not bank.plain or i < len(bank.names) - 1} if bank else {}

    def _task(self) -> Any:
        if self._new:
            return next(iter(self._new.values())).store.schema.task
        return self._scorer.store.schema.task if self._scorer and self._scorer.store and self._names() else None

    def _made(self) -> Scorer:
        """The bank anew: lanes that stay are cut out of it, so that what they hold is held once."""
        kept = {name: place for name, place in self._served().items() if name not in self._gone}
        held = self._scorer.bank if self._scorer else None
        lanes = [held.lane(place) for place in kept.values()] if held else []
        units = [held.units[place] for place in kept.values()] if held else []
        lanes, units = [*lanes, *(p.lane for p in self._new.values())], [*units, *(p.unit for p in self._new.values())]
        task = self._task()
        store = self.base.store(task.attribute if task else None)
        plain = self._plain(store.schema.task.name)
        names = [*kept, *self._new]
        bank = Bank.of(lanes, units, names) if lanes else Bank((), ())
        if plain is not None:
            bank = Bank((*bank.groups, plain), (*bank.units, EVERYBODY), (*bank.names, ""), plain=True)
        elif not lanes:
            raise ArtifactError(f"{self.base.folder}: there is no prompt, and by itself it does not answer; add one first.")
        elif len(lanes) > 1 and any(field.name == UNIT for field in store.schema.fields):
            raise ArtifactError(
                f"the data have a feature {UNIT!r}, and so is called the column that names a row's prompt; load each prompt with "
                "load_prompt."
            )
        return Scorer(bank, store, base=self.base)

    def _plain(self, task: str) -> Group | None:
        """The backbone as it was pre-trained; None where it tells no such thing."""
        if task == "classes":  # a classifier is tuned, and no pre-training has one
            return None
        try:
            parts = self.base.pretrained(self.base.store().schema, self._folders)
        except UserError:
            return None
        return on_base(self.base, parts, {}, self.base.everything() if parts.reads_by_id else None)
