"""What is posted when a run has failed, to a server of this test."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from orchestration.automation.alerts import WEBHOOK, AlertError, alert_on_failure, post
from orchestration.partitions import datasets


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted, and answers with ``status``."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, dict]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posted.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dg.asset(partitions_def=datasets)
def landed(context) -> None:
    if context.partition_key == "Told":
        raise dg.Failure(description="Told: reviews.csv: the file is cut short; download it again", allow_retries=False)
    raise dg.Failure(description="é" * 5000, allow_retries=False)


@dg.asset(partitions_def=datasets)
def checked() -> None:
    pass


@dg.asset_check(asset=checked, blocking=True)
def contract() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="3 rows have no user")


@dg.asset(partitions_def=datasets, deps=[checked])
def below() -> None:
    pass


def tick(instance: dg.DagsterInstance, *assets, dataset: str = "Told") -> object:
    """Let a run fail, and the sensor see it."""
    instance.add_dynamic_partitions(datasets.name, [dataset])
    result = dg.materialize([*assets], instance=instance, partition_key=dataset, raise_on_error=False)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type == dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        "alert_on_failure", failure, instance, result.dagster_run
    ).for_run_failure()
    return result.run_id, alert_on_failure(context)


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_dataset_reason_and_run_are_posted(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    run_id, _ = tick(instance, landed)
    ((path, kind, content),) = webhook.posted
    assert (path, kind) == ("/secret", "application/json")
    assert content["dataset"] == "Told"
    assert content["reason"] == "Told: reviews.csv: the file is cut short; download it again"
    assert content["run_id"] == run_id
    assert content["reason"] in content["text"]


def test_a_failed_check_is_the_reason(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    tick(instance, checked, contract, below)
    ((_, _, content),) = webhook.posted
    assert "check contract failed" in content["reason"]
    assert "3 rows have no user" in content["reason"]


def test_a_long_reason_is_cut(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEBHOOK, webhook.address)
    tick(instance, landed, dataset="Long")
    assert len(webhook.posted[0][2]["reason"]) == 2001


def test_nothing_is_posted_without_an_address(instance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    _, said = tick(instance, landed)
    assert said.skip_message == "RAW2RANK_WEBHOOK is not set"
    assert not webhook.posted


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_the_webhook_does_not_take_is_an_error_without_its_secret(webhook: Webhook, status: int) -> None:
    webhook.status = status
    with pytest.raises(AlertError, match=f"the webhook at 127.0.0.1 answered with {status}") as refused:
        post(webhook.address, {})
    assert "secret" not in str(refused.value)
    assert len(webhook.posted) == 1, "no redirect is followed"


@pytest.mark.parametrize("address", ["file://localhost/x", "ftp://127.0.0.1/x", "hooks.example.org/x", "https://?x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(AlertError, match="RAW2RANK_WEBHOOK is no address of a webhook"):
        post(address, {})


def test_a_webhook_that_is_not_there_is_told_by_its_host(webhook: Webhook) -> None:
    address = webhook.address
    webhook.server_close()
    with pytest.raises(AlertError, match=r"the webhook at 127\.0\.0\.1 cannot be reached") as refused:
        post(address, {})
    assert "secret" not in str(refused.value)
