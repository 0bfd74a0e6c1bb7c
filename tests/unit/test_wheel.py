"""The wheel: it holds what the code reads, and works from another folder without being written to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("data_contracts", "dbt_project", "ml", "orchestration", "raw2rank")
# left behind by use, in a checkout
_LEFT = ("__pycache__", "target", "logs")

SHOP = "user,item,timestamp,rating\n" + "".join(
    f"u{user},i{(user * 7 + step * step) % 30},{1_500_000_000 + 86_400 * step + user},{1 + step % 5}\n"
    for user in range(60)
    for step in range(5 + user % 4)
)
# as a user would who has nothing but the package
LOOK = """
import json, sys
from pathlib import Path
import numpy as np
import raw2rank
from ml.data.sequences import Sequences
from orchestration import paths
from orchestration.contracts import files as contract_files
from orchestration.contracts.release import load_release_contracts
from orchestration import dbt as project
from orchestration.definitions import defs
from ml.recommenders.registry import recipes

rows = [[(user + step) % 20 for step in range(5)] for user in range(40)]
training_set = raw2rank.TrainingSet(
    dataset="ring",
    item_ids=np.array([b"%02d" % item for item in range(20)]),
    user_ids=np.array([b"%02d" % user for user in range(40)]),
    train=Sequences.from_lists([row[:-1] for row in rows]),
    validation_users=np.empty(0, dtype=np.int32),
    validation_targets=np.empty(0, dtype=np.int32),
    test_users=np.arange(40, dtype=np.int32),
    test_targets=np.array([row[-1] for row in rows], dtype=np.int32),
)
chain = raw2rank.BASELINES["markov_chain"].create().fit(training_set)
metrics = raw2rank.user_metrics(raw2rank.rank(chain, training_set, "chain", 0), training_set)
found = {
    "code": paths.__file__,
    "workspace": str(paths.Workspace.current().home),
    "manifest": str(next(Path.cwd().rglob("manifest.json"))),
    "assets": len(list(defs.resolve_asset_graph().materializable_asset_keys)),
    "contracts": len(contract_files.load_contracts()) + len(load_release_contracts()),
    "recipes": sorted(recipes()),
    "ranks": metrics["target_rank"].to_pylist(),
}
print(json.dumps(found))
"""


def copied_from_checkout() -> set[str]:
    """What a wheel is to hold of each package, by path."""
    return {
        str(path.relative_to(REPOSITORY))
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and not set(_LEFT) & set(path.relative_to(REPOSITORY).parts)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources, beside what dbt leaves in a checkout that was used."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, source / package, ignore=shutil.ignore_patterns(*_LEFT))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for left in ("target/compiled/models/items.sql", "logs/dbt.log", "macros/.items.sql.swp"):
        (source / "dbt_project" / left).parent.mkdir(parents=True, exist_ok=True)
        (source / "dbt_project" / left).write_text("select 1")
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    built = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(out.glob("raw2rank-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory) -> Path:
    """The wheel unpacked, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def outside(folder: Path, packages: Path) -> dict[str, str]:
    """The environment of a shell in which nothing leads to the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAW2RANK_", "DAGSTER_"))}
    executables = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {
        **kept,
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PWD": str(folder),
        "PATH": executables,
    }


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_that_use_leaves(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if ".dist-info/" not in name}
        entry_points = file.read(next(name for name in file.namelist() if name.endswith("entry_points.txt"))).decode()
    assert held == copied_from_checkout()
    assert "raw2rank = orchestration.commands.main:main" in entry_points


def test_it_works_from_another_folder_and_is_not_written_to(installed: Path, tmp_path: Path) -> None:
    before = files_of(installed)
    ran = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env=outside(tmp_path, installed), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["code"] == str(installed / "orchestration" / "paths.py")
    assert found["workspace"] == str(tmp_path / "workspace")
    assert found["manifest"].startswith(str(tmp_path / "workspace" / "dbt"))
    assert found["assets"] > 50
    assert found["contracts"] == len(list((REPOSITORY / "data_contracts").glob("*/*.yml")))
    assert "sasrec_sampled_softmax" in found["recipes"]
    assert found["ranks"] == [1] * 40
    assert files_of(installed) == before


@pytest.mark.installed
def test_a_dataset_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed by pip, with the libraries of this environment, and run by its console script in another folder."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = ["--python", str(python), "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    libraries = next(path for path in map(Path, sys.path) if (path / "dagster").is_dir())
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    before = files_of(packages)
    home = tmp_path / "elsewhere"
    (home / "data").mkdir(parents=True)
    (home / "data" / "shop.csv").write_text(SHOP)
    recipes = home / "recipes"
    recipes.mkdir()
    shutil.copy(REPOSITORY / "tests" / "recipes" / "tiny_softmax.toml", recipes)
    environment = outside(home, packages) | {"RAW2RANK_RECIPES": str(recipes)}
    del environment["PYTHONPATH"]
    options = ["DATASET=shop", "DUMPS=data", "K_CORE=2", "RECIPES=tiny_softmax"]
    command = [str(python.with_name("raw2rank")), "run", *options]
    ran = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Two-hop item graph" in ran.stdout
    report = home / "workspace" / "lake" / "shop" / "evaluation" / "report"
    assert (report / "report.html").is_file()
    assert files_of(packages) == before
    again = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert "everything is up to date" in again.stdout
