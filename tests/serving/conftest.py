"""A run with two prompts on labelled rows, and an application that is asked without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from raytune_rec.data.stored.store import Store
from raytune_rec.scoring.prompts import Prompts, artifacts_of, load_backbone
from raytune_rec.serving.api import api
from raytune_rec.serving.bodies import Answer, Question
from raytune_rec.serving.service import Service
from tests.scoring import made
from tests.scoring.conftest import log, make

__all__ = ["make"]

ROWS = {
    "user": ["u1", "u2", "u3", "u4", "new", "u5"],
    "item": ["i1", "i2", "i3", "nothing", "i5", "i6"],
    "domain": ["shop", "club", "shop", "club", "shop", "mall"],
}
App = Callable[..., Any]


@pytest.fixture(scope="module")
def run(make: Callable[..., Store], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    made.run(make(log(("shop", "club")), split={"kind": "hash", "valid": 0.1, "test": 0.1}), folder, ("shop", "club"))
    return folder


def served(run: Path) -> tuple[Prompts, dict[str, Path]]:
    """All prompts of a run, and their folders."""
    backbone, artifacts = artifacts_of(run)
    prompts = load_backbone(backbone)
    for name, folder in artifacts.items():
        prompts.add(name, folder)
    return prompts, artifacts


def app_of(service: Service) -> App:
    """The routes of a service; a request is answered alone."""

    async def ask(question: Question) -> Answer:
        (answer,) = service.answers([question])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return api(service, ask)


def call(
    app: App,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    pieces: Sequence[bytes] = (),
) -> tuple[int, Any]:
    """Status of an answer, and its JSON, or its text.

    Args:
        body: of the request, JSON unless it is bytes. pieces: its bytes, of no declared length.
    """
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    parts = list(pieces) or [raw]
    length = {} if pieces else {"content-length": str(len(raw))}
    named = {"host": "127.0.0.1:8000", "content-type": "application/json", **length, **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "http",
        "http_version": "1.1", "asgi": {"version": "3.0"}, "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0) if parts else b"", "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    answer = b"".join(message.get("body", b"") for message in sent)
    is_json = b"application/json" in dict(sent[0]["headers"]).get(b"content-type", b"")
    return sent[0]["status"], json.loads(answer) if is_json and answer else answer.decode() or None
