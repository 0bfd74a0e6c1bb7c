"""Which parameters of a test `make test` runs; `make test-slow` runs the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
