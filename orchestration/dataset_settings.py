"""The settings of a dataset: in its file, written down by earlier runs, and given to a run.

What a run is given holds for that run; else what the file of the dataset says (``datasets/<name>.toml``); else what was
last written down; else the default. What is written down is split by what reads it, so that another choice of recipes
does not make a split stale. The assets that write it are in :mod:`orchestration.assets.settings`.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_origin

import dagster as dg
from pydantic import ValidationError

from ml.config import nearest
from ml.data.files import DamagedFile, read_json, sha256_of_file, whole
from ml.data.setting_names import RENAMED, by_first_name, by_new_name, notice
from ml.recommenders.check_choice import check_audit_model, check_recipes
from ml.recommenders.choice import chosen_names
from ml.recommenders.needs import may_be_refused
from ml.recommenders.registry import recipes, recommender_names, registry
from ml.release.gate.choice import NONE
from orchestration.options import kind_of, reader, shown_default
from orchestration.paths import ITEM_FILES, Workspace
from orchestration.reporting import digest_of
from orchestration.resources import DEFAULTS, SETTINGS, Settings, resolved, settings_of
from orchestration.settings_file import SETTINGS_TABLE, RegistrationError, place

_DESCRIPTIONS = {
    "dataset": "How the interactions are filtered, ordered and split.",
    "training": "The seed of code assignment, random baselines and training.",
    "folds": "At how many dates everything is fitted and measured, and on how many users.",
    "fit": "What the final fit of every recommender reads, and what models start from.",
    "ranking": "Whether seen items are left out of the rankings, of validation users too.",
    "pretraining": "Which other datasets models are pre-trained on, and what these hold.",
    "seeds": "How many seeds everything random is fitted with.",
    "audits": "What the audits train again.",
    "comparison": "Which models, fusions and re-rankings are made and compared.",
    "release": "Which recommender is the candidate of a release, and what it is fitted on.",
    "recommendations": "How many items the release recommends to each user, and which it may.",
}
# what each asset of the settings is for, and the settings that it writes down
SLICES = {name: (description, settings_of(name)) for name, description in _DESCRIPTIONS.items()}
# settings that came later than the first workspaces; what these hold was made with the default
YOUNGER = (
    *("last_items", "cold_items", "folds", "fold_days", "test_users", "warm_start", "release", "release_fit_on"),
    *("recommend_items", "recommend_where", "recommend_only", "recommend_without"),
)
# beside the recipes of a comparison, where there are such: those that a dataset may have to refuse and that were named
# by name, not by a set
BY_NAME = "recipes_by_name"
_NAME_OF = {"pretrain_on": "Beauty"}
_READ_OF_SOURCE = (("training_sets", "sequences"), ("training_sets", "item_text"))
# in no slice: where models are trained says nothing of what they are


def chosen(settings: Settings, name: str, kept: Mapping[str, Any] | None = None) -> dict:
    """The values of one slice of the settings: as given, else as in ``kept``, else the default.

    Of recipes the names that the choice stands for, and apart (:data:`BY_NAME`) those that are not left out where the
    dataset lacks what they read; of other datasets also what they hold, and of the model that the audits train also
    what its recipe says, since no asset of these lies above what reads the settings.
    """
    every = resolved(settings, kept)
    values = {field: every[field] for field in SLICES[name][1]}
    if "recipes" in values:
        by_name = _named(settings.recipes) if settings.recipes is not None else (kept or {}).get(BY_NAME, [])
        return {"recipes": chosen_names(values["recipes"]), **({BY_NAME: by_name} if by_name else {})}
    if values.get("pretrain_on"):
        # no asset of the other datasets lies above those of this one
        return values | {"pretrain_on_data": {source: digest_of_source(source) for source in values["pretrain_on"]}}
    for field in ITEM_FILES:
        if values.get(field):
            # a file that is gone is another choice, which the asset of the settings then refuses
            path = item_file(values[field])
            values |= {f"{field}_digest": sha256_of_file(path) if path.is_file() else "none"}
    if values.get("audit_model"):
        name = values["audit_model"]
        recipe = recipes().get(name)
        # a recipe that is gone is another choice, which the asset of the settings then refuses
        below = [recipes()[part].digest() for part in registry().built_on(name) if part in recipes()] if recipe else []
        digest = recipe.digest() if recipe else "none"
        return values | {"audit_recipe": digest_of([digest, *below]) if below else digest}
    return values


def file_settings(dataset: str) -> dict[str, Any]:
    """The settings in the file of a dataset, by their present names, checked.

    Raises:
        RegistrationError: the file cannot be read, or holds a setting that is not possible; the message names the file,
            the line where it can be seen, and what is possible.
    """
    paths = Workspace.current().dataset(dataset)
    values = {}
    for name, value in paths.settings_written.items():
        try:
            if name not in SETTINGS and name not in RENAMED:
                raise ValueError(
                    f"there is no setting {name}{nearest(name, SETTINGS)}; docs/options.md lists them, which are "
                    "written in lower case here"
                )
            made = made_of({name: _from_toml(RENAMED.get(name, name), value)})
            check_settings(made)
        except ValueError as error:
            # the line is looked for only where there is something to say of it
            raise RegistrationError(f"{place(paths.registration, name, SETTINGS_TABLE)}: {error}") from error
        values[name] = made.model_dump(mode="json")[RENAMED.get(name, name)]
    try:
        return by_new_name(values)
    except ValueError as error:
        raise RegistrationError(f"{paths.registration}: {error}") from error


def notices_of_file(dataset: str) -> list[str]:
    """A sentence on each old name of a setting in the file of a dataset."""
    paths = Workspace.current().dataset(dataset)
    return [
        f"{place(paths.registration, old, SETTINGS_TABLE)}: {notice(old, RENAMED[old])}"
        for old in RENAMED
        if old in paths.settings_written
    ]


def _from_toml(name: str, value: Any) -> Any:
    """A value of the file as the field takes it: nothing is converted but days and quantiles, which are texts.

    Raises:
        ValueError: it is of another kind.
    """
    annotation = SETTINGS[name].annotation
    kind = kind_of(annotation)
    shown = f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)} is not possible"
    if get_origin(kind) is list:
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return value
        raise ValueError(f'{shown}: give names in brackets, as in {name} = ["{_NAME_OF.get(name, "tiny_softmax")}"]')
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise ValueError(f"{shown}: write {name} = true or {name} = false")
    if kind in (int, float):
        # bool is a kind of int to Python
        if type(value) in (int, kind) and math.isfinite(value):
            return value
        raise ValueError(f"{shown}: give a {'whole ' if kind is int else ''}number without quotes")
    if type(value) is date:
        return value.isoformat()
    if isinstance(value, float) and name.endswith("_from"):
        return repr(value)
    if not isinstance(value, str):
        raise ValueError(f'{shown}: give a text in quotes, as in {name} = "{DEFAULTS[name] or "..."}"')
    try:
        return reader(annotation)(value)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from error


def origins(settings: Settings, dataset: str, others: str) -> str:
    """Where the settings of a run come from, in one line: given to the run, or in the file of the dataset.

    Args:
        settings: that the run was given.
        dataset: its name.
        others: what holds for all others, such as "the defaults".
    """
    file = file_settings(dataset)
    name_of_file = f"datasets/{Workspace.current().dataset(dataset).registration.name}"
    given = {name: value for name, value in settings.model_dump(mode="json").items() if name in SETTINGS}
    chosen_here = [
        f"{_shown(name, value)} (instead of {_shown(name, file[name])} in {name_of_file})"
        if name in file and file[name] != value
        else _shown(name, value)
        for name, value in given.items()
        if value is not None
    ]
    in_file = [_shown(name, value) for name, value in file.items() if given[name] is None]
    parts = [f"given: {', '.join(chosen_here)}"] if chosen_here else []
    parts += [f"from {name_of_file}: {', '.join(in_file)}"] if in_file else []
    return "; ".join([*parts, f"all others: {others}"])


def _shown(name: str, value: Any) -> str:
    return f"{name.upper()}={','.join(value) if isinstance(value, list) and value else shown_default(value)}"


def kept_for(dataset: str) -> dict[str, Any]:
    """What holds for a dataset where a run is given nothing: its file, else what was written down by its last run.

    Nothing before its first run, where its file has no settings.
    """
    folder = Workspace.current().dataset(dataset).asset("settings")
    kept: dict[str, Any] = {}
    for name in SLICES:
        path = folder / f"{name}.json"
        if path.exists():
            with whole(path):
                written = by_new_name(read_json(path))
                # a setting may be younger than the file
                kept |= {field: written[field] for field in SLICES[name][1] if field in written}
                kept |= {BY_NAME: written[BY_NAME]} if BY_NAME in written else {}
    file = file_settings(dataset)
    return kept | file | ({BY_NAME: _named(file["recipes"])} if "recipes" in file else {})


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
    """Check that every recipe and every date in the settings exists.

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
    _check_release(settings.release or "")
    for name in ITEM_FILES:
        if path := getattr(settings, name):
            _check_item_file(name, path)


