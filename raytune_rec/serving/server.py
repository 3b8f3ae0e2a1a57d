"""Ray Serve around a service: one deployment for all domains. Requests wait for each other a moment and are answered together.

It is one process, which holds the backbone once. Prompts that came while it ran stand in a file, from which Ray Serve begins anew
where the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from fastapi import FastAPI
from ray import serve
from ray.serve._private import replica

from raytune_rec.errors import MachineError, RunFailed, UserError
from raytune_rec.machine import ray_start
from raytune_rec.machine.hardware import cpus
from raytune_rec.machine.ray_address import is_local
from raytune_rec.machine.signals import told_to_end
from raytune_rec.scoring.base import Base
from raytune_rec.scoring.prompts import Prompts
from raytune_rec.serving.api import api
from raytune_rec.serving.bodies import Answer, Question
from raytune_rec.serving.guard import Guard
from raytune_rec.serving.service import Service
from raytune_rec.storage.files import read_json, write_json
from raytune_rec.tuning.run.cluster import connect

LOCAL = ("127.0.0.1", "localhost", "::1")
_NAME = "raytune-rec"
_BIND = "add_port_to_grpc_server"
"""Ray Serve's function, not public, by which a replica listens to other processes of Ray Serve."""
_KNOWN = "2.60.0"
"""The Ray whose Serve is known to listen to this machine alone."""
_BATCH, _WAIT = 128, 0.002
"""Most requests that are answered together, and the seconds that one waits for others."""
_PATIENCE = ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S")
"""After 5 and 10 s Ray Serve takes what listens for dead, which on a busy machine has only begun."""
_AT_A_TIME, _WAITING = 512, 2_048
"""Requests that the deployment holds, and those that wait in front of it; more are told to come again (503)."""


@dataclass(frozen=True)
class Settings:
    """What is served, and where.

    Args:
        backbone: its folder. components: folders of the user's own.
        folders: in which prompts may lie; the first is the run's.
        roster: a file: name of a prompt -> its folder.
        host, port: on which the service listens.
        token: a file whose text requests bring; None: they bring none.
    """

    backbone: Path
    components: tuple[Path, ...]
    folders: tuple[Path, ...]
    roster: Path
    host: str = LOCAL[0]
    port: int = 8000
    token: Path | None = None


class Serving:
    """The deployment."""

    def __init__(self, settings: Settings) -> None:
        _on_localhost()
        torch.set_num_threads(cpus())
        prompts = Prompts(Base.loaded(settings.backbone), settings.components)
        placed: Any = read_json(settings.roster)
        for name, path in placed.items():
            prompts.add(name, path)
        self.service = Service(
            prompts,
            {name: Path(path) for name, path in placed.items()},
            settings.folders,
            partial(write_json, settings.roster, sort=False),
        )
        self._settings = settings

    def __serve_build_asgi_app__(self) -> FastAPI:
        app, token = api(self.service, self._ask), self._settings.token
        hosts = LOCAL if self._settings.host in LOCAL else None
        app.add_middleware(Guard, token=read_token(token) if token else None, hosts=hosts)
        return app

    async def _ask(self, question: Question) -> Answer:
        answer = await self._together(question)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_WAIT)
    async def _together(self, asked: list[Question]) -> list[Answer | Exception]:
        return await asyncio.to_thread(self.service.answers, asked)


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until this process is told to end, by SIGTERM or Ctrl-C; then nothing of it is left.

    Args:
        say: shows a line.

    Raises:
        UserError: RAY_ADDRESS names a cluster, nobody can listen there, or more than this machine may ask without a token.
        RunFailed: Ray or Ray Serve did not start.
    """
    check(settings)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    for name in _PATIENCE:
        os.environ.setdefault(name, "60")
    connect(cpus())
    try:
        _start(settings)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        with told_to_end() as told:
            say(f"http://{host}:{settings.port}: ready; what can be asked: http://{host}:{settings.port}/docs. Ctrl-C ends it.")
            told.wait()
        serve.delete(_NAME)  # requests that have come are answered
        say("ended")
    finally:
        ray.shutdown()  # of Ray Serve too: this Ray is nobody else's


def check(settings: Settings) -> None:
    """Refuse what cannot be served.

    Raises:
        UserError: see `run`; or this Ray cannot be kept to this machine.
    """
    host, port = settings.host, settings.port
    if not hasattr(replica, _BIND):
        raise MachineError(
            f"Ray {ray.__version__}: other machines could reach its Serve, and this version has no {_BIND} to prevent it; "
            f"install one that has: pip install 'ray[serve]=={_KNOWN}'."
        )
    if not is_local(os.environ):
        raise MachineError(
            f"RAY_ADDRESS = {os.environ['RAY_ADDRESS']!r}: serve starts a Ray of its own on this machine; unset RAY_ADDRESS."
        )
    if host not in LOCAL and settings.token is None:
        raise UserError(
            f"--host {host}: whom this machine does not know asks with a token alone; name a file that holds one, --token FILE."
        )
    if settings.token is not None:
        read_token(settings.token)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as error:
        raise MachineError(
            f"--host {host} --port {port}: nobody can listen there ({error.strerror}); name another --port, or a --host of this "
            "machine."
        ) from None


def read_token(path: Path) -> str:
    """The text of a file, without blanks round it.

    Raises:
        UserError: it cannot be read, or holds no word of ASCII.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text of ASCII"
        raise UserError(f"--token {path}: cannot be read ({reason}); name a file with one word that nobody guesses.") from None
    if len(token.split()) != 1:
        raise UserError(f"--token {path}: holds {len(token.split())} words; write one that nobody guesses.")
    return token


def _on_localhost() -> None:
    """This process listens to others of Ray Serve, at every address of the machine unless told otherwise here."""
    bind = getattr(replica, _BIND)
    setattr(replica, _BIND, lambda server, address: bind(server, f"{LOCAL[0]}:{address.rpartition(':')[2]}"))


def _start(settings: Settings) -> None:
    """Raises RunFailed where Ray Serve does not start."""
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    try:
        options = {"host": settings.host, "port": settings.port}
        serve.start(proxy_location="HeadOnly", http_options=options, logging_config=quiet)
        made: Any = serve.deployment(
            serve.ingress()(Serving),
            max_ongoing_requests=_AT_A_TIME,
            max_queued_requests=_WAITING,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=5,
            logging_config=quiet,
        )
        serve.run(made.bind(settings), name=_NAME, route_prefix="/")
    except Exception as error:  # Ray raises every kind
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise RunFailed(f"Ray Serve did not start: {reason}. Look for the cause in {ray_start.logs(os.environ)}.") from error
