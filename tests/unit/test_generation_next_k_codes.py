"""ml/generation/next_k_codes.py: lists written item by item, and each item code by code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import nn
from training_toys import ITEMS as RING_ITEMS
from training_toys import identifiers, ring_training_set, toy_recipe

from ml.generation.next_k_codes import generate_code_lists
from ml.models.catalogue import Catalogue
from ml.models.gptrec_codes import GPTRecCodes
from ml.models.settings import GPTRecCodesSettings
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order
from ml.training.beam_widths import compare_beam_widths
from ml.training.recipe import load_recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

ITEMS, LONGEST, LIST, SIZES = 30, 5, 4, (4, 5, 3)
TABLE = {
    "dimensions": 12,
    "blocks": 2,
    "heads": 3,
    "feed_forward_dimensions": 20,
    "dropout": 0.3,
    "max_length": LONGEST,
    "beam_width": 7,
    "embedding_deviation": 0.5,
    "lists": "next_k",
    "list_length": LIST,
}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model(**changes) -> GPTRecCodes:
    every = np.array(list(itertools.product(*(range(size) for size in SIZES))), dtype=np.uint8)
    codes = np.random.default_rng(0).permutation(every)[:ITEMS]
    torch.manual_seed(0)
    model = GPTRecCodes(GPTRecCodesSettings(**(TABLE | changes)), Catalogue(ITEMS, codes=codes, book_sizes=SIZES))
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def _batch(lengths: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histories, their lengths, and which items are hidden."""
    generator = torch.Generator().manual_seed(seed)
    histories = torch.randint(ITEMS, (len(lengths), max(lengths)), generator=generator)
    return histories, torch.tensor(lengths), torch.rand(len(lengths), ITEMS, generator=generator) < 0.2


@torch.no_grad()
def _by_hand(model: GPTRecCodes, history: list[int], allowed: set[int], listed: list[int], prefix: list[int]):
    """Log-probabilities of the codes that may follow a prefix, by reading everything as one sequence."""
    rows = model.codes[history + listed].flatten().tolist() + prefix
    first = (model.max_length - len(history)) * model.levels
    vectors = [
        model.tokens[place % model.levels][code] + model.positions[first + place] for place, code in enumerate(rows)
    ]
    scores = model.tokens[len(prefix)] @ model.trunk(torch.stack(vectors)[None])[0, -1]
    follow = {
        int(model.codes[item, len(prefix)]) for item in allowed if model.codes[item].tolist()[: len(prefix)] == prefix
    }
    mask = torch.full_like(scores, -torch.inf)
    mask[list(follow)] = 0
    return (scores + mask).log_softmax(dim=0)


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, LONGEST), min_size=1, max_size=3), sampled=st.booleans(), seed=st.integers(0, 99)
)
def test_lists_are_those_of_whole_sequences_read_again(lengths, sampled, seed):
    """Code by code; only codes that lead to an item which may be listed."""
    model = _model()
    items, counts, hidden = _batch(lengths, seed)
    generator = torch.Generator().manual_seed(seed) if sampled else None
    found = generate_code_lists(model, items, counts, LIST, hidden, generator)
    for row, length in enumerate(lengths):
        listed: list[int] = []
        for place in range(LIST):
            item = int(found.items[row, place])
            allowed = set(range(ITEMS)) - set(torch.nonzero(hidden[row]).flatten().tolist()) - set(listed)
            assert item in allowed
            codes, total = model.codes[item].tolist(), 0.0
            for level in range(model.levels):
                expected = _by_hand(model, items[row, :length].tolist(), allowed, listed, codes[:level])
                total += float(expected[codes[level]])
                if not sampled:
                    assert expected[codes[level]] >= expected.max() - 1e-5
            assert float(found.log_probabilities[row, place]) == pytest.approx(total, rel=1e-4, abs=1e-5)
            listed.append(item)


def test_items_are_drawn_by_the_products_of_the_probabilities_of_their_codes():
    model, draws = _model(), 20_000
    history = torch.tensor([[3, 9]]).expand(draws, -1)
    hidden = torch.zeros(1, ITEMS, dtype=torch.bool)
    hidden[0, [3, 9]] = True
    generator = torch.Generator().manual_seed(5)
    found = generate_code_lists(model, history, torch.full((draws,), 2), 1, hidden.expand(draws, -1), generator)
    allowed = set(range(ITEMS)) - {3, 9}
    expected = np.zeros(ITEMS)
    for item in allowed:
        codes = model.codes[item].tolist()
        parts = (_by_hand(model, [3, 9], allowed, [], codes[:level])[codes[level]] for level in range(model.levels))
        expected[item] = np.exp(sum(float(part) for part in parts))
    assert expected.sum() == pytest.approx(1)
    counts = np.bincount(found.items[:, 0].numpy(), minlength=ITEMS)
    assert not counts[expected == 0].any()
    often = expected * draws >= 5
    assert often.sum() > 10
    wanted = expected[often] * counts[often].sum() / expected[often].sum()
    assert chisquare(counts[often], wanted).pvalue > 1e-3


