"""``make ui``: the Dagster UI on 127.0.0.1, on the definitions and the storage of ``make run``.

The web server of Dagster runs in this process behind :mod:`orchestration.webserver.guard`, with the reports beside it;
the daemon, which evaluates schedules and sensors, in a process of its own. Both ask one process that holds the
definitions, as under ``dagster dev``. With ``--code-server`` that process and the daemon run elsewhere
(``deploy/compose.yaml``), and only the web server is started.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orchestration.commands.listening import PortTaken, listen, url_of
from orchestration.exits import EXIT_FAILED, ends_plainly

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
MODULE = "orchestration.definitions"
LOCATION = "raw2rank"
TOKEN_VARIABLE = "RAW2RANK_UI_TOKEN"
_SHORTEST_TOKEN = 16
_SECONDS_TO_END = 30


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from orchestration.options import Parser, as_type, switch, whole_number

    parser = Parser(prog="make ui", description=__doc__)
    parser.add_argument("--port", type=as_type(whole_number), default=3000, help="port to serve on; 0 for any free one")
    parser.add_switch("--no-token", "ask for no token: whoever can reach the port of this machine may then launch runs")
    parser.add_argument(
        "--token",
        dest="no_token",
        type=as_type(lambda text: not switch(text)),
        help="whether to ask for a token",
    )
    parser.add_argument(
        "--address", default=HOST, help="address to listen on; one that other machines can reach requires the token"
    )
    parser.add_argument(
        "--names", default="", help="further names that the UI is called by, as of a proxy; separated by commas"
    )
    parser.add_argument(
        "--code-server",
        type=as_type(code_server),
        metavar="HOST:PORT",
        help="the code server of a deployment, which has a daemon too; neither is started here then",
    )
    return parser.parse_args(arguments)


def code_server(text: str) -> tuple[str, int]:
    """Host and port of a code server.

    Raises:
        ValueError: the text does not name both.
    """
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port and parts.netloc == text and not parts.username:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no code server: name its host and port, as in 127.0.0.1:4000")


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    chosen = parse(arguments)
    from orchestration.commands.console import problem, say
    from orchestration.commands.run import _instance
    from orchestration.paths import REPOSITORY, Workspace

    workspace = Workspace.current()
    token = None if chosen.no_token else os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
    if token is not None and len(token) < _SHORTEST_TOKEN:
        problem(f"{TOKEN_VARIABLE} has {len(token)} characters, {_SHORTEST_TOKEN} are the least: take a longer one")
        return EXIT_FAILED
    if token is None and not _is_loopback(chosen.address):
        problem(
            f"{chosen.address} can be reached from other machines, whose users could launch runs without a token: "
            f"leave the token on, or listen on {HOST}"
        )
        return EXIT_FAILED
    try:
        listener = listen(chosen.port, chosen.address, "make ui PORT=3001")
    except PortTaken as error:
        problem(str(error))
        return EXIT_FAILED
    with listener:
        # its storage is made here, once: the processes below would do so all at the same time
        _instance(workspace).dispose()
        os.chdir(REPOSITORY)
        os.environ |= {
            "DAGSTER_HOME": str(workspace.dagster_home),
            "RAW2RANK_HOME": str(workspace.home),
            "DAGSTER_IS_DEV_CLI": "1",
            # steps started from the UI find dbt beside this Python
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        port = listener.getsockname()[1]
        # a token of one's own is not repeated, since what a service prints is kept in logs
        shown = f"?token={token}" if token and not os.environ.get(TOKEN_VARIABLE) else ""
        say(f"raw2rank: starting the UI on the workspace {workspace.home}")
        services = _services(workspace) if chosen.code_server is None else _deployed(workspace, *chosen.code_server)
        names = [name.strip() for name in chosen.names.split(",") if name.strip()]
        with services as (context, daemon):
            say(f"raw2rank: {url_of(chosen.address, port)}/{shown}")
            return _serve(guarded_app(context, workspace, token, port, names), listener, daemon)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def guarded_app(context: Any, workspace: Any, token: str | None, port: int, names: Sequence[str] = ()) -> ASGIApp:
    """The Dagster web server with the report pages, behind the guard.

    Args:
        context: of Dagster's web server, which knows the definitions (``WorkspaceProcessContext``).
        workspace: whose reports and Data Docs are served.
        token: see :class:`orchestration.webserver.guard.Guard`.
        port: that it is served on, which the name of the cookie holds.
        names: further names that the server is called by, beside those of the loopback.
    """
    from dagster_webserver.app import create_app_from_workspace_process_context

    from orchestration.webserver.guard import LOOPBACK, Guard
    from orchestration.webserver.pages import routes

    app = create_app_from_workspace_process_context(context, live_data_poll_rate=2000)
    # before Dagster's own, of which the last takes every path
    app.router.routes[:0] = routes(workspace)
    return Guard(app, token, hosts=(*LOOPBACK, *names), cookie=f"raw2rank-{port}")


@contextmanager
def _services(workspace: Any) -> Iterator[tuple[Any, subprocess.Popen]]:
    """The services of the web server: its context, with a process that serves the definitions, and the daemon."""
    import dagster as dg
    import yaml
    from dagster_webserver.version import __version__

    from orchestration.dagster_internals import (
        ModuleTarget,
        ProxyServerManager,
        WorkspaceFileTarget,
        WorkspaceProcessContext,
        serialize_value,
    )
    from orchestration.execution.dagster_sqlite import reference_for_services

    reference = reference_for_services(workspace.dagster_home)
    module = ModuleTarget(MODULE, attribute=None, working_directory=os.getcwd(), location_name=None)
    with (
        dg.DagsterInstance.from_ref(reference) as instance,
        ProxyServerManager(instance, module, code_server_log_level="warning") as servers,
        tempfile.TemporaryDirectory(prefix="raw2rank-") as folder,
    ):
        file = Path(folder) / "workspace.yaml"
        file.write_text(yaml.dump({"load_from": list(servers.get_code_server_specs())}))
        command = [sys.executable, "-m", "dagster._daemon", "run", "--log-level", "warning", "-w", str(file)]
        with _ended(subprocess.Popen([*command, "--instance-ref", serialize_value(instance.get_ref())])) as daemon:
            instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
            with WorkspaceProcessContext(
                instance,
                version=__version__,
                workspace_load_target=WorkspaceFileTarget([str(file)]),
                code_server_log_level="warning",
            ) as context:
                yield context, daemon


@contextmanager
def _deployed(workspace: Any, host: str, port: int) -> Iterator[tuple[Any, None]]:
    """The context of the web server on a code server that is running; a daemon runs beside it."""
    import dagster as dg
    import yaml
    from dagster_webserver.version import __version__

    from orchestration.dagster_internals import WorkspaceFileTarget, WorkspaceProcessContext
    from orchestration.execution.dagster_sqlite import reference_for_services

    server = {"host": host, "port": port, "location_name": LOCATION}
    with (
        dg.DagsterInstance.from_ref(reference_for_services(workspace.dagster_home)) as instance,
        tempfile.TemporaryDirectory(prefix="raw2rank-") as folder,
    ):
        file = Path(folder) / "workspace.yaml"
        file.write_text(yaml.dump({"load_from": [{"grpc_server": server}]}))
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        with WorkspaceProcessContext(
            instance, version=__version__, workspace_load_target=WorkspaceFileTarget([str(file)])
        ) as context:
            yield context, None


@contextmanager
def _ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """End a process with the block."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(app: ASGIApp, listener: socket.socket, daemon: subprocess.Popen | None) -> int:
    """Serve until Ctrl-C or SIGTERM (0), or until the daemon, where one was started, has ended (1)."""
    import uvicorn

    from orchestration.commands.console import problem

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=2))
    over, left_alone = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(2):
            if daemon is not None and daemon.poll() is not None and not server.should_exit:
                left_alone.set()
                server.should_exit = True

    if daemon is not None:
        threading.Thread(target=watch, daemon=True).start()
    # uvicorn ends in order and then raises the signal once more
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    over.set()
    if daemon is not None and left_alone.is_set():
        problem(f"Dagster's daemon has ended with exit code {daemon.returncode}; start the UI again")
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
