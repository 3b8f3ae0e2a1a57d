"""Before a request is read: who may ask, under which name of this machine, and how much."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raytune_rec.serving.bodies import MOST_BYTES

OPEN = ("/health", "/docs", "/openapi.json")
"""Paths that tell nothing of a run: no token is asked for."""
_PORT = re.compile(r":\d*$")


class Guard:
    """Lets requests through to an application, or answers them with 400, 401 or 413.

    Args:
        app: what is guarded.
        token: that requests bring as `Authorization: Bearer TOKEN`; None: none is asked for.
        hosts: names of this machine by which it may be asked: a page on the web that gives its own name to 127.0.0.1 reads
            nothing. None: any.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, hosts: Collection[str] | None = None) -> None:
        self.app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if refusal := self._refusal(scope["path"], headers):
            return await refusal(scope, receive, send)
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BYTES:
                raise HTTPException(413, _too_large(f"more than {MOST_BYTES:,}"))
            return message

        await self.app(scope, limited, send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if self._hosts is not None and _PORT.sub("", host).strip("[]").lower() not in self._hosts:
            known = " or ".join(sorted(self._hosts))
            return _refused(400, f"Host: this service is asked as {known} (given: {host[:60]!r}); ask it so.")
        given = headers.get("authorization", "")
        if self._token is not None and path not in OPEN and not _same(given, f"Bearer {self._token}"):
            what = "another" if given else "none"
            text = f"Authorization: a request brings the service's token (given: {what}); send `Authorization: Bearer TOKEN`."
            return _refused(401, text, {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > MOST_BYTES:
            return _refused(413, _too_large(length[:20]))
        return None


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


def _too_large(given: str) -> str:
    return f"body: a request has at most {MOST_BYTES:,} bytes (given: {given}); send its rows in several requests."


def _refused(status: int, problem: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"problems": [problem]}, status, headers)
