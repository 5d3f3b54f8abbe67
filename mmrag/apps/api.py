"""The HTTP API over one or more indexes; the page of `mmrag ui` uses nothing else.

Start it with `mmrag api --index DIR`, or put `create_app` into a server of your own::

    app = create_app(ServerParts(Collections({"reports": Path("my-index")}, DocumentQA.open)))

``/docs`` describes every call (OpenAPI at ``/api/openapi.json``). Errors are `mmrag.apps.faults`'s.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mmrag.errors import MissingExtraError

try:
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from fastapi.staticfiles import StaticFiles
    from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
    from starlette.exceptions import HTTPException
except ImportError as error:
    raise MissingExtraError("The API", "ui") from error

from mmrag import __version__
from mmrag.apps import routes_ask, routes_documents, routes_pages
from mmrag.apps.faults import body_of, describe
from mmrag.apps.guards import Guard
from mmrag.apps.results import HealthModel
from mmrag.apps.scope import GrantOf, ServerParts

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Host names that a server answers to unless told otherwise."""

MOST_BYTES = 200 << 20
"""Of a request's body unless told otherwise."""

PAGE_FOLDER = Path(__file__).with_name("page")
"""Files of the page of `mmrag ui`."""


def create_app(
    parts: ServerParts,
    *,
    hosts: Sequence[str] = LOOPBACK,
    most_bytes: int = MOST_BYTES,
    with_page: bool = False,
) -> Any:  # noqa: ANN401  an ASGI application
    """Make the application.

    Args:
        parts: indexes, keys and limits; the indexes are closed with the application.
        hosts: names that it answers to; ``("*",)`` for any.
        most_bytes: of a request's body.
        with_page: serve the page of `mmrag ui` at ``/``, too.

    Raises:
        MissingExtraError: the extra ``ui`` is not installed.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        parts.collections.close()

    app = FastAPI(
        title="mmrag",
        version=__version__,
        description="Answers from documents, with the pages and boxes that prove them.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    _handle_errors(app)
    _measure(app)
    for router in (
        routes_ask.router,
        routes_documents.router,
        routes_pages.router,
        routes_pages.documents_router,
    ):
        app.include_router(router)
    app.get("/api/health", tags=["server"])(health)
    if with_page:
        app.mount("/", StaticFiles(directory=PAGE_FOLDER, html=True))
    return Guard(app, hosts, most_bytes)


def health() -> HealthModel:
    """Say that the server is up; needs no key."""
    return HealthModel(version=__version__)


def _handle_errors(app: FastAPI) -> None:
    """Send every error in one form."""

    async def send_error(_: Request, error: Exception) -> JSONResponse:
        status, body = describe(error)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        return JSONResponse(body, status, headers)

    async def send_http_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse(body_of("HTTPError", str(error.detail)), error.status_code, error.headers)

    async def send_wrong_body(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        faults = [f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors()[:5]]
        return JSONResponse(body_of("WrongRequestError", "; ".join(faults)[:600]), 422)

    app.add_exception_handler(RequestValidationError, send_wrong_body)
    app.add_exception_handler(HTTPException, send_http_error)
    for kind in (ValueError, TypeError, LookupError, RuntimeError, OSError, ImportError):
        app.add_exception_handler(kind, send_error)
    app.add_exception_handler(Exception, send_error)


def _measure(app: FastAPI) -> None:
    """Count requests and their seconds by route, for ``/api/metrics`` (Prometheus)."""
    registry = CollectorRegistry()
    count = Counter("mmrag_requests", "Requests.", ["route", "status"], registry=registry)
    seconds = Histogram(
        "mmrag_request_seconds", "Seconds to the start of the answer.", ["route"], registry=registry
    )

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        start = time.perf_counter()
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "other")
        count.labels(route, response.status_code).inc()
        seconds.labels(route).observe(time.perf_counter() - start)
        return response

    @app.get("/api/metrics", tags=["server"], response_class=Response)
    def metrics(grant: GrantOf) -> Response:
        """Return counts and times for Prometheus."""
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")
