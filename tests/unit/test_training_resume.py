"""ml/training/checkpoint.py: killed at any step and started again, training ends with the same weights."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
import torch
from costs import others_slow
from training_processes import train_in_child, train_killed_after
from training_toys import IDENTIFIER_TREE, LIST_WRITER, fitted, ring_training_set, toy_recipe

from ml.data.versions import VERSIONS
from ml.training.checkpoint import Checkpoint, TrainingState, checkpoint_folder, run_fingerprint
from ml.training.log import EpochRecord
from ml.training.loop import DivergedError, build_optimiser
from ml.training.moving_average import WeightAverage
from ml.training.train import train

# 4 steps an epoch; dropout, moving average, warm-up and early stopping all in play
RECIPE = {
    "model": {"dropout": 0.3},
    "optimiser": {"warm_up_steps": 6},
    "training": {"max_epochs": 4, "patience": 2, "weight_averaging": 0.9},
}
OPTIONS = {"recipe": RECIPE, "fit_on": "train+validation"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "toy"
    assert train_in_child(folder, **OPTIONS) == 0
    return folder


def _bytes(folder: Path) -> dict[str, bytes]:
    """Of each file, the times aside."""
    known = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "training_run.json"}
    lines = [json.loads(line) for line in known.pop("training_log.jsonl").splitlines()]
    timeless = [{name: value for name, value in line.items() if "second" not in name} for line in lines]
    return known | {"log": json.dumps(timeless).encode()}


# with steps behind the last checkpoint here
@pytest.mark.parametrize(
    ("seed", "every"), [(2, 3), *(pytest.param(seed, 1, marks=pytest.mark.slow) for seed in (0, 1))]
)
def test_killed_at_random_steps_it_ends_with_the_same_bytes(tmp_path, uninterrupted, seed, every):
    steps, folder = random.Random(seed), tmp_path / "toy"
    phases, code = set(), None
    while code != 0:
        code = train_in_child(folder, kill_at_step=steps.randint(every + 1, 9), checkpoint_every_steps=every, **OPTIONS)
        assert code in (0, -signal.SIGKILL)
        if code:
            assert not folder.exists()
            phases.add(tuple(sorted(path.stem for path in checkpoint_folder(folder).glob("*.safetensors"))))
    assert phases >= {("search",), ("refit", "search")}
    assert _bytes(folder) == _bytes(uninterrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == [VERSIONS, "toy"]


@pytest.mark.parametrize("recipe", others_slow({"identifiers": IDENTIFIER_TREE, "lists": LIST_WRITER}, "lists"))
def test_a_model_that_generates_goes_on_too(tmp_path, recipe):
    """Identifiers, or lists: a model that writes lists draws positions while it is trained."""
    options = {"recipe": recipe | {"training": {"max_epochs": 2}}, "fit_on": "train+validation"}
    assert train_in_child(tmp_path / "whole", **options) == 0
    for step in (3, 7):
        assert train_in_child(tmp_path / "killed", kill_at_step=step, **options) == -signal.SIGKILL
    assert train_in_child(tmp_path / "killed", **options) == 0
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "whole")


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tmp_path, uninterrupted):
    moments, folder, kills = random.Random(0), tmp_path / "toy", 0
    seconds = 0.05
    while train_killed_after(folder, moments.uniform(0.3, 1) * seconds, **OPTIONS):
        kills += 1
        seconds *= 2  # on a slow machine the first lives are too short for a step
    assert kills
    assert _bytes(folder) == _bytes(uninterrupted)


def test_seconds_go_on_where_they_were(tmp_path):
    folder = tmp_path / "toy"
    assert train_in_child(folder, kill_at_step=7, **OPTIONS) == -signal.SIGKILL
    checkpoint = checkpoint_folder(folder) / "search.safetensors"
    before = _description(checkpoint)["state"]
    assert before["step"] == 6
    assert (before["epoch"], before["batch"], len(before["log"])) == (2, 2, 1)
    assert train_in_child(folder, **OPTIONS) == 0
    log = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert log[0] == before["log"][0]
    assert log[1]["seconds"] > before["seconds"]


def _description(path: Path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["checkpoint"])


@pytest.mark.parametrize("changed", ["seed", "recipe", "training set", "damaged"])
def test_a_checkpoint_of_another_run_is_passed_over(tmp_path, changed):
    folder, options = tmp_path / "toy", {"threads": 1, "progress": False}
    assert train_in_child(folder, kill_at_step=7, recipe=RECIPE) == -signal.SIGKILL
    checkpoint = checkpoint_folder(folder) / "search.safetensors"
    recipe, training_set, seed = toy_recipe(**RECIPE), ring_training_set(60), 0
    if changed == "seed":
        seed = 1
    elif changed == "recipe":
        recipe = toy_recipe(**RECIPE | {"optimiser": {"learning_rate": 0.02}})
    elif changed == "training set":
        training_set = ring_training_set(60, seed=1)
    else:
        checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    found = train(recipe, training_set, folder, seed, **options)
    fresh = train(recipe, training_set, tmp_path / "fresh", seed, checkpoint_seconds=None, **options)
    assert found.weights_digest == fresh.weights_digest
    assert not checkpoint.parent.exists()


def test_other_code_is_another_run(monkeypatch, tmp_path):
    before = run_fingerprint(recipe="one")
    assert run_fingerprint(recipe="one") == before != run_fingerprint(recipe="two")
    monkeypatch.setattr("ml.training.checkpoint._CODE", ("training",))
    assert run_fingerprint(recipe="one") != before


def test_a_diverged_run_leaves_no_checkpoint(tmp_path):
    recipe = toy_recipe(optimiser={"learning_rate": 1e30, "warm_up_steps": 0})
    with pytest.raises(DivergedError):
        train(recipe, ring_training_set(), tmp_path / "toy", progress=False, threads=1, checkpoint_seconds=0)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_gives_back_what_was_put_in(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    optimiser, average = build_optimiser(model, toy_recipe().optimiser), WeightAverage(model, 0.5)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimiser.step()
        average.update(model)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = EpochRecord("train", 1, 3, 0.1, None, 2.5, 1e9 / 3)
    state = TrainingState(2, 1, 3, 0.1 + 0.2, 7, 1.5, 0.5, 5, 9, 0.25, 1, weights, [record])
    Checkpoint(tmp_path / "one.safetensors", "mine", 0).save(state, model, optimiser, average)

    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    its_optimiser, its_average = build_optimiser(other, toy_recipe().optimiser), WeightAverage(other, 0.5)
    assert Checkpoint(tmp_path / "one.safetensors", "other", 0).restore(other, its_optimiser, its_average) is None
    found = Checkpoint(tmp_path / "one.safetensors", "mine", 0).restore(other, its_optimiser, its_average)
    assert found.as_json() == state.as_json()
    assert all(torch.equal(found.best_weights[name], weights[name]) for name in weights)
    assert its_average.steps == average.steps == 3
    for one, same in ((average.averages, its_average.averages), (model.state_dict(), other.state_dict())):
        assert one.keys() == same.keys()
        assert all(torch.equal(one[name], same[name]) for name in one)
    moments, its_moments = optimiser.state_dict()["state"], its_optimiser.state_dict()["state"]
    assert moments.keys() == its_moments.keys()
    assert all(
        torch.equal(moments[place][name], its_moments[place][name]) for place in moments for name in moments[place]
    )


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted(toy_recipe(training={"max_epochs": 1}), ring_training_set())
    assert list(tmp_path.iterdir()) == []
