"""ml/training/parallel.py and checkpoint_parts.py: processes that each hold a part of the weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from costs import others_slow
from recommender_factories import made_up_training_set, with_categories
from torch import nn
from training_processes import lose_one_of_two, train_in_child, train_together
from training_toys import GBCE, SAMPLED_SOFTMAX, ring_training_set

from ml.models.build import build_model
from ml.training.checkpoint import checkpoint_folder
from ml.training.derived import derive
from ml.training.item_features import item_features
from ml.training.parallel import check_shardable
from ml.training.recipe import load_recipes
from ml.training.runtime import Execution

# without dropout, and with negatives that a batch shares, nothing random is left to differ
SASREC = {
    "objective": SAMPLED_SOFTMAX,
    "model": {"dropout": 0.0},
    "training": {"max_epochs": 4, "patience": 4, "weight_averaging": 0.5},
}
GSASREC = SASREC | {"objective": GBCE, "model": {"dropout": 0.0, "separate_output_embedding": True}}
RECJPQ = SASREC | {"codes": "identifiers"}
STEPS = 16


def losses(folder: Path) -> list[float]:
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == STEPS
    return [json.loads(line)["loss"] for line in lines]


def by_one(folder: Path, recipe: dict) -> list[float]:
    assert train_in_child(folder, recipe=recipe, checkpoint_seconds=None) == 0
    return losses(folder)


@pytest.fixture(scope="module")
def sasrec_by_one(tmp_path_factory) -> list[float]:
    return by_one(tmp_path_factory.mktemp("alone") / "toy", SASREC)


@pytest.mark.parametrize("recipe", others_slow({"gsasrec": GSASREC, "recjpq": RECJPQ}, "gsasrec"))
def test_the_loss_curve_is_that_of_one_process_whatever_each_holds(tmp_path, recipe):
    """SASRec's is compared where training is resumed, and beside whole weights in test_training_distributed.py."""
    alone = by_one(tmp_path / "alone", recipe)
    for sharding in ("none", "full"):
        results = train_together(tmp_path / sharding, 2, recipe=recipe, sharding=sharding, checkpoint_seconds=None)
        assert len(results) == 2
        assert len({result["weights_digest"] for result in results}) == 1
        np.testing.assert_allclose(losses(tmp_path / sharding), alone, rtol=1e-5)
        run = json.loads((tmp_path / sharding / "training_run.json").read_text())
        assert (run["machine"]["processes"], run["machine"]["sharding"]) == (2, sharding)


# with whole weights, test_training_distributed.py asks the same of two processes
@pytest.mark.slow
def test_a_process_without_rows_takes_part_in_the_step(tmp_path):
    """Of 49 users the last batch has one, and two of three processes have nothing to do in it."""
    options = {"recipe": SASREC, "users": 49, "checkpoint_seconds": None}
    assert train_in_child(tmp_path / "alone", **options) == 0
    results = train_together(tmp_path / "together", 3, sharding="full", **options)
    assert [result["steps"] for result in results] == [STEPS] * 3
    np.testing.assert_allclose(losses(tmp_path / "together"), losses(tmp_path / "alone"), rtol=1e-5)


CHANGES = {
    "sharded-one": ((2, "full"), (1, "none")),
    "one-sharded": ((1, "none"), (2, "full")),
    "several-one": ((2, "none"), (1, "none")),
    "sharded-more": ((2, "full"), (3, "full")),
}


