"""Models that start from the champion of their dataset, trained in the process of the run and in one of their own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_dataset import ITEMS, small_training_set

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.data.versions import versioned_folder
from ml.recommenders.registry import recipes, registry
from ml.release.bundle import load
from ml.release.gate.decision import digest_of
from ml.release.write_bundle import write_bundle
from ml.training.checkpoint import checkpoint_folder
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.summary import facts_of_trained
from ml.training.train import train
from ml.training.warm_start import ColdStart
from orchestration.assets import models
from orchestration.paths import REPOSITORY, DatasetPaths, Workspace

OPTIONS = {
    "seed": 3, "fit_on": "train", "exclude_seen": True, "device": "cpu", "precision": "float32", "threads": 1,
    "checkpoint_seconds": 60.0,
}  # fmt: skip


def _settings(paths: DatasetPaths, fit: dict[str, str]) -> None:
    paths.asset("settings").mkdir(exist_ok=True, parents=True)
    (paths.asset("settings") / "fit.json").write_text(json.dumps(fit))


@pytest.fixture
def today() -> TrainingSet:
    """With an item that yesterday did not have, the last one."""
    return replace(small_training_set(), protocol={"split": "leave-one-out"})


@pytest.fixture
def paths(today: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    paths.asset("training_sets", "sequences").mkdir(parents=True)
    today.save(paths.asset("training_sets", "sequences"))
    paths.table("marts", "items").parent.mkdir()
    titles = [f"hose {item % 3}" for item in range(ITEMS)]
    empty = pa.nulls(ITEMS, pa.string())
    pq.write_table(
        pa.table(
            {
                "item_id": [item.decode() for item in today.item_ids],
                "title": titles,
                "brand": empty,
                "category": empty,
                "price": pa.nulls(ITEMS, pa.float64()),
            }
        ),
        paths.table("marts", "items"),
    )
    yesterday = replace(
        today,
        item_ids=today.item_ids[:-1],
        train=Sequences.from_lists([history[history < ITEMS - 1] for history in today.train]),
        validation_targets=np.minimum(today.validation_targets, ITEMS - 2),
        test_targets=np.minimum(today.test_targets, ITEMS - 2),
    )
    folder = tmp_path / "yesterday"
    train(recipes()["tiny_softmax"], yesterday, folder, 3, progress=False, validate_with_seen_excluded=True)
    with versioned_folder(paths.champion) as bundle:
        write_bundle(bundle, "tiny_softmax", lambda _: folder, registry(), yesterday, None, {})
    return paths


def test_a_model_starts_from_the_champion(paths: DatasetPaths) -> None:
    _settings(paths, {"fit_on": "train", "warm_start": "champion"})
    recipe, folder = recipes()["tiny_softmax"], paths.asset("models", "tiny_softmax")
    told: list[str] = []
    models._train_here(recipe, paths, OPTIONS, told.append)
    here = SequentialRecommender.load(folder)
    release = digest_of(load(paths.champion))
    assert here.started_from is not None
    assert here.started_from.as_json() == {
        "source": release, "known_items": ITEMS - 1, "new_items": 1, "by_text": 1, "dropped_items": 0, "fresh": [],
    }  # fmt: skip
    assert told[0].startswith(f"started from the weights of {release}: epoch 1")
    assert facts_of_trained(folder)["started from"] == release
    # a process of its own is given the same start, as the slow test sees
    command = models._command(recipe, paths, OPTIONS)
    assert Path(command[command.index("--start") + 1]).exists()


@pytest.mark.slow
def test_a_training_in_a_process_of_its_own_starts_from_the_champion_with_the_same_weights(paths: DatasetPaths) -> None:
    _settings(paths, {"fit_on": "train", "warm_start": "champion"})
    recipe, folder = recipes()["tiny_softmax"], paths.asset("models", "tiny_softmax")
    models._train_here(recipe, paths, OPTIONS, lambda _: None)
    here = SequentialRecommender.load(folder)
    written = (folder / "config.json").read_bytes()
    command = models._command(recipe, paths, OPTIONS)
    ran = subprocess.run([*command, "--quiet"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert (folder / "config.json").read_bytes() == written
    apart = SequentialRecommender.load(folder)
    assert apart.started_from == here.started_from
    assert apart._config()["weights_digest"] == here._config()["weights_digest"]
    # with its checkpoints, the start is gone
    assert not checkpoint_folder(folder).exists()


@pytest.mark.parametrize("fit", [{"fit_on": "train"}, {"fit_on": "train", "warm_start": "off"}])
def test_without_the_setting_nothing_is_carried_over(paths: DatasetPaths, today: TrainingSet, fit: dict) -> None:
    _settings(paths, fit)
    recipe = recipes()["tiny_softmax"]
    assert "--start" not in models._command(recipe, paths, OPTIONS)
    models._train_here(recipe, paths, OPTIONS, lambda _: None)
    trained = SequentialRecommender.load(paths.asset("models", "tiny_softmax"))
    cold = SequentialRecommender(recipe, 3, validate_with_seen_excluded=True).fit(today)
    assert trained._config()["weights_digest"] == cold._config()["weights_digest"]
    assert "started from" not in facts_of_trained(paths.asset("models", "tiny_softmax"))


def test_a_recipe_that_the_champion_lacks_says_so(paths: DatasetPaths, today: TrainingSet) -> None:
    from orchestration.warm_start import start_of

    _settings(paths, {"fit_on": "train", "warm_start": "champion"})
    start = start_of(paths, "tiny_gbce", today)
    assert isinstance(start, ColdStart)
    assert "has no part of the recipe tiny_gbce" in start.reason
