"""How each baseline ranks, against plain re-computations and hand-made cases."""

from __future__ import annotations

import gzip
import html
import json
import os
from collections import Counter, defaultdict
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommender_factories import made_up_training_set

from ml.baselines.hash_random import history_keys, uniform
from ml.baselines.popularity import item_counts, popularity_order
from ml.baselines.registry import BASELINES
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import missing
from ml.item_graph.graph import neighbours, transitions
from ml.retrieval.top_k import tie_break_order
from ml.text.registry import create_encoder


def training_set_of(histories: list[list[int]], items: int, texts: list[str] | None = None) -> TrainingSet:
    """A training set of nothing but training histories, and texts where given."""
    nobody = np.empty(0, dtype=np.int32)
    return TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"I{item:03d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"U{user:03d}" for user in range(len(histories))], dtype="S"),
        train=Sequences.from_lists(histories),
        validation_users=nobody,
        validation_targets=nobody,
        test_users=nobody,
        test_targets=nobody,
        item_text=None if texts is None else tuple(texts),
    )


def ask(name: str, training_set: TrainingSet, histories: list[list[int]], k: int, exclude_seen=False, seed=0):
    recommender = BASELINES[name].create(seed).fit(training_set)
    return recommender.recommend(Sequences.from_lists(histories), k, exclude_seen)


def by_popularity(training_set: TrainingSet) -> list[int]:
    counts = Counter(training_set.train.items.tolist())
    ties = tie_break_order(training_set.items).tolist()
    return sorted(range(training_set.items), key=lambda item: (-counts[item], ties.index(item)))


def test_tables_list_them_in_this_order():
    shipped = [
        "random",
        "popularity_sampling",
        "most_popular",
        "repeat_last",
        "bm25_last_item",
        "markov_chain",
        "markov_chain_undirected",
        "two_hop_graph",
        "two_hop_graph_decay",
        "text_graph_last",
        "text_graph_last_two",
    ]
    # another one may stand anywhere
    assert [name for name in BASELINES if name in shipped] == shipped


def test_only_seeded_baselines_change_with_the_seed():
    training_set = made_up_training_set()
    histories = training_set.histories("test")
    for baseline in BASELINES.values():
        if baseline.extra is not None and missing(baseline.extra):
            continue
        one, other = (
            baseline.create(seed).fit(training_set).recommend(histories, 10, exclude_seen=False) for seed in (1, 2)
        )
        assert (one.items != other.items).any() == baseline.seeded


def test_another_recommenders_folder_is_refused(tmp_path):
    BASELINES["most_popular"].create().fit(made_up_training_set()).save(tmp_path)
    with pytest.raises(ValueError, match=r"recommender\.json describes 'most_popular'.*expected 'repeat_last'"):
        BASELINES["repeat_last"].load(tmp_path)


def test_popularity_breaks_ties_by_the_common_rule():
    counts = np.array([2, 5, 2, 0, 5, 2])
    place = {item: position for position, item in enumerate(tie_break_order(6).tolist())}
    expected = sorted(range(6), key=lambda item: (-counts[item], place[item]))
    assert popularity_order(counts).tolist() == expected


def test_most_popular_counts_repeats_and_training_alone():
    training_set = training_set_of([[2, 2, 2], [0, 1], [0, 2]], items=4)
    answer = ask("most_popular", training_set, [[1], []], k=3)
    assert answer.items.tolist() == [[2, 0, 1], [2, 0, 1]]
    np.testing.assert_allclose(answer.scores[0], [4 / 7, 2 / 7, 1 / 7], rtol=1e-6)
    assert item_counts(training_set).tolist() == [2, 1, 4, 0]


def test_repeat_last_repeats_then_fills():
    training_set = training_set_of([[2, 2, 2], [0, 1], [0, 2]], items=4)
    answer = ask("repeat_last", training_set, [[0, 3], [0, 2], []], k=3)
    assert answer.items.tolist() == [[3, 2, 0], [2, 0, 1], [2, 0, 1]]


def test_repeat_last_without_seen_items_is_most_popular():
    training_set = made_up_training_set()
    histories = training_set.histories("test")
    one, other = (
        BASELINES[name].create().fit(training_set).recommend(histories, 10, exclude_seen=True)
        for name in ("repeat_last", "most_popular")
    )
    np.testing.assert_array_equal(one.items, other.items)


