"""The verbs that ask a finished run: vectors, score, recommend, serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raytune_rec import config
from raytune_rec.components import component, options_of
from raytune_rec.config import Job
from raytune_rec.errors import MachineError, UserError
from raytune_rec.heartbeat import SECONDS, Heartbeat
from raytune_rec.machine.signals import ends_on_sigterm
from raytune_rec.storage.files import at_hand, scratch, write_json
from raytune_rec.storage.places import located, shown

if TYPE_CHECKING:
    from raytune_rec.data.files.written import Written

PromptsArgument = Annotated[
    Path, typer.Argument(metavar="RUN_OR_ARTIFACTS", help="A run folder, a folder of its artifacts, or one artifact.")
]
InputOption = Annotated[Path, typer.Option("--input", metavar="PATH", help="Rows: a .parquet or .csv file, or a folder of them.")]
OutputOption = Annotated[Path, typer.Option("--output", metavar="PATH", help="The rows with their answers, of the same kind.")]
UnknownOption = Annotated[
    str, typer.Option("--unknown", help="What becomes of rows that training did not know: backbone, raise.")
]
CarryOption = Annotated[
    list[str] | None, typer.Option("--carry", metavar="COLUMN", help="A column that is no input and is kept; may be repeated.")
]


def vectors(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run whose pre-training is done.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The Parquet file: user, vector.")],
    pretraining: Annotated[str, typer.Option("--pretraining", metavar="NAME", help="Its name. Default: the only one.")] = "",
) -> None:
    """Write what a pre-trained sequence backbone makes of each user, as the profile of another job's users."""
    if out.suffix.lower() != ".parquet":
        raise UserError(f"--out {out}: vectors are written as Parquet; give a name that ends in .parquet.")
    from raytune_rec.scoring.vectors import write_vectors

    with Heartbeat(_echo, 0 if sys.stdout.isatty() else SECONDS) as heartbeat:
        heartbeat.begin("vectors")
        write_vectors(run, out, pretraining, heartbeat.say, heartbeat.at)


def score(
    prompts: PromptsArgument,
    given: InputOption,
    output: OutputOption,
    unknown: UnknownOption = "backbone",
    carry: CarryOption = None,
) -> None:
    """Score a table of any size; the same command goes on after an interruption."""
    _answer(prompts, given, output, what="score", unknown=unknown, carry=tuple(carry or ()))


def recommend(
    prompts: PromptsArgument,
    given: InputOption,
    output: OutputOption,
    count: Annotated[int, typer.Option("--count", min=1, help="How many items each user gets.")] = 10,
    unknown: UnknownOption = "backbone",
    carry: CarryOption = None,
) -> None:
    """Name the best items for a table of users with histories; the same command goes on after an interruption."""
    _answer(prompts, given, output, what="recommend", k=count, unknown=unknown, carry=tuple(carry or ()))


def serve(
    prompts: PromptsArgument,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="To listen on.")] = 8000,
    host: Annotated[str, typer.Option("--host", help="The address to listen on. Default: this machine alone.")] = "127.0.0.1",
    token: Annotated[Path | None, typer.Option("--token", metavar="FILE", help="Holds a word that every request brings.")] = None,
    allow: Annotated[
        list[Path] | None,
        typer.Option("--allow", metavar="DIR", help="In which added prompts may lie, besides the run; may be repeated."),
    ] = None,
) -> None:
    """Answer requests over HTTP (REST, Ray Serve) with all prompts of a run, and with those that are added while it runs."""
    with ends_on_sigterm(), scratch() as folder:
        from raytune_rec.scoring.prompts import artifacts_of, load_backbone

        try:
            from raytune_rec.serving import server
        except ImportError as error:
            raise MachineError(f"serve needs Ray Serve ({error}); install it: pip install 'raytune-rec[serve]'.") from None
        run, job = _run_of(prompts)
        components = _components(job)
        backbone, artifacts = artifacts_of(located(prompts))
        settings = server.Settings(
            backbone=backbone.absolute(),
            components=tuple(each.absolute() for each in components),
            folders=tuple(located(each).absolute() for each in (run, *(allow or ()))),
            roster=folder / "prompts.json",
            host=host,
            port=port,
            token=token and token.absolute(),
        )
        server.check(settings)
        held = load_backbone(backbone, components)  # what is wrong with artifacts is told before anything starts
        for name, artifact in artifacts.items():
            held.add(name, artifact)
        held.scorer  # noqa: B018
        _echo(f"{len(artifacts):,} prompts on backbone {backbone.name}; starting Ray Serve")
        del held
        write_json(settings.roster, {name: str(artifact.absolute()) for name, artifact in artifacts.items()}, sort=False)
        server.run(settings, _echo)


def _answer(path: Path, given: Path, output: Path, **asked: Any) -> None:
    from raytune_rec.scoring import whole

    _, job = _run_of(path)
    with ends_on_sigterm():
        wanted = whole.Asked(**asked, written=written_of(job))
        whole.answer(*whole.prompts_of(located(path), _components(job)), wanted, at_hand(given), output, _echo)


def _run_of(path: Path) -> tuple[Path, Job | None]:
    """The run of artifacts, or of one, and its job; without a run the path itself, and none."""
    path = located(path).absolute()
    for place in (path, *path.parents[:2]):
        if (job := at_hand(place / "job.toml")).is_file():
            return place, config.read(job)
    return path, None


def _components(job: Job | None) -> list[Path]:
    return [Path(folder) for folder in job.components] if job else []


def written_of(job: Job | None) -> Written:
    """How the log of a job writes its cells; plainly where there is no job, or its source does not say."""
    from raytune_rec.data.files.written import Written

    if job is None:
        return Written()
    data, folders = job.data, _components(job)
    source = component("data.sources", data.source, folders)
    if not hasattr(source, "written"):  # its files are its own, and need not be here
        return Written()
    written: Written = source(options_of("data.sources", data.source, data.options, folders)).written
    return written


def _echo(line: str) -> None:
    typer.echo(shown(line))
