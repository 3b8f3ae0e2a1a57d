"""Job TOML -> frozen models. Every error is reported at once; unknown keys are refused.

A job names components and gives their options; each component checks its own (`components.options_of`). The searched values of a
trial are flat keys (`training.lr.linear`, `prompt.temperature`, `backbone.dropout`) over the same tree, so that a search space, a
method's fixed options and `--set` all speak one language.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from raytune_rec.components import sentence, shown
from raytune_rec.errors import JobError
from raytune_rec.job import flat, toml
from raytune_rec.job.data import DataOptions
from raytune_rec.job.published import PublishedOptions
from raytune_rec.job.renamed import old_name, rename, renamed_path
from raytune_rec.job.sections import Component, Flat, Name, Section, Seed
from raytune_rec.job.training import PretrainingOptions, PretrainOptions, TrainingOptions
from raytune_rec.job.tuning import TuneOptions
from raytune_rec.storage.places import located
from raytune_rec.task import Task

_NAME = re.compile(r"(?!pretrain\.)\w[\w +.-]*")
"""Of methods and pre-trainings: they name folders, and `pretrain.<name>` is the study of a pre-training's recipe."""


OF_HISTORIES = (
    "histories (data.sequences) need, in the whole job: a training.metric of lists, such as 'ndcg@10'; in backbone, methods "
    "and pre-trainings a backbone that reads them (sasrec, bert4rec, unisrec, dssm, popularity, tfidf, transitions, t5, a "
    "CTR model, which is deepfm, xdeepfm, wide_deep, dcn, dcnv2 or fnn), with options of its own; an objective "
    "that it is trained on (softmax, the default there, or sampled_softmax; of bert4rec masked_item; of t5 masked_text; of "
    "CTR models next_bce or bpr); no prompt but ppr and soft_prompt (of t5 soft_prompt or adapter), on CTR models plate or "
    "adapter, or, for cold items on dssm and CTR models, promo or feedback_mean, and on dssm content, cb2cf or meta_emb; and "
    "the search spaces sequence and, with the prompt, its own (ppr and profile), instead of those of other components"
)
"""What a job of interactions has to change in all its parts to become one of histories."""


BEST = "best"
"""`evaluate.export`, and the line of the table: of each unit the method that validation chooses among small artifacts."""


