"""The description of a source by its user (``source.toml``): files, layout and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ml.data.sources.table_options import TableOptions

LAYOUTS = ("amazon_2018", "amazon_2014", "amazon_2023", "table", "json_lines", "sequence", "given_split")
FILE_NAME = "source.toml"

_KEYS = (
    "layout",
    "interactions",
    "metadata",
    "columns",
    "separator",
    "time_format",
    "unused",
    "keep",
    "encoding",
    "item_text",
    "preset",
)
# bytes, of a file or a folder
_LONGEST_NAME = 255
_SEPARATOR_WORDS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " ", "\\t": "\t"}


@dataclass(frozen=True)
class SourceDescription:
    """The description of a source.

    Attributes:
        layout: one of :data:`LAYOUTS`.
        interactions: names of its files relative to the folder, or patterns of names as in ``orders_*.csv``; empty
            for those that go by the dataset's name.
        metadata: the same for what is known of items.
        columns: for a table, name of the column by role (``user``, ``item``, ``timestamp``, ``rating``,
            ``verified``); roles that are not in it are recognised.
        origin: where it was read from, for errors.
        absent: for a table, roles that no column is taken for (``timestamp = false``).
        names: for a table without a line of names, its columns by their position.
        separator: for a table of text, what separates its fields.
        time_format: for a table, how times are written (:class:`ml.data.sources.time_format.TimeFormat`).
        unused: for a table, names of columns that are not read.
        keep: for a table, by column the values of which a row must have one to be read.
        encoding: for a table of text that is not UTF-8, what it is.
        item_text: template of the text of an item (:mod:`ml.data.sources.item_template`), or ``None``.

    Raises:
        LandingError: one of these is not possible.
    """

    layout: str
    interactions: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    origin: str = "the description of the source"
    absent: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    separator: str | None = None
    time_format: str | None = None
    unused: tuple[str, ...] = ()
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    encoding: str | None = None
    item_text: str | None = None

    @property
    def table(self) -> TableOptions:
        """Options of tables."""
        columns = dict(sorted(self.columns.items()))
        keep = dict(sorted(self.keep.items()))
        return TableOptions(
            columns, self.absent, self.names, self.separator, self.time_format, self.unused, keep, self.encoding
        )

    def __post_init__(self) -> None:
        self._check_files()
        self._check_keys_of_the_layout()
        self._check_form_of_a_table()
        self._check_columns()

    def _check_files(self) -> None:
        from ml.data.landing.file_lines import LandingError

        if self.layout not in LAYOUTS:
            raise LandingError(f"{self.origin}: layout {self.layout!r} is not known; it is one of {', '.join(LAYOUTS)}")
        for key, names in (("interactions", self.interactions), ("metadata", self.metadata)):
            for name in names:
                path = PurePosixPath(name)
                if not path.name or path.is_absolute() or ".." in path.parts:
                    raise LandingError(
                        f"{self.origin}: {key} names {name!r}; give names of files in the folder of the source"
                    )
                if any(len(part.encode()) > _LONGEST_NAME for part in path.parts):
                    raise LandingError(
                        f"{self.origin}: {key} names {name[:40]}..., which is longer than file systems allow "
                        f"({_LONGEST_NAME} bytes); correct it"
                    )
            if len(set(names)) < len(names):
                raise LandingError(f"{self.origin}: {key} names a file twice; name each once")
        if self.layout == "given_split" and self.interactions:
            raise LandingError(
                f"{self.origin}: a given_split has files of fixed names; leave interactions out, and give the folder "
                "that holds train, val and test as the folder of the source"
            )

    def _check_keys_of_the_layout(self) -> None:
        """That nothing is said which the layout has no use for."""
        from ml.data.landing.file_lines import LandingError

        if self.item_text is not None:
            from ml.data.sources.item_template import fields_of

            try:
                fields_of(self.item_text)
            except ValueError as error:
                raise LandingError(f"{self.origin}: item_text.template: {error}") from error
        said = self.table.said()
        if said and self.layout not in ("table", "json_lines"):
            key = "columns" if {"columns", "absent", "names"} & set(said) else next(iter(said))
            raise LandingError(f"{self.origin}: {key} is for a table, and the layout is {self.layout}; leave it out")
        if self.layout == "json_lines" and self.names:
            raise LandingError(
                f"{self.origin}: JSON lines have keys instead of columns in an order; name the keys under [columns], "
                'as in user = "user_id"'
            )
        for key in ("separator", "encoding"):
            if self.layout == "json_lines" and key in said:
                raise LandingError(f"{self.origin}: {key} is for a table of text, and not for JSON lines; leave it out")

    def _check_form_of_a_table(self) -> None:
        from ml.data.landing.file_lines import LandingError

        if self.encoding is not None and not _is_readable(self.encoding):
            raise LandingError(
                f"{self.origin}: encoding = {self.encoding!r} is not read; give one that holds ASCII as it is, as in "
                'encoding = "cp1252" or "latin-1", or save the file as UTF-8'
            )
        if self.time_format is not None:
            from ml.data.sources.time_format import TimeFormat

            try:
                TimeFormat(self.time_format)
            except LandingError as error:
                raise LandingError(f"{self.origin}: {error}") from error
        if self.separator is not None and (not self.separator or set(self.separator) & set('\n\r"')):
            raise LandingError(
                f'{self.origin}: separator = {self.separator!r} cannot separate fields; give it as in separator = "::"'
            )

    def _check_columns(self) -> None:
        from ml.data.landing.file_lines import LandingError
        from ml.data.sources.columns import REQUIRED, ROLES

        if len(set(self.names)) < len(self.names):
            raise LandingError(f"{self.origin}: columns names a column twice; give each a name of its own")
        for role in self.absent:
            if role in REQUIRED:
                raise LandingError(f"{self.origin}: columns.{role} cannot be false; a table needs a user and an item")
        named: list[tuple[str, str | None]] = [*self.columns.items(), *((role, None) for role in self.absent)]
        for role, named_column in named:
            if role not in ROLES:
                raise LandingError(
                    f"{self.origin}: columns.{role} is not known; under [columns] are {', '.join(ROLES)}"
                )
            others = [other for other, column in self.columns.items() if column == named_column and other != role]
            if others:
                raise LandingError(
                    f"{self.origin}: columns.{role} and columns.{others[0]} are both {named_column!r}; correct one"
                )

    @classmethod
    def from_toml(cls, path: Path) -> SourceDescription:
        """The description in a file.

        ``layout`` (a string) is needed; ``interactions`` and ``metadata`` (lists of strings) and the table ``columns``
        (of strings) may be absent.

        Raises:
            LandingError: the file cannot be read, is not TOML, has an unknown key, or a value that is not possible.
        """
        import tomllib

        from ml.data.landing.file_lines import LandingError, complaint
        from ml.data.sources.presets import with_preset

        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise LandingError(complaint(path, error)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LandingError(f"{path} is not TOML: {error or 'nested too deeply'}; correct it") from error
        for key in values:
            if key not in _KEYS:
                raise LandingError(
                    f"{path}: {key} is not known; there are {', '.join(_KEYS)} (keys stand in front of [columns])"
                )
        values = with_preset(values, str(path))
        if "layout" not in values:
            raise LandingError(f"{path}: layout is missing; it is one of {', '.join(LAYOUTS)}; or give a preset")
        if not isinstance(values["layout"], str):
            raise LandingError(f"{path}: layout has to be a string, one of {', '.join(LAYOUTS)}")
        for key in ("interactions", "metadata"):
            names = values.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise LandingError(f'{path}: {key} has to be a list of names of files, as in {key} = ["file"]')
        return cls(
            layout=values["layout"],
            interactions=tuple(values.get("interactions", ())),
            metadata=tuple(values.get("metadata", ())),
            origin=str(path),
            item_text=_template(path, values),
            **_columns(path, values.get("columns", {})),
            **_table_keys(path, values),
        )


def _is_readable(encoding: str) -> bool:
    """Whether Python knows an encoding, and it writes ASCII, and only that, as ASCII."""
    ascii_text = "".join(map(chr, range(9, 127)))
    try:
        return ascii_text.encode(encoding) == ascii_text.encode("ascii")
    except (LookupError, ValueError):
        return False


def _keep(path: Path, values: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """By column, the values of which a row must have one."""
    from ml.data.landing.file_lines import LandingError

    table = values.get("keep", {})
    if not isinstance(table, dict):
        raise LandingError(f'{path}: keep has to be a table of its own, as in [keep] and event = ["transaction"]')
    keep = {}
    for name, kept in table.items():
        _refuse_key_below(path, "keep", name)
        if not isinstance(kept, list) or not kept or not all(isinstance(one, str | int | float) for one in kept):
            raise LandingError(
                f'{path}: keep.{name} has to be a list of the values that are kept, as in {name} = ["transaction"]'
            )
        keep[name] = tuple(dict.fromkeys(text for one in kept for text in _as_written(one)))
    return keep


def _refuse_key_below(path: Path, table: str, key: str) -> None:
    """Refuse a key of the source that was written below a table header."""
    from ml.data.landing.file_lines import LandingError

    if key in _KEYS:
        raise LandingError(f"{path}: {key} stands below [{table}]; put it in front of it")


def _as_written(value: str | float) -> tuple[str, ...]:
    """A value as TOML text."""
    if isinstance(value, bool):
        return (str(value), str(value).lower())
    return (str(value),)


def _columns(path: Path, columns: object) -> dict[str, Any]:
    """The columns of a table, by their role or by their position."""
    from ml.data.landing.file_lines import LandingError

    if isinstance(columns, list):
        if not columns or not all(isinstance(name, str) for name in columns):
            raise LandingError(
                f'{path}: columns has to be a list of names, as in columns = ["user", "item", "timestamp"]'
            )
        return {"names": tuple(name.strip() or f"column_{place + 1}" for place, name in enumerate(columns))}
    if not isinstance(columns, dict):
        raise LandingError(
            f"{path}: columns has to be a table of its own, under [columns], or for a file without a line of names the "
            'list of them, as in columns = ["user", "item", "timestamp"]'
        )
    for role, name in columns.items():
        _refuse_key_below(path, "columns", role)
        if name is not False and (not isinstance(name, str) or not name.strip()):
            raise LandingError(
                f'{path}: columns.{role} has to be the name of a column, as in {role} = "name", or false for none'
            )
    absent = tuple(sorted(role for role, name in columns.items() if name is False))
    return {"columns": {role: name for role, name in columns.items() if name is not False}, "absent": absent}


def _table_keys(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The remaining options of a table."""
    from ml.data.landing.file_lines import LandingError

    said: dict[str, Any] = {}
    for key in ("separator", "time_format", "encoding"):
        if key in values and not isinstance(values[key], str):
            raise LandingError(f"{path}: {key} has to be a string")
        said[key] = values.get(key)
    if said["separator"] is not None:
        said["separator"] = _SEPARATOR_WORDS.get(said["separator"].lower(), said["separator"])
    unused = values.get("unused", [])
    if not isinstance(unused, list) or not all(isinstance(name, str) and name for name in unused):
        raise LandingError(f'{path}: unused has to be a list of names of columns, as in unused = ["name"]')
    return {**said, "unused": tuple(unused), "keep": _keep(path, values)}


def _template(path: Path, values: Mapping[str, object]) -> str | None:
    """The template of the item text in a description."""
    from ml.data.landing.file_lines import LandingError

    table = values.get("item_text")
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) != {"template"} or not isinstance(table["template"], str):
        raise LandingError(
            f'{path}: item_text has to be a table of its own, as in [item_text] and template = "{{title}} {{brand}}"'
        )
    return table["template"]


def described_in(folder: Path) -> SourceDescription | None:
    """The description in a folder (``source.toml``), or ``None``.

    Raises:
        LandingError: as :meth:`SourceDescription.from_toml`; it is a broken link.
    """
    from ml.data.landing.file_lines import LandingError

    path = folder / FILE_NAME
    if path.is_symlink() and not path.exists():
        raise LandingError(f"{path} is a link to a file that is not there; correct it, or take it away")
    return SourceDescription.from_toml(path) if path.is_file() else None
