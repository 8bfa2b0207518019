"""The REST routes: KServe's protocols, the reference implementation's own, and the page.

KServe's own routes are not used: they answer 500 to malformed input, and know neither HEAD nor
one shape of an error. What answers behind the routes is KServe's data plane.
"""

import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import InferResponse
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from serving.codecs import parse_json
from serving.errors import PredictorError
from serving.events import STRUCTURED, Mode, document_of, headers_of, mode_of
from serving.openapi import docs_page, openapi
from serving.predictor import Call, Predictor
from serving.settings import Settings

WEB = Path(__file__).parent / "web"
_REFERENCE_VALUES = 1000
_JSON_LENGTH = "inference-header-content-length"
_BY_ACCEPT = {"Vary": "Accept"}

_Endpoint = Callable[[Request], Awaitable[Response]]


class _Web(StaticFiles):
    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(directory=WEB)
        self._headers = headers

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(self._headers)
        return response


class _Route(Route):
    """Answers for its path whatever the method is, so that no later route takes the request."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            allowed = ", ".join(sorted(self.methods or ()))
            await Response(status_code=204, headers={"Allow": allowed})(scope, receive, send)
        else:
            await super().handle(scope, receive, send)


def make_routes(
    dataplane: DataPlane,
    repository: ModelRepositoryExtension,
    predictor: Predictor,
    settings: Settings,
) -> list[BaseRoute]:
    """Makes the routes.

    Args:
        dataplane: What answers.
        repository: What answers to loading and unloading.
        predictor: The model that is served.
        settings: Which samples and which other predictors the page may show.

    Returns:
        Routes, the first that matches has to answer.
    """
    page_headers = _page_headers(settings.compared_origins)
    description = openapi(predictor.name)
    written, shown = orjson.dumps(description), docs_page(description)

    async def read_v1(request: Request) -> Call:
        content_type = request.headers.get("content-type", "")
        return await predictor.read_v1(await request.body(), content_type)

    async def predict(request: Request) -> Response:
        name, mode = _model(request), mode_of(request.headers)
        answer, _ = await dataplane.infer(name, await read_v1(request))
        return _v1_answer(name, mode, answer)

    async def explain(request: Request) -> Response:
        name, mode = _model(request), mode_of(request.headers)
        # KServe adds the headers it is given here to the answer: none.
        answer, _ = await dataplane.explain(name, await read_v1(request), {})
        return _v1_answer(name, mode, answer)

    async def infer(request: Request) -> Response:
        name = _model(request)
        headers = headers_of(name) if mode_of(request.headers) is Mode.BINARY else {}
        json_length = request.headers.get(_JSON_LENGTH)
        call = await predictor.read_v2(await request.body(), json_length)
        answer, _ = await dataplane.infer(name, call)
        assert isinstance(answer, InferResponse)
        content, json_length = answer.to_rest()
        if json_length is None:
            return _json(content, headers)
        headers[_JSON_LENGTH] = str(json_length)
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def metadata(request: Request) -> Response:
        return _json(await dataplane.model_metadata(_model(request)))

    async def check_ready() -> None:
        if not await predictor.healthy():
            raise PredictorError("overloaded", "the predictor is stopping")

    async def model_ready(request: Request) -> Response:
        name = _model(request)
        await check_ready()
        return _json({"name": name, "ready": True})

    async def ready(request: Request) -> Response:
        await check_ready()
        return _json({"ready": True})

    async def live(request: Request) -> Response:
        return _json({"live": True})

    async def models(request: Request) -> Response:
        return _json({"models": [predictor.name]})

    async def server(request: Request) -> Response:
        return _json(dataplane.metadata())

    async def load(request: Request) -> Response:
        name = request.path_params["name"]
        await repository.load(name)
        return _json({"name": name, "load": True})

    async def unload(request: Request) -> Response:
        name = request.path_params["name"]
        await repository.unload(name)
        return _json({"name": name, "unload": True})

    async def reference(request: Request) -> Response:
        payload = parse_json(await request.body(), _REFERENCE_VALUES)
        address = payload.get("image_url") if isinstance(payload, dict) else None
        instances = {"instances": [{"image_url": address}]}
        answer, _ = await dataplane.infer(predictor.name, instances)
        return _json({"prediction": answer["predictions"][0]["label"]})

    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return FileResponse(WEB / "index.html", headers=page_headers | _BY_ACCEPT)
        return _json(await dataplane.live(), _BY_ACCEPT)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"Content-Type": content_type})

    async def described(request: Request) -> Response:
        return Response(written, media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse(shown, headers=page_headers)

    async def card(request: Request) -> Response:
        model = predictor.classifier.model
        unsure = {"unsure": model.unsure.model_dump()} if model.unsure else {}
        return _json(
            {
                "name": predictor.name,
                "version": model.version,
                "digest": model.digest,
                "classes": model.classes,
                "threshold": model.threshold,
                **unsure,
                "compare_with": settings.compare_with,
                "card": model.card,
            }
        )

    async def samples(request: Request) -> Response:
        given = predictor.classifier.samples if settings.gives_samples else ()
        written = (base64.b64encode(png).decode() for png in given)
        return _json({"instances": [{"image_bytes": {"b64": png}} for png in written]})

    def _model(request: Request) -> str:
        asked = request.path_params
        predictor.check_served(asked["name"], asked.get("version", ""))
        return predictor.name

    v1, v2 = "/v1/models/{name}", "/v2/models/{name}"
    table: list[tuple[str, str, _Endpoint]] = [
        ("/", "GET", root),
        (v1 + ":predict", "POST", predict),
        (v1 + ":explain", "POST", explain),
        (v1, "GET", model_ready),
        ("/v1/models", "GET", models),
        ("/v2", "GET", server),
        ("/v2/health/live", "GET", live),
        ("/v2/health/ready", "GET", ready),
        ("/v2/models", "GET", models),
        ("/v2/repository/models/{name}/load", "POST", load),
        ("/v2/repository/models/{name}/unload", "POST", unload),
        ("/predict", "POST", reference),
        ("/card", "GET", card),
        ("/samples", "GET", samples),
        ("/metrics", "GET", metrics),
        ("/openapi.json", "GET", described),
        ("/docs", "GET", docs),
    ]
    for path in (v2, v2 + "/versions/{version}"):
        table += [
            (path + "/infer", "POST", infer),
            (path + "/ready", "GET", model_ready),
            (path, "GET", metadata),
        ]
    routes = [_Route(path, endpoint, methods=[method]) for path, method, endpoint in table]
    return [*routes, Mount("/web", _Web(page_headers))]


def _page_headers(compared: Iterable[str]) -> dict[str, str]:
    """Returns the headers of what a browser shows: only this server's own, and no inline code."""
    asked = " ".join(("'self'", *compared))
    return {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' data: blob:; connect-src {asked}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _v1_answer(name: str, mode: Mode, answer: Any) -> Response:
    if mode is Mode.STRUCTURED:
        return Response(orjson.dumps(document_of(name, answer)), media_type=STRUCTURED)
    return _json(answer, headers_of(name) if mode is Mode.BINARY else None)


def _json(content: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers=headers)
