"""Beyond-accuracy metrics of lists: coverage, concentration, novelty, diversity.

None of these reads a test target. Each says how recommendations are spread, none says that they are good: random lists
cover the catalogue and are the most personal of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ml.beyond_accuracy import measures
from ml.beyond_accuracy.vectors import category_vectors
from ml.data.popularity import GROUPS, popularity_groups
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import RankingError, facts
from ml.recommender import NO_ITEM


def list_metrics(
    rankings: pa.Table,
    training_set: TrainingSet,
    k: int = 10,
    text_vectors: np.ndarray | None = None,
    categories: Sequence[str | None] | None = None,
) -> dict[str, float | None]:
    """Metrics of the first ``k`` items of each list that need no held-out item.

    All means are over lists: users without a ranked item have none and are left out. Popularity is what
    ``training_set.train`` holds, whatever the recommender was fitted on.

    - ``coverage@k``: share of the catalogue that is in at least one list (aggregate diversity, as a share: Adomavicius
      and Kwon, IEEE TKDE 24, 2012).
    - ``gini@k``: Gini coefficient of the number of lists an item is in, over the whole catalogue, items in no list
      counted: 0 where all items are recommended equally often, ``1 - 1 / items`` where one item is all that is ever
      recommended (Fleder and Hosanagar, Management Science 55, 2009; RecBole's ``GiniIndex`` has the same formula).
    - ``popularity@k``: mean number of training interactions of the items in a list (average recommendation popularity:
      Yin et al., VLDB 2012; RecTools' ``AvgRecPopularity``).
    - ``popularity_percentile@k``: the same with popularity as the share of the catalogue that has fewer training
      interactions, items with equally many counted half: comparable between datasets, 0.5 for lists drawn at random.
    - ``novelty@k``: mean self-information of the items in a list, in bits: ``-log2`` of the share of the users with a
      training history who have the item in it (Zhou et al., PNAS 107, 2010). An item in no training history counts as
      if one user had it, as in RecTools' ``MeanInvUserFreq``, so that the value is finite.
    - ``long_tail@k``: share of the items of a list that are in the tail of the catalogue, the least popular items that
      make up 20 % of the training interactions (:func:`ml.data.popularity.popularity_groups`; average percentage of
      long-tail items: Abdollahpouri, Burke and Mobasher, FLAIRS 2019).
    - ``text_diversity@k``: mean distance, 1 - cosine, of two items of a list
      (:func:`ml.beyond_accuracy.measures.intra_list_distance`). Items without a vector are left out, and so are lists
      with fewer than two others.
    - ``category_diversity@k``: the same by multi-hot vectors of the labels of a category, which are separated by ``|``
      (:func:`ml.beyond_accuracy.vectors.category_vectors`). Where every item has one label it is the share of the pairs
      whose categories differ. Categories are compared as they are written.
    - ``text_novelty@k``, ``category_novelty@k``: mean distance of an item of a list to an item of the user's history,
      by the same vectors (:func:`ml.beyond_accuracy.measures.novelty_to_history`). Users with no known item in the list
      or in the history are left out.
    - ``text_diversity_left_out@k`` and so on: share of the tested users who were left out.
    - ``personalisation@k``: 1 - the mean overlap of the lists of two different users, over all pairs of users. The
      overlap of lists of equal length is the share of their items that both hold (Zhou et al., PNAS 107, 2010), of
      others the cosine, ``shared / sqrt(length * other length)``, as in torch_geometric's ``LinkPredPersonalization``;
      computed exactly from how often items occur, without visiting pairs.

    Args:
        rankings: of :func:`ml.evaluation.rankings.rank`.
        training_set: that was ranked for.
        k: items of each list that are looked at.
        text_vectors: of :func:`ml.beyond_accuracy.vectors.text_vectors_of`: float ``[items, dimensions]``, rows of
            length 1, or of length 0 for items without text; ``None`` where there is no text.
        categories: of :func:`ml.beyond_accuracy.vectors.categories_of`: one an item, ``None`` or blank for items
            without; ``None`` where there are none.

    Returns:
        The metrics above by name, with the number for ``k``. ``None`` stands for what cannot be computed: without
        text, categories, or lists (of which personalisation needs two), and novelty without a training history.

    Raises:
        RankingError: the rankings are shorter than ``k``, not ordered by user, or hold users or items that the training
            set does not test or know.
        ValueError: there is not one vector or category an item, or vectors are not of length 1.
    """
    lists, users = _first_of_each_list(rankings, training_set, k)
    cases = np.searchsorted(training_set.test_users, users)
    histories = training_set.histories("test").take(cases)
    interactions = np.bincount(training_set.train.items, minlength=training_set.items)
    exposed = measures.exposures(lists, training_set.items)
    in_tail = popularity_groups(interactions) == GROUPS.index("tail")
    values = {
        "coverage": measures.coverage(exposed),
        "gini": measures.gini(exposed),
        "popularity": _mean_value(lists, interactions),
        "popularity_percentile": _mean_value(lists, measures.popularity_percentiles(interactions)),
        "long_tail": _mean_value(lists, in_tail),
        "novelty": _mean_value(lists, _self_information(training_set)),
        **_distances("text", lists, histories, text_vectors, training_set),
        **_category_distances(lists, histories, categories, training_set),
        "personalisation": _personalisation(lists),
    }
    return {f"{name}@{k}": value for name, value in values.items()}


def list_metrics_table(rows: Mapping[str, Mapping[str, float | None]]) -> pa.Table:
    """One row a recommender: ``recommender`` first, then the metrics as they are named, float64 or null.

    Args:
        rows: what :func:`list_metrics` gave, by name of the recommender.

    Raises:
        ValueError: there is no row, or they hold different metrics.
    """
    if not rows:
        raise ValueError("there is no recommender to make a table of list metrics of")
    names = list(next(iter(rows.values())))
    for recommender, values in rows.items():
        if list(values) != names:
            raise ValueError(f"{recommender} has other list metrics ({', '.join(values)}) than {', '.join(names)}")
    schema = pa.schema(
        [pa.field("recommender", pa.string(), nullable=False), *(pa.field(name, pa.float64()) for name in names)]
    )
    return pa.Table.from_pylist([{"recommender": name, **values} for name, values in rows.items()], schema)


def _first_of_each_list(rankings: pa.Table, training_set: TrainingSet, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The lists of the users who have one, int ``[lists, k]``, and their user indices, ``[lists]``."""
    known = facts(rankings)
    if not 1 <= k <= known["depth"]:
        raise RankingError(
            f"the rankings of {known['recommender']} hold {known['depth']} items a list, so the first {k} cannot be "
            "looked at: rank deeper, or ask for fewer"
        )
    is_first = rankings["rank"].to_numpy() <= k
    users = rankings["user_index"].to_numpy()[is_first]
    items = rankings["item_index"].to_numpy()[is_first]
    steps = np.diff(users, prepend=-1)
    if (steps < 0).any():
        raise RankingError(f"the rankings of {known['recommender']} are not ordered by user: rank again")
    if not np.isin(users[steps > 0], training_set.test_users).all():
        raise RankingError(f"the rankings of {known['recommender']} hold a user who is not tested: rank again")
    if len(items) and not (items.min() >= 0 and items.max() < training_set.items):
        raise RankingError(
            f"the rankings of {known['recommender']} hold items outside the catalogue of {training_set.items} items: "
            "rank again"
        )
    rows = np.cumsum(steps > 0) - 1
    lists = np.full((np.count_nonzero(steps > 0), k), NO_ITEM, dtype=np.int32)
    lists[rows, rankings["rank"].to_numpy()[is_first] - 1] = items
    return lists, users[steps > 0]


def _mean_value(lists: np.ndarray, values: np.ndarray | None) -> float | None:
    """Mean over lists of the mean value of their items; ``values`` are ``[catalogue]``."""
    if values is None or not len(lists):
        return None
    return float(measures.mean_value(lists, values).mean())


def _self_information(training_set: TrainingSet) -> np.ndarray | None:
    """``-log2`` of the share of training users who have each item, float64 ``[items]``."""
    lengths = training_set.train.lengths
    users = np.count_nonzero(lengths)
    if users == 0:
        return None
    # a user who has an item twice is one user
    pairs = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths) * training_set.items
    pairs += training_set.train.items
    pairs.sort()
    is_first = np.concatenate([[True], pairs[1:] != pairs[:-1]])
    users_of_items = np.bincount(pairs[is_first] % training_set.items, minlength=training_set.items)
    return np.log2(users) - np.log2(np.maximum(users_of_items, 1))


def _distances(
    name: str, lists: np.ndarray, histories: Sequences, vectors: np.ndarray | None, training_set: TrainingSet
) -> dict[str, float | None]:
    """Diversity of lists and novelty to histories by one kind of vectors, with the shares of users left out."""
    of_users: dict[str, np.ndarray | None] = {"diversity": None, "novelty": None}
    if vectors is not None:
        if np.ndim(vectors) != 2 or len(vectors) != training_set.items:
            shape = np.shape(vectors)
            raise ValueError(f"{name} vectors of shape {shape} for {training_set.items} items: give one row an item")
        of_users["diversity"] = measures.intra_list_distance(lists, vectors)
        of_users["novelty"] = measures.novelty_to_history(lists, vectors, histories)
    found: dict[str, float | None] = {}
    for kind, values in of_users.items():
        has_value = np.zeros(0, bool) if values is None else ~np.isnan(values)
        tested = len(training_set.test_users)
        found[f"{name}_{kind}"] = None if values is None or not has_value.any() else float(values[has_value].mean())
        found[f"{name}_{kind}_left_out"] = (
            None if values is None or not tested else float(1 - np.count_nonzero(has_value) / tested)
        )
    return found


def _category_distances(
    lists: np.ndarray, histories: Sequences, categories: Sequence[str | None] | None, training_set: TrainingSet
) -> dict[str, float | None]:
    """The same by category."""
    if categories is None:
        return _distances("category", lists, histories, None, training_set)
    if len(categories) != training_set.items:
        raise ValueError(f"{len(categories)} categories for {training_set.items} items: give one an item")
    return _distances("category", lists, histories, category_vectors(categories), training_set)


def _personalisation(lists: np.ndarray) -> float | None:
    """With each entry weighed by ``1 / sqrt(length of its list)``, the overlap of two lists is the product of their
    weights summed over the items of both. So the overlaps of all ordered pairs of different lists sum to the squares of
    the items' summed weights, less their summed squares."""
    if len(lists) < 2:
        return None
    is_item = lists != NO_ITEM
    weights = np.broadcast_to(1 / np.sqrt(is_item.sum(axis=1, keepdims=True)), lists.shape)[is_item]
    sums = np.bincount(lists[is_item], weights=weights)
    squares = np.bincount(lists[is_item], weights=weights * weights)
    overlap = (sums * sums - squares).sum() / (len(lists) * (len(lists) - 1))
    # rounding may carry it below 0 where all lists are the same
    return max(0.0, float(1 - overlap))
