"""Options of tables in ``source.toml``: columns, separator, times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TableOptions:
    """Options for reading a table that cannot be detected.

    Attributes:
        columns: name of the column by role (``user``, ``item``, ``timestamp``, ``rating``, ``verified``); roles that
            are not in it are recognised.
        absent: roles that no column is taken for; without a time, the order of the lines counts.
        names: of all columns by their position, for files without a line of names; empty where they have one.
        separator: what separates the fields; ``None`` for what is recognised.
        time_format: how times are written, as for :class:`ml.data.sources.time_format.TimeFormat`; ``None`` for what is
            recognised.
        unused: names of columns that are taken for no role.
        keep: by column, the values of which a row must have one; the other rows are left out.
        encoding: of a table of text that is not UTF-8, a name that Python knows; ``None`` for UTF-8.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    separator: str | None = None
    time_format: str | None = None
    unused: tuple[str, ...] = ()
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str | None = None

    def said(self) -> dict[str, object]:
        """The options that differ from the defaults, as plain values."""
        values = {
            "columns": dict(sorted(self.columns.items())),
            "absent": list(self.absent),
            "names": list(self.names),
            "separator": self.separator,
            "time_format": self.time_format,
            "unused": list(self.unused),
            "keep": {name: list(kept) for name, kept in sorted(self.keep.items())},
            "encoding": self.encoding,
        }
        return {name: value for name, value in values.items() if value}