@pytest.mark.parametrize("change", others_slow(CHANGES, "sharded-one", "one-sharded"))
def test_another_number_of_processes_goes_on_from_the_checkpoint(tmp_path, sasrec_by_one, change):
    before, after = change

    def run(size: int, sharding: str, kill_at_step: int) -> bool:
        options = {"recipe": SASREC, "sharding": sharding, "checkpoint_every_steps": 3}
        if size == 1:
            return train_in_child(tmp_path / "toy", kill_at_step, **options) == 0
        return len(train_together(tmp_path / "toy", size, kill_at_step, **options)) == size

    assert not run(*before, kill_at_step=8)
    kept = sorted(path.name for path in checkpoint_folder(tmp_path / "toy").iterdir())
    assert kept == (["search.json", "search.parts-2"] if before[1] == "full" else ["search.safetensors"])
    # 6 steps are behind it, so that a run from the start would be killed
    assert run(*after, kill_at_step=STEPS - 5)
    np.testing.assert_allclose(losses(tmp_path / "toy"), sasrec_by_one, rtol=1e-5)
    assert not checkpoint_folder(tmp_path / "toy").exists()


def test_a_damaged_part_is_no_checkpoint_and_nothing_is_unpickled(tmp_path):
    def run(kill_at_step: int, every: int) -> bool:
        options = {"recipe": SASREC, "sharding": "full", "checkpoint_every_steps": every}
        return train_together(tmp_path / "toy", 2, kill_at_step, **options) != []

    assert not run(kill_at_step=5, every=3)
    kept = [path for path in checkpoint_folder(tmp_path / "toy").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in kept) == [".json", ".safetensors", ".safetensors"]
    damaged = next(path for path in kept if path.suffix == ".safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    # both start from the beginning; with the checkpoint they would not come to this step
    assert not run(kill_at_step=STEPS, every=STEPS + 1)


@pytest.mark.parametrize("sharding", others_slow(["none", "full"], "full"))
def test_a_lost_process_stops_the_other_with_one_sentence_and_no_model(tmp_path, sharding):
    (tmp_path / "set").mkdir()
    ring_training_set(400).save(tmp_path / "set")
    arguments = {"recipe": "sasrec_sampled_softmax", "training-set": tmp_path / "set", "out": tmp_path / "out"}
    arguments |= {"sharding": sharding, "checkpoint-seconds": 0}
    given = [str(part) for name, value in arguments.items() for part in (f"--{name}", value)]
    first, second = lose_one_of_two(tmp_path / "said", 3, [*given, "--quiet"])
    assert (first, second) == (1, -9)
    assert re.fullmatch(
        "stopped: another process of this training .* goes on from the last checkpoint\n",
        (tmp_path / "said").read_text(),
    )
    assert not (tmp_path / "out").exists()
    assert list(checkpoint_folder(tmp_path / "out").glob("search.*"))


def test_weights_that_cannot_be_cut_are_named():
    model = nn.Module()
    model.table = nn.Parameter(torch.zeros(4, 3))
    check_shardable(model)
    model.temperature = nn.Parameter(torch.ones(()))
    with pytest.raises(ValueError, match=r"temperature is a single number.*SHARDING=none"):
        check_shardable(model)
    del model.temperature
    model.turned = nn.Parameter(torch.zeros(4, 3).T)
    with pytest.raises(ValueError, match="turned does not lie in memory row by row"):
        check_shardable(model)


def test_options_that_exclude_one_another_are_refused():
    with pytest.raises(ValueError, match="sharding must be one of none, full, not 'half'"):
        Execution(sharding="half")
    with pytest.raises(ValueError, match="sharding full and compile do not go together"):
        Execution(sharding="full", compile=True)


def test_the_weights_of_every_recipe_can_be_cut():
    """Those of ``unisrec_pretrained`` are as those of ``unisrec``."""
    training_set = with_categories(made_up_training_set())
    counts = np.ones(training_set.items, dtype=np.int64)
    books = (np.arange(training_set.items)[:, None] // np.array([1, 2, 4, 8]) % 8).astype(np.uint8)
    for given in (recipe for recipe in load_recipes() if recipe.pretraining is None):
        recipe, _ = derive(given, training_set.train.lengths, 1, validated=True)
        codes, sizes = (books, [8] * books.shape[1]) if recipe.codes else (None, None)
        features = item_features(recipe.model, training_set)
        model = build_model(recipe.model, training_set.items, 70, codes, sizes, counts, **features)
        check_shardable(model)
