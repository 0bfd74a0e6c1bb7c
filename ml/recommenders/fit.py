"""Fitting any recommender of the project by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml.baselines.registry import BASELINES
from ml.data.teacher_lists import TeacherLists
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.language_models.rerank_recipe import RerankRecipe
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING, Recommender
from ml.recommenders.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from ml.codes.codes import Codes
    from ml.training.pretrained import Pretrained
    from ml.training.warm_start import AnyStart


@dataclass(frozen=True)
class Conditions:
    """Conditions of a fit besides the data.

    Attributes:
        seed: seed of everything random.
        fit_on: what the final fit reads, ``train`` or ``train+validation``.
        exclude_seen: whether validation users are ranked without the items of their histories.
        device: ``cpu``, ``cuda`` or ``auto``.
        precision: precision of training steps, ``float32`` or ``bfloat16``.
        threads: threads of torch; ``None`` for the default of a training.
        sources: other datasets, with item text, for models that are pre-trained on them.
        start_of: gives what a model starts from, by the name of its recipe (:mod:`ml.training.warm_start`); ``None``
            for fresh weights.
    """

    seed: int = 0
    fit_on: str = FIT_ON_TRAIN
    exclude_seen: bool = False
    device: str = "cpu"
    precision: str = "float32"
    threads: int | None = None
    sources: tuple[TrainingSet, ...] = ()
    start_of: Callable[[str], AnyStart | None] | None = None


def depends_on_seed(name: str) -> bool:
    """Whether the seed changes a recommender: true of all but the baselines that only count."""
    return name not in BASELINES or BASELINES[name].seeded


def fit(
    name: str,
    training_set: TrainingSet,
    conditions: Conditions,
    registry: Registry,
    fitted: dict[str, Recommender] | None = None,
    folder: Path | None = None,
) -> Recommender:
    """Fit a baseline, a model with its codes and the lists that it is taught, a fusion or re-ranking with its parts, or
    an alignment with its student.

    Args:
        name: name of the recommender.
        training_set: with item text where the recommender reads it.
        conditions: seed and protocol.
        registry: the recommenders that names stand for.
        fitted: recommenders fitted before under the same conditions, by name. They are used as parts, and what is
            fitted now is added.
        folder: where a model is saved as it is trained (:func:`ml.training.train.train`), and parts in folders of
            their names below it; ``None`` keeps them in memory.

    Raises:
        KeyError: there is no such recommender.
    """
    fitted = {} if fitted is None else fitted
    if name not in fitted:
        fitted[name] = _FITS[registry.kind_of(name)](_Fit(name, training_set, conditions, registry, fitted, folder))
    return fitted[name]


@dataclass(frozen=True)
class _Fit:
    """The arguments of :func:`fit`."""

    name: str
    training_set: TrainingSet
    conditions: Conditions
    registry: Registry
    fitted: dict[str, Recommender]
    folder: Path | None


def _baseline(asked: _Fit) -> Recommender:
    training_set = asked.training_set.to_fit_on(asked.conditions.fit_on)
    return BASELINES[asked.name].create(asked.conditions.seed).fit(training_set)


def _fusion(asked: _Fit) -> Recommender:
    from ml.recommenders.fused import FusedRecommender

    fusion, conditions = asked.registry.fusions[asked.name], asked.conditions
    parts = {part: _part(asked, part) for part in fusion.parts}
    return FusedRecommender(
        parts, fusion.depth, fit_on=conditions.fit_on, exclude_seen=conditions.exclude_seen, seed=conditions.seed
    ).choose(asked.training_set)


def _reranking(asked: _Fit) -> Recommender:
    from ml.recommenders.reranked import Reranked

    recipe, conditions = asked.registry.rerankings[asked.name], asked.conditions
    return Reranked(
        recipe,
        _part(asked, recipe.of),
        fit_on=conditions.fit_on,
        exclude_seen=conditions.exclude_seen,
        seed=conditions.seed,
    ).choose(asked.training_set)


def _alignment(asked: _Fit) -> Recommender:
    from ml.alignment.runtime import AlignmentExecution
    from ml.recommenders.aligned import AlignedRecommender
    from ml.training.runtime import DEFAULT_THREADS
    from ml.training.sequential_recommender import SequentialRecommender

    recipe, conditions = asked.registry.alignments[asked.name], asked.conditions
    student = _part(asked, recipe.student)
    assert isinstance(student, SequentialRecommender)  # the registry checked it
    threads = DEFAULT_THREADS if conditions.threads is None else conditions.threads
    execution = AlignmentExecution(threads=threads, device=conditions.device, checkpoint_seconds=None)
    return AlignedRecommender(recipe, student, conditions.seed, execution).align(asked.training_set)


def _language_model(asked: _Fit) -> Recommender:
    from ml.recommenders.registry import recipes_folder

    recipe, conditions = asked.registry.language_models[asked.name], asked.conditions
    if isinstance(recipe, RerankRecipe):
        from ml.recommenders.prompted_reranking import PromptedReranking

        return PromptedReranking(
            recipe,
            _part(asked, recipe.of),
            fit_on=conditions.fit_on,
            seed=conditions.seed,
            recipes=recipes_folder(),
            device=conditions.device,
        ).prepare(asked.training_set)
    from ml.recommenders.query_generation import QueryGeneration
    from ml.training.runtime import DEFAULT_THREADS, Execution

    threads = DEFAULT_THREADS if conditions.threads is None else conditions.threads
    return QueryGeneration(
        recipe,
        conditions.seed,
        execution=Execution(threads=threads, device=conditions.device, precision=conditions.precision),
        fit_on=conditions.fit_on,
        exclude_seen=conditions.exclude_seen,
        recipes=recipes_folder(),
    ).fit(asked.training_set)


def _part(asked: _Fit, part: str) -> Recommender:
    """A part of the recommender that is asked for, fitted under the same conditions."""
    folder = asked.folder and asked.folder / part
    return fit(part, asked.training_set, asked.conditions, asked.registry, asked.fitted, folder)


def _model(asked: _Fit) -> Recommender:
    from ml.training.runtime import DEFAULT_THREADS, Execution
    from ml.training.sequential_recommender import SequentialRecommender

    recipe, conditions = asked.registry.recipes[asked.name], asked.conditions
    codes = _codes(asked, recipe.codes) if recipe.codes else None
    lists = _teacher_lists(asked, recipe.teacher_lists) if recipe.teacher_lists else None
    threads = DEFAULT_THREADS if conditions.threads is None else conditions.threads
    pretrained = _pretrained(asked, threads) if recipe.pretraining else None
    start = None if conditions.start_of is None else conditions.start_of(asked.name)
    if asked.folder is not None:
        from ml.training.train import train

        train(
            recipe,
            asked.training_set,
            asked.folder,
            conditions.seed,
            codes,
            progress=False,
            teacher_lists=lists,
            pretrained=pretrained,
            start=start,
            threads=threads,
            fit_on=conditions.fit_on,
            validate_with_seen_excluded=conditions.exclude_seen,
            device=conditions.device,
            precision=conditions.precision,
        )
        return SequentialRecommender.load(asked.folder)
    return SequentialRecommender(
        recipe,
        conditions.seed,
        codes,
        execution=Execution(threads=threads, device=conditions.device, precision=conditions.precision),
        fit_on=conditions.fit_on,
        validate_with_seen_excluded=conditions.exclude_seen,
        teacher_lists=lists,
        pretrained=pretrained,
        start=start,
    ).fit(asked.training_set)


def _pretrained(asked: _Fit, threads: int) -> Pretrained:
    """The weights that a model starts from, trained now on the other datasets."""
    from ml.training.runtime import Execution
    from ml.transfer.pretrain import pretrain, pretrain_into

    conditions = asked.conditions
    execution = Execution(threads=threads, device=conditions.device, precision=conditions.precision)
    texts = asked.training_set.item_text or ()
    given = (asked.registry.recipes[asked.name], conditions.sources, texts, conditions.seed, execution)
    if asked.folder is None:
        return pretrain(*given)[0]
    return pretrain_into(asked.folder.with_name(f"{asked.folder.name}-pretrained"), *given)


def _codes(asked: _Fit, name: str) -> Codes:
    """The codes of a recipe, assigned now on the training items alone, which are also all that the models have read of
    whose item vectors they are made."""
    from ml.recommenders.item_vectors import item_vectors

    def trained(source: str) -> np.ndarray:
        return item_vectors(_learned_from(asked, source, FIT_ON_TRAIN, f"vectors-{source}"))

    return asked.registry.codes[name].assign(asked.training_set, asked.conditions.seed, trained)


def _teacher_lists(asked: _Fit, name: str) -> TeacherLists:
    """The lists of a recipe, made now by a teacher that is fitted for them, or was fitted before."""
    from ml.teaching.make_lists import make_teacher_lists, teachers_of

    recipe, conditions = asked.registry.teacher_lists[name], asked.conditions
    teachers = teachers_of(lambda on: _learned_from(asked, recipe.teacher, on, "teacher"), conditions.fit_on)
    return make_teacher_lists(recipe, teachers, asked.training_set, conditions.seed, conditions.exclude_seen)


def _learned_from(asked: _Fit, name: str, fit_on: str, role: str) -> Recommender:
    """What the recommender that is asked for learns from, fitted on ``fit_on``, now or before."""
    conditions = replace(asked.conditions, fit_on=fit_on)
    fitted = asked.fitted if fit_on == asked.conditions.fit_on else {}
    folder = asked.folder and asked.folder.with_name(f"{asked.folder.name}-{role}-{fit_on}")
    return fit(name, asked.training_set, conditions, asked.registry, fitted, folder)


_FITS: dict[str, Callable[[_Fit], Recommender]] = {
    BASELINE: _baseline,
    MODEL: _model,
    FUSION: _fusion,
    RERANKING: _reranking,
    ALIGNMENT: _alignment,
    LANGUAGE_MODEL: _language_model,
}
