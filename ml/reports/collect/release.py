"""The decision on a release, as its asset left it."""

from __future__ import annotations

from pathlib import Path

from ml.data.files import read_json
from ml.release.gate.decision import Decision

DECISION_FILE, DECISION_PAGE = "decision.json", "decision.html"


def decision_folder(lake: Path) -> Path:
    """Folder of the decision in the lake of a dataset."""
    return lake / "release" / "decision"


def read_decision(lake: Path) -> Decision | None:
    """The last decision; ``None`` before the first.

    Raises:
        DamagedFile: what was saved cannot be read.
    """
    folder = decision_folder(lake)
    return Decision.from_json(read_json(folder, DECISION_FILE)) if (folder / DECISION_FILE).exists() else None


def release_decision(lake: Path) -> Decision | None:
    """The last decision without measured times, so that equal input gives an equal report; ``None`` before the first.

    Raises:
        DamagedFile: what was saved cannot be read.
    """
    found = read_decision(lake)
    return None if found is None else found.timeless()
