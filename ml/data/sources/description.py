"""A user's own words on a source: which files it is made of, how they are laid out, and what is in their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

LAYOUTS = ("amazon_2018", "amazon_2014", "amazon_2023", "table", "sequence", "given_split")
FILE_NAME = "source.toml"

_KEYS = ("layout", "interactions", "metadata", "columns", "item_text")


@dataclass(frozen=True)
class SourceDescription:
    """How a source is laid out, where it cannot be seen from the names of its files.

    Attributes:
        layout: one of :data:`LAYOUTS`.
        interactions: names of its files relative to the folder, or patterns of names as in ``orders_*.csv``; empty
            for those that go by the dataset's name.
        metadata: the same for what is known of items.
        columns: for a table, name of the column by role (``user``, ``item``, ``timestamp``, ``rating``,
            ``verified``); roles that are not in it are recognised.
        origin: where it was read from, for errors.
        item_text: template of the text of an item (:mod:`ml.data.sources.item_template`), or ``None``.

    Raises:
        LandingError: one of these is not possible.
    """

    layout: str
    interactions: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    origin: str = "the description of the source"
    item_text: str | None = None

    def __post_init__(self) -> None:
        from ml.data.lines import LandingError
        from ml.data.sources.columns import ROLES

        if self.layout not in LAYOUTS:
            raise LandingError(f"{self.origin}: layout {self.layout!r} is not known; it is one of {', '.join(LAYOUTS)}")
        for key, names in (("interactions", self.interactions), ("metadata", self.metadata)):
            for name in names:
                path = PurePosixPath(name)
                if not path.name or path.is_absolute() or ".." in path.parts:
                    raise LandingError(
                        f"{self.origin}: {key} names {name!r}; give names of files in the folder of the source"
                    )
            if len(set(names)) < len(names):
                raise LandingError(f"{self.origin}: {key} names a file twice; name each once")
        if self.layout == "given_split" and self.interactions:
            raise LandingError(
                f"{self.origin}: a given_split has files of fixed names; leave interactions out, and give the folder "
                "that holds train, val and test as the folder of the source"
            )
        if self.item_text is not None:
            from ml.data.sources.item_template import fields_of

            try:
                fields_of(self.item_text)
            except ValueError as error:
                raise LandingError(f"{self.origin}: item_text.template: {error}") from error
        if self.columns and self.layout != "table":
            raise LandingError(
                f"{self.origin}: columns are for a table, and the layout is {self.layout}; leave them out"
            )
        for role, name in self.columns.items():
            if role not in ROLES:
                raise LandingError(
                    f"{self.origin}: columns.{role} is not known; under [columns] are {', '.join(ROLES)}"
                )
            others = [other for other, column in self.columns.items() if column == name and other != role]
            if others:
                raise LandingError(
                    f"{self.origin}: columns.{role} and columns.{others[0]} are both {name!r}; correct one"
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

        from ml.data.lines import LandingError, complaint

        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise LandingError(complaint(path, error)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LandingError(f"{path} is not TOML: {error or 'nested too deeply'}; correct it") from error
        for key in values:
            if key not in _KEYS:
                raise LandingError(f"{path}: {key} is not known; there are {', '.join(_KEYS)}")
        if "layout" not in values:
            raise LandingError(f"{path}: layout is missing; it is one of {', '.join(LAYOUTS)}")
        if not isinstance(values["layout"], str):
            raise LandingError(f"{path}: layout has to be a string, one of {', '.join(LAYOUTS)}")
        for key in ("interactions", "metadata"):
            names = values.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise LandingError(f'{path}: {key} has to be a list of names of files, as in {key} = ["file"]')
        columns = values.get("columns", {})
        if not isinstance(columns, dict):
            raise LandingError(f"{path}: columns has to be a table of its own, under [columns]")
        for role, name in columns.items():
            if not isinstance(name, str) or not name.strip():
                raise LandingError(f'{path}: columns.{role} has to be the name of a column, as in {role} = "name"')
        return cls(
            layout=values["layout"],
            interactions=tuple(values.get("interactions", ())),
            metadata=tuple(values.get("metadata", ())),
            columns=columns,
            origin=str(path),
            item_text=_template(path, values),
        )


def _template(path: Path, values: Mapping[str, object]) -> str | None:
    """The template of the item text in a description."""
    from ml.data.lines import LandingError

    table = values.get("item_text")
    if table is None:
        return None
    if not isinstance(table, dict) or set(table) != {"template"} or not isinstance(table["template"], str):
        raise LandingError(
            f'{path}: item_text has to be a table of its own, as in [item_text] and template = "{{title}} {{brand}}"'
        )
    return table["template"]


def described_in(folder: Path) -> SourceDescription | None:
    """The description that lies in a folder, as ``source.toml``, or ``None``.

    Raises:
        LandingError: as :meth:`SourceDescription.from_toml`.
    """
    path = folder / FILE_NAME
    return SourceDescription.from_toml(path) if path.is_file() else None
