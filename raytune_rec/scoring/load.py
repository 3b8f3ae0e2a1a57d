"""Exported prompts beside their backbone, as a scorer: checked first, since files may be damaged or of another's making."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raytune_rec.artifacts import prompt as prompt_artifact
from raytune_rec.artifacts import weights
from raytune_rec.artifacts.card import own_components
from raytune_rec.artifacts.prompt_facts import PromptFacts
from raytune_rec.components import options_of
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.schema.contract import MEMBER
from raytune_rec.schema.prepared import ITEM, USER, DataSchema
from raytune_rec.schema.work import Strategy
from raytune_rec.scoring.bank import Bank, Group
from raytune_rec.scoring.base import Base, beside
from raytune_rec.scoring.rows import UNIT
from raytune_rec.scoring.scorer import Scorer
from raytune_rec.scoring.tuned import FEEDBACK, ROWS, Weights, on_base, with_events, wrong_events
from raytune_rec.storage.claim import COMPONENTS
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.places import located, shown
from raytune_rec.task import COLD_TASKS, Unit
from raytune_rec.tasks.kinds import kind_of
from raytune_rec.training.parts import Parts, parts_of

_NONSENSE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What building a model of facts and weights raises that do not belong together."""


def load_prompt(path: str | Path, backbone: str | Path | None = None, components: Sequence[str | Path] = ()) -> Scorer:
    """The model of an exported prompt beside its backbone.

    Args:
        path: folder `artifacts/<unit>` of a run.
        backbone: folder `backbones/<fingerprint>` that it stands on; None: the one of this fingerprint in the prompt's run.
        components: folders of the user's own components, where the prompt is one.

    Raises:
        ArtifactError: one of them is missing, damaged or does not belong to the other, or needs components that are not named.
    """
    path = located(path)
    place = beside(path, prompt_artifact.read(path).backbone_fingerprint) if backbone is None else backbone
    return load_prompts([path], place, components)


def load_prompts(paths: Sequence[str | Path], backbone: str | Path, components: Sequence[str | Path] = ()) -> Scorer:
    """The models of many exported prompts over one backbone, as one: each raw row names in its column `unit` whose it is.

    Args:
        paths: folders `artifacts/<unit>`.
        backbone, components: as for `load_prompt`.

    Raises:
        ArtifactError: as `load_prompt`, of all prompts at once; there is none, two serve one unit, they have different tasks, or
            the data have a feature called `unit`.
    """
    base = Base.loaded(located(backbone))
    folders = [Path(f) for f in components]
    prompts: list[Loaded] = []
    problems: list[str] = []
    for path in map(located, paths):
        try:
            prompts.append(loaded(path, base, folders))
        except ArtifactError as error:
            problems += error.problems
    problems += [] if problems else _apart(prompts)
    if problems:
        raise ArtifactError(problems)
    bank = Bank.of([prompt.lane for prompt in prompts], [prompt.unit for prompt in prompts])
    return Scorer(bank, prompts[0].store, base=base)


@dataclass(frozen=True)
class Loaded:
    """One prompt on a backbone: a model of one lane, and whom it serves. store: maps rows for its task."""

    lane: Group
    unit: Unit
    store: Store


def _apart(prompts: Sequence[Loaded]) -> list[str]:
    """Why some prompts cannot serve together."""
    if not prompts:
        return ["load_prompts: there is no prompt; name the folder of one or more."]
    served = Counter(prompt.unit.name for prompt in prompts)
    doubled = [name for name, count in served.items() if count > 1]
    problems = [f"load_prompts: {unit!r} is served by more than one of the prompts; name one for each unit." for unit in doubled]
    schemas = [prompt.store.schema for prompt in prompts]
    if len({schema.task for schema in schemas}) > 1:
        problems.append("load_prompts: some of the prompts predict another attribute than others; load those of a task together.")
    if len(schemas) > 1 and any(field.name == UNIT for field in schemas[0].fields):
        problems.append(
            f"load_prompts: the data have a feature {UNIT!r}, and so is called the column that names a row's prompt; load each "
            "prompt with load_prompt."
        )
    return problems


