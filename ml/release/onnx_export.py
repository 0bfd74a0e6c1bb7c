"""Models that score all items by one product, as ONNX: for a service without torch, and faster on a CPU.

SASRec, gSASRec, BERT4Rec and GRU4Rec can be exported. The graph takes histories and gives scores, so that the order of
ties, the items of a history and the popular items for an empty one are the same as those of the bundle
(:mod:`ml.release.onnx_recommender`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ml.extras import require
from ml.release.bundle import Bundle
from ml.release.contents import BundleError
from ml.release.onnx_recommender import COUNTS_FILE, FORMAT, GRAPH_FILE, ONNX_FILE

_EXPORTABLE = ("ml.models.sasrec:SASRec", "ml.models.bert4rec:BERT4Rec", "ml.models.gru4rec:GRU4Rec")
# the other kinds score by code that torch does not trace
_TABLE = "ml.models.item_embeddings:DenseItemEmbedding"


def export_onnx(bundle: Bundle, folder: Path) -> None:
    """Write the model of a bundle as ONNX: ``model.onnx``, ``training_counts.npy`` and ``onnx.json``.

    Args:
        bundle: of a model that can be exported.
        folder: existing and empty (:func:`ml.data.versions.versioned_folder`).

    Raises:
        MissingExtra: the extra ``onnx`` or ``train`` is not installed.
        BundleError: the recommender is another one.
    """
    require("onnx", f"the export of {bundle.title} to ONNX")
    recommender: Any = bundle.recommender
    model: Any = getattr(recommender, "model", None)
    if _path_of(model) not in _EXPORTABLE or _path_of(getattr(model, "input_embedding", None)) != _TABLE:
        raise BundleError(
            f"{bundle.title} ({bundle.name}) cannot be exported to ONNX, as SASRec, gSASRec, BERT4Rec and GRU4Rec with "
            "a table of item vectors can: serve the bundle itself"
        )
    from ml.tasks.cloze import Cloze

    masked = isinstance(recommender.task, Cloze)
    longest = model.max_length - 1 if masked else model.max_length
    _export(model, model.items if masked else None, longest, folder / GRAPH_FILE)
    np.save(folder / COUNTS_FILE, np.asarray(recommender.training_counts), allow_pickle=False)
    about = {"format": FORMAT, "name": bundle.name, "recommender": bundle.digests["recommender"], "items": bundle.items}
    text = json.dumps(about | {"max_length": longest}, indent=2)
    (folder / ONNX_FILE).write_text(text + "\n", encoding="utf-8")


def _path_of(object_: Any) -> str:
    return f"{type(object_).__module__}:{type(object_).__name__}"


def _export(model: Any, mask: int | None, longest: int, file: Path) -> None:
    import torch
    from torch import Tensor, nn

    class Scores(nn.Module):
        """Histories, int64 ``[batch, length]`` padded at the end, and their lengths to scores ``[batch, items]``."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
            if mask is not None:
                # the state that ranks is that of a mask behind the last item
                items = torch.cat([items, torch.zeros_like(items[:, :1])], dim=1)
                items = items.scatter(1, lengths[:, None], mask)
                lengths = lengths + 1
            hidden = self.model(items, lengths, torch.zeros_like(lengths) - 1)
            last = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
            return self.model.output_embedding.score_all(hidden.gather(1, last)[:, 0])

    # with sizes of their own, so that none is taken for a constant
    examples = (torch.zeros(3, min(5, longest), dtype=torch.int64), torch.ones(3, dtype=torch.int64))
    batch = torch.export.Dim("batch")
    shapes: Any = ({0: batch, 1: torch.export.Dim("length", max=longest)} if longest > 1 else {0: batch}, {0: batch})
    with torch.no_grad():
        torch.onnx.export(
            Scores().eval(),
            examples,
            file,
            input_names=["items", "lengths"],
            output_names=["scores"],
            dynamic_shapes=shapes,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
