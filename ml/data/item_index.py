"""One catalogue and another: the same item has another index in a training set made later.

An item index is a place in the sorted identities of one training set. A recommender knows the catalogue that it
was fitted on, by its size alone; histories of a newer training set are carried over before it is asked.
"""

from __future__ import annotations

import numpy as np

from ml.data.sequences import Sequences

NOT_HELD = -1


def check_items(histories: Sequences, items: int) -> None:
    """Refuse histories with an item that a catalogue does not hold.

    Args:
        histories: ``[rows]``.
        items: size of the catalogue.

    Raises:
        ValueError: an index is negative, or not below ``items``; the message says what to do.
    """
    if len(histories.items) and not (histories.items.min() >= 0 and histories.items.max() < items):
        raise ValueError(
            f"a history holds an item index outside the catalogue of {items} items that this recommender was fitted "
            "on: fit it again on the present training set, or carry the histories over to its catalogue with "
            "ml.data.item_index.translate, which leaves out items added since"
        )


def indices_in(from_item_ids: np.ndarray, to_item_ids: np.ndarray) -> np.ndarray:
    """Index of each item of one catalogue in another, int64 ``[from items]``; ``NOT_HELD`` where it has none.

    Args:
        from_item_ids: identities of the one, bytes, ascending.
        to_item_ids: identities of the other, bytes, ascending.

    Raises:
        ValueError: identities are not in ascending order, or one is there twice.
    """
    for name, identities in (("from_item_ids", from_item_ids), ("to_item_ids", to_item_ids)):
        if (np.asarray(identities[1:]) <= np.asarray(identities[:-1])).any():
            raise ValueError(f"{name} must be in ascending order, each identity once, as TrainingSet.item_ids is")
    if len(to_item_ids) == 0:
        return np.full(len(from_item_ids), NOT_HELD, dtype=np.int64)
    place = np.minimum(np.searchsorted(to_item_ids, from_item_ids), len(to_item_ids) - 1)
    return np.where(np.asarray(to_item_ids)[place] == from_item_ids, place, NOT_HELD)


def translate(histories: Sequences, from_item_ids: np.ndarray, to_item_ids: np.ndarray) -> Sequences:
    """The same histories in the indices of another catalogue, less the items that it does not hold.

    With it a recommender fitted earlier answers for a newer training set: its lists are in the indices of its own
    catalogue, ``to_item_ids[list]`` says which items they are. A row may be left empty; none is left out. Users are
    not carried over: their indices are of one training set, too.

    Args:
        histories: ``[rows]``, in the indices of ``from_item_ids``.
        from_item_ids: identities of the catalogue of the histories, bytes, ascending.
        to_item_ids: identities of the catalogue that the recommender was fitted on, bytes, ascending.

    Raises:
        ValueError: identities are not in ascending order, or a history holds an index that ``from_item_ids`` does
            not.
    """
    if len(histories.items) and not 0 <= histories.items.min() <= histories.items.max() < len(from_item_ids):
        raise ValueError(
            f"a history holds an item index outside from_item_ids ({len(from_item_ids)} identities): give the "
            "item_ids of the training set that the histories are of"
        )
    items = indices_in(from_item_ids, to_item_ids)[histories.items]
    held = items != NOT_HELD
    offsets = np.concatenate([[0], np.cumsum(held)])[histories.offsets]
    times = None if histories.times is None else np.asarray(histories.times)[held]
    return Sequences(items[held].astype(np.int32), offsets.astype(np.int64), times=times)
