"""ml/training/list_generating.py: models that write lists, as recommenders."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_toys import ITEMS, LIST_WRITER, fitted, ring_training_set, toy_recipe

from ml.audits.calibration import audit_calibration
from ml.config import TableError
from ml.data.sequences import Sequences
from ml.evaluation.entry import Entry
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import user_metrics
from ml.evaluation.protocol_line import protocol
from ml.evaluation.rankings import rank
from ml.generation.next_k import generate_lists
from ml.models.settings import writes_lists
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order
from ml.tasks.settings import NextItemSettings, check_task_of_model
from ml.training.recipe import load_recipe, recipe_from_tables
from ml.training.sequential_recommender import SequentialRecommender

MODEL, SOFTMAX = LIST_WRITER["model"], LIST_WRITER["objective"]
WRITTEN = MODEL["list_length"]

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def training_set():
    return ring_training_set()


@pytest.fixture(scope="module")
def recommender(training_set):
    recipe = toy_recipe(SOFTMAX, model=MODEL, training={"max_epochs": 20})
    return fitted(recipe, training_set, validate_with_seen_excluded=True)


def test_an_untaught_model_learns_to_write_what_follows(recommender, training_set):
    """In a ring the most probable list goes on around the ring, which one step alone cannot know."""
    assert recommender.log[-1].loss < 0.3 * recommender.log[0].loss
    histories = training_set.histories("test")
    found = recommender.recommend(histories, WRITTEN, exclude_seen=True)
    assert (found.items[:, 0] == training_set.test_targets).mean() > 0.95
    following = {}
    for row in range(len(training_set.train)):
        items = training_set.train.items[training_set.train.offsets[row] : training_set.train.offsets[row + 1]]
        following |= dict(zip(items[:-1].tolist(), items[1:].tolist(), strict=True))
    expected = np.vectorize(following.__getitem__)(found.items[:, :-1])
    # but where the ring leads back into the history
    assert (found.items[:, 1:] == expected).mean() > 0.8


def test_a_list_is_written_and_goes_on_by_the_first_step(recommender, training_set):
    """Against the definition, for histories of all lengths."""
    histories = training_set.histories("test")
    for exclude_seen in (True, False):
        found = recommender.recommend(histories, ITEMS, exclude_seen)
        for row in range(0, len(histories), 17):
            items = torch.from_numpy(histories.items[histories.offsets[row] : histories.offsets[row + 1]].astype(int))
            hidden = torch.zeros(1, ITEMS, dtype=torch.bool)
            if exclude_seen:
                hidden[0, items] = True
            length = torch.tensor([len(items)])
            written = generate_lists(recommender.model, items[None], length, None, WRITTEN, hidden)
            assert found.items[row, :WRITTEN].tolist() == written.items[0].tolist()
            sums = written.log_probabilities[0].cumsum(0)
            torch.testing.assert_close(torch.from_numpy(found.scores[row, :WRITTEN]), sums, rtol=1e-4, atol=1e-5)
            with torch.no_grad():
                latest = items[-8:]
                states = recommender.model(latest[None], torch.tensor([len(latest)]), torch.tensor([-1]))
                first = recommender.model.output_embedding.score_all(states[:, -1])[0]
            first = first.masked_fill(hidden[0], -torch.inf).log_softmax(dim=0)
            first[written.items[0]] = -torch.inf
            left = int(first.isfinite().sum())
            expected = np.argsort(-first.numpy(), kind="stable")[:left]
            assert found.items[row, WRITTEN : WRITTEN + left].tolist() == expected.tolist()
            scores = first[expected.tolist()] + sums[-1]
            torch.testing.assert_close(
                torch.from_numpy(found.scores[row, WRITTEN : WRITTEN + left]), scores, rtol=1e-4, atol=1e-4
            )
            assert (found.items[row, WRITTEN + left :] == NO_ITEM).all()
            assert left == ITEMS - WRITTEN - int(hidden.sum())


def test_seen_items_may_be_listed_and_none_twice(recommender, training_set):
    histories = training_set.histories("test")
    seen = [set(histories.items[slice(*histories.offsets[row : row + 2])].tolist()) for row in range(len(histories))]
    with_seen, without = (recommender.recommend(histories, 10, exclude_seen) for exclude_seen in (False, True))
    assert any(seen[row] & set(items) for row, items in enumerate(with_seen.items.tolist()))
    assert not any(seen[row] & set(items) for row, items in enumerate(without.items.tolist()))
    for found in (with_seen, without):
        assert all(len(set(items)) == 10 for items in found.items.tolist())
        assert (np.diff(found.scores, axis=1) <= 0).all()


def test_a_catalogue_with_fewer_items_than_a_list_is_long():
    training_set = ring_training_set(users=30)
    small = replace(
        training_set,
        item_ids=training_set.item_ids[:6],
        train=Sequences.from_lists([[row % 6, (row + 1) % 6, (row + 2) % 6] for row in range(30)]),
        validation_targets=training_set.validation_targets % 6,
        test_targets=training_set.test_targets % 6,
    )
    recipe = toy_recipe(SOFTMAX, model=MODEL | {"list_length": 10}, training={"max_epochs": 1})
    found = fitted(recipe, small).recommend(small.histories("test"), 10, exclude_seen=True)
    assert ((found.items != NO_ITEM).sum(axis=1) <= 3).all()
    assert (found.items[:, 0] != NO_ITEM).all()
    assert (found.scores[found.items == NO_ITEM] == -np.inf).all()


def test_training_stops_by_the_lists_it_writes(recommender, training_set):
    """The quality in the log is nDCG@10 of the recommendations for the validation users."""
    lists = recommender.recommend(training_set.histories("validation"), 10, exclude_seen=True)
    hits = lists.items == np.asarray(training_set.validation_targets)[:, None]
    expected = (hits / np.log2(2 + np.arange(10))).sum(axis=1).mean()
    assert recommender.validate(training_set) == pytest.approx(expected)
    assert recommender.best_validation_ndcg_at_10 == pytest.approx(expected)


def test_users_without_a_history_are_validated_by_popularity(recommender, training_set):
    lists = [
        [] if row % 3 == 0 else training_set.train.items[slice(*training_set.train.offsets[row : row + 2])]
        for row in range(len(training_set.train))
    ]
    some_empty = replace(training_set, train=Sequences.from_lists(lists))
    found = recommender.recommend(some_empty.histories("validation"), 10, exclude_seen=True)
    hits = found.items == np.asarray(training_set.validation_targets)[:, None]
    expected = (hits / np.log2(2 + np.arange(10))).sum(axis=1).mean()
    assert recommender.validate(some_empty) == pytest.approx(expected)
    popular = np.argsort(-recommender.training_counts[tie_break_order(ITEMS)], kind="stable")
    assert found.items[0].tolist() == tie_break_order(ITEMS)[popular][:10].tolist()


def _marked(training_set, marks: int) -> SequentialRecommender:
    """A recommender with marks, as if a task had taught it lists."""
    recipe = toy_recipe(SOFTMAX, model=MODEL, training={"max_epochs": 1})
    recommender = fitted(recipe, training_set)
    recommender.recipe = replace(recipe, model=replace(recipe.model, marks=marks))
    torch.manual_seed(0)
    recommender._model = recommender._build(recommender.recipe, ITEMS, training_set.users, recommender.training_counts)
    return recommender


def test_the_tradeoff_chooses_the_mark(training_set):
    recommender = _marked(training_set, 3)
    assert recommender.mark == 0
    recommender.tradeoffs = (0.0, 0.3, 1.0)
    histories = training_set.histories("test")
    found = {}
    for mark, tradeoff in enumerate(recommender.tradeoffs):
        recommender.tradeoff = tradeoff
        assert recommender.mark == mark
        found[tradeoff] = recommender.recommend(histories, 10, exclude_seen=True).items
    assert not np.array_equal(found[0.0], found[1.0])
    recommender.tradeoff = None
    assert np.array_equal(recommender.recommend(histories, 10, exclude_seen=True).items, found[0.0])
    with pytest.raises(ValueError, match=r"was taught the trade-offs 0, 0.3, 1, not 0.5: choose one of these"):
        recommender.tradeoff = 0.5


def test_a_model_without_tradeoffs_refuses_one(recommender):
    assert recommender.mark is None
    with pytest.raises(ValueError, match=r"was taught no trade-offs, so 0.5 cannot be chosen"):
        recommender.tradeoff = 0.5


def test_the_tradeoff_in_force_is_saved_with_the_model(tmp_path, recommender, training_set):
    recommender.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert not {"tradeoff", "tradeoffs"} & set(config)
    assert SequentialRecommender.load(tmp_path).tradeoff is None
    # a plain recommender that was told of trade-offs stands in for a taught one
    recommender.tradeoffs, recommender.tradeoff = (0.0, 0.7), 0.7
    try:
        recommender.save(tmp_path)
    finally:
        recommender.tradeoff, recommender.tradeoffs = None, ()
    loaded = SequentialRecommender.load(tmp_path)
    assert (loaded.tradeoffs, loaded.tradeoff) == ((0.0, 0.7), 0.7)


def test_marks_need_a_task_that_shows_them():
    tables = load_recipe("gptrec_next_k").as_tables()
    tables["model"]["marks"] = 1
    with pytest.raises(TableError, match="the task shows it none"):
        recipe_from_tables("marked", tables, "marked.toml")
    settings = recipe_from_tables("plain", load_recipe("gptrec_next_k").as_tables(), "plain.toml").model

    class ShowsMarks:
        shows_marks = True

    check_task_of_model(ShowsMarks(), replace(settings, marks=2))
    check_task_of_model(NextItemSettings(), settings)


def test_the_protocol_says_that_lists_are_written(recommender, training_set):
    tables = [
        user_metrics(rank(recommender, training_set, name, 0, depth=20), training_set) for name in ("gptrec", "other")
    ]
    entries = [Entry("GPTRec", "model", (tables[0],), written=10), Entry("Other", "model", (tables[1],))]
    choices = protocol(build_leaderboard(entries, training_set))
    assert choices["written lists"] == (
        "list of ten generated item by item, further places by the first step's probabilities (GPTRec)"
    )
    assert "written lists" not in protocol(build_leaderboard(entries[1:], training_set))
    assert writes_lists(recommender.recipe.model)
    assert not writes_lists(load_recipe("gptrec").model)


def test_calibration_leaves_written_lists_out(recommender, training_set):
    audit = audit_calibration({"GPTRec": (recommender, recommender.recipe.objective)}, training_set, exclude_seen=True)
    assert audit.facts["models"] == 0
    assert "it writes lists item by item" in str(audit.tables)
