"""The settings written down for a dataset, and how they go together with what a run is given.

They are split by what reads them, so that another choice of recipes does not make a split stale. The assets that write
them are in :mod:`orchestration.assets.settings`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from ml.data.files import read_json, whole
from ml.recommenders.registry import check_audit_model, check_recipes, chosen_names, recipes
from orchestration.paths import Workspace
from orchestration.reporting import digest_of
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
    """Check that every recipe and every date in the settings exists.

    Raises:
        ValueError: naming what does not exist, and what does.
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
    """One slice of the settings written down for a dataset.

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
