"""A split made elsewhere: five files of items in the layout of gSASRec (asash/gSASRec-pytorch).

``train/input.txt``, ``val/input.txt``, ``val/output.txt``, ``test/input.txt`` and ``test/output.txt``, each plain or
with ``.gz`` or ``.zst``: lines of item ids, separated by spaces. Line i of train and test is user i, from 1; the lines
of validation are some of the users, in the order of users. ``test/input`` is all that is known of a user before the
test item in ``test/output``; what ``train/input`` holds is the beginning of it. A line of validation belongs to the
next user whose line of ``test/input`` it is, its output behind its input.

Rows come from ``test/input`` and ``test/output``; the other three files are compared with them, item by item, and
counted as rows that repeat. Within a line of ``test/input``, ``given_split`` is ``train`` for what training holds,
``validation`` for the last item of a user of validation, and ``history`` for what lies behind training otherwise.
``given_position`` counts over both files together, a user's test item behind what is known of the user.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from ml.data.landing.file_lines import FileLines, LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA, FileCounts, Reject, Sink, SourceFile
from ml.data.sources.sequence.lines import read_words

# in the order in which a unit holds them
PARTS = ("train/input", "val/input", "val/output", "test/input", "test/output")
SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
ROWS_PER_BATCH = 1 << 15

_SPLITS = pa.array(["train", "history", "validation", "test"])
_TRAIN, _HISTORY, _VALIDATION, _TEST = range(4)


def split_files(folder: Path) -> tuple[tuple[SourceFile, ...], tuple[str, ...]]:
    """The files of such a split in a folder, in the order of :data:`PARTS`, and the parts that are missing.

    Raises:
        LandingError: a part is there both plain and compressed.
    """
    files, missing = [], []
    for part in PARTS:
        names = [f"{part}{suffix}" for suffix in SUFFIXES if (folder / f"{part}{suffix}").is_file()]
        if len(names) > 1:
            raise LandingError(f"{folder} holds both {' and '.join(names)}; take one of them away")
        if names:
            files.append(SourceFile(folder / names[0], names[0]))
        else:
            missing.append(part)
    return tuple(files), tuple(missing)


def read_split(files: tuple[SourceFile, ...], sink: Sink) -> list[FileCounts]:
    """Read the five files of a split into a sink, side by side, in bounded memory.

    Args:
        files: in the order of :data:`PARTS`.
        sink: takes the rows; there are no rejects.

    Raises:
        LandingError: a file cannot be read to its end; a line holds no item, or no text; a file has fewer or more
            lines than another of the same users; a line contradicts another file. It names file and line.
    """
    train, validation_input, validation_output, test_input, test_output = parts = [_Part(file) for file in files]
    rows = _Rows(sink, test_input.file.name, test_output.file.name)
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(closing(part.lines))
        known = validation_input.next()
        target = _validation_target(known, validation_output)
        while (before := test_input.next()) is not None:
            trained, tested = train.next(), test_output.next()
            if trained is None:
                raise train.ends_before(test_input)
            if tested is None:
                raise test_output.ends_before(test_input)
            if trained != before[: len(trained)]:
                raise LandingError(
                    f"{train}: is not how the same line of {test_input.file.path} begins; {_EACH_LINE_IS_A_USER}"
                )
            if len(tested) != 1:
                raise LandingError(f"{test_output}: holds {len(tested)} items instead of one")
            splits = np.full(len(before), _HISTORY, dtype=np.int8)
            splits[: len(trained)] = _TRAIN
            if target is not None and len(trained) < len(before) and before[-1] == target and before[:-1] == known:
                splits[-1] = _VALIDATION
                known = validation_input.next()
                target = _validation_target(known, validation_output)
            rows.add(before, splits, tested[0], test_input, test_output)
        for part in (train, test_output):
            if part.next() is not None:
                raise test_input.ends_before(part)
        if known is not None:
            raise LandingError(
                f"{validation_input}: with its line of {validation_output.file.path} behind it, it is the line of "
                f"{test_input.file.path} of no further user; the lines of validation have to be in the order of users, "
                "and what is validated must not be trained on"
            )
        if validation_output.next() is not None:
            raise validation_input.ends_before(validation_output)
        rows.flush()
    return [part.counts(kept=part in (test_input, test_output)) for part in parts]


_EACH_LINE_IS_A_USER = "line i of train and test has to be user i, in all files of one split"


def _validation_target(known: list[str] | None, outputs: _Part) -> str | None:
    if known is None:
        return None
    target = outputs.next()
    if target is None:
        raise LandingError(f"{outputs.file.path} ends after line {outputs.number}, and the inputs of validation go on")
    if len(target) != 1:
        raise LandingError(f"{outputs}: holds {len(target)} items instead of one")
    return target[0]


class _Part:
    """One of the files, line by line; as a text, the file and the line it has come to."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.number = 0
        self.items = 0
        self.digest = 0
        self._source = FileLines(file.path)
        self.lines = self._raw_lines()

    def __str__(self) -> str:
        return f"{self.file.path}, line {self.number}"

    def next(self) -> list[str] | None:
        """The items of the next line, ``None`` behind the last."""
        line = next(self.lines, None)
        if line is None:
            return None
        self.number += 1
        items = read_words(line)
        if isinstance(items, Reject):
            raise LandingError(f"{self}: {items.reason} ({items.detail}); give every user items")
        self.items += len(items)
        self.digest = xxh3_64_intdigest(line)
        return items

    def ends_before(self, other: _Part) -> LandingError:
        return LandingError(
            f"{self.file.path} ends after line {self.number}, and {other.file.path} goes on; {_EACH_LINE_IS_A_USER}"
        )

    def counts(self, kept: bool) -> FileCounts:
        return FileCounts(
            self.file.name,
            self._source.bytes,
            self._source.sha256,
            lines_read=self.number,
            rows_read=self.items,
            rows_kept=self.items if kept else 0,
            rows_rejected=0,
            rows_repeated=0 if kept else self.items,
        )

    def _raw_lines(self) -> Generator[bytes, None, None]:
        with closing(iter(self._source)) as blocks:
            for block in blocks:
                if block.cut_short:
                    break
                if block.long_line_bytes is not None:
                    raise LandingError(
                        f"{self.file.path}, line {block.first_line_number}: is too long ({block.long_line_bytes:,} "
                        "bytes); give a line a user"
                    )
                yield from block.lines
            else:
                if self._source.problem is None:
                    return
        raise LandingError(f"{self.file.path} {self._source.problem or 'is cut short; download it again'}")


