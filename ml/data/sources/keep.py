"""Rows that a source leaves out by the value of a column: ``[keep]`` with ``event = ["transaction"]``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ml.data.landing.file_lines import LandingError
from ml.data.sources.columns import plain_name
from ml.data.sources.identities import whole_number

_MOST_VALUES = 1000
_SHOWN_VALUES = 8


class Keep:
    """The rows of one file that a filter keeps, and the number that it drops.

    Args:
        keep: by column, the values of which a row must have one.
        names: of the columns of the file, in their order.
        where: the file and the line that names its columns, for errors.

    Attributes:
        places: place of each column that is looked at.
        left_out: number of rows left out so far.

    Raises:
        LandingError: a column is not there, or twice.
    """

    def __init__(self, keep: Mapping[str, Sequence[str]], names: Sequence[str], where: str) -> None:
        self.left_out = 0
        self._keep = {name: frozenset(map(whole_number, values)) for name, values in sorted(keep.items())}
        self._seen: dict[str, Counter[str]] = {name: Counter() for name in self._keep}
        self.places: dict[str, int] = {}
        for name in self._keep:
            found = [place for place, known in enumerate(names) if name in (known, plain_name(known))]
            if len(found) != 1:
                there = ", ".join(map(repr, names[:20]))
                problem = "no column" if not found else f"{len(found)} columns"
                raise LandingError(
                    f"{where}: {problem} of the name {name!r}, given under [keep]; there are {there}; correct [keep] "
                    "in the description of the source"
                )
            self.places[name] = found[0]

    def __bool__(self) -> bool:
        return bool(self._keep)

    def is_kept(self, values: Mapping[str, Sequence[str]], count: int) -> list[bool]:
        """For each of some rows, whether it is kept.

        Args:
            values: of each column that is looked at, those of the rows.
            count: number of the rows.
        """
        kept = [True] * count
        for name, allowed in self._keep.items():
            texts = [whole_number(text.strip()) for text in values[name]]
            if len(self._seen[name]) < _MOST_VALUES:
                self._seen[name].update(texts)
            kept = [before and text in allowed for before, text in zip(kept, texts, strict=True)]
        self.left_out += count - sum(kept)
        return kept

    def warnings(self, has_rows: bool) -> list[str]:
        """The note on dropped rows; ``has_rows``: whether any were kept."""
        if not self.left_out:
            return []
        rule = " and ".join(
            f"{name} is {' or '.join(map(repr, sorted(allowed)))}" for name, allowed in self._keep.items()
        )
        if has_rows:
            return [f"{self.left_out:,} rows are left out, since only rows where {rule} are kept ([keep])"]
        seen = "; ".join(
            f"{name} is {', '.join(repr(value) for value, _ in counts.most_common(_SHOWN_VALUES))}"
            for name, counts in self._seen.items()
        )
        return [
            f"all of its {self.left_out:,} rows are left out, since only rows where {rule} are kept ([keep]); in the "
            f"file {seen}"
        ]