def job_name(name: str) -> str:
    """The name itself. Raises ValueError where a job cannot be called so."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError("a job's name has letters (A to Z), digits and _ . - alone, at most 100, a letter, digit or _ first")
    return name


class MethodOptions(Section):
    """A line of the results table."""

    strategy: str = Field(description="who trains what, from which start: `show strategies`")
    prompt: str = Field("none", description="component in prompts")
    backbone: str = Field("", description="component in backbones; empty: that of its pre-training, or the job's")
    pretraining: str = Field("", description="pre-training it starts from; empty: the only one, or none for scratch")
    space: list[str] = Field(["training"], description="search spaces, put together: `show spaces`, or those under spaces")
    options: Flat = Field({}, description="options of this method alone that are not searched, such as `prompt.tokens`")
    baseline: bool = Field(False, description="a method that the others are compared with")


class EvaluateOptions(Section):
    replicates: int = Field(5, ge=1, le=1000, description="times that each winner is trained again, on the pre-trainings in turn")
    export: str = Field(
        "",
        description="method whose winners become the artifacts; best: of each unit the method that validation chooses among "
        "those that make a small artifact on the shared backbone; empty: the prompt method of best mean validation rank",
    )
    compare: list[str] = Field([], description="methods that claim something; each is tested against every baseline")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals")
    shuffled: bool = Field(False, description="rank test lists once more with the items of each history in a random order")
    retriever: str = Field("", description="method that finds items for each test list, which all methods rank (rerank)")
    rerank: list[Annotated[int, Field(ge=50, le=10_000)]] = Field(
        [], description="how many of the items that the retriever ranks first are ranked again, such as [100, 300]"
    )
    bootstrap: int = Field(2000, ge=100, le=10**6, description="resamples of the users; 2,000 know the standard error to 1.6 %")


class Job(Section):
    """One job: what `raytune-rec run` does."""

    name: Annotated[str, AfterValidator(job_name)] = Field(description="names the run folder, runs/<name>")
    title: Name = Field("", description="of the report")
    seed: Seed = Field(
        0, description="of start values, batch order, noise and the search; splits and sources have seeds of their own"
    )
    components: list[str] = Field([], description="folders of the user's own components, relative to the job file")
    data: DataOptions
    backbone: Component
    prompts: dict[str, dict[str, Any]] = Field({}, description="prompt name -> its options, for every method that uses it")
    backbones: dict[str, dict[str, Any]] = Field({}, description="options of further backbones that methods name")
    objectives: dict[str, dict[str, Any]] = Field({}, description="objective name -> its options")
    training: TrainingOptions = TrainingOptions()
    pretrain: PretrainOptions = PretrainOptions()
    pretrainings: dict[str, PretrainingOptions] = {}
    tune: TuneOptions = TuneOptions()
    methods: dict[str, MethodOptions]
    spaces: dict[str, dict[str, Any]] = Field({}, description="search spaces written in the job itself")
    evaluate: EvaluateOptions = EvaluateOptions()
    published: list[PublishedOptions] = Field([], description="numbers of others, shown beside ours with their protocol")
    trackers: dict[str, dict[str, Any]] = Field(
        {}, description="tracker name -> its options (`show trackers`); each is told of the run, and of every trial"
    )

    @model_validator(mode="before")
    @classmethod
    def _histories_have_an_objective(cls, values: Any) -> Any:
        data, training = (values.get(name, {}) for name in ("data", "training")) if isinstance(values, dict) else ({}, {})
        if isinstance(data, dict) and isinstance(training, dict) and data.get("sequences") is not None:
            return {**values, "training": {"objective": "softmax", **training}}
        return values

    @model_validator(mode="after")
    def _methods_name_what_exists(self) -> Job:
        rule = "use letters, digits and _ + - . and blanks, a letter, digit or _ first, and not 'pretrain.' in front"
        named = [("methods", name) for name in self.methods] + [("pretrainings", name) for name in self.pretrainings]
        problems = [f"{where}: {name!r} names folders; {rule}" for where, name in named if not _NAME.fullmatch(name)]
        for name, method in self.methods.items():
            pretraining = self.pretrainings.get(method.pretraining)
            if method.pretraining and pretraining is None:
                known = ", ".join(self.pretrainings) or "none"
                problems.append(f"methods.{name}.pretraining: no pre-training {method.pretraining!r}; the job has {known}")
            elif pretraining and method.backbone not in ("", backbone := pretraining.backbone or self.backbone.name):
                place = f"methods.{name}.backbone: {method.backbone!r}"
                other = f"leave it out, or start from a pre-training of {method.backbone!r}"
                problems.append(f"{place}, but its pre-training {method.pretraining!r} is of {backbone!r}; {other}")
        if (trained := self.evaluate.replicates) < (needed := self.pretrain.replicates):
            what = f"but each of the pretrain.replicates = {needed} pre-trainings needs a replicate of every winner"
            problems.append(f"evaluate.replicates = {trained}, {what}; raise it to {needed} or a multiple of it")
        if self.training.metric in self.tune.objectives:
            problems.append(f"tune.objectives: {self.training.metric!r} is training.metric already; leave it out")
        task = self.data.task
        if self.training.metric not in task.metrics:
            rows = "histories with candidates" if task.histories else "single interactions"
            known = ", ".join(task.metrics)
            problems.append(f"training.metric = {self.training.metric!r}, but the rows are {rows}; choose one of {known}")
            problems += [OF_HISTORIES] if task.histories else []
        kinds = f"training.metric = {self.training.metric!r}: one is of rows, the other of lists; name metrics of one kind"
        problems += [f"tune.objectives: {name!r}, but {kinds}" for name in self._other_kind(self.tune.objectives)]
        problems += [f"pretrain.training: metric = {n!r}, but {kinds}" for n in self._other_kind([self.pretrain_metric])]
        if self.tune.objectives and self.tune.stop.rule != "none":
            problems.append(
                f"tune.stop.rule = {self.tune.stop.rule!r} compares trials by one objective; leave it out, or tune.objectives"
            )
        further = [name for name in ("shuffled", "rerank") if getattr(self.evaluate, name)]
        if task.name != "lists":
            problems += [f"evaluate.{name} is of candidate lists, and the rows are none; leave it out" for name in further]
        if bool(self.evaluate.retriever) != bool(self.evaluate.rerank):
            problems.append(
                "evaluate: retriever names who finds items, and rerank how many are ranked again; set both, or neither"
            )
        methods = [*self.evaluate.compare, self.evaluate.export, self.evaluate.retriever]
        chosen = [BEST] if self.evaluate.export == BEST else []
        if chosen and BEST in self.methods:
            problems.append(f"methods.{BEST}: evaluate.export = {BEST!r} makes a line of this name; give the method another one")
        unknown = [r for r in methods if r and r not in (*self.methods, *chosen)]
        problems += [f"evaluate: no method {r!r}; the job has {', '.join(self.methods)}" for r in unknown]
        told = dict.fromkeys(r for p in self.published for r in p.values if r not in (*self.methods, *chosen))
        problems += [f"published: no method {r!r} to stand beside; the job has {', '.join(self.methods)}" for r in told]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def pretrain_metric(self) -> str:
        """What chooses the best epoch, and the recipe, of the pre-trainings."""
        return str(self.pretrain.training.get("metric", self.training.metric))

    def _other_kind(self, metrics: Sequence[str]) -> list[str]:
        """Metrics that are not measured on what the validation metric is, rows or lists."""
        lists = Task("lists").metrics
        named = [name for name in metrics if name != "parameters"]
        return [name for name in named if (name in lists) != (self.training.metric in lists)]


def parse(values: Mapping[str, Any], known: Sequence[str] = ()) -> Job:
    """A checked job.

    Args:
        values: the job's tables; a name that they had before is refused.
        known: problems that were found before.

    Raises:
        JobError: all mistakes at once.
    """
    tables = copy.deepcopy(dict(values))
    problems = [*known, *rename(tables)]
    wrong = toml.problems(tables)
    problems += [f"{key}: {text}" for key, text in wrong.items()]
    try:
        job = Job.model_validate(tables)
    except ValidationError as error:
        others = [e for e in error.errors() if ".".join(map(str, e["loc"])) not in wrong]
        raise JobError([*problems, *(sentence("", e, Job) for e in others)]) from None
    if problems:
        raise JobError(problems)
    return job


Settings = Sequence[str] | Mapping[str, Any]
"""Over a job: `part.option=value`, where a value is read as TOML, and as text where it is none; or option -> value."""


def read(path: Path, settings: Settings = ()) -> Job:
    """The job in a TOML file, with settings over it.

    Raises:
        JobError: the file is missing or no TOML, or the job is wrong.
    """
    values, problems = _tables(path, settings)
    job = parse(values, problems)
    return job.model_copy(update={"components": _beside(path, job.components)})


def data_of(path: Path, settings: Settings = ()) -> tuple[DataOptions, list[str]] | None:
    """The data of a job that is wrong elsewhere, and its folders of components; None where they cannot be read either."""
    try:
        values, _ = _tables(path, settings)
        if toml.problems(values.get("data")):
            return None
        folders = TypeAdapter(list[str]).validate_python(values.get("components", []))
        return DataOptions.model_validate(values.get("data")), _beside(path, folders)
    except ValueError:
        return None


def _beside(path: Path, folders: Sequence[str]) -> list[str]:
    return [str(Path(path).resolve().parent / located(folder)) for folder in folders]


def _tables(path: Path, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """A job's tables with the settings over them, and a sentence for each old name."""
    values = toml.read(Path(path))
    problems = rename(values)
    for setting, key, value in _pairs(settings):
        given = flat.key_of(setting, key)
        if (now := renamed_path(given)) != given:
            problems.append(f"--set {old_name(given)}")
        flat.assign(values, flat.place_of(values, now), value)
    return values, problems


def _pairs(settings: Settings) -> Iterator[tuple[str, str, Any]]:
    """(A setting as it was given, its key, its value)."""
    if isinstance(settings, Mapping):
        yield from ((key, key, value) for key, value in settings.items())
        return
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise JobError(f"--set {shown(setting)}: write part.option=value.")
        yield setting, key.strip(), flat.value_of(setting, text.strip())
