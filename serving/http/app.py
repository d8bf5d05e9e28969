"""Builds the HTTP application: its routes, error replies and counters."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from modelparity.serving.http import page, protocol_v2
from modelparity.serving.http.admission import FORM, IMAGES, OCTETS, Admission
from modelparity.serving.http.engine import Engine
from modelparity.serving.http.golden import GoldenVerdict
from modelparity.serving.http.limits import Limits
from modelparity.serving.http.metrics import CONTENT_TYPE, Metrics
from modelparity.serving.http.readiness import Readiness
from modelparity.serving.http.refusals import RefusalError
from modelparity.serving.http.replies import MaskForm
from modelparity.serving.http.schema import INFER, UPLOAD, Detection, errors
from modelparity.serving.http.uploads import read_body

_BODY = (400, 401, 408, 413, 415, 422, 429, 503)


class Server:
    """The state that the routes of one application share."""

    def __init__(
        self,
        predictors: Sequence[Any],
        limits: Limits | None = None,
        api_key: str | None = None,
        released: GoldenVerdict | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.card = predictors[0].card
        self.admission = Admission(self.limits, api_key)
        self.metrics = Metrics(self.card, lambda: self.admission.waiting)
        self.engine = Engine(predictors, self.limits, self.metrics)
        self.readiness = Readiness(self.engine, self.admission, released)

    async def body(self, request: Request, types: tuple[str, ...]) -> bytes:
        """The body of an admitted request. Raises `RefusalError` if it is not admitted or cannot be read."""
        self.admission.check(_client(request), request.headers, types)
        with self.admission.upload():
            return await read_body(request.stream(), request.headers.get("content-type", ""), self.limits)

    async def accepted(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a job, run on a worker. Raises `RefusalError` if no place is left."""
        with self.admission.place():
            return await self.engine.work(job, *arguments)


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def create_app(server: Server, version: str = "0") -> FastAPI:
    """The application for one file; applications share nothing."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await server.readiness.check()
        ready, _state = server.readiness.state()
        server.metrics.ready.set(ready)
        yield
        server.engine.close()

    app = FastAPI(
        title=f"modelparity: {server.card.title}",
        version=version,
        description="A released file, served. Errors are one line in `error` and one word in `reason`.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page loads scripts from another host
        redoc_url=None,
    )
    _add_errors(app)
    _add_detect(app, server)
    _add_protocol(app, server, version)
    _add_pages(app, server)
    app.add_middleware(Watch, metrics=server.metrics)
    return app


def _json(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, dict(headers or {}), "application/json")


def _add_detect(app: FastAPI, server: Server) -> None:
    @app.post(
        "/v1/detect",
        openapi_extra=UPLOAD,
        responses={200: {"model": Detection}, **errors(*_BODY)},
        summary="An image to a score, a label and a mask",
    )
    async def detect(
        request: Request,
        mask: Annotated[MaskForm, Query(description="How the mask is sent.")] = "png",
    ) -> Response:
        """Send the image as the body, or as the part `image` of a form."""
        data = await server.body(request, (FORM, *IMAGES, OCTETS))
        answer = await server.accepted(server.engine.detect, data, mask, time.perf_counter())
        return Response(answer, media_type="application/json")


def _add_protocol(app: FastAPI, server: Server, version: str) -> None:
    card = server.card

    def known(model: str, wanted: str = protocol_v2.VERSION) -> None:
        if (model, wanted) != (card.model, protocol_v2.VERSION):
            raise RefusalError(404, "model", f"the model is {card.model}, version {protocol_v2.VERSION}")

    def ready() -> Response:
        ready, state = server.readiness.state()
        server.metrics.ready.set(ready)
        return _json(state, 200 if ready else 503)

    @app.get("/v2/health/live")
    async def live() -> Response:
        """200 as long as the process answers."""
        return _json({"live": True})

    @app.get("/v2/health/ready", responses=errors(503))
    async def server_ready() -> Response:
        """200 if the golden image gave the released verdict, and no stop is under way."""
        return ready()

    @app.get("/v2")
    async def server_metadata() -> Response:
        return _json(protocol_v2.server_metadata(version))

    @app.get("/v2/models/{model}", responses=errors(404))
    async def model_metadata(model: str) -> Response:
        known(model)
        return _json(protocol_v2.model_metadata(card))

    @app.get("/v2/models/{model}/ready", responses=errors(404, 503))
    async def model_ready(model: str) -> Response:
        known(model)
        return ready()

    @app.post("/v2/models/{model}/infer", openapi_extra=INFER, responses=errors(404, *_BODY))
    async def infer(model: str, request: Request) -> Response:
        """Tensors in, tensors out; the image as it is fed to the network, float32 [N, 3, h, w]."""
        known(model)
        return await answered(request)

    @app.get("/v2/models/{model}/versions/{version}", responses=errors(404))
    async def version_metadata(model: str, version: str) -> Response:
        known(model, version)
        return _json(protocol_v2.model_metadata(card))

    @app.get("/v2/models/{model}/versions/{version}/ready", responses=errors(404, 503))
    async def version_ready(model: str, version: str) -> Response:
        known(model, version)
        return ready()

    @app.post(
        "/v2/models/{model}/versions/{version}/infer", openapi_extra=INFER, responses=errors(404, *_BODY)
    )
    async def version_infer(model: str, version: str, request: Request) -> Response:
        known(model, version)
        return await answered(request)

    async def answered(request: Request) -> Response:
        body = await server.body(request, ("application/json", OCTETS))
        length = request.headers.get(protocol_v2.BINARY_HEADER)
        answer, headers = await server.accepted(_infer, server, body, length)
        return Response(answer, 200, headers)


def _infer(server: Server, body: bytes, header_length: str | None) -> tuple[bytes, dict[str, str]]:
    wanted = protocol_v2.read_request(body, header_length, server.card, server.limits)
    with server.engine.predictor() as predictor:
        outputs = server.engine.run(predictor, wanted.image)
    return protocol_v2.write_response(wanted, outputs, server.card)


def _add_pages(app: FastAPI, server: Server) -> None:
    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """For Prometheus."""
        server.admission.check_key(request.headers)
        return Response(server.metrics.text(), 200, {"Content-Type": CONTENT_TYPE})

    @app.get("/v1/model")
    async def model() -> Response:
        """What is served: the network, its file, and what an upload may be."""
        card, limits = server.card, server.limits
        names = ("model", "title", "task", "format", "quantization", "sha256")
        about = {name: getattr(card, name) for name in names}
        bounds = {name: getattr(limits, name) for name in ("body_bytes", "pixels", "side")}
        return _json(
            {**about, "trained": card.trained, "input_size": list(card.input_size), "limits": bounds}
        )

    for path, (name, kind) in page.FILES.items():
        _add_file(app, path, page.read(name), kind)


def _add_file(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, 200, {"Content-Type": kind, **page.HEADERS})


def _add_errors(app: FastAPI) -> None:
    """Errors are JSON with `error` and `reason`; they never quote the request or show a stack trace."""

    @app.exception_handler(RefusalError)
    async def refused(request: Request, error: RefusalError) -> Response:
        request.scope["modelparity.reason"] = error.reason
        return _json({"error": error.words, "reason": error.reason}, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        names = ", ".join(sorted({str(item["loc"][-1]) for item in error.errors()}))
        return _json({"error": f"wrong parameter: {names}", "reason": "parameter"}, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return _json({"error": str(error.detail), "reason": "http"}, error.status_code, error.headers)


class Watch:
    """Middleware that counts and times requests, and turns an unexpected exception into a plain 500."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def watched(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if _is_disconnect(error):
                status = 499  # the client closed the connection; nginx uses this code
                return
            _log(error)
            if not status:
                await _json({"error": "the server failed", "reason": "internal"}, 500)(
                    scope, receive, watched
                )
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)
            if reason := scope.get("modelparity.reason"):
                self._metrics.rejected.labels(reason).inc()


def _is_disconnect(error: Exception) -> bool:
    from starlette.requests import ClientDisconnect

    return isinstance(error, ClientDisconnect)


def _log(error: Exception) -> None:
    """Logs the place of an error but not its message, which may quote an upload."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    print(f"internal error: {type(error).__name__} at {where}", file=sys.stderr, flush=True)
