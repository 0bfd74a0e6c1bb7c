"""Resources: the settings of a run, dbt, and the training process.

The settings are one block in the launchpad. Only the assets of the ``settings`` group read them, and write
them down for the dataset; everything else depends on those assets. So a changed setting shows as a changed
data version, and re-making a single asset later uses the settings that hold for its dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DbtCliResource
from packaging.version import Version
from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from ml.data.setting_names import RENAMED, by_new_name
from ml.training.runtime import DEFAULT_THREADS, DEVICES, PRECISIONS, SHARDINGS
from orchestration.dbt import DBT_EXECUTABLE, DBT_FOLDER
from orchestration.paths import REPOSITORY


def _choices(name: str, values: Sequence[str]) -> Any:
    """An enumeration whose names are its values: the launchpad offers them and refuses anything else."""
    return StrEnum(name, [(value, value) for value in values], module=__name__)


if TYPE_CHECKING:  # type checkers cannot follow how they are made

    class TieOrder(StrEnum): ...

    class Split(StrEnum): ...

    class FitOn(StrEnum): ...

    class ReleaseFitOn(StrEnum): ...

    class WarmStart(StrEnum): ...

    class TrainingProcess(StrEnum): ...

    class Device(StrEnum): ...

    class Precision(StrEnum): ...

    class Sharding(StrEnum): ...

else:
    TieOrder = _choices("TieOrder", ("hash", "file", "item", "shuffle"))
    Split = _choices("Split", ("leave-one-out", "leave-last-k", "global-temporal", "temporal-folds", "cold-items"))
    FitOn = _choices("FitOn", ("train", "train+validation"))
    ReleaseFitOn = _choices("ReleaseFitOn", ("evaluated", "everything"))
    WarmStart = _choices("WarmStart", ("off", "champion"))
    TrainingProcess = _choices("TrainingProcess", ("in_process", "subprocess"))
    Device = _choices("Device", DEVICES)
    Precision = _choices("Precision", PRECISIONS)
    Sharding = _choices("Sharding", SHARDINGS)
_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE_OR_NOTHING = rf"^({_DATE})?$"
_BOUNDARY = rf"^(0?\.\d+|{_DATE})$"

_CLEANING, _SPLIT = "cleaning", "order and split"
_COMPARISON, _EXECUTION = "recommenders and evaluation", "how it is computed"
_RELEASE = "release"


def _setting(default: Any, group: str, *slices: str, description: str, **limits: Any) -> Any:
    """A field of the settings.

    Args:
        default: that holds where nothing was chosen.
        group: in which ``--help`` lists it.
        slices: assets ``settings/<slice>`` that write it down; none for what only says how a run computes.
        description: for the launchpad, ``--help`` and ``docs/options.md``.
        limits: of the value, as for pydantic's ``Field``.
    """
    extra = {"default": default, "group": group, "slices": slices}
    return Field(default=None, description=description, json_schema_extra=extra, **limits)


def _described(field: FieldInfo) -> dict[str, Any]:
    """What :func:`_setting` was given."""
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra


class Settings(dg.ConfigurableResource):
    """Everything a user may choose about a run; each option stands here and nowhere else.

    ``None`` is no choice: what was written down for the dataset holds, and before its first run the default
    (:data:`DEFAULTS`).
    """

    k_core: int | None = _setting(
        5,
        _CLEANING,
        "dataset",
        ge=0,
        description="Keep users and items with at least this many interactions, repeated until none falls "
        "below; 0 switches the filter off.",
    )
    k_core_users: int | None = _setting(
        -1,
        _CLEANING,
        "dataset",
        ge=-1,
        description="Minimum interactions of a user in the k-core, where it differs from k_core; -1 for k_core.",
    )
    k_core_items: int | None = _setting(
        -1,
        _CLEANING,
        "dataset",
        ge=-1,
        description="Minimum interactions of an item in the k-core, where it differs from k_core; -1 for k_core.",
    )
    from_date: str | None = _setting(
        "",
        _CLEANING,
        "dataset",
        pattern=_DATE_OR_NOTHING,
        description="Interactions before this day (YYYY-MM-DD, UTC) are left out; empty for no limit.",
    )
    until_date: str | None = _setting(
        "",
        _CLEANING,
        "dataset",
        pattern=_DATE_OR_NOTHING,
        description="Interactions on this day (YYYY-MM-DD, UTC) and after it are left out; empty for no limit.",
    )
    verified_only: bool | None = _setting(
        False,
        _CLEANING,
        "dataset",
        description="Whether only verified purchases count; a review that does not say is none.",
    )
    min_rating: float | None = _setting(
        0.0,
        _CLEANING,
        "dataset",
        ge=0,
        description="Interactions rated lower, or not rated, are left out; 0 takes all.",
    )
    first_interaction_only: bool | None = _setting(
        False, _CLEANING, "dataset", description="Whether only the first interaction of a user with an item counts."
    )
    min_history: int | None = _setting(
        0,
        _CLEANING,
        "dataset",
        ge=0,
        description="Users with fewer interactions are left out, once, before the k-core; 0 takes all.",
    )
    tie_order: TieOrder | None = _setting(
        "hash",
        _SPLIT,
        "dataset",
        description="What orders interactions of one user at one timestamp: 'hash' of user, item and timestamp; "
        "'file' (position in the dump); 'item' (item id); 'shuffle' (by seed).",
    )
    split: Split | None = _setting(
        "leave-one-out",
        _SPLIT,
        "dataset",
        "folds",
        description="'leave-one-out' (a user's last item is the test target), 'leave-last-k' (a user's last items are, "
        "as many as last_items), 'global-temporal' (a user's first item after test_from is), 'temporal-folds' (the "
        "same at several dates, the last of which everything else is measured at) or 'cold-items' (the targets are "
        "items that are in no training history). A split made elsewhere is taken as it is.",
    )
    validation_from: str | None = _setting(
        "0.8",
        _SPLIT,
        "dataset",
        "folds",
        pattern=_BOUNDARY,
        description="Where validation begins in a global-temporal split, and in the last of temporal-folds: a quantile "
        "of the timestamps or a day.",
    )
    test_from: str | None = _setting(
        "0.9",
        _SPLIT,
        "dataset",
        "folds",
        pattern=_BOUNDARY,
        description="Where the test begins in a global-temporal split, and in the last of temporal-folds: a quantile "
        "of the timestamps or a day.",
    )
    folds: int | None = _setting(
        3,
        _SPLIT,
        "folds",
        ge=2,
        le=20,
        description="How many folds the split temporal-folds has. Everything is fitted once for each of them.",
    )
    fold_days: int | None = _setting(
        0,
        _SPLIT,
        "folds",
        ge=0,
        description="Days between the test dates of temporal-folds; 0 gives each fold as many interactions as the last "
        "has.",
    )
    last_items: int | None = _setting(
        5,
        _SPLIT,
        "dataset",
        ge=1,
        description="How many items at the end of a history are test targets of the split leave-last-k. A user with no "
        "more items is trained on and not tested.",
    )
    cold_items: float | None = _setting(
        0.1,
        _SPLIT,
        "dataset",
        gt=0,
        lt=0.5,
        description="Share of the items that are test targets of the split cold-items and in no training history; as "
        "many again are validation targets.",
    )
    validation_users: int | None = _setting(
        512,
        _SPLIT,
        "dataset",
        ge=0,
        description="Size of the seeded sample of users whose item before the test targets is held out for validation; "
        "0 takes every user.",
    )
    test_users: int | None = _setting(
        0,
        _SPLIT,
        "folds",
        ge=0,
        description="Size of the seeded sample of test users that everything is measured on; 0 takes every user. What "
        "is trained does not depend on it, and a release that is fitted on everything reads the held-out items of all.",
    )
    seed: int | None = _setting(
        0,
        _COMPARISON,
        "dataset",
        "training",
        ge=0,
        lt=2**31,
        description="Seed of the validation sample, of shuffled ties, of code assignment, of random baselines and of "
        "training.",
    )
    fit_on: FitOn | None = _setting(
        "train",
        _COMPARISON,
        "fit",
        description="What the final fit of every recommender reads: 'train', or 'train+validation' (models are trained "
        "again, for the epochs that validation found). Code assignments are made on the training items in both.",
    )
    warm_start: WarmStart | None = _setting(
        "off",
        _COMPARISON,
        "fit",
        description="What models start from: 'off' (fresh weights) or 'champion' (the weights of the released "
        "champion, where it has a part of the same recipe and sizes that was fitted on training items alone). Models "
        "stay up to date when another champion follows.",
    )
    recipes: list[str] | None = _setting(
        [],
        _COMPARISON,
        "comparison",
        description="Recipes to train and compare, by name or by set: 'quick', 'full', 'generative', "
        "'beyond_accuracy' (each with the quick ones), 'knowledge' (with the quick and the full ones), 'slow' (an hour "
        "or more on two cores) or 'published' (sizes of papers, for a GPU); empty takes the quick ones. Baselines "
        "always run.",
    )
    seeds: int | None = _setting(
        1,
        _COMPARISON,
        "seeds",
        ge=1,
        le=100,
        description="How many seeds everything random is fitted with: the seed and those after it. The leaderboard has "
        "the mean over them and how far they lie apart; rankings and models that are kept are of the first.",
    )
    pretrain_on: list[str] | None = _setting(
        [],
        _COMPARISON,
        "pretraining",
        description="Other datasets of the workspace, run before, that recipes with a table [pretraining] are trained "
        "on first; empty for none.",
    )
    audit_model: str | None = _setting(
        "",
        _COMPARISON,
        "audits",
        description="A recipe that the audits train again, under each order of ties, with duplicates, and on a split "
        "by time, beside the cheap recommenders; empty for none.",
    )
    exclude_seen: bool | None = _setting(
        False,
        _COMPARISON,
        "ranking",
        description="Whether items of a user's own history are left out of the ranking, and of that of the validation "
        "users who decide when training stops. Off by default: the 2018 dumps hold real repeat purchases.",
    )
    release: str | None = _setting(
        "",
        _RELEASE,
        "release",
        description="Which recommender is the candidate of a release: the name of one that is compared, 'none' for no "
        "release, or empty for the best of the leaderboard by nDCG@10 that can serve: language models, and models that "
        "know users by their number, are passed over.",
    )
    release_fit_on: ReleaseFitOn | None = _setting(
        "evaluated",
        _RELEASE,
        "release",
        description="What the released recommender is fitted on: 'evaluated' releases the very fit that was measured; "
        "'everything' fits it again on all interactions, test items included, for the epochs that validation found. "
        "The figures are of the first in both.",
    )
    recommend_items: int | None = _setting(
        10,
        _RELEASE,
        "recommendations",
        ge=1,
        description="How many items the release recommends to each user.",
    )
    recommend_where: str | None = _setting(
        "",
        _RELEASE,
        "recommendations",
        description="A condition of SQL on the columns of marts/items that items must meet to be recommended, such as "
        "price < 20 and category like '%Saws%'; empty for none.",
    )
    recommend_only: str | None = _setting(
        "",
        _RELEASE,
        "recommendations",
        description="A text file with one item id a line, such as a stock or a price list: no other item is "
        "recommended. A relative path starts at the workspace; empty for all items.",
    )
    recommend_without: str | None = _setting(
        "",
        _RELEASE,
        "recommendations",
        description="A text file with one item id a line: none of these items is recommended. A relative path starts "
        "at the workspace; empty for none.",
    )
    training_process: TrainingProcess | None = _setting(
        "in_process",
        _EXECUTION,
        description="How models are trained: 'in_process' by the run itself, several of them side by side where it has "
        "cores for that; 'subprocess' one after the other, each through Dagster Pipes. The weights are the same.",
    )
    training_processes: int | None = _setting(
        1,
        _EXECUTION,
        ge=1,
        description="How many processes share the training of a model (torchrun); more than one are never the process "
        "of the run. Another number gives other last bits.",
    )
    threads: int | None = _setting(
        DEFAULT_THREADS,
        _EXECUTION,
        ge=1,
        le=1024,
        description="Torch threads of a training. More threads train fewer models side by side; another number gives "
        "other last bits. DuckDB takes every core, or as many as RAW2RANK_DUCKDB_THREADS says.",
    )
    device: Device | None = _setting(
        "cpu",
        _EXECUTION,
        description="Where models are trained: 'cpu', 'cuda', or 'auto' (CUDA where there is a GPU).",
    )
    precision: Precision | None = _setting(
        "float32",
        _EXECUTION,
        description="Of the products of training steps: 'float32', or 'bfloat16' for a GPU.",
    )
    sharding: Sharding | None = _setting(
        "none",
        _EXECUTION,
        description="What each of several TRAINING_PROCESSES holds: 'none', all weights; or 'full', a part of the "
        "weights and of the optimiser's state, for tables that do not fit a GPU together with those.",
    )
    compile: bool | None = _setting(
        False,
        _EXECUTION,
        description="Let torch.compile fuse the passes of a model; pays on a GPU, and not with SHARDING=full.",
    )
    # old names, so that configurations written for the launchpad stay valid
    least_rating: float | None = Field(default=None, description="Old name of min_rating.")
    minimum_history: int | None = Field(default=None, description="Old name of min_history.")

    @model_validator(mode="before")
    @classmethod
    def _by_new_name(cls, values: Any) -> Any:
        """A value given by an old name holds for the new one; the old field keeps it, so that a run can say so."""
        return {**values, **by_new_name(values)} if isinstance(values, Mapping) else values


# what can be chosen, without the old names of settings
SETTINGS = {name: field for name, field in Settings.model_fields.items() if name not in RENAMED}
DEFAULTS: dict[str, Any] = {name: _described(field)["default"] for name, field in SETTINGS.items()}


def group_of(name: str) -> str:
    """The group in which ``--help`` lists a setting."""
    return _described(SETTINGS[name])["group"]


def settings_of(slice_: str) -> tuple[str, ...]:
    """The settings that are written down together, as ``settings/<slice>`` of a dataset."""
    return tuple(name for name, field in SETTINGS.items() if slice_ in _described(field)["slices"])


def resolved(settings: Settings, kept: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The value of every setting: as given, else as in ``kept``, else the default."""
    known = {**DEFAULTS, **{name: value for name, value in (kept or {}).items() if name in DEFAULTS}}
    given = settings.model_dump(mode="json")
    return {name: known[name] if given[name] is None else given[name] for name in DEFAULTS}


class Dbt(DbtCliResource):
    """The dbt executable, as a process of its own and nothing more.

    dagster_dbt would also import dbt into this process and open an adapter, for row counts and column types that
    are read from the exported Parquet here. That takes three seconds a run, and DuckDB refuses a second
    connection of another kind to the same file.
    """

    def _initialize_dbt_core_adapter(self, args: Sequence[str]) -> Any:
        return None

    @cached_property
    def _cli_version(self) -> Version:
        """Version of the installed package; asking the executable would take two seconds."""
        return Version(version("dbt-core"))


def dbt_resource() -> dg.ResourceDefinition:
    """The dbt executable, with nothing to configure: the launchpad shows the settings and no paths."""
    return dg.ResourceDefinition.hardcoded_resource(
        Dbt(project_dir=str(DBT_FOLDER), profiles_dir=str(DBT_FOLDER), dbt_executable=DBT_EXECUTABLE)
    )


def training_client() -> dg.PipesSubprocessClient:
    """The client that trains a model in a process of its own, from the folder of the code."""
    return dg.PipesSubprocessClient(cwd=str(REPOSITORY))
