"""The prefix tree of identifiers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generation_toys import identifiers
from hypothesis import given, settings

from ml.codes.codes import Codes
from ml.codes.trie import FILE, Trie
from ml.data.files import DamagedFile


@given(identifiers())
@settings(deadline=None)
def test_nodes_are_the_distinct_prefixes_and_children_are_contiguous(values: np.ndarray) -> None:
    trie = Trie.of(values)
    for level in range(trie.levels):
        prefixes = sorted({tuple(row[: level + 1]) for row in values.tolist()})
        assert trie.nodes[level] == len(prefixes)
        assert [tuple(values[item, : level + 1].tolist()) for item in _items_of_nodes(trie, level)] == prefixes
        assert trie.codes[level].tolist() == [prefix[-1] for prefix in prefixes]
        offsets = trie.child_offsets[level]
        assert (offsets[0], offsets[-1]) == (0, trie.nodes[level])
        assert len(offsets) == (trie.nodes[level - 1] if level else 1) + 1
        assert (np.diff(offsets) > 0).all()
        np.testing.assert_array_equal(np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), trie.parents[level])
        assert trie.most_children[level] == np.bincount(trie.parents[level]).max()


def _items_of_nodes(trie: Trie, level: int) -> list[int]:
    """One item below each node of a level."""
    return [int(np.flatnonzero(trie.paths[:, level] == node)[0]) for node in range(trie.nodes[level])]


@given(identifiers())
@settings(deadline=None)
def test_leaves_and_items_are_a_bijection(values: np.ndarray) -> None:
    trie = Trie.of(values)
    assert trie.items == trie.nodes[-1] == len(values)
    np.testing.assert_array_equal(np.sort(trie.leaf_items), np.arange(len(values)))
    np.testing.assert_array_equal(trie.paths[trie.leaf_items, -1], np.arange(len(values)))
    np.testing.assert_array_equal(trie.values, values)


@given(identifiers())
@settings(deadline=None)
def test_the_tree_does_not_depend_on_the_order_of_the_items(values: np.ndarray) -> None:
    trie, turned = Trie.of(values), Trie.of(values[::-1])
    for one, other in zip(
        trie.codes + trie.parents + trie.child_offsets,
        turned.codes + turned.parents + turned.child_offsets,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(turned.leaf_items, len(values) - 1 - trie.leaf_items)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_codes_of_any_integer_type_make_one_tree(kind: type[np.integer]) -> None:
    values = np.array([[3, 1], [0, 2], [3, 0]])
    assert Trie.of(values.astype(kind)).equals(Trie.of(values))


def test_a_saved_tree_is_loaded_as_it_was(tmp_path: Path) -> None:
    trie = Trie.of(np.array([[3, 1, 0], [0, 2, 2], [3, 0, 1], [3, 1, 1]], dtype=np.uint8))
    trie.save(tmp_path)
    loaded = Trie.load(tmp_path)
    assert loaded.equals(trie)
    assert {each.dtype for each in (*loaded.codes, *loaded.parents, loaded.leaf_items, loaded.paths)} == {
        np.dtype("i8")
    }


def test_saving_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    trie = Trie.of(np.array([[3, 1], [0, 2]]))
    trie.save(tmp_path)
    first = (tmp_path / FILE).read_bytes()
    trie.save(tmp_path)
    assert (tmp_path / FILE).read_bytes() == first


def test_a_file_that_is_cut_short_or_holds_no_tree_is_refused(tmp_path: Path) -> None:
    trie = Trie.of(np.array([[3, 1], [0, 2], [3, 0]]))
    with pytest.raises(DamagedFile, match=FILE):
        Trie.load(tmp_path)
    trie.save(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile):
        Trie.load(tmp_path)
    swapped = Trie(trie.codes, trie.parents, trie.child_offsets, trie.leaf_items[::-1].copy(), trie.paths)
    swapped.save(tmp_path)
    with pytest.raises(DamagedFile, match="not those of one prefix tree"):
        Trie.load(tmp_path)


def test_items_that_share_an_identifier_are_refused_by_name() -> None:
    values = np.array([[1, 2], [0, 0], [1, 2], [1, 2]])
    with pytest.raises(ValueError, match=r"2 of 4 items .*items 0 and 2 both have \(1, 2\).*resolved"):
        Trie.of(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((0, 3), dtype=np.uint8), "0 items of 3 levels"),
        (np.zeros((3, 0), dtype=np.uint8), "3 items of 0 levels"),
        (np.zeros((3, 1)), "integers"),
        (np.zeros(3, dtype=np.int64), "integers"),
        (np.array([[0], [-1]]), "code -1"),
    ],
)
def test_what_is_no_table_of_codes_is_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Trie.of(values)


def test_identifiers_are_saved_with_their_tree(tmp_path: Path) -> None:
    values = np.array([[3, 1], [0, 2], [3, 0]], dtype=np.uint8)
    Codes(values, {"name": "made up", "collisions": "resolved"}).save(tmp_path)
    assert Trie.load(tmp_path).equals(Trie.of(values))
    assert Codes.load(tmp_path).values.tolist() == values.tolist()
