"""The quality of codes: how evenly they are used, how well they distinguish items, and what they know of the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ml.codes.codes import CODES_PER_BOOK, Codes
from ml.codes.equal_rows import collisions_of
from ml.data.popularity import GROUPS, popularity_groups

if TYPE_CHECKING:
    from ml.data.sequences import Sequences
    from ml.data.training_set import TrainingSet

Categories: TypeAlias = Sequence[str | None]


def quality_report(values: np.ndarray, histories: Sequences, book_sizes: Sequence[int] | None = None) -> dict[str, Any]:
    """How well an assignment spreads the items, and what it knows of them.

    Args:
        values: uint8 or uint16 ``[items, books]``.
        histories: the training histories.
        book_sizes: codes of each book; 256 where it is not given.

    Returns:
        JSON values.

        ``by_book``, for each book: the codes in use, the share of the book they are, the entropy of their use in
        bits (8 where all of 256 are used equally), the share of the book that as many equally used codes would be as
        have this entropy (``perplexity_share``), the items of the fullest code, and Spearman's rank correlation
        between an item's code and its number of training interactions: near 1 or -1 where the book says little but how
        popular an item is; ``None`` where either is constant.

        Of whole tuples: how many are distinct, the items that share theirs with another, and the largest group of
        such items.

        ``items_never_seen_in_training``: items in no training history, about which the assignment knows nothing.

        ``neighbours_sharing_a_code``: of two different items that stand side by side in a history, the share of books
        in which they have the same code; ``sharing_a_code_by_chance`` is what two different items have that are drawn
        as often as they occur. The ratio of the two tells how much of the order the codes know. ``None`` where no
        history holds two different items side by side.
    """
    items, books = values.shape
    training_counts = np.bincount(histories.items, minlength=items)
    by_book = []
    for book, size in enumerate(book_sizes or [CODES_PER_BOOK] * books):
        counts = np.bincount(values[:, book], minlength=size)
        entropy = _entropy(counts) if items else 0.0
        by_book.append(
            {
                "book": book,
                "codes_used": int((counts > 0).sum()),
                "share_used": float((counts > 0).mean()),
                "entropy_bits": entropy,
                "perplexity_share": 2**entropy / size,
                "largest_code_items": int(counts.max()),
                "popularity_rank_correlation": _rank_correlation(values[:, book], training_counts),
            }
        )
    together, by_chance = _sharing(values, _neighbours(histories), training_counts)
    return {
        "items": items,
        "books": books,
        "by_book": by_book,
        **collisions_of(values),
        "items_never_seen_in_training": int((training_counts == 0).sum()),
        "neighbours_sharing_a_code": together,
        "sharing_a_code_by_chance": by_chance,
    }


def _neighbours(histories: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """The two items of all pairs of different items that stand side by side in a history, int ``[pairs]`` each."""
    left, right = np.asarray(histories.items[:-1]), np.asarray(histories.items[1:])
    pairs = left != right
    starts = np.asarray(histories.offsets[1:-1])
    starts = starts[(starts > 0) & (starts < len(histories.items))]
    pairs[starts - 1] = False  # the last item of a user and the first of the next
    return left[pairs], right[pairs]


def _sharing(
    values: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], counts: np.ndarray
) -> tuple[float | None, float | None]:
    """Share of books in which two different items have one code: of neighbours, and of items drawn by count."""
    left, right = pairs
    if len(left) == 0:
        return None, None
    together = float((values[left] == values[right]).mean())
    shares = counts / counts.sum()
    same_item = float((shares**2).sum())
    same_code = [float((np.bincount(book, weights=shares) ** 2).sum()) for book in values.T]
    return together, float((np.mean(same_code) - same_item) / (1 - same_item))


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's, equal values at the mean of their ranks."""
    ranks = []
    for values in (first, second):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            return None
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[place])
    return float(np.asarray(np.corrcoef(np.stack(ranks)))[0, 1])


