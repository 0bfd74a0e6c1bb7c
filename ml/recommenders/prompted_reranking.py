"""A re-ranking by a language model as a recommender: another one gives candidates, and the model is asked to rank them.

After Hou et al., "Large language models are zero-shot rankers for recommender systems" (LLMRank; ECIR 2024, arXiv
2305.08845): recency-focused prompts, and bootstrapping, where each list is asked about several times with the
candidates in another order, and ranks are averaged. The model sees titles alone and is trained on nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ml.baselines.popularity import item_counts
from ml.baselines.registry import BASELINES
from ml.data.files import whole
from ml.data.sequences import Sequences
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.item_graph.histories import check_request
from ml.language_models.answers import Answer, Client, KeptAnswers, NoModel, cache_file
from ml.language_models.asking import Asker
from ml.language_models.prompts import is_drawn, prompt_of, shuffled
from ml.language_models.reading import Reading, mean_ranks, read_answer
from ml.language_models.rerank_recipe import RerankRecipe
from ml.language_models.sources import connect
from ml.language_models.titles import shortened, titles_of
from ml.recommender import NO_ITEM, Recommendations, Recommender
from ml.recommenders.fused import load_part

FORMAT = "raw2rank-prompted-reranking-1"
PROMPTED_FILE = "prompted_reranking.json"
_TITLES, _COUNTS = "titles.json", "counts.npy"


@dataclass(frozen=True)
class Turn:
    """One question about the candidates of a history.

    Attributes:
        prompt: that was asked.
        shown: order in which the candidates were shown: places in the candidates, int ``[candidates]``.
        reading: of the answer; its candidates are in the order of ``shown``.
        answer: of the model.
    """

    prompt: str
    shown: np.ndarray
    reading: Reading
    answer: Answer

    def ranks(self) -> np.ndarray:
        """Rank that the answer gives each candidate, in the order of the candidates, float64; nan where none."""
        ranks = np.empty(len(self.shown))
        ranks[self.shown] = self.reading.ranks()
        return ranks


@dataclass(frozen=True)
class Asked:
    """What was asked for one history.

    Attributes:
        row: of the histories.
        came: the list of the part, int ``[depth]``.
        places: in that list of the candidates, ascending, int ``[candidates]``.
        turns: the questions that were answered; fewer than there are shuffles, or none, where the budget was spent.
    """

    row: int
    came: np.ndarray
    places: np.ndarray
    turns: tuple[Turn, ...]

    @property
    def candidates(self) -> np.ndarray:
        """The items that were asked about, in the order of the part, int ``[candidates]``."""
        return self.came[self.places]

    def ranked(self) -> np.ndarray:
        """The candidates by their mean rank, ties in the order of the part, int ``[candidates]``."""
        if not self.turns:
            return self.candidates
        ranks = mean_ranks([turn.ranks() for turn in self.turns])
        return self.candidates[np.argsort(ranks, kind="stable")]

    def reordered(self) -> np.ndarray:
        """The list of the part with its candidates in the order of the model; other items keep their places."""
        found = self.came.copy()
        found[self.places] = self.ranked()
        return found


class PromptedReranking:
    """The candidates of another recommender in the order that a language model gives them.

    Candidates without a title are not asked about and keep their places. A list stays as it is where the history has no
    title, where fewer than two candidates have one, where the history is not drawn (``users`` of the recipe), and where
    the budget is spent. Candidates that an answer does not name stand behind those that it does.

    Scores are the reciprocal of the rank: only the order means something.

    Args:
        recipe: what is asked about, and how.
        part: the recommender ``recipe.of``, to be fitted or fitted.
        fit_on: what a baseline is finally fitted on; models know theirs.
        seed: of the orders in which candidates are shown, and of the histories that are drawn.
        client: the model; by default the one that the recipe and the environment name.
        kept: where answers are kept; by default the file :func:`ml.language_models.answers.cache_file`.
        recipes: folder that a relative folder of the model starts at.
        device: that a local model runs on.
    """

    def __init__(
        self,
        recipe: RerankRecipe,
        part: Recommender,
        *,
        fit_on: str = FIT_ON_TRAIN,
        seed: int = 0,
        client: Client | None = None,
        kept: KeptAnswers | None = None,
        recipes: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.recipe = recipe
        self.part = part
        self.fit_on = fit_on
        self.seed = seed
        self.model = ""
        self._client = client
        self._kept = kept
        self._recipes = Path() if recipes is None else recipes
        self._device = device
        self._asker: Asker | None = None
        self._share = 1.0
        self._titles: tuple[str, ...] = ()
        self.counts = np.empty(0, dtype=np.int64)

    def fit(self, training_set: TrainingSet) -> Self:
        """Fit the part, then :meth:`prepare`."""
        is_baseline = self.recipe.of in BASELINES
        self.part.fit(training_set.to_fit_on(self.fit_on) if is_baseline else training_set)
        return self.prepare(training_set)

    def prepare(self, training_set: TrainingSet) -> Self:
        """Take over titles and popularity; the part is fitted. Nothing is asked yet.

        Raises:
            NoModel: no model is configured.
            ValueError: there are no titles; the message names the recipe.
        """
        self._titles = titles_of(training_set, self.recipe.name)
        self.counts = item_counts(training_set.to_fit_on(self.fit_on))
        cases, wanted = len(training_set.test_users), self.recipe.users
        self._share = wanted / cases if 0 < wanted < cases else 1.0
        self.model = self._asking().client.model
        return self

    def _asking(self) -> Asker:
        """What asks the model; made when it is needed first.

        Raises:
            NoModel: none is configured, or another one than the recommender was made with.
        """
        if self._asker is None:
            client = self._client or connect(self.recipe, self._recipes, self._device)
            if self.model and client.model != self.model:
                raise NoModel(
                    f"recipe {self.recipe.name}: it was made with the model {self.model}, and {client.model} is "
                    "configured now: configure the first one, or make the recommender again"
                )
            kept = KeptAnswers(cache_file()) if self._kept is None else self._kept
            self._asker = Asker(client, kept, self.recipe.token_budget, self.recipe.answer_tokens)
        return self._asker

    def ask(self, histories: Sequences, lists: Recommendations) -> list[Asked]:
        """Ask the model about the candidates of each history that is to be asked for; answers come from the cache where
        they are known.

        Args:
            histories: oldest item first, ``[rows]``.
            lists: of the part for these.

        Returns:
            One entry for each history that there was something to ask for, in their order.

        Raises:
            NoAnswer: the model does not answer. Answers so far are kept.
        """
        recipe, found, prompts = self.recipe, [], []
        for row in range(len(histories)):
            history = histories[row].tolist()
            listed = lists.items[row, : recipe.candidates].tolist()
            places = np.array([place for place, item in enumerate(listed) if self._has_title(item)], dtype=np.int64)
            candidates = [listed[place] for place in places]
            read = [item for item in history if self._has_title(item)][-recipe.history :]
            if not read or len(candidates) < 2 or not is_drawn(self.seed, history, self._share):
                continue
            orders = [shuffled(self.seed, history, candidates, turn) for turn in range(recipe.shuffles)]
            found.append((row, places, candidates, orders))
            prompts += [prompt_of(recipe.prompt, self._shown(read), self._of(candidates, order)) for order in orders]
        if not prompts:
            return []
        answers = zip(prompts, self._asking().ask(prompts), strict=True)
        asked = []
        for row, places, candidates, orders in found:
            given = [(order, *next(answers)) for order in orders]
            turns = [
                Turn(prompt, order, read_answer(answer.text, self._of(candidates, order)), answer)
                for order, prompt, answer in given
                if answer is not None
            ]
            asked.append(Asked(row, lists.items[row], places, tuple(turns)))
        return asked

    def _has_title(self, item: int) -> bool:
        return item != NO_ITEM and bool(self._titles[item])

    def _shown(self, items: list[int]) -> list[str]:
        return shortened([self._titles[item] for item in items], self.recipe.title_characters)

    def _of(self, candidates: list[int], order: np.ndarray) -> list[str]:
        return self._shown([candidates[place] for place in order])

    def candidates(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The lists of the part that are re-ranked: at least ``candidates`` of the recipe long."""
        check_request(histories, k, len(self._titles))
        depth = min(max(self.recipe.candidates, k), len(self._titles))
        return self.part.recommend(histories, depth, exclude_seen)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The re-ranked lists; the items behind the candidates follow in the order of the part.

        Raises:
            NoAnswer: the model does not answer. Answers so far are kept.
        """
        if not self._titles:
            raise RuntimeError("this re-ranking knows no titles: call fit or load first")
        lists = self.candidates(histories, k, exclude_seen)
        ordered = lists.items.copy()
        for asked in self.ask(histories, lists):
            ordered[asked.row] = asked.reordered()
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        items[:, : ordered.shape[1]] = ordered[:, :k]
        scores = np.where(items == NO_ITEM, -np.inf, 1 / np.arange(1, k + 1))
        return Recommendations(items, scores.astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write what :meth:`save_prepared` writes, and the part into a folder of its name."""
        self.save_prepared(folder)
        (folder / self.recipe.of).mkdir()
        self.part.save(folder / self.recipe.of)

    def save_prepared(self, folder: Path) -> None:
        """Write everything but the part: ``prompted_reranking.json``, titles and popularity. Answers stay in their
        cache; neither the address of a server nor its key is written."""
        text = json.dumps(self.described(), indent=2)
        (folder / PROMPTED_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / _TITLES).write_text(json.dumps(self._titles, ensure_ascii=False) + "\n", encoding="utf-8")
        np.save(folder / _COUNTS, self.counts, allow_pickle=False)

    def described(self) -> dict[str, Any]:
        """What decides the lists, for ``prompted_reranking.json``."""
        return {
            "format": FORMAT,
            "recipe_name": self.recipe.name,
            "recipe": self.recipe.settings(),
            "recipe_digest": self.recipe.digest(),
            "source": self.recipe.source,
            "model": self.model,
            "seed": self.seed,
            "fit_on": self.fit_on,
            "share": self._share,
        }

    @classmethod
    def load(cls, folder: Path, client: Client | None = None, kept: KeptAnswers | None = None) -> Self:
        """Read what :meth:`save` wrote."""
        return cls.load_prepared(folder, lambda name: load_part(name, folder / name), client=client, kept=kept)

    @classmethod
    def load_prepared(
        cls,
        folder: Path,
        load: Callable[[str], Recommender],
        *,
        client: Client | None = None,
        kept: KeptAnswers | None = None,
        recipes: Path | None = None,
    ) -> Self:
        """Read what :meth:`save_prepared` wrote.

        Args:
            folder: that it was written to.
            load: gives the part by its name.
            client: as of the constructor.
            kept: as of the constructor.
            recipes: as of the constructor.

        Raises:
            DamagedFile: the folder does not hold what was saved.
        """
        with whole(folder):
            described = json.loads((folder / PROMPTED_FILE).read_text(encoding="utf-8"))
            if described["format"] != FORMAT:
                raise ValueError(f"it holds {described['format']}, this version reads {FORMAT}")
            words = {"title": "", "notes": "", "set": "quick", "source": described["source"]}
            recipe = RerankRecipe(name=described["recipe_name"], **words, **described["recipe"])
            titles = tuple(json.loads((folder / _TITLES).read_text(encoding="utf-8")))
            counts = np.load(folder / _COUNTS, allow_pickle=False)
            options = {name: described[name] for name in ("seed", "fit_on")}
            model, share = str(described["model"]), float(described["share"])
        loaded = cls(recipe, load(recipe.of), **options, client=client, kept=kept, recipes=recipes)
        loaded.model, loaded._share, loaded._titles, loaded.counts = model, share, titles, counts
        return loaded
