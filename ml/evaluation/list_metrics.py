"""Beyond-accuracy metrics of lists: coverage, concentration, novelty, diversity.

None of these reads a test target. Each says how recommendations are spread, none says that they are good: random lists
cover the catalogue and are the most personal of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

from ml.data.item_text import item_categories
from ml.data.training_set import TrainingSet
from ml.evaluation.rankings import RankingError, facts
from ml.text.vectors import name_vectors

# sums of vectors held at a time
_FLOATS_AT_ONCE = 1 << 22
_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class _Lists:
    """The first items of every list, list after list.

    Attributes:
        items: int32 ``[entries]``.
        rows: the list of each entry, int64 ``[entries]``.
        lengths: of the lists, all at least 1, int64 ``[lists]``.
        catalogue: items there are to recommend.
    """

    items: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    catalogue: int

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def exposures(self) -> np.ndarray:
        """In how many lists each item is, int64 ``[catalogue]``."""
        return np.bincount(self.items, minlength=self.catalogue)


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
    - ``text_diversity@k``: 1 - the mean cosine over all pairs of items within a list (intra-list diversity: Ziegler et
      al., WWW 2005). Items without a vector are left out, and so are lists with fewer than two others.
    - ``category_diversity@k``: share of the pairs within a list whose categories differ, by the same rules: items
      without a category are left out, and so are lists with fewer than two others. Categories are compared as they are
      written.
    - ``text_diversity_left_out@k``, ``category_diversity_left_out@k``: share of the tested users who were left out.
    - ``personalisation@k``: 1 - the mean overlap of the lists of two different users, over all pairs of users. The
      overlap of lists of equal length is the share of their items that both hold (Zhou et al., PNAS 107, 2010), of
      others the cosine, ``shared / sqrt(length * other length)``, as in torch_geometric's ``LinkPredPersonalization``;
      computed exactly from how often items occur, without visiting pairs.

    Args:
        rankings: of :func:`ml.evaluation.rankings.rank`.
        training_set: that was ranked for.
        k: items of each list that are looked at.
        text_vectors: of :func:`text_vectors_of`: float ``[items, dimensions]``, rows of length 1, or of length 0 for
            items without text; ``None`` where there is no text.
        categories: of :func:`categories_of`: one an item, ``None`` or blank for items without; ``None`` where there are
            none.

    Returns:
        The metrics above by name, with the number for ``k``. ``None`` stands for what cannot be computed: without
        text, categories, or lists (of which personalisation needs two), and novelty without a training history.

    Raises:
        RankingError: the rankings are shorter than ``k``, not ordered by user, or hold users or items that the training
            set does not test or know.
        ValueError: there is not one vector or category an item, or vectors are not of length 1.
    """
    lists = _first_of_each_list(rankings, training_set, k)
    text, text_left_out = None, None
    if text_vectors is not None:
        text, text_left_out = _text_diversity(lists, text_vectors, len(training_set.test_users))
    category, category_left_out = None, None
    if categories is not None:
        category, category_left_out = _category_diversity(lists, categories, len(training_set.test_users))
    interactions = np.bincount(training_set.train.items, minlength=lists.catalogue)
    values = {
        "coverage": float(np.count_nonzero(lists.exposures) / lists.catalogue) if lists.catalogue else None,
        "gini": gini(lists.exposures),
        "popularity": _mean_of_lists(lists, interactions),
        "popularity_percentile": _mean_of_lists(lists, _percentiles(interactions)),
        "novelty": _mean_of_lists(lists, _self_information(training_set)),
        "text_diversity": text,
        "text_diversity_left_out": text_left_out,
        "category_diversity": category,
        "category_diversity_left_out": category_left_out,
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


def text_vectors_of(training_set: TrainingSet) -> np.ndarray | None:
    """Text vectors of items, for diversity by text: those of :func:`ml.text.vectors.name_vectors`.

    Returns:
        float32 ``[items, dimensions]``; ``None`` where no text was loaded or no item has a word.
    """
    if training_set.item_text is None:
        return None
    vectors = name_vectors(training_set)
    return vectors if vectors.any() else None


def categories_of(training_set: TrainingSet) -> list[str | None] | None:
    """The category of each item as its text says it, ``None`` for items without.

    Returns:
        ``[items]``; ``None`` where no text was loaded, or the texts have fewer than two different categories: with one,
        no list could be more or less diverse.
    """
    if training_set.item_text is None:
        return None
    categories = item_categories(training_set.item_text)
    return categories if len(set(categories) - {None}) > 1 else None


def gini(amounts: np.ndarray) -> float | None:
    """Gini coefficient of amounts that are not negative, ``[holders]``; ``None`` where all are 0.

    Half the mean difference between two holders, relative to the mean: 0 where all hold equally much, ``1 - 1 /
    holders`` where one holds everything.
    """
    amounts = np.sort(amounts)
    total = amounts.sum()
    if total == 0:
        return None
    holders = len(amounts)
    weights = 2 * np.arange(1, holders + 1, dtype=np.int64) - holders - 1
    return float((weights * amounts).sum() / (holders * total))


def _first_of_each_list(rankings: pa.Table, training_set: TrainingSet, k: int) -> _Lists:
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
    return _Lists(items, rows, np.bincount(rows), training_set.items)


def _mean_of_lists(lists: _Lists, values: np.ndarray | None) -> float | None:
    """Mean over lists of the mean value of their items; ``values`` are ``[catalogue]``."""
    if values is None or not len(lists):
        return None
    sums = np.bincount(lists.rows, weights=values[lists.items])
    return float((sums / lists.lengths).mean())


def _percentiles(amounts: np.ndarray) -> np.ndarray:
    """Share of the items below each, equals counted half, float64 ``[items]``; its mean is one half."""
    ordered = np.sort(amounts)
    below, up_to = np.searchsorted(ordered, amounts, "left"), np.searchsorted(ordered, amounts, "right")
    return (below + up_to) / (2 * len(amounts))


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


def _text_diversity(lists: _Lists, vectors: np.ndarray, users: int) -> tuple[float | None, float | None]:
    """The mean, and the share of users left out.

    Of n unit vectors with the sum s, the cosines of all ordered pairs of different ones sum to ``|s|^2 - n``.
    """
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != lists.catalogue:
        raise ValueError(f"text vectors of shape {vectors.shape} for {lists.catalogue} items: give one row an item")
    squares = np.einsum("id,id->i", vectors, vectors)
    has_vector = squares > _LENGTH_TOLERANCE
    if (np.abs(squares[has_vector] - 1) > _LENGTH_TOLERANCE).any():
        raise ValueError("text vectors must have length 1, or 0 for items without text: scale their rows")
    counts, squares_of_sums = _pooled(lists, vectors, has_vector)
    return _mean_dissimilarity(counts, squares_of_sums - counts, users)


def _pooled(lists: _Lists, vectors: np.ndarray, has_vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of items with a vector in each list, and the squared length of their sum, both ``[lists]``."""
    counts = np.bincount(lists.rows[has_vector[lists.items]], minlength=len(lists))
    squares = np.empty(len(lists))
    starts = np.concatenate([[0], np.cumsum(lists.lengths)])
    at_once = max(1, _FLOATS_AT_ONCE // max(1, vectors.shape[1]))
    for first in range(0, len(lists), at_once):
        last = min(first + at_once, len(lists))
        items = lists.items[starts[first] : starts[last]]
        offsets = starts[first : last + 1] - starts[first]
        shape = (last - first, lists.catalogue)
        # a sparse matrix of ones times the vectors: no vector is copied for every list that holds its item
        sums = sparse.csr_array((np.ones(len(items), np.float32), items, offsets), shape=shape) @ vectors
        squares[first:last] = np.einsum("ld,ld->l", sums, sums)
    return counts, squares


def _category_diversity(
    lists: _Lists, categories: Sequence[str | None], users: int
) -> tuple[float | None, float | None]:
    """The mean, and the share of users left out."""
    if len(categories) != lists.catalogue:
        raise ValueError(f"{len(categories)} categories for {lists.catalogue} items: give one an item")
    names = {name for name in categories if name and name.strip()}
    numbers = {name: number for number, name in enumerate(sorted(names))}
    codes = np.array([numbers.get(name or "", -1) for name in categories], dtype=np.int64)[lists.items]
    kept = codes >= 0
    rows = lists.rows[kept]
    counts = np.bincount(rows, minlength=len(lists))
    groups, sizes = np.unique(rows * max(1, len(names)) + codes[kept], return_counts=True)
    same = np.bincount(groups // max(1, len(names)), weights=sizes * (sizes - 1), minlength=len(lists))
    return _mean_dissimilarity(counts, same, users)


def _mean_dissimilarity(counts: np.ndarray, similarity: np.ndarray, users: int) -> tuple[float | None, float | None]:
    """1 - the mean similarity of the ordered pairs of each list, over lists with a pair; and who has none.

    Args:
        counts: items of each list that can be compared, ``[lists]``.
        similarity: summed over its ordered pairs of different items, ``[lists]``.
        users: tested, with a list or without.
    """
    if users == 0:
        return None, None
    has_pair = counts > 1
    left_out = float(1 - np.count_nonzero(has_pair) / users)
    if not has_pair.any():
        return None, left_out
    pairs = counts[has_pair] * (counts[has_pair] - 1)
    # rounding may carry it below 0 where all items are the same
    return max(0.0, float((1 - similarity[has_pair] / pairs).mean())), left_out


def _personalisation(lists: _Lists) -> float | None:
    """With each entry weighed by ``1 / sqrt(length of its list)``, the overlap of two lists is the product of their
    weights summed over the items of both. So the overlaps of all ordered pairs of different lists sum to the squares of
    the items' summed weights, less their summed squares."""
    if len(lists) < 2:
        return None
    weights = (1 / np.sqrt(lists.lengths))[lists.rows]
    sums = np.bincount(lists.items, weights=weights)
    squares = np.bincount(lists.items, weights=weights * weights)
    overlap = (sums * sums - squares).sum() / (len(lists) * (len(lists) - 1))
    # rounding may carry it below 0 where all lists are the same
    return max(0.0, float(1 - overlap))