def identifier_report(
    values: np.ndarray, histories: Sequences, vectors: np.ndarray | None = None, categories: Categories | None = None
) -> dict[str, Any]:
    """How good codes are as identifiers that are generated one code after the other.

    A prefix of level l is the first l codes of an item. For books that do not build on one another only the first level
    tells more than :func:`quality_report`.

    Args:
        values: uint8 or uint16 ``[items, books]``.
        histories: the training histories.
        vectors: what was quantised, ``[items, dimensions]``; ``None`` where nothing was.
        categories: of the items, ``None`` for items without; ``None`` where they are not known.

    Returns:
        JSON values.

        ``by_level``, for each level from 1: the number of different ``prefixes``; the mean and largest number of
        prefixes that continue one prefix of the level before (``mean_children``, ``largest_children``);
        ``neighbours_sharing_prefix``, the share of the neighbours in a history, two different items, that have the same
        prefix; and ``sharing_prefix_by_chance``, that share of two different items that are drawn as often as they
        occur. Both are ``None`` where no history holds two different items side by side.

        ``by_popularity``, for the head, the middle and the tail of the catalogue
        (:func:`ml.data.popularity.popularity_groups`): the ``items``, the different ``prefixes`` that they have at each
        level, and the ``items_in_collisions``, which share their whole tuple with some other item.

        ``items_without_vector``: items whose vector is zero, about which the assignment knows nothing; ``None`` where
        no vectors are quantised.

        ``category``: see :func:`category_agreement`.
    """
    prefixes = _prefixes(values)
    counts = np.bincount(histories.items, minlength=len(values))
    pairs = _neighbours(histories)
    by_level = []
    above = np.zeros(len(values), dtype=np.int64)
    for level, prefix in enumerate(prefixes, start=1):
        # one item of each prefix says which prefix it continues
        _, of_prefix = np.unique(prefix, return_index=True)
        children = np.bincount(above[of_prefix])
        together, by_chance = _sharing(prefix[:, None], pairs, counts)
        by_level.append(
            {
                "level": level,
                "prefixes": len(of_prefix),
                "mean_children": len(of_prefix) / max(1, len(children)),
                "largest_children": int(children.max(initial=0)),
                "neighbours_sharing_prefix": together,
                "sharing_prefix_by_chance": by_chance,
            }
        )
        above = prefix
    collides = np.bincount(above)[above] > 1
    group_of = popularity_groups(counts)
    return {
        "by_level": by_level,
        "by_popularity": {
            name: {
                "items": int((group_of == group).sum()),
                "prefixes": [len(np.unique(prefix[group_of == group])) for prefix in prefixes],
                "items_in_collisions": int(collides[group_of == group].sum()),
            }
            for group, name in enumerate(GROUPS)
        },
        "items_without_vector": None if vectors is None else int((~np.asarray(vectors).any(axis=1)).sum()),
        "category": None if categories is None else category_agreement(values[:, 0], categories),
    }


def with_identifier_report(codes: Codes, training_set: TrainingSet, vectors: np.ndarray | None = None) -> Codes:
    """The same codes, with :func:`identifier_report` in their report; categories are those of the item text, where it
    was loaded.

    Args:
        codes: of the items of the training set.
        training_set: that they were assigned on.
        vectors: what was quantised, ``[items, dimensions]``; ``None`` where nothing was.
    """
    from ml.data.item_text import item_categories

    texts = training_set.item_text
    categories = None if texts is None else item_categories(texts)
    report = identifier_report(codes.values, training_set.train, vectors, categories)
    return replace(codes, report=codes.report | report)


