"""What a recommender is compared with. Imports nothing heavy, because the asset graph is built from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counterpart:
    """What a recommender is compared with.

    Attributes:
        recommender: its name.
        family: what it adds.
        plain: name of the recommender that lacks this.
    """

    recommender: str
    family: str
    plain: str
