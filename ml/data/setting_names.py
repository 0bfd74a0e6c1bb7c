"""Settings that were renamed: files and commands that use an old name are still understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# new name by old name
RENAMED = {"least_rating": "min_rating", "minimum_history": "min_history"}


def by_new_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under their present names; ``None`` counts as not given.

    Raises:
        ValueError: a setting is given by its old and its new name with different values.

    >>> by_new_name({"k_core": 5, "least_rating": 4.0})
    {'k_core': 5, 'min_rating': 4.0}
    """
    renamed = {name: value for name, value in values.items() if name not in RENAMED}
    for old, new in RENAMED.items():
        value = values.get(old)
        if value is None:
            continue
        if renamed.get(new) not in (None, value):
            raise ValueError(f"{old}={value} and {new}={renamed[new]} are the same setting: give {new} alone")
        renamed[new] = value
    return renamed


def by_first_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names that they were introduced with, so that a digest of them does not change with a name.

    >>> by_first_name({"k_core": 5, "min_rating": 4.0})
    {'k_core': 5, 'least_rating': 4.0}
    """
    old_names = {new: old for old, new in RENAMED.items()}
    return {old_names.get(name, name): value for name, value in values.items()}


def notice(old: str, new: str) -> str:
    """What to tell somebody who used an old name."""
    return f"{old} was renamed to {new}; use the new name, the old one will be removed"
