"""Any recipe as a recommender: the protocol of ``ml.recommender`` around a trained model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ml.codes.codes import CODES_PER_BOOK, Codes, code_type
from ml.data.files import whole
from ml.data.item_index import check_items
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, Sequences, TrainingSet
from ml.models.build import build_model
from ml.models.generating_model import GeneratingModel
from ml.models.item_embeddings import JointProductQuantisedItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.objectives.build import build_objective
from ml.recommender import NO_ITEM, Recommendations
from ml.retrieval.quantised_top_k import QuantisedTopK, pays
from ml.retrieval.top_k import tie_break_order, top_k
from ml.tasks.build import build_task
from ml.training.checkpoint import Checkpoint, run_fingerprint
from ml.training.derived import Derived, derive, described, filled_in, read_described
from ml.training.devices import choose_device
from ml.training.distributed import World
from ml.training.log import FILE as LOG_FILE
from ml.training.log import EpochRecord, read_log, write_log
from ml.training.loop import Phase, Trained, train_model
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.reproducible import generator_for, reproducible
from ml.training.runtime import Execution
from ml.training.scoring import chunks_of_states, fallback_chunks, hide_seen, scored_chunks, validation_ndcg
from ml.training.trainable import trainable_of
from ml.training.weights_digest import contiguous, weights_digest

FORMAT = "raw2rank-sequential-recommender-2"
# how much of the validation lists is kept, for what is built on several recommenders
VALIDATION_DEPTH = 200
# where a model keeps the codes that it is built on: quantised item vectors, and models that generate codes
_CODES_IN_WEIGHTS = ("input_embedding.codes", "codes")


class SequentialRecommender:
    """A sequential model, trained as its recipe says.

    An empty history is answered with the most popular items of the training histories. Of a history longer
    than the recipe's ``max_length`` the most recent items are read.

    Args:
        recipe: what to train.
        seed: of initial weights, shuffling, negatives and dropout.
        codes: the code assignment, for recipes that name one.
        execution: threads, device, precision, checkpoints, progress bar.
        fit_on: what the final weights are trained on, ``train`` or ``train+validation``.
        validate_with_seen_excluded: leave the items of a history out when validation users are ranked; as the
            final ranking does.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int = 0,
        codes: Codes | None = None,
        *,
        execution: Execution | None = None,
        fit_on: str = FIT_ON_TRAIN,
        validate_with_seen_excluded: bool = False,
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.codes = codes
        self.execution = Execution() if execution is None else execution
        if fit_on not in (FIT_ON_TRAIN, FIT_ON_BOTH):
            raise ValueError(f"fit_on is {FIT_ON_TRAIN!r} or {FIT_ON_BOTH!r}, not {fit_on!r}")
        self.fit_on = fit_on
        self.validate_with_seen_excluded = validate_with_seen_excluded
        self.log: list[EpochRecord] = []
        self.best_epoch = 0
        self.share_of_padding = 0.0
        self.training_set_digest = ""
        self.validation_lists: Recommendations | None = None
        self.derived: tuple[Derived, ...] = ()
        self._model: SequentialModel | GeneratingModel | None = None
        self._task = build_task(recipe.task, 0)
        self._quantised: QuantisedTopK | None = None
        self._users = 0
        self._training_counts = np.zeros(0, dtype=np.int64)

    @property
    def model(self) -> SequentialModel | GeneratingModel:
        """The trained model.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._model is None:
            raise RuntimeError(f"{self.recipe.name} is not trained: call fit or load first")
        return self._model

    def fit(self, training_set: TrainingSet) -> Self:
        """Train from fresh weights; test targets are never read.

        Validation targets decide when to stop. With ``fit_on="train+validation"`` the weights found so are thrown
        away, and fresh ones are trained on the validation items too, for as many epochs as were best.

        Raises:
            ValueError: codes are missing or of another catalogue, or all histories are too short.
            DivergedError: the loss is no finite number any more.
        """
        self.training_set_digest = training_set.digest()
        refits = self.fit_on == FIT_ON_BOTH and len(training_set.validation_users) > 0
        # of the histories of the search; the refit is trained with the same values
        recipe, self.derived = derive(
            self.recipe,
            training_set.train.lengths,
            build_task(self.recipe.task, training_set.items).least_items,
            validated=len(training_set.validation_users) > 0,
        )
        if self.execution.progress and World.current().is_first:
            for each in self.derived:
                print(f"{self.recipe.title}: {each}", file=sys.stderr, flush=True)
        search = Phase(self.seed, FIT_ON_TRAIN, self.recipe.title, checkpoint=self._checkpoint("search", refits))
        found = self._train(training_set, recipe, search)
        self.log, self.best_epoch, self.share_of_padding = found.log, found.best_epoch, found.share_of_padding
        if len(training_set.validation_users) and World.current().is_first:
            depth = min(VALIDATION_DEPTH, training_set.items)
            self.validation_lists = self.recommend(
                training_set.histories("validation"), depth, self.validate_with_seen_excluded
            )
        if refits:
            as_long = replace(recipe, training=replace(recipe.training, max_epochs=self.best_epoch))
            refit = replace(
                search, fit_on=FIT_ON_BOTH, known=tuple(found.log), checkpoint=self._checkpoint("refit", False)
            )
            self.log = found.log + self._train(training_set.to_fit_on(FIT_ON_BOTH), as_long, refit).log
        return self

    def _train(self, training_set: TrainingSet, recipe: Recipe, phase: Phase) -> Trained:
        """Fresh weights, trained on the training histories, in ``self.model``; the recipe leaves nothing open."""
        execution = self.execution
        device = choose_device(execution.device)
        counts = np.bincount(training_set.train.items, minlength=training_set.items)
        with reproducible(execution.threads, device):
            generator_for(self.seed, 0)
            try:
                model = self._build(recipe, training_set.items, training_set.users).to(device)
            except ValueError as error:
                raise ValueError(f"recipe {recipe.name}: {error}") from error
            task = build_task(recipe.task, training_set.items)
            self._model, self._users, self._training_counts, self._task = model, training_set.users, counts, task

            return train_model(
                trainable_of(model, task, build_objective(recipe.objective, counts)),
                training_set.histories("train"),
                partial(self.validate, training_set) if len(training_set.validation_users) else None,
                recipe.optimiser,
                recipe.training,
                phase,
                execution,
            )

    def _build(self, recipe: Recipe, items: int, users: int) -> SequentialModel | GeneratingModel:
        """A model with fresh weights, of a recipe that leaves nothing open."""
        codes = self.codes
        values, sizes = (None, None) if codes is None else (codes.values, codes.book_sizes)
        return build_model(recipe.model, items, users, values, sizes)

    def validate(self, training_set: TrainingSet) -> float:
        """nDCG@10 for the validation users, of the weights as they are now: what training stops by.

        The whole catalogue is ranked, without the items of the histories if ``validate_with_seen_excluded``. Under
        torchrun all processes call it, and each ranks a part of the users.

        Args:
            training_set: the one that the model is trained on.

        Raises:
            RuntimeError: there is no model yet.
            ValueError: the training set has no validation users.
        """
        if len(training_set.validation_users) == 0:
            raise ValueError(f"the training set {training_set.dataset} has no validation users")
        with reproducible(self.execution.threads, self.model.device):
            return validation_ndcg(
                self.model, self._task, training_set, self._popularity(), self.validate_with_seen_excluded
            )

    def _checkpoint(self, name: str, at_end: bool) -> Checkpoint | None:
        """The checkpoint of a phase, bound to all that decides the weights."""
        execution, world = self.execution, World.current()
        if execution.checkpoints is None:
            return None
        binding = run_fingerprint(
            recipe=self.recipe.digest(),
            training_set=self.training_set_digest,
            codes=None if self.codes is None else self.codes.digest(),
            seed=self.seed,
            fit_on=self.fit_on,
            validate_with_seen_excluded=self.validate_with_seen_excluded,
            threads=execution.threads,
            device=choose_device(execution.device).type,
            precision=execution.precision,
            compiled=execution.compile,
            processes=world.size,
        )
        path = execution.checkpoints / f"{name}.safetensors"
        return Checkpoint(path, binding, execution.checkpoint_seconds, at_end, world.is_first)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history, ties by ``ml.retrieval.top_k``.

        Quantised items are ranked by PQTopK for a single history and in large catalogues, where it is faster on a
        CPU; items and scores are the same either way.

        Raises:
            ValueError: a history holds an item index outside the catalogue.
        """
        items = self.model.items
        check_items(histories, items)
        top_items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        top_scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        with reproducible(self.execution.threads, self.model.device):
            for rows, ranked in self._ranked_chunks(histories, k, exclude_seen):
                top_items[rows], top_scores[rows] = ranked.items, ranked.scores
        return Recommendations(top_items, top_scores)

    def _ranked_chunks(
        self, histories: Sequences, k: int, exclude_seen: bool
    ) -> Iterator[tuple[np.ndarray, Recommendations]]:
        """Which histories, int64 ``[rows]``, and their lists; each history once, in no stated order."""
        model, task = self.model, self._task
        quantised = self._quantised_top_k(int(np.count_nonzero(histories.lengths)))
        if quantised is None or isinstance(model, GeneratingModel):
            chunks = scored_chunks(model, task, histories, self._popularity())
        else:
            for rows, states in chunks_of_states(model, task, histories):
                yield rows, quantised.top_k(states, k, histories.take(rows) if exclude_seen else None)
            chunks = fallback_chunks(model, histories, self._popularity())
        order = tie_break_order(model.items)
        for rows, scores in chunks:
            if exclude_seen:
                hide_seen(scores, histories.take(rows))
            yield rows, top_k(scores.cpu().numpy(), k, order)

    def _quantised_top_k(self, histories: int) -> QuantisedTopK | None:
        """What ranks so many histories by PQTopK; ``None`` where scoring every item in batches is as fast."""
        if isinstance(self.model, GeneratingModel):
            return None
        embedding = self.model.output_embedding
        if not isinstance(embedding, JointProductQuantisedItemEmbedding) or self.model.device.type != "cpu":
            return None
        if not pays(histories, embedding.items, self.execution.threads):
            return None
        if self._quantised is None or self._quantised.embedding is not embedding:
            self._quantised = QuantisedTopK(embedding)
        return self._quantised

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``training_counts.npy``, ``config.json`` and ``training_log.jsonl``, and the
        lists of the validation users as ``validation_items.npy`` and ``validation_scores.npy``.

        All but the log, which holds times, are equal byte for byte for equal input.
        """
        from safetensors.torch import save_file

        save_file(contiguous(self.model.state_dict()), folder / "model.safetensors")
        np.save(folder / "training_counts.npy", self._training_counts, allow_pickle=False)
        if self.validation_lists is not None:
            np.save(folder / "validation_items.npy", self.validation_lists.items, allow_pickle=False)
            np.save(folder / "validation_scores.npy", self.validation_lists.scores, allow_pickle=False)
        (folder / "config.json").write_text(json.dumps(self._config(), indent=2) + "\n", encoding="utf-8")
        write_log(self.log, folder / LOG_FILE)

    @classmethod
    def load(cls, folder: Path) -> SequentialRecommender:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the folder holds another format, weights that are not those described, or not all files.
        """
        from safetensors.torch import load_file

        with whole(folder):
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if config["format"] != FORMAT:
                raise ValueError(f"it holds {config['format']}, this version reads {FORMAT}")
            weights = load_file(folder / "model.safetensors")
            if weights_digest(weights) != config["weights_digest"]:
                raise ValueError("model.safetensors does not hold the weights that config.json describes")
            recipe = recipe_from_tables(config["recipe_name"], config["recipe"], str(folder / "config.json"))
            derived = read_described(config.get("derived", {}))
            trained = recipe_from_tables(recipe.name, filled_in(config["recipe"], derived), str(folder / "config.json"))
            codes = None
            for name in _CODES_IN_WEIGHTS:
                if name in weights:
                    sizes = config["codes"].get("book_sizes", [CODES_PER_BOOK])
                    codes = Codes(weights[name].numpy().astype(code_type(sizes)), config["codes"])
            recommender = cls(
                recipe,
                config["seed"],
                codes,
                execution=Execution(threads=config["threads"]),
                fit_on=config["fit_on"],
                validate_with_seen_excluded=config["validate_with_seen_excluded"],
            )
            with torch.random.fork_rng(devices=[]):
                model = recommender._build(trained, config["items"], config["users"])
            model.load_state_dict(weights)
            recommender._model, recommender._users = model, config["users"]
            recommender._task = build_task(recipe.task, config["items"])
            recommender._training_counts = np.load(folder / "training_counts.npy", allow_pickle=False)
            recommender.best_epoch, recommender.derived = config["best_epoch"], derived
            recommender.training_set_digest = config["training_set_digest"]
            if (folder / "validation_items.npy").exists():
                recommender.validation_lists = Recommendations(
                    *(np.load(folder / f"validation_{part}.npy", allow_pickle=False) for part in ("items", "scores"))
                )
            recommender.log = read_log(folder / LOG_FILE)
            if len(recommender.log) < recommender.best_epoch:
                raise ValueError(f"{LOG_FILE} ends before the best epoch")
            return recommender

    @property
    def best_validation_ndcg_at_10(self) -> float | None:
        """Of the weights that were kept; ``None`` without validation users."""
        return self.log[self.best_epoch - 1].validation_ndcg_at_10

    def _popularity(self) -> Tensor:
        """Scores for an empty history, ``[items]``."""
        return torch.from_numpy(self._training_counts.astype(np.float32))

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "recipe_name": self.recipe.name,
            "recipe": self.recipe.as_tables(),
            "recipe_digest": self.recipe.digest(),
            "derived": described(self.derived),
            "seed": self.seed,
            "threads": self.execution.threads,
            "fit_on": self.fit_on,
            "validate_with_seen_excluded": self.validate_with_seen_excluded,
            "items": self.model.items,
            "users": self._users,
            "codes": None if self.codes is None else self.codes.method,
            "codes_digest": None if self.codes is None else self.codes.digest(),
            "training_set_digest": self.training_set_digest,
            "best_epoch": self.best_epoch,
            "best_validation_ndcg_at_10": self.best_validation_ndcg_at_10,
            "weights_digest": weights_digest(self.model.state_dict()),
        }
