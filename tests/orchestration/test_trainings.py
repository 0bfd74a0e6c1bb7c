"""Trainings of one run side by side: the same weights, each failure at its own step, nothing left behind."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pytest

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.recommenders.registry import recipes
from ml.training.recipe import Recipe
from orchestration.assets import models
from orchestration.execution.trainings import Trainings
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import Settings, training_client

NAMES = ("tiny_gsasrec", "tiny_softmax")
MODELS = [asset for asset in models.model_assets if asset.key.path[-1] in NAMES]


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace that holds what the models read, where each training counts as worth a process."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.setattr(models, "_SEQUENCES_WORTH_A_PROCESS", 1)
    paths = Workspace.current().dataset("Small")
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 30, rng.integers(3, 9)) for _ in range(40)]
    everyone = np.arange(40, dtype=np.int32)
    folder = paths.asset("training_sets", "sequences")
    folder.mkdir(parents=True)
    TrainingSet(
        dataset="Small",
        item_ids=np.array([f"i{item:02}" for item in range(30)], dtype="S3"),
        user_ids=np.array([f"u{user:02}" for user in range(40)], dtype="S3"),
        train=Sequences.from_lists([history[:-2] for history in histories]),
        validation_users=everyone,
        validation_targets=np.array([history[-2] for history in histories], dtype=np.int32),
        test_users=everyone,
        test_targets=np.array([history[-1] for history in histories], dtype=np.int32),
    ).save(folder)
    paths.asset("settings").mkdir()
    for name, content in {
        "training": {"seed": 3},
        "fit": {"fit_on": "train"},
        "ranking": {"exclude_seen": False},
    }.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(content))
    return paths


def run(at_once: int, **settings: int) -> tuple[dg.ExecuteInProcessResult, dict[str, list[str]], list[str]]:
    """Both models in one run; the run, what each step said of its epochs, and the trainings that were started."""
    trainings = Trainings(at_once)
    began = []
    start = trainings.start
    trainings.start = lambda name, *rest: began.append(name) or start(name, *rest)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dataset", ["Small"])
        result = dg.materialize(
            MODELS,
            instance=instance,
            partition_key="Small",
            resources={
                "settings": Settings(recipes=list(NAMES), **settings),
                "training_client": training_client(),
                "trainings": trainings,
            },
            raise_on_error=False,
        )
        said = {
            name: [
                entry.user_message.split(",")[0]
                for entry in instance.all_logs(result.run_id)
                if entry.step_key == f"models__{name}" and entry.user_message.startswith("epoch ")
            ]
            for name in NAMES
        }
    trainings.close()
    return result, said, began


def versions(result: dg.ExecuteInProcessResult) -> list[str]:
    return [result.asset_materializations_for_node(f"models__{name}")[0].tags["dagster/data_version"] for name in NAMES]


@pytest.mark.slow
def test_weights_are_those_of_one_training_after_the_other(paths: DatasetPaths) -> None:
    alone, said_alone, none = run(at_once=1)
    together, said, began = run(at_once=2)
    assert none == []
    assert sorted(began) == sorted(NAMES)
    assert versions(together) == versions(alone)
    assert said == said_alone
    assert all(len(epochs) == 2 for epochs in said.values())


@pytest.mark.slow
@pytest.mark.parametrize(("cores", "side_by_side"), [(2, False), (4, True)])
def test_trainings_have_the_threads_that_were_asked_for(paths: DatasetPaths, cores: int, side_by_side: bool) -> None:
    result, _, began = run(cores, threads=2)
    assert result.success
    assert bool(began) is side_by_side
    for name in NAMES:
        written = json.loads((paths.asset("models", name) / "training_run.json").read_text())
        assert written["machine"]["threads"] == 2


@pytest.mark.parametrize(("cores", "threads", "at_once"), [(8, 1, 8), (8, 3, 2), (2, 4, 1), (1, 1, 1)])
def test_as_many_trainings_as_the_cores_hold(cores: int, threads: int, at_once: int) -> None:
    assert Trainings(cores).at_once(threads) == at_once


def test_a_failure_is_told_by_the_step_it_belongs_to(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    command = models.command
    # what a training says where its recipe is gone (tests/unit/test_training_command.py), without torch
    fails = [sys.executable, "-c", "import sys; sys.exit('error: no recipe file no_such_recipe.toml')"]

    def broken(recipe: Path, **options) -> list[str]:
        return fails if recipe.stem == NAMES[0] else command(recipe, **options)

    monkeypatch.setattr(models, "command", broken)
    result, _, _ = run(at_once=2)
    failure = result.failure_data_for_node(f"models__{NAMES[0]}").user_failure_data
    assert failure.description.startswith(f"Small: {NAMES[0]}: ")
    assert "no_such_recipe" in failure.description
    assert result.asset_materializations_for_node(f"models__{NAMES[1]}")


def test_a_model_that_can_start_later_starts_no_other_again(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, waits = (recipes()[name] for name in (*NAMES, "tiny_published"))
    began: list[str] = []

    def ready(*_) -> list[Recipe]:
        # as one whose codes are made only after other models were trained
        return [first, second] if not began else [first, second, waits]

    monkeypatch.setattr(models, "_of_this_run", ready)
    monkeypatch.setattr(models, "_command", lambda recipe, *_: [sys.executable, "-c", "pass"])
    trainings = Trainings(2)
    start = trainings.start
    trainings.start = lambda name, *rest: began.append(name) or start(name, *rest)
    context = SimpleNamespace(partition_key="Small")
    options = {"threads": 1, "device": "cpu"}
    for recipe in (first, second):
        assert models._starts_ahead(context, trainings, recipe, Settings(), options)
        assert trainings.finish(recipe.name, print) is None
    # alone it is trained in the process of the run
    assert not models._starts_ahead(context, trainings, waits, Settings(), options)
    assert began == [first.name, second.name]
    # a step that is tried again starts its own, and what has not been trained yet
    assert models._starts_ahead(context, trainings, first, Settings(), options)
    assert began[2:] == [first.name, waits.name]
    trainings.close()


@pytest.mark.parametrize("told", ["SIG_DFL", "SIG_IGN"])
def test_what_still_trains_at_the_end_of_a_run_is_stopped(
    told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.execution.trainings._TO_END_IN", 30.0 if told == "SIG_DFL" else 0.2)
    trainings = Trainings(1)
    pid = tmp_path / "pid"
    child = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.{told})
open({str(pid)!r} + "~", "w").write(str(os.getpid()))
os.rename({str(pid)!r} + "~", {str(pid)!r})
time.sleep(600)
"""
    for name in ("one", "waits"):
        trainings.start(name, [sys.executable, "-c", child], None)
    until = time.monotonic() + 60
    while not pid.exists():
        assert time.monotonic() < until, "the training has not begun"
        time.sleep(0.05)
    trainings.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_the_same_training_is_started_once(tmp_path: Path) -> None:
    trainings = Trainings(2)
    command = [sys.executable, "-c", f"open({str(tmp_path / 'runs')!r}, 'a').write('x')"]
    for _ in range(3):
        trainings.start("one", command, None)
    assert trainings.finish("one", print) is None
    assert (tmp_path / "runs").read_text() == "x"
    assert "one" not in trainings
    trainings.close()
