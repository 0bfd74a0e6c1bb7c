"""Requests at a constant rate, each sent at its time whether the ones before were answered or not (an open loop).

    python -m benchmarks.open_loop < plan.json

Latency counts from the time at which a request was to be sent. A client that waits for an answer before it asks again
sends less while the server hesitates, and leaves out of its figures those who would have had to wait then (coordinated
omission); here they are counted. A late sender counts against the server too, so the client writes what is sent
beforehand, and says how late it was at most.

The plan, as JSON: ``host``, ``port``, ``rate`` (requests a second), ``seconds``, ``paths`` and ``bodies`` (of requests,
which take turns; an empty body is a GET). Printed, as JSON: see :func:`run`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

# connections that are opened before the first request, and as many as there may ever be: what is due then waits
CONNECTIONS, MOST_CONNECTIONS = 8, 256
ANSWERED, REFUSED = 200, 503
SECONDS_TO_END = 60


@dataclass
class Result:
    """What became of the requests.

    Attributes:
        milliseconds: of each request with status 200, from the time it was to be sent.
        statuses: how often each came; 0 for an answer that did not come whole.
        releases: that answers name, in the order of their first answer.
        turns: how often an answer named another release than the answer that came before it.
        late: milliseconds that the client was late at most.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    releases: list[str] = field(default_factory=list)
    turns: int = 0
    late: float = 0.0
    seconds: float = 0.0
    last: str = ""

    @property
    def requests(self) -> int:
        """Answered, refused, or given up."""
        return sum(self.statuses.values())

    def add(self, milliseconds: float, status: int, release: str) -> None:
        if status == ANSWERED:
            self.milliseconds.append(milliseconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if release and release != self.last:
            self.turns += bool(self.last)
            self.last = release
            if release not in self.releases:
                self.releases.append(release)


class Connection(asyncio.Protocol):
    """One connection, which has at most one request on its way."""

    def __init__(self, free: deque[Connection], waiting: deque[tuple[bytes, float]], result: Result) -> None:
        self.free, self.waiting, self.result = free, waiting, result
        self.transport: asyncio.Transport | None = None
        self.received = bytearray()
        self.due = 0.0
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes, due: float) -> None:
        assert self.transport is not None
        self.due, self.is_busy = due, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.received[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.received) < end + 4 + length:
            return
        body = bytes(self.received[end + 4 : end + 4 + length])
        self.received.clear()
        self.is_busy = False
        self.result.add(1000 * (time.perf_counter() - self.due), int(head[9:12]), _release(body))
        if self.waiting:
            self.ask(*self.waiting.popleft())
        else:
            self.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self.is_busy:
            self.is_busy = False
            self.result.add(1000 * (time.perf_counter() - self.due), 0, "")
        elif self in self.free:
            self.free.remove(self)


def _release(body: bytes) -> str:
    """What an answer says of the release that gave it."""
    at = body.find(b'"release":"')
    return "" if at < 0 else body[at + 11 : body.find(b'"', at + 11)].decode()


def _request(plan: dict[str, Any], path: str, body: str) -> bytes:
    encoded = body.encode()
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {plan['host']}:{plan['port']}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(encoded)}\r\n"
    return head.encode() + b"\r\n" + encoded


async def run(plan: dict[str, Any]) -> Result:
    """Send the requests of a plan."""
    loop = asyncio.get_running_loop()
    result = Result()
    free: deque[Connection] = deque()
    waiting: deque[tuple[bytes, float]] = deque()
    connections: list[Connection] = []

    async def connect() -> Connection:
        _, made = await loop.create_connection(lambda: Connection(free, waiting, result), plan["host"], plan["port"])
        connections.append(made)
        return made

    for _ in range(CONNECTIONS):
        free.append(await connect())
    requests = [_request(plan, path, body) for path, body in zip(plan["paths"], plan["bodies"], strict=True)]
    total = round(plan["rate"] * plan["seconds"])
    sending: set[asyncio.Task[None]] = set()

    async def on_another(request: bytes, due: float) -> None:
        (await connect()).ask(request, due)

    began = time.perf_counter() + 0.05
    for number in range(total):
        due = began + number / plan["rate"]
        # answers are read while it sleeps: also where it is late
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        result.late = max(result.late, 1000 * (time.perf_counter() - due))
        request = requests[number % len(requests)]
        if free:
            free.popleft().ask(request, due)
        elif len(connections) + len(sending) < MOST_CONNECTIONS:
            task = asyncio.create_task(on_another(request, due))
            sending.add(task)
            task.add_done_callback(sending.discard)
        else:
            waiting.append((request, due))
    until = time.perf_counter() + SECONDS_TO_END
    while result.requests < total and time.perf_counter() < until:
        await asyncio.sleep(0.005)
    result.seconds = time.perf_counter() - began
    for _ in range(total - result.requests):
        result.add(1000 * SECONDS_TO_END, 0, "")
    for connection in connections:
        connection.is_busy = False
        assert connection.transport is not None
        connection.transport.abort()
    return result


def percentile(values: list[float], share: float) -> float:
    """The least of the values that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(result: Result) -> dict[str, Any]:
    """Figures of a result; milliseconds are of what was answered."""
    found = result.milliseconds or [math.nan]
    refused = result.statuses.get(REFUSED, 0)
    return {
        "requests": result.requests,
        "refused": refused,
        "failed": result.requests - len(result.milliseconds) - refused,
        "statuses": {str(status): count for status, count in sorted(result.statuses.items())},
        "rate": len(result.milliseconds) / result.seconds,
        **{f"p{100 * share:g}": percentile(found, share) for share in (0.5, 0.9, 0.99, 0.999)},
        "max": max(found),
        "releases": len(result.releases),
        "turns": result.turns,
        "client_late": result.late,
    }


if __name__ == "__main__":
    # a collection of garbage would be a pause of the client
    gc.disable()
    print(json.dumps(summary(asyncio.run(run(json.load(sys.stdin))))))
