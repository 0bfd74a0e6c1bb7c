"""The audits' variants of a split against what the warehouse itself makes of the same dump by other settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from warehouse_dbt import CompiledProject
from warehouse_landing import Landing, dirty_landing
from warehouse_reference import Settings

from ml.data.build_training_set import build_training_set
from ml.data.timed_interactions import Interactions, read_interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import with_leave_one_out, with_temporal_split, with_tie_order

BASE = Settings(k_core=2, tie_order="hash", seed=7, validation_users=3)
SETTINGS = {
    "hash": BASE,
    "item": replace(BASE, tie_order="item"),
    "file": replace(BASE, tie_order="file"),
    "shuffle": replace(BASE, tie_order="shuffle"),
    "global-temporal": replace(BASE, split="global-temporal"),
}


@pytest.fixture(scope="module")
def landing() -> Landing:
    return dirty_landing(seed=3, users=24, items=12, reviews=400)


@pytest.fixture(scope="module")
def built(
    compiled: CompiledProject, landing: Landing, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[TrainingSet, Interactions]]:
    """Training set and interactions by each of the settings."""
    result = {}
    for name, settings in SETTINGS.items():
        folder: Path = tmp_path_factory.mktemp(name)
        marts = {mart: folder / f"{mart}.parquet" for mart in ("interactions", "splits")}
        with compiled.build(landing, settings) as connection:
            for mart, path in marts.items():
                connection.execute(f"copy warehouse.marts.{mart} to '{path}'")
        protocol = {"split": settings.split, "tie_order": settings.tie_order, "seed": 7, "validation_users": 3}
        training_set = build_training_set(name, marts["splits"], protocol)
        result[name] = training_set, read_interactions(*marts.values(), training_set)
    return result


def test_orders_by_other_rules_are_those_of_the_warehouse(built):
    assert len({training_set.digest() for training_set, _ in built.values()}) == len(SETTINGS)
    for made in ("hash", "item", "file", "shuffle"):
        for rule in ("hash", "item", "file", "shuffle"):
            variant = with_tie_order(*built[made], rule, seed=7)
            assert variant.digest() == built[rule][0].digest(), (made, rule)


def test_the_other_split_is_that_of_the_warehouse(built):
    assert with_temporal_split(*built["hash"]).digest() == built["global-temporal"][0].digest()
    assert with_leave_one_out(*built["global-temporal"]).digest() == built["hash"][0].digest()
    again = with_tie_order(*built["global-temporal"], "hash")
    assert again.digest() == built["global-temporal"][0].digest()
