"""Any recipe as a recommender: the protocol of ``ml.recommender`` around a trained model."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from ml.codes.codes import Codes
from ml.data.files import whole
from ml.data.item_index import check_items
from ml.data.sequences import Sequences
from ml.data.teacher_lists import TeacherLists
from ml.data.times import check_times, times_digest
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_EVERYTHING, FIT_ON_TRAIN, TrainingSet
from ml.generation.lists import ListCounts
from ml.models.build import build_model
from ml.models.generating_model import GeneratingModel
from ml.models.gptrec import GPTRec
from ml.models.item_embeddings import JointProductQuantisedItemEmbedding
from ml.models.sequential_model import SequentialModel
from ml.recommender import Recommendations
from ml.retrieval.quantised_top_k import QuantisedTopK, pays
from ml.tasks.build import Task, build_task
from ml.training.checkpoint import Checkpoint, run_fingerprint
from ml.training.contrasted import is_among_trained_items, trained_as
from ml.training.derived import Derived, derive, described, filled_in, read_described
from ml.training.devices import choose_device
from ml.training.distributed import World
from ml.training.item_features import features_digest, item_features
from ml.training.log import EpochRecord
from ml.training.loop import Phase, Trained, train_model
from ml.training.pretrained import Pretrained, check_pretrained
from ml.training.recipe import Recipe, recipe_from_tables
from ml.training.recommender_folder import Contents, read, write
from ml.training.reproducible import generator_for, reproducible
from ml.training.row_choice import choose_rows
from ml.training.runtime import Execution
from ml.training.scoring import VALIDATION_DEPTH as METRIC_DEPTH
from ml.training.tradeoffs import check_lists_of_recipe, measured_tradeoffs
from ml.training.trained_lists import TrainedLists
from ml.training.warm_start import AnyStart, CarriedOver, ColdStart, begin_warm
from ml.training.weights_digest import weights_digest

# how much of the validation lists is kept, for what is built on several recommenders
VALIDATION_DEPTH = 200


class SequentialRecommender:
    """A sequential model, trained as its recipe says.

    An empty history is answered with the most popular items of the training histories. Of a history longer
    than the recipe's ``max_length`` the most recent items are read.

    Args:
        recipe: what to train.
        seed: of initial weights, shuffling, negatives and dropout.
        codes: the code assignment, for recipes that name one.
        execution: threads, device, precision, checkpoints, progress bar.
        fit_on: what the final weights are trained on, ``train`` or ``train+validation``; ``everything`` of what
            :func:`ml.training.everything.fitted_on_everything` gave alone.
        validate_with_seen_excluded: leave the items of a history out when validation users are ranked; as the
            final ranking does.
        teacher_lists: what is trained on, for recipes that name a recipe of them.
        pretrained: what is started from, for recipes that are pre-trained on other datasets.
        start: the earlier model whose weights :meth:`fit` starts from, or why there is none; ``None`` where no warm
            start was asked for.

    Attributes:
        started_from: what :meth:`fit` started from: weights that were carried over, or why there were none; ``None``
            where no warm start was asked for.
        taught: what the lists of a teacher were that the model was trained on, as JSON; ``None`` where it was not.
        tradeoffs: what each mark of a model that writes lists stands for, from 0 (accuracy alone) to 1 (the goal
            alone); empty where marks stand for nothing else than the beginning of a list.
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
        teacher_lists: TeacherLists | None = None,
        pretrained: Pretrained | None = None,
        start: AnyStart | None = None,
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.codes = codes
        self.execution = Execution() if execution is None else execution
        if fit_on not in (FIT_ON_TRAIN, FIT_ON_BOTH, FIT_ON_EVERYTHING):
            raise ValueError(f"fit_on is {FIT_ON_TRAIN!r} or {FIT_ON_BOTH!r}, not {fit_on!r}")
        self.fit_on = fit_on
        self.validate_with_seen_excluded = validate_with_seen_excluded
        self.teacher_lists = teacher_lists
        self.pretrained = pretrained
        self.start = start
        self.started_from: CarriedOver | ColdStart | None = None
        self.log: list[EpochRecord] = []
        self.best_epoch = 0
        self.share_of_padding = 0.0
        self.training_set_digest = ""
        self.validation_lists: Recommendations | None = None
        self.derived: tuple[Derived, ...] = ()
        # how the weights were aligned with a goal after training, where they were (ml.alignment)
        self.aligned: dict[str, Any] | None = None
        # what the weights started from, where they did not start at random
        self.pretrained_from: dict[str, Any] | None = None
        self._model: SequentialModel | GeneratingModel | None = None
        self._task = build_task(recipe.task, 0)
        self._quantised: QuantisedTopK | None = None
        # how the lists of the last call of recommend were found, where they are generated by beam search
        self.list_counts: ListCounts | None = None
        self.taught: dict[str, Any] | None = None
        self.tradeoffs: tuple[float, ...] = ()
        self._tradeoff: float | None = None
        self._users = 0
        # what the model reads of items beside their ids, by the argument of build_model
        self._features: dict[str, np.ndarray] = {}
        # of the training histories, for a model that reads their times
        self._times_digest: str | None = None
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

    @property
    def task(self) -> Task:
        """What shows the model a history as it was trained to read one."""
        return self._task

    @property
    def tradeoff(self) -> float | None:
        """Which of :attr:`tradeoffs` lists are written for; ``None`` for the first."""
        return self._tradeoff

    @tradeoff.setter
    def tradeoff(self, value: float | None) -> None:
        if value is not None and value not in self.tradeoffs:
            known = ", ".join(f"{each:g}" for each in self.tradeoffs)
            raise ValueError(
                f"{self.recipe.name} was taught the trade-offs {known}, not {value:g}: choose one of these"
                if known
                else f"{self.recipe.name} was taught no trade-offs, so {value:g} cannot be chosen"
            )
        self._tradeoff = value

    def at_tradeoff(self, tradeoff: float) -> Self:
        """The same recommender with lists of one of its trade-offs; without lists of the validation users, which are of
        the one that is in force.

        Raises:
            ValueError: it was not taught this trade-off.
        """
        other = copy.copy(self)
        other.tradeoff, other.validation_lists = tradeoff, None
        return other

    @property
    def mark(self) -> int | None:
        """The mark behind a history that a list is written for; ``None`` for a model without marks."""
        if not isinstance(self.model, GPTRec) or self.model.marks is None:
            return None
        return 0 if self.tradeoff is None else self.tradeoffs.index(self.tradeoff)

    @property
    def training_counts(self) -> np.ndarray:
        """Interactions of each item in training, int64 ``[items]``."""
        return self._training_counts

    def with_model(self, model: SequentialModel | GeneratingModel) -> Self:
        """The same recommender around a model of the same sizes with other weights; without lists of the validation
        users, which would be those of the weights it has now."""
        other = copy.copy(self)
        other._model, other._quantised, other.validation_lists = model, None, None
        return other

    def fit(self, training_set: TrainingSet) -> Self:
        """Train from fresh weights, or from those of :attr:`start`; test targets are never read.

        Validation targets decide when to stop. With ``fit_on="train+validation"`` the weights found so are thrown
        away, and those that training started from are trained on the validation items too, for as many epochs as were
        best. A start that the model cannot be trained from is passed over, and :attr:`started_from` says why.

        Raises:
            ValueError: codes, teacher lists or pre-trained weights are missing or do not fit, the items lack the text
                that the model reads, the times that it reads are missing or made up, or all histories are too short.
            DivergedError: the loss is no finite number any more.
        """
        if self.fit_on == FIT_ON_EVERYTHING:
            raise ValueError(
                f"recipe {self.recipe.name}: no validation item is left of a fit on everything, so nothing would say "
                "when to stop: fit on train, then call ml.training.everything.fitted_on_everything"
            )
        self.training_set_digest, self.derived = training_set.digest(), ()
        self._check_teacher_lists()
        check_pretrained(self.recipe, self.pretrained)
        self.pretrained_from = None if self.pretrained is None else self.pretrained.described()
        try:
            if self.recipe.reads_times:
                check_times(training_set)
                self._times_digest = times_digest(training_set.train)
            self._features = (
                item_features(self.recipe.model, training_set)
                if self.pretrained is None
                else self.pretrained.features(training_set)
            )
        except ValueError as error:
            raise ValueError(f"recipe {self.recipe.name}: {error}") from error
        refits = self.fit_on == FIT_ON_BOTH and len(training_set.validation_users) > 0
        # of the histories of the search; the refit is trained with the same values
        recipe, derived = derive(
            self.recipe,
            training_set.train.lengths,
            build_task(self.recipe.task, training_set.items).least_items,
            validated=len(training_set.validation_users) > 0,
        )
        self._keep_derived(derived)
        search = Phase(self.seed, FIT_ON_TRAIN, self.recipe.title, checkpoint=self._checkpoint("search", refits))
        found = self._train(training_set, recipe, search)
        self.log, self.best_epoch, self.share_of_padding = found.log, found.best_epoch, found.share_of_padding
        self._choose_tradeoff(training_set)
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

    def _check_teacher_lists(self) -> None:
        """Check that the lists are there where the recipe asks for some, and that the model can be taught them."""
        recipe, lists = self.recipe, self.teacher_lists
        if recipe.teacher_lists is None and lists is not None:
            raise ValueError(f"recipe {recipe.name}: teacher lists were given to a model that is taught none")
        if recipe.teacher_lists is None:
            return
        if lists is None:
            raise ValueError(
                f"recipe {recipe.name}: this model is taught the lists {recipe.teacher_lists}, and none were given"
            )
        try:
            check_lists_of_recipe(recipe, lists.tradeoffs, lists.depth)
            lists.of(self.fit_on)
        except ValueError as error:
            raise ValueError(f"recipe {recipe.name}: {error}") from error
        self.taught = lists.described() | {"digest": lists.digest()}
        self.tradeoffs, self.tradeoff = lists.tradeoffs, None

    def _choose_tradeoff(self, training_set: TrainingSet) -> None:
        """Set the trade-off that the recipe asks for; the model is trained on the training items alone."""
        wanted = self.recipe.tradeoff
        if wanted is None or isinstance(wanted, float):
            self.tradeoff = wanted
        elif self.teacher_lists is not None and len(training_set.validation_users):
            histories, seen = training_set.histories("validation"), self.validate_with_seen_excluded

            def lists_at(tradeoff: float) -> np.ndarray:
                return self.at_tradeoff(tradeoff).recommend(histories, METRIC_DEPTH, seen).items

            measured = measured_tradeoffs(lists_at, self.teacher_lists, training_set)
            assert self.taught is not None  # there are lists
            self.taught["validation"] = measured.as_json()
            self.tradeoff = measured.chosen

    def _train(self, training_set: TrainingSet, recipe: Recipe, phase: Phase) -> Trained:
        """Fresh weights, trained on the training histories, in ``self.model``; the recipe leaves nothing open."""
        execution = self.execution
        device = choose_device(execution.device)
        counts = np.bincount(training_set.train.items, minlength=training_set.items)
        with reproducible(execution.threads, device):
            generator_for(self.seed, 0)
            try:
                model = self._build(recipe, training_set.items, training_set.users, counts).to(device)
                if self.pretrained is not None and recipe.pretraining is not None:
                    self.pretrained.begin(model, recipe.pretraining.finetuned)
            except ValueError as error:
                raise ValueError(f"recipe {recipe.name}: {error}") from error
            lists = None if self.teacher_lists is None else self.teacher_lists.of(phase.fit_on)
            task = build_task(recipe.task, training_set.items, lists)
            self._model, self._users, self._training_counts, self._task = model, training_set.users, counts, task
            self.started_from = begin_warm(
                self.start, self.recipe, model, training_set, self._features, (self.pretrained_from or {}).get("digest")
            )
            if isinstance(self.started_from, CarriedOver):
                phase = replace(phase, started_from=self.started_from.source)
            trainable = trained_as(recipe, model, task, counts, is_among_trained_items(recipe, training_set))
            recipe, chosen = choose_rows(recipe, trainable, device, execution.compile)
            self._keep_derived(chosen)
            trained = train_model(
                trainable,
                training_set.histories("train") if lists is None else lists.histories(training_set),
                partial(self.validate, training_set) if len(training_set.validation_users) else None,
                recipe.optimiser,
                recipe.training,
                phase,
                execution,
                None if lists is None else lists.rows_of_epoch,
            )
            if trained.is_sharded:  # the model stays so
                self._model = self._build(recipe, training_set.items, training_set.users, counts).to(device)
                self._model.load_state_dict(trained.weights)
            return trained

    def _keep_derived(self, derived: tuple[Derived, ...]) -> None:
        """Keep what the recipe left open, and say so, each value once: a refit has those of the search."""
        for each in derived:
            if each.key not in {known.key for known in self.derived}:
                self.derived = (*self.derived, each)
                if self.execution.progress and World.current().is_first:
                    print(f"{self.recipe.title}: {each}", file=sys.stderr, flush=True)

    def _build(
        self, recipe: Recipe, items: int, users: int, training_counts: np.ndarray
    ) -> SequentialModel | GeneratingModel:
        """A model with fresh weights, of a recipe that leaves nothing open."""
        codes = self.codes
        values, sizes = (None, None) if codes is None else (codes.values, codes.book_sizes)
        return build_model(recipe.model, items, users, values, sizes, training_counts, **self._features)

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
            return self._lists().validation_ndcg(training_set, self.validate_with_seen_excluded)

    def _checkpoint(self, name: str, at_end: bool) -> Checkpoint | None:
        """The checkpoint of a phase, bound to all that decides the weights."""
        execution = self.execution
        if execution.checkpoints is None:
            return None
        binding = run_fingerprint(
            recipe=self.recipe.digest(),
            training_set=self.training_set_digest,
            codes=None if self.codes is None else self.codes.digest(),
            teacher_lists=None if self.taught is None else self.taught["digest"],
            seed=self.seed,
            fit_on=self.fit_on,
            validate_with_seen_excluded=self.validate_with_seen_excluded,
            threads=execution.threads,
            device=choose_device(execution.device).type,
            precision=execution.precision,
            compiled=execution.compile,
            item_features=self._described_features(),
            times=self._times_digest,
            pretrained=None if self.pretrained_from is None else self.pretrained_from["digest"],
            start=None if self.start is None else self.start.digest(),
        )
        path, writes = execution.checkpoints / f"{name}.safetensors", World.current().is_first
        return Checkpoint(path, binding, execution.checkpoint_seconds, at_end, writes)

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history, ties by ``ml.retrieval.top_k``.

        A model with ``lists = "next_k"`` writes the beginning of the list item by item, see
        :func:`ml.training.list_generating.written_lists`: the one of its :attr:`tradeoff`, where it was taught several.

        Quantised items are ranked by PQTopK for a single history and in large catalogues, where it is faster on a
        CPU; items and scores are the same either way.

        Raises:
            ValueError: a history holds an item index outside the catalogue.
        """
        check_items(histories, self.model.items)
        with reproducible(self.execution.threads, self.model.device):
            lists = self._lists()
            recommended, self.list_counts = lists.recommend(histories, k, exclude_seen), lists.counts
        return recommended

    def _lists(self) -> TrainedLists:
        return TrainedLists(self.model, self._task, self._training_counts, self.mark, self._quantised_top_k)

    def _quantised_top_k(self, model: SequentialModel, histories: int) -> QuantisedTopK | None:
        """What ranks so many histories by PQTopK; ``None`` where scoring every item in batches is as fast."""
        embedding = model.output_embedding
        if not isinstance(embedding, JointProductQuantisedItemEmbedding) or model.device.type != "cpu":
            return None
        if not pays(histories, embedding.items, self.execution.threads):
            return None
        if self._quantised is None or self._quantised.embedding is not embedding:
            self._quantised = QuantisedTopK(embedding)
        return self._quantised

    def save(self, folder: Path) -> None:
        """Write it into an existing folder (:mod:`ml.training.recommender_folder`)."""
        contents = Contents(
            self._config(),
            self.model.state_dict(),
            self._training_counts,
            self.log,
            self._features,
            self.validation_lists,
        )
        write(contents, folder)

    @classmethod
    def load(cls, folder: Path) -> SequentialRecommender:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the folder holds another format, weights that are not those described, or not all files.
        """
        contents = read(folder)
        with whole(folder):
            config, where = contents.config, str(folder / "config.json")
            recipe = recipe_from_tables(config["recipe_name"], config["recipe"], where)
            derived = read_described(config.get("derived", {}))
            trained = recipe_from_tables(recipe.name, filled_in(config["recipe"], derived), where)
            recommender = cls(
                recipe,
                config["seed"],
                contents.codes,
                execution=Execution(threads=config["threads"]),
                fit_on=config["fit_on"],
                validate_with_seen_excluded=config["validate_with_seen_excluded"],
            )
            recommender._features = contents.features
            with torch.random.fork_rng(devices=[]):
                model = recommender._build(trained, config["items"], config["users"], contents.counts)
            model.load_state_dict(contents.weights)
            recommender._model, recommender._users = model, config["users"]
            recommender._task = build_task(recipe.task, config["items"])
            recommender._training_counts = contents.counts
            recommender.taught = config.get("teacher_lists")
            recommender.tradeoffs = tuple(config.get("tradeoffs", ()))
            recommender.tradeoff = config.get("tradeoff")
            recommender.best_epoch, recommender.derived = config["best_epoch"], derived
            recommender.training_set_digest = config["training_set_digest"]
            recommender.aligned = config.get("aligned")
            recommender.pretrained_from = config.get("pretrained")
            recommender._times_digest = config.get("times_digest")
            if "started_from" in config:
                recommender.started_from = CarriedOver.from_json(config["started_from"])
            recommender.validation_lists, recommender.log = contents.validation_lists, contents.log
            return recommender

    @property
    def best_validation_ndcg_at_10(self) -> float | None:
        """Of the weights that were kept; ``None`` without validation users."""
        return self.log[self.best_epoch - 1].validation_ndcg_at_10

    def _config(self) -> dict[str, Any]:
        return {
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
            **({"tradeoffs": list(self.tradeoffs), "tradeoff": self.tradeoff} if self.tradeoffs else {}),
            # keys that only some models have, so that the folders of the others stay what they were
            **({} if self.taught is None else {"teacher_lists": self.taught}),
            **({} if self.aligned is None else {"aligned": self.aligned}),
            **({} if self.pretrained_from is None else {"pretrained": self.pretrained_from}),
            **({"started_from": self.started_from.as_json()} if isinstance(self.started_from, CarriedOver) else {}),
            **self._described_features(),
            **self._described_times(),
        }

    def _described_times(self) -> dict[str, str]:
        """Digest of the times that the model was trained on; empty for a model that reads none."""
        return {} if self._times_digest is None else {"times_digest": self._times_digest}

    def _described_features(self) -> dict[str, str]:
        """Digest of what the model reads of items beside their ids; empty for a model that reads nothing."""
        return {"item_features_digest": features_digest(self._features)} if self._features else {}
