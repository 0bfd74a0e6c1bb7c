"""Settings of decoding. Imports no torch, because recipes are read where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GenerationSettings:
    """How lists are found.

    Attributes:
        method: ``beam`` for beam search; ``exact`` scores every item, for small catalogues and tests.
        width: prefixes kept at each level; more where k and the items to be left out need it.
        widest: rows whose list is not certified to be exact are searched again with twice the width, until it is this
            one. With ``widest`` equal to ``width`` nothing is searched again.
    """

    method: Literal["beam", "exact"] = "beam"
    width: int = 50
    widest: int = 400

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")
        if self.widest < self.width:
            raise ValueError(f"widest must be at least the width, {self.width}, not {self.widest}")
