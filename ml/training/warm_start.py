"""Warm start: a model that is trained from the weights of an earlier one of the same recipe.

Weights that belong to no item and no user are carried over as they are. Vectors of items and users are carried over by
id: those of items that are gone are dropped, a new item starts from the mean of the ten items known before whose text
is most similar to its own, and from the mean of all known items where it has no text. The optimiser starts fresh.

A warm start saves time, and can end with worse weights than a fresh start does (Ash and Adams, "On Warm-Starting Neural
Network Training", NeurIPS 2020); ``docs/warm_start.md`` has what was measured here.

Where the weights would mean something else in the new model, :func:`carried_over` refuses, and the model is trained
from fresh weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml.data.files import whole
from ml.data.training_set import TrainingSet
from ml.models.belonging import (
    FROM_CATALOGUE,
    OF_CODES,
    OF_ITEMS,
    OF_NODES,
    OF_USER_NUMBERS,
    OF_USERS,
    belonging_of_weights,
)
from ml.models.generating_model import GeneratingModel
from ml.training.item_features import FILE as FEATURES_FILE
from ml.training.item_features import load_features
from ml.training.recipe import Recipe

NEIGHBOURS = 10
# of the variance of the quantised item vectors, at least so much must be left under the new codes
LEAST_KEPT = 0.5
_SAVED = "start.json"
_FILES = ("config.json", "model.safetensors", FEATURES_FILE)
_ROWS_AT_ONCE = 512
# computed again in another batch, vectors of a text encoder differ in their last bits
_SAME_FEATURE = 1e-4


class CannotStartWarm(ValueError):
    """The weights of the earlier model do not go with the new one; the message says why."""


@dataclass(frozen=True)
class Start:
    """An earlier model that a training starts from.

    Attributes:
        folder: that ``SequentialRecommender.save`` filled.
        source: names it in logs: the digest of the release that it is part of.
        item_ids: identity of each of its items, bytes ``[old items]``, ascending.
        text: vectors of the text of the items of the new catalogue, float32 ``[items, text dimensions]``, rows of 0
            for items without text; ``None`` where there is no text.
        user_ids: identity of each of its users, bytes ``[old users]``, ascending; ``None`` where they are not known,
            and users start fresh.
    """

    folder: Path
    source: str
    item_ids: np.ndarray
    text: np.ndarray | None = None
    user_ids: np.ndarray | None = None

    def digest(self) -> str:
        """SHA-256 of all that decides the weights a training starts with, besides the new model."""
        digest = hashlib.sha256(json.dumps([self.source, _config(self.folder)["weights_digest"]]).encode())
        for name, array in self._arrays().items():
            digest.update(f" {name} {array.dtype.str} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write it into an existing folder, with a copy of the earlier model: for a training in another process."""
        for name in _FILES:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)
        for name, array in self._arrays().items():
            np.save(folder / f"start_{name}.npy", array, allow_pickle=False)
        (folder / _SAVED).write_text(json.dumps({"source": self.source}) + "\n", encoding="utf-8")

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"item_ids": self.item_ids, "text": self.text, "user_ids": self.user_ids}
        return {name: array for name, array in arrays.items() if array is not None}


