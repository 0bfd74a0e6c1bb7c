"""ml/training: it learns, it repeats itself bit for bit, it saves what it trained, it fails clearly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from costs import others_slow
from hypothesis import given, settings
from hypothesis import strategies as st
from training_toys import GBCE, ITEMS, SAMPLED_SOFTMAX, fitted, ring_training_set, toy_recipe

from ml.codes.svd import assign_svd_codes
from ml.data.sequences import Sequences
from ml.data.versions import VERSIONS, versions_of
from ml.recommender import NO_ITEM, Recommender
from ml.retrieval.top_k import tie_break_order, top_k
from ml.tasks.batch import history_batch, next_item_batch, shuffled_batches
from ml.tasks.next_item import NextItem
from ml.training.loop import DivergedError, build_optimiser, set_learning_rate
from ml.training.reproducible import generator_for, reproducible
from ml.training.scoring import final_states, hide_seen, ndcg, target_ranks
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train


@pytest.mark.parametrize(
    ("objective", "codes", "model"),
    [
        (SAMPLED_SOFTMAX, None, {}),
        pytest.param(SAMPLED_SOFTMAX, "svd", {"block": "sasrec"}, marks=pytest.mark.slow),
        pytest.param(GBCE, None, {"block": "sasrec", "separate_output_embedding": True}, marks=pytest.mark.slow),
        pytest.param(GBCE | {"negatives_drawn_for": "position"}, None, {}, marks=pytest.mark.slow),
        (GBCE, "svd", {}),
        # as SASRec in test_models_learn.py
        pytest.param({"name": "softmax"}, None, {}, marks=pytest.mark.slow),
    ],
)
def test_a_pattern_is_learnt(objective, codes, model):
    """The next item follows from the last one, which popularity cannot know."""
    training_set = ring_training_set()
    recommender = fitted(toy_recipe(objective, codes, model, training={"max_epochs": 25}), training_set)
    losses = [record.loss for record in recommender.log]
    assert losses[-1] < 0.6 * losses[0]
    found = recommender.recommend(training_set.histories("test"), 1, exclude_seen=False)
    assert (found.items[:, 0] == training_set.test_targets).mean() > 0.9
    assert recommender.best_validation_ndcg_at_10 == max(r.validation_ndcg_at_10 for r in recommender.log)


def test_the_kept_weights_are_those_of_the_best_epoch():
    training_set = ring_training_set()
    recommender = fitted(toy_recipe(training={"max_epochs": 30, "patience": 3}), training_set)
    assert recommender.best_epoch < len(recommender.log) <= recommender.best_epoch + 3
    found = recommender.recommend(training_set.histories("validation"), 10, exclude_seen=False)
    rows, columns = np.nonzero(found.items == training_set.validation_targets[:, None])
    gains = np.zeros(len(found.items))
    gains[rows] = 1 / np.log2(2 + columns)
    assert gains.mean() == pytest.approx(recommender.best_validation_ndcg_at_10)


@pytest.mark.parametrize("codes", others_slow([None, "svd"], "svd"))
def test_same_seed_same_bytes_other_seed_other_weights(tmp_path, codes):
    training_set, recipe = ring_training_set(), toy_recipe(codes=codes, training={"max_epochs": 2})
    assigned = assign_svd_codes(training_set, books=4) if codes else None
    torch.manual_seed(123)
    first = train(recipe, training_set, tmp_path / "a", 0, assigned, progress=False, threads=1)
    torch.manual_seed(456)
    torch.rand(7)
    again = train(recipe, training_set, tmp_path / "b", 0, assigned, progress=False, threads=1)
    other = train(recipe, training_set, tmp_path / "c", 1, assigned, progress=False, threads=1)
    for name in ("model.safetensors", "config.json", "training_counts.npy"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert first.weights_digest == again.weights_digest != other.weights_digest


def test_training_leaves_torch_as_it_was():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    with pytest.raises(RuntimeError, match="call fit"), reproducible(1):
        SequentialRecommender(toy_recipe()).model  # noqa: B018
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_held_out_targets_decide_no_weight_but_by_stopping():
    """With other targets the weights after a fixed number of epochs are the same."""
    training_set = ring_training_set()
    random = np.random.default_rng(5)
    changed = replace(
        training_set,
        validation_targets=random.permutation(training_set.validation_targets),
        test_targets=random.permutation(training_set.test_targets),
    )
    recipe = toy_recipe(training={"max_epochs": 1})
    one, other = (fitted(recipe, each).model.state_dict() for each in (training_set, changed))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("codes", [None, "svd"])
def test_saved_and_loaded_it_recommends_the_same(tmp_path, codes):
    training_set = ring_training_set()
    recommender = fitted(toy_recipe(codes=codes, training={"max_epochs": 2}), training_set)
    recommender.save(tmp_path)
    loaded = SequentialRecommender.load(tmp_path)
    assert isinstance(loaded, Recommender)
    histories = Sequences.from_lists([[], [3], list(range(ITEMS)), [5, 5, 5], []])
    for exclude in (False, True):
        one, other = (each.recommend(histories, 7, exclude) for each in (recommender, loaded))
        assert np.array_equal(one.items, other.items)
        assert np.array_equal(one.scores, other.scores)
    assert loaded.log == recommender.log
    again = tmp_path / "again"
    again.mkdir()
    loaded.save(again)
    for path in tmp_path.iterdir():
        if path.is_file():
            assert path.read_bytes() == (again / path.name).read_bytes()
    assert {path.suffix for path in again.iterdir()} == {".safetensors", ".npy", ".json", ".jsonl"}


def test_a_damaged_model_is_not_loaded(tmp_path):
    train(toy_recipe(training={"max_epochs": 1}), ring_training_set(), tmp_path / "m", progress=False, threads=1)
    weights = tmp_path / "m" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold the weights"):
        SequentialRecommender.load(tmp_path / "m")


def test_recommendations_keep_the_protocol():
    training_set = ring_training_set()
    recommender = fitted(toy_recipe(training={"max_epochs": 1}), training_set)
    histories = Sequences.from_lists([[], [1], list(range(38)), [39] * 3])
    free = recommender.recommend(histories, 50, exclude_seen=False)
    assert (free.items[:, :ITEMS] != NO_ITEM).all()
    assert (free.items[:, ITEMS:] == NO_ITEM).all()
    assert all(len(set(row[:ITEMS].tolist())) == ITEMS for row in free.items)
    assert (np.diff(free.scores[:, :ITEMS], axis=1) <= 0).all()
    counts = np.bincount(training_set.train.items, minlength=ITEMS)
    assert (np.diff(counts[free.items[0, :ITEMS]]) <= 0).all()
    unseen = recommender.recommend(histories, 5, exclude_seen=True)
    assert unseen.items[2].tolist()[2:] == [NO_ITEM] * 3
    assert set(unseen.items[2].tolist()[:2]) == {38, 39}
    assert 39 not in unseen.items[3]
    one_by_one = np.concatenate(
        [recommender.recommend(histories.take([row]), 5, exclude_seen=True).items for row in range(4)]
    )
    assert np.array_equal(one_by_one, unseen.items)


def test_a_history_longer_than_the_model_reads_counts_from_its_end():
    recommender = fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set())
    long = np.arange(30) % ITEMS
    found = recommender.recommend(Sequences.from_lists([long, long[-8:]]), 5, exclude_seen=False)
    assert np.array_equal(found.items[0], found.items[1])


def test_the_result_and_the_files(tmp_path, capsys):
    folder = tmp_path / "models" / "toy"
    result = train(toy_recipe(training={"max_epochs": 3}), ring_training_set(), folder, progress=True, threads=1)
    assert "sequences/s" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "training_counts.npy",
        "training_log.jsonl",
        "training_run.json",
        "validation_items.npy",
        "validation_scores.npy",
    ]
    assert result.size_in_bytes == (folder / "model.safetensors").stat().st_size
    assert result.epochs == 3
    assert result.steps == 3 * math.ceil(240 / 16)
    # items and positions; attention with its output; feed-forward layers; three layer norms
    assert result.parameters == (ITEMS + 8) * 32 + 4 * (32 * 32 + 32) + 2 * (32 * 32 + 32) + 6 * 32
    lines = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[result.best_epoch - 1]["validation_ndcg_at_10"] == result.best_validation_ndcg_at_10
    config = json.loads((folder / "config.json").read_text())
    assert config["weights_digest"] == result.weights_digest
    assert config["training_set_digest"] == ring_training_set().digest()
    run = json.loads((folder / "training_run.json").read_text())
    assert run["result"]["seconds"] == result.seconds > 0


def test_a_failed_training_leaves_the_old_model(tmp_path):
    folder, training_set = tmp_path / "toy", ring_training_set()
    before = train(toy_recipe(training={"max_epochs": 1}), training_set, folder, progress=False, threads=1)
    exploding = toy_recipe(optimiser={"learning_rate": 1e30, "warm_up_steps": 0}, training={"max_epochs": 5})
    with pytest.raises(DivergedError, match=r"Toy: the loss is \w+ at step \d+.*learning_rate"):
        train(exploding, training_set, folder, progress=False, threads=1)
    assert json.loads((folder / "config.json").read_text())["weights_digest"] == before.weights_digest
    assert sorted(path.name for path in tmp_path.iterdir()) == [VERSIONS, "toy"]
    assert len(versions_of(folder)) == 1


def test_without_validation_users_the_last_epoch_is_kept():
    empty = np.zeros(0, dtype=np.int32)
    training_set = replace(ring_training_set(), validation_users=empty, validation_targets=empty)
    recommender = fitted(toy_recipe(training={"max_epochs": 3, "patience": 1}), training_set)
    assert recommender.best_epoch == len(recommender.log) == 3
    assert recommender.best_validation_ndcg_at_10 is None


def test_errors():
    training_set = ring_training_set()
    with pytest.raises(ValueError, match=r"recipe toy: .*need codes"):
        SequentialRecommender(toy_recipe(codes="svd")).fit(training_set)
    short = replace(training_set, train=Sequences.from_lists([[1]] * 240))
    with pytest.raises(ValueError, match="no training history has 2 items"):
        SequentialRecommender(toy_recipe()).fit(short)
    with pytest.raises(RuntimeError, match="call fit or load first"):
        SequentialRecommender(toy_recipe()).recommend(training_set.train, 5, exclude_seen=False)
    recommender = fitted(toy_recipe(training={"max_epochs": 1}), training_set)
    for item in (ITEMS, -1):
        with pytest.raises(ValueError, match="outside the catalogue of 40 items"):
            recommender.recommend(Sequences.from_lists([[item]]), 5, exclude_seen=False)


SEQUENCES = st.lists(st.lists(st.integers(0, 99), max_size=12), min_size=1, max_size=40).filter(
    lambda rows: any(len(row) >= 2 for row in rows)
)


@given(rows=SEQUENCES, batch_size=st.integers(1, 9), max_length=st.integers(1, 14), seed=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_holds_every_pair_of_neighbours_once(rows, batch_size, max_length, seed):
    sequences = Sequences.from_lists(rows)
    batches = shuffled_batches(
        sequences, np.flatnonzero(sequences.lengths >= 2), batch_size, max_length, np.random.default_rng(seed)
    )
    assert sorted(np.concatenate(batches).tolist()) == [r for r, row in enumerate(rows) if len(row) >= 2]
    seen = []
    for batch_rows in batches:
        assert len(batch_rows) <= batch_size
        batch = next_item_batch(sequences, batch_rows, max_length)
        assert batch.items.shape[1] == batch.lengths.max() <= max_length
        inputs = batch.items.flatten()[batch.positions]
        seen += list(zip(inputs.tolist(), batch.targets.items.tolist(), strict=True))
        for row, items, length in zip(batch_rows, batch.items, batch.lengths, strict=True):
            assert items[:length].tolist() == rows[row][:-1][-max_length:]
            assert items[length:].tolist() == [0] * (len(items) - length)
    expected = [pair for row in rows for pair in list(pairwise(row))[-max_length:]]
    assert sorted(seen) == sorted(expected)


def test_batches_hold_little_padding_and_differ_between_epochs():
    random = np.random.default_rng(0)
    lengths = np.minimum(2 + random.geometric(0.15, 5000), 51)
    sequences = Sequences.from_lists([np.zeros(length, dtype=np.int32) for length in lengths])
    rows = np.flatnonzero(sequences.lengths >= 2)
    epochs = [shuffled_batches(sequences, rows, 64, 50, generator_for(0, epoch)) for epoch in (1, 2)]
    sizes = [next_item_batch(sequences, batch, 50) for batch in epochs[0]]
    real = sum(len(batch.targets) for batch in sizes)
    assert real / sum(batch.items.numel() for batch in sizes) > 0.9
    assert {tuple(sorted(batch.tolist())) for batch in epochs[0]} != {
        tuple(sorted(batch.tolist())) for batch in epochs[1]
    }


def test_histories_are_read_whole_or_from_their_end():
    batch = history_batch(Sequences.from_lists([[1, 2, 3, 4], [5]]), np.array([1, 0]), 3)
    assert batch.items.tolist() == [[5, 0, 0], [2, 3, 4]]
    assert batch.lengths.tolist() == [1, 3]
    assert len(batch.targets) == 0


def test_final_states_do_not_depend_on_the_company(monkeypatch):
    recommender = fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set())
    histories = Sequences.from_lists([[1, 2, 3], [4], list(range(20)), [7] * 8, [1, 2, 3]])
    rows = np.array([4, 2, 0, 1, 3])
    together = final_states(recommender.model, NextItem(), histories, rows)
    monkeypatch.setattr("ml.training.scoring._POSITIONS_AT_ONCE", 1)
    alone = final_states(recommender.model, NextItem(), histories, rows)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(together[0], together[2])


@given(seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_target_ranks_are_those_of_the_ranking(seed):
    random = np.random.default_rng(seed)
    items = int(random.integers(1, 30))
    scores = random.integers(0, 4, (6, items)).astype(np.float32)
    targets = random.integers(items, size=6)
    order = tie_break_order(items, seed)
    given = (torch.from_numpy(scores), torch.from_numpy(targets), torch.from_numpy(order))
    ranks = target_ranks(*given)
    # where only the first few count, the others need not be told apart
    cut = target_ranks(*given, depth=5, memory=torch.empty(scores.shape))
    torch.testing.assert_close(cut[ranks <= 5], ranks[ranks <= 5])
    assert (cut[ranks > 5] > 5).all()
    ranked = top_k(scores, items, order).items
    assert ranks.tolist() == [row.tolist().index(target) + 1 for row, target in zip(ranked, targets, strict=True)]


def test_a_score_that_is_no_number_ranks_last():
    """Weights that diverged in the last step of an epoch must not look like perfect ones."""
    scores = torch.tensor([[1.0, float("nan"), 0.0], [float("nan")] * 3])
    ranks = target_ranks(scores, torch.tensor([1, 0]), torch.arange(3))
    assert ranks.tolist() == [4, 4]


def test_seen_items_are_hidden_in_place():
    scores = torch.zeros(3, 4)
    hide_seen(scores, Sequences.from_lists([[1, 1, 3], [], [0]]))
    assert torch.isinf(scores).tolist() == [[False, True, False, True], [False] * 4, [True, False, False, False]]


def test_the_learning_rate_rises_in_a_straight_line():
    optimiser_settings = toy_recipe(optimiser={"learning_rate": 0.4, "warm_up_steps": 3}).optimiser
    optimiser = build_optimiser(torch.nn.Linear(2, 2), optimiser_settings)
    rates = []
    for step in range(6):
        set_learning_rate(optimiser, optimiser_settings, step)
        rates += {group["lr"] for group in optimiser.param_groups}
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_weights_decay_and_biases_do_not():
    layer = torch.nn.Linear(3, 2)
    for decay, expected in ((0.1, [(1, 0.1), (1, 0.0)]), (0.0, [(2, 0.0)])):
        optimiser = build_optimiser(layer, toy_recipe(optimiser={"weight_decay": decay}).optimiser)
        assert [(len(group["params"]), group["weight_decay"]) for group in optimiser.param_groups] == expected


@pytest.mark.parametrize("decay", ["decoupled", "in_gradient"])
def test_weight_decay_in_the_gradient_is_an_l2_penalty(decay):
    """Against Adam's formula in float64, two steps of it."""
    layer = torch.nn.Linear(3, 2, bias=False)
    weight = layer.weight.detach().double().clone()
    table = {"weight_decay": 0.5, "decay": decay, "learning_rate": 0.1, "betas": [0.9, 0.99], "warm_up_steps": 0}
    optimiser = build_optimiser(layer, toy_recipe(optimiser=table).optimiser)
    gradient = torch.tensor([[1.0, -2.0, 0.5], [0.1, 0.0, 3.0]])
    mean, square = torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    for step in (1, 2):
        layer.weight.grad = gradient.clone()
        optimiser.step()
        whole = gradient.double() + (0.5 * weight if decay == "in_gradient" else 0)
        mean, square = 0.9 * mean + 0.1 * whole, 0.99 * square + 0.01 * whole**2
        if decay == "decoupled":
            weight = weight * (1 - 0.1 * 0.5)
        weight = weight - 0.1 * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
    torch.testing.assert_close(layer.weight.double(), weight, rtol=1e-5, atol=1e-6)


def test_a_step_that_diverges_is_named_exactly():
    """Losses are read many at a time; the step that is named is the one that went wrong."""
    settings = {"optimiser": {"learning_rate": 1e30, "warm_up_steps": 0}}
    with pytest.raises(DivergedError, match=r"at step 2 \(epoch 1\)"):
        fitted(toy_recipe(**settings), ring_training_set())


def test_ndcg_with_one_target():
    assert ndcg(np.array([1, 3, 10, 11]), 10) == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 4)


def test_epochs_draw_from_their_own_seed():
    """So that a resumed run draws what an uninterrupted one would have."""
    generator_for(0, 1)
    torch.rand(5)
    second = generator_for(0, 2).random(3), torch.rand(3)
    generator_for(7, 2)
    again = generator_for(0, 2).random(3), torch.rand(3)
    assert np.array_equal(second[0], again[0])
    assert torch.equal(second[1], again[1])
