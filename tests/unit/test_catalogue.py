"""Histories carried from one catalogue to another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.item_index import NOT_HELD, check_items, indices_in, translate
from ml.data.sequences import Sequences


def identities(names: set[str] | list[str]) -> np.ndarray:
    return np.array(sorted(names), dtype="S")


_CATALOGUES = st.sets(st.text("ab1", min_size=1, max_size=4), max_size=12)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), known=_CATALOGUES, other=_CATALOGUES)
def test_items_keep_their_identity_and_their_order(data, known, other):
    one, two = identities(known), identities(other)
    rows = st.lists(st.integers(0, len(one) - 1), max_size=6) if len(one) else st.just([])
    histories = data.draw(st.lists(rows, max_size=5))
    carried = translate(Sequences.from_lists(histories), one, two)
    assert len(carried) == len(histories)
    assert carried.items.dtype == np.int32
    for row, history in enumerate(histories):
        expected = [one[item] for item in history if one[item].decode() in other]
        assert [two[item] for item in carried[row]] == expected


@given(known=_CATALOGUES, added=_CATALOGUES)
def test_a_catalogue_that_grew_gives_the_way_back(known, added):
    older, newer = identities(known), identities(known | added)
    there = indices_in(older, newer)
    assert (there != NOT_HELD).all()
    np.testing.assert_array_equal(indices_in(newer, older)[there], np.arange(len(older)))


def test_users_stay_behind():
    ids = identities(["a", "b"])
    carried = translate(Sequences.from_lists([[1], [0]]).of_users(np.array([4, 5])), ids, ids)
    assert carried.users is None
    assert carried.items.tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [["b", "a"], ["a", "a"]])
def test_identities_out_of_order_are_refused(wrong):
    right, wrong = identities(["a", "b"]), np.array(wrong, dtype="S")
    with pytest.raises(ValueError, match="from_item_ids must be in ascending order, each identity once"):
        indices_in(wrong, right)
    with pytest.raises(ValueError, match="to_item_ids must be in ascending order, each identity once"):
        translate(Sequences.from_lists([[0]]), right, wrong)


@pytest.mark.parametrize("item", [-1, 2])
def test_histories_of_another_training_set_are_refused(item):
    ids = identities(["a", "b"])
    with pytest.raises(ValueError, match=r"outside from_item_ids \(2 identities\): give the item_ids of"):
        translate(Sequences.from_lists([[0, item]]), ids, ids)
    with pytest.raises(ValueError, match=r"outside the catalogue of 2 items .*fit it again .*translate"):
        check_items(Sequences.from_lists([[0, item]]), 2)


def test_what_is_held_is_let_through():
    check_items(Sequences.from_lists([[0, 1], []]), 2)
    check_items(Sequences.from_lists([[]]), 0)
