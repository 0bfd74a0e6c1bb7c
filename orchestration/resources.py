"""What runs are configured with: the settings of a run, and the dbt executable.

The settings are one block in the launchpad. Only the assets of the ``settings`` group read them, and write
them down for the dataset; everything else depends on those assets. So a changed setting shows as a changed
data version, and re-making a single asset later uses the settings that hold for its dataset.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster_dbt import DbtCliResource
from pydantic import Field

from orchestration.project import DBT_EXECUTABLE, DBT_FOLDER

TIE_ORDERS: tuple[str, ...] = ("hash", "file", "item", "shuffle")


class Settings(dg.ConfigurableResource):
    """Everything a user may choose about a run."""

    k_core: int = Field(
        default=5,
        ge=0,
        description="Keep users and items with at least this many interactions, repeated until none falls "
        "below; 0 switches the filter off.",
    )
    tie_order: str = Field(
        default="hash",
        pattern="|".join(TIE_ORDERS),
        description="What orders interactions of one user at one timestamp: 'hash' of user, item and timestamp; "
        "'file' (position in the dump); 'item' (item id); 'shuffle' (by seed).",
    )
    validation_users: int = Field(
        default=512,
        ge=0,
        description="Size of the seeded sample of users whose second-last item is held out for validation; "
        "0 takes every user.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Seed of the validation sample, of shuffled ties, of code assignment, of random baselines and of "
        "training.",
    )
    recipes: list[str] = Field(
        default=[],
        description="Names of the model recipes to train and compare; empty takes all. Baselines always run.",
    )
    exclude_seen: bool = Field(
        default=False,
        description="Whether items of a user's own history are left out of the ranking. Off by default: the 2018 "
        "dumps hold real repeat purchases.",
    )


class Dbt(DbtCliResource):
    """The dbt executable, as a process of its own and nothing more.

    dagster_dbt would also import dbt into this process and open an adapter, for row counts and column types that
    are read from the exported Parquet here. That takes three seconds a run, and DuckDB refuses a second
    connection of another kind to the same file.
    """

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:
        return None


def dbt_resource() -> Dbt:
    return Dbt(project_dir=str(DBT_FOLDER), profiles_dir=str(DBT_FOLDER), dbt_executable=DBT_EXECUTABLE)
