"""The files of ``deploy/``: that they agree with each other, and on a real PostgreSQL what they are for.

The services of ``compose.yaml`` are started by their own commands, on this machine instead of in containers.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
import yaml
from workbench import write_small_dump

from orchestration.commands import ui
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.partitions import PARTITION_NAME_TAG, datasets

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
CONFIGURATIONS = ("dagster.yaml", "dagster-sqlite.yaml")
TOKEN = "a-token-of-this-test-alone"
LONGEST = 240.0
SECONDS_TO_END = 20


def test_the_services_are_reached_from_this_machine_alone() -> None:
    published = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert published.pop("webserver") == ["127.0.0.1:3000:3000"]
    assert not any(published.values())


def test_every_variable_has_a_line_in_the_example() -> None:
    named = {line.partition("=")[0] for line in (DEPLOY / "example.env").read_text().splitlines() if "=" in line}
    named = {name for name in named if name.isupper()}
    text = (DEPLOY / "compose.yaml").read_text()
    asked = {part.partition("}")[0].partition(":")[0] for part in text.split("${")[1:]}
    assert named == asked
    for name in ("POSTGRES_PASSWORD", "RAW2RANK_UI_TOKEN"):
        assert f"${{{name}:?" in text, f"{name} has no value to fall back on"


def test_the_daemon_asks_the_code_location_where_it_is() -> None:
    command = COMPOSE["services"]["code"]["command"]
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    assert server == {"host": "code", "port": int(command[command.index("--port") + 1]), "location_name": ui.LOCATION}
    assert command[command.index("--module-name") + 1] == ui.MODULE
    assert "--code-server=code:4000" in COMPOSE["services"]["webserver"]["command"]


def test_the_two_configurations_differ_by_the_storage_alone() -> None:
    postgres, sqlite = (yaml.safe_load((DEPLOY / name).read_text()) for name in CONFIGURATIONS)
    assert postgres.pop("storage") == {"postgres": {"postgres_url": {"env": "RAW2RANK_POSTGRES_URL"}}}
    assert postgres == sqlite


def test_one_run_of_a_dataset_and_two_in_all(tmp_path: Path) -> None:
    shutil.copyfile(DEPLOY / "dagster-sqlite.yaml", tmp_path / "dagster.yaml")
    with open_instance(tmp_path) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 2
        (limit,) = queue.tag_concurrency_limits
        assert (limit["key"], limit["limit"]) == (PARTITION_NAME_TAG, 1)
        assert limit["value"] == {"applyLimitPerUniqueValue": True}
        assert instance.run_monitoring_enabled


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "raw2rank.service").read_text()
    # the program is not installed at its place here
    unit = tmp_path / "raw2rank.service"
    unit.write_text(text.replace("/opt/raw2rank/bin/raw2rank", "/bin/true"))
    verified = subprocess.run([analyse, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert "raw2rank.service" not in verified.stderr, verified.stderr


def test_without_a_token_the_ui_listens_on_this_machine_alone(capsys, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    assert ui.main(["--address=0.0.0.0", "--no-token"]) != 0
    assert "0.0.0.0 can be reached from other machines" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["code", "code:", ":4000", "code:no", "http://code:4000", "code:4000/x", "a@code:4000"]
)
def test_what_is_no_code_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no code server: name its host and port"):
        ui.code_server(text)


def test_a_code_server_is_read() -> None:
    assert ui.code_server("code:4000") == ("code", 4000)
    assert ui.code_server("[::1]:4000") == ("::1", 4000)


def postgres_programs() -> Path | None:
    """Folder of PostgreSQL's programs; those of Debian are in no PATH."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [shutil.which("initdb")])]
    return Path(found[-1]).resolve().parent if found else None


