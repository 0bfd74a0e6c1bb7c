"""The service: answers as the bundle gives them, clear refusals, and an exchange of releases that drops no request."""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from release_toys import ITEMS, release

from ml.data.versions import versioned_folder
from ml.release.bundle import Bundle, BundleError, load

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from starlette.testclient import TestClient

from ml.service.app import create_app
from ml.service.figures import Figures
from ml.service.limits import Limits
from ml.service.recommendations import answer_json
from ml.service.served import Served


@pytest.fixture
def place(tmp_path: Path) -> Path:
    release(tmp_path / "champion", tmp_path)
    return tmp_path / "champion"


@pytest.fixture
def served(place: Path) -> Served:
    return Served(place, Figures())


@pytest.fixture
def client(served: Served):
    limits = Limits(body=2000, histories=3, history=5, k=4, item_ids=4)
    with TestClient(create_app(served, limits), base_url="http://127.0.0.1") as client:
        yield client


def test_answers_are_those_of_the_bundle(client: TestClient, place: Path) -> None:
    histories = [["a", "b"], [], ["z", "c"]]
    answer = client.post("/recommendations", json={"histories": histories, "k": 3})
    assert answer.status_code == 200
    found = answer.json()["recommendations"]
    expected = load(place).recommend(histories, 3)
    assert [[one["item"] for one in row["items"]] for row in found] == expected.items
    assert [[one["score"] for one in row["items"]] for row in found] == expected.scores
    assert [row["skipped"] for row in found] == [0, 0, 1]
    assert found[0]["items"][0]["title"] == f"Title of {expected.items[0][0]}"
    assert answer.json()["release"] == load(place).folder.name


def test_items_are_allowed_excluded_and_left_out(client: TestClient) -> None:
    def items(**asked: object) -> list[str]:
        answer = client.post("/recommendations", json={"histories": [["a"]], "k": 4, **asked})
        return [one["item"] for one in answer.json()["recommendations"][0]["items"]]

    assert set(items(allowed=["b", "e"])) == {"b", "e"}
    assert "b" not in items(excluded=["b"])
    assert "a" not in items(exclude_seen=True)


def test_similar_items(client: TestClient, place: Path) -> None:
    answer = client.get("/similar/a?k=2")
    assert answer.status_code == 200
    assert [(one["item"], one["score"]) for one in answer.json()["items"]] == load(place).similar_items("a", 2)


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"histories": [["a"]] * 4}, 422, "at most 3 in one request"),
        ({"histories": [["a"] * 6]}, 422, "send the last 5"),
        ({"histories": [["a"]], "k": 5}, 422, "at most 4 items"),
        ({"histories": [["a"]], "k": 0}, 422, "k: "),
        ({"histories": [["a"]], "k": "many"}, 422, "k: "),
        ({"histories": [[1]]}, 422, "histories.0.0: "),
        ({"histories": "a"}, 422, "histories: "),
        ({}, 422, "histories: Field required"),
        ({"histories": [], "users": ["u0"]}, 422, "users: "),
        ({"histories": [["a"]], "allowed": list("abcde")}, 422, "5 ids in allowed"),
        ({"histories": [["a" * 3000]]}, 413, "larger than 2000 bytes"),
    ],
)
def test_what_is_not_possible_is_refused_with_a_sentence(client: TestClient, asked, status: int, said: str) -> None:
    answer = client.post("/recommendations", json=asked)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_a_body_without_a_length_is_bounded_too(client: TestClient) -> None:
    answer = client.post("/recommendations", content=iter([b"x" * 1500, b"x" * 1500]))
    assert answer.status_code == 413
    assert client.get("/health").status_code == 200


def test_what_is_no_json_is_refused(client: TestClient) -> None:
    answer = client.post("/recommendations", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["detail"][:19]) == (400, "the body is no JSON")
    assert client.get("/similar/zz").status_code == 404
    assert client.get("/similar/a?k=0").status_code == 422
    assert client.get("/similar/a?k=99").status_code == 422
    assert client.get("/nowhere").status_code == 404
    assert client.get("/recommendations").status_code == 405


def test_a_foreign_name_is_not_served(served: Served) -> None:
    app = create_app(served, hosts=["127.0.0.1", "localhost"])
    assert TestClient(app, base_url="http://127.0.0.1").get("/health").status_code == 200
    assert TestClient(app, base_url="http://shop.example").get("/health").status_code == 400


def test_the_model_says_what_it_is(client: TestClient, place: Path) -> None:
    found = client.get("/model").json()
    bundle = load(place)
    assert (found["name"], found["items"], found["digests"]) == (bundle.name, 5, bundle.digests)
    assert found["limits"]["k"] == 4


def test_figures_count_requests(client: TestClient) -> None:
    client.post("/recommendations", json={"histories": [["a", "z"], []]})
    client.post("/recommendations", json={})
    lines = client.get("/metrics").text.splitlines()
    assert 'raw2rank_requests_total{path="/recommendations",status="200"} 1' in lines
    assert 'raw2rank_requests_total{path="/recommendations",status="422"} 1' in lines
    assert "raw2rank_histories_total 2" in lines
    assert "raw2rank_skipped_items_total 1" in lines
    assert "raw2rank_request_seconds_count 2" in lines
    assert all(line.startswith("#") or len(line.rsplit(" ", 1)) == 2 for line in lines)


