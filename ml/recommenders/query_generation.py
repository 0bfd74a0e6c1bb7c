"""Query generation as a recommender: a language model writes what the next item may be called, and BM25 finds it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import sparse

from ml.baselines.popularity import item_counts
from ml.beyond_accuracy.measures import ndcg
from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.item_graph.histories import check_request
from ml.language_models.finetuning import Finetuned, FinetuningRecord, finetune
from ml.language_models.generator import (
    Generator,
    fresh_generator,
    load_generator,
    with_additions_merged,
    with_low_rank_additions,
)
from ml.language_models.queries import Query, write_queries
from ml.language_models.query_search import QuerySearch
from ml.language_models.recipe import QueryRecipe, recipe_of_settings, settings_of
from ml.language_models.sequences import TitleTokens, tokens_of_titles
from ml.language_models.titles import titles_of
from ml.recommender import Recommendations
from ml.retrieval.bm25 import index_texts
from ml.training.devices import choose_device
from ml.training.json_lines import write_lines
from ml.training.reproducible import generator_for, reproducible
from ml.training.runtime import Execution
from ml.training.weights_digest import weights_digest

FORMAT = "raw2rank-query-generation-1"
DESCRIPTION_FILE = "query_generation.json"
LOG_FILE = "finetuning_log.jsonl"
_GENERATOR, _TITLES, _STEMS = "generator", "titles.json", "stems.json"
_METRIC_DEPTH = 10
# places of the random numbers before training: of the weights, and of the validation users that are drawn
_WEIGHTS, _USERS = 0, 1


class QueryGeneration:
    """Writes queries for the next item with a language model, and looks for them in the catalogue by BM25.

    After GPT4Rec (Li et al., arXiv 2304.03879): the titles of a history are the prompt, the title of the next item is
    what the model learns to write, and a beam search writes several queries for each user. Unlike there, a history is a
    list of titles alone, without an instruction, so that one pass learns all next titles of a history.

    A history without a title has the most popular items.

    Args:
        recipe: model, training, queries.
        seed: of fresh weights, the order of training and dropout, and of the validation users that are drawn.
        execution: threads, device and precision.
        fit_on: what the final fit reads, ``train`` or ``train+validation``.
        exclude_seen: whether validation lists leave the items of the histories out.
        recipes: folder that a relative folder of the generator starts at.
        tell: called with the record of each validation.
    """

    def __init__(
        self,
        recipe: QueryRecipe,
        seed: int = 0,
        *,
        execution: Execution | None = None,
        fit_on: str = FIT_ON_TRAIN,
        exclude_seen: bool = False,
        recipes: Path | None = None,
        tell: Callable[[FinetuningRecord], None] | None = None,
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.execution = Execution() if execution is None else execution
        self.fit_on = fit_on
        self.exclude_seen = exclude_seen
        self.recipes = recipes
        self.tell = tell
        self.best_step = 0
        self.seconds = 0.0
        self.log: tuple[FinetuningRecord, ...] = ()
        self._titles: tuple[str, ...] = ()
        self._generator: Generator | None = None
        self._tokens: TitleTokens | None = None
        self._search: QuerySearch | None = None

    def fit(self, training_set: TrainingSet) -> Self:
        """Train the model, and index the catalogue; test targets are never read.

        Training stops by nDCG@10 of the lists of validation users, and the weights of the best validation are kept.
        With ``fit_on="train+validation"`` these are thrown away, and fresh ones are trained on the validation items
        too, for as many steps as were best.

        Raises:
            MissingExtra: a library of the extra ``llm`` is not installed.
            ValueError: there are no titles, nothing to learn from, or the model reads fewer tokens than the recipe
                asks for; the message names the recipe.
            DivergedError: the loss is no finite number any more.
        """
        self._titles = titles_of(training_set, self.recipe.name)
        began = time.perf_counter()
        final = training_set.to_fit_on(self.fit_on)
        refits = self.fit_on == FIT_ON_BOTH and len(training_set.validation_users) > 0
        device = choose_device(self.execution.device)
        with reproducible(self.execution.threads, device):
            found = self._train(training_set, None)
            self.best_step, self.log = found.best_step, found.log
            if refits:
                self._train(final, self.best_step)
        self._search = self._searched(final)
        self.seconds = time.perf_counter() - began
        return self

    def _train(self, training_set: TrainingSet, stop_at: int | None) -> Finetuned:
        """Train a generator on the training histories, until it is best on the validation users or for some steps."""
        recipe, settings = self.recipe, self.recipe.finetuning
        generator_for(self.seed, _WEIGHTS)
        generator = self._untrained(training_set)
        if settings.method == "lora":
            generator = with_low_rank_additions(generator, settings.rank, settings.alpha)
        generator.move_to(choose_device(self.execution.device))
        self._generator = generator
        self._tokens = tokens_of_titles(self._titles, generator, recipe.query.title_tokens)
        self._search = self._searched(training_set)
        if settings.method == "none":
            return Finetuned(0, ())
        windows = self._tokens.windows(training_set.histories("train"), recipe.query.history)
        try:
            found = finetune(
                generator,
                windows,
                settings,
                self.seed,
                self._validation(training_set) if stop_at is None else None,
                stop_at=stop_at,
                precision=self.execution.precision,
                tell=self.tell,
            )
        except ValueError as error:
            raise ValueError(f"recipe {recipe.name}: {training_set.dataset}: {error}") from error
        if settings.method == "lora":
            self._generator = with_additions_merged(generator)
        return found

    def _untrained(self, training_set: TrainingSet) -> Generator:
        """The model of the recipe's folder, or one with fresh weights.

        Raises:
            ValueError: the model reads fewer tokens than the recipe asks for.
        """
        settings, query = self.recipe.generator, self.recipe.query
        # the prompt, and the longest title behind it
        positions = 1 + (query.history + 1) * (query.title_tokens + 1)
        if not settings.folder:
            trained_on = np.unique(training_set.train.items)
            return fresh_generator(settings, [self._titles[item] for item in trained_on], positions)
        folder = Path(settings.folder)
        generator = load_generator(folder if self.recipes is None else self.recipes / folder)
        if generator.positions < positions:
            raise ValueError(
                f"recipe {self.recipe.name}: {query.history} items and a query of {query.title_tokens} tokens each are "
                f"{positions} tokens, and the model in {settings.folder} reads {generator.positions}: lower "
                "query.history or query.title_tokens"
            )
        return generator

    def _searched(self, training_set: TrainingSet) -> QuerySearch:
        """The index of the catalogue."""
        query = self.recipe.query
        assert training_set.item_text is not None  # the titles are made of it
        texts = training_set.item_text if query.index == "text" else self._titles
        index = index_texts(texts, query.k1, query.b)
        return QuerySearch(index.stems, index.weights, item_counts(training_set), query.merge)

    def _validation(self, training_set: TrainingSet) -> Callable[[], float] | None:
        """Gives nDCG@10 for validation users with the weights as they are; ``None`` where there are none."""
        cases, wanted = len(training_set.validation_users), self.recipe.finetuning.validation_users
        if cases == 0:
            return None
        chosen = np.arange(cases)
        if 0 < wanted < cases:
            rng = np.random.default_rng(np.random.SeedSequence([self.seed, _USERS]))
            chosen = np.sort(rng.choice(cases, wanted, replace=False))
        histories = training_set.histories("validation").take(chosen)
        targets = training_set.validation_targets[chosen]
        depth = min(_METRIC_DEPTH, training_set.items)

        def reached() -> float:
            lists = self._recommend(histories, depth, self.exclude_seen)
            return float(ndcg(lists.items, targets).mean())

        return reached

    @property
    def generator(self) -> Generator:
        """The language model.

        Raises:
            RuntimeError: it is neither fitted nor loaded.
        """
        if self._generator is None:
            raise RuntimeError("this language model is not trained: call fit or load first")
        return self._generator

    def queries(self, histories: Sequences) -> list[tuple[Query, ...]]:
        """The queries for each history, the most probable first; none for a history without a title."""
        with reproducible(self.execution.threads, self.generator.model.device):
            return self._queries(histories)

    def _queries(self, histories: Sequences) -> list[tuple[Query, ...]]:
        assert self._tokens is not None  # made with the generator
        query = self.recipe.query
        prompts = [self._tokens.prompt(histories[row].tolist(), query.history) for row in range(len(histories))]
        return write_queries(self.generator, prompts, query.queries, query.title_tokens)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The items that the queries find, then the most popular ones."""
        check_request(histories, k, len(self._titles))
        with reproducible(self.execution.threads, self.generator.model.device):
            return self._recommend(histories, k, exclude_seen)

    def _recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        assert self._search is not None  # made with the generator
        return self._search.lists(self._queries(histories), histories, k, exclude_seen)

    def save(self, folder: Path) -> None:
        """Write the model in the layout of Hugging Face into ``generator``, the index as ``.npy`` and JSON files, the
        log, and ``query_generation.json``."""
        assert self._search is not None  # made with the generator
        (folder / _GENERATOR).mkdir()
        self.generator.save(folder / _GENERATOR)
        weights = self._search.weights
        arrays = {"counts": self._search.counts}
        arrays |= {f"weights_{part}": getattr(weights, part) for part in ("data", "indices", "indptr")}
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        for name, texts in ((_TITLES, self._titles), (_STEMS, self._search.stems)):
            (folder / name).write_text(json.dumps(texts, ensure_ascii=False) + "\n", encoding="utf-8")
        write_lines(self.log, folder / LOG_FILE)
        (folder / DESCRIPTION_FILE).write_text(json.dumps(self.described(), indent=2) + "\n", encoding="utf-8")

    def described(self) -> dict[str, Any]:
        """What decides the lists, and what training reached, for ``query_generation.json``."""
        return {
            "format": FORMAT,
            "recipe_name": self.recipe.name,
            "recipe": settings_of(self.recipe),
            "recipe_digest": self.recipe.digest(),
            "source": self.recipe.source,
            "seed": self.seed,
            "fit_on": self.fit_on,
            "exclude_seen": self.exclude_seen,
            "threads": self.execution.threads,
            "parameters": self.generator.parameters,
            "weights_digest": weights_digest(self.generator.model.state_dict()),
            "best_step": self.best_step,
            "validation": [
                {name: value for name, value in asdict(each).items() if name != "seconds"} for each in self.log
            ],
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the folder does not hold what was saved.
            MissingExtra: transformers is not installed.
        """
        with whole(folder):
            described = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            if described["format"] != FORMAT:
                raise ValueError(f"it holds {described['format']}, this version reads {FORMAT}")
            recipe = recipe_of_settings(described["recipe"])
            recipe = replace(recipe, name=described["recipe_name"], source=described["source"])
            texts = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in (_TITLES, _STEMS)}
            parts = ("data", "indices", "indptr")
            loaded_arrays = [np.load(folder / f"weights_{part}.npy", allow_pickle=False) for part in parts]
            counts = np.load(folder / "counts.npy", allow_pickle=False)
            shape = (len(texts[_STEMS]), len(texts[_TITLES]))
            weights = sparse.csr_array(tuple(loaded_arrays), shape=shape)
            log = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
        loaded = cls(
            recipe,
            described["seed"],
            execution=Execution(threads=described["threads"]),
            fit_on=described["fit_on"],
            exclude_seen=described["exclude_seen"],
        )
        loaded.best_step = described["best_step"]
        loaded.log = tuple(FinetuningRecord(**each) for each in log)
        loaded._titles = tuple(texts[_TITLES])
        generator = loaded._generator = load_generator(folder / _GENERATOR)
        loaded._tokens = tokens_of_titles(loaded._titles, generator, recipe.query.title_tokens)
        loaded._search = QuerySearch(texts[_STEMS], weights, counts, recipe.query.merge)
        return loaded
