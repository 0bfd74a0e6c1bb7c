"""What tests cost: which parameters `make test` runs, and the seconds of processor that `make test-cost` prints."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import pytest


def others_slow(values: Mapping[str, Any] | Iterable[Any], *always: object) -> list:
    """Parameters of which some run always, the others with the slow tests.

    For a test that proves the same of each: those that run always are the cheapest that take another way through the
    code.

    Args:
        values: the values, or the values by their names.
        always: names, or values, of those that run always.
    """
    named = values.items() if isinstance(values, Mapping) else ((value, value) for value in values)
    parameters = [
        pytest.param(value, id=str(name), marks=() if name in always else pytest.mark.slow) for name, value in named
    ]
    assert len([parameter for parameter in parameters if not parameter.marks]) == len(always), always
    return parameters


def processor() -> tuple[float, float]:
    """Seconds of processor of this process, and of those that it has started and that have ended."""
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


class Costs:
    """A plugin of pytest: measures each test with its fixtures, and prints sums and the most expensive ones."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.found: dict[str, tuple[float, float, float]] = {}
        self.collected = 0.0

    def pytest_collection_finish(self) -> None:
        self.collected = sum(processor())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        before, began = processor(), time.monotonic()
        result = yield
        own, others = (after - then for after, then in zip(processor(), before, strict=True))
        self.found[item.nodeid] = own + others, others, time.monotonic() - began
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("seconds of processor, those of processes that were started, seconds")
        terminalreporter.write_line(f"{self.collected:8.1f} to import and collect")
        for name in (folder_of, file_of, str):
            sums: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
            for test, cost in self.found.items():
                sums[name(test)].append(cost)
            rows = sorted(([sum(part) for part in zip(*costs, strict=True)], row) for row, costs in sums.items())
            for cost, row in reversed(rows[-self.lines :]):
                terminalreporter.write_line("".join(f"{seconds:8.1f}" for seconds in cost) + f"  {row}")
            terminalreporter.write_line("")


def folder_of(test: str) -> str:
    return file_of(test).rpartition("/")[0]


def file_of(test: str) -> str:
    return test.split("::")[0]
