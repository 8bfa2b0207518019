"""The REST routes that read a body, the reference implementation's own, and the page.

KServe has routes of its own for the first; these stand before them, because those parse in ways
that answer 500 to malformed input.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from kserve import InferResponse
from kserve.protocol.dataplane import DataPlane
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from serving.codecs import parse_json
from serving.errors import PredictorError
from serving.predictor import Call, Predictor

WEB = Path(__file__).parent / "web"
_REFERENCE_VALUES = 1000
_JSON_LENGTH = "inference-header-content-length"
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_Endpoint = Callable[[Request], Awaitable[Response]]


class _Web(StaticFiles):
    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers.update(_PAGE_HEADERS)
        return response


def add_routes(app: FastAPI, dataplane: DataPlane, predictor: Predictor) -> None:
    """Puts the routes before KServe's.

    Args:
        app: KServe's application.
        dataplane: What answers.
        predictor: The model that is served.
    """

    async def read_v1(request: Request) -> Call:
        content_type = request.headers.get("content-type", "")
        return await predictor.read_v1(await request.body(), content_type)

    async def predict(request: Request) -> Response:
        answer, _ = await dataplane.infer(_model(request), await read_v1(request))
        return _json(answer)

    async def explain(request: Request) -> Response:
        # KServe adds the headers it is given here to the answer: none.
        answer, _ = await dataplane.explain(_model(request), await read_v1(request), {})
        return _json(answer)

    async def infer(request: Request) -> Response:
        name = _model(request)
        json_length = request.headers.get(_JSON_LENGTH)
        call = await predictor.read_v2(await request.body(), json_length)
        answer, _ = await dataplane.infer(name, call)
        assert isinstance(answer, InferResponse)
        written, json_length = answer.to_rest()
        if json_length is None:
            return _json(written)
        return Response(
            written,
            media_type="application/octet-stream",
            headers={_JSON_LENGTH: str(json_length)},
        )

    async def metadata(request: Request) -> Response:
        return _json(await dataplane.model_metadata(_model(request)))

    async def ready(request: Request) -> Response:
        name = _model(request)
        if not await predictor.healthy():
            raise PredictorError("overloaded", "the predictor is stopping")
        return _json({"name": name, "ready": True})

    async def reference(request: Request) -> Response:
        payload = parse_json(await request.body(), _REFERENCE_VALUES)
        address = payload.get("image_url") if isinstance(payload, dict) else None
        instances = {"instances": [{"image_url": address}]}
        answer, _ = await dataplane.infer(predictor.name, instances)
        return _json({"prediction": answer["predictions"][0]["label"]})

    async def page(request: Request) -> Response:
        return FileResponse(WEB / "index.html", headers=_PAGE_HEADERS)

    async def card(request: Request) -> Response:
        model = predictor.classifier.model
        return _json(
            {
                "name": predictor.name,
                "version": model.version,
                "digest": model.digest,
                "classes": model.classes,
                "threshold": model.threshold,
                "card": model.card,
            }
        )

    def _model(request: Request) -> str:
        name = request.path_params["name"]
        if name != predictor.name:
            raise PredictorError("not-found", f"no model of that name; {predictor.name} is served")
        version = request.path_params.get("version")
        if version not in (None, str(predictor.classifier.model.version)):
            raise PredictorError(
                "not-found",
                f"no such version; {predictor.classifier.model.version} is served",
            )
        return predictor.name

    v1, v2 = "/v1/models/{name}", "/v2/models/{name}"
    routes: list[tuple[str, str, _Endpoint]] = [
        (v1 + ":predict", "POST", predict),
        (v1 + ":explain", "POST", explain),
        ("/predict", "POST", reference),
        ("/", "GET", page),
        ("/card", "GET", card),
    ]
    for path in (v2, v2 + "/versions/{version}"):
        routes += [
            (path + "/infer", "POST", infer),
            (path + "/ready", "GET", ready),
            (path, "GET", metadata),
        ]
    for path, method, endpoint in routes:
        app.router.routes.append(Route(path, endpoint, methods=[method]))
    app.mount("/web", _Web(directory=WEB))


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
