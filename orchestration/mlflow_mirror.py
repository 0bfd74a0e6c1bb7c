"""The releases of a dataset as versions of a registered model in MLflow, for those who look for models there.

A mirror, never the source: raw2rank reads nothing back, and what cannot be mirrored is a warning, never a failed run.
``RAW2RANK_MLFLOW`` turns it on; it is the address of an MLflow registry, such as ``sqlite:////srv/mlflow.db`` or that
of a server. The alias ``champion`` names the release in charge. Needs the extra ``mlflow``.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ml.extras import missing, remedy
from orchestration.paths import REPOSITORY, DatasetPaths

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ml.release.bundle import Bundle
    from orchestration.release import State

MLFLOW = "RAW2RANK_MLFLOW"
ALIAS = "champion"
_SETTINGS = {
    # a server that does not answer must not keep a run
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    # MLflow tells its makers of every call otherwise
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def mirror(paths: DatasetPaths, state: State, log: logging.Logger) -> None:
    """Show the release in charge in MLflow, where :data:`MLFLOW` is set.

    A release is registered once, however often it comes back in charge; then the alias is moved to it. What cannot be
    done is a warning, and the next run tries again.

    Args:
        paths: of the dataset.
        state: what is in charge.
        log: of the run.
    """
    address = os.environ.get(MLFLOW, "").strip()
    if not address or not state.release:
        return
    unseen = f"the release of {paths.dataset} is in charge, and is not shown in MLflow"
    if module := missing("mlflow"):
        log.warning(f"{unseen}: {remedy('mlflow', module)}, or unset {MLFLOW}")
        return
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        version = _mirrored(address, paths, state)
    except Exception as error:  # noqa: BLE001 - whatever a registry may raise, the release is in charge
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        log.warning(
            f"{unseen}: {_without_secrets(said, address)}; see that {_place(address)} ({MLFLOW}) can be reached "
            "and written to, the next run tries again"
        )
    else:
        log.info(f"MLflow: version {version} of {paths.dataset} is the {ALIAS}")


def _without_secrets(text: str, address: str) -> str:
    parts = urlsplit(address)
    text = text.replace(address, _place(address))
    for secret in (parts.netloc.rpartition("@")[0], parts.password, parts.query):
        text = text.replace(secret, "...") if secret else text
    return text


def _place(address: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else f"{parts.scheme}:{parts.path}"


def _mirrored(address: str, paths: DatasetPaths, state: State) -> str:
    """Register the release unless it is there, and move the alias; the number of its version."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address, registry_uri=address)
    model = paths.dataset
    version = _version_of(client, model, state.release) or _register(client, paths, state)
    client.set_registered_model_alias(model, ALIAS, version.version)
    return str(version.version)


def _version_of(client: MlflowClient, model: str, release: str) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{model}'")
    return next((version for version in found if version.tags.get("release") == release), None)


def _register(client: MlflowClient, paths: DatasetPaths, state: State) -> ModelVersion:
    from ml.release.bundle import load

    model, bundle = paths.dataset, load(paths.champion)
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model, description=f"Releases of raw2rank for the dataset {model}")
    return client.create_model_version(
        model, source=_source(bundle.folder), description=state.sentence, tags=_tags(state, bundle)
    )


def _source(folder: Path) -> str:
    """The bundle itself: the version that is in charge, not the link to whatever is in charge later."""
    return folder.as_uri()


def _tags(state: State, bundle: Bundle) -> dict[str, str]:
    from ml.release.contents import RECOMMENDERS
    from ml.reports.collect.report import project_version

    recipes = {part: _recipe_digest(bundle.folder / RECOMMENDERS / part) for part in bundle.about["recommenders"]}
    known = {
        "release": state.release,
        "dataset": bundle.dataset,
        "recommender": bundle.name,
        "title": bundle.title,
        "kind": bundle.kind,
        "fitted_on": bundle.fitted_on,
        "raw2rank": project_version(REPOSITORY),
        **{f"digest.{name}": digest for name, digest in bundle.digests.items()},
        **{f"recipe.{part}": digest for part, digest in recipes.items()},
        **{name: f"{value:.6f}" for name, value in bundle.described.get("metrics", {}).items()},
    }
    return {name: value for name, value in known.items() if value}


def _recipe_digest(folder: Path) -> str:
    """Of the recipe that a model was trained by; empty for a recommender without one."""
    from ml.data.files import read_json

    return read_json(folder, "config.json").get("recipe_digest", "") if (folder / "config.json").exists() else ""
