"""The application: recommendations, similar items, and what there is to know of the release."""

# annotations are evaluated where they stand: FastAPI reads them, and some name what is defined here

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.release.bundle import Bundle
from ml.service.figures import CONTENT_TYPE, Figures
from ml.service.limits import Limits
from ml.service.messages import Answer, Answers, Asked, Health, Model, Recommended, Refusal, Similar
from ml.service.served import Served

_T = TypeVar("_T")
# of a list where nothing is said
_LENGTH = 10
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The request is no JSON, or its host is not served."},
    413: {"model": Refusal, "description": "The request is too large."},
    422: {"model": Refusal, "description": "The request asks for something that is not possible."},
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such item."}}


def create_app(
    served: Served, limits: Limits | None = None, workers: int = 1, hosts: Iterable[str] = ("*",)
) -> FastAPI:
    """The application.

    Args:
        served: the release.
        limits: of a request.
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
    turn = anyio.CapacityLimiter(workers)

    async def computed(work: Callable[[], _T]) -> _T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=turn)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.post("/recommendations", responses=_REFUSALS)
    async def recommendations(asked: Asked) -> Answers:
        """The best items for each history."""
        _check(asked, limits)
        current = served.current
        bundle = current.bundle
        k = min(_LENGTH, limits.k, bundle.items) if asked.k is None else asked.k
        lists = await computed(
            lambda: bundle.recommend(asked.histories, k, asked.exclude_seen, asked.allowed, asked.excluded, asked.times)
        )
        figures.add("histories", len(asked.histories))
        figures.add("skipped_items", sum(lists.skipped))
        rows = zip(lists.items, lists.scores, lists.skipped, strict=True)
        answers = [
            Answer(items=_described(bundle, zip(items, scores, strict=True)), skipped=skipped)
            for items, scores, skipped in rows
        ]
        return Answers(release=current.release, recommendations=answers)

    @app.get("/similar/{item:path}", responses=_REFUSALS | _NOT_FOUND)
    async def similar(
        item: Annotated[str, Path(description="Its id.")],
        k: Annotated[int | None, Query(ge=1, le=limits.k, description="Length of the list.")] = None,
    ) -> Similar:
        """The items most similar to one."""
        current = served.current
        bundle = current.bundle
        if bundle.indices([item])[0] < 0:
            raise HTTPException(404, f"the catalogue holds no item {item!r}")
        length = min(_LENGTH, limits.k, bundle.items) if k is None else k
        found = await computed(lambda: bundle.similar_items(item, length))
        return Similar(release=current.release, item=item, items=_described(bundle, found))

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
        return PlainTextResponse(figures.text(current.release, current.bundle.items), media_type=CONTENT_TYPE)

    app.add_middleware(_BoundedBody, most=limits.body)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    # outermost, so that refusals are counted too
    app.add_middleware(_Counted, figures=figures)
    return app


def _check(asked: Asked, limits: Limits) -> None:
    """Refuse what is beyond the limits.

    Raises:
        HTTPException: with the limit.
    """
    if len(asked.histories) > limits.histories:
        raise HTTPException(422, f"{len(asked.histories)} histories: send at most {limits.histories} in one request")
    longest = max(map(len, asked.histories), default=0)
    if longest > limits.history:
        raise HTTPException(422, f"a history of {longest} items: send the last {limits.history}")
    if asked.k is not None and asked.k > limits.k:
        raise HTTPException(422, f"k is {asked.k}: lists have at most {limits.k} items")
    for name, given in (("allowed", asked.allowed), ("excluded", asked.excluded)):
        if given is not None and len(given) > limits.item_ids:
            raise HTTPException(422, f"{len(given)} ids in {name}: send at most {limits.item_ids}")


def _described(bundle: Bundle, found: Iterable[tuple[str, float]]) -> list[Recommended]:
    pairs = list(found)
    places = bundle.indices(item for item, _ in pairs)
    return [
        Recommended(item=item, score=score, title=bundle.titles[place])
        for (item, score), place in zip(pairs, places, strict=True)
    ]


async def _not_as_described(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, in one sentence; nothing of it is repeated but the names of fields."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "the body is no JSON: send an object with histories"}, 400)
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return JSONResponse(
        {"detail": f"{where or 'the body'}: {first['msg']}; GET /openapi.json describes a request"}, 422
    )


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
