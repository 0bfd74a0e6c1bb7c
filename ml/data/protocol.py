"""The split protocol, in the words printed under every table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ml.data.database import connect, one_row

_AS_GIVEN = "as given"
_DUPLICATES = {"duplicates": "exact ones (user, item, time, rating) removed"}


def split_protocol(settings: Mapping[str, object], interactions: Path) -> dict[str, object]:
    """The choices that made a split, those that were left at nothing not among them.

    Args:
        settings: of the dataset: ``split``, ``k_core``, ``tie_order``, ``seed``, ``validation_users`` and, where they
            were chosen, ``test_users`` and the cleaning rules.
        interactions: the Parquet file of the mart, which knows whether order and split came with the source.
    """
    with connect() as connection:
        is_ordered, is_split = one_row(
            connection,
            "select bool_and(given_position > 0), bool_and(given_split is not null) "
            "from read_parquet(?, hive_partitioning = false)",
            [str(interactions)],
        )
    measured = {"test_users": settings["test_users"]} if settings.get("test_users") else {}
    if is_split:
        given = {"split": "made elsewhere, taken as it is", **_DUPLICATES, "k_core": 0, "order": _AS_GIVEN}
        return given | (measured and {**measured, "seed": settings["seed"]})
    split = settings["split"]
    if split in ("global-temporal", "temporal-folds"):
        # the training set is that of the last fold, which is a global-temporal split
        split = f"global-temporal, validation from {settings['validation_from']}, test from {settings['test_from']}"
    if split == "leave-last-k":
        split = f"{split}, the last {settings['last_items']} items of a user are test targets"
    if split == "cold-items":
        split = f"{split}, {float(str(settings['cold_items'])):g} of the items for the test and as many for validation"
    users, items = (
        settings["k_core"] if settings.get(f"k_core_{side}", -1) == -1 else settings[f"k_core_{side}"]
        for side in ("users", "items")
    )
    core = users if users == items else f"{users} a user, {items} an item"
    order: dict[str, object] = {"order": _AS_GIVEN} if is_ordered else {"tie_order": settings["tie_order"]}
    chosen = {"validation_users": settings["validation_users"], "seed": settings["seed"]}
    return {"split": split, **_DUPLICATES, "k_core": core, **_rules(settings), **order, **chosen, **measured}


def _rules(settings: Mapping[str, object]) -> dict[str, object]:
    rules: dict[str, object] = {}
    if settings.get("from_date"):
        rules["from"] = settings["from_date"]
    if settings.get("until_date"):
        rules["until"] = settings["until_date"]
    if settings.get("verified_only"):
        rules["reviews"] = "of verified purchases only"
    if settings.get("min_rating"):
        rules["rated"] = f"{settings['min_rating']:g} or higher"
    if settings.get("first_interaction_only"):
        rules["repeats"] = "left out, the first interaction of a user with an item stays"
    if settings.get("min_history"):
        rules["users"] = f"with at least {settings['min_history']} interactions before the k-core"
    return rules
