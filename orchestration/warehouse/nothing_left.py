"""Explains an empty dataset: which cleaning step removed everything, and which settings would not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from orchestration.contracts.files import load_contracts
from orchestration.paths import DatasetPaths

if TYPE_CHECKING:
    import numpy as np

# the cleaning rules, with the value that switches each off
_RULES = {
    "from_date": "",
    "until_date": "",
    "verified_only": False,
    "min_rating": 0,
    "first_interaction_only": False,
    "min_history": 0,
}
# what has to be left, by the rules of the contracts that would stop the run otherwise
_LEAST_USERS = ("marts/interactions", "several_users")
_LEAST_ITEMS = ("marts/statistics", "catalogue_holds_ranking_depth")


def why_nothing_is_left(paths: DatasetPaths, settings: Mapping[str, Any]) -> str:
    """One sentence that names the settings at fault and, where it is the k-core, the largest K_CORE that works.

    Args:
        paths: the dataset, whose warehouse holds the interactions in front of the k-core.
        settings: of the dataset.
    """
    from ml.data.database import connect, one_row

    with connect(paths.warehouse, read_only=True) as connection:
        (before,) = one_row(connection, "select count(*) from intermediate.int_interactions_deduplicated")
        columns = connection.execute(
            """
            with selected as (select user_id, item_id from intermediate.int_interactions_selected)
            select
                (dense_rank() over (order by user_id) - 1)::integer as users,
                (dense_rank() over (order by item_id) - 1)::integer as items
            from selected
            """
        ).fetchnumpy()
    users, items = columns["users"], columns["items"]
    if not len(users):
        rules = ", ".join(name.upper() for name, off in _RULES.items() if settings.get(name, off) != off)
        return (
            f"{paths.dataset}: the cleaning rules ({rules}) leave none of {before:,} interactions; loosen them or "
            "bring a larger dump"
        )
    given = {name: settings.get(name, -1) for name in ("k_core_users", "k_core_items")}
    asked = ", ".join(
        f"{name.upper()}={value}" for name, value in {"k_core": settings["k_core"], **given}.items() if value != -1
    )
    return (
        f"{paths.dataset}: the k-core ({asked}) leaves none of {len(users):,} interactions; "
        f"{_advice(users, items, settings['k_core'], given)}"
    )


def _advice(users: np.ndarray, items: np.ndarray, k_core: int, given: Mapping[str, int]) -> str:
    from ml.data.k_core import Core, core, largest

    least = (_least(*_LEAST_USERS), _least(*_LEAST_ITEMS))
    users_need, items_need = given.values()
    ways: list[tuple[str, Callable[[int], tuple[int, int]]]] = []
    if -1 in given.values():
        ways.append(
            ("K_CORE={k}", lambda k: (k if users_need == -1 else users_need, k if items_need == -1 else items_need))
        )
    if set(given.values()) != {-1}:
        ways.append(("K_CORE_USERS={k} K_CORE_ITEMS={k}", lambda k: (k, k)))
    most = max(k_core, *given.values())
    for written, needs in ways:

        def left_by(k: int, needs: Callable[[int], tuple[int, int]] = needs) -> Core:
            return core(users, items, *needs(k))

        if found := largest(most, left_by, *least):
            k, left = found
            return (
                f"the largest that works for this dataset is {written.format(k=k)}, which leaves {left.users:,} users, "
                f"{left.items:,} items and {left.interactions:,} interactions"
            )
    return (
        f"no K_CORE works, since a dataset needs {least[0]} users, {least[1]} items and a user with 2 interactions: "
        "bring a larger dump"
    )


def _least(contract: str, rule_id: str) -> int:
    """The least number that a rule of a contract asks for."""
    (rules,) = (entry.rules for entry in load_contracts() if entry.name == contract)
    (rule,) = (rule for rule in rules if rule.id == rule_id)
    return rule.kwargs["min_value"]