def _check_item_file(name: str, path: str) -> None:
    # it leads to pyarrow, which nothing else here needs
    from ml.release.candidates import read_item_ids

    try:
        read_item_ids(item_file(path))
    except ValueError as error:
        raise ValueError(f"{name.upper()}={path} is not possible: {error}") from error


def item_file(path: str) -> Path:
    """A file that a setting names: a relative path starts at the workspace."""
    return Workspace.current().home / path


def _check_release(name: str) -> None:
    known = [*recommender_names(), NONE]
    if name and name not in known:
        raise ValueError(
            f"there is no recommender {name} for RELEASE{nearest(name, known)}; name one that is compared, '{NONE}' "
            "for no release, or nothing for the best"
        )


def check_sources(names: Iterable[str], dataset: str) -> None:
    """Check that the models of a dataset can be pre-trained on others.

    Raises:
        ValueError: one is the dataset itself, or has no training set with item text; the message says what to do.
    """
    names = list(names)
    there = [
        path.parents[1].name for path in sorted(Workspace.current().home.glob(f"lake/*/{'/'.join(_READ_OF_SOURCE[1])}"))
    ]
    for name in names:
        given = f"PRETRAIN_ON={','.join(names)} is not possible"
        if name == dataset:
            raise ValueError(f"{given}: {name} is the dataset itself; name others")
        paths = Workspace.current().dataset(name)
        if not all(paths.asset(*key).exists() for key in _READ_OF_SOURCE):
            known = ", ".join(other for other in there if other != dataset) or "none"
            raise ValueError(
                f"{given}: {name} has no training set with item text in this workspace{nearest(name, there)}; make it "
                f"first, as in make run DATASET={name}. Datasets that have one: {known}"
            )


