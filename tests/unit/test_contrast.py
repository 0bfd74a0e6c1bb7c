"""ml/contrast: views, positives, losses, and that they are added to a training without changing it otherwise."""

from __future__ import annotations

import dataclasses
import signal

import numpy as np
import pytest
import torch
from costs import others_slow
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from training_processes import train_in_child
from training_toys import IDENTIFIER_TREE, LIST_WRITER, fitted, ring_training_set, toy_recipe

from ml.config import TableError
from ml.contrast.augmentations import AugmentationsContrast, crop, mask, reorder
from ml.contrast.build import build_contrast
from ml.contrast.cloze import mean_states
from ml.contrast.histories import Histories, histories_before, reach, view_batch
from ml.contrast.info_nce import info_nce, several_views
from ml.contrast.intents import clusters, prototype_loss
from ml.contrast.same_target import SameTarget, SameTargetViews
from ml.contrast.settings import AugmentationsSettings
from ml.data.sequences import Sequences
from ml.models.build import build_model
from ml.tasks.batch import history_batch
from ml.tasks.build import build_task
from ml.tasks.settings import ClozeSettings, NextItemSettings
from ml.training.recipe import load_recipe
from ml.training.train import train

_BASIC = {"weight": 0.3, "temperature": 0.5, "similarity": "cosine"}
METHODS = {name: _BASIC | {"method": name} for name in ("augmentations", "dropout", "intents")}
CLOZE = {
    "model": {
        "architecture": "bert4rec",
        "dimensions": 16,
        "dropout": 0.1,
        "max_length": 8,
        "blocks": 1,
        "heads": 1,
        "feed_forward_dimensions": 16,
        "item_embedding": "dense",
        "separate_output_embedding": False,
        "embedding_deviation": 0.1,
        "item_biases": False,
    },
    "task": {"name": "cloze", "masked_share": 0.3, "last_item_share": 0.3},
    "objective": {"name": "softmax"},
}
histories_strategy = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), min_size=1, max_size=7)


def _histories(rows: list[list[int]]) -> Histories:
    lengths = np.array([len(row) for row in rows])
    items = np.zeros((len(rows), lengths.max()), dtype=np.int64)
    for row, values in zip(items, rows, strict=True):
        row[: len(values)] = values
    return Histories(items, lengths, np.zeros(len(rows), dtype=np.int64))