@dataclass(frozen=True)
class ColdStart:
    """Why a training for which a warm start was asked starts from fresh weights.

    Attributes:
        reason: a clause that follows "because".
    """

    reason: str

    def digest(self) -> None:
        """None: the weights are those of a training that was asked for no warm start."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"cold": self.reason}

    def __str__(self) -> str:
        """In one sentence."""
        return f"started from fresh weights, because {self.reason}"

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""
        (folder / _SAVED).write_text(json.dumps(self.as_json()) + "\n", encoding="utf-8")


AnyStart = Start | ColdStart


def load_start(folder: Path) -> AnyStart:
    """Read what ``save`` of a :class:`Start` or :class:`ColdStart` wrote.

    Raises:
        DamagedFile: the folder does not hold what was saved.
    """
    with whole(folder):
        about = json.loads((folder / _SAVED).read_text(encoding="utf-8"))
        if "cold" in about:
            return ColdStart(about["cold"])
        arrays = {
            name: np.load(path, allow_pickle=False)
            for name in ("item_ids", "text", "user_ids")
            if (path := folder / f"start_{name}.npy").exists()
        }
        return Start(folder, about["source"], **arrays)


@dataclass(frozen=True)
class CarriedOver:
    """What a training started from.

    Attributes:
        source: see :class:`Start`.
        known_items: items whose vectors were carried over.
        new_items: items of the new catalogue alone.
        by_text: new items that start from their neighbours by text.
        dropped_items: items of the earlier catalogue alone.
        fresh: weights that start fresh all the same, by name.
    """

    source: str
    known_items: int
    new_items: int
    by_text: int
    dropped_items: int
    fresh: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"fresh": list(self.fresh)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CarriedOver:
        """What :meth:`as_json` returned."""
        return cls(**{**values, "fresh": tuple(values["fresh"])})

    def __str__(self) -> str:
        """In one sentence."""
        new = f"{self.new_items:,} new ones, {self.by_text:,} of them from their neighbours by text"
        fresh = f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        return (
            f"started from the weights of {self.source}: {self.known_items:,} items carried over, {new}, "
            f"{self.dropped_items:,} dropped{fresh}"
        )


def carried_over(
    start: Start,
    recipe: Recipe,
    model: nn.Module,
    item_ids: np.ndarray,
    user_ids: np.ndarray,
    features: Mapping[str, np.ndarray] | None = None,
    pretrained: str | None = None,
) -> tuple[dict[str, Tensor], CarriedOver]:
    """The weights that a model starts with.

    Args:
        start: the earlier model.
        recipe: of the new one.
        model: the new one with fresh weights, which stay as they are.
        item_ids: identity of each of its items, bytes ``[items]``.
        user_ids: identity of each of its users, bytes ``[users]``.
        features: what it reads of items beside their ids (:func:`ml.training.item_features.item_features`).
        pretrained: digest of the weights from other datasets that it would start from otherwise, if any.

    Returns:
        A state dict of the model, on the CPU, and what it consists of.

    Raises:
        CannotStartWarm: the recipe, a size, the codes or the features of the items are others.
        DamagedFile: the folder of the earlier model cannot be read.
    """
    from safetensors.torch import load_file

    config = _config(start.folder)
    if config["recipe_digest"] != recipe.digest():
        raise CannotStartWarm(f"the recipe {recipe.name} has changed since")
    if (config.get("pretrained") or {}).get("digest") != pretrained:
        raise CannotStartWarm("it was trained from other pre-trained weights")
    with whole(start.folder):
        old = load_file(start.folder / "model.safetensors")
    rows = _Rows.of(start.item_ids, item_ids, start.text)
    if not rows.is_known.any():
        raise CannotStartWarm("none of the items was known then")
    _check_features(start.folder, config, recipe, features or {}, rows)
    fresh_weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    kinds = belonging_of_weights(model)
    if isinstance(model, GeneratingModel):
        _check_identifiers(old["codes"], fresh_weights["codes"], rows)
        if OF_NODES in kinds.values() and not rows.same_items:
            raise CannotStartWarm("it has a vector for each node of the tree of identifiers, which is another one now")
    found: dict[str, Tensor] = {}
    fresh: list[str] = []
    for name, kind in kinds.items():
        if kind == FROM_CATALOGUE:
            found[name] = fresh_weights[name]
        elif name not in old:
            raise CannotStartWarm(f"the earlier model has no {name}")
        elif kind == OF_ITEMS:
            _check_shape(name, old[name][:1], fresh_weights[name][:1])
            found[name] = rows.carried(old[name])
        elif kind == OF_USERS:
            _check_shape(name, old[name][:1], fresh_weights[name][:1])
            if start.user_ids is None:
                fresh.append(name)
            found[name] = _users_carried(old[name], start.user_ids, fresh_weights[name], user_ids)
        elif kind == OF_CODES:
            _check_shape(name, old[name], fresh_weights[name])
            codes = f"{name.removesuffix('centroids')}codes"
            found[name] = _centroids_carried(old[name], old[codes], fresh_weights[codes], rows)
        elif kind == OF_USER_NUMBERS:
            fresh.append(name)
            found[name] = fresh_weights[name]
        else:
            _check_shape(name, old[name], fresh_weights[name])
            found[name] = old[name]
    counts = {
        "known_items": int(rows.is_known.sum()),
        "new_items": int((~rows.is_known).sum()),
        "by_text": 0 if rows.neighbours is None else int(rows.has_neighbours.sum()),
        "dropped_items": len(start.item_ids) - int(rows.is_known.sum()),
    }
    return found, CarriedOver(start.source, fresh=tuple(fresh), **counts)


def begin_warm(
    start: AnyStart | None,
    recipe: Recipe,
    model: nn.Module,
    training_set: TrainingSet,
    features: Mapping[str, np.ndarray],
    pretrained: str | None,
) -> CarriedOver | ColdStart | None:
    """Set the fresh weights of a model to those of a start, as far as it has them; what the model starts from.

    Args:
        start: the earlier model, or why there is none; ``None`` where no warm start was asked for.
        recipe, model, features, pretrained: see :func:`carried_over`.
        training_set: that the model is trained on.

    Raises:
        DamagedFile: the folder of the earlier model cannot be read.
    """
    if start is None or isinstance(start, ColdStart):
        return start
    try:
        weights, carried = carried_over(
            start, recipe, model, training_set.item_ids, training_set.user_ids, features, pretrained
        )
    except CannotStartWarm as error:
        return ColdStart(str(error))
    model.load_state_dict(weights)
    return carried


@dataclass(frozen=True)
class _Rows:
    """Where the rows of the new catalogue come from.

    Attributes:
        is_known: which items the earlier catalogue held, bool ``[items]``.
        place: their places in it, int64 ``[items]``; 0 for new items.
        has_neighbours: which of the new items, in their order, have text and neighbours by it, bool ``[new items]``.
        neighbours: items of the new catalogue that were known, int64 ``[of these, at most 10]``; ``None`` for none.
        same_items: whether the catalogue holds the same items as before.
    """

    is_known: Tensor
    place: Tensor
    has_neighbours: Tensor
    neighbours: Tensor | None
    same_items: bool

    @classmethod
    def of(cls, old_ids: np.ndarray, new_ids: np.ndarray, text: np.ndarray | None) -> _Rows:
        is_known, place = _places(old_ids, new_ids)
        new = ~is_known
        has_text: np.ndarray = np.zeros(len(new_ids), dtype=bool) if text is None else np.asarray(text.any(axis=1))
        compared = np.flatnonzero(is_known & has_text)
        asking = np.flatnonzero(new & has_text)
        neighbours = None
        has_neighbours = np.zeros(int(new.sum()), dtype=bool)
        if text is not None and len(compared) and len(asking):
            nearest = _nearest(torch.from_numpy(text[asking]), torch.from_numpy(text[compared]))
            neighbours = torch.from_numpy(compared)[nearest]
            has_neighbours = has_text[new]
        return cls(
            is_known=torch.from_numpy(is_known),
            place=torch.from_numpy(place),
            has_neighbours=torch.from_numpy(has_neighbours),
            neighbours=neighbours,
            same_items=bool(is_known.all()) and len(old_ids) == len(new_ids),
        )

    def carried(self, old: Tensor) -> Tensor:
        """Rows of the new catalogue, ``[items, ...]``, of those of the earlier one, ``[old items, ...]``."""
        rows = old[self.place]
        fresh = rows[self.is_known].double().mean(dim=0).expand(int((~self.is_known).sum()), *old.shape[1:]).clone()
        if self.neighbours is not None:
            fresh[self.has_neighbours] = rows[self.neighbours].double().mean(dim=1)
        rows[~self.is_known] = fresh.to(rows.dtype)
        return rows


def _places(old_ids: np.ndarray, new_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which new ids are among the old ones, which ascend, bool ``[new]``, and where, int64 ``[new]``."""
    if not len(old_ids):
        return np.zeros(len(new_ids), dtype=bool), np.zeros(len(new_ids), dtype=np.int64)
    place = np.minimum(np.searchsorted(old_ids, new_ids), len(old_ids) - 1)
    is_known = np.asarray(old_ids[place] == new_ids)
    return is_known, np.where(is_known, place, 0).astype(np.int64)


