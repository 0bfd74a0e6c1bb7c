"""What an alignment left in its folder, read without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ml.alignment.recipe import folder_of_weight
from ml.data.files import read_json, whole

FORMAT = "raw2rank-alignment-1"
ALIGNMENT_FILE = "alignment.json"
# folders of the policies by weight, and of the student where it is what was chosen
POLICIES = "policies"
STUDENT = "student"


def read_alignment(folder: Path) -> dict[str, Any]:
    """``alignment.json``: recipe, goal, student, policies and the choice among them.

    Raises:
        DamagedFile: it is missing, or of another format.
    """
    described = read_json(folder, ALIGNMENT_FILE)
    with whole(folder):
        if described["format"] != FORMAT:
            raise ValueError(f"it holds {described['format']}, this version reads {FORMAT}")
    return described


def weights_of(folder: Path) -> tuple[float, ...]:
    """Weights of the goal that there is a policy for, ascending."""
    return tuple(policy["weight"] for policy in read_alignment(folder)["policies"])


def policy_folder(folder: Path, weight: float | None) -> Path:
    """Where the policy of a weight is, or the student for ``None``: ``SequentialRecommender.load`` reads it.

    Raises:
        KeyError: there is no policy of that weight.
    """
    described = read_alignment(folder)
    if weight is None:
        if described["chosen"] is not None:
            raise KeyError(f"{folder} does not hold the student, since a policy was chosen")
        return folder / STUDENT
    known = [policy["weight"] for policy in described["policies"]]
    if weight not in known:
        raise KeyError(f"{folder} holds no policy of weight {weight:g}; there are {', '.join(f'{w:g}' for w in known)}")
    return folder / POLICIES / folder_of_weight(weight)


def chosen_folder(folder: Path) -> Path:
    """Where the chosen policy is."""
    return policy_folder(folder, read_alignment(folder)["chosen"])


def version_of_aligned(folder: Path) -> str:
    """Digest of the policies, of the choice, and of all that is measured of them; not of the log, which holds times."""
    return hashlib.sha256(json.dumps(read_alignment(folder), sort_keys=True).encode()).hexdigest()[:32]