def test_the_graph_counts_neighbours_within_a_history():
    training_set = training_set_of([[0, 1, 0, 1], [1, 0], [2], [], [3, 3]], items=4)
    expected = np.zeros((4, 4), dtype=int)
    expected[0, 1], expected[1, 0], expected[3, 3] = 2, 2, 1
    np.testing.assert_array_equal(transitions(training_set).toarray(), expected)
    np.testing.assert_array_equal(neighbours(training_set).toarray(), expected + expected.T)


def test_markov_chain_ranks_what_followed():
    # 0 -> 1 twice, 0 -> 2 once, 0 -> 3 once; 3 is more popular than 2; users are not joined end to end
    training_set = training_set_of([[0, 1], [0, 1], [0, 2], [0, 3], [3], [3], [4, 4]], items=6)
    answer = ask("markov_chain", training_set, [[5, 0], [4], [2]], k=4)
    popular = by_popularity(training_set)
    assert popular[:2] == [0, 3]
    assert answer.items.tolist() == [[1, 3, 2, 0], [4, 0, 3, 1], popular[:4]]
    np.testing.assert_allclose(answer.scores[0, :3], [0.5, 0.25, 0.25], atol=0.1)
    assert answer.scores[0, 1] > answer.scores[0, 2]


_HISTORIES = st.lists(st.lists(st.integers(0, 8), max_size=9), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(train=_HISTORIES, asked=_HISTORIES, k=st.integers(1, 12), exclude_seen=st.booleans())
def test_counting_baselines_equal_their_definitions(train, asked, k, exclude_seen):
    training_set = training_set_of(train, items=9)
    popular = by_popularity(training_set)
    followed, beside = defaultdict(Counter), defaultdict(Counter)
    for history in train:
        for previous, following in pairwise(history):
            followed[previous][following] += 1
            beside[previous][following] += 1
            beside[following][previous] += 1

    def most_often(pairs, history):
        counts = pairs[history[-1]] if history else {}
        return sorted(counts, key=lambda item: (-counts[item], popular.index(item)))

    preferred = {
        "most_popular": lambda history: [],
        "repeat_last": lambda history: history[-1:],
        "markov_chain": partial(most_often, followed),
        "markov_chain_undirected": partial(most_often, beside),
    }
    for name, first in preferred.items():
        answer = ask(name, training_set, asked, k, exclude_seen)
        for row, history in enumerate(asked):
            expected = list(dict.fromkeys([*first(history), *popular]))
            if exclude_seen:
                expected = [item for item in expected if item not in history]
            expected = (expected + [-1] * k)[:k]
            assert answer.items[row].tolist() == expected, name


@settings(max_examples=100, deadline=None)
@given(train=_HISTORIES, asked=_HISTORIES, k=st.integers(1, 12), exclude_seen=st.booleans())
def test_two_hop_graphs_equal_their_definition_on_dense_matrices(train, asked, k, exclude_seen):
    training_set = training_set_of(train, items=9)
    popular = by_popularity(training_set)
    met = np.zeros((9, 9))
    for history in train:
        for one, other in pairwise(history):
            met[one, other] += 1
            met[other, one] += 1
    walk = met / np.maximum(1, met.sum(axis=1, keepdims=True))
    both = walk + 0.3 * walk @ walk
    rules = {
        "two_hop_graph": lambda latest: sum(
            (weight * reach[item] for weight, reach, item in zip((1, 0.5), (both, walk), latest, strict=False)),
            np.zeros(9),
        ),
        "two_hop_graph_decay": lambda latest: sum(
            (0.6**back * both[item] for back, item in enumerate(latest[:10])), np.zeros(9)
        ),
    }
    for name, rule in rules.items():
        answer = ask(name, training_set, asked, k, exclude_seen)
        for row, history in enumerate(asked):
            scores = np.rint(rule(history[::-1]) * 2**40)
            expected = sorted(range(9), key=lambda item: (-scores[item], popular.index(item)))
            if exclude_seen:
                expected = [item for item in expected if item not in history]
            expected = (expected + [-1] * k)[:k]
            assert answer.items[row].tolist() == expected, name
            kept = [item for item in expected if item >= 0]
            np.testing.assert_allclose(answer.scores[row, : len(kept)], scores[kept] / 2**40, rtol=1e-6)


def test_decay_reads_ten_items_and_no_more():
    training_set = training_set_of([[0, 1], [2, 3], [4, 4]], items=5)
    reached = ask("two_hop_graph_decay", training_set, [[2, 0, *[4] * 8], [2, 0, *[4] * 9]], k=5)
    for row, last_reached in ((0, {0, 1, 2, 3, 4}), (1, {0, 1, 4})):
        assert set(reached.items[row][reached.scores[row] > 0].tolist()) == last_reached


def rings_around(item: int, train: list[list[int]], depth: int) -> list[set[int]]:
    """By breadth-first search over the pairs of neighbours."""
    follows = defaultdict(set)
    for history in train:
        for previous, following in pairwise(history):
            follows[previous].add(following)
    rings, visited = [follows[item]], {item} | follows[item]
    for _ in range(depth - 1):
        rings.append({after for before in rings[-1] for after in follows[before]} - visited)
        visited |= rings[-1]
    return rings


def shared_out(sources: list[tuple[list[list[int]], tuple[int, ...]]], popular: list[int]) -> list[int]:
    """The rule of the quotas, item by item: rankings and quotas of each source; then by popularity."""
    listed: list[int] = []

    def give(ranking: list[int], most: int) -> int:
        """How many places stay open."""
        while most and (chosen := next((item for item in ranking if item not in listed), None)) is not None:
            listed.append(chosen)
            most -= 1
        return most

    def left(ranking: list[int]) -> int:
        return sum(item not in listed for item in ranking)

    while any(left(ranking) for rankings, _ in sources for ranking in rankings):
        for_the_round = 0
        for rankings, quotas in sources:
            rest = 0
            for place, (ranking, quota) in enumerate(zip(rankings, quotas, strict=True)):
                short = max(0, quota - left(ranking))
                for earlier in rankings[:place]:
                    short = give(earlier, short)
                assert give(ranking, quota - max(0, quota - left(ranking))) == 0
                rest += short
            for ranking in rankings:
                rest = give(ranking, rest)
            for_the_round += rest
        for rankings, _ in sources:
            for ranking in rankings:
                for_the_round = give(ranking, for_the_round)
    return list(dict.fromkeys([*listed, *popular]))


_LONG_HISTORIES = st.lists(st.lists(st.integers(0, 29), max_size=25), min_size=1, max_size=12)
_QUOTAS = {"text_graph_last": ((7, 2, 1),), "text_graph_last_two": ((5, 1), (3, 1))}


@settings(max_examples=80, deadline=None)
@given(train=_LONG_HISTORIES, asked=_LONG_HISTORIES, k=st.integers(1, 35), exclude_seen=st.booleans())
def test_text_graphs_equal_their_definition(train, asked, k, exclude_seen):
    texts = list(made_up_training_set(items=30).item_text)
    training_set = training_set_of(train, items=30, texts=texts)
    popular = by_popularity(training_set)
    vectors = create_encoder().encode(texts)
    vectors = np.round(vectors.astype(np.float64) * 2**25) / 2**25
    likeness = (vectors @ vectors.T).astype(np.float32)
    assert (likeness[5] == 0).all()  # a text without a word
    counts = Counter(pair for history in train for pair in pairwise(history))
    for name, all_quotas in _QUOTAS.items():
        answer = ask(name, training_set, asked, k, exclude_seen)
        for row, history in enumerate(asked):
            sources = []
            for anchor, quotas in zip(history[::-1], all_quotas, strict=False):
                largest = max((count for (before, _), count in counts.items() if before == anchor), default=0)

                def score(item, ring, anchor=anchor, largest=largest):
                    bonus = np.log1p(counts[anchor, item]) / np.log1p(largest) if ring == 0 else 0
                    return likeness[anchor, item] + np.float32(0.5) * np.float32(bonus)

                rankings = [
                    sorted(ring, key=lambda item, place=place: (-score(item, place), popular.index(item)))
                    for place, ring in enumerate(rings_around(anchor, train, len(quotas)))
                ]
                if exclude_seen:
                    rankings = [[item for item in ranking if item not in history] for ranking in rankings]
                sources.append((rankings, quotas))
            # the places of an item that is not there stay open in every round
            sources += [([[] for _ in quotas], quotas) for quotas in all_quotas[len(sources) :]]
            expected = [item for item in shared_out(sources, popular) if not (exclude_seen and item in history)]
            assert answer.items[row].tolist() == (expected + [-1] * k)[:k], name


def test_quotas_give_seven_two_and_one_of_every_ten():
    # 0 leads to 1-12; 1 leads to 13-17; 13 leads to 18-20; popularity alone orders a ring, as no text holds a word
    ways = [[0, item] for item in range(1, 13)] + [[1, item] for item in range(13, 18)] + [[13, 18], [13, 19], [13, 20]]
    training_set = training_set_of(ways, items=24, texts=[""] * 24)
    popular = by_popularity(training_set)
    first, second, third = (sorted(ring, key=popular.index) for ring in (range(1, 13), range(13, 18), range(18, 21)))
    answer = ask("text_graph_last", training_set, [[0]], k=24)
    rings = [first[:7], second[:2], third[:1]]
    # five are left of the first ring: two more stand where they were missed, at the end of the round
    rings += [first[7:], second[2:4], third[1:2], second[4:], third[2:]]
    expected = [item for ring in rings for item in ring]
    assert answer.items[0].tolist() == [*expected, *(item for item in popular if item not in expected)]
    np.testing.assert_allclose(answer.scores[0], 1 / np.arange(1, 25), rtol=1e-6)


def test_a_ring_is_read_by_the_text_of_its_anchor():
    texts = [
        "red steel saw",
        "blue cotton glove",
        "steel saw blade",
        "cotton glove liner",
        "red paint",
        "a saw of steel",
    ]
    training_set = training_set_of([[0, 3], [0, 2], [0, 5], [1, 3], [1, 2], [0, 3]], items=6, texts=texts)
    answer = ask("text_graph_last", training_set, [[1, 0], [0, 1]], k=3)
    assert set(answer.items[0, :2].tolist()) == {2, 5}
    assert answer.items[0, 2] == 3  # what was seen twice is not enough against the text
    assert answer.items[1, :2].tolist() == [3, 2]


@pytest.mark.parametrize("name", list(_QUOTAS))
def test_text_graphs_need_text_and_keep_their_encoder(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} needs the item text of Made_Up: add it with TrainingSet.with_text"):
        BASELINES[name].create().fit(training_set_of([[0]], items=1))
    with pytest.raises(ValueError, match="there is no text encoder 'flan'"):
        BASELINES[name].resolve()(encoder="flan").fit(made_up_training_set())
    BASELINES[name].create().fit(made_up_training_set()).save(tmp_path)
    assert BASELINES[name].load(tmp_path).encoder == "tf_idf_svd"


def test_bm25_scores_are_those_of_bm25s():
    import bm25s
    import Stemmer

    training_set = made_up_training_set()
    texts = list(training_set.item_text)
    tokens = bm25s.tokenize(
        texts, stopwords="english", stemmer=Stemmer.Stemmer("english"), return_ids=False, show_progress=False
    )
    retriever = bm25s.BM25(method="lucene")
    retriever.index(tokens, show_progress=False)
    worded = [item for item, words in enumerate(tokens) if words]
    assert 0 < len(worded) < len(texts)
    answer = ask("bm25_last_item", training_set, [[0, item] for item in worded], k=40)
    for row, item in enumerate(worded):
        scores = retriever.get_scores(tokens[item])
        np.testing.assert_allclose(answer.scores[row], scores[answer.items[row]], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer.scores[row], np.sort(scores)[::-1], rtol=1e-5, atol=1e-6)


def test_bm25_reads_stems_and_skips_stop_words():
    texts = ["the drilling of holes", "a drill for hole", "the of for a", "a saw for the wood", "glue"]
    training_set = training_set_of([[4, 4, 3], [4]], items=5, texts=texts)
    answer = ask("bm25_last_item", training_set, [[0], [2], []], k=5)
    assert set(answer.items[0, :2].tolist()) == {0, 1}
    assert answer.scores[0, 1] > 0
    # stop words alone are nothing to match: a zero for all would leave the list to chance
    assert answer.scores[0, 2] == 0
    assert answer.items[1].tolist() == answer.items[2].tolist() == by_popularity(training_set)


def test_bm25_of_equal_texts_follows_the_tie_rule():
    training_set = training_set_of([[0]], items=30, texts=["Title: Unknown"] * 30)
    answer = ask("bm25_last_item", training_set, [[4]], k=30)
    assert len(set(answer.scores[0].tolist())) == 1
    assert answer.items[0].tolist() == tie_break_order(30).tolist()


@pytest.mark.parametrize("text", ["", "the of"])
def test_bm25_of_texts_without_a_word_is_most_popular(text, tmp_path):
    training_set = training_set_of([[1, 2, 2]], items=3, texts=[text] * 3)
    recommender = BASELINES["bm25_last_item"].create().fit(training_set)
    recommender.save(tmp_path)
    for one in (recommender, BASELINES["bm25_last_item"].load(tmp_path)):
        answer = one.recommend(Sequences.from_lists([[0]]), 3, exclude_seen=False)
        assert answer.items[0].tolist() == [2, 1, 0]


def test_bm25_needs_text():
    with pytest.raises(ValueError, match="BM25 needs the item text of Made_Up"):
        BASELINES["bm25_last_item"].create().fit(training_set_of([[0]], items=1))


def many_histories(rows: int) -> list[list[int]]:
    """Different ones, of items below 100."""
    return [[row % 100, row // 100 % 100, row // 10_000] for row in range(rows)]


def test_random_gives_every_item_every_place():
    items, rows = 20, 20_000
    training_set = training_set_of(many_histories(1), items=100)
    answer = ask("random", training_set, many_histories(rows), k=100)
    expected = rows / 100
    for place in (0, 1, 99):
        counts = np.bincount(answer.items[:, place], minlength=100)
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 160  # 99 degrees of freedom: above by chance once in 10,000 times
    # pairs too: the second is not bound to the first
    pairs = np.bincount(answer.items[:, 0] // items * 5 + answer.items[:, 1] // items, minlength=25)
    same, other = rows / 5 * 19 / 99, rows / 5 * 20 / 99
    expected_pairs = np.where(np.eye(5).ravel() == 1, same, other)
    assert ((pairs - expected_pairs) ** 2 / expected_pairs).sum() < 57


def test_popularity_sampling_draws_in_proportion_without_replacement():
    counts = [8, 4, 2, 1, 0, 0]
    training_set = training_set_of([[item] * count for item, count in enumerate(counts)], items=100)
    rows = 20_000
    answer = ask("popularity_sampling", training_set, many_histories(rows), k=100)
    weights = np.array(counts[:4]) / 15
    first = np.bincount(answer.items[:, 0], minlength=4)
    assert ((first - rows * weights) ** 2 / (rows * weights)).sum() < 21  # 3 degrees of freedom
    for drawn in range(4):
        second = answer.items[answer.items[:, 0] == drawn, 1]
        left = weights.copy()
        left[drawn] = 0
        expected = len(second) * left / left.sum()
        seen = np.bincount(second, minlength=4)
        others = np.arange(4) != drawn
        assert ((seen - expected)[others] ** 2 / expected[others]).sum() < 19
    # items that nobody bought come last, in an order of their own
    assert (np.sort(answer.items[:, :4], axis=1) == np.arange(4)).all()
    last = np.bincount(answer.items[:, -1], minlength=100)[4:]
    assert ((last - rows / 96) ** 2 / (rows / 96)).sum() < 156


def test_noise_is_of_the_history_its_order_and_the_seed():
    histories = Sequences.from_lists([[1, 2], [2, 1], [1, 2], [], [0], [0, 0], [1, 2, 0]])
    keys = history_keys(histories, seed=5)
    assert keys[0] == keys[2]
    assert len(set(keys.tolist())) == 6
    assert (history_keys(histories, seed=6) != keys).all()
    np.testing.assert_array_equal(history_keys(histories.take(np.array([4, 0])), seed=5), keys[[4, 0]])
    np.testing.assert_array_equal(history_keys(histories, seed=-1), history_keys(histories, seed=2**64 - 1))
    numbers = uniform(keys, 50_000)
    assert numbers.min() > 0
    assert numbers.max() < 1
    np.testing.assert_allclose(numbers.mean(axis=1), 0.5, atol=0.006)
    np.testing.assert_array_equal(numbers[:, :10], uniform(keys, 10))


def industrial_and_scientific(data: Path) -> TrainingSet:
    """Real interactions in real order, leave-one-out; validation on the last item but one of 512 users."""
    histories = defaultdict(list)
    with gzip.open(data / "derived_raw" / "Industrial_and_Scientific_5.json.gz") as lines:
        for line in lines:
            review = json.loads(line)
            histories[review["reviewerID"]].append((review["unixReviewTime"], review["asin"]))
    with gzip.open(data / "derived_raw" / "meta_Industrial_and_Scientific.json.gz") as lines:
        metadata = {item["asin"]: item for item in map(json.loads, lines)}
    users = sorted(histories)
    items = sorted({asin for history in histories.values() for _, asin in history})
    index = {asin: position for position, asin in enumerate(items)}
    sequences = [[index[asin] for _, asin in sorted(histories[user])] for user in users]
    validation = np.sort(np.random.default_rng(0).choice(len(users), 512, replace=False)).astype(np.int32)
    held_out = np.ones(len(users), dtype=int)
    held_out[validation] = 2

    def text(asin: str) -> str:
        known = metadata.get(asin, {})
        fields = {"Title": "title", "Brand": "brand", "Category": "main_cat", "Price": "price"}
        return " ".join(
            f"{label}: {html.unescape(known.get(name) or '') or 'Unknown'}" for label, name in fields.items()
        )

    return TrainingSet(
        dataset="Industrial_and_Scientific",
        item_ids=np.array(items, dtype="S"),
        user_ids=np.array(users, dtype="S"),
        train=Sequences.from_lists([sequence[:-last] for sequence, last in zip(sequences, held_out, strict=True)]),
        validation_users=validation,
        validation_targets=np.array([sequences[user][-2] for user in validation], dtype=np.int32),
        test_users=np.arange(len(users), dtype=np.int32),
        test_targets=np.array([sequence[-1] for sequence in sequences], dtype=np.int32),
        item_text=tuple(text(asin) for asin in items),
    )


def beauty_without_the_last_two(data: Path) -> TrainingSet:
    """Beauty of 2014 as published with S3-Rec: all but the last two items are trained on."""
    with gzip.open(data / "beauty_2014" / "Beauty.txt.gz", "rt") as lines:
        sequences = [[int(item) - 1 for item in line.split()[1:]] for line in lines]
    items = 1 + max(max(sequence) for sequence in sequences)
    users = np.arange(len(sequences), dtype=np.int32)
    return TrainingSet(
        dataset="Beauty",
        item_ids=np.array([f"{item:05d}" for item in range(items)], dtype="S"),
        user_ids=np.array([f"{user:05d}" for user in users], dtype="S"),
        train=Sequences.from_lists([sequence[:-2] for sequence in sequences]),
        validation_users=users,
        validation_targets=np.array([sequence[-2] for sequence in sequences], dtype=np.int32),
        test_users=users,
        test_targets=np.array([sequence[-1] for sequence in sequences], dtype=np.int32),
    )


@pytest.mark.real_data
def test_the_graph_of_beauty_is_the_published_one():
    if "RAW2RANK_DATA" not in os.environ:
        pytest.skip("RAW2RANK_DATA is not set: no real data to test on")
    file = Path(os.environ["RAW2RANK_DATA"]) / "beauty_2014" / "Beauty.txt.gz"
    if not file.exists():
        pytest.skip(f"{file} does not exist: no real data to test on")
    training_set = beauty_without_the_last_two(Path(os.environ["RAW2RANK_DATA"]))
    assert (training_set.users, training_set.items) == (22_363, 12_101)
    # as counted by the authors of arXiv 2605.07125
    assert transitions(training_set).nnz == 114_582
    histories = training_set.histories("test")
    ndcg = {}
    for name in ("markov_chain", "markov_chain_undirected"):
        answer = BASELINES[name].create().fit(training_set).recommend(histories, 10, exclude_seen=True)
        _, place = np.nonzero(answer.items == training_set.test_targets[:, None])
        ndcg[name] = (1 / np.log2(place + 2)).sum() / len(histories)
    assert ndcg["markov_chain"] == pytest.approx(0.0441, abs=0.001)
    assert ndcg["markov_chain_undirected"] == pytest.approx(0.0408, abs=0.001)


@pytest.mark.real_data
def test_real_rows_stand_where_they_should():
    if "RAW2RANK_DATA" not in os.environ:
        pytest.skip("RAW2RANK_DATA is not set: no real data to test on")
    file = Path(os.environ["RAW2RANK_DATA"]) / "derived_raw" / "Industrial_and_Scientific_5.json.gz"
    if not file.exists():
        pytest.skip(f"{file} does not exist: no real data to test on")
    training_set = industrial_and_scientific(Path(os.environ["RAW2RANK_DATA"]))
    histories = training_set.histories("test")
    recall, ndcg = {}, {}
    for name, baseline in BASELINES.items():
        if baseline.extra is not None and missing(baseline.extra):
            continue
        answer = baseline.create(0).fit(training_set).recommend(histories, 10, exclude_seen=False)
        user, place = np.nonzero(answer.items == training_set.test_targets[:, None])
        recall[name] = len(user) / len(histories)
        ndcg[name] = (1 / np.log2(place + 2)).sum() / len(histories)
    assert 0.095 <= recall["bm25_last_item"] <= 0.105
    assert recall["popularity_sampling"] < recall["bm25_last_item"] / 10
    assert recall["random"] == pytest.approx(10 / training_set.items, abs=0.0015)
    assert ndcg["markov_chain"] >= 0.058
