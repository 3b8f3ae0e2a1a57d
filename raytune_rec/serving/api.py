"""The routes of a service: REST with an OpenAPI page at /docs."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse

from raytune_rec import __version__
from raytune_rec.components import sentence, shown
from raytune_rec.errors import UserError
from raytune_rec.machine import ray_start
from raytune_rec.serving.bodies import (
    Answer,
    Health,
    PredictAsked,
    Predicted,
    Problems,
    Prompt,
    PromptAsked,
    Question,
    RecommendAsked,
    Recommended,
    ScoreAsked,
    Scored,
    Served,
)
from raytune_rec.serving.page import page
from raytune_rec.serving.service import Service

_MOST = 20
"""Problems that one answer tells."""
_WRONG = {400: "no JSON", 401: "no token", 413: "too large", 422: "cannot be answered: the rule, the value and the remedy"}
Name = Annotated[str, Path(min_length=1, max_length=200, description="As rows call the prompt, in `domain` or `unit`.")]


def api(service: Service, ask: Callable[[Question], Awaitable[Answer]]) -> FastAPI:
    """The routes.

    Args:
        service: whose prompts are shown and changed.
        ask: answers a request, alone or with others; raises UserError where it cannot.
    """
    wrong: dict[int | str, dict[str, Any]] = {code: {"model": Problems, "description": text} for code, text in _WRONG.items()}
    app = FastAPI(title="raytune-rec", version=__version__, docs_url=None, redoc_url=None, responses=wrong)
    app.add_exception_handler(RequestValidationError, _ill_formed)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _ours)

    @app.post("/score", response_model=Scored)
    async def score(asked: ScoreAsked) -> Answer:
        """A score for each row: with labels a probability, of users with histories what compares the items of one user."""
        return await ask(asked)

    @app.post("/recommend", response_model=Recommended)
    async def recommend(asked: RecommendAsked) -> Answer:
        """The best items for users with histories; of backbones that read histories."""
        return await ask(asked)

    @app.post("/predict", response_model=Predicted)
    async def predict(asked: PredictAsked) -> Answer:
        """The attribute that the prompts predict, of users with histories."""
        return await ask(asked)

    @app.get("/prompts")
    def prompts() -> Served:
        """All prompts that are served."""
        placed = [Prompt(name=name, path=path) for name, path in service.placed.items()]
        return Served(backbone=service.prompts.base.facts.fingerprint, prompts=placed)

    @app.get("/prompts/{name:path}", responses={404: {"model": Problems}})
    def prompt(name: Name) -> Prompt:
        """One prompt."""
        if name not in (placed := service.placed):
            raise _missing(placed, name)
        return Prompt(name=name, path=placed[name])

    @app.put("/prompts/{name:path}", responses={201: {"model": Prompt}})
    def add(name: Name, asked: PromptAsked, response: Response) -> Prompt:
        """Serve rows of a name by an exported prompt, in place of the one that did, if any. Requests go on meanwhile."""
        path, new = service.add(name, asked.path)
        response.status_code = 201 if new else 200
        return Prompt(name=name, path=path)

    @app.delete("/prompts/{name:path}", status_code=204, responses={404: {"model": Problems}})
    def remove(name: Name) -> None:
        """Leave rows of a name to the backbone."""
        if not service.remove(name):
            raise _missing(service.placed, name)

    @app.get("/health")
    def health() -> Health:
        """Whether requests are answered."""
        return Health(prompts=len(service.placed))

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    def docs() -> str:
        """What can be asked."""
        return page(app.openapi())

    return app


def _missing(placed: Iterable[str], name: str) -> HTTPException:
    """There is no prompt of a name. placed: the names of those there are."""
    known = ", ".join(list(placed)[:9]) or "none"
    return HTTPException(404, f"there is no prompt {name!r}; there are {known}. PUT one of this name, or name another.")


def _problems(status: int, problems: Iterable[str]) -> JSONResponse:
    lines = [" ".join(problem.split()) for problem in problems]
    more = [f"and {len(lines) - _MOST:,} more."] if len(lines) > _MOST else []
    return _Ascii({"problems": [*lines[:_MOST], *more]}, status)


class _Ascii(JSONResponse):
    """JSON of ASCII: a problem may name what is no Unicode."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def _refused(request: Request, error: Any) -> Response:
    return _problems(422, error.problems)


def _ill_formed(request: Request, error: Any) -> Response:
    """What a body lacks."""
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return _problems(400, ['body: it must be JSON, and is not; send an object such as {"rows": [{"user": "u1"}]}.'])
    if whole := [each["input"] for each in found if each["loc"] == ("body",) and each["type"] != "value_error"]:
        how = "send one, with the header Content-Type: application/json"
        return _problems(422, [f"body: it must be a JSON object (given: {shown(whole[0])}); {how}. See /docs."])
    told = [sentence("", {**each, "loc": [part for part in each["loc"] if part != "body"]}) for each in found]
    return _problems(422, [f"{line} See /docs." for line in dict.fromkeys(told)])


def _http(request: Request, error: Any) -> Response:
    """No such route or method, and what is raised with a status."""
    where = f"{request.method} {request.url.path}"
    known = {404: f"{where}: there is no such route", 405: f"{where}: this route has no such method"}
    if error.detail in ("Not Found", "Method Not Allowed"):
        return _problems(error.status_code, [f"{known[error.status_code]}; /docs lists those there are."])
    if error.status_code == 400:
        return _problems(400, [f"body: {error.detail}; send a JSON object, in UTF-8 and not nested so deeply."])
    return _problems(error.status_code, [error.detail])


def _ours(request: Request, error: Exception) -> Response:
    """A defect of ours, or of the machine."""
    logs = ray_start.logs(os.environ)
    return _problems(500, [f"{type(error).__name__}: the service failed; its machine has the reason in a log in {logs}."])
