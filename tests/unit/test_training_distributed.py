"""ml/training/distributed.py: several processes train the model that one would have trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from costs import others_slow
from safetensors.torch import load_file
from training_processes import train_in_child, train_together
from training_toys import IDENTIFIER_TREE, LIST_WRITER, SAMPLED_SOFTMAX

from ml.training.checkpoint import checkpoint_folder
from ml.training.distributed import World

# without dropout, and with negatives that a batch shares, nothing random is left to differ
RECIPE = {
    "objective": SAMPLED_SOFTMAX,
    "model": {"dropout": 0.0},
    "training": {"max_epochs": 5, "patience": 5, "weight_averaging": 0.5},
}


def _log(folder):
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("size", "users"), [(2, 49), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [(2, 60), (3, 49)])]
)
def test_the_loss_curve_is_that_of_one_process(tmp_path, size, users):
    """Of 49 users the last batch has one, and all processes but one have nothing to do in it."""
    options = {"recipe": RECIPE, "users": users, "fit_on": "train+validation"}
    assert train_in_child(tmp_path / "alone", **options) == 0
    results = train_together(tmp_path / "together", size, **options)
    assert len(results) == size
    # the digest is of each process's own weights
    assert len({result["weights_digest"] for result in results}) == 1
    alone, together = _log(tmp_path / "alone"), _log(tmp_path / "together")
    assert [line["step"] for line in alone] == [line["step"] for line in together]
    np.testing.assert_allclose([r["loss"] for r in together], [r["loss"] for r in alone], rtol=1e-6, atol=1e-6)
    qualities = [[r["validation_ndcg_at_10"] for r in log if r["fit_on"] == "train"] for log in (alone, together)]
    np.testing.assert_allclose(*qualities, atol=0.02)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "together"))
    for name, weights in one.items():
        if "key" in name and name.endswith("bias"):
            continue  # attention does not depend on the bias of keys: its gradient is rounding, which Adam blows up
        np.testing.assert_allclose(other[name], weights, atol=2e-4, err_msg=name)
    run = json.loads((tmp_path / "together" / "training_run.json").read_text())
    assert run["machine"]["processes"] == size


GENERATING = {"identifiers": (IDENTIFIER_TREE, {}), "lists": (LIST_WRITER, {"list_length": 1})}


@pytest.mark.parametrize("chosen", others_slow(GENERATING, "identifiers"))
def test_two_processes_train_what_one_would_and_validate_what_is_generated(tmp_path, chosen):
    """For lists of one item no positions are drawn, so that nothing random is left."""
    recipe, changes = chosen
    model = recipe["model"] | {"dropout": 0.0} | changes
    options = {"recipe": recipe | {"model": model, "training": {"max_epochs": 3}}}
    assert train_in_child(tmp_path / "alone", **options) == 0
    results = train_together(tmp_path / "together", 2, **options)
    assert len({result["weights_digest"] for result in results}) == 1
    alone, together = _log(tmp_path / "alone"), _log(tmp_path / "together")
    np.testing.assert_allclose([r["loss"] for r in together], [r["loss"] for r in alone], rtol=1e-5)
    qualities = [[r["validation_ndcg_at_10"] for r in log] for log in (alone, together)]
    np.testing.assert_allclose(*qualities, atol=0.02)


def test_killed_together_they_go_on_together(tmp_path):
    recipe = RECIPE | {"model": {"dropout": 0.3}}
    whole = train_together(tmp_path / "whole", 2, recipe=recipe)
    assert train_together(tmp_path / "killed", 2, kill_at_step=7, recipe=recipe) == []
    assert checkpoint_folder(tmp_path / "killed").exists()
    resumed = train_together(tmp_path / "killed", 2, recipe=recipe)
    assert {result["weights_digest"] for result in resumed} == {result["weights_digest"] for result in whole}
    assert not checkpoint_folder(tmp_path / "killed").exists()


def test_every_row_is_of_one_part():
    rows = np.arange(11)
    parts = [World(rank, 3).part_of(rows) for rank in range(3)]
    assert sorted(np.concatenate(parts)) == rows.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
