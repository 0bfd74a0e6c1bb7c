"""Making teacher lists: sub-histories of the training users, and what a fitted teacher lists for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from ml.beyond_accuracy.goals import GoalOnData, first_goal
from ml.beyond_accuracy.measures import ndcg
from ml.data.sequences import Sequences
from ml.data.teacher_lists import ListTable, TeacherLists, histories_digest, sub_histories
from ml.data.training_set import FIT_ON_TRAIN, TrainingSet
from ml.recommender import NO_ITEM, Recommendations, Recommender
from ml.reranking.rerank import lists_at
from ml.teaching.recipe import TeacherListsRecipe

# sub-histories that are ranked for at a time, so that memory does not grow with their number
_ROWS_AT_ONCE = 10_000
_VALIDATION_DEPTH = 10


def make_teacher_lists(
    recipe: TeacherListsRecipe,
    teachers: Mapping[str, Recommender],
    training_set: TrainingSet,
    seed: int,
    exclude_seen: bool,
) -> TeacherLists:
    """Make the lists of a recipe.

    Held-out targets decide nothing of the lists of a teacher fitted on the training items alone. Those of the
    validation users are compared with its lists once, to say how good it is.

    Args:
        recipe: which lists.
        teachers: the fitted teacher by what it was fitted on: ``train``, and ``train+validation`` where the student is
            to have a final fit on both.
        training_set: with validation users and their targets held out; with item text and its vectors where a goal of
            the recipe needs them.
        seed: of the sub-histories.
        exclude_seen: leave the items of a sub-history out of its lists.

    Raises:
        ValueError: no training history has an item, or the items allow none of the goals.
    """
    on = first_goal(recipe.goals, training_set) if recipe.goals else None
    tables = {
        fit_on: _table(recipe, teacher, training_set.to_fit_on(fit_on), seed, exclude_seen, on)
        for fit_on, teacher in teachers.items()
    }
    return TeacherLists(
        name=recipe.name,
        teacher=recipe.teacher,
        goal=None if on is None else on.goal.name,
        exclude_seen=exclude_seen,
        seed=seed,
        tables=tables,
        goal_vectors=None if on is None else on.vectors,
        goal_values=None if on is None else on.values,
        teacher_validation_ndcg_at_10=_validation_ndcg(teachers[FIT_ON_TRAIN], training_set, exclude_seen),
    )


def teachers_of(fit: Callable[[str], Recommender], fit_on: str) -> dict[str, Recommender]:
    """The fits of a teacher that the lists for a student need.

    Args:
        fit: gives the teacher fitted on ``train`` or on ``train+validation``.
        fit_on: what the final fit of the student is to read.
    """
    return {each: fit(each) for each in dict.fromkeys((FIT_ON_TRAIN, fit_on))}


def draw_sub_histories(train: Sequences, per_user: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts of training histories: of each the whole one, and shorter ones drawn without repetition.

    Args:
        train: a training history for each user, some of which may be empty.
        per_user: sub-histories of a user, at most; a history has as many different ones as it has items.
        seed: of the draws.

    Returns:
        The user index of each, int32, ascending; and its first place and the place after its last item in
        ``train.items``, int64. Those of a user come in the order of their length. An empty history has none.
    """
    lengths = train.lengths
    users = np.repeat(np.arange(len(train)), lengths)
    ends = np.arange(1, len(users) + 1)
    draws = np.random.default_rng([seed, 1]).random(len(users))
    # whole histories first of all
    draws[np.cumsum(lengths)[lengths > 0] - 1] = -1.0
    order = np.lexsort((draws, users))
    # of the sorted places of a user the first ones are those with the smallest draws
    place = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    taken = np.sort(order[place < per_user])
    starts = np.asarray(train.offsets)[:-1][users[taken]]
    return users[taken].astype(np.int32), starts.astype(np.int64), ends[taken].astype(np.int64)


def _table(
    recipe: TeacherListsRecipe,
    teacher: Recommender,
    training_set: TrainingSet,
    seed: int,
    exclude_seen: bool,
    on: GoalOnData | None,
) -> ListTable:
    """The lists of one fit of the teacher, which was fitted on this training set."""
    users, starts, ends = draw_sub_histories(training_set.train, recipe.histories_per_user, seed)
    if not len(users):
        raise ValueError(f"the training histories of {training_set.dataset} are empty: there is nothing to list for")
    shape = (len(users), len(recipe.tradeoffs), recipe.depth)
    items, scores = np.full(shape, NO_ITEM, dtype=np.int32), np.full(shape, -np.inf, dtype=np.float32)
    candidates = min(recipe.depth if on is None else recipe.candidates, training_set.items)
    depth = min(recipe.depth, candidates)
    for begin in range(0, len(users), _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        histories = sub_histories(training_set.train, users[rows], starts[rows], ends[rows])
        found = teacher.recommend(histories, candidates, exclude_seen)
        for level, listed in enumerate(_lists(recipe, found, depth, histories, on)):
            items[rows, level, :depth] = listed
            scores[rows, level, :depth] = scores_of(listed, found)
    # a user who has seen everything has no list
    kept = items[:, 0, 0] != NO_ITEM
    return ListTable(
        users[kept], starts[kept], ends[kept], recipe.tradeoffs, items[kept], scores[kept],
        histories_digest(training_set),
    )  # fmt: skip


def _lists(
    recipe: TeacherListsRecipe, found: Recommendations, depth: int, histories: Sequences, on: GoalOnData | None
) -> Iterator[np.ndarray]:
    """The lists at each trade-off, int ``[rows, depth]``."""
    if on is None:
        # nothing is re-ranked
        yield from (found.items[:, :depth] for _ in recipe.tradeoffs)
        return
    assert recipe.method is not None  # the recipe was checked
    lists = lists_at(found, recipe.tradeoffs, depth, recipe.method, on, histories)
    yield from (lists[tradeoff] for tradeoff in recipe.tradeoffs)


def scores_of(listed: np.ndarray, candidates: Recommendations) -> np.ndarray:
    """The scores that listed items have among the candidates of their row.

    Args:
        listed: int ``[rows, k]``, items of the candidates, ``NO_ITEM`` for none.
        candidates: of the same rows.

    Returns:
        float32 ``[rows, k]``, ``-inf`` beside ``NO_ITEM``.
    """
    by_item = np.argsort(candidates.items, axis=1, kind="stable")
    ordered = np.take_along_axis(candidates.items, by_item, axis=1).astype(np.int64)
    # one search in all rows, by keys that rise from row to row
    width = int(ordered.max(initial=0)) + 2
    keys = np.arange(len(listed))[:, None] * width + 1
    places = np.searchsorted((ordered + keys).ravel(), listed + keys)
    columns = by_item.ravel()[np.minimum(places, by_item.size - 1)]
    found = np.take_along_axis(candidates.scores, columns, axis=1)
    return np.where(listed == NO_ITEM, -np.inf, found).astype(np.float32)


def _validation_ndcg(teacher: Recommender, training_set: TrainingSet, exclude_seen: bool) -> float | None:
    """nDCG@10 of the teacher for the validation users; ``None`` without any."""
    if not len(training_set.validation_users):
        return None
    k = min(_VALIDATION_DEPTH, training_set.items)
    lists = teacher.recommend(training_set.histories("validation"), k, exclude_seen)
    return float(ndcg(lists.items, np.asarray(training_set.validation_targets)).mean())
