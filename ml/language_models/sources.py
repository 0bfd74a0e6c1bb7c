"""Which model a re-ranking asks: a server that the environment names, or a local folder."""

from __future__ import annotations

import os
from pathlib import Path

from ml.extras import missing, remedy
from ml.language_models.answers import Client, NoModel
from ml.language_models.rerank_recipe import RerankRecipe

URL, MODEL, KEY = "RAW2RANK_LLM_URL", "RAW2RANK_LLM_MODEL", "RAW2RANK_LLM_KEY"


def obstacle(recipe: RerankRecipe, recipes: Path) -> str:
    """Why a recipe cannot be made here, as the end of a sentence; empty where it can. Nothing is asked.

    Args:
        recipe: of the re-ranking.
        recipes: folder that a relative folder of the model starts at.
    """
    if recipe.endpoint:
        unset = [name for name in (URL, MODEL) if not os.environ.get(name)]
        if unset:
            return (
                f"no language model is configured: set {' and '.join(unset)} to ask an OpenAI-compatible server, or "
                "name a local model by model_folder in a recipe of your own"
            )
        return ""
    if not (recipes / recipe.model_folder).is_dir():
        return f"there is no folder {recipes / recipe.model_folder}: put a model there, or change model_folder"
    module = missing("llm", recipe.libraries)
    return remedy("llm", module) if module else ""


def connect(recipe: RerankRecipe, recipes: Path, device: str = "cpu") -> Client:
    """The model that a recipe asks. A server is not asked anything yet; a local model is loaded.

    Raises:
        NoModel: none is configured, or the address of the server cannot be used.
    """
    if reason := obstacle(recipe, recipes):
        raise NoModel(f"recipe {recipe.name}: {reason}")
    if recipe.endpoint:
        from ml.language_models.endpoint import Endpoint

        return Endpoint(
            os.environ[URL],
            os.environ[MODEL],
            os.environ.get(KEY, ""),
            at_once=recipe.concurrency,
            timeout=recipe.timeout_seconds,
            retries=recipe.retries,
        )
    from ml.language_models.local_model import LocalModel
    from ml.training.devices import choose_device

    return LocalModel(recipes / recipe.model_folder, choose_device(device))
