"""The load generator of the benchmark of the service counts the wait of those who ask while the server hesitates."""

import asyncio
import time

import pytest

from benchmarks import open_loop
from benchmarks.service import read_wrk

PAUSE = 0.4


class Server:
    """Answers at once, but for one pause in which it answers nobody; names another release afterwards."""

    def __init__(self, pauses_at: int) -> None:
        self.asked, self.pauses_at = 0, pauses_at

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
                self.asked += 1
                if self.asked == self.pauses_at:
                    time.sleep(PAUSE)
                release = "first" if self.asked < self.pauses_at else "second"
                status = {1: "503 Service Unavailable", 2: "500 Internal Server Error"}.get(self.asked, "200 OK")
                body = f'{{"release":"{release}"}}'
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        except asyncio.IncompleteReadError:
            writer.close()


def test_requests_that_were_due_in_a_pause_are_counted_with_their_wait() -> None:
    async def measured() -> open_loop.Result:
        server = await asyncio.start_server(Server(pauses_at=50), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plan = {"host": "127.0.0.1", "port": port, "rate": 200, "seconds": 1, "paths": ["/"], "bodies": ["{}"]}
        try:
            return await open_loop.run(plan)
        finally:
            server.close()

    found = open_loop.summary(asyncio.run(measured()))
    assert found["requests"] == 200
    assert (found["refused"], found["failed"], found["statuses"]) == (1, 1, {"200": 198, "500": 1, "503": 1})
    assert (found["releases"], found["turns"]) == (2, 1)
    assert found["max"] >= 1000 * PAUSE
    # at 200 a second, 80 came due in the pause, and waited for its half on average
    assert found["p90"] > 1000 * PAUSE / 2


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [open_loop.percentile(values, share) for share in (0.5, 0.99, 0.999, 1)] == [50, 99, 100, 100]
    assert open_loop.percentile([3.0], 0.5) == 3


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (
            "     50%  950.00us\n     99%    1.20s\nRequests/sec:    412.3\n",
            {"failed": 0, "rate": 412.3, "p50": 0.95, "p99": 1200},
        ),
        ("  Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 4\n", {"failed": 7}),
    ],
)
def test_what_wrk_prints_is_read(printed: str, expected: dict) -> None:
    assert read_wrk(printed) == pytest.approx(expected)
