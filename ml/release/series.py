"""A record that grows by an entry at a time, as one JSON file: the results over time, and the progress of releases."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
# entries that are kept
KEPT = 1000


def read_entries(
    path: Path, form: str, key: str, of: Callable[[Mapping[str, Any]], T], error: Callable[[str], Exception]
) -> list[T]:
    """The entries of a record, the oldest first; none where there is no file.

    Args:
        path: of the file.
        form: name of the format of the record.
        key: of the list of entries.
        of: makes an entry of an object.
        error: makes the exception of a sentence, where the record cannot be read.
    """
    remedy = f"remove {path.parent} to begin anew"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(record, dict) and record.get("format") == form:
            return [of(one) for one in record[key]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise error(f"{path} cannot be read ({problem}); {remedy}") from problem
    raise error(f"{path} was written by another version; {remedy}")


def write_entries(path: Path, form: str, key: str, entries: Sequence[DataclassInstance]) -> None:
    """Write the newest entries, the oldest first."""
    record = {"format": form, key: [asdict(one) for one in entries[-KEPT:]]}
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
