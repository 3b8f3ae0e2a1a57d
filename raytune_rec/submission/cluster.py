"""The jobs of a cluster, asked and told through its dashboard by Ray's client."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raytune_rec.errors import RunFailed

_ALIVE = ("PENDING", "RUNNING")
_SILENT = 120.0
"""Seconds for which the dashboard may be away while lines are followed."""
_PAUSE = 1.0
"""Seconds before it is asked for lines again."""
_END = 20.0
"""Seconds within which a job that is stopped has ended."""


@dataclass(frozen=True)
class Attempt:
    """One Ray job; several may have worked on a run, one after the other.

    Args:
        name: of the run's jobs. number: of this one, from 1. status: as Ray calls it. message: what Ray says of it.
        metadata: what was submitted with it. begun, ended: times, where they are known.
    """

    name: str
    number: int
    status: str
    message: str
    metadata: Mapping[str, str]
    begun: datetime | None
    ended: datetime | None

    @property
    def id(self) -> str:
        return f"{self.name}-{self.number}"

    @property
    def alive(self) -> bool:
        return self.status in _ALIVE


class Cluster:
    """A cluster whose dashboard answers (`machine.dashboard.check`).

    Args:
        address: its URL. token: that it asks for; empty: none.
    """

    def __init__(self, address: str, token: str) -> None:
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # else RAY_ADDRESS, if it is set, would be asked
        from ray.job_submission import JobSubmissionClient

        for name in (
            "ray.dashboard.modules.dashboard_sdk",
            "ray.dashboard.modules.job.sdk",
            "ray._private.runtime_env.packaging",
        ):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.address = address
        with self._asked():
            headers = {"Authorization": f"Bearer {token}"} if token else None
            self._client: Any = JobSubmissionClient(address, headers=headers)

    def attempts(self, name: str) -> list[Attempt]:
        """Of a run, in order."""
        with self._asked():
            known = self._client.list_jobs()
        of_run = [job for job in known if (job.submission_id or "").rpartition("-")[0] == name]
        return sorted((_attempt(name, job) for job in of_run), key=lambda attempt: attempt.number)

    def begin(self, attempt: str, entrypoint: str, package: Path, metadata: Mapping[str, str]) -> None:
        """Submit a job of an id that was never used there."""
        environment = {"working_dir": str(package), "env_vars": {"PYTHONUNBUFFERED": "1"}}
        with self._asked():
            self._client.submit_job(
                entrypoint=entrypoint, submission_id=attempt, runtime_env=environment, metadata=dict(metadata)
            )

    def stop(self, attempt: Attempt) -> Attempt:
        """End a job, and wait until it has ended."""
        with self._asked():
            self._client.stop_job(attempt.id)
        until = time.monotonic() + _END
        while (now := self.state(attempt)).alive and time.monotonic() < until:
            time.sleep(0.5)
        return now

    def state(self, attempt: Attempt) -> Attempt:
        with self._asked():
            return _attempt(attempt.name, self._client.get_job_info(attempt.id))

    def log(self, attempt: Attempt) -> str:
        """All that it has printed."""
        with self._asked():
            return str(self._client.get_job_logs(attempt.id))

    def follow(self, attempt: Attempt, write: Callable[[str], object]) -> Attempt:
        """Show what a job prints until it has ended.

        Raises:
            RunFailed: the dashboard was away for too long. The job may go on.
        """
        seen, away = 0, 0.0
        while True:
            before = seen
            seen, whole = asyncio.run(self._tail(attempt.id, seen, write))
            with suppress(RunFailed):  # asked again
                if whole and not (now := self.state(attempt)).alive:
                    return now
            away = 0.0 if whole or seen > before else away or time.monotonic()
            if away and time.monotonic() - away > _SILENT:
                raise RunFailed(
                    f"{self.address}: the dashboard has not answered for {_SILENT:g} s; the job may go on, and the same "
                    "command finds it again."
                )
            time.sleep(_PAUSE)

    async def _tail(self, attempt: str, seen: int, write: Callable[[str], object]) -> tuple[int, bool]:
        """Show what stands behind the characters that were seen: how many there are now, and whether these are all."""
        at, texts = 0, aiter(self._client.tail_job_logs(attempt))
        while True:
            try:
                text = await anext(texts)
            except StopAsyncIteration:
                return seen, True
            except Exception:  # the connection broke, as those of many hours do
                return seen, False
            write(text[max(0, seen - at) :])
            at += len(text)
            seen = max(seen, at)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Raises RunFailed where the dashboard refuses or is away."""
        try:
            yield
        except Exception as error:  # Ray, requests and aiohttp raise kinds of their own
            reason = " ".join(str(error).split())[:500]
            raise RunFailed(f"{self.address}: the cluster's dashboard did not do what was asked ({reason}).") from error


def _attempt(name: str, job: Any) -> Attempt:
    number = job.submission_id.rpartition("-")[2]
    return Attempt(
        name,
        int(number) if number.isdigit() else 0,
        str(getattr(job.status, "value", job.status)),
        job.message or "",
        job.metadata or {},
        _time(job.start_time),
        _time(job.end_time),
    )


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
