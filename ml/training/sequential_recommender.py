"""Any recipe as a recommender: the protocol of ``ml.recommender`` around a trained model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ml.codes.codes import Codes
from ml.data.training_set import Sequences, TrainingSet
from ml.models.build import build_model
from ml.models.sasrec import SASRec
from ml.objectives.build import build_objective
from ml.ranking import exclude_seen as set_seen_aside
from ml.ranking import tie_break_order, top_k
from ml.recommender import NO_ITEM, Recommendations
from ml.training.loop import EpochRecord, train_model
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.reproducible import generator_for, reproducible
from ml.training.scoring import ndcg, scored_chunks, target_ranks

FORMAT = "raw2rank-sequential-recommender-1"
DEFAULT_THREADS = 2


class SequentialRecommender:
    """A sequential model, trained as its recipe says.

    An empty history is answered with the most popular items of the training histories. Of a history longer
    than the recipe's ``max_length`` the most recent items are read.

    Args:
        recipe: what to train.
        seed: of initial weights, shuffling, negatives and dropout.
        codes: the code assignment, for recipes that name one.
        threads: torch threads. Weights are equal bit for bit for equal input, seed and number of threads, so
            this is a setting with a fixed default, not the number of cores.
        validate_with_seen_excluded: leave the items of a history out when validation users are ranked; as the
            final ranking does.
        progress: show a progress bar.
    """

    def __init__(
        self,
        recipe: Recipe,
        seed: int = 0,
        codes: Codes | None = None,
        *,
        threads: int = DEFAULT_THREADS,
        validate_with_seen_excluded: bool = False,
        progress: bool = False,
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.codes = codes
        self.threads = threads
        self.validate_with_seen_excluded = validate_with_seen_excluded
        self.progress = progress
        self.log: list[EpochRecord] = []
        self.best_epoch = 0
        self.training_set_digest = ""
        self._model: SASRec | None = None
        self._training_counts = np.zeros(0, dtype=np.int64)

    @property
    def model(self) -> SASRec:
        """The trained model.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._model is None:
            raise RuntimeError(f"{self.recipe.name} is not trained: call fit or load first")
        return self._model

    def fit(self, training_set: TrainingSet) -> Self:
        """Train from fresh weights; test targets are never read, validation targets for early stopping alone.

        Raises:
            ValueError: codes are missing or of another catalogue, or no history has two items.
            DivergedError: the loss is no finite number any more.
        """
        recipe = self.recipe
        with reproducible(self.threads):
            generator_for(self.seed, 0)
            try:
                model = build_model(recipe.model, training_set.items, None if self.codes is None else self.codes.values)
            except ValueError as error:
                raise ValueError(f"recipe {recipe.name}: {error}") from error
            self._training_counts = np.bincount(training_set.train.items, minlength=training_set.items)
            has_validation = len(training_set.validation_users) > 0
            trained = train_model(
                model,
                build_objective(recipe.objective),
                training_set.train,
                (lambda: self._validation_ndcg(model, training_set)) if has_validation else None,
                recipe.optimiser,
                recipe.training,
                self.seed,
                recipe.title,
                self.progress,
            )
        self._model, self.log, self.best_epoch = model, trained.log, trained.best_epoch
        self.training_set_digest = training_set.digest()
        return self

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history, ties by ``ml.ranking``.

        Raises:
            ValueError: a history holds an item index outside the catalogue.
        """
        items = self.model.output_embedding.items
        if len(histories.items) and not 0 <= histories.items.min() <= histories.items.max() < items:
            raise ValueError(f"a history holds an item outside the catalogue of {items} items")
        top_items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        top_scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        order = tie_break_order(items)
        with reproducible(self.threads):
            for rows, scores in scored_chunks(self.model, histories, self._popularity()):
                ranked = top_k(_without_seen(scores, histories, rows, exclude_seen).numpy(), k, order)
                top_items[rows], top_scores[rows] = ranked.items, ranked.scores
        return Recommendations(top_items, top_scores)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``training_counts.npy``, ``config.json`` and ``training_log.jsonl``.

        All but the log, which holds times, are equal byte for byte for equal input.
        """
        from safetensors.torch import save_file

        save_file(_contiguous(self.model.state_dict()), folder / "model.safetensors")
        np.save(folder / "training_counts.npy", self._training_counts, allow_pickle=False)
        (folder / "config.json").write_text(json.dumps(self._config(), indent=2) + "\n", encoding="utf-8")
        lines = "".join(json.dumps(record.as_json()) + "\n" for record in self.log)
        (folder / "training_log.jsonl").write_text(lines, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> SequentialRecommender:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: the folder holds another format, or weights that are not those described.
        """
        from safetensors.torch import load_file

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"{folder} holds {config['format']}, this version reads {FORMAT}")
        weights = load_file(folder / "model.safetensors")
        if weights_digest(weights) != config["weights_digest"]:
            raise ValueError(f"{folder / 'model.safetensors'} does not hold the weights that config.json describes")
        recipe = recipe_from_tables(config["recipe_name"], config["recipe"], str(folder / "config.json"))
        codes = weights.get("input_embedding.codes")
        recommender = cls(
            recipe,
            config["seed"],
            None if codes is None else Codes(codes.numpy(), config["codes"]),
            threads=config["threads"],
            validate_with_seen_excluded=config["validate_with_seen_excluded"],
        )
        with torch.random.fork_rng():
            model = build_model(recipe.model, config["items"], None if codes is None else codes.numpy())
        model.load_state_dict(weights)
        recommender._model = model
        recommender._training_counts = np.load(folder / "training_counts.npy", allow_pickle=False)
        recommender.best_epoch = config["best_epoch"]
        recommender.training_set_digest = config["training_set_digest"]
        lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
        recommender.log = [EpochRecord(**json.loads(line)) for line in lines]
        return recommender

    @property
    def best_validation_ndcg_at_10(self) -> float | None:
        """Of the weights that were kept; ``None`` without validation users."""
        return self.log[self.best_epoch - 1].validation_ndcg_at_10

    def _validation_ndcg(self, model: SASRec, training_set: TrainingSet) -> float:
        histories = training_set.histories("validation")
        targets = np.asarray(training_set.validation_targets, dtype=np.int64)
        order = torch.from_numpy(tie_break_order(training_set.items))
        ranks = np.empty(len(targets), dtype=np.int64)
        for rows, scores in scored_chunks(model, histories, self._popularity()):
            scores = _without_seen(scores, histories, rows, self.validate_with_seen_excluded)
            ranks[rows] = target_ranks(scores, torch.from_numpy(targets[rows]), order).numpy()
        return ndcg(ranks, 10)

    def _popularity(self) -> Tensor:
        """Scores for an empty history, ``[items]``."""
        return torch.from_numpy(self._training_counts.astype(np.float32))

    def _config(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "recipe_name": self.recipe.name,
            "recipe": self.recipe.as_tables(),
            "recipe_digest": self.recipe.digest(),
            "seed": self.seed,
            "threads": self.threads,
            "validate_with_seen_excluded": self.validate_with_seen_excluded,
            "items": self.model.output_embedding.items,
            "codes": None if self.codes is None else self.codes.method,
            "codes_digest": None if self.codes is None else self.codes.digest(),
            "training_set_digest": self.training_set_digest,
            "best_epoch": self.best_epoch,
            "best_validation_ndcg_at_10": self.best_validation_ndcg_at_10,
            "weights_digest": weights_digest(self.model.state_dict()),
        }


def weights_digest(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256(FORMAT.encode())
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.dtype.str} {values.shape}".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}


def _without_seen(scores: Tensor, histories: Sequences, rows: np.ndarray, exclude: bool) -> Tensor:
    """Scores of the given rows, items of their histories at ``-inf`` if asked."""
    if not exclude:
        return scores
    kept = scores.clone()
    set_seen_aside(kept.numpy(), histories.take(rows))
    return kept
