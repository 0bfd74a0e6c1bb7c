"""What a report says of accuracy against goals beyond it."""

from __future__ import annotations

from dataclasses import dataclass

from ml.evaluation.trade_offs.content import TradeOffs


@dataclass(frozen=True)
class ListedItem:
    """An item of a list: identity, title and category (``None`` when unknown)."""

    item_id: str
    title: str | None = None
    category: str | None = None


@dataclass(frozen=True)
class BeforeAndAfter:
    """The list of one test user at the start of a series, and at the point that is shown."""

    user_id: str
    before: tuple[ListedItem, ...]
    after: tuple[ListedItem, ...]


@dataclass(frozen=True)
class BeyondAccuracy:
    """The section on accuracy against goals beyond it.

    Attributes:
        trade_offs: all series, measured.
        users: examples, of ``trade_offs.examples``.
    """

    trade_offs: TradeOffs
    users: tuple[BeforeAndAfter, ...] = ()
