"""Accuracy against goals beyond it, read from what the asset saved."""

from __future__ import annotations

from pathlib import Path

from ml.data.item_text import FILE, item_categories, load_item_text
from ml.data.training_set import TrainingSet
from ml.evaluation.trade_offs.content import TradeOffs
from ml.evaluation.trade_offs.files import JSON_FILE, load_trade_offs
from ml.reports.collect.interactions import titles_of
from ml.reports.content.beyond_accuracy import BeforeAndAfter, BeyondAccuracy, ListedItem


def beyond_accuracy(lake: Path) -> BeyondAccuracy | None:
    """The section; ``None`` where no series was measured or left out.

    Args:
        lake: the dataset's folder in the lake.

    Raises:
        DamagedFile: what the asset saved is not whole.
    """
    folder = lake / "evaluation" / "beyond_accuracy"
    if not (folder / JSON_FILE).exists():
        return None
    found = load_trade_offs(folder)
    if not found.series and not found.left_out:
        return None
    return BeyondAccuracy(found, _users(lake, found))


def _users(lake: Path, found: TradeOffs) -> tuple[BeforeAndAfter, ...]:
    if found.examples is None:
        return ()
    training_set = TrainingSet.load(lake / "training_sets" / "sequences")
    wanted = sorted({item for user in found.examples.users for item in (*user.before, *user.after)})
    identities = {item: training_set.item_ids[item].decode() for item in wanted}
    titles = titles_of(lake, sorted(identities.values()))
    text = lake / "training_sets" / "item_text"
    categories = item_categories(load_item_text(text, training_set.item_ids)) if (text / FILE).exists() else None

    def listed(items: tuple[int, ...]) -> tuple[ListedItem, ...]:
        return tuple(
            ListedItem(identities[item], titles.get(identities[item]), categories[item] if categories else None)
            for item in items
        )

    return tuple(
        BeforeAndAfter(training_set.user_ids[user.user_index].decode(), listed(user.before), listed(user.after))
        for user in found.examples.users
    )
