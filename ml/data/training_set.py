"""The training set: who interacted with what, in which order, and what is held out.

Everything a recommender is fitted on and evaluated with, as flat arrays: the item indices of all users end
to end, and the offset at which each user starts. Arrays are memory-mapped when loaded, so that a training
set larger than memory can be read. Indices are 0-based; padding is not an item.

Needs numpy alone, so that a training host needs nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from ml.data.files import whole
from ml.data.sequences import Sequences

FORMAT = "raw2rank-training-set-2"
# what a final fit may read; every table of results says which
FIT_ON_TRAIN = "train"
FIT_ON_BOTH = "train+validation"
# of a release alone, never of what is measured
FIT_ON_EVERYTHING = "everything"
_ARRAYS = (
    "item_ids",
    "user_ids",
    "train_items",
    "train_offsets",
    "validation_users",
    "validation_targets",
    "test_users",
    "test_targets",
    "before_validation_items",
    "before_validation_offsets",
    "before_test_items",
    "before_test_offsets",
)
# of a split that holds out several items a user; without these files there is one target a case
_LATER_TARGETS = ("later_targets_items", "later_targets_offsets")
# of a split that leaves interactions out; without these files the others hold all of them
_WHOLE = ("whole_items", "whole_offsets")
# of a training set that is measured on some of its test users; without these files it is measured on all
_UNMEASURED = ("unmeasured_users", "unmeasured_targets", "unmeasured_before_items", "unmeasured_before_offsets")
_UNMEASURED_LATER = ("unmeasured_later_items", "unmeasured_later_offsets")


class ItemTexts(tuple[str, ...]):
    """Texts of the items, and the vectors that were computed from them.

    Vectors stay with the texts, so every training set that holds the same texts (with validation items trained on, or
    other test users) finds them, and one with other texts does not.

    Attributes:
        vectors: by the name of what made them, float32 ``[items, dimensions]``: see :mod:`ml.text.vectors`.
    """

    vectors: dict[str, np.ndarray]

    def __new__(cls, texts: Iterable[str] = ()) -> Self:
        made = super().__new__(cls, texts)
        made.vectors = {}
        return made


@dataclass(frozen=True)
class UnmeasuredCases:
    """Test cases that nothing is measured on. Their held-out items are kept from training like those of all others, so
    that what is trained does not depend on who is measured; a fit on everything reads them.

    Attributes:
        users: user index of each case, int32 ``[unmeasured cases]``, ascending.
        targets: as ``test_targets``, int32 ``[unmeasured cases]``.
        before: as ``before_test``, ``[unmeasured cases]`` rows.
        later: as ``later_targets``.
    """

    users: np.ndarray
    targets: np.ndarray
    before: Sequences
    later: Sequences | None = None


@dataclass(frozen=True)
class TrainingSet:
    """One dataset, split and indexed.

    Attributes:
        dataset: its name.
        item_ids: identity of each item index, bytes ``[items]``, in ascending order.
        user_ids: identity of each user index, bytes ``[users]``, in ascending order.
        train: training history of every user, ``[users]`` rows (a user may have an empty one).
        validation_users: user index of each validation case, int32 ``[validation cases]``, ascending.
        validation_targets: its held-out item index, int32 ``[validation cases]``.
        test_users: user index of each test case, int32 ``[test cases]``, ascending.
        test_targets: its held-out item index, int32 ``[test cases]``; of several targets the first, which follows the
            history.
        protocol: how the split was made (settings and rules), for the report.
        before_validation: items that lie between the training history of a validation case and its target: known
            when the target is ranked, not trained on; ``[validation cases]`` rows, empty ones in a
            leave-one-out split. ``None`` stands for that.
        before_test: the same for the test cases: items after the training history, and after the validation
            target where the user has one; ``[test cases]`` rows.
        later_targets: where a split holds out several items a user, those that follow ``test_targets``, in their
            order, ``[test cases]`` rows; an item may be among them more than once. ``None`` stands for one target a
            case.
        item_text: text of each item index, or ``None`` where it was not loaded. A plain tuple becomes
            :class:`ItemTexts`.
        validation_times: when the validation targets took place, seconds since 1970, int64 ``[validation cases]``;
            ``None`` where times were not loaded (:func:`ml.data.times.load_times`). The other times are in the
            sequences.
        unmeasured: the other test cases, where ``test_users`` are a sample; ``None`` where they are all.
        whole: all interactions of every user in their order, ``[users]`` rows, where the split leaves some out: those
            that follow a target, or that are known of a user who is no case. ``None`` where none are left out. A
            release alone reads it.
    """

    dataset: str
    item_ids: np.ndarray
    user_ids: np.ndarray
    train: Sequences
    validation_users: np.ndarray
    validation_targets: np.ndarray
    test_users: np.ndarray
    test_targets: np.ndarray
    protocol: dict = field(default_factory=dict)
    before_validation: Sequences | None = None
    before_test: Sequences | None = None
    later_targets: Sequences | None = None
    item_text: tuple[str, ...] | None = None
    validation_times: np.ndarray | None = None
    unmeasured: UnmeasuredCases | None = None
    whole: Sequences | None = None

    def __post_init__(self) -> None:
        if self.item_text is not None and not isinstance(self.item_text, ItemTexts):
            object.__setattr__(self, "item_text", ItemTexts(self.item_text))

    @property
    def items(self) -> int:
        """Size of the catalogue."""
        return len(self.item_ids)

    @property
    def users(self) -> int:
        return len(self.user_ids)

    def users_of(self, split: str) -> np.ndarray:
        """User index of each case of ``validation`` or ``test``, int32 ``[cases]``."""
        return {"validation": self.validation_users, "test": self.test_users}[split]

    def targets_of(self, split: str) -> np.ndarray:
        """Held-out item index of each case of ``validation`` or ``test``, int32 ``[cases]``; of several targets the
        first."""
        return {"validation": self.validation_targets, "test": self.test_targets}[split]

    def held_out(self, rows: np.ndarray | None = None) -> Sequences:
        """All targets of the given test cases (all cases by default), in their order, the first in front, ``[rows]``
        rows. An item that is held out twice stands there twice."""
        rows = np.arange(len(self.test_users)) if rows is None else np.asarray(rows)
        first = np.asarray(self.test_targets, dtype=np.int32)[rows]
        held_out = Sequences(first, np.arange(len(rows) + 1, dtype=np.int64))
        return held_out if self.later_targets is None else held_out.followed_by(self.later_targets.take(rows))

    def relevant(self, rows: np.ndarray | None = None) -> Sequences:
        """The different targets of the given test cases (all cases by default), ascending, ``[rows]`` rows: what a list
        should hold."""
        held_out = self.held_out(rows)
        if self.later_targets is None:
            return held_out
        row, item = np.divmod(np.unique(held_out.pairs(self.items)), self.items)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(held_out)))]).astype(np.int64)
        return Sequences(item.astype(np.int32), offsets)

    def histories(self, split: str) -> Sequences:
        """The history of each user of a split at the time of its target, ``[cases]`` rows.

        For ``validation`` the training history; for ``test`` the training history followed by the validation
        item, where the user has one (as all published leave-one-out results do); and what lies between, where
        the split leaves something there. For ``train`` the training histories themselves, one a user.
        """
        if split == "train":
            return self.train.of_users(np.arange(self.users))
        if split == "validation":
            train = self.histories("train").take(self.validation_users)
            return train.followed_by(self._between("validation"))
        if split == "test":
            cases = np.full(self.users, len(self.validation_users))
            cases[self.validation_users] = np.arange(len(self.validation_users))
            validated = self._between("validation").append(
                np.arange(len(self.validation_users)), self.validation_targets, self.validation_times
            )
            # one more, empty row for users without validation
            offsets = np.append(validated.offsets, validated.offsets[-1])
            validated = Sequences(validated.items, offsets, times=validated.times)
            train = self.histories("train").take(self.test_users)
            known = train.followed_by(validated.take(cases[self.test_users]))
            return known.followed_by(self._between("test"))
        raise ValueError(f"there are no histories of split {split!r}; it is 'train', 'validation' or 'test'")

    def with_every_test_case(self) -> TrainingSet:
        """The same data with all users who have a held-out item as test cases, not a sample."""
        others = self.unmeasured
        if others is None:
            return self
        users = np.concatenate([self.test_users, others.users])
        order = np.argsort(users)
        later = None
        if self.later_targets is not None and others.later is not None:
            later = self.later_targets.with_more(others.later).take(order)
        return replace(
            self,
            test_users=users[order],
            test_targets=np.concatenate([self.test_targets, others.targets])[order],
            before_test=self._between("test").with_more(others.before).take(order),
            later_targets=later,
            unmeasured=None,
        )

    def measured_on(self, users: np.ndarray) -> TrainingSet:
        """The same data, measured on those of the given users who have a held-out item, and on nobody else."""
        every = self.with_every_test_case()
        is_measured = np.isin(every.test_users, users)
        here, others = np.flatnonzero(is_measured), np.flatnonzero(~is_measured)
        before, later = every._between("test"), every.later_targets
        return replace(
            every,
            test_users=every.test_users[here],
            test_targets=every.test_targets[here],
            before_test=None if every.before_test is None else before.take(here),
            later_targets=None if later is None else later.take(here),
            unmeasured=None
            if not len(others)
            else UnmeasuredCases(
                every.test_users[others],
                every.test_targets[others],
                before.take(others),
                None if later is None else later.take(others),
            ),
        )

    def with_validation_trained_on(self) -> TrainingSet:
        """The same data with every validation item, and the items before it, at the end of its user's training
        history, and no validation case left: what a final fit on ``train+validation`` reads. Test histories stay
        as they were."""
        known = self.histories("validation").append(
            np.arange(len(self.validation_users)), self.validation_targets, self.validation_times
        )
        return replace(
            self,
            train=self.train.with_rows(self.validation_users, known),
            validation_users=self.validation_users[:0],
            validation_targets=self.validation_targets[:0],
            before_validation=None,
            validation_times=None if self.validation_times is None else self.validation_times[:0],
        )

    def with_everything_trained_on(self, times: np.ndarray | None = None) -> TrainingSet:
        """The same data with the whole history of each user as the training history, measured or not, and no validation
        or test case left: what only a release is fitted on.

        Args:
            times: of all interactions, users end to end, int64 ``[interactions]``; a training set does not hold those
                of test targets. Without them the histories have no times.
        """
        return replace(
            self,
            train=replace(self._whole_histories(), times=times),
            validation_users=self.validation_users[:0],
            validation_targets=self.validation_targets[:0],
            before_validation=None,
            validation_times=None if self.validation_times is None else self.validation_times[:0],
            test_users=self.test_users[:0],
            test_targets=self.test_targets[:0],
            before_test=None,
            later_targets=None,
            unmeasured=None,
            whole=None,
        )

    def _whole_histories(self) -> Sequences:
        """All interactions of every user, ``[users]`` rows without times."""
        if self.whole is not None:
            return self.whole
        every = self.with_every_test_case()
        known = every.with_validation_trained_on()
        known = replace(known, train=replace(known.train, times=None))
        return known.train.with_rows(every.test_users, known.histories("test").followed_by(every.held_out()))

    def to_fit_on(self, fit_on: str) -> TrainingSet:
        """The data of the final fit: unchanged for ``train``, with the validation items for ``train+validation``.

        Raises:
            ValueError: it is neither. A fit on everything cannot be measured: :meth:`with_everything_trained_on`.
        """
        if fit_on == FIT_ON_TRAIN:
            return self
        if fit_on == FIT_ON_BOTH:
            return self.with_validation_trained_on()
        raise ValueError(f"fit_on is {FIT_ON_TRAIN!r} or {FIT_ON_BOTH!r}, not {fit_on!r}")

    def _between(self, split: str) -> Sequences:
        given = {"validation": self.before_validation, "test": self.before_test}[split]
        return Sequences.empty(len(self.users_of(split))) if given is None else given

    def with_text(self, item_text: tuple[str, ...]) -> TrainingSet:
        if len(item_text) != self.items:
            raise ValueError(f"{len(item_text)} item texts for {self.items} items of {self.dataset}")
        return replace(self, item_text=item_text)

    def with_times(
        self, train: np.ndarray, validation: np.ndarray, before_validation: np.ndarray, before_test: np.ndarray
    ) -> TrainingSet:
        """The same with the time of each interaction: see :class:`ml.data.times.Times`."""

        def timed(between: Sequences | None, times: np.ndarray) -> Sequences | None:
            # where nothing lies between there are no times either
            return None if between is None else replace(between, times=times)

        return replace(
            self,
            train=replace(self.train, times=train),
            validation_times=validation,
            before_validation=timed(self.before_validation, before_validation),
            before_test=timed(self.before_test, before_test),
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        before_validation, before_test = self._between("validation"), self._between("test")
        later = self.later_targets
        return {
            "item_ids": self.item_ids,
            "user_ids": self.user_ids,
            "train_items": self.train.items,
            "train_offsets": self.train.offsets,
            "validation_users": self.validation_users,
            "validation_targets": self.validation_targets,
            "test_users": self.test_users,
            "test_targets": self.test_targets,
            "before_validation_items": before_validation.items,
            "before_validation_offsets": before_validation.offsets,
            "before_test_items": before_test.items,
            "before_test_offsets": before_test.offsets,
            **({} if later is None else dict(zip(_LATER_TARGETS, (later.items, later.offsets), strict=True))),
            **self._unmeasured_arrays(),
            **({} if self.whole is None else dict(zip(_WHOLE, (self.whole.items, self.whole.offsets), strict=True))),
        }

    def _unmeasured_arrays(self) -> dict[str, np.ndarray]:
        others = self.unmeasured
        if others is None:
            return {}
        arrays = (others.users, others.targets, others.before.items, others.before.offsets)
        later = () if others.later is None else (others.later.items, others.later.offsets)
        return dict(zip((*_UNMEASURED, *(_UNMEASURED_LATER if later else ())), (*arrays, *later), strict=True))

    def digest(self) -> str:
        """SHA-256 over the arrays: equal for equal ids, histories and targets, whatever else differs."""
        digest = hashlib.sha256(FORMAT.encode())
        for name, array in self._arrays().items():
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` file an array and ``training_set.json`` into an existing folder."""
        for name, array in self._arrays().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        description = {
            "format": FORMAT,
            "dataset": self.dataset,
            "protocol": self.protocol,
            "digest": self.digest(),
        }
        (folder / "training_set.json").write_text(json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> TrainingSet:
        """Memory-map what :meth:`save` wrote.

        Raises:
            DamagedFile: not all of it is there, or not as it was written.
        """
        with whole(folder):
            description = json.loads((folder / "training_set.json").read_text())
            if description["format"] != FORMAT:
                raise ValueError(f"it holds {description['format']}, this version reads {FORMAT}")
            arrays = _mapped(folder, _ARRAYS)
            sequences = {
                name: Sequences(arrays.pop(f"{name}_items"), arrays.pop(f"{name}_offsets"))
                for name in ("train", "before_validation", "before_test")
            }
            parts: dict[str, Any] = {**sequences, **arrays}
            if _is_there(folder, _LATER_TARGETS):
                parts["later_targets"] = Sequences(*_mapped(folder, _LATER_TARGETS).values())
            if _is_there(folder, _UNMEASURED):
                users, targets, *before = _mapped(folder, _UNMEASURED).values()
                later = _is_there(folder, _UNMEASURED_LATER)
                parts["unmeasured"] = UnmeasuredCases(
                    users,
                    targets,
                    Sequences(*before),
                    Sequences(*_mapped(folder, _UNMEASURED_LATER).values()) if later else None,
                )
            if _is_there(folder, _WHOLE):
                parts["whole"] = Sequences(*_mapped(folder, _WHOLE).values())
            return cls(dataset=description["dataset"], protocol=description["protocol"], **parts)


def _is_there(folder: Path, names: tuple[str, ...]) -> bool:
    return (folder / f"{names[0]}.npy").exists()


def _mapped(folder: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
