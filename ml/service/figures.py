"""Counters and a histogram in the text format of Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4. A metric that is not there yet is 0.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# upper bounds in seconds; the last bucket takes the rest
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Figures:
    """What a service has done since it started. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._totals: Counter[str] = Counter()

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            path: of the route, not of the request: few values.
            status: of HTTP.
            seconds: until the answer began.
        """
        with self._lock:
            self._requests[path, status] += 1
            self._buckets[bisect_left(_BUCKETS, seconds)] += 1
            self._seconds += seconds

    def add(self, total: str, count: int) -> None:
        """Add to a total: ``histories``, ``skipped_items``, ``exchanges`` or ``refused_exchanges``."""
        with self._lock:
            self._totals[total] += count

    def text(self, release: str, items: int, waiting: int) -> str:
        """All figures.

        Args:
            release: digest of the release that is served.
            items: size of its catalogue.
            waiting: requests that wait until an answer can be computed.
        """
        with self._lock:
            requests, buckets = dict(self._requests), list(self._buckets)
            seconds, totals = self._seconds, dict(self._totals)
        lines = [
            "# HELP raw2rank_requests_total Requests by route and status.",
            "# TYPE raw2rank_requests_total counter",
        ]
        for (path, status), count in sorted(requests.items()):
            lines.append(f'raw2rank_requests_total{{path="{_escaped(path)}",status="{status}"}} {count}')
        lines += [
            "# HELP raw2rank_request_seconds Seconds until an answer began.",
            "# TYPE raw2rank_request_seconds histogram",
        ]
        cumulative = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), buckets, strict=True):
            cumulative += count
            lines.append(f'raw2rank_request_seconds_bucket{{le="{bound}"}} {cumulative}')
        lines += [f"raw2rank_request_seconds_sum {seconds:.6f}", f"raw2rank_request_seconds_count {cumulative}"]
        for name, help_ in (
            ("histories", "Histories that were answered."),
            ("skipped_items", "Items of histories that the catalogue does not hold."),
            ("exchanges", "Releases that replaced the one before."),
            ("refused_exchanges", "Releases that could not be loaded; the one before stayed."),
        ):
            lines += [
                f"# HELP raw2rank_{name}_total {help_}",
                f"# TYPE raw2rank_{name}_total counter",
                f"raw2rank_{name}_total {totals.get(name, 0)}",
            ]
        lines += [
            "# HELP raw2rank_release_items Size of the catalogue of the release that is served.",
            "# TYPE raw2rank_release_items gauge",
            f'raw2rank_release_items{{release="{_escaped(release)}"}} {items}',
            "# HELP raw2rank_waiting_requests Requests that wait until an answer can be computed.",
            "# TYPE raw2rank_waiting_requests gauge",
            f"raw2rank_waiting_requests {waiting}",
        ]
        return "\n".join(lines) + "\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
