"""The stamp of a run that left nothing to do: it holds while nothing has changed, and no longer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.commands import nothing_new
from orchestration.commands.nothing_new import Command, dumps_of
from orchestration.paths import ITEM_FILES, DatasetPaths, Workspace

ARGUMENTS = ["--dataset", "Small", "--k-core", "3"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project and a workspace with a few files of each kind."""
    monkeypatch.setattr(nothing_new, "REPOSITORY", tmp_path / "project")
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "workspace"))
    for name in (
        "project/ml/models/sasrec.py",
        "project/orchestration/commands/run.py",
        "project/dbt_project/models/marts/items.sql",
        "project/data_contracts/marts/items.yml",
        "packages/torch-2.13.0.dist-info/METADATA",
        "recipes/mine.toml",
        "said/source.toml",
        "workspace/landing/Small/Small.json.gz",
        "workspace/lake/Small/marts/items/items.parquet",
        "workspace/lake/Small/landing/reviews/files.parquet",
        "workspace/lake/temporary/marts/items/items.parquet",
        "workspace/dagster/history/runs.db",
        "workspace/datasets/Small.lock",
    ):
        write(tmp_path / name)
    Workspace.current().dataset("Small").register(None, source=tmp_path / "said/source.toml")
    # last, since nothing can be imported after that
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages")])
    return tmp_path


def write(path: Path, text: str = "as it was") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stamped() -> DatasetPaths:
    paths = Workspace.current().dataset("Small")
    Command.given(ARGUMENTS).remember(paths, dumps_of(paths))
    return paths


def test_nothing_has_changed(home: Path) -> None:
    assert Command.given(ARGUMENTS).nothing_new() is None, "there is no stamp yet"
    assert stamped() == Command.given(ARGUMENTS).nothing_new()
    # the stamp of one command says nothing of another, and does not void that of the first
    assert Command.given([*ARGUMENTS, "--seed", "1"]).nothing_new() is None
    assert Command.given(ARGUMENTS).nothing_new() is not None


@pytest.mark.parametrize(
    "name",
    [
        "project/ml/models/sasrec.py",
        "project/ml/baselines/new.py",
        "project/dbt_project/models/marts/items.sql",
        "project/data_contracts/marts/items.yml",
        "packages/torch-2.14.0.dist-info/METADATA",
        "said/source.toml",
        "workspace/landing/Small/Small.json.gz",
        "workspace/landing/Small/another.csv",
        "workspace/lake/Small/marts/items/items.parquet",
        "workspace/lake/Small/marts/items/another.parquet",
        "workspace/lake/Small/landing/reviews/files.parquet",
        # of a dataset of that name, which this one may be pre-trained on
        "workspace/lake/temporary/marts/items/items.parquet",
        "workspace/dagster/history/runs.db",
        "workspace/datasets/Small.toml",
    ],
)
def test_a_file_that_counts_has_changed(home: Path, name: str) -> None:
    stamped()
    write(home / name, 'dumps = "landing/Small"\n\n[settings]\nk_core = 4\n')
    assert Command.given(ARGUMENTS).nothing_new() is None


@pytest.mark.parametrize(
    "name",
    [
        "project/ml/models/sasrec.py",
        "workspace/landing/Small/Small.json.gz",
        "workspace/lake/Small/marts/items/items.parquet",
        "said/source.toml",
    ],
)
def test_a_file_that_counts_is_gone(home: Path, name: str) -> None:
    stamped()
    (home / name).unlink()
    assert Command.given(ARGUMENTS).nothing_new() is None


@pytest.mark.parametrize(
    "name",
    [
        "workspace/datasets/Small.lock",
        "workspace/temporary/work.parquet",
        "project/dbt_project/target/manifest.json",
        "project/ml/__pycache__/x.pyc",
    ],
)
def test_a_file_that_does_not_count(home: Path, name: str) -> None:
    stamped()
    write(home / name, "another")
    assert Command.given(ARGUMENTS).nothing_new() is not None


def test_a_variable_and_recipes_of_ones_own(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamped()
    monkeypatch.setenv("RAW2RANK_RECIPES", str(home / "recipes"))
    assert Command.given(ARGUMENTS).nothing_new() is None
    stamped()
    write(home / "recipes/mine.toml", "another")
    assert Command.given(ARGUMENTS).nothing_new() is None


@pytest.mark.parametrize("setting", ITEM_FILES)
def test_a_file_that_a_setting_names(home: Path, setting: str) -> None:
    file = home / "elsewhere" / "stock.txt"
    write(file, "i1\n")
    settings = Workspace.current().dataset("Small").asset("settings") / "recommendations.json"
    write(settings, json.dumps({"recommend_items": 10, setting: str(file), f"{setting}_digest": "of i1"}))
    stamped()
    assert Command.given(ARGUMENTS).nothing_new() is not None
    write(file, "i2\n")
    assert Command.given(ARGUMENTS).nothing_new() is None
    stamped()
    file.unlink()
    assert Command.given(ARGUMENTS).nothing_new() is None
    write(settings, "damaged")
    assert Command.given(ARGUMENTS).nothing_new() is None


def test_settings_that_change_while_a_run_is_under_way(home: Path) -> None:
    paths, command = Workspace.current().dataset("Small"), Command.given(ARGUMENTS)
    before = dumps_of(paths)
    write(paths.registration, 'dumps = "landing/Small"\n\n[settings]\nk_core = 4\n')
    command.remember(paths, before)
    assert Command.given(ARGUMENTS).nothing_new() is None


def test_dumps_that_change_while_a_run_is_under_way(home: Path) -> None:
    paths, command = Workspace.current().dataset("Small"), Command.given(ARGUMENTS)
    before = dumps_of(paths)
    write(paths.dumps / "Small.json.gz", "of the next day")
    command.remember(paths, before)
    assert Command.given(ARGUMENTS).nothing_new() is None


@pytest.mark.parametrize(
    "damage", [lambda known: "{", lambda known: "[]", lambda known: json.dumps({**known, "code": 1})]
)
def test_a_damaged_stamp_counts_for_nothing(home: Path, damage: Callable[[dict], str]) -> None:
    stamped()
    stamp = Command.given(ARGUMENTS).stamp
    stamp.write_text(damage(json.loads(stamp.read_text())))
    assert Command.given(ARGUMENTS).nothing_new() is None
