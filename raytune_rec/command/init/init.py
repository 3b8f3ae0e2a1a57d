"""Looks at the files, decides, tries the job on their heads, and writes it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raytune_rec import config
from raytune_rec.command.init.files import Layout, groups_of, layout_of
from raytune_rec.command.init.job_text import Choices, job_text
from raytune_rec.command.init.roles import Feature, Roles, roles_of
from raytune_rec.data.files.on_disk import named_files
from raytune_rec.errors import DataError, JobError
from raytune_rec.stages.checks.heads import Looked, look
from raytune_rec.storage.files import scratch, write_text

ROLES = ("domain", "user", "item", "label", "rating", "timestamp")
_MOST_REJECTED = 0.2
"""Share of unusable rows past which a job is not written so that it runs over them."""


def init(
    patterns: Sequence[str], out: Path, given: Mapping[str, str], histories: bool | None, say: Callable[[str], None]
) -> None:
    """Write the job of a log.

    Args:
        patterns: paths and patterns of its files. out: the job's file; its name is the job's.
        given: role -> column, as the user says; an empty one says that there is none.
        histories: rows are histories; None: as the columns tell.

    Raises:
        DataError: the files cannot be read, or nothing in them tells what users took.
    """
    files, problems = named_files(patterns)
    if problems:
        raise DataError([problem.replace(" under data.options", "") for problem in problems])
    if not files:
        raise DataError("init: no file was named; give the files of a log, such as log/*.csv.")
    layout = layout_of(files)
    roles = roles_of(groups_of(files, layout), given)
    as_histories, why = _asked(roles, histories)
    if not as_histories and roles.above is not None:
        share = f"{roles.positives:.0%} of them are, the nearest to half"
        roles.why.append(f"a rating above {roles.above:g} counts as a positive: {share}")
    roles.why.append(why)
    for line in (*layout.why, *roles.why):
        say(line)
    for column, why in roles.left_out.items():
        say(f"not read: {column}: {why}")
    text, told = _fitted(out.stem, roles, layout, as_histories)
    for line in told:
        say(line)
    write_text(out, text)
    say(f"{out}: written. See what it will do with `raytune-rec check {out}`, and run it with `raytune-rec run {out}`.")


def check_out(out: Path, force: bool) -> None:
    """Raises JobError where the file that is to be written is no job, or is there already and is not to be written over."""
    if out.suffix != ".toml":
        raise JobError(f"--out {out}: a job is a TOML file; end its name in .toml.")
    try:
        config.job_name(out.stem)
    except ValueError as error:
        raise JobError(f"--out {out}: the file is called as the job, and {error}.") from None
    if out.exists() and not force:
        raise JobError(f"--out {out}: is there already; name another file, or add --force.")


def given(columns: Sequence[str]) -> dict[str, str]:
    """Role -> column of `ROLE=NAME`.

    Raises:
        JobError: another form, or no such role.
    """
    roles = dict(column.partition("=")[::2] for column in columns)
    if wrong := [column for column in columns if "=" not in column or column.partition("=")[0] not in ROLES]:
        raise JobError(f"--column {wrong[0]}: write ROLE=NAME, where ROLE is one of {', '.join(ROLES)}; empty: there is none.")
    return roles


def _asked(roles: Roles, histories: bool | None) -> tuple[bool, str]:
    """Whether rows are histories, and why."""
    timed, label, rating = (name in roles.columns for name in ("timestamp", "label", "rating"))
    if not (timed or label or rating):
        raise DataError(
            f"{roles.paths[0]}: no column tells what users took (a label or a rating) or when; name one with "
            "--column label=NAME, --column rating=NAME or --column timestamp=NAME."
        )
    if histories and not timed:
        raise DataError("--rows histories: histories need a time, and no column holds one; name it with --column timestamp=NAME.")
    if histories is False and not (label or rating):
        raise DataError("--rows interactions: these need a label or a rating; name it with --column label=NAME.")
    if histories is not None:
        return histories, f"rows are {'histories' if histories else 'single interactions'}, as you said"
    if label:
        return False, "rows are single interactions with a label: how likely is a click? (--rows histories asks what comes next)"
    if timed:
        more = "; each row counts as taken, whatever its rating" if rating else ""
        return (
            True,
            f"rows are histories, since they have a time and no label: what comes next?{more}",
        )
    return False, "rows are single interactions: ratings without a time"


def _fitted(name: str, roles: Roles, layout: Layout, histories: bool) -> tuple[str, list[str]]:
    """The first job that the heads of the files bear out, and what was decided on the way."""
    refused: list[str] = []
    for choices, of_rows in _ways(roles, histories):
        seen, choices = _tried(name, of_rows, layout, choices)
        if not seen.problems:
            told = [f"tried first, and refused: {problem}" for problem in refused[:3]] if refused else []
            return job_text(name, roles.paths, layout, of_rows, choices), [*seen.lines, *told]
        refused += [problem for problem in seen.problems if problem not in refused]
    raise DataError(refused)


def _ways(roles: Roles, histories: bool) -> Iterator[tuple[Choices, Roles]]:
    """From what is wanted to what still runs."""
    smallest = min(roles.domains.values(), default=roles.rows)
    if histories:
        sampled = Choices(True, "leave_one_out", metric="ndcg@10", smallest=smallest // 10)
        yield sampled, roles
        yield replace(sampled, negatives=0), roles
        yield replace(sampled, negatives=0, together=True), _together(roles)
        return
    cuts = [("time", "all"), ("time", "each")] if "timestamp" in roles.columns else []
    for metric in ("auc", "logloss"):
        for split, cut in [*cuts, ("hash", "all")]:
            yield Choices(False, split, cut, metric, smallest), roles
    yield Choices(False, "hash", "all", "auc", roles.rows, together=True), _together(roles)


def _together(roles: Roles) -> Roles:
    """The log as one domain, whose domains are a field of each row."""
    if "domain" not in roles.columns:
        return replace(roles, domains={}, domain_from=False)
    field = Feature("place", roles.columns["domain"], "categorical", "context")
    columns = {role: column for role, column in roles.columns.items() if role != "domain"}
    why = [*roles.why, "all domains are one, since some have too few rows to validate and test with"]
    return replace(roles, columns=columns, domains={}, features=[*roles.features, field], why=why)


def _tried(name: str, roles: Roles, layout: Layout, choices: Choices) -> tuple[Looked, Choices]:
    """What the heads say to a job; with more rows that may be unusable where that alone is wrong."""
    data = config.parse(tomllib.loads(job_text(name, roles.paths, layout, roles, choices))).data
    with scratch() as place:
        seen = look(data.model_copy(update={"max_rejected": _MOST_REJECTED}), choices.metric, [], place / "data")
    assert seen is not None
    rejected, read = (seen.summary.get(part, {}) for part in ("rejected_by_reason", "interactions"))
    share = sum(rejected.values()) / max(1, read.get("read", 0))
    if share > 0.005:
        choices = replace(choices, rejected=min(1.0, math.ceil(200 * share) / 100))
    return seen, choices
