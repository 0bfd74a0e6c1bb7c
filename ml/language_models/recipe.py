"""Recipes of language models: one TOML file each, in the folder ``language_models`` next to the recipes. Imports no
torch and no transformers.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ml.config import TableError, read_table, read_toml, take_choice, take_table
from ml.language_models.rerank_recipe import RERANK, RerankRecipe
from ml.training.recipe import RECIPES, RecipeSet

LANGUAGE_MODELS = RECIPES / "language_models"
QUERY_GENERATION = "query_generation"
_WORDS = ("name", "title", "source", "notes", "set")


def _at_least(settings: Any, least: float, *names: str) -> None:
    for name in names:
        if not least <= getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be at least {least:g}, not {getattr(settings, name)}")


def _above_0(settings: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be above 0, not {getattr(settings, name)}")


@dataclass(frozen=True)
class GeneratorSettings:
    """The causal language model that writes queries.

    Attributes:
        folder: of a model in the layout of Hugging Face with weights in safetensors, and its tokenizer; a relative
            path starts at the folder of the recipes. Empty for a GPT-2 with fresh weights and a tokenizer of its own,
            which the following sizes are of.
        vocabulary: tokens of the tokenizer that is trained on the titles, at most.
        dimensions: of the states.
        layers: of the transformer.
        heads: of its attention.
        dropout: share of states, attention weights and embeddings that are left out in training.
    """

    folder: str = ""
    vocabulary: int = 4096
    dimensions: int = 128
    layers: int = 2
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        # the bytes, and the token between titles
        _at_least(self, 257, "vocabulary")
        _at_least(self, 1, "dimensions", "layers", "heads")
        if self.dimensions % self.heads:
            raise ValueError(f"dimensions must be a multiple of heads ({self.heads}), not {self.dimensions}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")


@dataclass(frozen=True)
class FinetuningSettings:
    """How the model learns to write the next title. The cost is bounded by steps, so that equal seeds give equal
    weights.

    Attributes:
        method: ``full`` trains all weights, ``lora`` low-rank additions to the attention (Hu et al., 2022), ``none``
            leaves a loaded model as it is.
        steps: of the optimiser, at most.
        batch_size: sequences in a batch.
        learning_rate: after the warm-up; it then falls to 0 in a straight line over ``steps``.
        warm_up_steps: over which it rises from 0.
        weight_decay: decoupled, on weight matrices and embeddings.
        gradient_norm: gradients are scaled down to this norm; 0 for no limit.
        validate_every: steps between two validations.
        patience: validations without a better one after which training stops.
        validation_users: at most so many are validated with, drawn once; 0 for all.
        rank: of the additions of ``lora``.
        alpha: scale of the additions of ``lora``, divided by the rank.
    """

    method: Literal["full", "lora", "none"] = "full"
    steps: int = 3000
    batch_size: int = 32
    learning_rate: float = 1e-3
    warm_up_steps: int = 100
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    validate_every: int = 500
    patience: int = 3
    validation_users: int = 500
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        _at_least(self, 1, "steps", "batch_size", "validate_every", "patience", "rank")
        _at_least(self, 0, "warm_up_steps", "weight_decay", "gradient_norm", "validation_users")
        _above_0(self, "learning_rate", "alpha")


@dataclass(frozen=True)
class QuerySettings:
    """What the model reads and writes, and how what it writes becomes a list.

    Attributes:
        history: so many of the latest items are read.
        title_tokens: of each title at most so many tokens are read and written.
        queries: written for each user, the widths of the beam search.
        index: what of an item is searched: its ``text``, or its ``title`` alone, as published.
        merge: ``weighted`` adds up the scores of an item for all queries, weighted by their probabilities; ``in_turns``
            takes the best item of each query, the most probable first, then the second best of each, and so on, which
            for lists of K items and m queries is K/m items a query, as published.
        k1: of BM25: saturation of repeated words.
        b: of BM25: strength of the correction for the length of texts.
    """

    history: int = 5
    title_tokens: int = 16
    queries: int = 5
    index: Literal["text", "title"] = "text"
    merge: Literal["weighted", "in_turns"] = "weighted"
    k1: float = 1.5
    b: float = 0.75

    def __post_init__(self) -> None:
        _at_least(self, 1, "history", "title_tokens", "queries")
        _at_least(self, 0, "k1")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b must be from 0 to 1, not {self.b}")


@dataclass(frozen=True)
class QueryRecipe:
    """A language model that writes queries for the next item, which BM25 looks for in the catalogue.

    Attributes:
        name: name of the file without its ending; also of the recommender.
        title: for tables and plots.
        source: the paper, and where values differ from it.
        notes: what to know of the choice of values.
        set: the set that makes it: see :data:`ml.training.recipe.RECIPE_SETS`.
        generator: the language model.
        finetuning: how it is trained.
        query: what it reads and writes, and how lists are made of that.
    """

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    finetuning: FinetuningSettings = field(default_factory=FinetuningSettings)
    query: QuerySettings = field(default_factory=QuerySettings)

    def __post_init__(self) -> None:
        if not self.generator.folder and self.finetuning.method != "full":
            raise ValueError(
                f"finetuning.method = {self.finetuning.method!r} needs a model to start from: name its folder in "
                "generator.folder, or train all weights (full)"
            )

    @property
    def libraries(self) -> tuple[str, ...]:
        """Modules of the extra ``llm`` that it needs."""
        return ("transformers", "peft") if self.finetuning.method == "lora" else ("transformers",)

    def digest(self) -> str:
        """SHA-256 of what decides its lists besides data and seed; no words, and not the set."""
        return _digest(self)


LanguageModelRecipe = QueryRecipe | RerankRecipe
_TABLES = {"generator": GeneratorSettings, "finetuning": FinetuningSettings, "query": QuerySettings}


def settings_of(recipe: QueryRecipe) -> dict[str, Any]:
    """All that is no words, by key, for JSON."""
    return {name: value for name, value in asdict(recipe).items() if name not in _WORDS}


def recipe_of_settings(settings: dict[str, Any]) -> QueryRecipe:
    """A recipe without words from what :func:`settings_of` returned.

    Raises:
        TypeError: there are keys that it does not have.
    """
    values = {key: _TABLES[key](**value) if key in _TABLES else value for key, value in settings.items()}
    words: dict[str, Any] = {each.name: "" for each in fields(QueryRecipe) if each.name in _WORDS}
    return QueryRecipe(**words, **values)


def load_language_model(path: Path) -> LanguageModelRecipe:
    """Read and check one recipe.

    Raises:
        TableError: the file is no TOML, or a key is missing, unknown or wrong; the message names both.
    """
    tables, where = {"name": path.stem, **read_toml(path)}, str(path)
    choices = {QUERY_GENERATION: QueryRecipe, RERANK: RerankRecipe}
    if take_choice(tables, "method", choices, where, "") == RERANK:
        reranking: RerankRecipe = read_table(RerankRecipe, tables, where, "")
        return reranking
    parts = {
        key: read_table(settings, take_table(tables, key, where), where, f"{key}.")
        for key, settings in _TABLES.items()
        if key in tables
    }
    values = read_table(_QueryWords, tables, where, "")
    try:
        return QueryRecipe(**asdict(values), **parts)
    except ValueError as error:
        raise TableError(f"{where}: {error}") from error


@dataclass(frozen=True)
class _QueryWords:
    """What stands outside of the tables of a recipe of queries."""

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet


def load_language_models(folder: Path = LANGUAGE_MODELS) -> list[LanguageModelRecipe]:
    """All recipes of a folder (``*.toml``), in the order of their names; none where there is no such folder.

    Raises:
        TableError: as :func:`load_language_model`.
    """
    return [load_language_model(path) for path in sorted(folder.glob("*.toml"))]


def _digest(recipe: QueryRecipe, *without: str) -> str:
    decisive = {key: value for key, value in settings_of(recipe).items() if key not in without}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