@given(histories_strategy, st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_crop_is_a_run_of_the_items(rows, share, seed):
    view = crop(_histories(rows), share, np.random.default_rng(seed))
    for row, items, length in zip(rows, view.items, view.lengths, strict=True):
        assert length == max(1, int(share * len(row)))
        runs = [row[start : start + length] for start in range(len(row) - length + 1)]
        assert items[:length].tolist() in runs
        assert not items[length:].any()
    assert not view.hidden.any()


@given(histories_strategy, st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_mask_hides_as_many_items_as_it_says_and_never_all(rows, share, seed):
    histories = _histories(rows)
    view = mask(histories, share, np.random.default_rng(seed))
    assert view.items is histories.items
    for row, hidden in zip(rows, view.hidden, strict=True):
        assert hidden.sum() == min(int(share * len(row)), len(row) - 1)
        assert not hidden[len(row) :].any()


@given(histories_strategy, st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_reordered_view_is_a_permutation_of_one_run(rows, share, seed):
    view = reorder(_histories(rows), share, np.random.default_rng(seed))
    for row, items, length in zip(rows, view.items, view.lengths, strict=True):
        assert length == len(row)
        assert sorted(items[:length].tolist()) == sorted(row)
        assert not items[length:].any()
        moved = np.flatnonzero(items[:length] != np.array(row))
        assert len(moved) == 0 or moved[-1] - moved[0] < max(1, int(share * len(row)))


def test_operations_are_drawn_alike_and_runs_start_anywhere():
    histories = _histories([[1, 2, 3, 4]] * 6000)
    draws = np.random.default_rng(0)
    starts = crop(histories, 0.5, draws).items[:, 0]
    assert np.bincount(starts, minlength=5)[1:4].min() > 1850
    assert set(starts) == {1, 2, 3}
    hidden = mask(histories, 0.5, draws).hidden.mean(axis=0)
    np.testing.assert_allclose(hidden, 0.5, atol=0.03)
    settings = AugmentationsSettings(1.0, 1.0, "dot", crop_share=0.5, mask_share=0.5, reorder_share=0.5)
    views = AugmentationsContrast(settings, build_task(NextItemSettings(), 5))._view(histories, draws)
    kinds = [(views.lengths == 2).mean(), views.hidden.any(axis=1).mean()]
    np.testing.assert_allclose(kinds, 1 / 3, atol=0.03)


def _naive_info_nce(first, second, temperature, similarity, classes=None) -> float:
    states = [*first, *second]
    kinds = list(range(len(first))) if classes is None else classes.tolist()
    kinds = kinds * 2

    def likeness(a, b):
        product = float(a @ b)
        return (product / float(a.norm() * b.norm()) if similarity == "cosine" else product) / temperature

    losses = []
    for one, state in enumerate(states):
        partner = (one + len(first)) % len(states)
        others = [k for k in range(len(states)) if k == partner or (k != one and kinds[k] != kinds[one])]
        total = sum(np.exp(likeness(state, states[k])) for k in others)
        losses.append(-np.log(np.exp(likeness(state, states[partner])) / total))
    return float(np.mean(losses))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("classes", [None, torch.tensor([0, 1, 1, 2, 0])])
def test_info_nce_is_the_sum_written_out(similarity, classes):
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4, dtype=torch.float64)
    loss = info_nce(first, second, 0.7, similarity, classes)
    assert float(loss) == pytest.approx(_naive_info_nce(first, second, 0.7, similarity, classes), rel=1e-9)


def test_info_nce_has_the_gradient_of_its_value():
    torch.manual_seed(1)
    first, second = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True).unbind()
    classes = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5, "cosine", classes), (first, second))
    assert torch.autograd.gradcheck(lambda a: several_views(torch.stack([a, a * 2, a + 1]), 0.5, "dot"), (first,))


def test_a_single_pair_and_no_pair_lose_nothing():
    states = torch.randn(1, 4, requires_grad=True)
    assert info_nce(states, states + 1, 0.1, "dot").item() == 0
    empty = torch.empty(0, 4, requires_grad=True)
    info_nce(empty, empty, 0.1, "dot").backward()


TRAINING = Sequences.from_lists([[1, 2, 3], [4, 3], [5], [3, 6, 3, 2], [7, 8], []])


def test_another_history_with_the_same_target_is_drawn():
    index = SameTarget(TRAINING)
    ends = np.array([2, 4, 9, 11])
    targets = TRAINING.items[ends].astype(np.int64)
    seen = [set() for _ in ends]
    draws = np.random.default_rng(0)
    for _ in range(60):
        places, rows = index.draw(ends, targets, draws)
        np.testing.assert_array_equal(TRAINING.items[places], targets)
        np.testing.assert_array_equal(rows, np.searchsorted(TRAINING.offsets, places, side="right") - 1)
        for kept, place in zip(seen, places, strict=True):
            kept.add(int(place))
    # item 3 stands at 2, 4 and 8, and at 6 as the first of its history; 2 at 1 and 9; 8 only once
    assert seen == [{4, 8}, {2, 8}, {1}, {11}]


def test_the_histories_are_those_before_the_targets():
    views = SameTargetViews(build_task(NextItemSettings(), 9))
    own, others, rows = views.histories(TRAINING, np.array([0, 3]), 2, np.random.default_rng(0))
    assert own.items.tolist() == [[1, 2], [6, 3]]
    assert own.targets.tolist() == others.targets.tolist() == [3, 2]
    assert (others.items[1, 0], others.lengths[1], rows[1]) == (1, 1, 0)


