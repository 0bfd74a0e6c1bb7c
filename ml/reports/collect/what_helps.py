"""The section "What helps here", read from what the asset saved."""

from __future__ import annotations

from pathlib import Path

from ml.evaluation.what_helps.content import WhatHelps
from ml.evaluation.what_helps.files import load_what_helps


def what_helps(lake: Path) -> WhatHelps | None:
    """The section; ``None`` where no recommender with a plain counterpart was run.

    Args:
        lake: the dataset's folder in the lake.

    Raises:
        DamagedFile: what the asset saved is not whole.
    """
    path = lake / "evaluation" / "what_helps.parquet"
    # a lake of an earlier release has none
    found = load_what_helps(path) if path.exists() else WhatHelps()
    return found if found.gains or found.left_out else None
