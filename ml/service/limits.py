"""What a request may ask for, and how many may wait; more is refused with a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a request, and of the service.

    Attributes:
        body: bytes of a request.
        histories: histories of a request.
        history: items of a history.
        k: length of a list; never more than the catalogue has items.
        item_ids: ids of ``allowed`` and of ``excluded``.
        waiting: requests that wait until an answer can be computed.
    """

    body: int = 1 << 20
    histories: int = 256
    history: int = 1000
    k: int = 200
    item_ids: int = 10_000
    waiting: int = 64
