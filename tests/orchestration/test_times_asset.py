"""The asset of times, and what is refused without real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from small_dataset import small_training_set

from ml.data.training_set import TrainingSet
from ml.training.recipe import load_recipe
from orchestration.assets.models import _read_beside_sequences, _train_here
from orchestration.assets.training_sets import load_training_set, times
from orchestration.execution.training_process import command
from orchestration.paths import DatasetPaths, Workspace

OPTIONS: dict[str, Any] = {
    "seed": 0,
    "fit_on": "train",
    "exclude_seen": False,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
    "checkpoint_seconds": 60.0,
}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr("orchestration.assets.training_sets.require_passed_checks", lambda *_: None)
    paths = Workspace.current().dataset("Small")
    folder = paths.asset("training_sets", "sequences")
    folder.mkdir(parents=True)
    small_training_set().save(folder)
    # a training looks whether a warm start is asked for
    paths.asset("settings").mkdir()
    (paths.asset("settings") / "fit.json").write_text('{"fit_on": "train", "warm_start": "off"}')
    return paths


def write_splits(training_set: TrainingSet, path: Path, gaps: np.ndarray | None) -> None:
    """The mart that the training set would be made of: a gap before each interaction, or no times."""
    rows = []
    clock = 1_500_000_000
    for user, identity in enumerate(training_set.user_ids.tolist()):
        items = [*training_set.train[user], training_set.validation_targets[user], training_set.test_targets[user]]
        for position, item in enumerate(items):
            clock += 0 if gaps is None else int(gaps[len(rows)])
            rows.append(
                {
                    "user_id": identity.decode(),
                    "position": position,
                    "item_id": training_set.item_ids[item].decode(),
                    "split": "train" if position < 5 else ("validation" if position == 5 else "test"),
                    "timestamp": None if gaps is None else clock,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema_overrides={"timestamp": pl.Int64}).write_parquet(path)


def made(paths: DatasetPaths, gaps: np.ndarray | None) -> dg.MaterializeResult:
    write_splits(small_training_set(), paths.table("marts", "splits"), gaps)
    result = times(dg.build_asset_context(partition_key="Small"))
    assert isinstance(result, dg.MaterializeResult)
    return result


REAL = np.random.default_rng(0).choice([0, 86_400, 864_000], 420)


def test_times_are_those_of_the_mart(paths: DatasetPaths) -> None:
    result = made(paths, REAL)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 300
    assert str(result.metadata["why models cannot learn from them"]).startswith("they can")
    clock = 1_500_000_000 + np.cumsum(REAL).reshape(60, 7)
    loaded = load_training_set(paths, with_times=True)
    assert np.array_equal(loaded.train.times, clock[:, :5].ravel())
    assert np.array_equal(loaded.histories("test").times, clock[:, :6].ravel())
    assert load_training_set(paths).train.times is None
    # equal times, equal version: nothing is trained again
    assert made(paths, REAL).data_version == result.data_version


@pytest.mark.parametrize("name", ["tisasrec", "sasrec_time_gaps", "sasrec_unirec"])
@pytest.mark.parametrize(
    ("gaps", "reason"), [(None, "has none"), (np.full(420, 86_400), "100% of the gaps .* are 86400 seconds")]
)
def test_a_training_without_real_times_is_refused_by_name(
    name: str, gaps: np.ndarray | None, reason: str, paths: DatasetPaths
) -> None:
    made(paths, gaps)
    with pytest.raises(dg.Failure, match=f"Small: recipe {name}: this model reads the times .*{reason}"):
        _train_here(load_recipe(name), paths, OPTIONS, lambda line: None)
    assert not paths.asset("models", name).exists()


@pytest.mark.parametrize("name", ["tisasrec", "sasrec_unirec", "sasrec_sampled_softmax", "cafe"])
def test_models_that_read_times_alone_depend_on_them(name: str) -> None:
    read = _read_beside_sequences(load_recipe(name))
    assert (read.get("times") == ["training_sets", "times"]) == (name in ("tisasrec", "sasrec_unirec"))
    assert ("item_text" in read) == (name == "cafe")


def test_the_command_of_a_training_names_the_folder_of_times(tmp_path: Path) -> None:
    started = command(Path("r"), Path("s"), Path("o"), None, None, **OPTIONS, times=tmp_path)
    assert started[started.index("--times") + 1] == str(tmp_path)
