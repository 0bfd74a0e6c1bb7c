"""The code version of an asset: a digest of the code that makes it, and of the libraries which that code uses.

It covers the named modules and all modules of ``ml`` that they import, however deep, and the version of every library
that any of them imports. Comments, docstrings, formatting and what a module registers (:mod:`ml.registry`) do not
count, so that prose does not re-train a model.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ml.data.files import atomic_file
from ml.syntax import parse
from orchestration.paths import REPOSITORY, Workspace

# Packages that are installed under another name than they are imported by; others are looked for, which takes a second.
_INSTALLED_AS = {"sklearn": "scikit-learn", "Stemmer": "PyStemmer", "yaml": "PyYAML"}
# Libraries that show what goes on and leave no trace in what is made.
_SHOWS_ONLY = frozenset({"tqdm", "tensorboard"})
# Part of the digest that a module is remembered by.
_FORMAT = f"2 {sys.implementation.cache_tag}"


@dataclass(frozen=True)
class _Module:
    """The parts of a module that its version depends on.

    Attributes:
        digest: of its code.
        imports: names, dotted, that may be modules of ``ml``.
        libraries: packages of others that it imports.
    """

    digest: str
    imports: tuple[str, ...]
    libraries: tuple[str, ...]


def code_version(*modules: str, files: Iterable[Path] = (), libraries: Iterable[str] = ()) -> str:
    """Digest of the given modules (dotted names), of the ``ml`` modules they need, and of what else is given.

    Args:
        modules: dotted names.
        files: further files whose bytes count.
        libraries: further packages whose versions count, by the name they are imported by or installed as.

    Raises:
        ModuleNotFoundError: where a name is no module of this repository.
    """
    needed: set[str] = set()
    used = set(libraries)
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in needed:
            needed.add(module)
            used.update(_module(module).libraries)
            waiting.extend(_imports(module))
    lines = [f"{module} {_digest(module)}" for module in sorted(needed)]
    lines += [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(files)]
    lines += [f"{name} {library_version(name)}" for name in sorted(used - _SHOWS_ONLY)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@cache
def library_version(name: str) -> str:
    """Version of the installed package that a name is imported from, or that has this name; empty where there is none.

    Without the part behind ``+``, which tells the builds of one release apart (``2.11.0+cpu``).
    """
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return _release(_INSTALLED_AS.get(name, name))
    if importlib.util.find_spec(name) is None:
        return ""
    return " ".join(_release(package) for package in sorted(set(_packages().get(name, ()))))


def _release(package: str) -> str:
    return importlib.metadata.version(package).partition("+")[0]


def remember() -> None:
    """Keep what was read from sources for the next process, in the workspace where there is one."""
    fresh = {key: asdict(module) for key, module in _seen.items()}
    if fresh.keys() - _known().keys() and (home := Workspace.current().home).is_dir():
        with contextlib.suppress(OSError):
            _cache(home).parent.mkdir(exist_ok=True)
            with atomic_file(_cache(home)) as temporary:
                temporary.write_text(json.dumps(fresh), encoding="utf-8")


def _cache(home: Path) -> Path:
    return home / "cache" / "code_versions.json"


# by digest of its source, each module that this process has asked for
_seen: dict[str, _Module] = {}


@cache
def _known() -> dict[str, dict]:
    """Entries kept by earlier processes; empty if they cannot be read."""
    try:
        known = json.loads(_cache(Workspace.current().home).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


@cache
def _packages() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


@cache
def _file(module: str) -> Path | None:
    base = REPOSITORY.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return path
    return None


@cache
def _module(name: str) -> _Module:
    path = _file(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} in {REPOSITORY}")
    source = path.read_bytes()
    key = hashlib.sha256(_FORMAT.encode() + source).hexdigest()
    if key not in _seen:
        known = _known().get(key)
        _seen[key] = (
            _Module(known["digest"], tuple(known["imports"]), tuple(known["libraries"])) if known else _parsed(source)
        )
    return _seen[key]


def _parsed(source: bytes) -> _Module:
    tree = parse(source)
    tree.body = [node for node in tree.body if not _describes(node)]
    nodes = _statements([tree])
    blocks = [node for node in nodes if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    for_types = {id(node) for block in blocks for node in _statements(block.body)}
    names: list[str] = []
    tops: set[str] = set()
    for node in nodes:
        _remove_docstring(node)
        found = _imported(node)
        names += found
        if id(node) not in for_types:
            tops.update(name.split(".")[0] for name in found)
    return _Module(
        digest=hashlib.sha256(ast.dump(tree).encode()).hexdigest(),
        imports=tuple(name for name in names if name.split(".")[0] == "ml"),
        libraries=tuple(sorted(tops - {"ml", "orchestration"} - sys.stdlib_module_names)),
    )


def _statements(nodes: Iterable[ast.AST]) -> list[ast.AST]:
    """The nodes and all statements inside, without the expressions of these, in which nothing is imported."""
    found, waiting = [], list(nodes)
    while waiting:
        node = waiting.pop()
        found.append(node)
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(node, name, None)
            # a condition and a lambda have one expression there
            waiting.extend(inside if isinstance(inside, list) else [])
    return found


def _describes(node: ast.stmt) -> bool:
    """Whether a statement describes its module to :mod:`ml.registry` and decides nothing of what the module does."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "ml.registry"
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["REGISTERED"]


def _remove_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
        value = body[0].value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            del body[0]


def _imported(node: ast.AST) -> list[str]:
    """Names that a statement imports; those that follow ``from`` may be modules or not."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _digest(module: str) -> str:
    return _module(module).digest


@cache
def _imports(module: str) -> tuple[str, ...]:
    return tuple(name for name in _module(module).imports if _file(name) is not None)
