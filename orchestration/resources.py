"""What runs are configured with: the settings of a run, and the dbt executable.

The settings are one block in the launchpad. Only the assets of the ``settings`` group read them, and write
them down for the dataset; everything else depends on those assets. So a changed setting shows as a changed
data version, and re-making a single asset later uses the settings that hold for its dataset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version

import dagster as dg
from dagster_dbt import DbtCliResource
from packaging.version import Version
from pydantic import Field

from ml.training.execution import DEVICES, PRECISIONS
from orchestration.paths import REPOSITORY
from orchestration.project import DBT_EXECUTABLE, DBT_FOLDER

TIE_ORDERS: tuple[str, ...] = ("hash", "file", "item", "shuffle")
SPLITS: tuple[str, ...] = ("leave-one-out", "global-temporal")
FIT_ON: tuple[str, ...] = ("train", "train+validation")
TRAINING_PROCESS: tuple[str, ...] = ("in_process", "subprocess")
_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE_OR_NOTHING = rf"^({_DATE})?$"
_BOUNDARY = rf"^(0?\.\d+|{_DATE})$"


class Settings(dg.ConfigurableResource):
    """Everything a user may choose about a run."""

    k_core: int = Field(
        default=5,
        ge=0,
        description="Keep users and items with at least this many interactions, repeated until none falls "
        "below; 0 switches the filter off.",
    )
    k_core_users: int = Field(
        default=-1,
        ge=-1,
        description="The least interactions of a user in the k-core, where it differs from k_core; -1 as k_core.",
    )
    k_core_items: int = Field(
        default=-1,
        ge=-1,
        description="The least interactions of an item in the k-core, where it differs from k_core; -1 as k_core.",
    )
    from_date: str = Field(
        default="",
        pattern=_DATE_OR_NOTHING,
        description="Interactions before this day (YYYY-MM-DD, UTC) are left out; empty for no limit.",
    )
    until_date: str = Field(
        default="",
        pattern=_DATE_OR_NOTHING,
        description="Interactions on this day (YYYY-MM-DD, UTC) and after it are left out; empty for no limit.",
    )
    verified_only: bool = Field(
        default=False, description="Whether only verified purchases count; a review that does not say is none."
    )
    least_rating: float = Field(
        default=0.0, ge=0, description="Interactions rated lower, or not rated, are left out; 0 takes all."
    )
    first_interaction_only: bool = Field(
        default=False, description="Whether only the first interaction of a user with an item counts."
    )
    minimum_history: int = Field(
        default=0,
        ge=0,
        description="Users with fewer interactions are left out, once, before the k-core; 0 takes all.",
    )
    tie_order: str = Field(
        default="hash",
        pattern=rf"^({'|'.join(TIE_ORDERS)})$",
        description="What orders interactions of one user at one timestamp: 'hash' of user, item and timestamp; "
        "'file' (position in the dump); 'item' (item id); 'shuffle' (by seed).",
    )
    split: str = Field(
        default="leave-one-out",
        pattern=rf"^({'|'.join(SPLITS)})$",
        description="'leave-one-out' (a user's last item is the test target) or 'global-temporal' (a user's first item "
        "after test_from is). A split made elsewhere is taken as it is.",
    )
    validation_from: str = Field(
        default="0.8",
        pattern=_BOUNDARY,
        description="Where validation begins in a global-temporal split: a quantile of the timestamps or a day.",
    )
    test_from: str = Field(
        default="0.9",
        pattern=_BOUNDARY,
        description="Where the test begins in a global-temporal split: a quantile of the timestamps or a day.",
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
    fit_on: str = Field(
        default="train",
        pattern=rf"^({'|'.join(map(re.escape, FIT_ON))})$",
        description="What the final fit of every recommender reads: 'train', or 'train+validation' (models are trained "
        "again, for the epochs that validation found). Code assignments are made on the training items in both.",
    )
    recipes: list[str] = Field(
        default=[],
        description="Recipes to train and compare, by name or by set: 'quick', 'full' (with the quick ones) or "
        "'published' (sizes of papers, for a GPU); empty takes the quick ones. Baselines always run.",
    )
    seeds: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many seeds everything random is fitted with: the seed and those after it. The leaderboard has "
        "the mean over them and how far they lie apart; rankings and models that are kept are of the first.",
    )
    audit_model: str = Field(
        default="",
        description="A recipe that the audits train again, under each order of ties, with duplicates, and on a split "
        "by time, beside the cheap recommenders; empty for none.",
    )
    exclude_seen: bool = Field(
        default=False,
        description="Whether items of a user's own history are left out of the ranking, and of that of the validation "
        "users who decide when training stops. Off by default: the 2018 dumps hold real repeat purchases.",
    )
    training_process: str = Field(
        default="in_process",
        pattern=rf"^({'|'.join(TRAINING_PROCESS)})$",
        description="Where models are trained: in the process of the run, or each in a process of its own (Dagster "
        "Pipes). The weights are the same.",
    )
    training_processes: int = Field(
        default=1,
        ge=1,
        description="How many processes share the training of a model (torchrun); more than one are never the process "
        "of the run. Another number gives other last bits.",
    )
    device: str = Field(
        default="cpu",
        pattern=rf"^({'|'.join(DEVICES)})$",
        description="Where models are trained: 'cpu', 'cuda', or 'auto' (CUDA where there is a GPU).",
    )
    precision: str = Field(
        default="float32",
        pattern=rf"^({'|'.join(PRECISIONS)})$",
        description="Of the products of training steps: 'float32', or 'bfloat16' for a GPU.",
    )


class Dbt(DbtCliResource):
    """The dbt executable, as a process of its own and nothing more.

    dagster_dbt would also import dbt into this process and open an adapter, for row counts and column types that
    are read from the exported Parquet here. That takes three seconds a run, and DuckDB refuses a second
    connection of another kind to the same file.
    """

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> None:
        return None

    @cached_property
    def _cli_version(self) -> Version:
        """That of the installed package, whose executable this is; asking the executable takes two seconds."""
        return Version(version("dbt-core"))


def dbt_resource() -> Dbt:
    return Dbt(project_dir=str(DBT_FOLDER), profiles_dir=str(DBT_FOLDER), dbt_executable=DBT_EXECUTABLE)


def training_client() -> dg.PipesSubprocessClient:
    """What trains a model in a process of its own, from the folder of the code."""
    return dg.PipesSubprocessClient(cwd=str(REPOSITORY))
