"""A recommender that runs an exported model by ONNX Runtime. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import numpy as np

from ml.data.files import whole
from ml.data.item_index import check_items
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.extras import require
from ml.recommender import NO_ITEM, Recommendations
from ml.release.bundle import Bundle, load
from ml.release.contents import BundleError
from ml.retrieval.top_k import exclude_seen as hide_seen
from ml.retrieval.top_k import tie_break_order, top_k

FORMAT = "raw2rank-onnx-1"
ONNX_FILE = "onnx.json"
GRAPH_FILE = "model.onnx"
COUNTS_FILE = "training_counts.npy"
# scores that are made at a time
_CELLS_AT_ONCE = 1 << 22


class OnnxRecommender:
    """What :func:`ml.release.onnx_export.export_onnx` wrote, as a recommender (:class:`ml.recommender.Recommender`).

    Scores differ from those of torch by rounding, so that items whose scores are that close may change places.

    Args:
        session: of ONNX Runtime.
        counts: training interactions of each item, the scores for an empty history, int64 ``[items]``.
        max_length: of a longer history the most recent items are read.
    """

    def __init__(self, session: Any, counts: np.ndarray, max_length: int) -> None:
        self.session = session
        self.counts = counts
        self.max_length = max_length

    def fit(self, training_set: TrainingSet) -> Self:
        """Not possible.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("an exported model cannot be fitted: fit the recommender, release it and export it again")

    def scores(self, histories: Sequences) -> np.ndarray:
        """Scores of the whole catalogue, float32 ``[rows, items]``.

        Args:
            histories: none of them empty.
        """
        lengths = np.minimum(histories.lengths, self.max_length)
        column = np.arange(lengths.max(initial=1))
        real = column < lengths[:, None]
        places = np.where(real, (histories.offsets[1:] - lengths)[:, None] + column, 0)
        items = np.where(real, histories.items[places], 0).astype(np.int64)
        return self.session.run(None, {"items": items, "lengths": lengths.astype(np.int64)})[0]

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        """The k best items of the whole catalogue for each history, ties by ``ml.retrieval.top_k``."""
        catalogue = len(self.counts)
        check_items(histories, catalogue)
        items = np.full((len(histories), k), NO_ITEM, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        order = tie_break_order(catalogue)
        # of like length, so that a batch holds little padding; the empty ones come first
        by_length = np.argsort(histories.lengths, kind="stable")
        empty = int((histories.lengths == 0).sum())
        step = max(1, _CELLS_AT_ONCE // max(1, catalogue))
        for start, end in [*_chunks(0, empty, step), *_chunks(empty, len(by_length), step)]:
            rows = by_length[start:end]
            block = histories.take(rows)
            found = self.scores(block) if start >= empty else np.tile(self.counts.astype(np.float32), (len(rows), 1))
            if exclude_seen:
                hide_seen(found, block)
            ranked = top_k(found, k, order)
            items[rows], scores[rows] = ranked.items, ranked.scores
        return Recommendations(items, scores)

    def save(self, folder: Path) -> None:
        """Not possible.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("an exported model is a folder already: copy it")

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Read what was exported.

        Args:
            folder: with ``onnx.json``.
            threads: of ONNX Runtime.

        Raises:
            MissingExtra: ONNX Runtime is not installed.
            DamagedFile: the folder holds another format, or not all files.
        """
        require("onnx", f"the exported model {folder}", ["onnxruntime"])
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        with whole(folder):
            about = read_about(folder)
            counts = np.load(folder / COUNTS_FILE, allow_pickle=False)
            if len(counts) != about["items"]:
                raise ValueError(f"{COUNTS_FILE} is of {len(counts)} items, {ONNX_FILE} of {about['items']}")
            session = onnxruntime.InferenceSession(
                str(folder / GRAPH_FILE), options, providers=["CPUExecutionProvider"]
            )
            return cls(session, counts, about["max_length"])


def read_about(folder: Path) -> dict[str, Any]:
    """What ``onnx.json`` says: name and digest of the recommender, items, longest history.

    Raises:
        DamagedFile: it is missing, or of another format.
    """
    with whole(folder):
        about = json.loads((folder / ONNX_FILE).read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"it holds {about['format']}, this version reads {FORMAT}")
        return about


def load_with_onnx(bundle: Path, exported: Path, threads: int = 1) -> Bundle:
    """A bundle whose lists are made by ONNX Runtime. :meth:`ml.release.bundle.Bundle.similar_items` then reads the item
    graph, since no item vectors are at hand.

    Raises:
        BundleError: the bundle cannot be opened, or was not what was exported.
        MissingExtra: ONNX Runtime is not installed.
    """
    opened = load(bundle)
    if read_about(exported)["recommender"] != opened.digests["recommender"]:
        raise BundleError(f"{exported} was not exported from the bundle {bundle}: export it again")
    # in the place of what the property would load
    opened.__dict__["recommender"] = OnnxRecommender.load(exported, threads)
    return opened


def _chunks(start: int, end: int, step: int) -> list[tuple[int, int]]:
    return [(place, min(place + step, end)) for place in range(start, end, step)]
