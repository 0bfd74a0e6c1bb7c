"""A server of a language model on this machine, which can be told to misbehave."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def backwards(prompt: str) -> str:
    """The answer of a model that ranks the candidates from the last to the first."""
    return "\n".join(reversed(re.findall(r"^\[\d+\]", prompt, re.MULTILINE)))


@dataclass
class Reply:
    """What a server answers: a status, headers, a body, and how long it waits before."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0


def completion(text: str | None, usage: Any = None) -> Reply:
    """A reply as an OpenAI-compatible server gives it."""
    body: dict[str, Any] = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    return Reply(body if usage is None else {**body, "usage": usage})


@dataclass
class Server:
    """A server on 127.0.0.1.

    Attributes:
        url: address of its API.
        replies: given one after the other; then ``always`` answers.
        always: the answer to a prompt.
        requests: headers and bodies of all requests so far.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    always: Callable[[str], Reply] = lambda prompt: completion(
        backwards(prompt), {"prompt_tokens": 100, "completion_tokens": 10}
    )
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply_to(self, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        with self.lock:
            self.requests.append((headers, body))
            if self.replies:
                return self.replies.pop(0)
        return self.always(body["messages"][0]["content"])


@contextmanager
def serve() -> Iterator[Server]:
    """A server while the block runs."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = (
                server.reply_to(dict(self.headers), body)
                if self.path == "/v1/chat/completions"
                else Reply({"error": {"message": "no such path"}}, 404)
            )
            time.sleep(found.wait)
            sent = found.body if isinstance(found.body, bytes) else json.dumps(found.body).encode()
            try:
                self.send_response(found.status)
                for name, value in {"Content-Length": str(len(sent)), **found.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing: a test prints no requests."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
