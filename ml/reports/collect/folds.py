"""The section "Folds over time", read from what the asset saved."""

from __future__ import annotations

from pathlib import Path

from ml.evaluation.folds.content import FoldResults
from ml.evaluation.folds.files import load_folds


def folds_over_time(lake: Path) -> FoldResults | None:
    """The section; ``None`` where the split has no folds.

    Args:
        lake: the dataset's folder in the lake.

    Raises:
        DamagedFile: what the asset saved is not whole.
    """
    path = lake / "evaluation" / "folds.parquet"
    # a lake of an earlier release has none
    found = load_folds(path) if path.exists() else FoldResults()
    return found if found.rows else None