@pytest.mark.parametrize("sampled", [False, True])
def test_where_fewer_items_are_left_lists_are_shorter(sampled):
    model = _model()
    items, lengths, hidden = _batch([3, 5, 1], 4)
    hidden[0], hidden[1], hidden[2] = True, True, False
    hidden[1, [3, 17]] = False
    generator = torch.Generator().manual_seed(1) if sampled else None
    found = generate_code_lists(model, items, lengths, LIST, hidden, generator)
    assert found.items[0].tolist() == [NO_ITEM] * LIST
    assert sorted(found.items[1, :2].tolist()) == [3, 17]
    assert found.items[1, 2:].tolist() == [NO_ITEM] * 2
    assert len(set(found.items[2].tolist())) == LIST
    assert found.log_probabilities[0].tolist() == [0.0] * LIST
    # the last of two is certain
    assert found.log_probabilities[1, 1:].abs().max() < 1e-6


def test_equal_scores_go_by_the_order_of_ties():
    model = _model()
    with torch.no_grad():
        for tokens in model.tokens:
            tokens.fill_(0.3)
    items, lengths, _ = _batch([3, 5], 0)
    found = generate_code_lists(model, items, lengths, 1, None)
    assert found.items[:, 0].tolist() == [tie_break_order(ITEMS)[0]] * 2


def test_padding_is_never_read_and_the_mode_is_kept():
    model = _model().train()
    items, lengths, hidden = _batch([2, 5, 3], 7)
    other = torch.where(torch.arange(5) >= lengths[:, None], (items + 7) % ITEMS, items)
    found, again = (generate_code_lists(model, each, lengths, LIST, hidden) for each in (items, other))
    assert model.training
    assert torch.equal(found.items, again.items)
    assert torch.equal(found.log_probabilities, again.log_probabilities)


def test_positions_of_lists_are_trained():
    model = _model(dropout=0.0).train()
    items, lengths = torch.randint(ITEMS, (8, LONGEST)), torch.full((8,), LONGEST)
    inputs = (items, lengths, lengths, torch.arange(8 * LONGEST))
    targets = torch.randint(ITEMS, (8 * LONGEST,))
    # what is read inside a row is its next item
    targets.view(8, LONGEST)[:, :-1] = items[:, 1:]
    used = torch.zeros(len(model.positions), dtype=torch.bool)
    for _ in range(30):
        model.zero_grad()
        sum(each.logits.logsumexp(dim=1).sum() for each in model.predictions(*inputs, targets)).backward()
        used |= model.positions.grad.abs().sum(dim=1) > 0
    assert used.all()
    assert len(model.positions) == (LONGEST + LIST) * len(SIZES) - 1
    assert len(_model(lists="top_k").positions) == (LONGEST + 1) * len(SIZES) - 1


def test_as_a_recommender_it_writes_what_follows_and_a_beam_finds_the_rest():
    training_set = ring_training_set()
    model = {name: value for name, value in TABLE.items() if name != "blocks"} | {
        "architecture": "gptrec_codes",
        "blocks": 1,
        "dimensions": 24,
        "dropout": 0.1,
        "max_length": 8,
    }
    recipe = toy_recipe({"name": "code_cross_entropy"}, "identifiers", model, training={"max_epochs": 25})
    recommender = SequentialRecommender(recipe, 0, identifiers(), execution=Execution(threads=1)).fit(training_set)
    histories = training_set.histories("test")
    found = recommender.recommend(histories, 10, exclude_seen=True)
    assert (found.items[:, 0] == training_set.test_targets).mean() > 0.9
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in found.items.tolist())
    assert recommender.list_counts is None
    assert compare_beam_widths(recommender, training_set, exclude_seen=True) is None
    written = recommender.recommend(histories, LIST, exclude_seen=True)
    assert np.array_equal(written.items, found.items[:, :LIST])
    lists = recommender.recommend(training_set.histories("validation"), 10, exclude_seen=False)
    hits = lists.items == np.asarray(training_set.validation_targets)[:, None]
    assert recommender.validate(training_set) == pytest.approx((hits / np.log2(2 + np.arange(10))).sum(axis=1).mean())
    whole = recommender.recommend(histories, RING_ITEMS, exclude_seen=False)
    assert all(sorted(row) == list(range(RING_ITEMS)) for row in whole.items.tolist())


def test_the_digest_of_recipes_without_lists_is_as_before():
    recipe = load_recipe("gptrec_codes")
    assert not {"lists", "list_length"} & set(recipe.as_tables()["model"])


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"lists": "top_k"}, {}, 'lists = "next_k"'),
        ({}, {"k": 0}, "lists of 1 to 4 items, not 0"),
        ({}, {"k": 5}, "lists of 1 to 4 items, not 5"),
        ({}, {"lengths": torch.tensor([0])}, "one of these is empty"),
        ({"beam_width": 0}, {}, "beam_width must be above 0"),
        ({"list_length": 0}, {}, "list_length must be at least 1"),
    ],
)
def test_what_cannot_be_written_is_refused(changes, arguments, message):
    call = {"items": torch.tensor([[1, 2]]), "lengths": torch.tensor([2]), "k": 2, "hidden": None}
    with pytest.raises(ValueError, match=message):
        generate_code_lists(_model(**changes), **(call | arguments))
