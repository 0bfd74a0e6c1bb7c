"""ml/models/gptrec.py and ml/generation/next_k.py: lists written item by item, with and without the cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ml.generation import next_k
from ml.generation.next_k import generate_lists, generate_with_first_step, list_log_probabilities, list_states
from ml.models.catalogue import Catalogue
from ml.models.gptrec import GPTRec
from ml.models.settings import GPTRecSettings
from ml.recommender import NO_ITEM
from ml.retrieval.top_k import tie_break_order

ITEMS, LONGEST, LIST = 30, 6, 5
TABLE = {
    "dimensions": 12,
    "blocks": 2,
    "heads": 3,
    "feed_forward_dimensions": 20,
    "dropout": 0.3,
    "max_length": LONGEST,
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.5,
    "lists": "next_k",
    "list_length": LIST,
    "marks": 0,
}

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model(items: int = ITEMS, seed: int = 0, **changes) -> GPTRec:
    """In evaluation mode, with weights large enough for attention to differ from a mean."""
    settings = GPTRecSettings(**(TABLE | changes))
    codes = np.random.default_rng(0).integers(256, size=(items, 4), dtype=np.uint8) if settings.needs_codes else None
    torch.manual_seed(seed)
    model = GPTRec(settings, Catalogue(items, codes=codes))
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def _batch(
    lengths: list[int], seed: int, items: int = ITEMS, hide: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Histories, their lengths, and which items are hidden."""
    generator = torch.Generator().manual_seed(seed)
    histories = torch.randint(items, (len(lengths), max(lengths)), generator=generator)
    hidden = torch.rand(len(lengths), items, generator=generator) < hide
    return histories, torch.tensor(lengths), hidden


def _by_hand(model: GPTRec, history: list[int], mark: int | None, listed: list[int]) -> torch.Tensor:
    """Scores of all items behind one history and a part of a list, read as one sequence without a cache."""
    history = history[-model.max_length :]
    vectors = list(model.input_embedding(torch.tensor(history)))
    # the history ends right before position max_length, whatever its length
    positions = list(range(model.max_length - len(history), model.max_length))
    if mark is not None:
        vectors.append(model.marks[mark])
        positions.append(model.max_length)
    vectors += [model.input_embedding(torch.tensor(item)) for item in listed]
    positions += range(positions[-1] + 1, positions[-1] + 1 + len(listed))
    state = model.trunk((torch.stack(vectors) + model.positions[positions])[None])[0, -1]
    return model.output_embedding(torch.arange(model.items)) @ state


def _choice(scores: torch.Tensor, hidden: torch.Tensor, listed: list[int]) -> torch.Tensor:
    """Log-probabilities of the items that are allowed, ``-inf`` for the others."""
    scores = scores.masked_fill(hidden, -torch.inf)
    scores[listed] = -torch.inf
    return scores.log_softmax(dim=0)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, LONGEST + 3), min_size=1, max_size=4),
    marks=st.integers(0, 3),
    k=st.integers(1, LIST),
    sampled=st.booleans(),
    changes=st.sampled_from(
        [{}, {"separate_output_embedding": True}, {"item_embedding": "joint_product_quantised"}, {"blocks": 1}]
    ),
    at_once=st.sampled_from([1, 1 << 18]),
    seed=st.integers(0, 99),
)
def test_lists_are_equal_with_the_cache_without_it_and_teacher_forced(
    lengths, marks, k, sampled, changes, at_once, seed
):
    """Items and log-probabilities; histories may be longer than what is read. Small chunks of scores and large ones."""
    model = _model(items=150, marks=marks, **changes)
    items, counts, hidden = _batch(lengths, seed, items=150)
    which = torch.randint(marks, (len(lengths),)) if marks else None
    generator = torch.Generator().manual_seed(seed) if sampled else None
    before, next_k._SCORES_AT_ONCE, next_k._LEAST_WIDTH = (next_k._SCORES_AT_ONCE, next_k._LEAST_WIDTH), at_once, 1
    try:
        found, first = generate_with_first_step(model, items, counts, which, k, hidden, generator)
    finally:
        next_k._SCORES_AT_ONCE, next_k._LEAST_WIDTH = before
    forced, entropies = list_log_probabilities(model, items, counts, which, found.items, hidden)
    torch.testing.assert_close(found.log_probabilities, forced, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for row, length in enumerate(lengths):
            history = items[row, :length].tolist()
            mark = None if which is None else int(which[row])
            listed: list[int] = []
            for place in range(k):
                expected = _choice(_by_hand(model, history, mark, listed), hidden[row], listed)
                if place == 0:
                    torch.testing.assert_close(first[row], expected, rtol=1e-5, atol=1e-5)
                chosen = int(found.items[row, place])
                if not sampled:
                    assert expected[chosen] >= expected.max() - 1e-5
                torch.testing.assert_close(found.log_probabilities[row, place], expected[chosen], rtol=1e-5, atol=1e-5)
                entropy = torch.distributions.Categorical(logits=expected).entropy()
                torch.testing.assert_close(entropies[row, place], entropy, rtol=1e-4, atol=1e-5)
                listed.append(chosen)
            assert len(set(listed)) == k
            assert not hidden[row, listed].any()


@pytest.mark.parametrize("marks", [0, 2])
def test_positions_are_counted_from_the_end_of_the_history(marks):
    """The first place of a list is the same one for all histories, and what is read follows without a gap."""
    model = _model(marks=marks)
    assert len(model.positions) == LONGEST + bool(marks) + LIST - 1
    which = torch.tensor([1, 0]) if marks else None
    items, lengths, lists = torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]), torch.tensor([[7, 8], [9, 6]])
    sequences, ends, first = model.sequences(items, lengths, which, lists)
    mark = [[31], [30]] if marks else [[], []]
    assert sequences[0].tolist() == [1, 2, 3, *mark[0], 7]
    assert sequences[1, : 2 + bool(marks)].tolist() == [4, *mark[1], 9]
    assert ends.tolist() == [3, 1]
    assert first.tolist() == [2 + bool(marks), bool(marks)]
    positions = model.embedded(sequences, ends) - model.vectors(sequences)
    for row, start in ((0, LONGEST - 3), (1, LONGEST - 1)):
        read = int(ends[row]) + bool(marks) + 1
        torch.testing.assert_close(positions[row, :read], model.positions[start : start + read])


