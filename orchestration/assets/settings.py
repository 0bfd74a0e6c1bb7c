"""The settings of a dataset, as assets: what was chosen, written down, with a version of its own.

Split by what reads them, so that another choice of recipes does not make a split stale.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from ml.data.files import read_json, whole
from ml.extras import MissingExtra
from ml.recommenders.registry import check_audit_model, check_recipes, chosen_names, recipes
from orchestration.automation.condition import on_new_data
from orchestration.commands.options import kind_of
from orchestration.partitions import datasets
from orchestration.paths import Workspace
from orchestration.reporting import DATA_OWNERS, array_schema, digest_of, materialization, told_plainly
from orchestration.resources import Settings, resolved

SLICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "dataset": (
        "How the interactions are filtered, ordered and split.",
        (
            *("k_core", "k_core_users", "k_core_items"),
            *("from_date", "until_date", "verified_only", "least_rating", "first_interaction_only", "minimum_history"),
            *("tie_order", "split", "validation_from", "test_from", "validation_users", "seed"),
        ),
    ),
    "training": ("The seed of code assignment, random baselines and training.", ("seed",)),
    "fit": ("What the final fit of every recommender reads.", ("fit_on",)),
    "ranking": ("Whether seen items are left out of the rankings, of validation users too.", ("exclude_seen",)),
    "seeds": ("How many seeds everything random is fitted with.", ("seeds",)),
    "audits": ("What the audits train again.", ("audit_model",)),
    "comparison": ("Which models and fusions are trained and compared.", ("recipes",)),
}
# in no slice: where models are trained says nothing of what they are


def chosen(settings: Settings, name: str, kept: Mapping[str, Any] | None = None) -> dict:
    """The values of one slice of the settings: as given, else as in ``kept``, else the default.

    Of recipes the names that the choice stands for; of the model that the audits train also what its recipe says, since
    no asset of that model lies above them.
    """
    every = resolved(settings, kept)
    values = {field: every[field] for field in SLICES[name][1]}
    if "recipes" in values:
        return values | {"recipes": chosen_names(values["recipes"])}
    if values.get("audit_model"):
        recipe = recipes().get(values["audit_model"])
        # a recipe that is gone is another choice, which the asset of the settings then refuses
        return values | {"audit_recipe": recipe.digest() if recipe else "none"}
    return values


def kept_for(dataset: str) -> dict[str, Any]:
    """The settings written down for a dataset; nothing before its first run."""
    folder = Workspace.current().dataset(dataset).asset("settings")
    kept: dict[str, Any] = {}
    for name in SLICES:
        path = folder / f"{name}.json"
        if path.exists():
            with whole(path):
                kept |= {field: read_json(path)[field] for field in SLICES[name][1]}
    return kept


def check_settings(settings: Settings) -> None:
    """That every recipe named in the settings exists, and every day.

    Raises:
        ValueError: naming what does not exist, and what does.
        MissingExtra: recipes are named, and the extra ``train`` is not installed.
    """
    for name in ("from_date", "until_date", "validation_from", "test_from"):
        text = getattr(settings, name) or ""
        if "-" in text:
            try:
                date.fromisoformat(text)
            except ValueError as error:
                raise ValueError(f"{name.upper()}={text} is not possible: no such day; as in 2014-07-23") from error
    check_recipes(settings.recipes or [])
    check_audit_model(settings.audit_model or "")


def version_of(values: dict) -> str:
    return digest_of(values)[:32]


def read_settings(name: str, dataset: str) -> dict:
    """What was written down for a dataset.

    Raises:
        dg.Failure: nothing was yet.
    """
    path = Workspace.current().dataset(dataset).asset("settings") / f"{name}.json"
    if not path.exists():
        raise dg.Failure(
            description=f"{dataset}: there are no settings yet; materialise settings/{name} first, or use `make run`",
            allow_retries=False,
        )
    return read_json(path)


def chosen_for(settings: Settings, dataset: str) -> list[str]:
    """Models and fusions that a run is to make: those that it was given, else those last written down, else the quick.

    A run that nobody configured (of the schedule, of a sensor) so goes on with what was chosen before.
    """
    path = Workspace.current().dataset(dataset).asset("settings") / "comparison.json"
    if settings.recipes is not None or not path.exists():
        return chosen_names(settings.recipes or [])
    with whole(path):
        return chosen_names(read_json(path)["recipes"])


def _settings_asset(name: str, description: str, fields: tuple[str, ...]) -> dg.AssetsDefinition:
    types = {bool: "boolean", float: "number", int: "integer", str: "string"}

    @dg.asset(
        key=["settings", name],
        description=f"{description} Taken from the `settings` block of the launchpad; what is not set "
        "there stays as it is for the dataset.",
        group_name="settings",
        kinds={"json"},
        owners=DATA_OWNERS,
        partitions_def=datasets,
        automation_condition=on_new_data,
        code_version="1",
        metadata={
            "dagster/column_schema": array_schema(
                **{
                    field: (types.get(kind_of(known.annotation), "list[string]"), known.description or "")
                    for field, known in ((field, Settings.model_fields[field]) for field in fields)
                }
            )
        },
    )
    def settings_asset(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult:
        from ml.data.files import atomic_file

        with told_plainly(context.partition_key, ValueError, MissingExtra):
            check_settings(settings)
            values = chosen(settings, name, kept_for(context.partition_key))
            check_audit_model(values.get("audit_model", ""))
        path = Workspace.current().dataset(context.partition_key).asset("settings") / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n")
        return materialization(version_of(values), {"dagster/row_count": 1, "dagster/uri": str(path), **values})

    return settings_asset


settings_assets = [_settings_asset(name, *slice_) for name, slice_ in SLICES.items()]
