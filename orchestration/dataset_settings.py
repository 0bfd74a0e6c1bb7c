"""The settings written down for a dataset, and how they go together with what a run is given.

They are split by what reads them, so that another choice of recipes does not make a split stale. The assets that write
them are in :mod:`orchestration.assets.settings`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg
from pydantic import ValidationError

from ml.data.files import read_json, whole
from ml.data.setting_names import by_first_name, by_new_name
from ml.recommenders.registry import check_audit_model, check_recipes, chosen_names, recipes
from orchestration.paths import Workspace
from orchestration.reporting import digest_of
from orchestration.resources import Settings, resolved, settings_of

_DESCRIPTIONS = {
    "dataset": "How the interactions are filtered, ordered and split.",
    "training": "The seed of code assignment, random baselines and training.",
    "fit": "What the final fit of every recommender reads.",
    "ranking": "Whether seen items are left out of the rankings, of validation users too.",
    "seeds": "How many seeds everything random is fitted with.",
    "audits": "What the audits train again.",
    "comparison": "Which models and fusions are trained and compared.",
}
# what each asset of the settings is for, and the settings that it writes down
SLICES = {name: (description, settings_of(name)) for name, description in _DESCRIPTIONS.items()}
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
                kept |= {field: by_new_name(read_json(path))[field] for field in SLICES[name][1]}
    return kept


def made_of(values: Mapping[str, Any]) -> Settings:
    """Settings of the given values, by present or old names.

    Raises:
        ValueError: saying which value is not possible and what is.
    """
    try:
        return Settings(**by_new_name(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        needs = first["msg"].removeprefix("Input should be ")
        if first["type"] == "string_pattern_mismatch":
            # the pattern would say it to a programmer alone
            needs = "give a day, as in 2014-07-23" if name.endswith("_date") else "give .8 or a day, as in 2014-07-23"
        raise ValueError(
            f"{name.upper()}={first['input']} is not possible: {needs}. {Settings.model_fields[name].description}"
        ) from error


def check_settings(settings: Settings) -> None:
    """That every recipe named in the settings exists, and every day.

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


def fitted_where(settings: Settings) -> dict[str, Any]:
    """Device, precision and threads of what a step fits itself, for :class:`ml.recommenders.fit.Conditions`."""
    values = resolved(settings)
    return {name: values[name] for name in ("device", "precision", "threads")}


def version_of(values: dict) -> str:
    """Data version of a slice of the settings; it does not change where a setting is renamed."""
    return digest_of(by_first_name(values))[:32]


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
    with whole(path):
        return by_new_name(read_json(path))


def chosen_for(settings: Settings, dataset: str) -> list[str]:
    """Models and fusions that a run is to make: those that it was given, else those last written down, else the quick.

    A run that nobody configured (of the schedule, of a sensor) so goes on with what was chosen before.
    """
    path = Workspace.current().dataset(dataset).asset("settings") / "comparison.json"
    if settings.recipes is not None or not path.exists():
        return chosen_names(settings.recipes or [])
    with whole(path):
        return chosen_names(read_json(path)["recipes"])
