"""What `submit` does: everything that can be wrong is said before anything is uploaded."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import raytune_rec
from raytune_rec.config import Job
from raytune_rec.errors import JobError, RunFailed, UserError
from raytune_rec.machine import dashboard, ray_start
from raytune_rec.names import path_name
from raytune_rec.pipeline import check, job_text
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.storage.places import located, shown
from raytune_rec.submission.cluster import Attempt, Cluster
from raytune_rec.submission.package import JOB, PYTHON, left_behind, packed, travels

Say = Callable[[str], None]


def run(
    job: Job, out: Path | None, address: str, say: Say, *, follow: bool = False, status: bool = False, stop: bool = False
) -> None:
    """Submit a job, or find the one that works on its run folder.

    Args:
        job: checked against nothing but itself. out: its run folder. address: of the cluster's dashboard. say: shows a line.
        follow: show its lines until it has ended. status: say how far it is. stop: end it.

    Raises:
        UserError: all that is wrong with job, folder, address or token.
        RunFailed: the cluster refuses, or the job that is followed has failed or was stopped.
    """
    if sum((follow, status, stop)) > 1:
        raise UserError("submit: --follow, --status and --stop do not go together; give one of them.")
    folder = _folder(job, out)
    name = f"raytune-rec-{path_name(job.name)}-{fingerprint(folder)[:8]}"
    cluster = _cluster(address)
    there = cluster.attempts(name)
    if status or stop:
        if not there:
            raise UserError(f"{address}: no job of {folder} is known there; submit it first, or give the same JOB and --out.")
        _stop(cluster, there[-1], say) if stop else _tell(cluster, there[-1], say)
        return
    attempt = _begun(cluster, job, folder, name, there, say)
    if follow:
        _follow(cluster, attempt, say)
    else:
        say(f"{attempt.id}: the same command with --follow shows its lines, with --status how far it is, with --stop ends it")


def _folder(job: Job, out: Path | None) -> str:
    """The run folder as all machines name it.

    Raises:
        JobError: job or folder cannot be used on a cluster; everything that is wrong.
    """
    problems = left_behind(job)
    folder = "" if out is None else shown(located(out))
    if not folder or not travels(folder):
        what = f"--out {folder}: is relative to a folder that Ray removes with the job" if folder else "--out: is not given"
        problems.append(f"{what}; name a URI (s3://bucket/run), or an absolute path that all machines of the cluster share.")
    try:
        check(job)
    except UserError as error:
        problems += error.problems
    if problems:
        raise JobError(problems)
    return folder


def _cluster(address: str) -> Cluster:
    url = dashboard.url(address)
    found = ray_start.tokens({**os.environ, "RAY_ADDRESS": url})
    if found.state == "wrong":
        raise UserError(found.text)
    token = ray_start.token(os.environ)
    dashboard.check(url, token)
    return Cluster(url, token)


def _begun(cluster: Cluster, job: Job, folder: str, name: str, there: list[Attempt], say: Say) -> Attempt:
    """The job that works on a run folder, a new one where none does.

    Raises:
        JobError: another job works there.
    """
    facts = {"raytune_rec": raytune_rec.__version__, "out": folder, "job": fingerprint(job_text(job))}
    if not there or not there[-1].alive:
        number = there[-1].number + 1 if there else 1
        entrypoint = shlex.join(["sh", PYTHON, "-m", "raytune_rec", "run", JOB, "--out", folder])
        with packed(job) as package:
            try:
                cluster.begin(f"{name}-{number}", entrypoint, package, facts)
            except RunFailed:  # somebody else may have been quicker
                if number not in [attempt.number for attempt in cluster.attempts(name)]:
                    raise
        there = cluster.attempts(name)
        say(f"{there[-1].id}: submitted to {cluster.address}, run folder {folder}")
    else:
        say(f"{there[-1].id}: is there already, {there[-1].status.lower()}")
    if (of_job := there[-1].metadata.get("job")) != facts["job"]:
        raise JobError(
            f"{there[-1].id}: works in {folder} for another job or other settings ({of_job}, not {facts['job']}); end it with "
            "--stop, or name another --out."
        )
    return there[-1]


def _follow(cluster: Cluster, attempt: Attempt, say: Say) -> None:
    try:
        ended = cluster.follow(attempt, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"{attempt.id}: goes on there; the same command with --stop ends it.", file=sys.stderr)
        raise
    say(f"{ended.id}: {ended.status.lower()}")
    if ended.status != "SUCCEEDED":
        raise RunFailed(f"{ended.id}: {ended.status.lower()} ({_why(ended)}). The same command goes on where it stopped.")


def _stop(cluster: Cluster, attempt: Attempt, say: Say) -> None:
    if not attempt.alive:
        say(f"{attempt.id}: has ended already, {attempt.status.lower()}")
        return
    ended = cluster.stop(attempt)
    if ended.alive:
        raise RunFailed(f"{attempt.id}: was told to stop and has not ended yet; ask again with --status.")
    say(f"{attempt.id}: {ended.status.lower()}; the same command without --stop goes on where it stopped")


def _tell(cluster: Cluster, attempt: Attempt, say: Say) -> None:
    times = [
        f"{what} {time:%Y-%m-%d %H:%M:%S} UTC" for what, time in (("since", attempt.begun), ("until", attempt.ended)) if time
    ]
    say(f"{attempt.id}: {attempt.status.lower()} {', '.join(times)}")
    if not attempt.alive and attempt.status != "SUCCEEDED":
        say(f"why: {_why(attempt)}")
    for line in cluster.log(attempt).splitlines()[-3:]:
        say(f"  {line}")
    say(f"dashboard: {cluster.address}/#/jobs/{attempt.id}")


def _why(attempt: Attempt) -> str:
    """What Ray says of an end; the lines of the log that it adds are shown as such."""
    return " ".join(attempt.message.partition(", last available logs")[0].split()) or "no reason is known"