def category_agreement(first_codes: np.ndarray, categories: Categories) -> dict[str, Any] | None:
    """How far the first code of an item says its category. Items without a category are left out.

    Args:
        first_codes: ``[items]``.
        categories: ``[items]``, ``None`` or blank for items without.

    Returns:
        ``items`` and ``categories`` that are compared; ``purity``, the share of items whose category is the most
        frequent one of their code, and ``largest_category``, which a single code for all items would have;
        ``normalised_mutual_information``, 0 where code and category are independent and 1 where each decides the other
        (of scikit-learn: divided by the mean of both entropies). ``None`` where there are fewer than two categories.
    """
    names = np.array([(name or "").strip() for name in categories], dtype=object)
    known = np.flatnonzero(names != "")
    different, category = np.unique(names[known].astype(str), return_inverse=True)
    if len(different) < 2:
        return None
    _, code = np.unique(first_codes[known], return_inverse=True)
    # items by code and category
    cells, together = np.unique(code * len(different) + category, return_counts=True)
    largest = np.zeros(code.max() + 1, dtype=np.int64)
    np.maximum.at(largest, cells // len(different), together)
    of_code, of_category = _entropy(np.bincount(code)), _entropy(np.bincount(category))
    shared = of_code + of_category - _entropy(together)
    return {
        "items": len(known),
        "categories": len(different),
        "purity": float(largest.sum() / len(known)),
        "largest_category": float(np.bincount(category).max() / len(known)),
        "normalised_mutual_information": float(max(0.0, shared) / ((of_code + of_category) / 2)),
    }


@dataclass(frozen=True)
class TupleMetrics:
    """Two metrics of lists of tuples, for each user, float64 ``[users]``.

    Attributes:
        hit_of_tuples: 1 where the tuple of the target is among the first k of the list.
        hit: the chance that the target is among the first k items, if the items of a tuple stand in random order.
        ndcg_of_tuples: nDCG@k of the place of the target's tuple.
        ndcg: the mean nDCG@k of the target over all orders of the items of its tuple.
    """

    hit_of_tuples: np.ndarray
    hit: np.ndarray
    ndcg_of_tuples: np.ndarray
    ndcg: np.ndarray


def tuple_metrics(values: np.ndarray, ranked: np.ndarray, targets: np.ndarray, k: int) -> TupleMetrics:
    """What metrics of tuples say where items share their codes, beside metrics of items.

    Generative recommenders are often measured by whether they generate the tuple of the target. Where g items share
    it, that counts a hit for each of them. The metrics of items here are the expected ones: a tuple of g items takes g
    places of a list, in random order (the corrected evaluation of arXiv:2605.25330). With unique codes both are equal.

    Args:
        values: codes ``[items, books]``.
        ranked: items, the best first, int ``[users, length]``, below 0 where a list has ended. What counts is the order
            in which the list shows different tuples.
        targets: the held-out item of each user, ``[users]``.
        k: depth of the metrics.

    Raises:
        ValueError: ``k`` is below 1, or there is not one target a list.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if len(ranked) != len(targets):
        raise ValueError(f"{len(targets)} targets for {len(ranked)} lists: give one a list")
    _, tuple_of, sizes = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    tuple_of = tuple_of.reshape(-1)
    gains = 1 / np.log2(np.arange(k) + 2)
    up_to = np.concatenate([[0], np.cumsum(gains)])
    hit_of_tuples, hit, ndcg_of_tuples, ndcg = (np.zeros(len(targets)) for _ in range(4))
    for user, (items, target) in enumerate(zip(ranked, targets, strict=True)):
        tuples = tuple_of[items[items >= 0]]
        shown = tuples[np.sort(np.unique(tuples, return_index=True)[1])]
        places = np.flatnonzero(shown == tuple_of[target])
        if len(places) == 0:
            continue
        place, size = int(places[0]), int(sizes[tuple_of[target]])
        if place < k:
            hit_of_tuples[user], ndcg_of_tuples[user] = 1, gains[place]
        # items of the tuples before it, and how many of its own still fit in
        before = int(sizes[shown[:place]].sum())
        fitting = min(size, max(0, k - before))
        hit[user] = fitting / size
        ndcg[user] = (up_to[before + fitting] - up_to[before]) / size if fitting else 0
    return TupleMetrics(hit_of_tuples, hit, ndcg_of_tuples, ndcg)


def _prefixes(values: np.ndarray) -> list[np.ndarray]:
    """For each level the number of each item's prefix, in lexicographic order, int64 ``[items]``."""
    prefixes = []
    prefix = np.zeros(len(values), dtype=np.int64)
    for codes in values.T:
        above = prefix * (int(codes.max(initial=0)) + 1) + codes
        prefix = np.unique(above, return_inverse=True)[1].astype(np.int64)
        prefixes.append(prefix)
    return prefixes


def _entropy(counts: np.ndarray) -> float:
    """Of a distribution given by counts above 0, in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
