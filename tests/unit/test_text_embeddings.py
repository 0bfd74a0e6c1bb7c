"""Item vectors from text: what they are computed from, and that the table kept for ranking is never an old one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ml.models.item_embeddings import DenseItemEmbedding
from ml.models.text_embeddings import (
    ComputedItemEmbedding,
    Experts,
    TextAndIdItemEmbedding,
    TextItemEmbedding,
    initialised_from_text,
)
from ml.training.moving_average import WeightAverage

ITEMS, WORDS, DIMENSIONS = 30, 9, 6
DEVIATION = 0.05

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _text(items: int = ITEMS) -> np.ndarray:
    text = np.random.default_rng(0).normal(size=(items, WORDS)).astype(np.float32) * 7
    text[4] = 0
    text[5] = text[6]
    return text


def _never_seen() -> np.ndarray:
    return np.arange(ITEMS) >= ITEMS - 3


def _text_embedding() -> TextItemEmbedding:
    return TextItemEmbedding(_text(), DIMENSIONS, DEVIATION)


def _text_and_id() -> TextAndIdItemEmbedding:
    return TextAndIdItemEmbedding(_text(), _never_seen(), DIMENSIONS, DEVIATION)


def _experts() -> TextItemEmbedding:
    return TextItemEmbedding(_text(), DIMENSIONS, DEVIATION, Experts(WORDS, DIMENSIONS, 3, dropout=0.0))


KINDS = {"text": _text_embedding, "text_and_id": _text_and_id, "experts": _experts}


@pytest.fixture(params=KINDS)
def embedding(request) -> ComputedItemEmbedding:
    torch.manual_seed(0)
    return KINDS[request.param]()


def test_scores_are_dot_products_in_both_modes(embedding):
    states, candidates = torch.randn(5, DIMENSIONS), torch.randint(ITEMS, (5, 3))
    table = embedding.eval()(torch.arange(ITEMS))
    expected = states @ table.T
    # gates of experts have noise while training
    for mode in (False,) if isinstance(embedding.projection, Experts) else (True, False):
        embedding.train(mode)
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                torch.testing.assert_close(embedding(candidates), table[candidates])
                torch.testing.assert_close(embedding.score_all(states), expected)
                torch.testing.assert_close(embedding.score_shared(states, candidates[0]), expected[:, candidates[0]])
                torch.testing.assert_close(embedding.score_each(states, candidates), expected.gather(1, candidates))
                few = embedding.score_each(states[:1], candidates[:1])
                torch.testing.assert_close(few, expected[:1].gather(1, candidates[:1]))
    with torch.no_grad():
        out = torch.empty(5, ITEMS)
        assert embedding.score_all_into(out, states) is out
        torch.testing.assert_close(out, expected)


def test_the_table_is_computed_once_while_nothing_changes(embedding):
    embedding.eval()
    with torch.inference_mode():
        assert embedding.table() is embedding.table()
    with torch.no_grad():
        assert embedding.table() is embedding.table()


def _optimise(embedding: nn.Module) -> None:
    optimiser = torch.optim.AdamW(embedding.parameters(), lr=0.1, foreach=True)
    embedding.score_all(torch.ones(1, DIMENSIONS)).sum().backward()
    optimiser.step()


def _load(embedding: nn.Module) -> None:
    embedding.load_state_dict({name: value + 1 for name, value in embedding.state_dict().items()})


@pytest.mark.parametrize("change", [_optimise, _load])
def test_changed_weights_change_the_table(embedding, change):
    """Also where the module was not put into training mode between."""
    embedding.eval()
    with torch.inference_mode():
        before = embedding.table().clone()
    change(embedding)
    with torch.inference_mode():
        after = embedding.table().clone()
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, embedding.compute(torch.arange(ITEMS)).detach())


def test_averaged_weights_have_their_own_table(embedding):
    average = WeightAverage(embedding, 0.5)
    _optimise(embedding)
    average.update(embedding)
    embedding.eval()
    with torch.inference_mode():
        own = embedding.table().clone()
    with average.swapped_in(embedding), torch.inference_mode():
        averaged = embedding.table().clone()
    with torch.inference_mode():
        again = embedding.table().clone()
    assert not torch.allclose(own, averaged)
    torch.testing.assert_close(own, again)


def test_a_copy_has_its_own_table(embedding):
    embedding.eval()
    with torch.no_grad():
        embedding.table()
        other = copy.deepcopy(embedding)
        _load(other)
        assert not torch.allclose(embedding.table(), other.table())


def test_projections_start_with_the_deviation_of_trained_rows():
    torch.manual_seed(0)
    embedding = TextItemEmbedding(_text(2000), 64, DEVIATION)
    assert embedding(torch.arange(10, 2000)).std().item() == pytest.approx(DEVIATION, rel=0.05)


def test_a_projection_of_text_is_that_of_nn_linear():
    embedding = _text_embedding()
    text = torch.from_numpy(_text())
    length = text[text.any(dim=1)].square().sum(dim=1).mean().sqrt()
    torch.testing.assert_close(embedding(torch.arange(ITEMS)), embedding.projection(text / length))
    torch.testing.assert_close(embedding(torch.tensor([4]))[0], embedding.projection.bias)
    torch.testing.assert_close(*embedding(torch.tensor([5, 6])))


def test_an_item_never_trained_on_has_the_text_part_alone():
    embedding = _text_and_id()
    items = torch.arange(ITEMS)
    never = torch.from_numpy(_never_seen())
    of_text = TextItemEmbedding.compute(embedding, items)
    torch.testing.assert_close(embedding(items)[never], of_text[never])
    rows = embedding.gate.sigmoid() * embedding.weight
    torch.testing.assert_close(embedding(items)[~never], (of_text + rows)[~never])
    embedding(items).sum().backward()
    assert not embedding.weight.grad[never].any()
    assert embedding.weight.grad[~never].all()


def test_experts_are_the_parametric_whitenings_of_the_paper():
    """``sum_k softmax(t G)_k (t - c_k) W_k``, each expert by itself."""
    torch.manual_seed(0)
    experts = Experts(WORDS, DIMENSIONS, 3, dropout=0.0).eval()
    centres = torch.randn(3, WORDS)
    weights = experts.experts.weight.detach().view(3, DIMENSIONS, WORDS)
    with torch.no_grad():
        experts.gate.normal_()
        experts.experts.bias.copy_(
            torch.cat([-weight @ centre for weight, centre in zip(weights, centres, strict=True)])
        )
    for text in torch.randn(4, WORDS):
        gates = (text @ experts.gate).softmax(dim=0)
        expected = sum(gates[k] * weights[k] @ (text - centres[k]) for k in range(3))
        torch.testing.assert_close(experts(text), expected, rtol=1e-4, atol=1e-5)


def test_experts_are_noisy_while_training_alone():
    experts = Experts(WORDS, DIMENSIONS, 3, dropout=0.0)
    text = torch.randn(5, WORDS)
    assert not torch.equal(experts(text), experts(text))
    experts.eval()
    assert torch.equal(experts(text), experts(text))


def test_an_item_that_stands_in_a_batch_twice_has_one_vector():
    embedding = _experts()
    first, again, other = embedding(torch.tensor([3, 3, 7]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_text_is_no_weight():
    for make in KINDS.values():
        assert not {"text", "has_row"} & set(make().state_dict())


def test_rows_start_from_the_first_dimensions_of_the_text():
    torch.manual_seed(0)
    embedding = initialised_from_text(_text(), DIMENSIONS, DEVIATION)
    assert type(embedding) is DenseItemEmbedding
    filled = np.delete(np.arange(ITEMS), 4)
    found = embedding.weight.detach().numpy()
    ratio = found[filled] / _text()[filled, :DIMENSIONS]
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert np.sqrt((found[filled] ** 2).mean()) == pytest.approx(DEVIATION, rel=1e-4)
    # an item without a word is not at 0, where all its scores would be
    assert found[4].all()


def test_rows_that_are_wider_than_the_text_are_filled_up():
    embedding = initialised_from_text(_text(), WORDS + 200, DEVIATION)
    rest = embedding.weight.detach().numpy()[:, WORDS:]
    assert rest.std() == pytest.approx(DEVIATION, rel=0.1)


def test_text_that_tells_nothing_is_no_error():
    nothing = np.zeros((ITEMS, 3), dtype=np.float32)
    assert initialised_from_text(nothing, DIMENSIONS, DEVIATION).weight.std() > 0
    same = TextItemEmbedding(nothing, DIMENSIONS, DEVIATION)(torch.arange(ITEMS))
    assert (same == same[0]).all()