@settings(max_examples=20)
@given(lengths=st.lists(st.integers(1, LONGEST), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_padding_is_never_read(lengths, seed):
    """Other items behind the histories change nothing, neither does another history beside a history."""
    model = _model(marks=1)
    items, counts, hidden = _batch(lengths, seed)
    marks = torch.zeros(len(lengths), dtype=torch.int64)
    found = generate_lists(model, items, counts, marks, LIST, hidden)
    padding = torch.arange(items.shape[1]) >= counts[:, None]
    other = torch.where(padding, (items + 11) % ITEMS, items)
    again = generate_lists(model, other, counts, marks, LIST, hidden)
    assert torch.equal(found.items, again.items)
    assert torch.equal(found.log_probabilities, again.log_probabilities)
    torch.testing.assert_close(
        list_states(model, items, counts, marks, found.items), list_states(model, other, counts, marks, found.items)
    )
    for row, length in enumerate(lengths):
        alone = generate_lists(
            model, items[row : row + 1, :length], counts[row : row + 1], marks[:1], LIST, hidden[row : row + 1]
        )
        torch.testing.assert_close(alone.log_probabilities[0], found.log_probabilities[row], rtol=1e-5, atol=1e-5)


def test_of_a_long_history_the_most_recent_items_are_read():
    model = _model(marks=1)
    items, lengths, _ = _batch([LONGEST + 4, LONGEST, 2], 3)
    marks, hidden = torch.zeros(3, dtype=torch.int64), torch.zeros(3, ITEMS, dtype=torch.bool)
    found = generate_lists(model, items, lengths, marks, LIST, hidden)
    cut = generate_lists(model, items[:1, 4:], torch.tensor([LONGEST]), marks[:1], LIST, hidden[:1])
    assert torch.equal(found.items[0], cut.items[0])
    older = items.clone()
    older[0, :4] = (older[0, :4] + 1) % ITEMS
    assert torch.equal(found.items, generate_lists(model, older, lengths, marks, LIST, hidden).items)


def test_shorter_lists_begin_longer_ones():
    model = _model(marks=2)
    items, lengths, hidden = _batch([3, 6, 1], 4)
    marks = torch.tensor([0, 1, 1])
    whole = generate_lists(model, items, lengths, marks, LIST, hidden)
    for k in range(1, LIST):
        part = generate_lists(model, items, lengths, marks, k, hidden)
        assert torch.equal(part.items, whole.items[:, :k])


def test_marks_make_a_difference():
    model = _model(marks=2)
    items, lengths, hidden = _batch([3, 6, 1, 5], 4)
    of = [generate_lists(model, items, lengths, torch.full((4,), mark), LIST, hidden).items for mark in (0, 1)]
    assert not torch.equal(*of)


@pytest.mark.parametrize("sampled", [False, True])
def test_where_fewer_items_are_left_lists_are_shorter(sampled):
    """One row without an item, one with three, one with all."""
    model = _model(marks=1)
    items, lengths, hidden = _batch([3, 6, 1], 4)
    hidden[0], hidden[1], hidden[2] = True, True, False
    hidden[1, [3, 17, 8]] = False
    marks = torch.zeros(3, dtype=torch.int64)
    generator = torch.Generator().manual_seed(1) if sampled else None
    found, first = generate_with_first_step(model, items, lengths, marks, LIST, hidden, generator)
    assert found.items[0].tolist() == [NO_ITEM] * LIST
    assert sorted(found.items[1, :3].tolist()) == [3, 8, 17]
    assert found.items[1, 3:].tolist() == [NO_ITEM] * 2
    assert (found.items[2] != NO_ITEM).all()
    assert (first[0] == -torch.inf).all()
    assert first[1].isfinite().sum() == 3
    # the last of three is certain
    assert found.log_probabilities[1, 2:].tolist() == [0.0] * 3
    assert found.log_probabilities[0].tolist() == [0.0] * LIST
    forced, entropies = list_log_probabilities(model, items, lengths, marks, found.items, hidden)
    torch.testing.assert_close(forced, found.log_probabilities, rtol=1e-5, atol=1e-5)
    assert entropies[0].tolist() == [0.0] * LIST
    assert entropies[1, 3:].tolist() == [0.0] * 2
    (forced.sum() + entropies.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_more_places_than_items():
    model = _model(items=3)
    found = generate_lists(model, torch.tensor([[0, 1]]), torch.tensor([2]), None, LIST, None)
    assert sorted(found.items[0, :3].tolist()) == [0, 1, 2]
    assert found.items[0, 3:].tolist() == [NO_ITEM] * 2


def test_equal_scores_go_by_the_order_of_ties():
    model = _model(items=200, separate_output_embedding=True)
    with torch.no_grad():
        model.output_embedding.weight.fill_(0.3)
    items, lengths, hidden = _batch([4, 2], 0, items=200)
    found = generate_lists(model, items, lengths, None, LIST, hidden)
    for row in range(2):
        expected = [item for item in tie_break_order(200).tolist() if not hidden[row, item]][:LIST]
        assert found.items[row].tolist() == expected
        left = 200 - int(hidden[row].sum()) - torch.arange(LIST)
        torch.testing.assert_close(found.log_probabilities[row], -left.float().log())


def test_the_same_seed_draws_the_same_lists():
    model = _model(marks=1)
    items, lengths, hidden = _batch([3, 6, 1, 5], 4)
    marks = torch.zeros(4, dtype=torch.int64)

    def drawn(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return generate_lists(model, items, lengths, marks, LIST, hidden, generator).items

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


@pytest.mark.parametrize("at_once", [1, 1 << 18])
def test_items_are_drawn_by_their_probabilities(monkeypatch, at_once):
    """Chi-square tests of 40,000 draws: of the first item, and of the second behind the commonest first one."""
    monkeypatch.setattr(next_k, "_SCORES_AT_ONCE", at_once)
    monkeypatch.setattr(next_k, "_LEAST_WIDTH", 1)
    model = _model(items=70, seed=3)
    draws = 40_000
    history = torch.tensor([[3, 9, 1]]).expand(draws, -1)
    hidden = torch.zeros(1, 70, dtype=torch.bool)
    hidden[0, [3, 9, 1]] = True
    generator = torch.Generator().manual_seed(7)
    found = generate_lists(model, history, torch.full((draws,), 3), None, 2, hidden.expand(draws, -1), generator)
    with torch.no_grad():
        first = _choice(_by_hand(model, [3, 9, 1], None, []), hidden[0], []).exp()
    _assert_drawn_from(found.items[:, 0], first)
    commonest = int(first.argmax())
    with torch.no_grad():
        second = _choice(_by_hand(model, [3, 9, 1], None, [commonest]), hidden[0], [commonest]).exp()
    _assert_drawn_from(found.items[found.items[:, 0] == commonest, 1], second)


def _assert_drawn_from(drawn: torch.Tensor, probabilities: torch.Tensor) -> None:
    from scipy.stats import chisquare

    expected = probabilities.double().numpy() * len(drawn)
    counts = np.bincount(drawn.numpy(), minlength=len(expected))
    assert not counts[expected == 0].any()
    often = expected >= 5
    assert often.sum() > 10
    # the rare items are only few draws together
    observed, wanted = counts[often], expected[often]
    assert chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_dropout_is_off_while_lists_are_written_and_the_mode_is_kept():
    model = _model(marks=1)
    items, lengths, hidden = _batch([3, 6], 4)
    marks = torch.zeros(2, dtype=torch.int64)
    expected = generate_lists(model, items, lengths, marks, LIST, hidden)
    model.train()
    found = generate_lists(model, items, lengths, marks, LIST, hidden)
    assert model.training
    assert torch.equal(found.items, expected.items)
    assert not found.log_probabilities.requires_grad
    # and on while a list is read in training mode
    states = [list_states(model, items, lengths, marks, found.items) for _ in range(2)]
    assert not torch.equal(*states)


def test_gradients_of_choices_equal_finite_differences():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 7, dtype=torch.float64, generator=generator)
    scores[0, 1, 2] = next_k._HIDDEN
    choices = torch.randint(2, (2, 3), generator=generator)
    free = scores > next_k._HIDDEN
    values = scores[free].requires_grad_()

    def of(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return next_k._MaskedChoices.apply(scores.masked_scatter(free, values), choices)

    assert torch.autograd.gradcheck(of, (values,))


def test_gradients_equal_those_of_plain_operations():
    """Through the whole model, with hidden items, and every weight takes part."""
    model = _model(marks=2, separate_output_embedding=True)
    items, lengths, hidden = _batch([3, 6, 2], 4)
    marks = torch.tensor([1, 0, 1])
    lists = generate_lists(model, items, lengths, marks, LIST, hidden, torch.Generator().manual_seed(0)).items
    of_choices, of_entropies = torch.randn(2, 3, LIST, generator=torch.Generator().manual_seed(1))

    found, entropies = list_log_probabilities(model, items, lengths, marks, lists, hidden)
    (found * of_choices + entropies * of_entropies).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    states = list_states(model, items, lengths, marks, lists)
    loss = torch.zeros(())
    for row in range(3):
        for place in range(LIST):
            scores = model.output_embedding.score_all(states[row, place][None])[0]
            blocked = hidden[row].clone()
            blocked[lists[row, :place]] = True
            choice = torch.distributions.Categorical(logits=scores.masked_fill(blocked, -1e9))
            loss = loss + choice.log_prob(lists[row, place]) * of_choices[row, place]
            loss = loss + choice.entropy() * of_entropies[row, place]
    loss.backward()
    for name, parameter in model.named_parameters():
        assert gradients[name].abs().max() > 0, name
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sampled", [False, True])
def test_a_model_of_double_precision_is_computed_in_it(sampled):
    model = _model(marks=1).double()
    items, lengths, hidden = _batch([3, 6], 4)
    marks = torch.zeros(2, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0) if sampled else None
    found = generate_lists(model, items, lengths, marks, LIST, hidden, generator)
    forced, _ = list_log_probabilities(model, items, lengths, marks, found.items, hidden)
    assert found.log_probabilities.dtype == torch.float64
    torch.testing.assert_close(found.log_probabilities, forced.detach(), rtol=1e-10, atol=1e-10)


def test_no_histories_give_no_lists():
    model = _model(marks=1)
    none = torch.zeros(0, dtype=torch.int64)
    found = generate_lists(model, none.view(0, 3), none, none, LIST, torch.zeros(0, ITEMS, dtype=torch.bool))
    assert found.items.shape == found.log_probabilities.shape == (0, LIST)
    forced, _ = list_log_probabilities(model, none.view(0, 3), none, none, found.items, None)
    assert forced.shape == (0, LIST)


def test_log_probabilities_are_float32_under_mixed_precision():
    model = _model(marks=1)
    items, lengths, hidden = _batch([3, 6], 4)
    marks = torch.zeros(2, dtype=torch.int64)
    lists = generate_lists(model, items, lengths, marks, LIST, hidden).items
    expected, _ = list_log_probabilities(model, items, lengths, marks, lists, hidden)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, entropies = list_log_probabilities(model, items, lengths, marks, lists, hidden)
    assert found.dtype == entropies.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.3)
    (found.sum() + entropies.sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_item_that_was_not_allowed_has_probability_zero():
    model = _model()
    items, lengths, hidden = _batch([3], 4)
    hidden[0] = False
    hidden[0, 5] = True
    found, _ = list_log_probabilities(model, items, lengths, None, torch.tensor([[5, 4, 4]]), hidden)
    assert found.isneginf().tolist() == [[True, False, True]]


def test_a_batch_with_marks_is_read_as_history_mark_and_list():
    """What a task shows as one sequence equals what is put together here."""
    model = _model(marks=2)
    items, lengths, _ = _batch([3, LONGEST, 2], 4)
    marks, lists = torch.tensor([1, 0, 1]), torch.tensor([[7, 8, 9], [1, 2, 3], [4, 5, 6]])
    sequences, ends, first = model.sequences(items, lengths, marks, lists)
    expected = list_states(model, items, lengths, marks, lists)
    whole = model(sequences, ends + 3, torch.full((3,), -1))
    for row in range(3):
        start = int(first[row])
        torch.testing.assert_close(whole[row, start : start + 3], expected[row])


def test_positions_of_lists_are_trained_on_histories_too():
    """Without marks nothing else would train them; a draw changes no other model."""
    model = _model(dropout=0.0).train()
    items, lengths, users = torch.randint(ITEMS, (8, LONGEST)), torch.full((8,), LONGEST), torch.full((8,), -1)
    lengths[0] = 1
    used = torch.zeros(len(model.positions), dtype=torch.bool)
    for _ in range(20):
        model.zero_grad()
        model(items, lengths, users)[:, 0].sum().backward()
        used |= model.positions.grad.abs().sum(dim=1) > 0
        # a history of one item is always at the end of what is counted as history
        alone = model(items[:1, :1], lengths[:1], users[:1])
        torch.testing.assert_close(alone, model.eval()(items[:1, :1], lengths[:1], users[:1]))
        model.train()
    model.zero_grad()
    for _ in range(20):
        model(items, lengths, users).sum().backward()
    assert (model.positions.grad.abs().sum(dim=1) > 0).all()
    plain = _model(dropout=0.0, lists="top_k").train()
    assert len(plain.positions) == LONGEST
    assert torch.equal(plain(items, lengths, users), plain(items, lengths, users))
    marked = _model(dropout=0.0, marks=1).train()
    assert torch.equal(marked(items, lengths, users), marked(items, lengths, users))


def test_top_k_is_the_transformer_of_gpt2_over_the_items():
    """The architecture sasrec with the block gpt2 has the same weights."""
    from ml.models.sasrec import SASRec
    from ml.models.settings import SASRecSettings

    ours = _model(lists="top_k")
    table = {name: value for name, value in TABLE.items() if name not in ("lists", "list_length", "marks")}
    theirs = SASRec(SASRecSettings(**table, block="gpt2"), Catalogue(ITEMS)).eval()
    theirs.load_state_dict({name.removeprefix("trunk."): value for name, value in ours.state_dict().items()})
    items, lengths, _ = _batch([3, LONGEST, 2], 4)
    users = torch.full((3,), -1)
    found, expected = ours(items, lengths, users), theirs(items, lengths, users)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], expected[row, :length])


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"lists": "top_k"}, {}, 'lists = "next_k"'),
        ({}, {"k": 0}, "lists of 1 to 5 items, not 0"),
        ({}, {"k": 6}, "lists of 1 to 5 items, not 6"),
        ({}, {"lengths": torch.tensor([0])}, "one of these is empty"),
        ({}, {"marks": torch.tensor([0])}, "built without marks"),
        ({"marks": 1}, {}, "say which mark follows each history"),
        ({"marks": 2}, {"marks": torch.tensor([2])}, "marks of this model are 0 to 1, not 2"),
        ({"marks": 2}, {"marks": torch.tensor([-1])}, "marks of this model are 0 to 1, not -1"),
    ],
)
def test_what_cannot_be_written_is_refused(changes, arguments, message):
    call = {"items": torch.tensor([[1, 2]]), "lengths": torch.tensor([2]), "marks": None, "k": 2, "hidden": None}
    with pytest.raises(ValueError, match=message):
        generate_lists(_model(**changes), **(call | arguments))


def test_a_score_that_is_no_number_is_refused():
    model = _model()
    with torch.no_grad():
        model.output_embedding.weight[4] = torch.nan
    with pytest.raises(ValueError, match="not a number"):
        generate_lists(model, torch.tensor([[1, 2]]), torch.tensor([2]), None, 2, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"marks": -1}, "marks must not be negative"),
        ({"list_length": 0}, "list_length must be at least 1"),
        ({"lists": "top_k", "marks": 1}, "marks stand between a history and a written list"),
        ({"heads": 5}, r"heads \(5\) must divide dimensions \(12\)"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _model(**changes)
