"""The guard in front of the UI, which keeps other web pages from driving it.

Dagster's web server asks nobody who they are: it answers a mutation that comes by GET, and looks at neither ``Host``
nor ``Origin``, so any page that a user has open could launch runs, or wipe records, on 127.0.0.1. This ASGI middleware
lets a request through only where

- its ``Host`` is a name of this machine's loopback (a foreign name that resolves to 127.0.0.1 is DNS rebinding);
- its ``Origin``, where there is one, is that host, also for websockets;
- it does not come from another site by itself (``Sec-Fetch-Site``), but by a click of the user;
- it shows the token that was printed at the start: in the address once, which sets a cookie that other sites cannot
  send, or as ``Authorization: Bearer``;
- as GraphQL, it is a POST of JSON, or a GET of a query; a mutation by GET is refused.
"""

from __future__ import annotations

import hmac
import html
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKEN = "token"
GRAPHQL = "/graphql"
# Longer queries than any of the UI's; what is refused is not parsed first.
_LONGEST_QUERY = 100_000
_POLICY_VIOLATION = 1008


class Guard:
    """The middleware.

    Args:
        app: what it stands in front of.
        token: that requests must show; ``None`` asks for none, and all other rules stay in force.
        hosts: names that the server may be called by, without a port.
        cookie: name of the cookie that holds the token. Browsers send cookies to every port of a host, so two servers
            need two names.
    """

    def __init__(
        self, app: ASGIApp, token: str | None, hosts: Iterable[str] = LOOPBACK, cookie: str = "raw2rank"
    ) -> None:
        self.app = app
        self.token = token
        self.hosts = frozenset(host.lower() for host in hosts)
        self.cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._foreign(scope, headers) or self._unknown(scope, headers) or self._unsafe(scope, headers)
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await answer(scope, receive, send)

    def _foreign(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of a request that another page has made, or has made this browser make."""
        named = headers.getlist("host")
        if len(named) != 1 or _name(named[0]) not in self.hosts:
            return _refusal(f"The UI is not served under the name {', '.join(named)!r}; open it on 127.0.0.1.")
        origins = headers.getlist("origin")
        if any(origin not in (f"http://{named[0]}", f"https://{named[0]}") for origin in origins):
            return _refusal(f"Requests from {', '.join(origins)!r} are refused; open the UI in a tab of its own.")
        opened = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") == "GET"
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and not opened:
            return _refusal("Requests that another page makes are refused; open the UI in a tab of its own.")
        return None

    def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of a request without the token; the redirection of one that shows it in its address."""
        if self.token is None:
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == TOKEN]
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if self._is_token(bearer.strip()) and scheme.lower() == "bearer":
            return None
        if any(self._is_token(value) for value in self._cookies(headers)):
            # one that is in the address is taken off it, so that it does not stay in view
            return self._without_token(scope, query, None) if given and scope.get("method") == "GET" else None
        if given and self._is_token(given[-1]) and scope["type"] == "http" and scope["method"] == "GET":
            return self._without_token(scope, query, given[-1])
        return _no_token()

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), (self.token or "").encode())

    def _cookies(self, headers: Headers) -> list[str]:
        found = []
        for line in headers.getlist("cookie"):
            for part in line.split(";"):
                try:
                    cookie = SimpleCookie(part.strip())
                except CookieError:
                    continue
                found += [morsel.value for name, morsel in cookie.items() if name == self.cookie]
        return found

    def _without_token(self, scope: Scope, query: list[tuple[str, str]], token: str | None) -> Response:
        """To the same address without the token, which a cookie holds from then on."""
        rest = urlencode([(name, value) for name, value in query if name != TOKEN])
        # several slashes at the start would lead to another host
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").split("?")[0].lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
        answer.headers.update({"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        if token is not None:
            answer.set_cookie(self.cookie, token, httponly=True, samesite="strict", path="/")
        return answer

    def _unsafe(self, scope: Scope, headers: Headers) -> Response | None:
        """The refusal of GraphQL in a form that another page could send, or that changes something by GET."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != GRAPHQL:
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        texts = [value for name, value in query if name == "query"]
        if scope["method"] == "POST":
            kind = headers.get("content-type", "").split(";")[0].strip().lower()
            if kind not in ("application/json", "application/graphql") or texts:
                return PlainTextResponse("GraphQL is to be sent as a POST of application/json.", status_code=415)
            return None
        if any(changes_something(text) for text in texts):
            return PlainTextResponse(
                "A mutation is to be sent as a POST.", status_code=405, headers={"Allow": "POST, GET"}
            )
        return None


def changes_something(query: str) -> bool:
    """Whether any operation of a GraphQL document is other than a query, or the document cannot be parsed."""
    if len(query) > _LONGEST_QUERY:
        return True
    try:
        document = parse(query, max_tokens=10_000)
    except (GraphQLError, RecursionError):
        return True
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return any(operation.operation != OperationType.QUERY for operation in operations)


def _name(host: str) -> str:
    """The name of a ``Host`` header without its port, empty where it is none."""
    try:
        parts = urlsplit(f"//{host}")
        # an address with a user or a path is no host
        return (parts.hostname or "") if parts.netloc == host and "@" not in host and parts.port != 0 else ""
    except ValueError:
        return ""


def _refusal(text: str) -> Response:
    return PlainTextResponse(text, status_code=403)


def _no_token() -> Response:
    text = (
        "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>raw2rank</title><h1>The token is missing</h1>"
        "<p>Open the address that <code>make ui</code> printed, which ends in <code>?token=...</code>. If you have "
        "done so before and came here by a link from another page, <a href=''>open this page again</a>.</p>"
        f"<p>{html.escape('Scripts send the header Authorization: Bearer <token>.')}</p></html>"
    )
    return HTMLResponse(text, status_code=401, headers={"Cache-Control": "no-store", "WWW-Authenticate": "Bearer"})
