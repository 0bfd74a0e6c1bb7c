"""A bundle: a fitted recommender as one folder that takes and gives item ids.

It needs neither the training set nor the recipes that the recommender came from, and knows no user. Fusions and
re-rankings are whole with their parts. :mod:`ml.release.write_bundle` writes one, and :mod:`ml.release.contents` lists
what is in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ml.data.sequences import Sequences
from ml.extras import require
from ml.recommender import LANGUAGE_MODEL, MODEL, NO_ITEM, Recommendations, Recommender
from ml.release.contents import (
    BUNDLE_FILE,
    CATALOGUE_FILE,
    GRAPH_FOLDER,
    RECOMMENDERS,
    BundleError,
    damaged,
    read_about,
    read_catalogue,
)
from ml.release.similar import read_item_graph, similar_by_graph, similar_by_vectors

__all__ = ["BLOCK", "Bundle", "BundleError", "Lists", "load"]

# histories that a recommender is asked for at a time: as many as for rankings, so that lists are equal bit for bit
BLOCK = 4096
# cells of lists that are looked through at a time, where only some items are allowed
_CELLS_AT_ONCE = 1 << 24
# modules without which a kind cannot be loaded
_NEEDED = {
    MODEL: ("train", ("torch", "safetensors")),
    LANGUAGE_MODEL: ("train", ("torch", "safetensors")),
}


@dataclass(frozen=True)
class Lists:
    """Recommended items for many histories.

    Attributes:
        items: item ids, best first; shorter than asked for where fewer items are allowed and not excluded.
        scores: the recommender's own, never rising within a list.
        skipped: ids of each history that the catalogue does not hold.
    """

    items: list[list[str]]
    scores: list[list[float]]
    skipped: list[int]


def load(folder: Path | str) -> Bundle:
    """Open a bundle: read what it says of itself and check that every file is as it was written.

    The recommender itself is loaded when it is first asked.

    Raises:
        BundleError: there is no bundle, it is of another format, or a file is missing or damaged; the message names it
            and the remedy.
    """
    return Bundle(Path(os.path.realpath(folder)))


class Bundle:
    """A released recommender.

    Attributes:
        folder: where it is; of a versioned folder the version that was current when it was opened.
        name: of the recommender.
        title: shown to readers.
        kind: one of :data:`ml.recommender.KINDS`.
        dataset: that it was fitted on.
        items: size of the catalogue.
        item_ids: bytes ``[items]``, ascending.
        interactions: of each item in the training histories, int64 ``[items]``.
        protocol: how the data were cleaned and split.
        digests: SHA-256 of ``training_set``, ``catalogue`` and ``recommender``.
        fitted_on: ``train``, ``train+validation`` or ``everything``.
        exclude_seen: whether lists leave the items of a history out, unless told otherwise.
        reads_times: whether :meth:`recommend` needs ``times``.
        described: what else the release says of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.about = read_about(folder)
        self.name: str = self.about["name"]
        self.title: str = self.about["title"]
        self.kind: str = self.about["kind"]
        self.dataset: str = self.about["dataset"]
        self.items: int = self.about["items"]
        self.protocol: dict = self.about["protocol"]
        self.digests: dict = self.about["digests"]
        self.fitted_on: str = self.about["fitted_on"]
        self.exclude_seen: bool = self.about["exclude_seen"]
        self.reads_times: bool = self.about["reads_times"]
        self.described: dict = self.about["described"]
        catalogue = read_catalogue(folder)
        self.item_ids, self.interactions = catalogue.item_ids, catalogue.interactions
        self._titles = catalogue.titles
        if len(self.item_ids) != self.items:
            raise damaged(folder, f"{BUNDLE_FILE} says {self.items} items, {CATALOGUE_FILE} {len(self.item_ids)}")

    @cached_property
    def titles(self) -> list[str]:
        """Title of each item, empty where it is not known, ``[items]``."""
        return self._titles.to_pylist()

    def titles_of(self, items: Sequence[int]) -> list[str]:
        """Titles of item indices, without a text in memory for each item of the catalogue."""
        return [self._titles[item].as_py() for item in items]

    def ids_of(self, items: Sequence[int]) -> list[str]:
        """Ids of item indices."""
        return [self.item_ids[item].decode() for item in items]

    @cached_property
    def recommender(self) -> Recommender:
        """The recommender itself, which works on item indices; loaded once.

        Raises:
            MissingExtra: an extra that it needs is not installed.
            BundleError: its files do not go with this version of raw2rank.
        """
        from ml.recommenders.load import load as load_by_name

        for kind in dict.fromkeys(part["kind"] for part in self.about["recommenders"].values()):
            if kind in _NEEDED:
                extra, modules = _NEEDED[kind]
                require(extra, f"the bundle {self.folder} ({self.title})", modules)
        kinds = _KindsOfBundle(self.about["recommenders"])
        try:
            return load_by_name(self.name, lambda part: self.folder / RECOMMENDERS / part, kinds, self.items)
        except ValueError as error:
            # its files are as they were written: they are of another version of the project
            raise BundleError(
                f"the recommender {self.name} of the bundle {self.folder} cannot be loaded ({error}): use the version "
                "of raw2rank that wrote the bundle, or release it again"
            ) from error

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        exclude_seen: bool | None = None,
        allowed: Collection[str] | None = None,
        excluded: Collection[str] | None = None,
        times: Sequence[Sequence[int]] | None = None,
    ) -> Lists:
        """The k best items for each history, oldest item first.

        Ids that the catalogue does not hold are skipped and counted. A history without a known item is answered as
        an empty one: with the most popular items.

        Args:
            histories: item ids.
            k: length of the lists, from 1 to :attr:`items`.
            exclude_seen: leave the items of a history out of its list; :attr:`exclude_seen` where ``None``.
            allowed: ids of the only items that may be recommended; all where ``None``.
            excluded: ids of items that may not. In both, ids that the catalogue does not hold change nothing.
            times: when each item of a history was interacted with, seconds since 1970; read by few models
                (:attr:`reads_times`), ignored by the others.

        Raises:
            ValueError: k, a history or its times are not as they must be.
            MissingExtra: an extra that the recommender needs is not installed.
        """
        encoded, skipped = self.encode(histories, times)
        answer = self.ranked(encoded, k, exclude_seen, self.mask(allowed, excluded))
        identities = self.identities(answer.items)
        lengths = (answer.items != NO_ITEM).sum(axis=1)
        return Lists(
            items=[row[:length] for row, length in zip(identities, lengths, strict=True)],
            scores=[row[:length] for row, length in zip(answer.scores.tolist(), lengths, strict=True)],
            skipped=skipped,
        )

    def similar_items(self, item: str, k: int = 10) -> list[tuple[str, float]]:
        """The items most similar to one, best first, with their scores.

        Where the model has item vectors the score is their cosine. Otherwise it is that of a walk of one or two steps
        over the graph of items that stood side by side in the training histories (:mod:`ml.release.similar`), which
        may reach fewer than k items.

        Raises:
            ValueError: k is not from 1 to :attr:`items`, or the catalogue does not hold the item.
        """
        self._check_k(k)
        index = int(self.indices([item])[0])
        if index == NO_ITEM:
            raise ValueError(f"the catalogue of {self.dataset} holds no item {item!r}: give one of Bundle.item_ids")
        found = similar_by_vectors(self.recommender, index, k)
        if found is None:
            found = similar_by_graph(self._item_graph, index, k)
        return [(self.item_ids[other].decode(), score) for other, score in found]

    @cached_property
    def _item_graph(self) -> Any:
        return read_item_graph(self.folder / GRAPH_FOLDER)

    def indices(self, item_ids: Iterable[str]) -> np.ndarray:
        """Item index of each id, int64; ``NO_ITEM`` for those that the catalogue does not hold.

        Raises:
            ValueError: an id is no text.
        """
        wanted = list(item_ids)
        for item in wanted:
            if not isinstance(item, str):
                raise ValueError(f"item ids are texts, and {item!r} is none: give them as they are in the data")
        if not wanted or not self.items:
            return np.full(len(wanted), NO_ITEM, dtype=np.int64)
        encoded = np.array([item.encode(errors="surrogatepass") for item in wanted], dtype=np.bytes_)
        place = np.minimum(np.searchsorted(self.item_ids, encoded), self.items - 1)
        found = self.item_ids[place] == encoded
        # numpy drops zeros at the end of bytes
        found &= np.array([not item.endswith("\0") for item in wanted])
        return np.where(found, place, NO_ITEM)

    def encode(
        self, histories: Sequence[Sequence[str]], times: Sequence[Sequence[int]] | None = None
    ) -> tuple[Sequences, list[int]]:
        """Histories of ids as histories of item indices, and how many ids of each the catalogue does not hold.

        Raises:
            ValueError: a history is no list of texts, or does not go with its times.
        """
        if isinstance(histories, str | bytes):
            raise ValueError("histories are a list of lists of item ids, not a text: recommend([[id, id]])")
        for row, history in enumerate(histories):
            if isinstance(history, str | bytes) or not isinstance(history, Iterable):
                raise ValueError(
                    f"history {row} is {history!r}, and must be a list of item ids: recommend([[id, id]]) for one user"
                )
        rows = [list(history) for history in histories]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        items = self.indices(item for row in rows for item in row)
        held = items != NO_ITEM
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        before = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
        known = before[offsets]
        moments = None if times is None or not self.reads_times else _times(times, lengths)[held]
        if self.reads_times and moments is None and held.any():
            raise ValueError(
                f"{self.title} reads when the items of a history were interacted with: give times, one list of seconds "
                "since 1970 a history, as long as the history"
            )
        sequences = Sequences(items[held].astype(np.int32), known, times=moments)
        return sequences, (lengths - np.diff(known)).tolist()

    def mask(self, allowed: Collection[str] | None, excluded: Collection[str] | None) -> np.ndarray | None:
        """Which items may be recommended, bool ``[items]``; ``None`` where all may."""
        for name, given in (("allowed", allowed), ("excluded", excluded)):
            if isinstance(given, str | bytes):
                raise ValueError(f"{name} is a collection of item ids, not a text: give a list with one id")
        if allowed is None and not excluded:
            return None
        mask = np.ones(self.items, dtype=bool) if allowed is None else self._holds(allowed)
        return mask & ~self._holds(excluded) if excluded else mask

    def _holds(self, item_ids: Iterable[str]) -> np.ndarray:
        chosen = np.zeros(self.items, dtype=bool)
        found = self.indices(item_ids)
        chosen[found[found != NO_ITEM]] = True
        return chosen

    def identities(self, items: np.ndarray) -> list[list[str]]:
        """Ids of item indices, ``[rows, k]``; ``""`` beside ``NO_ITEM``."""
        if not self.items:
            return [["" for _ in row] for row in items]
        names = np.char.decode(self.item_ids[items], "utf-8")
        return np.where(items == NO_ITEM, "", names).tolist()

    def ranked(
        self, histories: Sequences, k: int, exclude_seen: bool | None = None, mask: np.ndarray | None = None
    ) -> Recommendations:
        """The lists of :meth:`recommend` in item indices.

        Histories are asked for in blocks of :data:`BLOCK`, as the rankings of a run are, so that the lists of the
        test users are equal to these bit for bit. With a mask lists are made deeper until they hold k allowed items.

        Args:
            histories: in the indices of :attr:`item_ids`, with times where :attr:`reads_times`.
            k: length of the lists.
            exclude_seen: as in :meth:`recommend`.
            mask: which items may be recommended, bool ``[items]``; ``None`` for all.
        """
        self._check_k(k)
        exclude_seen = self.exclude_seen if exclude_seen is None else bool(exclude_seen)
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for start in range(0, len(histories), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(histories)))
            block = histories.take(rows)
            found = (
                self.recommender.recommend(block, k, exclude_seen)
                if mask is None
                else _allowed_lists(self.recommender, block, k, exclude_seen, mask)
            )
            items[rows], scores[rows] = found.items, found.scores
        return Recommendations(items, scores)

    def _check_k(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= self.items:
            raise ValueError(f"k must be a whole number from 1 to {self.items}, the size of the catalogue, not {k!r}")


@dataclass(frozen=True)
class _KindsOfBundle:
    parts: Mapping[str, Mapping[str, str]]

    def kind_of(self, name: str) -> str:
        return self.parts[name]["kind"]


def _times(times: Sequence[Sequence[int]], lengths: np.ndarray) -> np.ndarray:
    """Times end to end, int64.

    Raises:
        ValueError: they do not go with the histories.
    """
    rows = [list(row) for row in times]
    if [len(row) for row in rows] != lengths.tolist():
        raise ValueError("times must be one list a history, each as long as its history")
    flat = [moment for row in rows for moment in row]
    if any(isinstance(moment, bool) or not isinstance(moment, int | np.integer) for moment in flat):
        raise ValueError("times are whole seconds since 1970")
    try:
        return np.array(flat, dtype=np.int64)
    except OverflowError as error:
        raise ValueError("times are whole seconds since 1970, of 64 bits: one of them is larger") from error


def _allowed_lists(
    recommender: Recommender, histories: Sequences, k: int, exclude_seen: bool, mask: np.ndarray
) -> Recommendations:
    """The first k allowed items of each list, which is asked for as deep as that takes."""
    items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
    scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
    catalogue, usable = len(mask), int(mask.sum())
    if not usable:
        return Recommendations(items, scores)
    # k allowed items are in as many as there are hidden ones, and k
    deepest = min(catalogue, catalogue - usable + k)
    depth = min(deepest, 2 * -(-k * catalogue // usable))
    lacking = np.arange(len(histories))
    while len(lacking):
        again = []
        at_once = max(1, _CELLS_AT_ONCE // depth)
        for start in range(0, len(lacking), at_once):
            rows = lacking[start : start + at_once]
            found = recommender.recommend(histories.take(rows), depth, exclude_seen)
            kept = (found.items != NO_ITEM) & mask[found.items]
            rank = np.cumsum(kept, axis=1) - 1
            row, place = np.nonzero(kept & (rank < k))
            items[rows[row], rank[row, place]] = found.items[row, place]
            scores[rows[row], rank[row, place]] = found.scores[row, place]
            again.append(rows[(rank[:, -1] + 1 < k) & (found.items[:, -1] != NO_ITEM)])
        if depth == deepest:
            break
        lacking, depth = np.concatenate(again), min(deepest, 4 * depth)
    return Recommendations(items, scores)