@pytest.fixture
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of this test, on a socket in a folder."""
    if find_spec("dagster_postgres") is None:
        pytest.skip("dagster-postgres is not installed (extra postgres)")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder = Path(tmp_path_factory.mktemp("pg"))
    with ExitStack() as stack:
        # it refuses to run as root
        as_user: dict = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            # of the folders above, pytest lets nobody else in
            folder = Path(stack.enter_context(_folder_for(nobody.pw_uid)))
        data = folder / "data"
        made = subprocess.run(
            [programs / "initdb", "-D", data, "-U", "raw2rank", "-A", "trust", "-N", "-E", "UTF8"],
            capture_output=True,
            text=True,
            cwd="/",
            **as_user,
        )
        assert made.returncode == 0, made.stderr
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-F"],
                stdout=log,
                stderr=log,
                cwd="/",
                **as_user,
            )
        stack.callback(server.wait)
        stack.callback(server.send_signal, signal.SIGINT)
        create = [programs / "createdb", "-h", folder, "-U", "raw2rank", "raw2rank"]
        wait_until(lambda: subprocess.run(create, capture_output=True).returncode == 0, "PostgreSQL", folder / "log")
        yield f"postgresql+psycopg2://raw2rank@/raw2rank?host={folder}"


@contextmanager
def _folder_for(user: int) -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="raw2rank-pg-", dir="/tmp") as folder:
        os.chown(folder, user, -1)
        yield folder


def wait_until(is_so: Callable[[], bool], what: str, log: Path | None = None) -> None:
    until = time.monotonic() + LONGEST
    while not is_so():
        assert time.monotonic() < until, f"{what}: not after {LONGEST} s\n{log.read_text()[-4000:] if log else ''}"
        time.sleep(0.2)


def end(process: subprocess.Popen) -> None:
    """End a service and what it has started; killed where it does not end by itself, as Compose does."""
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port: int, query: str, variables: dict | None = None) -> dict:
    """An answer of the web server to GraphQL."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables or {}}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def answers(port: int) -> bool:
    try:
        found = ask(port, "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return bool(found["data"]["repositoriesOrError"].get("nodes"))


LAUNCH = """
mutation Launch($dataset: String!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: "raw2rank", repositoryName: "__repository__", jobName: "data"}
    mode: "default"
    executionMetadata: {tags: [{key: "dagster/partition", value: $dataset}]}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""


@pytest.mark.slow
def test_two_datasets_are_refreshed_at_once_on_postgres(postgres_url: str, tmp_path: Path, monkeypatch) -> None:
    home, names = tmp_path / "workspace", ("Beauty", "Toys")
    for name in names:
        write_small_dump(home / "landing" / name, name)
    (home / "dagster").mkdir()
    shutil.copyfile(DEPLOY / "dagster.yaml", home / "dagster" / "dagster.yaml")
    code_port, ui_port = free_port(), free_port()
    workspace = tmp_path / "workspace.yaml"
    text = (DEPLOY / "workspace.yaml").read_text()
    workspace.write_text(text.replace("host: code", "host: 127.0.0.1").replace("4000", str(code_port)))

    environment = {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        "RAW2RANK_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "RAW2RANK_POSTGRES_URL": postgres_url,
        "RAW2RANK_UI_TOKEN": TOKEN,
        "PYTHONPATH": str(DEPLOY.parent),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for name in ("RAW2RANK_HOME", "DAGSTER_HOME", "RAW2RANK_POSTGRES_URL"):
        monkeypatch.setenv(name, environment[name])

    def command(service: str) -> list[str]:
        """The command of a service, with this machine's addresses, by the Python that runs the tests."""
        program, *given = COMPOSE["services"][service]["command"]
        module = {
            "dagster": ["-m", "dagster"],
            "dagster-daemon": ["-m", "dagster._daemon"],
            "raw2rank": ["-m", "orchestration.commands.main"],
        }[program]
        here = {
            "0.0.0.0": "127.0.0.1",
            "4000": str(code_port),
            "/etc/raw2rank/workspace.yaml": str(workspace),
            "--address=0.0.0.0": "--address=127.0.0.1",
            "--port=3000": f"--port={ui_port}",
            "--code-server=code:4000": f"--code-server=127.0.0.1:{code_port}",
            "--names=${RAW2RANK_UI_NAMES:-}": "--names=",
        }
        return [sys.executable, *module, *(here.get(part, part) for part in given)]

    with ExitStack() as stack:
        logs = {}
        for service in ("code", "webserver", "daemon"):
            logs[service] = tmp_path / f"{service}.log"
            log = stack.enter_context(logs[service].open("w"))
            process = subprocess.Popen(
                command(service), env=environment, stdout=log, stderr=log, cwd=DEPLOY.parent, start_new_session=True
            )
            stack.callback(end, process)
            if service == "webserver":
                up = lambda server=process: server.poll() is not None or answers(ui_port)  # noqa: E731
                wait_until(up, "the web server answers", logs["webserver"])
                assert process.poll() is None, logs["webserver"].read_text()

        with dg.DagsterInstance.get() as instance:
            assert type(instance.event_log_storage).__module__.startswith("dagster_postgres")
            # the sensor register_landed, which is on, makes them known
            known = lambda: set(instance.get_dynamic_partitions(datasets.name)) == set(names)  # noqa: E731
            wait_until(known, "the datasets are registered", logs["daemon"])
            launched = []
            # one of Beauty waits in the queue, and the one of Toys behind it does not wait for it
            for name in ("Beauty", "Beauty", "Toys"):
                answer = ask(ui_port, LAUNCH, {"dataset": name})["data"]["launchRun"]
                assert answer["__typename"] == "LaunchRunSuccess", answer
                launched.append(answer["run"]["runId"])
            ended = lambda: all(instance.get_run_by_id(run).is_finished for run in launched)  # noqa: E731
            wait_until(ended, "the runs end", logs["code"])
            first, second, other = (instance.get_run_record_by_id(run) for run in launched)
            for record in (first, second, other):
                assert record.dagster_run.status == dg.DagsterRunStatus.SUCCESS, logs["code"].read_text()[-4000:]
            assert max(first.start_time, other.start_time) < min(first.end_time, other.end_time), "both at once"
            assert first.end_time <= second.start_time or second.end_time <= first.start_time, "one after the other"
    for name in names:
        assert (home / "lake" / name / "marts" / "interactions.parquet").is_file()
    assert not list((home / "dagster").rglob("*.db")), "nothing is kept in SQLite"
    assert TOKEN not in logs["webserver"].read_text()

    # the commands use the same storage, and find that all is up to date
    check = [sys.executable, "-m", "orchestration.commands.check_data", "--dataset=Toys"]
    checked = subprocess.run(check, env=environment, capture_output=True, text=True, cwd=DEPLOY.parent)
    assert checked.returncode == 0, checked.stdout + checked.stderr
