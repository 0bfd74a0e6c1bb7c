"""The bounds of a release, read from ``data_contracts/release/`` and checked.

The format is described in ``data_contracts/README.md``, the measures in :data:`ml.release.gate.bounds.MEASURES`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from ml.config import nearest
from ml.release.gate.bounds import BLOCKING, BROKEN, FIRST_RELEASE, KEPT, MEASURES, NEXT_RELEASE, WARNING, Bound, Limit
from orchestration.contracts.files import FOLDER, RELEASE, ContractError, StrictLoader

DECISIONS = (FIRST_RELEASE, NEXT_RELEASE)
_FIELDS = ("decision", "promise", "bounds")
_BOUND_FIELDS = ("id", "measure", "limit", "severity", "reason", "remedy")
_LIMIT_FIELDS = ("at_least", "at_most", "level", "test")


@dataclass(frozen=True)
class ReleaseContract:
    """The bounds of one kind of decision.

    Attributes:
        decision: ``first_release`` (there is no champion) or ``next_release``.
        path: the file.
        promise: what the contract is about, one sentence.
        bounds: in the order of the file.
    """

    decision: str
    path: Path
    promise: str
    bounds: tuple[Bound, ...]


def release_files(folder: Path = FOLDER) -> list[Path]:
    """The files of the contracts of a release, whether they can be read or not."""
    return [folder / RELEASE / f"{decision}.yml" for decision in DECISIONS]


def load_release_contracts(folder: Path = FOLDER) -> dict[str, ReleaseContract]:
    """The contracts of a release, by decision.

    Raises:
        ContractError: naming the file, the line and what is possible.
    """
    strange = sorted({*folder.glob(f"{RELEASE}/*.y*ml")} - {*release_files(folder)})
    if strange:
        raise ContractError(
            f"{strange[0]}: the contracts of a release are {' and '.join(f'{name}.yml' for name in DECISIONS)}; "
            "move the bounds of this file into one of them"
        )
    return {path.stem: _read(path) for path in release_files(folder)}


def bounds_by_name(contracts: Mapping[str, ReleaseContract]) -> dict[str, Bound]:
    """The bounds of all contracts by their id; of an id that several have, that of the last."""
    return {bound.id: bound for contract in contracts.values() for bound in contract.bounds}


def _read(path: Path) -> ReleaseContract:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ContractError(f"{path} is missing: without it no release can be decided on") from error
    try:
        node = yaml.compose(text, Loader=StrictLoader)
        content = yaml.load(text, Loader=StrictLoader)
    except yaml.YAMLError as error:
        raise ContractError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    reader = _Reader(path, node)
    reader.check_fields(content, _FIELDS, (), ())
    if content["decision"] != path.stem:
        reader.refuse(f"decision is {content['decision']!r}, but the name of the file says {path.stem}", "decision")
    if not isinstance(content["bounds"], list) or not content["bounds"]:
        reader.refuse("bounds must be a list of at least one bound", "bounds")
    bounds = tuple(_bound(reader, place, entry) for place, entry in enumerate(content["bounds"]))
    ids = [bound.id for bound in bounds]
    for place, name in enumerate(ids):
        if name in ids[:place]:
            reader.refuse(f"more than one bound is called {name}", "bounds", place, "id")
    return ReleaseContract(path.stem, path, reader.text(content["promise"], "promise"), bounds)


def _bound(reader: _Reader, place: int, entry: Any) -> Bound:
    at = ("bounds", place)
    reader.check_fields(entry, _BOUND_FIELDS, (), at)
    name = reader.text(entry["id"], *at, "id")
    if not name.isidentifier():
        reader.refuse(f"the id {name!r} is the name of a check: use letters, digits and '_'", *at, "id")
    measure = entry["measure"]
    if not isinstance(measure, str) or measure not in MEASURES:
        close = nearest(str(measure), MEASURES)
        reader.refuse(f"there is no measure {measure}{close}; there are {', '.join(MEASURES)}", *at, "measure")
    if entry["severity"] not in (BLOCKING, WARNING):
        reader.refuse(f"severity is {entry['severity']!r}; it is '{BLOCKING}' or '{WARNING}'", *at, "severity")
    return Bound(
        id=name,
        measure=measure,
        limit=_limit(reader, measure, entry["limit"], (*at, "limit")),
        severity=entry["severity"],
        reason=reader.text(entry["reason"], *at, "reason"),
        remedy=reader.text(entry["remedy"], *at, "remedy"),
    )


def _limit(reader: _Reader, name: str, entry: Any, at: tuple[str | int, ...]) -> Limit:
    measure = MEASURES[name]
    reader.check_fields(entry, (), _LIMIT_FIELDS, at)
    given = [field for field in ("at_least", "at_most") if field in entry]
    if len(given) != 1:
        reader.refuse("give either at_least or at_most", *at)
    value = entry[given[0]]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        reader.refuse(f"{given[0]} is {value!r}; give a number", *at, given[0])
    tested = [field for field in ("level", "test") if field in entry]
    if not measure.is_tested:
        if tested:
            reader.refuse(f"{name} is one figure, which no test is made of: leave out {' and '.join(tested)}", *at)
        return Limit(at_least=float(value)) if given == ["at_least"] else Limit(at_most=float(value))
    if given == ["at_most"]:
        reader.refuse(f"{name} has a smallest value and no largest: give at_least", *at, "at_most")
    if measure.relative and not value > -1:
        reader.refuse(f"at_least is a share of the champion's nDCG@10, above -1, not {value}", *at, "at_least")
    level = entry.get("level")
    if isinstance(level, bool) or not isinstance(level, float) or not 0 < level < 0.5:
        reader.refuse(f"level is {level!r}; {name} needs the level of its test, as 0.05", *at)
    test = entry.get("test", KEPT)
    if test not in (KEPT, BROKEN):
        reader.refuse(
            f"test is {test!r}; it is '{KEPT}' (it must be shown that the bound is kept) or '{BROKEN}' (the candidate "
            "is refused only where it is shown that the bound is broken)",
            *at,
            "test",
        )
    return Limit(at_least=float(value), level=level, test=test)


@dataclass(frozen=True)
class _Reader:
    """A file and its parsed form, for errors that name the line."""

    path: Path
    root: yaml.Node | None

    def refuse(self, problem: str, *at: str | int) -> NoReturn:
        raise ContractError(f"{self.path}, line {self._line(at)}: {problem}")

    def check_fields(
        self, entry: Any, required: tuple[str, ...], optional: tuple[str, ...], at: tuple[str | int, ...]
    ) -> None:
        if not isinstance(entry, dict):
            self.refuse("is not a mapping of fields", *at)
        if missing := [name for name in required if name not in entry]:
            self.refuse(f"lacks {', '.join(missing)}", *at)
        for name in entry:
            if name not in (*required, *optional):
                close = nearest(str(name), (*required, *optional))
                self.refuse(
                    f"there is no field {name}{close}; there are {', '.join((*required, *optional))}", *at, name
                )

    def text(self, value: Any, *at: str | int) -> str:
        if not isinstance(value, str) or not value.strip():
            self.refuse(f"{at[-1]} must be text", *at)
        return " ".join(value.split())

    def _line(self, at: tuple[str | int, ...]) -> int:
        """Number of the line where a field stands, or where what holds it begins."""
        node, line = self.root, 1
        for step in at:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == step), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
        return line
