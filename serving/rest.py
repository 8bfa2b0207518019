"""The REST application: routes, what stands before them, and one shape for every error."""

from collections.abc import Collection

import orjson
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from serving import metrics
from serving.intake import Intake
from serving.middleware import Guard
from serving.predictor import Predictor
from serving.request_ids import RequestMiddleware
from serving.routes import make_routes
from serving.settings import Settings
from serving.tokens import TokenMiddleware, Tokens


def application(
    *,
    dataplane: DataPlane,
    repository: ModelRepositoryExtension,
    predictor: Predictor,
    intake: Intake,
    settings: Settings,
    tokens: Tokens | None,
) -> Starlette:
    """Makes the application.

    Args:
        dataplane: What answers.
        repository: What answers to loading and unloading.
        predictor: The model that is served.
        intake: Shared with gRPC.
        settings: Limits.
        tokens: Who may ask; None for everyone.

    Returns:
        An ASGI application.
    """
    before = [
        Middleware(RequestMiddleware),
        Middleware(Guard, intake=intake, settings=settings, draining=lambda: predictor.draining),
    ]
    if settings.cors_origins:  # before all others, so that a page can read errors too
        before.insert(0, Middleware(_Cors, settings.cors_origins))
    if tokens:
        before.append(Middleware(TokenMiddleware, tokens=tokens))
    app = Starlette(
        routes=make_routes(dataplane, repository, predictor, settings),
        middleware=before,
        exception_handlers={HTTPException: _refuse},
    )
    app.router.redirect_slashes = False  # it would lead to whatever host the request names
    return app


class _Cors(CORSMiddleware):
    """Lets pages of other origins ask; a cookie or a client's certificate is of no use to them."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("*",),
            expose_headers=(
                "Inference-Header-Content-Length",
                "Retry-After",
                "X-Request-Id",
                "Traceparent",
                "WWW-Authenticate",
            ),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        error = orjson.dumps({"error": bytes(response.body).decode().lower()})
        headers = {k: v for k, v in response.headers.items() if not k.startswith("content-")}
        return Response(error, 403, headers, media_type="application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    """Says in our own words what Starlette refuses: paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    reason, line = "malformed", error.detail
    if error.status_code == 404:
        reason, line = "not-found", "no such path; /docs names them"
    elif error.status_code == 405:
        reason, line = "method", f"this path takes {headers.get('Allow', 'GET')}"
    metrics.REJECTED.labels(reason).inc()
    content = orjson.dumps({"error": line})
    return Response(content, error.status_code, headers, media_type="application/json")
