"""What a package offers, by name: each module describes what it holds, and is imported when that is used.

A module registers what it holds with one assignment at its top level, of literal values alone::

    REGISTERED = Registered(
        name="most_popular",
        title="Most popular",
        description="The items with the most training interactions, the same for every user.",
        source="Cremonesi, Koren and Turrin, RecSys 2010",
        path="ml.baselines.most_popular:MostPopular",
        rank=30,
    )

or with a tuple of these. :func:`registered` reads the assignment from the source of the module, so that a list of all
baselines (say) costs no import of what they need. There is no list to add to: a file in the package is enough.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from ml.syntax import parse

NAME = "REGISTERED"


class RegistryError(ValueError):
    """A module that does not describe itself as it should; the message names file, line and remedy."""


@dataclass(frozen=True)
class Registered:
    """Something that is used by its name, and where it is found.

    Attributes:
        name: used in files, recipes, tables and commands.
        title: shown to readers.
        description: what it does, in a sentence or two.
        source: where it comes from.
        path: ``module:object``.
        needs: what it has to be given, in the words of its package.
        rank: its place in lists, the lowest first; equal ranks by name.
    """

    name: str
    title: str
    description: str
    source: str
    path: str
    needs: tuple[str, ...] = ()
    rank: int = 1000

    def __post_init__(self) -> None:
        for field in ("name", "title", "description", "source", "path"):
            if not isinstance(getattr(self, field), str) or not getattr(self, field):
                raise ValueError(f"{field} must be a text that is not empty, not {getattr(self, field)!r}")
        module, _, name = self.path.partition(":")
        if not module or not name.isidentifier():
            raise ValueError(f'path must have the form "module:object", not {self.path!r}')
        if not isinstance(self.needs, tuple) or not all(isinstance(need, str) for need in self.needs):
            raise ValueError(f"needs must be a tuple of texts, not {self.needs!r}")

    @property
    def module(self) -> str:
        """Dotted name of the module that holds it."""
        return self.path.partition(":")[0]

    def resolve(self) -> Any:
        """The object itself; its module is imported now.

        Raises:
            ImportError: what the module needs is not installed.
            AttributeError: the module holds no such object.
        """
        return getattr(importlib.import_module(self.module), self.path.partition(":")[2])


Kind = TypeVar("Kind", bound=Registered)


def registered(package: str, kind: type[Kind]) -> Mapping[str, Kind]:
    """What the modules of a package register, by name, in the order of ``rank``. None of them is imported.

    Args:
        package: dotted name. All folders of its ``__path__`` are looked through.
        kind: :class:`Registered`, or a class of it that adds no fields.

    Returns:
        A mapping that cannot be written to.

    Raises:
        RegistryError: a module's assignment holds more than literals or lacks something, or two have one name.
    """
    found: dict[str, Kind] = {}
    files: dict[str, Path] = {}
    for path in _modules(package):
        for values, line in _registrations(path):
            try:
                one = kind(**values)
            except (TypeError, ValueError) as error:
                raise RegistryError(f"{path}, line {line}: {NAME}: {error}") from error
            if one.name in found:
                raise RegistryError(
                    f"{path}, line {line}: {one.name} is registered in {files[one.name]} too; choose another name"
                )
            found[one.name], files[one.name] = one, path
    return MappingProxyType({one.name: one for one in sorted(found.values(), key=lambda one: (one.rank, one.name))})


def _modules(package: str) -> Iterator[Path]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        spec = info.module_finder.find_spec(info.name, None)
        if spec is not None and spec.origin is not None and not info.ispkg:
            yield Path(spec.origin)


def _registrations(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Keyword arguments of each ``Registered(...)`` that a module assigns, with its line."""
    source = path.read_bytes()
    # most of what a package holds registers nothing, and parsing takes a hundred times as long as this look
    if NAME.encode() not in source:
        return
    for node in parse(source, str(path)).body:
        if not isinstance(node, ast.Assign) or not any(ast.unparse(target) == NAME for target in node.targets):
            continue
        for call in node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]:
            yield _keywords(call, path), call.lineno


def _keywords(call: ast.expr, path: Path) -> dict[str, Any]:
    known = {field.name for field in fields(Registered)}
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == Registered.__name__):
        raise RegistryError(f"{path}, line {call.lineno}: {NAME} must be Registered(...), or a tuple of these")
    if call.args or any(keyword.arg not in known for keyword in call.keywords):
        raise RegistryError(
            f"{path}, line {call.lineno}: {NAME} takes keyword arguments alone, of {', '.join(sorted(known))}"
        )
    values = {}
    for keyword in call.keywords:
        try:
            values[str(keyword.arg)] = ast.literal_eval(keyword.value)
        except ValueError as error:
            raise RegistryError(
                f"{path}, line {keyword.value.lineno}: {NAME}: {keyword.arg} must be a literal, since the module is "
                "not imported to read it"
            ) from error
    return values
