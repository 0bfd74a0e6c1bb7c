"""ml/tasks: what is shown and what is asked for, against the rows themselves; the shares that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.sequences import Sequences
from ml.tasks.batch import Batch
from ml.tasks.build import StagedTask, build_task
from ml.tasks.cloze import Cloze
from ml.tasks.every_prefix import EveryPrefix
from ml.tasks.masked_then_last import MaskedThenLast
from ml.tasks.next_item import NextItem
from ml.tasks.recency_sampling import RecencySampling
from ml.tasks.settings import (
    TASK_SETTINGS,
    ClozeSettings,
    EveryPrefixSettings,
    MaskedThenLastSettings,
    NextItemSettings,
    RecencySamplingSettings,
    check_task_of_model,
)

ITEMS = 25
MASK = ITEMS
ROWS = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=2, max_size=14), min_size=1, max_size=6)


def _sequences(rows: list[list[int]]) -> Sequences:
    return Sequences.from_lists(rows).of_users(np.arange(len(rows)) * 3 + 1)


def _batch(task, rows: list[list[int]], max_length: int, seed: int) -> Batch:
    """A training batch of the rows, which stand between others in reverse order."""
    sequences = _sequences([[0, 1], *rows[::-1], [2, 3]])
    order = np.arange(len(rows), 0, -1)
    batch = task.training_batch(sequences, order, max_length, np.random.default_rng(seed))
    assert batch.users.tolist() == (order * 3 + 1).tolist()
    _check_shapes(batch, len(rows), max_length)
    return batch


def _check_shapes(batch: Batch, rows: int, max_length: int) -> None:
    assert batch.items.shape == (rows, batch.lengths.max())
    assert all(part.dtype == torch.int64 for part in (batch.items, batch.lengths, batch.positions, batch.users))
    assert batch.lengths.min() >= 1
    assert batch.lengths.max() <= max_length
    padding = torch.arange(batch.items.shape[1]) >= batch.lengths[:, None]
    assert (batch.items[padding] == 0).all()
    assert not padding.flatten()[batch.positions].any()
    assert (batch.positions.diff() > 0).all()


@given(rows=ROWS, max_length=st.integers(2, 9), share=st.floats(0.05, 0.9), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_cloze_masks_what_it_asks_for(rows, max_length, share, seed):
    batch = _batch(Cloze(ClozeSettings(share, 0.0), MASK), rows, max_length, seed)
    flat, targets = batch.items.flatten(), batch.targets.items
    assert batch.targets.one_each
    assert (flat == MASK).nonzero().squeeze(1).tolist() == batch.positions.tolist()
    restored = flat.clone()
    restored[batch.positions] = targets
    for row, own, length in zip(rows, restored.view(batch.items.shape), batch.lengths.tolist(), strict=True):
        assert own[:length].tolist() == row[-max_length:]
    counts = (batch.items == MASK).sum(dim=1)
    expected = torch.round(share * batch.lengths.double()).clamp(min=1).minimum(batch.lengths - 1)
    assert counts.tolist() == expected.tolist()


def test_cloze_masks_every_place_alike():
    """2,000 copies of one row of ten: three of them masked, each in .3 of the copies."""
    task = Cloze(ClozeSettings(0.3, 0.0), MASK)
    batch = _batch(task, [list(range(10))] * 2000, 10, 0)
    shares = (batch.items == MASK).double().mean(dim=0)
    # five standard deviations of a share of 2,000
    assert (shares - 0.3).abs().max() < 5 * (0.3 * 0.7 / 2000) ** 0.5


def test_cloze_asks_for_the_last_item_alone_in_the_share_stated():
    rows = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9]] * 500
    for share in (0.0, 0.4, 1.0):
        masked = _batch(Cloze(ClozeSettings(0.2, share), MASK), rows, 12, 0).items[::2] == MASK
        alone = masked[:, 9] & (masked.sum(dim=1) == 1)
        assert alone.double().mean() == pytest.approx(share, abs=0.12)
        if share in (0.0, 1.0):
            assert alone.double().mean() == share


@pytest.mark.parametrize(
    "task", [Cloze(ClozeSettings(0.2, 0.1), MASK), MaskedThenLast(MaskedThenLastSettings(0, 3), MASK)]
)
@given(rows=ROWS, max_length=st.integers(2, 9))
@settings(deadline=None, max_examples=40)
def test_a_mask_after_the_history_is_ranked_by(task, rows, max_length):
    rows = [row[1:] for row in rows]
    batch = task.history_batch(_sequences(rows), np.arange(len(rows)), max_length)
    _check_shapes(batch, len(rows), max_length)
    for row, own, length in zip(rows, batch.items, batch.lengths.tolist(), strict=True):
        assert own[:length].tolist() == [*row[-(max_length - 1) :], MASK]
    assert batch.items.flatten()[batch.positions].tolist() == [MASK] * len(rows)
    assert len(batch.targets) == 0


@given(
    rows=ROWS,
    max_length=st.integers(1, 9),
    share=st.floats(0.05, 0.95),
    recency=st.floats(0.3, 1.0),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_recency_sampling_parts_a_row_in_inputs_and_targets(rows, max_length, share, recency, seed):
    batch = _batch(RecencySampling(RecencySamplingSettings(share, recency)), rows, max_length, seed)
    states = batch.targets.states
    assert (states.diff() >= 0).all()
    assert batch.positions.tolist() == [
        row * batch.items.shape[1] + length - 1 for row, length in enumerate(batch.lengths.tolist())
    ]
    for number, row in enumerate(rows):
        window = row[-(max_length + 1) :]
        inputs = batch.items[number, : batch.lengths[number]].tolist()
        targets = batch.targets.items[states == number].tolist()
        left = list(window)
        for item in inputs:  # in the order of the row: each is found behind the one before
            left = left[left.index(item) + 1 :]
        assert len(targets) == len(set(targets))
        taken = sorted(window)
        for item in inputs:
            taken.remove(item)
        assert set(taken) == set(targets)
        assert 1 <= len(taken) <= max(1, int(share * len(window)))


@pytest.mark.parametrize("recency", [0.6, 0.8, 1.0])
def test_recency_sampling_draws_late_items_as_often_as_the_paper_says(recency):
    """2,000 copies of a row of six and one draw each; probabilities in proportion to ``recency ** (n - k)``."""
    rows = [[1, 2, 3, 4, 5, 6]] * 20_000
    batch = _batch(RecencySampling(RecencySamplingSettings(0.2, recency)), rows, 6, 0)
    assert batch.targets.states.tolist() == list(range(len(rows)))
    shares = np.bincount(batch.targets.items.numpy(), minlength=7)[1:] / len(rows)
    expected = recency ** np.arange(5, -1, -1.0)
    expected /= expected.sum()
    assert np.abs(shares - expected).max() < 5 * (0.25 / len(rows)) ** 0.5


def test_recency_sampling_draws_with_replacement():
    """Two draws of ten: the same item twice in the sum of the squared probabilities of the cases."""
    rows = [list(range(10))] * 20_000
    batch = _batch(RecencySampling(RecencySamplingSettings(0.2, 0.5)), rows, 10, 0)
    once = np.bincount(batch.targets.states.numpy()) == 1
    probabilities = 0.5 ** np.arange(9, -1, -1.0)
    probabilities /= probabilities.sum()
    assert once.mean() == pytest.approx((probabilities**2).sum(), abs=5 * (0.25 / len(rows)) ** 0.5)


def test_an_item_drawn_at_two_places_is_one_target():
    batch = _batch(RecencySampling(RecencySamplingSettings(0.9, 1.0)), [[4] * 14] * 3, 20, 0)
    assert batch.targets.items.tolist() == [4, 4, 4]
    assert batch.targets.states.tolist() == [0, 1, 2]


def _prefix_samples(rows: list[list[int]], max_length: int, prefixes: int, seed: int) -> list[list[tuple]]:
    """Of each row the samples of a batch of ``every_prefix``, as inputs and target, in their order."""
    sequences = _sequences([[0, 1], *rows[::-1], [2, 3]])
    order = np.arange(len(rows), 0, -1)
    task = EveryPrefix(EveryPrefixSettings(prefixes))
    batch = task.training_batch(sequences, order, max_length, np.random.default_rng(seed))
    _check_shapes(batch, len(batch.lengths), max_length)
    assert batch.targets.one_each
    width = batch.items.shape[1]
    assert batch.positions.tolist() == [
        number * width + length - 1 for number, length in enumerate(batch.lengths.tolist())
    ]
    samples = [
        (batch.users[number].item(), tuple(batch.items[number, :length].tolist()), batch.targets.items[number].item())
        for number, length in enumerate(batch.lengths.tolist())
    ]
    assert [sample[0] for sample in samples] == sorted((sample[0] for sample in samples), reverse=True)
    return [[sample[1:] for sample in samples if sample[0] == row * 3 + 1] for row in order.tolist()]


def _all_prefixes(row: list[int], max_length: int) -> list[tuple]:
    return [(tuple(row[:place][-max_length:]), row[place]) for place in range(1, len(row))]


@given(rows=ROWS, max_length=st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_every_prefix_gives_exactly_all_prefixes_and_their_targets(rows, max_length):
    found = _prefix_samples(rows, max_length, 0, 0)
    assert found == [_all_prefixes(row, max_length) for row in rows]


@given(rows=ROWS, max_length=st.integers(1, 9), prefixes=st.integers(1, 6), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_every_prefix_draws_no_prefix_twice_and_no_more_than_asked_for(rows, max_length, prefixes, seed):
    # each item a number of its own, so that a sample says which prefix it is
    rows = [[ITEMS * number + place for place in range(len(row))] for number, row in enumerate(rows)]
    for row, samples in zip(rows, _prefix_samples(rows, max_length, prefixes, seed), strict=True):
        everything = _all_prefixes(row, max_length)
        assert len(samples) == len(set(samples)) == min(prefixes, len(everything))
        assert [sample for sample in everything if sample in samples] == samples


def test_every_prefix_draws_all_prefixes_alike():
    """20,000 copies of a row of six items, two of its five prefixes each."""
    samples = _prefix_samples([[1, 2, 3, 4, 5, 6]] * 2_000, 6, 2, 0)
    shares = np.bincount([target for row in samples for _, target in row], minlength=7)[2:] / len(samples)
    assert np.abs(shares - 2 / 5).max() < 5 * (0.25 / len(samples)) ** 0.5


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8), max_length=st.integers(1, 12))
def test_every_prefix_knows_how_many_items_it_reads(lengths, max_length):
    task = EveryPrefix(EveryPrefixSettings(0))
    expected = [
        task.training_batch(
            _sequences([list(range(length))]), np.array([0]), max_length, np.random.default_rng(0)
        ).inputs
        if length >= task.least_items
        else 0
        for length in lengths
    ]
    counts = np.array(lengths, dtype=np.int64)
    assert task.settings.items_read(counts, max_length).tolist() == expected
    of_two = EveryPrefixSettings(2).items_read(counts, max_length)
    share = [min(1.0, 2 / max(1, length - 1)) for length in lengths]
    assert of_two == pytest.approx(np.array(expected) * share)


@pytest.mark.parametrize(
    "task",
    [NextItem(), RecencySampling(RecencySamplingSettings(0.2, 0.8)), EveryPrefix(EveryPrefixSettings(0))],
)
def test_other_tasks_rank_by_the_state_after_the_last_item(task):
    rows = [[3], [1, 2, 3, 4, 5], [7, 8]]
    batch = task.history_batch(_sequences(rows), np.array([1, 0, 2]), 4)
    assert batch.items.tolist() == [[2, 3, 4, 5], [3, 0, 0, 0], [7, 8, 0, 0]]
    assert batch.positions.tolist() == [3, 4, 9]
    assert batch.users.tolist() == [4, 1, 7]


@pytest.mark.parametrize("name", ["cloze", "recency_sampling", "every_prefix"])
def test_batches_are_drawn_anew_from_the_generator_given(name):
    values = {"cloze": (0.3, 0.1), "recency_sampling": (0.3, 0.8), "every_prefix": (3,)}[name]
    task = build_task(TASK_SETTINGS[name](*values), ITEMS)
    sequences = _sequences([list(range(length)) for length in range(5, 20)])
    rows = np.arange(15)

    def draw(generator: np.random.Generator) -> list:
        batch = task.training_batch(sequences, rows, 12, generator)
        return [batch.items.tolist(), batch.targets.items.tolist()]

    generator = np.random.default_rng(0)
    first, second = draw(generator), draw(generator)
    assert first != second
    assert first == draw(np.random.default_rng(0))


def test_settings_become_tasks():
    assert isinstance(build_task(NextItemSettings(), ITEMS), NextItem)
    assert build_task(ClozeSettings(0.2, 0.1), ITEMS).mask == ITEMS
    assert build_task(RecencySamplingSettings(0.2, 0.8), ITEMS).settings.recency == 0.8
    assert build_task(EveryPrefixSettings(4), ITEMS).settings.prefixes == 4
    masked = build_task(MaskedThenLastSettings(0, 7), ITEMS)
    assert isinstance(masked, MaskedThenLast)
    assert (masked.mask, masked.pretraining_epochs) == (ITEMS, 7)
    assert isinstance(masked, StagedTask)
    assert not isinstance(build_task(EveryPrefixSettings(4), ITEMS), StagedTask)
    with pytest.raises(TypeError, match="no task"):
        build_task(None, ITEMS)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ClozeSettings, (0.0, 0.1), "masked_share must be above 0"),
        (ClozeSettings, (1.0, 0.1), "masked_share must be above 0 and below 1"),
        (ClozeSettings, (0.2, 1.1), "last_item_share must be from 0 to 1"),
        (RecencySamplingSettings, (1.0, 0.8), "sampled_share must be above 0 and below 1"),
        (RecencySamplingSettings, (0.2, 0.0), "recency must be above 0"),
        (RecencySamplingSettings, (0.2, 1.5), "recency must be above 0 and at most 1"),
        (EveryPrefixSettings, (-1,), "prefixes must not be negative, not -1; 0 takes all"),
        (MaskedThenLastSettings, (-1, 3), "prefixes must not be negative, not -1; 0 takes all"),
        (MaskedThenLastSettings, (0, -1), "pretraining_epochs must not be negative, not -1"),
        (MaskedThenLastSettings, (0, 1, -1), "pretraining_steps must not be negative, not -1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(*values)


def test_masks_go_with_models_that_read_them():
    class ReadsMasks:
        reads_masks = True

    cloze, other = ClozeSettings(0.2, 0.1), NextItemSettings()
    check_task_of_model(cloze, ReadsMasks())
    check_task_of_model(other, object())
    with pytest.raises(ValueError, match="no vector for a mask"):
        check_task_of_model(cloze, object())
    with pytest.raises(ValueError, match="needs the task cloze"):
        check_task_of_model(other, ReadsMasks())


def test_models_that_fill_in_one_item_need_a_task_that_masks_one():
    class ReadsOneMask:
        reads_masks = True
        reads_one_mask = True

    class ReadsMasks:
        reads_masks = True

    check_task_of_model(MaskedThenLastSettings(0, 3), ReadsOneMask())
    check_task_of_model(MaskedThenLastSettings(0, 3), ReadsMasks())
    with pytest.raises(ValueError, match="no vector for a mask"):
        check_task_of_model(MaskedThenLastSettings(0, 3), object())
    with pytest.raises(ValueError, match="the task masks several; it needs the task masked_then_last"):
        check_task_of_model(ClozeSettings(0.2, 0.1), ReadsOneMask())
    with pytest.raises(ValueError, match="needs the task masked_then_last"):
        check_task_of_model(EveryPrefixSettings(0), ReadsOneMask())


def test_models_that_read_later_items_need_samples_that_end_before_their_target():
    class ReadsLaterItems:
        reads_later_items = True

    check_task_of_model(EveryPrefixSettings(0), ReadsLaterItems())
    # its inputs hold no target
    check_task_of_model(RecencySamplingSettings(0.2, 0.8), ReadsLaterItems())
    check_task_of_model(EveryPrefixSettings(0), object())
    with pytest.raises(ValueError, match="use the task every_prefix"):
        check_task_of_model(NextItemSettings(), ReadsLaterItems())