class _Rows:
    """Gathers the rows of users into batches."""

    def __init__(self, sink: Sink, input_name: str, output_name: str) -> None:
        self._sink = sink
        self._names = pa.array([input_name, output_name])
        self._position = 0
        self._clear()

    def _clear(self) -> None:
        self._users: list[int] = []
        self._lengths: list[int] = []  # two of each user: items of the input, 1 of the output
        self._digests: list[int] = []
        self._items: list[str] = []
        self._splits: list[np.ndarray] = []

    def add(self, before: list[str], splits: np.ndarray, tested: str, test_input: _Part, test_output: _Part) -> None:
        self._users.append(test_input.number)
        self._lengths += [len(before), 1]
        self._digests += [test_input.digest, test_output.digest]
        self._items += before
        self._items.append(tested)
        self._splits += [splits, np.array([_TEST], dtype=np.int8)]
        if len(self._items) >= ROWS_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        rows = len(self._items)
        if rows == 0:
            return
        numbers = np.repeat(np.repeat(self._users, 2), self._lengths)
        names = np.repeat(np.tile([0, 1], len(self._users)), self._lengths)
        positions = np.arange(self._position + 1, self._position + rows + 1)
        columns = {
            "source_file": self._names.take(pa.array(names)),
            "line_number": pa.array(numbers, pa.int64()),
            "line_digest": pa.array(np.repeat(np.array(self._digests, dtype=np.uint64), self._lengths)),
            "user_id": pa.array(numbers, pa.int64()).cast(pa.string()),
            "item_id": pa.array(self._items, pa.string()),
            "millisecond": pa.array(np.zeros(rows, dtype=np.int16)),
            "given_position": pa.array(positions, pa.int64()),
            "given_split": _SPLITS.take(pa.array(np.concatenate(self._splits))),
            "invalid_fields": pa.array([()] * rows, pa.list_(pa.string())),
        }
        self._sink.rows(
            pa.record_batch(
                [columns.get(column.name, pa.nulls(rows, column.type)) for column in INTERACTIONS_SCHEMA],
                schema=INTERACTIONS_SCHEMA,
            )
        )
        self._position += rows
        self._clear()