def test_the_next_release_takes_its_place(served: Served, place: Path, tmp_path: Path) -> None:
    first = served.current
    assert not served.look()
    release(place, tmp_path, "most_popular")
    assert served.look()
    assert served.current.bundle.name == "most_popular"
    assert first.bundle.recommend([["a"]], 2).items, "who took the first goes on with it"


def test_a_damaged_release_is_refused_once_and_the_current_one_stays(
    served: Served, client: TestClient, place: Path, tmp_path: Path
) -> None:
    before = served.current.release
    with versioned_folder(place) as folder:
        (folder / "bundle.json").write_text("{")
    assert not served.look()
    assert not served.look()
    health = client.get("/health").json()
    assert (health["status"], health["release"]) == ("stale", before)
    assert "bundle.json" in health["refused"]
    assert "raw2rank_refused_exchanges_total 1" in client.get("/metrics").text
    assert client.post("/recommendations", json={"histories": [["a"]]}).status_code == 200
    release(place, tmp_path, "most_popular")
    assert served.look()
    assert client.get("/health").json() == {"status": "ok", "release": served.current.release, "refused": None}


@pytest.mark.parametrize("error", [MemoryError("cannot allocate"), RuntimeError("of a library")])
def test_whatever_is_wrong_with_a_release_the_next_one_is_seen(
    error: Exception, served: Served, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Bundle, *_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Bundle, "recommend", broken)
        release(place, tmp_path, "most_popular")
        watching = served.watch(0.01)
        until = time.monotonic() + 30
        while served.refused is None and time.monotonic() < until and watching.is_alive():
            time.sleep(0.01)
    assert str(error) in (served.refused or "")
    release(place, tmp_path, "random")
    while served.refused is not None and time.monotonic() < until:
        time.sleep(0.01)
    served.close()
    assert served.current.bundle.name == "random"


def test_a_release_answers_after_its_folder_is_gone(served: Served, client: TestClient) -> None:
    shutil.rmtree(served.current.bundle.folder)
    assert client.post("/recommendations", json={"histories": [["a"]]}).status_code == 200
    assert client.get("/similar/a").status_code == 200


def test_without_a_release_there_is_no_service(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Served(tmp_path / "champion", Figures())


def test_no_request_fails_while_releases_are_exchanged(served: Served, place: Path, tmp_path: Path) -> None:
    """Catalogues of several sizes take turns; every answer is wholly that of one release."""
    served.watch(0.001)
    statuses: list[int] = []
    wrong: list[object] = []
    over = threading.Event()
    known: dict[str, Bundle] = {served.current.release: served.current.bundle}

    def ask() -> None:
        with TestClient(create_app(served, workers=2), base_url="http://127.0.0.1") as client:
            while not over.is_set():
                answer = client.post("/recommendations", json={"histories": [["a", "b"]], "k": 5})
                statuses.append(answer.status_code)
                found = answer.json()
                bundle = known.get(found["release"])
                items = [one["item"] for one in found["recommendations"][0]["items"]]
                if bundle is not None and items != bundle.recommend([["a", "b"]], 5).items[0]:
                    wrong.append(found)

    thread = threading.Thread(target=ask)
    thread.start()
    for turn in range(6):
        release(place, tmp_path, ("most_popular", "markov_chain")[turn % 2], items=ITEMS + "fgh"[: turn % 3])
        known[place.resolve().name] = load(place)
    over.set()
    thread.join()
    served.close()
    assert set(statuses) == {200}
    assert wrong == []
    assert len(statuses) > 6


def test_what_cannot_be_answered_soon_is_refused_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread computes and one request may wait: the third is refused, and nothing else is held up."""
    go_on = threading.Event()
    computed = answer_json

    def slow(*asked: object) -> bytes:
        assert go_on.wait(30)
        return computed(*asked)

    monkeypatch.setattr("ml.service.app.answer_json", slow)
    asked = {"histories": [["a"]]}
    with (
        TestClient(create_app(served, Limits(waiting=1), workers=1), base_url="http://127.0.0.1") as client,
        ThreadPoolExecutor(2) as users,
    ):
        taken = [users.submit(client.post, "/recommendations", json=asked) for _ in range(2)]
        try:
            while "raw2rank_waiting_requests 1" not in client.get("/metrics").text.splitlines():
                time.sleep(0.001)
            refused = client.post("/recommendations", json=asked)
            similar = client.get("/similar/a")
            health = client.get("/health")
        finally:
            go_on.set()
        assert [one.result().status_code for one in taken] == [200, 200]
        assert [refused.status_code, similar.status_code, health.status_code] == [503, 503, 200]
        assert refused.headers["retry-after"] == "1"
        assert "too many requests wait already (1): ask again in a moment" in refused.json()["detail"]
        assert client.post("/recommendations", json=asked).status_code == 200
        lines = client.get("/metrics").text.splitlines()
        assert 'raw2rank_requests_total{path="/recommendations",status="503"} 1' in lines
        assert "raw2rank_waiting_requests 0" in lines


def test_the_description_of_the_interface_is_whole(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/recommendations", "/similar/{item}", "/model", "/health", "/metrics"}
    assert {"200", "400", "413", "422", "503"} <= described["paths"]["/recommendations"]["post"]["responses"].keys()
    assert json.dumps(described)
