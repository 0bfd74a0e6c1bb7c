"""How many processors and how much memory this process may use.

A container or a service of systemd is limited by control groups (version 2), of which the figures of the machine say
nothing: a pod with two processors and 4 GB still sees all 64 and 256 GB of its node.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_NO_LIMIT = "max"


def processors() -> int:
    """Processors that this process may use, at least 1: those of its affinity, or fewer by a quota of time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for text in _limits("cpu.max"):
        quota, period = text.split()
        if quota != _NO_LIMIT:
            allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(1, allowed)


def memory_bytes() -> int:
    """Memory that this process may use: that of the machine, or less by a limit."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *(int(text) for text in _limits("memory.max") if text != _NO_LIMIT)])


def _limits(name: str) -> Iterator[str]:
    """Contents of a file of the control group of this process, and of all groups above it that can be seen."""
    try:
        groups = _OWN_GROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        # no Linux
        return
    # other lines are of version 1
    own = next((line.removeprefix("0::/") for line in groups if line.startswith("0::/")), "")
    # a container that sees the groups of the host by their names has its own at the root
    place = _GROUPS / own if ".." not in Path(own).parts else _GROUPS
    for group in (place, *place.parents):
        if group.is_relative_to(_GROUPS):
            try:
                yield (group / name).read_text(encoding="utf-8").strip()
            except OSError:
                # the root of a machine has no limits
                continue
