"""The identifiers of a catalogue as a prefix tree, in arrays.

An identifier is a tuple of codes, one for each level. In the lexicographic order of identifiers, the children of a node
are a contiguous block of the level below, so a node is an index, its children are a range, and no dictionaries are
needed: following many prefixes of many users is one gather per level. The same layout (compressed sparse rows) is used
by STATIC ("Vectorizing the Trie", arXiv 2602.22647).

The tree is data, not weights: a catalogue with new items gets a new tree, and a model that scores codes needs no new
weights. The numbers of nodes change, the codes on the path to an item do not.

Needs numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.data.files import whole

FILE = "trie.npz"
# collisions named in an error
_SHOWN = 3


@dataclass(frozen=True)
class Trie:
    """The identifiers of all items as a prefix tree.

    A node of level ``l`` (from 0) is a distinct prefix of ``l + 1`` codes. The nodes of a level are numbered in the
    lexicographic order of their prefixes, so that the children of a node are contiguous in the next level.

    Attributes:
        codes: for each level the last code of each node's prefix, int64 ``[nodes of the level]``.
        parents: for each level each node's parent in the level above, int64 ``[nodes of the level]``; zeros in level
            0, whose parent is the root.
        child_offsets: ``child_offsets[l]`` gives the children in level ``l`` of each node of level ``l - 1``: node
            ``n`` has those from ``child_offsets[l][n]`` up to, not including, ``child_offsets[l][n + 1]``; int64
            ``[nodes of level l - 1, plus 1]``. In level 0 it is ``[0, nodes of level 0]``, the children of the root.
        leaf_items: the item of each node of the last level, int64 ``[items]``.
        paths: the node of each item in each level, int64 ``[items, levels]``.
    """

    codes: tuple[np.ndarray, ...]
    parents: tuple[np.ndarray, ...]
    child_offsets: tuple[np.ndarray, ...]
    leaf_items: np.ndarray
    paths: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Trie:
        """The tree of the given identifiers.

        Args:
            values: the codes of each item, integers from 0, ``[items, levels]``; every row occurs once.

        Raises:
            ValueError: there is no item or no level, a code is negative or no integer, or items share an identifier.
        """
        if values.ndim != 2 or values.dtype.kind not in "iu":
            raise ValueError(
                f"identifiers are integers [items, levels], not {values.dtype} of shape {list(values.shape)}"
            )
        items, levels = values.shape
        if items == 0 or levels == 0:
            raise ValueError(f"a prefix tree needs an item and a level at least, not {items} items of {levels} levels")
        values = values.astype(np.int64)
        if values.min() < 0:
            raise ValueError(f"codes are numbered from 0, and there is a code {values.min()}")
        order = np.lexsort(values.T[::-1])
        ordered = values[order]
        # whether an item begins a new prefix of l + 1 codes: one of these differs from those of the item before it
        begins = np.ones((items, levels), dtype=bool)
        begins[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        _refuse_shared(values, order, begins[:, -1])
        nodes = np.cumsum(begins, axis=0) - 1
        paths = np.empty_like(nodes)
        paths[order] = nodes
        codes, parents, offsets = [], [], []
        for level in range(levels):
            first = np.flatnonzero(begins[:, level])
            above = nodes[first, level - 1] if level else np.zeros(len(first), dtype=np.int64)
            codes.append(ordered[first, level])
            parents.append(above)
            offsets.append(np.searchsorted(above, np.arange(above[-1] + 2)))
        return cls(tuple(codes), tuple(parents), tuple(offsets), order.astype(np.int64), paths)

    @property
    def items(self) -> int:
        return len(self.leaf_items)

    @property
    def levels(self) -> int:
        return len(self.codes)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The number of nodes of each level."""
        return tuple(len(codes) for codes in self.codes)

    @property
    def most_children(self) -> tuple[int, ...]:
        """For each level the largest number of nodes that share a parent."""
        return tuple(int(np.diff(offsets).max()) for offsets in self.child_offsets)

    @property
    def values(self) -> np.ndarray:
        """The identifiers of all items, int64 ``[items, levels]``: what :meth:`of` was given."""
        return np.stack([codes[self.paths[:, level]] for level, codes in enumerate(self.codes)], axis=1)

    def save(self, folder: Path) -> None:
        """Write ``trie.npz`` into an existing folder."""
        by_level = {"codes": self.codes, "parents": self.parents, "child_offsets": self.child_offsets}
        arrays = {f"{name}_{level}": each for name, levels in by_level.items() for level, each in enumerate(levels)}
        np.savez(folder / FILE, allow_pickle=False, leaf_items=self.leaf_items, paths=self.paths, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Trie:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedFile: the file is missing, cut short, or its arrays are not those of one tree.
        """
        with whole(folder):
            with np.load(folder / FILE, allow_pickle=False) as saved:
                levels = range(saved["paths"].shape[1])
                codes, parents, offsets = (
                    tuple(saved[f"{name}_{level}"] for level in levels)
                    for name in ("codes", "parents", "child_offsets")
                )
                trie = cls(codes, parents, offsets, saved["leaf_items"], saved["paths"])
            if not trie.equals(cls.of(trie.values)):
                raise ValueError(f"the arrays of {FILE} are not those of one prefix tree")
            return trie

    def equals(self, other: Trie) -> bool:
        """Whether all arrays are equal."""
        return all(
            len(mine) == len(theirs) and all(np.array_equal(*pair) for pair in zip(mine, theirs, strict=True))
            for mine, theirs in zip(self._arrays(), other._arrays(), strict=True)
        )

    def _arrays(self) -> tuple[tuple[np.ndarray, ...], ...]:
        return self.codes, self.parents, self.child_offsets, (self.leaf_items, self.paths)


def _refuse_shared(values: np.ndarray, order: np.ndarray, begins: np.ndarray) -> None:
    """Refuse identifiers that several items have.

    Args:
        values: identifiers, ``[items, levels]``.
        order: items in the lexicographic order of their identifiers.
        begins: of each item in this order, whether its identifier differs from that of the item before it.
    """
    if begins.all():
        return
    repeated = np.flatnonzero(~begins)
    examples = "; ".join(
        f"items {order[place - 1]} and {order[place]} both have {tuple(values[order[place]].tolist())}"
        for place in repeated[:_SHOWN]
    )
    raise ValueError(
        f"{len(repeated):,} of {len(values):,} items have the identifier of another item ({examples}"
        f"{'; ...' if len(repeated) > _SHOWN else ''}): a prefix tree needs codes in which every item has a unique "
        'identifier (collisions = "resolved" in the recipe of the codes)'
    )
