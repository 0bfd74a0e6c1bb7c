"""``make serve``: a release over HTTP in a process of its own, and what it says where there is none."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from release_toys import release

from orchestration.commands.listening import PortTaken, listen, url_of
from orchestration.commands.serve import main
from orchestration.paths import REPOSITORY


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "lake" / "Toys" / "release" / "champion"
    place.parent.mkdir(parents=True)
    release(place, tmp_path)
    return place


def _asked(address: str, path: str, asked: object = None) -> dict:
    data = None if asked is None else json.dumps(asked).encode()
    with urlopen(Request(f"{address}{path}", data, {"Content-Type": "application/json"}), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_address_that_is_printed_can_be_opened(address: str) -> None:
    try:
        listener = listen(0, address, "make serve PORT=8001")
    except PortTaken:
        pytest.skip(f"this machine has no {address}")
    with listener:
        port = listener.getsockname()[1]
        parts = urlsplit(url_of(address, port))
        assert (parts.hostname, parts.port) == (address, port)
        socket.create_connection((parts.hostname, parts.port)).close()


def test_it_answers_and_ends_in_order(place: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestration.commands.serve", "--dataset", "Toys", "--port", "0"]
    environment = {**os.environ, "RAW2RANK_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", service.stdout.readline())
            assert address is not None
            assert _asked(address[0], "/health")["status"] == "ok"
            found = _asked(address[0], "/recommendations", {"histories": [["a"]], "k": 2})
            assert len(found["recommendations"][0]["items"]) == 2
            assert found["release"] == place.resolve().name
        finally:
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dataset", "Toys"], "Toys has no champion: make run DATASET=Toys"),
        (["--dataset", "a/b"], "'a/b' cannot name a dataset"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--threads", "0"], "THREADS must be at least 1"),
        (["--waiting", "-1"], "WAITING must be at least 0"),
    ],
)
def test_without_a_release_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
