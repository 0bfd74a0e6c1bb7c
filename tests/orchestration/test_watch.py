"""Alerts on what does not happen: silent sensors and daemons, and datasets without new data."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from orchestration.automation.messages import WEBHOOK, AlertError
from orchestration.automation.watch import (
    HEARTBEAT,
    OVERDUE_HOURS,
    alert_on_overdue,
    alert_on_silence,
    beat,
    in_words,
    overdue,
    read_hours,
    silences,
)
from orchestration.partitions import datasets

NOW = time.time()


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each test: the module may have been imported long before, and what is tested asks the clock."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", time.time())


class Server(ThreadingHTTPServer):
    """Keeps what is posted (JSON) and asked for (paths)."""

    def __init__(self) -> None:
        self.posted: list[dict] = []
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200)

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.answer(404 if "unknown" in self.path else 200)

    def answer(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", HEARTBEAT, OVERDUE_HOURS):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        monkeypatch.setenv(WEBHOOK, f"{server.address}/hook")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(NOW, name, None, None))
        yield instance


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def looks(): ...


@dg.sensor(minimum_interval_seconds=3600)
def seldom(): ...


REPOSITORY = dg.Definitions(sensors=[looks, seldom]).get_repository_def()
DEFINED = {"looks": True, "seldom": False}


def add(
    instance: dg.DagsterInstance,
    name: str,
    ago: float,
    ticks: list[TickStatus] = [],  # noqa: B006 - not changed
    status: InstigatorStatus = InstigatorStatus.RUNNING,
    interval: int = 30,
    location: str = "raw2rank",
) -> None:
    """A sensor that was last evaluated so many seconds ago, and its last ticks."""
    target = LoadableTargetOrigin(executable_path=None, module_name="orchestration.definitions")
    code = ManagedGrpcPythonEnvCodeLocationOrigin(target, location)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), name)
    data = SensorInstigatorData(last_tick_timestamp=NOW - ago, min_interval=interval)
    state = instance.add_instigator_state(InstigatorState(origin, InstigatorType.SENSOR, status, data))
    for number, outcome in enumerate(ticks):
        failed = outcome == TickStatus.FAILURE
        error = SerializableErrorInfo("OSError: the disk is full\n", [], "OSError") if failed else None
        at = NOW - ago - 60 * (len(ticks) - number)
        tick = TickData(
            state.instigator_origin_id,
            name,
            InstigatorType.SENSOR,
            outcome,
            at,
            error=error,
            run_ids=[],
            selector_id=state.selector_id,
        )
        instance.create_tick(tick)


def test_a_sensor_that_is_not_evaluated_is_silent(instance) -> None:
    add(instance, "looks", ago=3 * 3600)
    add(instance, "seldom", ago=3 * 3600, interval=3600)
    found = silences(instance, DEFINED, NOW)
    assert list(found) == ["looks"]
    assert "the sensor looks is on and was last evaluated 3 hours ago" in found["looks"]
    assert {"looks", "seldom"} <= set(silences(instance, DEFINED, NOW + 40 * 3600))


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("looks", InstigatorStatus.STOPPED),
        ("seldom", InstigatorStatus.DECLARED_IN_CODE),
        ("of_an_earlier_version", InstigatorStatus.RUNNING),
    ],
)
def test_what_is_off_is_not_silent(instance, name: str, status: InstigatorStatus) -> None:
    add(instance, name, ago=3 * 24 * 3600, status=status)
    assert silences(instance, DEFINED, NOW) == {}


def test_of_several_code_locations_the_one_used_last_counts(instance) -> None:
    add(instance, "looks", ago=20)
    add(instance, "looks", ago=3 * 24 * 3600, location="another")
    assert silences(instance, DEFINED, NOW) == {}


def test_a_sensor_that_fails_again_and_again_is_told_with_its_error(instance) -> None:
    failure, success = TickStatus.FAILURE, TickStatus.SUCCESS
    add(instance, "looks", 10, [success, failure, failure, failure])
    add(instance, "seldom", 10, [failure, failure, success])
    assert silences(instance, DEFINED, NOW) == {
        "looks": "the sensor looks has failed 3 times in a row: OSError: the disk is full"
    }


def test_a_daemon_without_a_sign_of_life_is_silent(instance) -> None:
    later = NOW + 3600
    names = set(instance.get_required_daemon_types())
    assert set(silences(instance, DEFINED, later)) == {f"daemon {name}" for name in names}
    for name in names - {"SCHEDULER"}:
        instance.add_daemon_heartbeat(DaemonHeartbeat(later, name, None, None))
    found = silences(instance, DEFINED, later)
    assert list(found) == ["daemon SCHEDULER"]
    assert "the daemon SCHEDULER has given no sign of life since 20" in found["daemon SCHEDULER"]


def evaluate(sensor, instance: dg.DagsterInstance, cursor: str | None):
    context = dg.build_sensor_context(instance, cursor, repository_def=REPOSITORY)
    result = sensor(context)
    return result, context.cursor


def test_silence_is_told_once_and_again_after_it_has_ended(instance, server: Server) -> None:
    add(instance, "looks", ago=3 * 3600)
    started = json.dumps({"last": NOW - 60, "since": NOW - 3600, "told": []})
    _, cursor = evaluate(alert_on_silence, instance, started)
    (content,) = server.posted
    assert content["kind"] == "silent sensor"
    assert content["name"] == "looks"
    assert content["text"].startswith("raw2rank: the sensor looks is on")
    _, cursor = evaluate(alert_on_silence, instance, cursor)
    assert len(server.posted) == 1
    assert json.loads(cursor)["told"] == ["looks"]


def test_sensors_are_given_time_after_a_start(instance, server: Server) -> None:
    add(instance, "looks", ago=3 * 3600)
    _, cursor = evaluate(alert_on_silence, instance, None)
    assert server.posted == []
    assert json.loads(cursor)["told"] == []


def test_a_daemon_that_was_away_is_told_when_it_is_back(instance, server: Server) -> None:
    add(instance, "looks", ago=3 * 3600)
    _, cursor = evaluate(alert_on_silence, instance, json.dumps({"last": NOW - 3 * 3600, "since": 0, "told": []}))
    (content,) = server.posted
    assert "the daemon was away for 3 hours" in content["text"]
    assert json.loads(cursor)["since"] >= NOW


def test_the_heartbeat_is_asked_for_at_every_tick(instance, server: Server, monkeypatch) -> None:
    monkeypatch.setenv(HEARTBEAT, f"{server.address}/beat/secret")
    _, cursor = evaluate(alert_on_silence, instance, None)
    evaluate(alert_on_silence, instance, cursor)
    assert server.asked == ["/beat/secret"] * 2
    monkeypatch.setenv(HEARTBEAT, f"{server.address}/unknown/secret")
    result, _ = evaluate(alert_on_silence, instance, cursor)
    assert result.skip_reason.skip_message == "the heartbeat address at 127.0.0.1 answered with 404"
    for address in ("file:///beat", "example.org/beat"):
        monkeypatch.setenv(HEARTBEAT, address)
        with pytest.raises(AlertError, match="RAW2RANK_HEARTBEAT is no address"):
            beat()


def test_nothing_is_told_or_looked_at_where_no_channel_is_configured(instance, server: Server, monkeypatch) -> None:
    monkeypatch.delenv(WEBHOOK)
    monkeypatch.setenv(HEARTBEAT, f"{server.address}/beat")
    for sensor in (alert_on_silence, alert_on_overdue):
        result, _ = evaluate(sensor, instance, None)
        assert result.skip_reason.skip_message == "neither RAW2RANK_WEBHOOK nor RAW2RANK_SMTP_URL is set"
    assert (server.posted, server.asked) == ([], [])


def land(instance: dg.DagsterInstance, dataset: str) -> None:
    instance.add_dynamic_partitions(datasets.name, [dataset])
    instance.report_runless_asset_event(dg.AssetMaterialization(["landing", "reviews"], partition=dataset))


def test_each_dataset_is_overdue_by_itself(instance) -> None:
    land(instance, "Beauty")
    land(instance, "Toys")
    known = ["Beauty", "Never_landed", "Toys"]
    hour = 3600
    assert overdue(instance, known, {"": 26.0}, NOW + 25 * hour) == {}
    assert set(overdue(instance, known, {"": 26.0}, NOW + 27 * hour)) == {"Beauty", "Toys"}
    assert set(overdue(instance, known, {"": 26.0, "Toys": 200.0}, NOW + 27 * hour)) == {"Beauty"}
    landed, text = overdue(instance, known, {"Toys": 26.0}, NOW + 27 * hour)["Toys"]
    assert landed == pytest.approx(NOW, abs=120)
    assert "no new data has landed since" in text
    assert "26 hours are allowed" in text


def test_an_overdue_dataset_is_told_once_and_again_after_new_data(instance, server: Server, monkeypatch) -> None:
    land(instance, "Beauty")
    monkeypatch.setenv(OVERDUE_HOURS, "26,Unknown=3")
    result, cursor = evaluate(alert_on_overdue, instance, None)
    assert server.posted == []
    assert result.skip_reason.skip_message == "RAW2RANK_OVERDUE_HOURS names Unknown, which is no dataset here"

    monkeypatch.setenv(OVERDUE_HOURS, "1e-9")
    _, cursor = evaluate(alert_on_overdue, instance, cursor)
    _, cursor = evaluate(alert_on_overdue, instance, cursor)
    (content,) = server.posted
    assert (content["kind"], content["dataset"]) == ("overdue dataset", "Beauty")
    land(instance, "Beauty")
    _, cursor = evaluate(alert_on_overdue, instance, cursor)
    assert len(server.posted) == 2


def test_hours_are_read_and_what_is_none_is_refused() -> None:
    assert read_hours("") == {}
    assert read_hours("26") == {"": 26.0}
    assert read_hours(" Beauty = 26 ,Toys=1.5, 100,") == {"Beauty": 26.0, "Toys": 1.5, "": 100.0}
    for text in ("a day", "Beauty", "=26", "Beauty=", "-1", "0", "nan", "inf", "1,2", "A=1,A=2"):
        with pytest.raises(ValueError, match="RAW2RANK_OVERDUE_HOURS"):
            read_hours(text)


def test_what_is_no_number_of_hours_fails_the_tick(instance, server: Server, monkeypatch) -> None:
    monkeypatch.setenv(OVERDUE_HOURS, "tomorrow")
    with pytest.raises(dg.Failure, match="'tomorrow' is no number of hours"):
        evaluate(alert_on_overdue, instance, None)


def test_durations_are_told_in_words() -> None:
    assert [in_words(60 * minutes) for minutes in (10, 119, 120, 47 * 60, 48 * 60)] == [
        *("10 minutes", "119 minutes", "2 hours", "47 hours", "2 days"),
    ]
