"""What a set of recipes names and a dataset cannot have: left out with a sentence, so that the others are compared.

A recommender that reads text, categories or times is refused where the dataset has none. One that was named by name
fails with the reason. One that came with a set is left out: its asset and its ranking are recorded with the data
version :data:`~orchestration.execution.staleness.LEFT_OUT`, and a JSON file beside their place holds the sentence. They
are made again when what they read changes, like any other asset, so that a model is trained once its text has come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from ml.data.files import atomic_file, read_json, whole
from ml.recommenders.choice import needed_pretrained
from ml.recommenders.needs import read_by, why_refused
from ml.recommenders.registry import layer_of, registry
from orchestration.assets.training_sets import load_training_set
from orchestration.dataset_settings import named_for, read_settings
from orchestration.execution.staleness import LEFT_OUT
from orchestration.paths import DatasetPaths, Workspace
from orchestration.reporting import materialization
from orchestration.resources import Settings

_LAYERS = ("models", "codes", "teacher_lists", "rankings", "pretrained")
_KEY = "left_out"


def left_out(context: dg.AssetExecutionContext, settings: Settings) -> dg.MaterializeResult | None:
    """What an asset of a recommender returns where a set named it and the dataset cannot have it; ``None`` where it is
    to be made.

    Raises:
        dg.Failure: it was named by name.
    """
    dataset, key = context.partition_key, context.asset_key
    paths = Workspace.current().dataset(dataset)
    marker = _marker(paths, key)
    why = _why(context, paths)
    if why is None:
        marker.unlink(missing_ok=True)
        return None
    name = key.path[-1]
    if name in named_for(settings, dataset):
        raise dg.Failure(description=f"{dataset}: {refusal(name, why)}", allow_retries=False)
    text = f"{name} is left out: {why}"
    marker.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(marker) as temporary:
        temporary.write_text(json.dumps({_KEY: text}, indent=2) + "\n", encoding="utf-8")
    context.log.info(text)
    return materialization(LEFT_OUT, {"left out": text})


def refusal(name: str, why: str) -> str:
    """Why a recipe that was named by name is not made, and what to do."""
    return f"recipe {name} cannot be made: {why}. Take it out of RECIPES; a set leaves it out by itself"


def refusals(settings: Settings, paths: DatasetPaths, keys: Iterable[dg.AssetKey]) -> list[str]:
    """Why models that are to be made and that were named by name cannot be made, one sentence each.

    Args:
        settings: of the run.
        paths: of the dataset, whose training set is there.
        keys: of the assets that are to be made.
    """
    named = set(named_for(settings, paths.dataset))
    names = [key.path[-1] for key in sorted(keys) if key.path[0] == "models" and key.path[-1] in named]
    return [refusal(name, why) for name in names if (why := _lacking_with_parts(name, paths)) is not None]


def lacking(name: str, paths: DatasetPaths) -> str | None:
    """What a dataset lacks that a recommender itself needs, as :func:`ml.recommenders.needs.why_refused`; or that no
    other datasets are named that it is to be pre-trained on."""
    if name in needed_pretrained([name]) and not read_settings("pretraining", paths.dataset)["pretrain_on"]:
        return (
            "it is pre-trained on other datasets, and none is named: name some that were run before, as in "
            "PRETRAIN_ON=Beauty,Toys"
        )
    read = read_by(name, registry())
    return why_refused(name, registry(), load_training_set(paths, **read)) if read else None


def _lacking_with_parts(name: str, paths: DatasetPaths) -> str | None:
    """What a dataset lacks that a recommender, or one that it is built on, needs."""
    if (why := lacking(name, paths)) is not None:
        return why
    for part in registry().built_on(name):
        if (why := lacking(part, paths)) is not None:
            return f"it is built on {part}, and {part} cannot be made: {why}"
    return None


def sentence_on(name: str, paths: DatasetPaths) -> str | None:
    """Why a recommender is left out of the comparison; ``None`` for one that is in it."""
    return _sentence(paths, dg.AssetKey(["rankings", name])) or _sentence(paths, dg.AssetKey([layer_of(name), name]))


def sentences(dataset: str) -> list[str]:
    """One sentence for each recommender that the settings of a dataset name and that is left out."""
    paths = Workspace.current().dataset(dataset)
    names = read_settings("comparison", dataset)["recipes"]
    return [text for name in names if (text := sentence_on(name, paths)) is not None]


def _why(context: dg.AssetExecutionContext, paths: DatasetPaths) -> str | None:
    layer, name = context.asset_key.path[0], context.asset_key.path[-1]
    for above in sorted(context.assets_def.asset_deps[context.asset_key]):
        if (text := _sentence(paths, above)) is not None:
            # a ranking says what the recommender says
            of_itself = above.path[-1] == name
            return text.partition(": ")[2] if of_itself else f"it is built on {above.path[-1]}, and {text}"
    return lacking(name, paths) if layer in ("models", "pretrained") else None


def _sentence(paths: DatasetPaths, key: dg.AssetKey) -> str | None:
    marker = _marker(paths, key)
    if key.path[0] not in _LAYERS or not marker.exists():
        return None
    with whole(marker):
        return str(read_json(marker)[_KEY])


def _marker(paths: DatasetPaths, key: dg.AssetKey) -> Path:
    place = paths.asset(*key.path)
    return place.with_name(f"{place.name}.json")
