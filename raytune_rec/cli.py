"""The command `raytune-rec`. Thin: it reads a job, calls the pipeline and turns errors into exit codes.

0 done, 1 a run failed, 2 the user's mistake: each problem is one plain line on stderr. Torch and Ray are imported by the verbs
that need them, so that `--help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raytune_rec import __version__, config
from raytune_rec.command import answers
from raytune_rec.command.listing import Shown
from raytune_rec.errors import JobError, RunFailed, UserError, out_of_memory, told
from raytune_rec.job import shipped
from raytune_rec.machine.signals import ends_on_sigterm
from raytune_rec.storage.files import STORAGE, passing
from raytune_rec.storage.places import located, shown

if TYPE_CHECKING:
    from raytune_rec.config import Job

_INTERRUPTED = 130

app = typer.Typer(
    help="Pre-train one recommender backbone, then tune and export one small prompt per domain, on Ray.",
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
JobArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A TOML file, or the name of a shipped job (quickstart).",
        autocompletion=lambda incomplete: [name for name in shipped.names("jobs") if name.startswith(incomplete)],
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PART.OPTION=VALUE", help="Change an option of the job; may be repeated.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run folder, or its URI (s3://bucket/run). Default: runs/<the job's name>."),
]


class Rows(StrEnum):
    """What `init` may take rows for."""

    INTERACTIONS = "interactions"
    HISTORIES = "histories"


@app.callback(invoke_without_command=True)
def _top(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and leave.")] = False
) -> None:
    if version:
        typer.echo(f"raytune-rec {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    job: JobArgument,
    settings: SetOption = None,
    out: OutOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read all that is done, large files too: is it whole?")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard too, on this machine alone.")] = False,
) -> None:
    """The whole pipeline. The same command again goes on after an interruption, and makes anew what is lost of what is done."""
    _pipeline(job, settings, out, None, verify=verify, dashboard=dashboard)


@app.command()
def prepare(job: JobArgument, settings: SetOption = None, out: OutOption = None) -> None:
    """Read the raw data and write the Parquet store; the first stage, and the one that makes the run folder."""
    _pipeline(job, settings, out, "prepare")


@app.command()
def pretrain(job: JobArgument, settings: SetOption = None, out: OutOption = None) -> None:
    """Train the shared backbones on all domains (Ray Train), after `prepare`."""
    _pipeline(job, settings, out, "pretrain")


@app.command()
def tune(
    job: JobArgument,
    settings: SetOption = None,
    out: OutOption = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="Add prompts for items that a finished run lacks.")] = False,
) -> None:
    """Search every method of the table on every domain (Ray Tune), after `pretrain`. Where a finished run's log has grown,
    `--only-new` tunes, exports and evaluates prompts for the items that have none, and touches no other."""
    _pipeline(job, settings, out, "tune", only_new)


@app.command()
def export(job: JobArgument, settings: SetOption = None, out: OutOption = None) -> None:
    """Train the winners again and write the artifacts, after `tune`."""
    _pipeline(job, settings, out, "export")


@app.command()
def evaluate(job: JobArgument, settings: SetOption = None, out: OutOption = None) -> None:
    """Score the winners on the test split, once, and compare the methods, after `export`."""
    _pipeline(job, settings, out, "evaluate")


@app.command()
def report(job: JobArgument, settings: SetOption = None, out: OutOption = None) -> None:
    """Write the HTML report and the TensorBoard logs of a run, after `evaluate`."""
    _pipeline(job, settings, out, "report")


@app.command()
def submit(
    job: JobArgument,
    settings: SetOption = None,
    out: OutOption = None,
    address: Annotated[
        str, typer.Option("--address", metavar="URL", envvar="RAY_API_SERVER_ADDRESS", help="Of the cluster's dashboard.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Show its lines until it has ended.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is, and leave.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it there; the command without this goes on with it.")] = False,
) -> None:
    """Run a job on a Ray cluster. The same command again finds it there, or goes on with it after any end."""
    from raytune_rec.command import submit as submitting

    submitting.run(read_job(job, settings or ()), out, address, typer.echo, follow=follow, status=status, stop=stop)


@app.command()
def init(
    files: Annotated[list[str], typer.Argument(metavar="FILES", help="Files of a log: CSV, TSV, JSON lines or Parquet.")],
    out: Annotated[Path, typer.Option("--out", metavar="JOB.toml", help="The job that is written.")] = Path("job.toml"),
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="ROLE=NAME", help="What a column is: domain, user, item, label, rating, timestamp."),
    ] = None,
    rows: Annotated[Rows | None, typer.Option("--rows", help="What a row is. Default: as the columns tell.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a job that is there.")] = False,
) -> None:
    """Look at the files of a log, say what was taken for what and why, and write a job that runs."""
    from raytune_rec.command.init import init as looking

    looking.check_out(out, force)
    looking.init(files, out, looking.given(columns or ()), None if rows is None else rows is Rows.HISTORIES, typer.echo)


for verb in (answers.vectors, answers.score, answers.recommend, answers.serve):
    app.command()(verb)


@app.command()
def check(
    job: JobArgument,
    settings: SetOption = None,
    out: OutOption = None,
    only_new: Annotated[bool, typer.Option("--only-new", help="What `tune --only-new` would add to a finished run.")] = False,
) -> None:
    """Validate a job and its data, print its plan, and tell how long it will train; nothing is written. Of data not prepared
    yet the files' heads are read."""
    try:
        checked = read_job(job, settings or ())
    except JobError as error:  # what is wrong with the files is told beside it
        data = config.data_of(shipped.job_path(job), settings or ())
        if data is None:
            raise
        from raytune_rec.stages.checks.heads import problems_of

        raise JobError(dict.fromkeys([*error.problems, *problems_of(*data)])) from None
    from raytune_rec.command import only_new as growing
    from raytune_rec.command.show import console
    from raytune_rec.pipeline import check as plan

    folder = _folder(checked, out)
    console(markup=False).print(plan(*(growing.planned(checked, folder) if only_new else (checked, folder))))


