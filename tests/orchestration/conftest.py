"""A recorded workspace in which everything is up to date, and definitions built anew: for what is made again when."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from plan_bench import GRAPH, NAME, WANTED, settle, versions, write_settings
from workbench import write_small_dump

from ml.recommenders import registry as recommenders
from orchestration import code_versions
from orchestration.assets.raw import observe
from orchestration.commands.run import configure_instance
from orchestration.definitions import defs
from orchestration.execution import staleness
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.paths import Workspace


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything is up to date."""
    home = tmp_path_factory.mktemp("plan") / "workspace"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAW2RANK_HOME", str(home))
        paths = Workspace.current().dataset(NAME)
        write_small_dump(home / "landing" / NAME)
        for key in WANTED:
            place = paths.asset(*key.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.with_name(f"{place.name}.json").write_text("{}")
        paths.champion.mkdir()
        write_settings()
        configure_instance(Workspace.current())
        with open_instance(home / "dagster") as instance:
            instance.add_dynamic_partitions("dataset", [NAME])
            observe(instance, NAME)
            settle(instance, GRAPH, WANTED, versions)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to change one thing in."""
    home = tmp_path / "workspace"
    shutil.copytree(made, home)
    monkeypatch.setenv("RAW2RANK_HOME", str(home))
    return home


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(home / "dagster") as instance:
        yield instance


@pytest.fixture
def rebuilt() -> Iterator[Callable[[], dg.Definitions]]:
    """Builds the definitions as another process would, with the code that is there now; forgotten afterwards."""
    parts = [name for name in sys.modules if name.startswith("orchestration.assets.")]
    parts += ["orchestration.checks", "orchestration.automation.jobs", "orchestration.build"]
    before = {name: sys.modules[name] for name in parts}
    packages = {name: dict(vars(sys.modules[name])) for name in ("orchestration", "orchestration.assets")}
    caches = [
        recommenders.recipes,
        recommenders.fusions,
        recommenders.rerankings,
        recommenders.alignments,
        recommenders.language_models,
        code_versions.library_version,
        code_versions._module,
    ]

    def build() -> dg.Definitions:
        for cached in caches:
            cached.cache_clear()
        for name in parts:
            sys.modules.pop(name)
        return importlib.import_module("orchestration.build").build_defs()

    yield build
    sys.modules.update(before)
    for name, attributes in packages.items():
        vars(sys.modules[name]).update(attributes)
    for cached in caches:
        cached.cache_clear()
    staleness.set_asset_graph(defs.resolve_asset_graph)