def test_hidden_items_have_a_vector_of_zeros_and_the_others_their_own():
    model = build_model(toy_recipe().model, 40, 0, None).eval()
    task = build_task(NextItemSettings(), 40)
    items, lengths = np.array([[3, 4, 5], [6, 7, 0]]), np.array([3, 2])
    hidden = np.array([[False, True, False], [False, False, True]])
    users = np.full(2, -1)
    states = view_batch(task, items, lengths, users, 8, hidden).states(model)
    plain = view_batch(task, items, lengths, users, 8).states(model)
    torch.testing.assert_close(states[1], plain[1])
    assert not torch.allclose(states[0], plain[0])
    with torch.no_grad():
        model.input_embedding.weight[4] = 0
    torch.testing.assert_close(states[0], view_batch(task, items, lengths, users, 8).states(model)[0])


def test_a_task_with_a_mask_behind_the_history_leaves_room_for_it():
    task = build_task(ClozeSettings(0.3, 0.3), 40)
    assert reach(task, 8) == 7
    long = Sequences.from_lists([list(range(12))])
    made = histories_before(long, np.array([11]), np.array([0]), reach(task, 8))
    batch = view_batch(task, made.items, made.lengths, np.array([-1]), 8, np.ones((1, 7), dtype=bool))
    assert batch.batch.items.tolist() == [[4, 5, 6, 7, 8, 9, 10, 40]]
    assert batch.hidden.tolist() == [[True] * 7 + [False]]


def test_clusters_are_those_of_lloyd_from_the_same_start():
    from sklearn.cluster import KMeans

    torch.manual_seed(0)
    states = torch.cat([torch.randn(20, 3) * 0.2 + torch.tensor(at) for at in ([0.0, 0, 5], [5.0, 0, 0], [0.0, 5, 0])])
    means = clusters(states, 3)
    fitted_means = KMeans(3, init=means.numpy(), n_init=1).fit(states.numpy()).cluster_centers_
    np.testing.assert_allclose(means.numpy(), fitted_means, atol=1e-5)
    assert len(clusters(torch.ones(5, 3), 4)) == 1


def test_the_nearest_prototype_is_the_positive():
    states = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = F.cross_entropy(states.detach() @ prototypes.T / 0.5, torch.tensor([0, 1]))
    assert float(prototype_loss(states, prototypes, 0.5, "dot").detach()) == pytest.approx(float(expected))


def test_the_mean_state_leaves_padding_out():
    model = build_model(toy_recipe().model, 40, 0, None).eval()
    batch = history_batch(Sequences.from_lists([[1, 2, 3], [4]]), np.array([0, 1]), 8)
    hidden = model(batch.items, batch.lengths, batch.users)
    expected = torch.stack([hidden[0].mean(dim=0), hidden[1, 0]])
    torch.testing.assert_close(mean_states(model, batch), expected)


@pytest.mark.parametrize("method", METHODS)
def test_without_weight_it_is_the_plain_training(method):
    training_set = ring_training_set(users=30)
    training = {"max_epochs": 1, "patience": 1}
    plain = fitted(toy_recipe(training=training), training_set)
    contrasted = fitted(toy_recipe(training=training, contrast=METHODS[method] | {"weight": 0.0}), training_set)
    for name, weights in plain.model.state_dict().items():
        assert torch.equal(weights, contrasted.model.state_dict()[name]), name
    weighed = fitted(toy_recipe(training=training, contrast=METHODS[method]), training_set)
    assert not torch.equal(plain.model.input_embedding.weight, weighed.model.input_embedding.weight)


# that the views are learned from is tested below
@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_pattern_is_learnt_with_it_too(method):
    recommender = fitted(toy_recipe(contrast=METHODS[method] | {"weight": 0.05}), ring_training_set())
    assert recommender.best_validation_ndcg_at_10 > 0.9


def test_a_model_that_fills_in_masks_learns_with_it():
    recipe = toy_recipe(**CLOZE, contrast=_BASIC | {"method": "cloze", "views": 2}, training={"max_epochs": 4})
    recommender = fitted(recipe, ring_training_set())
    assert recommender.log[-1].loss < recommender.log[0].loss