@app.command()
def runs(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of run folders.")] = Path("runs")) -> None:
    """List the runs in a folder: how far each is, and which method leads."""
    from raytune_rec.command import runs as finished

    finished.listed(folder)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN RUN", help="Two run folders or more.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.html", help="Write a page of all metrics too.")] = None,
) -> None:
    """Put finished runs side by side."""
    from raytune_rec.command import runs as finished

    finished.compared(folders, out)


@app.command()
def show(what: Annotated[Shown, typer.Argument(help="What to list.")]) -> None:
    """List what there is, with every option, from the code itself."""
    from raytune_rec.command import show as shown

    shown.show(what.value)


@app.command()
def doctor(
    start_ray: Annotated[bool, typer.Option("--start-ray", help="Start a small Ray here too, and stop it again.")] = False,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of runs that must be writable.")] = Path("runs"),
) -> None:
    """Check this machine: versions, Ray, GPUs, dashboard, storage, tokens."""
    from raytune_rec.command import doctor as examination

    if not examination.examine(out, start_ray):
        raise RunFailed("doctor: something above needs attention.")


def read_job(job: str, settings: Sequence[str]) -> Job:
    """The checked job of a path, or of a shipped job's name.

    Raises:
        JobError: there is none, or it is wrong.
    """
    return config.read(shipped.job_path(job), settings)


def _pipeline(
    job: str,
    settings: list[str] | None,
    out: Path | None,
    only: str | None,
    only_new: bool = False,
    verify: bool = False,
    dashboard: bool = False,
) -> None:
    checked = read_job(job, settings or ())
    folder = _folder(checked, out)
    if not only and not dashboard and not folder.exists():
        from raytune_rec.tuning.run.cluster import begin

        begin(checked.tune.threads)  # a new run, and Ray takes as long to start as all that comes before training
    if only in (None, "prepare"):
        _writable(folder)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that it keeps no cache where there is no home is no news
    with ends_on_sigterm():
        from raytune_rec.command import only_new as growing
        from raytune_rec.pipeline import run as run_job

        if only_new:
            growing.run(checked, folder)
        else:
            run_job(checked, folder, only=only, verify=verify, dashboard=dashboard)


def _folder(job: Job, out: Path | None) -> Path:
    return located(out or Path("runs") / job.name).absolute()


def _writable(folder: Path) -> None:
    try:
        with passing(folder):
            STORAGE.make_folder(folder)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made ({error.strerror}); name a folder that you may write to.") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `raytune-rec`; None: the process's own.

    Returns:
        The exit code.
    """
    try:
        code = app(args=None if argv is None else list(argv), prog_name="raytune-rec", standalone_mode=False)
    except UserError as error:
        return _say(error.problems, 2)
    except typer.TyperException as error:  # a wrong command, option or argument
        return _say([error.format_message().replace("Value error, ", "")], 2)
    except RunFailed as error:
        return _say([str(error)], 1)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except typer.Abort as error:  # what typer makes of an EOFError: no command asks for input
        return _say([f"a file ended too early ({error.__cause__}); the same command makes anew what is not whole."], 1)
    except OSError as error:  # a full disk, a vanished folder: the machine's state, not a defect
        return _say([told(error)], 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _say([f"out of memory ({error}); lower training.batch_size or tune.pack, or give the process more."], 1)
    if code == _INTERRUPTED:  # typer turns a KeyboardInterrupt inside a command into this code
        return _say(["Interrupted. The same command goes on where this one stopped."], _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _say(problems: Sequence[str], code: int) -> int:
    for problem in problems:
        print(f"raytune-rec: {' '.join(shown(problem).split())}", file=sys.stderr)
    return code