def _nearest(asking: Tensor, compared: Tensor) -> Tensor:
    """Rows of ``compared`` with the highest cosine, at most :data:`NEIGHBOURS`, the first of equal ones."""
    compared = F.normalize(compared.double(), dim=1)
    found = []
    for start in range(0, len(asking), _ROWS_AT_ONCE):
        cosines = F.normalize(asking[start : start + _ROWS_AT_ONCE].double(), dim=1) @ compared.T
        found.append(cosines.sort(dim=1, descending=True, stable=True).indices[:, :NEIGHBOURS])
    return torch.cat(found)


def _users_carried(old: Tensor, old_ids: np.ndarray | None, fresh: Tensor, new_ids: np.ndarray) -> Tensor:
    """User vectors of those known before; new users, and all where ids are not known, start fresh."""
    if old_ids is None:
        return fresh
    is_known, place = _places(old_ids, new_ids)
    return torch.where(torch.from_numpy(is_known)[:, None], old[torch.from_numpy(place)] if len(old) else fresh, fresh)


def _centroids_carried(centroids: Tensor, old_codes: Tensor, codes: Tensor, rows: _Rows) -> Tensor:
    """Code vectors for new codes, ``[books, codes, width]``: of each code the mean of what the known items that it
    stands for had, else of what new ones start from; a code in no use keeps its vector.

    Where the codes of known items are the same, or the same by other numbers, these are the old vectors.

    Raises:
        CannotStartWarm: too little of the old item vectors is left.
    """
    books = torch.arange(centroids.shape[0])
    vectors = rows.carried(centroids[books, old_codes.long()]).double()
    known = rows.is_known
    found = centroids.double().clone()
    for book in books:
        for chosen in (~known, known):
            members = codes[chosen, book].long()
            counts = torch.bincount(members, minlength=found.shape[1])
            sums = torch.zeros_like(found[book]).index_add_(0, members, vectors[chosen, book])
            found[book, counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    had, has = vectors[known], found[books, codes[known].long()]
    spread = ((had - had.mean(dim=0)) ** 2).sum()
    kept = 1.0 if spread == 0 else 1 - float(((had - has) ** 2).sum() / spread)
    if kept < LEAST_KEPT:
        raise CannotStartWarm(
            f"its codes were assigned anew: {max(kept, 0):.0%} of the variance of the item vectors would be left, and "
            f"at least {LEAST_KEPT:.0%} must be"
        )
    return found.to(centroids.dtype)


def _check_identifiers(old_codes: Tensor, codes: Tensor, rows: _Rows) -> None:
    """Check that items known before have the identifiers that they had."""
    if old_codes.shape[1] != codes.shape[1]:
        raise CannotStartWarm(f"identifiers have {codes.shape[1]} codes, and had {old_codes.shape[1]}")
    known = rows.is_known
    changed = int((old_codes[rows.place[known]] != codes[known]).any(dim=1).sum())
    if changed:
        raise CannotStartWarm(f"{changed} of {int(known.sum())} items have another identifier")


def _check_features(
    folder: Path, config: dict[str, Any], recipe: Recipe, features: Mapping[str, np.ndarray], rows: _Rows
) -> None:
    """Check that items known before have the text vectors and categories that the earlier model read."""
    # rows that start from text are trained rows like any other
    read = {} if getattr(recipe.model, "item_embedding", "") == "text_init" else features
    if not read:
        return
    with whole(folder):
        old = load_features(folder, config["item_features_digest"])
    known = rows.is_known.numpy()
    for name, values in read.items():
        before, now = old[name][rows.place.numpy()[known]], values[known]
        if before.shape != now.shape or not np.allclose(before, now, rtol=0, atol=_SAME_FEATURE):
            what = "vectors of the items' text" if name == "text" else name
            raise CannotStartWarm(f"it reads {what}, which were computed anew for the changed catalogue")


def _check_shape(name: str, old: Tensor, new: Tensor) -> None:
    if old.shape != new.shape:
        raise CannotStartWarm(f"{name} has the size {list(new.shape)}, and had {list(old.shape)}")


def _config(folder: Path) -> dict[str, Any]:
    with whole(folder):
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