def test_views_of_one_history_are_found_among_others_more_often():
    """The contrastive loss of new views is lower for the model that was trained on it."""
    method = "augmentations"
    training_set = ring_training_set()

    def loss(contrast: dict | None) -> float:
        recommender = fitted(toy_recipe(contrast=contrast, training={"max_epochs": 6}), training_set)
        task = build_task(NextItemSettings(), training_set.items)
        recipe = toy_recipe(contrast=METHODS[method])
        rows = np.flatnonzero(training_set.train.lengths >= 2)
        compared = build_contrast(recipe.contrast, task)
        views = compared.views(training_set.train, rows, 8, np.random.default_rng(0))
        with torch.no_grad():
            return float(compared.loss(recommender.model.eval(), views))

    assert loss(METHODS[method] | {"weight": 1.0}) < loss(None) - 0.2


# the intents draw most: views, and clusters of every epoch
@pytest.mark.parametrize("method", others_slow(METHODS.keys(), "intents"))
def test_killed_and_started_again_it_ends_with_the_same_weights(tmp_path, method):
    recipe = {"contrast": METHODS[method], "model": {"dropout": 0.3}, "training": {"max_epochs": 2, "patience": 2}}
    assert train_in_child(tmp_path / "whole", recipe=recipe) == 0
    killed = tmp_path / "killed"
    assert train_in_child(killed, kill_at_step=7, checkpoint_every_steps=1, recipe=recipe) == -signal.SIGKILL
    assert train_in_child(killed, checkpoint_every_steps=1, recipe=recipe) == 0
    name = "model.safetensors"
    assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_recipe_without_contrast_keeps_its_digest_and_one_with_it_has_another():
    plain, contrasted = toy_recipe(), toy_recipe(contrast=METHODS["dropout"])
    assert "contrast" not in plain.as_tables()
    assert contrasted.as_tables()["contrast"]["positives"] == "both"
    assert plain.digest() != contrasted.digest() != toy_recipe(contrast=METHODS["augmentations"]).digest()


@pytest.mark.parametrize("name", ["cl4srec", "duorec", "icsrec"])
def test_shipped_recipes_differ_from_the_plain_one_in_the_contrast_alone(name):
    recipe = load_recipe(name)
    plain = load_recipe(recipe.plain)
    same = dataclasses.replace(recipe, contrast=None, contrast_name=None)
    assert same.digest() == plain.digest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"contrast": _BASIC | {"method": "dreams"}}, "contrast.method"),
        ({"contrast": METHODS["dropout"] | {"temperature": 0.0}}, "temperature must be above 0"),
        ({"contrast": METHODS["dropout"] | {"weight": -1.0}}, "weight must not be negative"),
        ({"contrast": METHODS["dropout"] | {"crop_share": 0.5}}, "crop_share"),
        ({"contrast": METHODS["augmentations"] | {"operations": ["substitute"]}}, "operations must be some of"),
        ({"contrast": METHODS["augmentations"] | {"mask_share": 1.0}}, "mask_share must be above 0"),
        ({"contrast": METHODS["intents"] | {"intents": 1}}, "intents must be at least 2"),
        ({"contrast": _BASIC | {"method": "cloze"}}, "needs the task cloze"),
        (CLOZE | {"contrast": _BASIC | {"method": "cloze", "views": 1}}, "views must be at least 2"),
        (IDENTIFIER_TREE | {"contrast": METHODS["dropout"]}, "this model generates"),
        (LIST_WRITER | {"contrast": METHODS["dropout"]}, "this model generates"),
    ],
)
def test_tables_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(TableError, match=message):
        toy_recipe(**arguments)


def test_a_model_without_item_vectors_to_hide_is_refused(tmp_path):
    model = {"architecture": "matrix_factorisation", "dimensions": 8, "max_length": 8, "embedding_deviation": 0.1}
    recipe = toy_recipe(model=model, contrast=METHODS["augmentations"])
    with pytest.raises(ValueError, match="leave it out of operations"):
        train(recipe, ring_training_set(users=20), tmp_path / "model", progress=False)
