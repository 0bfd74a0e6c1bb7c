"""RQ-VAE: its loss and gradients by hand, its start, codes that nobody uses, and determinism."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recommender_factories import made_up_training_set

from ml.codes.clustering import kmeans
from ml.codes.codes import Codes
from ml.codes.recipe import load_codes_recipes
from ml.codes.rq_vae import RQVAESettings, standardised
from ml.codes.rq_vae_network import RQVAE, _draw_anew, _start_books, train
from ml.data.sequences import Sequences

SMALL = RQVAESettings(hidden=(8,), dimensions=4, epochs=30, batch_size=32)


def _vectors(items: int = 200, dimensions: int = 6, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(items, 3)) @ random.normal(size=(3, dimensions)) + 5


def _assign(vectors: np.ndarray, sizes=(8, 8), settings: RQVAESettings = SMALL, seed: int = 0) -> Codes:
    training_set = replace(
        made_up_training_set(),
        item_ids=np.array([b"%06d" % item for item in range(len(vectors))]),
        train=Sequences.from_lists([[0, 0]]),
        item_text=None,
    )
    return settings.assign(training_set, sizes, seed, vectors)


@pytest.fixture
def model() -> RQVAE:
    torch.manual_seed(0)
    model = RQVAE(6, SMALL, (8, 8)).double()
    for book in model.books:
        torch.nn.init.normal_(book)
    return model


def test_the_loss_is_that_of_the_equations(model: RQVAE):
    inputs = torch.from_numpy(_vectors(20))
    loss, codes = model(inputs)
    encoded = model.encoder(inputs).detach().numpy()
    books = [book.detach().numpy() for book in model.books]
    for item in range(20):
        residual, expected, total = encoded[item], 0.0, np.zeros(4)
        for book, code in zip(books, codes[item].tolist(), strict=True):
            distances = ((residual - book) ** 2).sum(axis=1)
            assert code == distances.argmin()
            # both terms are this distance, the second one weighed by the commitment
            expected += 1.25 * distances[code]
            total, residual = total + book[code], residual - book[code]
        restored = model.decoder(torch.from_numpy(total)).detach().numpy()
        # sums over dimensions, not means
        expected += ((inputs[item].numpy() - restored) ** 2).sum()
        assert loss[item].item() == pytest.approx(expected)


def test_gradients_stop_where_they_should(model: RQVAE):
    inputs = torch.from_numpy(_vectors(20))
    loss, codes = model(inputs)
    loss.sum().backward()
    encoded = model.encoder(inputs)
    found = model.quantise(encoded)
    # a code is drawn to the residuals it is chosen for, and knows nothing of the decoder or of later books
    for level, book in enumerate(model.books):
        expected = torch.zeros_like(book)
        expected.index_add_(0, codes[:, level], 2 * (book[codes[:, level]] - found.residuals[level]).detach())
        assert torch.allclose(book.grad, expected.detach())
    # the encoder gets the decoder's gradient at the quantised vectors, and the commitment to each code
    at = found.vectors.detach().requires_grad_()
    (inputs - model.decoder(at)).square().sum().backward()
    committed = sum(
        0.25 * 2 * (residual - book[codes[:, level]]).detach()
        for level, (residual, book) in enumerate(zip(found.residuals, model.books, strict=True))
    )
    expected = torch.autograd.grad(encoded, list(model.encoder.parameters()), at.grad + committed)
    for parameter, gradient in zip(model.encoder.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient)


def test_books_start_at_centres_of_what_the_encoder_makes_of_the_items():
    data = torch.from_numpy(standardised(_vectors()))
    model = RQVAE(6, SMALL, (8, 8))
    _start_books(model, data, (8, 8), seed=3)
    residuals = model.encoder(data).detach().double().numpy()
    for level in range(2):
        centres, labels = kmeans(residuals, 8, 3 + level)
        assert np.allclose(model.books[level].detach(), centres, atol=1e-6)
        residuals = residuals - centres[labels]


def test_codes_that_nobody_uses_move_to_residuals_of_items():
    data = torch.from_numpy(standardised(_vectors()))
    model = RQVAE(6, SMALL, (8, 8))
    _start_books(model, data, (8, 8), seed=0)
    optimiser = torch.optim.Adam(model.parameters())
    model(data)[0].sum().backward()
    optimiser.step()
    with torch.no_grad():
        model.books[1][5] = 1e6
    before = [book.detach().clone() for book in model.books]
    residuals = model.quantise(model.encoder(data)).residuals[1].detach()
    used = [torch.ones(8, dtype=torch.bool), torch.arange(8) != 5]
    assert _draw_anew(model, data, used, optimiser) == 1
    assert torch.equal(model.books[0], before[0])
    assert torch.equal(model.books[1][used[1]], before[1][used[1]])
    assert (residuals == model.books[1][5]).all(dim=1).any()
    assert not optimiser.state[model.books[1]]["exp_avg"][5].any()
    assert optimiser.state[model.books[1]]["exp_avg"][used[1]].any()


def test_training_restores_more_and_uses_its_books():
    codes = _assign(_vectors(300), (16, 16), replace(SMALL, epochs=60))
    assert codes.report["last_epoch_loss"] < 0.5 * codes.report["first_epoch_loss"]
    assert codes.report["energy_left"] < 0.3
    assert codes.report["underused_books"] == []
    assert all(book["codes_used"] >= 13 for book in codes.report["by_book"])
    assert codes.centroids == ()
    # collisions are resolved by distances in the space of the encoder
    distances = codes.last_distances(np.arange(300))
    assert np.array_equal(distances.argmin(axis=1), codes.values[:, 1])


def test_the_report_names_books_of_which_little_is_in_use():
    two = np.repeat(np.array([[0.0, 1.0], [1.0, 0.0]]), 50, axis=0)
    codes = _assign(two, (8, 2))
    assert codes.report["by_book"][0]["codes_used"] == 2
    assert codes.report["underused_books"] == [0, 1]
    # of five items all eight codes cannot be used
    assert 0 not in _assign(_vectors(5), (8, 8), replace(SMALL, epochs=1)).report["underused_books"]


def test_equal_bit_for_bit_and_torch_stays_as_it_was():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    inputs, settings = standardised(_vectors()), replace(SMALL, epochs=8)
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(train(inputs, settings, (8, 8), seed=4))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(found[0].values, found[1].values)
    assert np.array_equal(found[0].last_book, found[1].last_book)
    assert found[0].losses == found[1].losses
    assert found[0].losses != train(inputs, settings, (8, 8), seed=5).losses
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("vectors", [np.ones((1, 4)), np.zeros((6, 0)), np.ones((6, 3))])
def test_vectors_that_do_not_differ(vectors):
    codes = _assign(vectors)
    assert len(np.unique(codes.values, axis=0)) == 1
    assert np.isfinite(codes.report["last_epoch_loss"])


def test_standardised_dimensions():
    vectors = np.column_stack([_vectors(50, 2), np.full(50, 3.0)])
    found = standardised(vectors)
    assert np.allclose(found.mean(axis=0), 0, atol=1e-6)
    assert np.allclose(found.std(axis=0), [1, 1, 0], atol=1e-6)


def test_what_goes_wrong_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match=r"the loss of the RQ-VAE is .* in epoch \d+: lower its learning_rate"):
        _assign(_vectors(), settings=replace(SMALL, learning_rate=1e30))
    with pytest.raises(ValueError, match="an RQ-VAE quantises vectors, and none were given"):
        SMALL.assign(made_up_training_set(), (4,), 0, None)
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"an RQ-VAE needs torch.*raw2rank\[train\]"):
        _assign(_vectors())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"dimensions": 0}, "dimensions must be at least 1"),
        ({"hidden": (8, 0)}, r"hidden must be widths of at least 1, not \[8, 0\]"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"commitment": -1.0}, "commitment must not be negative"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        RQVAESettings(**settings)


def test_the_recipe_is_read_without_torch():
    code = (
        "import sys; from ml.codes.recipe import load_codes_recipes;"
        "assert load_codes_recipes()['rq_vae'].method.epochs > 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)


def test_identifiers_by_the_recipe_are_unique():
    training_set = made_up_training_set(items=60)
    recipe = load_codes_recipes()["rq_vae"]
    codes = replace(recipe, method=replace(recipe.method, epochs=5)).assign(training_set)
    assert codes.report["distinct_codes"] == 60
    assert codes.method["hidden"] == [128, 64]
