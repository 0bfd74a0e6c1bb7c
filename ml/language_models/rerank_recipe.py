"""Recipes of re-rankings by a language model that is asked and not trained. Imports no torch and no transformers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ml.training.recipe import RecipeSet

RERANK = "rerank"
_WORDS = ("name", "title", "source", "notes", "set")
# what decides no list: words, and how fast and at what price answers come
_NOT_DECISIVE = (
    *_WORDS,
    *("concurrency", "timeout_seconds", "retries", "price_of_a_million_read", "price_of_a_million_written"),
)


@dataclass(frozen=True)
class RerankRecipe:
    """The candidates of another recommender, put in order by a language model that reads titles.

    Attributes:
        name: name of the file without its ending; also of the recommender.
        title: for tables and plots.
        source: the paper, and where values differ from it.
        notes: what to know of the choice of values.
        set: the set that makes it: see :data:`ml.training.recipe.RECIPE_SETS`.
        of: name of the baseline, model, fusion or re-ranking whose candidates are asked about.
        endpoint: whether an OpenAI-compatible server is asked, which ``RAW2RANK_LLM_URL`` and ``RAW2RANK_LLM_MODEL``
            name.
        model_folder: of a causal model in the layout of Hugging Face with weights in safetensors, where no server is
            asked; a relative path starts at the folder of the recipes.
        candidates: how many items of each list are asked about.
        history: so many of the latest items are shown.
        shuffles: times that each list is asked about, with the candidates in another random order each time; the ranks
            are averaged.
        prompt: ``sequential`` shows the history in order, ``recency`` names its last item once more, ``in_context``
            shows the last item as an example of a good recommendation for those before it.
        title_characters: of each title at most so many are shown.
        answer_tokens: of an answer, at most.
        users: of the test users about so many are asked for, drawn by a digest of their histories; 0 for all. Other
            lists are those of ``of``.
        token_budget: tokens read and written, at most, counting answers from the cache too; 0 for no limit. Lists
            behind it are those of ``of``.
        concurrency: questions that a server is asked at a time.
        timeout_seconds: that a server may be silent for.
        retries: of a question, where the server is busy, fails or is silent.
        price_of_a_million_read: tokens of prompts, in a currency of your choice, for the report; 0 where unknown.
        price_of_a_million_written: the same for tokens of answers.
    """

    name: str
    title: str
    source: str
    notes: str
    set: RecipeSet
    of: str
    endpoint: bool = False
    model_folder: str = ""
    candidates: int = 20
    history: int = 10
    shuffles: int = 3
    prompt: Literal["sequential", "recency", "in_context"] = "recency"
    title_characters: int = 100
    answer_tokens: int = 400
    users: int = 500
    token_budget: int = 3_000_000
    concurrency: int = 4
    timeout_seconds: float = 120.0
    retries: int = 5
    price_of_a_million_read: float = 0.0
    price_of_a_million_written: float = 0.0

    def __post_init__(self) -> None:
        if self.endpoint == bool(self.model_folder):
            raise ValueError("name one model to ask: endpoint = true, or a folder in model_folder")
        for name, least in (("candidates", 2), ("history", 1), ("shuffles", 1), ("title_characters", 10)):
            self._check(name, least)
        for name in ("answer_tokens", "concurrency"):
            self._check(name, 1)
        for name in ("users", "token_budget", "retries", "price_of_a_million_read", "price_of_a_million_written"):
            self._check(name, 0)
        if not 0 < self.timeout_seconds < float("inf"):
            raise ValueError(f"timeout_seconds must be above 0, not {self.timeout_seconds}")

    def _check(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if not least <= value < float("inf"):
            raise ValueError(f"{name} must be at least {least}, not {value}")

    @property
    def libraries(self) -> tuple[str, ...]:
        """Modules of the extra ``llm`` that it needs."""
        return ("transformers",) if self.model_folder else ()

    def decisive(self) -> dict[str, Any]:
        """What decides its lists besides those of its part and the model that is asked, by key."""
        return {key: value for key, value in asdict(self).items() if key not in _NOT_DECISIVE}

    def settings(self) -> dict[str, Any]:
        """All that is no words, by key, for JSON."""
        return {key: value for key, value in asdict(self).items() if key not in _WORDS}

    def digest(self) -> str:
        """SHA-256 of :meth:`decisive`."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()
