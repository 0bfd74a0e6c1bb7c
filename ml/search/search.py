"""Hyperparameter search over a recipe by Optuna, taken up again where it was broken off.

Trials are kept in a journal in the folder of the search. A trial's values follow from the seed and the trials
before it alone, so a search that was killed and started again proposes what an uninterrupted one would have.
Test targets are never looked at: what is made large is nDCG@10 on the validation users.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.codes.codes import Codes
from ml.data.files import atomic_file
from ml.data.teacher_lists import TeacherLists
from ml.data.times import times_digest
from ml.data.training_set import TrainingSet
from ml.models.settings import needs_item_text
from ml.search.space import Dimension, as_toml, with_values, within
from ml.training.loop import DivergedError
from ml.training.recipe import Recipe
from ml.training.runtime import DEFAULT_THREADS
from ml.training.train import train

_NO_VALUE = 0.0  # of a trial that diverged: no nDCG is lower


@dataclass(frozen=True)
class Found:
    """Results of a search so far.

    Attributes:
        recipe: the best one.
        value: its nDCG@10 on the validation users.
        first: that of the recipe as it was given.
        trials: how many are finished.
        table: one entry a trial: its number, value, values of the space, best epoch and seconds.
    """

    recipe: Recipe
    value: float
    first: float
    trials: int
    table: tuple[dict[str, Any], ...]


def search(
    recipe: Recipe,
    training_set: TrainingSet,
    folder: Path,
    trials: int,
    space: tuple[Dimension, ...],
    seed: int = 0,
    codes: Codes | None = None,
    *,
    teacher_lists: TeacherLists | None = None,
    threads: int = DEFAULT_THREADS,
    validate_with_seen_excluded: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Found:
    """Go on with a search until it has so many trials; the first one is the recipe as it is.

    Args:
        recipe: whose values are changed.
        training_set: trained and validated on.
        folder: of this search: its journal, ``best.toml`` and ``search.json``. It belongs to one recipe, training
            set, space and seed.
        trials: finished trials to reach in all; those of earlier calls count.
        space: what may change; keys that the recipe does not have are left out.
        seed: of proposals and of every training.
        codes: for recipes that name a code assignment.
        teacher_lists: for recipes that name some.
        threads: torch threads of a training.
        validate_with_seen_excluded: rank validation users without the items of their histories.
        tell: is given a line for each finished trial.

    Raises:
        ValueError: there are no validation users, nothing of the space is in the recipe, or the folder is of
            another search.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    if len(training_set.validation_users) == 0:
        raise ValueError(f"{training_set.dataset} has no validation users, so there is nothing to search by")
    space = within(space, recipe)
    if not space:
        raise ValueError(f"no key of the search space is in the recipe {recipe.name}")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe, training_set, space, seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    study = optuna.create_study(storage=journal, study_name=recipe.name, direction="maximize", load_if_exists=True)
    for left in study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(left.number, state=TrialState.FAIL)
    while (number := len(study.get_trials(states=(TrialState.COMPLETE,)))) < trials:
        study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number), n_startup_trials=8, constant_liar=False)
        if number == 0:
            study.enqueue_trial(_own_values(recipe, space))
        trial = study.ask()
        changed = with_values(recipe, {dimension.key: dimension.suggest(trial) for dimension in space})
        value, facts = _trained(
            changed, training_set, folder / "trial", seed, codes, teacher_lists, threads, validate_with_seen_excluded
        )
        for name, fact in facts.items():
            trial.set_user_attr(name, fact)
        study.tell(trial, value)
        tell(f"trial {number + 1} of {trials}: validation nDCG@10 {value:.4f}, best so far {study.best_value:.4f}")
        _write(folder, found_in(study, recipe))
    return found_in(study, recipe)


def found_in(study, recipe: Recipe) -> Found:
    """The finished trials of an Optuna study of a recipe."""
    from optuna.trial import TrialState

    finished = study.get_trials(states=(TrialState.COMPLETE,))
    table = tuple(
        {"trial": place, "value": trial.value, **trial.params, **trial.user_attrs}
        for place, trial in enumerate(finished, start=1)
    )
    best = max(finished, key=lambda trial: trial.value)
    return Found(
        recipe=with_values(recipe, best.params),
        value=best.value,
        first=finished[0].value,
        trials=len(finished),
        table=table,
    )


def _trained(
    recipe: Recipe,
    training_set: TrainingSet,
    folder: Path,
    seed: int,
    codes: Codes | None,
    teacher_lists: TeacherLists | None,
    threads: int,
    exclude_seen: bool,
) -> tuple[float, dict[str, Any]]:
    """nDCG@10 of one training on the validation users, and what else is known of it; the weights are not kept."""
    try:
        result = train(
            recipe,
            training_set,
            # with its earlier versions and checkpoints, which lie beside it, in a folder that goes as a whole
            folder / "model",
            seed,
            codes,
            progress=False,
            teacher_lists=teacher_lists,
            threads=threads,
            validate_with_seen_excluded=exclude_seen,
        )
    except DivergedError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return _NO_VALUE, {"diverged": str(error)}
    shutil.rmtree(folder)
    facts: dict[str, Any] = {
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 1),
    }
    assert result.best_validation_ndcg_at_10 is not None  # there are validation users, see search
    return result.best_validation_ndcg_at_10, facts


def _own_values(recipe: Recipe, space: tuple[Dimension, ...]) -> dict[str, Any]:
    """The recipe's own values, those left out that the space does not allow."""
    tables = recipe.as_tables()
    values = {}
    for dimension in space:
        table, key = dimension.key.split(".")
        own = tables[table][key]
        # a maximum length of "auto" lies between no bounds
        bounded = dimension.low is not None and not isinstance(own, str)
        if own in dimension.choices or (bounded and dimension.low <= own <= dimension.high):
            values[dimension.key] = own
    return values


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


def _claim(folder: Path, recipe: Recipe, training_set: TrainingSet, space: tuple[Dimension, ...], seed: int) -> None:
    """Write down what the folder is of, or refuse what is of another search."""
    said = {
        "recipe": recipe.name,
        "recipe_digest": recipe.digest(),
        "training_set_digest": training_set.digest(),
        "space": [repr(dimension) for dimension in space],
        "seed": seed,
        **_item_text(recipe, training_set),
        **_times(recipe, training_set),
    }
    path = folder / "of.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(name for name in said if known.get(name) != said[name])
        if differing:
            raise ValueError(
                f"{folder} holds a search with another {', '.join(differing)}: delete it, or name another folder"
            )
        return
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _item_text(recipe: Recipe, training_set: TrainingSet) -> dict[str, str]:
    """Digest of the item text, for a recipe that reads it; without text the first training says what is missing."""
    texts = training_set.item_text
    if texts is None or not needs_item_text(recipe.model):
        return {}
    from ml.data.item_text import item_text_digest

    return {"item_text_digest": item_text_digest(training_set.item_ids, texts)}


def _times(recipe: Recipe, training_set: TrainingSet) -> dict[str, str]:
    """Digest of the times, for a recipe that reads them; without times the first training says so."""
    digest = times_digest(training_set.train) if recipe.reads_times else None
    return {} if digest is None else {"times_digest": digest}


def _write(folder: Path, found: Found) -> None:
    with atomic_file(folder / "best.toml") as temporary:
        temporary.write_text(as_toml(found.recipe), encoding="utf-8")
    summary = {"value": found.value, "first": found.first, "trials": list(found.table)}
    with atomic_file(folder / "search.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
