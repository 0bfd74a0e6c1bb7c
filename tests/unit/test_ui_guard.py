"""No page but the UI's own can drive the UI, and what is served beside it stays within its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ml.data.versions import VERSIONS, current_version, versioned_folder
from orchestration.paths import Workspace
from orchestration.webserver.guard import Guard, changes_something
from orchestration.webserver.pages import routes

TOKEN = "a-token-of-this-test-alone"
HOME = "http://127.0.0.1:3000"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
LAUNCH = "mutation { launchRun { runId } }"


async def echo(request: Request) -> JSONResponse:
    return JSONResponse({"path": request.url.path, "query": str(request.url.query), "method": request.method})


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("welcome")
    await socket.close()


INNER = Starlette(
    routes=[WebSocketRoute("/graphql", talk), Route("/{path:path}", echo, methods=["GET", "POST", "HEAD", "PUT"])]
)


def client(token: str | None = TOKEN, **options) -> TestClient:
    return TestClient(Guard(INNER, token), base_url=HOME, follow_redirects=False, **options)


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "LOCALHOST:81", "[::1]:3000"])
def test_names_of_the_loopback_are_answered(host: str) -> None:
    assert client().get("/", headers={**SHOWN, "Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:3000",
        "evil.example:3000",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1/x",
        "127.0.0.1:port",
        "0.0.0.0",
        "[::1",
        "",
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_other_names_are_refused_whoever_asks(host: str, token: str | None) -> None:
    assert client(token).get("/", headers={**SHOWN, "Host": host}).status_code == 403


def test_two_hosts_are_refused() -> None:
    headers = [("Host", "127.0.0.1:3000"), ("Host", "evil.example"), *SHOWN.items()]
    assert client().get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1:8000", "http://127.0.0.1", "http://127.0.0.1:3000.evil", ""],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_foreign_origin_is_refused_with_and_without_a_token(origin: str, token: str | None) -> None:
    asked = client(token)
    headers = {**SHOWN, "Origin": origin, "Content-Type": "application/json"}
    assert asked.post("/graphql", headers=headers, content="{}").status_code == 403
    assert asked.get("/", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), asked.websocket_connect("/graphql", headers=headers):
        pass


def test_its_own_origin_is_answered() -> None:
    headers = {**SHOWN, "Origin": HOME}
    assert client().post("/x", headers=headers).status_code == 200
    with client().websocket_connect("/graphql", headers={**headers, "Host": "127.0.0.1:3000"}) as socket:
        assert socket.receive_text() == "welcome"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_page_loads_is_refused_and_what_the_user_opens_is_not(site: str) -> None:
    asked = client(None)
    assert asked.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert asked.get("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert asked.post("/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status_code == 403


def test_the_token_of_the_address_becomes_a_cookie() -> None:
    asked = client()
    assert asked.get("/runs").status_code == 401
    answer = asked.get(f"/runs?view=all&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs?view=all")
    cookie = answer.headers["set-cookie"].lower()
    assert "samesite=strict" in cookie
    assert "httponly" in cookie
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert asked.get("/runs").status_code == 200
    # the cookie also opens the websocket, which has no headers of its own in a browser
    headers = {"Host": "127.0.0.1:3000", "Origin": HOME, "Cookie": answer.headers["set-cookie"].split(";")[0]}
    with client().websocket_connect("/graphql", headers=headers) as socket:
        assert socket.receive_text() == "welcome"
    again = asked.get(f"/?token={TOKEN}")
    assert (again.status_code, again.headers["location"]) == (303, "/")


def test_the_redirection_leads_to_no_other_host() -> None:
    answer = client().get(f"http://127.0.0.1:3000//evil.example/x?token={TOKEN}")
    assert answer.headers["location"] == "/evil.example/x"


@pytest.mark.parametrize("given", ["", "a", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ü" * 20])
def test_a_wrong_token_opens_nothing(given: str) -> None:
    asked = client()
    assert asked.get("/", params={"token": given}).status_code == 401
    assert asked.get("/", headers={"Authorization": f"Bearer {given}".encode()}).status_code == 401
    assert asked.get("/", headers={"Cookie": f"raw2rank={given}".encode()}).status_code == 401
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/graphql", headers={"Host": "localhost"}):
        pass


def test_the_token_of_the_address_is_for_opening_a_page_alone() -> None:
    assert client().post(f"/graphql?token={TOKEN}", json={"query": "{version}"}).status_code == 401


def test_without_a_token_only_the_token_is_not_asked_for() -> None:
    asked = client(None)
    assert asked.get("/").status_code == 200
    assert asked.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert asked.get("/graphql", params={"query": LAUNCH}).status_code == 405


@pytest.mark.parametrize(
    "query",
    [
        LAUNCH,
        "query Q { version } mutation M { x }",
        "#{version}\nmutation{x}",
        "fragment F on Mutation { x } mutation { ...F }",
        "subscription { x }",
        "\ufeffmutation{x}",
        "mutation",
        "{",
        "",
        "{" * 5_000,
        "{ version }" + " " * 200_000,
    ],
)
def test_by_get_nothing_but_a_query_is_answered(query: str) -> None:
    assert changes_something(query)
    asked = client(headers=SHOWN)
    if len(query) < 60_000:
        assert asked.get("/graphql", params={"query": query}).status_code == 405
        assert asked.get("/graphql", params=[("query", "{version}"), ("query", query)]).status_code == 405
        assert asked.get("/graphql", params=[("query", query), ("query", "{version}")]).status_code == 405
        assert asked.get("/graphql/", params={"query": query}).status_code == 405
        assert asked.get("/%67raphql", params={"query": query}).status_code == 405


@pytest.mark.parametrize(
    "query", ["{ version }", "query Q($a: Int) { x(mutation: $a) }", "{ mutation }", '{ x(a: "mutation { y }") }']
)
def test_a_query_by_get_is_answered(query: str) -> None:
    assert client(headers=SHOWN).get("/graphql", params={"query": query}).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "",
    ],
)
def test_a_post_that_another_page_could_send_is_refused(kind: str) -> None:
    asked = client(headers=SHOWN)
    assert asked.post("/graphql", content=LAUNCH, headers={"Content-Type": kind}).status_code == 415
    assert asked.post("/graphql", params={"query": LAUNCH}, headers={"Content-Type": kind}).status_code == 415


def test_a_post_of_json_is_answered() -> None:
    asked = client(headers=SHOWN)
    assert asked.post("/graphql", json={"query": LAUNCH}).status_code == 200
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert asked.post("/graphql", content="{}", headers=headers).status_code == 200
    assert asked.post("/graphql", json={}, params={"query": LAUNCH}).status_code == 415


@pytest.fixture
def pages(tmp_path: Path) -> TestClient:
    workspace = Workspace(tmp_path / "workspace")
    paths = workspace.dataset("Small")
    with versioned_folder(paths.report.parent) as folder:
        (folder / "report.html").write_text("secret: the report before")
    earlier = current_version(paths.report.parent)
    with versioned_folder(paths.report.parent) as folder:
        (folder / "report.html").write_text("<h1>Report</h1>")
        (folder / "leaderboard.csv").write_text("a,b\n")
        (folder / "leaderboard.parquet").write_bytes(b"PAR1")
    with versioned_folder(paths.data_docs) as folder:
        (folder / "landing").mkdir()
        (folder / "landing" / "reviews.html").write_text("<h1>Reviews</h1>")
    with versioned_folder(paths.decision_page.parent) as folder:
        (folder / "decision.html").write_text("<h1>Decision</h1>")
        (folder / "decision.json").write_text("{}")
    with versioned_folder(paths.champion) as folder:
        (folder / "secret.html").write_text("secret: the bundle")
    (paths.decision_page.parent / "link.html").symlink_to(tmp_path / "secret.html")
    (paths.asset("release") / "history.jsonl").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    (paths.lake / "secret.html").write_text("secret")
    (paths.report.parent / "link.html").symlink_to(tmp_path / "secret.html")
    (paths.report.parent / "folder").symlink_to(tmp_path, target_is_directory=True)
    (paths.report.parent / "earlier").symlink_to(earlier, target_is_directory=True)
    (paths.report.parent.parent / VERSIONS / "report" / "secret.html").write_text("secret")
    return TestClient(Starlette(routes=routes(workspace)), base_url=HOME)


def test_reports_and_data_docs_are_served_without_scripts(pages: TestClient) -> None:
    answer = pages.get("/reports/Small")
    assert (answer.status_code, answer.text) == (200, "<h1>Report</h1>")
    assert str(answer.url).endswith(Workspace(Path("/")).dataset("Small").report_url)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert pages.get("/data-docs/Small/landing/reviews.html").text == "<h1>Reviews</h1>"
    assert pages.get("/reports/Small/leaderboard.csv").headers["content-type"].startswith("text/csv")
    assert pages.get("/reports/Small/leaderboard.parquet").headers["content-disposition"] == "attachment"


@pytest.mark.parametrize(
    "name",
    [
        "Small/../secret.html",
        "Small/%2e%2e/%2e%2e/secret.html",
        "Small/..%2f..%2fsecret.html",
        "Small/..%2f..%2f..%2f..%2f..%2fsecret.html",
        "Small/link.html",
        "Small/folder/secret.html",
        "Small/earlier/report.html",
        "Small/..%2fsecret.html",
        "Small/..%2f.versions%2freport%2fsecret.html",
        "Small//etc/passwd",
        "Small/%2fetc%2fpasswd",
        "Small/report.html%00.png",
        "Small/folder",
        f"Small/{'x' * 3000}",
        "..%2fSmall/report.html",
        "%2e%2e/report.html",
        f"{'x' * 300}/report.html",
        "Other/report.html",
    ],
)
def test_nothing_outside_the_folder_is_served(pages: TestClient, name: str) -> None:
    answer = pages.get(f"/reports/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.html", "")


def test_decisions_are_served_without_scripts(pages: TestClient) -> None:
    answer = pages.get("/releases/Small")
    assert (answer.status_code, answer.text) == (200, "<h1>Decision</h1>")
    assert str(answer.url).endswith(Workspace(Path("/")).dataset("Small").decision_url)
    assert "allow-scripts" not in answer.headers["content-security-policy"]
    assert pages.get("/releases/Small/decision.json").headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "name",
    [
        "Small/../champion/secret.html",
        "Small/..%2fchampion%2fsecret.html",
        "Small/%2e%2e/history.jsonl",
        "Small/..%2fhistory.jsonl",
        "Small/..%2f..%2f..%2fsecret.html",
        "Small/link.html",
        "Small/decision.html%00",
        "Small/no.html",
        "Unknown",
        "Unknown/decision.html",
        "..%2fSmall/decision.html",
        "Small%2f..%2fSmall/decision.html",
    ],
)
def test_nothing_outside_the_folder_of_a_decision_is_served(pages: TestClient, name: str) -> None:
    answer = pages.get(f"/releases/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.html", "")


def test_a_decision_that_is_not_there_says_what_writes_it(pages: TestClient) -> None:
    told = pages.get("/releases/Unknown/decision.html").text
    assert "There is no releases/Unknown/decision.html. make run DATASET=Unknown writes it." in told


def test_pages_cannot_be_written(pages: TestClient) -> None:
    assert pages.post("/releases/Small/decision.html").status_code == 405
    assert pages.post("/reports/Small/report.html").status_code == 405
