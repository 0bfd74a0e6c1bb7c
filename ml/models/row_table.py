"""Tables with a row an item or a user, of which a training step reads a few.

Whoever trains a table may put a reader in front of it (:mod:`ml.training.touched_rows`), which hands out the rows that
are asked for as a small table of their own. A gradient then has the size of what was read, not of the table.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

# int64 rows of any shape to a table that holds them, and their places in it, of the same shape
RowReader = Callable[[Tensor], tuple[Tensor, Tensor]]


class RowTable:
    """What a module with such a table has beside ``nn.Module``.

    All that a loss reads of the table, it reads by :meth:`table_for`; ``weight`` itself is for what has no gradient.

    Attributes:
        weight: the table, ``[rows, dimensions]``.
        reader: hands out rows while the table is trained by them; ``None`` otherwise.
    """

    weight: nn.Parameter
    reader: RowReader | None = None

    def table_for(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """A differentiable table in which the given rows are found, int64 ``[...]``, and their places in it,
        ``[...]``: the whole one, or one of these rows alone."""
        return (self.weight, rows) if self.reader is None else self.reader(rows)
