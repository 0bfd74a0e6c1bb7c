"""``make serve``: the release in charge of a dataset behind HTTP, on 127.0.0.1.

The next release takes its place as soon as it is promoted, without a request that waits or fails. ``BUNDLE=folder``
serves a bundle that lies elsewhere, such as a copy on another machine. Nobody is asked who they are: put a proxy in
front of it that does, before you let others reach it (``HOST``).
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
from contextlib import suppress
from pathlib import Path

from orchestration.commands.listening import PortTaken, listen, url_of
from orchestration.exits import EXIT_FAILED, ends_plainly

HOST = "127.0.0.1"
# how often the place of the release is looked at, and how long requests may go on after SIGTERM
_SECONDS, _SECONDS_TO_END = 1.0, 30
# after which a thread that waits for the interpreter is given it; Python's own 5 ms would be added to answers of 2 ms
_SWITCH_SECONDS = 0.001


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    from ml.service.limits import Limits
    from orchestration.options import Parser, as_type, not_empty, path, whole_number

    parser = Parser(prog="make serve", description=__doc__)
    parser.add_argument("--dataset", default="Demo", help="name of the dataset whose champion is served")
    parser.add_argument("--bundle", type=as_type(path), help="folder of a bundle, in place of a dataset")
    parser.add_argument(
        "--host",
        type=as_type(not_empty),
        default=HOST,
        help="address to serve on; one of other machines takes any name",
    )
    parser.add_argument("--port", type=as_type(whole_number), default=8000, help="port to serve on; 0 for any free one")
    parser.add_argument(
        "--threads", type=as_type(whole_number), help="threads that compute; one a core where not given"
    )
    parser.add_argument(
        "--waiting",
        type=as_type(whole_number),
        default=Limits.waiting,
        help="requests that may wait for a thread; more are refused with status 503",
    )
    return parser.parse_args(arguments)


@ends_plainly
def main(arguments: list[str] | None = None) -> int:
    """0 where it was ended, by Ctrl-C or SIGTERM, after the last request was answered."""
    chosen = parse(arguments)
    from ml.extras import MissingExtra, require
    from ml.release.bundle import BundleError
    from orchestration.commands.console import problem, say
    from orchestration.paths import Workspace, check_dataset_name

    try:
        require("serve", "make serve")
        if chosen.threads is not None and chosen.threads < 1:
            raise ValueError(f"THREADS must be at least 1, not {chosen.threads}")
        if chosen.waiting < 0:
            raise ValueError(f"WAITING must be at least 0, not {chosen.waiting}")
        place = chosen.bundle or Workspace.current().dataset(check_dataset_name(chosen.dataset)).champion
        if chosen.bundle is None and not place.exists():
            raise ValueError(
                f"{chosen.dataset} has no champion: make run DATASET={chosen.dataset} makes a candidate and a decision "
                f"on it, and make promote DATASET={chosen.dataset} puts it in charge by hand"
            )
        served = _served(place)
    except (BundleError, ValueError, MissingExtra) as error:
        problem(str(error))
        return EXIT_FAILED
    try:
        listener = listen(chosen.port, chosen.host, "make serve PORT=8001")
    except PortTaken as error:
        problem(str(error))
        return EXIT_FAILED
    with listener:
        address = url_of(chosen.host, listener.getsockname()[1])
        say(f"raw2rank: {served.current.bundle.title}, release {served.current.release}: {address}/model")
        return _serve(served, listener, chosen)


def _served(place: Path):
    """The release at a place, each of its answers computed by one thread."""
    from importlib.util import find_spec

    from ml.service.figures import Figures
    from ml.service.served import Served

    sys.setswitchinterval(_SWITCH_SECONDS)
    if find_spec("torch"):
        import torch

        # requests run side by side; threads within one would only wait for one another
        torch.set_num_threads(1)
    # what was imported stays, so that looking for garbage is looking through what requests and releases left
    gc.collect()
    gc.freeze()
    return Served(place, Figures())


def _serve(served, listener: socket.socket, chosen: argparse.Namespace) -> int:
    import uvicorn

    from ml.limits import processors
    from ml.service.app import create_app
    from ml.service.limits import Limits
    from orchestration.webserver.guard import LOOPBACK

    # a page in a browser may not reach it under a name of its own (DNS rebinding)
    hosts = (*LOOPBACK, "[::1]") if chosen.host in LOOPBACK else ("*",)
    threads = chosen.threads or processors()
    config = uvicorn.Config(
        create_app(served, Limits(waiting=chosen.waiting), threads, hosts),
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    served.watch(_SECONDS)
    # uvicorn ends in order and then raises the signal once more
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    served.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
