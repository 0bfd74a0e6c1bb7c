"""Settings of models that read attributes of the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ml.models.settings.common import TransformerSettings, check_at_least_one


@dataclass(frozen=True)
class CaFeSettings(TransformerSettings):
    """A category sequence beside the item sequence, after CaFe (Li et al., SIGIR 2022): ``ml.models.cafe``.

    Attributes:
        category_dimensions: width of category vectors and of the states of the encoder that reads them.
        category_blocks: transformer blocks of that encoder.
        category_heads: attention heads in each of them; divides ``category_dimensions``.
    """

    category_dimensions: int = 16
    category_blocks: int = 1
    category_heads: int = 1

    model: ClassVar[str] = "ml.models.cafe:CaFe"
    reads_categories: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(self, "category_dimensions", "category_blocks", "category_heads")
        if self.category_dimensions % self.category_heads:
            raise ValueError(
                f"category_heads ({self.category_heads}) must divide category_dimensions ({self.category_dimensions})"
            )
