"""The application: recommendations, similar items, and what there is to know of the release."""

# annotations are evaluated where they stand: FastAPI reads them, and some name what is defined here

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.service.figures import CONTENT_TYPE, Figures
from ml.service.limits import Limits
from ml.service.messages import Answers, Health, Model, Refusal, Similar
from ml.service.recommendations import DEFAULT_LENGTH, JSON, Refused, answer_json, described_body, similar_json
from ml.service.served import Served
from ml.service.workers import Busy, Workers

_T = TypeVar("_T")
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The request is no JSON, or its host is not served."},
    413: {"model": Refusal, "description": "The request is too large."},
    422: {"model": Refusal, "description": "The request asks for something that is not possible."},
}
_NOT_JSON: dict[int | str, dict[str, Any]] = {415: {"model": Refusal, "description": "The body is not sent as JSON."}}
_BUSY: dict[int | str, dict[str, Any]] = {
    503: {
        "model": Refusal,
        "description": "Too many requests wait; ask again after the seconds of Retry-After.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}}},
    }
}
_RETRY_AFTER_SECONDS = 1
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such item."}}


def create_app(
    served: Served, limits: Limits | None = None, workers: int = 1, hosts: Iterable[str] = ("*",)
) -> FastAPI:
    """The application.

    Args:
        served: the release.
        limits: of a request, and of how many may wait.
        workers: requests that are computed at the same time; others wait in their order.
        hosts: names that the service may be called by; ``*`` for any.
    """
    limits = limits or Limits()
    app = FastAPI(
        title="raw2rank",
        summary="Recommendations of a released model",
        # one page of the documentation loads scripts from elsewhere
        docs_url=None,
        redoc_url=None,
        exception_handlers={RequestValidationError: _not_as_described, StarletteHTTPException: _refused},
    )
    figures = served.figures
    computing = Workers(workers, limits.waiting)

    async def computed(work: Callable[[], _T]) -> _T:
        try:
            return await computing.run(work)
        except Busy as error:
            sentence = (
                f"too many requests wait already ({limits.waiting}): ask again in a moment, or serve on more machines"
            )
            raise HTTPException(503, sentence, {"Retry-After": str(_RETRY_AFTER_SECONDS)}) from error
        except Refused as error:
            raise HTTPException(error.status, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    # the body is read, checked and answered without a model of FastAPI in between, which would take as long as ranking
    @app.post(
        "/recommendations",
        responses={200: {"model": Answers}} | _REFUSALS | _NOT_JSON | _BUSY,
        openapi_extra={"requestBody": described_body(limits)},
    )
    async def recommendations(request: Request) -> Response:
        """The best items for each history."""
        body = await request.body()
        sent_as = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent_as != JSON:
            raise HTTPException(415, f"send the header Content-Type: {JSON}, and the histories as JSON")
        current = served.current
        return Response(await computed(lambda: answer_json(current, body, limits, figures)), media_type=JSON)

    @app.get("/similar/{item:path}", responses={200: {"model": Similar}} | _REFUSALS | _NOT_FOUND | _BUSY)
    async def similar(
        item: Annotated[str, Path(description="Its id.")],
        k: Annotated[int | None, Query(ge=1, le=limits.k, description="Length of the list.")] = None,
    ) -> Response:
        """The items most similar to one."""
        current = served.current
        bundle = current.bundle
        if bundle.indices([item])[0] < 0:
            raise HTTPException(404, f"the catalogue holds no item {item!r}")
        length = min(DEFAULT_LENGTH, limits.k, bundle.items) if k is None else k
        return Response(await computed(lambda: similar_json(current, item, length)), media_type=JSON)

    @app.get("/model", responses={400: _REFUSALS[400]})
    async def model() -> Model:
        """What is served, how it was fitted, and what may be asked for."""
        current = served.current
        bundle = current.bundle
        return Model(
            release=current.release,
            since=current.since.isoformat(timespec="seconds"),
            name=bundle.name,
            title=bundle.title,
            kind=bundle.kind,
            dataset=bundle.dataset,
            items=bundle.items,
            fitted_on=bundle.fitted_on,
            exclude_seen=bundle.exclude_seen,
            reads_times=bundle.reads_times,
            protocol=bundle.protocol,
            digests=bundle.digests,
            limits=asdict(limits),
        )

    @app.get("/health", responses={400: _REFUSALS[400]})
    async def health() -> Health:
        """Whether the service answers, and with which release."""
        refused = served.refused
        return Health(status="stale" if refused else "ok", release=served.current.release, refused=refused)

    @app.get("/metrics", response_class=PlainTextResponse, responses={400: _REFUSALS[400]})
    async def metrics() -> PlainTextResponse:
        """Figures for Prometheus."""
        current = served.current
        text = figures.text(current.release, current.bundle.items, computing.waiting)
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    app.add_middleware(_BoundedBody, most=limits.body)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    # outermost, so that refusals are counted too
    app.add_middleware(_Counted, figures=figures)
    return app


async def _not_as_described(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with an address, in one sentence."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}; GET /openapi.json describes a request"}, 422)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"detail": str(error.detail)}, error.status_code, headers=error.headers)


class _Counted:
    """Middleware that counts requests by route and status."""

    def __init__(self, app: ASGIApp, figures: Figures) -> None:
        self.app = app
        self.figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = route.path if route is not None else "other"
                self.figures.answered(path, message["status"], time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, counted)


class _BoundedBody:
    """Middleware that refuses a request with too large a body, before it is in memory."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = f"the body is larger than {self.most} bytes: send fewer histories in one request"
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.most:
            await JSONResponse({"detail": refusal}, 413, headers={"connection": "close"})(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self.most:
                # FastAPI hands it to the handler of refusals
                raise HTTPException(413, refusal)
            return message

        await self.app(scope, counted, send)