def digest_of_source(name: str) -> str:
    """Digest of what a pre-training may read of a dataset: its training set and its item text; ``none`` where they are
    not there."""
    from ml.data.item_text import FILE

    sequences, texts = (Workspace.current().dataset(name).asset(*key) for key in _READ_OF_SOURCE)
    try:
        return digest_of([read_json(sequences, "training_set.json")["digest"], sha256_of_file(texts / FILE)])
    except (OSError, DamagedFile):
        return "none"


def execution_of(settings: Settings, dataset: str) -> dict[str, Any]:
    """How a run computes, by name of setting: as given, else as in the file of the dataset, else the default."""
    return resolved(settings, file_settings(dataset))


def fitted_where(settings: Settings, dataset: str) -> dict[str, Any]:
    """Device, precision and threads of what a step fits itself, for :class:`ml.recommenders.fit.Conditions`."""
    values = execution_of(settings, dataset)
    return {name: values[name] for name in ("device", "precision", "threads")}


def version_of(values: dict) -> str:
    """Data version of a slice of the settings; it does not change where a setting is renamed, nor for a setting that is
    younger than workspaces are, as long as it has its default."""
    counted = {name: value for name, value in values.items() if name not in YOUNGER or value != DEFAULTS[name]}
    return digest_of(by_first_name(counted))[:32]


def versions_of(settings: Settings, dataset: str) -> dict[str, str]:
    """Data versions that the slices of the settings would have, made now, by name."""
    kept = kept_for(dataset)
    return {name: version_of(chosen(settings, name, kept)) for name in SLICES}


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
    with whole(path):
        return by_new_name(read_json(path))


def chosen_for(settings: Settings, dataset: str) -> list[str]:
    """Models, fusions and re-rankings that a run is to make: those that it was given, else those in the file of the
    dataset, else those last written down, else the quick.

    A run that nobody configured (of the schedule, of a sensor) so goes on with what was chosen before.
    """
    if settings.recipes is None and "recipes" in (file := file_settings(dataset)):
        return chosen_names(file["recipes"])
    path = Workspace.current().dataset(dataset).asset("settings") / "comparison.json"
    if settings.recipes is not None or not path.exists():
        return chosen_names(settings.recipes or [])
    with whole(path):
        return chosen_names(read_json(path)["recipes"])


def named_for(settings: Settings, dataset: str) -> list[str]:
    """Of :func:`chosen_for` those that were named by name and that a dataset may have to refuse: they are not left out
    where it lacks what they read."""
    return chosen(settings, "comparison", kept_for(dataset)).get(BY_NAME, [])


def _named(names: Iterable[str]) -> list[str]:
    """Of some names of recipes and sets the recipes that a dataset may have to refuse."""
    return [name for name in recommender_names() if name in set(names) and may_be_refused(name, registry())]