def loaded(path: Path, base: Base, folders: Sequence[Path]) -> Loaded:
    """A checked prompt on a backbone.

    Raises:
        ArtifactError: see `load_prompt`.
    """
    facts, tuned = prompt_artifact.load(path, base.facts.fingerprint)
    if missing := [f"{family}/{name}.py" for family, name in own_components(facts, folders)]:
        copies = STORAGE.list(path.parent.parent, f"{COMPONENTS}/*")
        kept = next((str([shown(copy)]) for copy in copies if not own_components(facts, [*folders, copy])), "[FOLDER]")
        raise ArtifactError(
            f"{path}: it needs {' and '.join(missing)}, which is no part of raytune_rec; name the folder that holds it: "
            f"load_prompt(..., components={kept})."
        )
    try:
        return _served(base, facts, tuned, folders)
    except UserError as error:
        raise ArtifactError(f"{path}: {problem}" for problem in error.problems) from None
    except _NONSENSE as error:  # the hashes fit, and yet no model of ours wrote this
        what = f"it and the backbone {base.folder} do not make a model ({type(error).__name__}: {str(error)[:200]})"
        raise ArtifactError(f"{path}: {what}; copy both anew, or export the prompt again.") from None


def _served(base: Base, facts: PromptFacts, tuned: Weights, folders: Sequence[Path]) -> Loaded:
    store = base.store(facts.task.attribute)
    options = {
        "backbone": [options_of("backbones", facts.backbone, facts.backbone_options, folders)],
        "prompt": [options_of("prompts", facts.prompt, facts.prompt_options, folders)],
    }
    s = facts.strategy
    strategy = Strategy(s.name, s.start, s.train, s.prompt)
    parts = parts_of(facts.backbone, facts.prompt, strategy, options, store.schema, base.facts, folders)
    events = wrong_events(tuned, store.schema.field(ITEM).size, store.schema.field(USER).size)
    if problems := [*_wrong(parts, tuned, base.starts(parts), facts), *_no_unit(facts.unit, store.schema), *events]:
        raise ArtifactError([*problems, "copy the artifact anew, or export it again."])
    by_id = with_events(store.by_id(facts.unit, feedback=False), tuned) if parts.reads_by_id else None
    return Loaded(on_base(base, parts, tuned, by_id), facts.unit, store)


def _wrong(parts: Parts, tuned: Weights, start: Weights, facts: PromptFacts) -> list[str]:
    """What of the tensors is not what the components declare."""
    declared = parts.declared()
    problems = [
        f"the tensor {name!r} belongs to neither {facts.backbone!r} nor {facts.prompt!r}."
        for name in tuned
        if name not in declared and not name.startswith((ROWS, FEEDBACK))
    ]
    for name, p in declared.items():
        tensor, ids = tuned.get(name, start.get(name)), tuned.get(f"{ROWS}{p.rows}") if name in tuned else None
        if tensor is None or (name not in tuned and p.group in facts.strategy.train):
            problems.append(f"the tensor {name!r} is missing.")
            continue
        shape = tuple(p.shape) if ids is None else (len(ids), *p.shape[1:])
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            problems.append(
                f"{name!r} is {weights.dtype_name(tensor)}{list(tensor.shape)}, the model has numbers of {list(shape)}."
            )
        elif p.rows == MEMBER:
            if ids is None or ids.tolist() != [0, *facts.unit.members]:
                problems.append(f"'{ROWS}{MEMBER}' are not the items of {facts.unit.name[:99]!r}.")
        elif ids is not None and int(ids.max()) >= p.shape[0]:
            problems.append(f"'{ROWS}{p.rows}' holds the id {int(ids.max())}, the backbone's data know {p.shape[0]}.")
        elif ids is not None and not bool((ids.diff() > 0).all()):
            problems.append(f"'{ROWS}{p.rows}' names an id twice, or not in their order.")
    return problems


def _no_unit(unit: Unit, schema: DataSchema) -> list[str]:
    """What is wrong with a unit beside these data: its domain, its kind or its items."""
    name, known = unit.name[:99], ", ".join(schema.domains)[:200]
    if unit.domain not in ("", *schema.domains) or (unit.kind == "domain" and not unit.domain):
        return [f"it serves {name!r}, which is no domain of its backbone's data ({known})."]
    if problem := unit.ill_formed:
        return [f"it serves {name!r}, {problem}."]
    if unit.kind not in kind_of(schema.task).units:
        return [f"it serves {name!r}, of the kind {unit.kind!r}, and its backbone's data are {schema.task.name}."]
    if (
        unit.kind == "fold"
        and unit.task != schema.task.attribute
        and (schema.task.attribute or not COLD_TASKS.fullmatch(unit.task))
    ):
        return [f"it serves {name!r}, and nobody asks {unit.task[:99]!r} of cold users."]
    if any(not 0 < i < schema.field(ITEM).size for i in unit.members):
        return [f"it serves {name!r}, a group of items that its backbone's data do not know."]
    return []
