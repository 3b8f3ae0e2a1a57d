"""A finished backbone in place of a pre-training (`pretrainings.<name>.from`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raytune_rec.artifacts import backbone
from raytune_rec.artifacts.backbone import BackboneFacts
from raytune_rec.components import component, kinds, options_of
from raytune_rec.config import Job
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError
from raytune_rec.pretraining.artifact import Facts
from raytune_rec.pretraining.new_ids import check_texts, renewed
from raytune_rec.schema.prepared import DataSchema
from raytune_rec.schema.work import Method, recipe_of
from raytune_rec.storage import marker
from raytune_rec.storage.files import lies_there
from raytune_rec.storage.places import located
from raytune_rec.training.settings import method_of


def adopt(job: Job, pretraining: str, store_path: Path, folder: Path, number: int = 0) -> Facts:
    """Check the backbone that a pre-training names and copy it into the run; with `new_ids`, make one of this job's data of it.

    Args:
        store_path: the prepared data.
        folder: where it goes; what stands there is replaced.
        number: which of its pre-trainings, where a run has several.

    Returns:
        The same facts as `pretrain`, and where it came from: `given` as the job says it, the folder `from`, and `origin`, the
        fingerprint of what stood there.

    Raises:
        ArtifactError: it is damaged, was trained on other data, is not what the pre-training describes, or its shapes do not fit.
        JobError: the job's options of this backbone are unknown or out of range.
    """
    store, wanted = Store.open(store_path), job.pretrainings[pretraining]
    source = check(job, pretraining, store)[number]
    with _named(pretraining):
        facts, tensors = backbone.load(source)
    origin = facts.fingerprint
    if wanted.new_ids:
        schema = store.schema.for_pretraining()
        renewed_facts, tensors = renewed(job, pretraining, _where(pretraining, source), facts, tensors, schema)
        facts = backbone.save(folder, renewed_facts, tensors, store_path)
    elif job.data.known:  # the same backbone, beside which raw ids of new items are known
        facts = backbone.save(folder, facts, tensors, store_path)
    elif source.resolve() != folder.resolve():
        marker.copy(source, folder)
    return {
        "pretraining": pretraining,
        "replicate": number,
        "recipe": {},
        "trials": facts.trials,
        "metric": facts.metric,
        "curve": list(facts.curve),
        "losses": [],
        "best": facts.value,
        "best_epoch": facts.curve.index(facts.value) if facts.value in facts.curve else 0,
        "epochs": facts.epochs,
        "seconds": 0.0,
        "rows_per_second": 0.0,
        "parameters": 0,
        "status": "complete",
        "error": "",
        "fingerprint": facts.fingerprint,
        "given": wanted.from_path,
        "from": str(source),
        "origin": origin,
    }


def check(job: Job, pretraining: str, store: Store) -> list[Path]:
    """The folders of the backbones that a pre-training names, whose facts are what the job asks for; their weights are not read.

    Args:
        store: the prepared data.

    Raises:
        ArtifactError, JobError: see `adopt`.
    """
    sources = sources_of(job, pretraining)
    for source in sources:
        _check(job, pretraining, source, facts := backbone.read(source), store.schema)
        if job.pretrainings[pretraining].new_ids:
            check_texts(_where(pretraining, source), facts, source, store)
    return sources


def sources_of(job: Job, pretraining: str) -> list[Path]:
    """The folders of the backbones that a pre-training names, by the folder of one or by that of a run, whose replicates of
    that pre-training are taken: at most `pretrain.replicates`.

    Raises:
        ArtifactError: there is no finished backbone, or a run has several and none of the pre-training's name.
    """
    path = located(job.pretrainings[pretraining].from_path).absolute()
    if not any(lies_there(path / name) for name in ("backbone.json", backbone.PRETRAINED)):
        raise ArtifactError(
            f"{_where(pretraining, path)} holds no backbone (backbone.json) and is no run with a finished pre-training "
            f"({backbone.PRETRAINED}); name the folder of one."
        )
    with _named(pretraining):
        folders = backbone.find(path, pretraining)[: job.pretrain.replicates]
        for folder in folders:
            backbone.read(folder)
    return folders


@contextmanager
def _named(pretraining: str) -> Iterator[None]:
    """What is wrong with a folder is told of the option that names it."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(_where(pretraining, problem) for problem in error.problems) from None


def _where(pretraining: str, source: object) -> str:
    return f"pretrainings.{pretraining}.from: {source}"


def _check(job: Job, pretraining: str, source: Path, facts: BackboneFacts, schema: DataSchema) -> None:
    method, wanted = method_of(job, recipe_of(pretraining)), job.pretrainings[pretraining]
    where = _where(pretraining, source)
    problems = []
    if not wanted.new_ids and not _same_ids(facts, schema):
        problems.append(
            f"{where} was trained on the prepared data {facts.data_fingerprint}, this job's are {schema.fingerprint}: other ids. "
            "Prepare the same source with the same [data] options (what cold users do may differ), leave `from` out to pre-train "
            "here, or set new_ids = true to take all of it but what ids index."
        )
    if facts.name != method.backbone:
        problems.append(f"{where} is a {facts.name!r}, the pre-training names {method.backbone!r}; set it to {facts.name!r}.")
    else:
        problems += [f"{where} {problem}" for problem in _other_options(job, method, facts)]
    prompt, asked = _prompt(facts.prompt, facts.learn_prompt), _prompt(method.prompt, wanted.learn_prompt)
    if prompt != asked:
        problems.append(f"{where} was pre-trained with {prompt}, the pre-training asks for {asked}; change one of them.")
    if problems:
        raise ArtifactError(problems)


def _other_options(job: Job, method: Method, facts: BackboneFacts) -> list[str]:
    """Options that the job gives, and that the finished backbone was built with another value of. What is numeric may differ."""
    folders, name = [Path(f) for f in job.components], method.backbone
    of_job = job.backbone.name == name
    given = dict(job.backbone.options if of_job else job.backbones.get(name, {}))
    of_pretraining = {k.removeprefix("backbone."): v for k, v in method.options.items() if k.startswith("backbone.")}
    asked = options_of("backbones", name, {**facts.options, **given, **of_pretraining}, folders)
    has = options_of("backbones", name, facts.options, folders)
    problems = []
    for option, kind in kinds(component("backbones", name, folders).Options).items():
        if kind == "numeric" or option not in {**given, **of_pretraining} or getattr(asked, option) == getattr(has, option):
            continue
        written = f"backbone.options.{option}" if of_job else f"backbones.{name}.{option}"
        place = f'pretrainings.{method.pretraining}.options."backbone.{option}"' if option in of_pretraining else written
        problems.append(
            f"was built with {option} = {getattr(has, option)!r}, and the job says {place} = {getattr(asked, option)!r}; "
            f"set it to {getattr(has, option)!r}, or leave it out."
        )
    return problems


def _same_ids(facts: BackboneFacts, schema: DataSchema) -> bool:
    """Whether training saw these ids and rows; of older artifacts and data, whether all of the data are the same."""
    if facts.trained_fingerprint and schema.trained:
        return facts.trained_fingerprint == schema.trained
    return facts.data_fingerprint == schema.fingerprint


def _prompt(name: str, learned: bool) -> str:
    if name == "none":
        return "no prompt"
    return f"prompt {name!r}" if learned else f"zeros in the place of prompt {name!r}"
