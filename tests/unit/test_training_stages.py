"""Models that are pre-trained: two stages in the one loop (ml/training/loop.py, ml/tasks/masked_then_last.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_toys import ITEMS, ring_training_set

from ml.codes.codes import Codes
from ml.data.sequences import Sequences
from ml.training.checkpoint import Checkpoint
from ml.training.loop import Phase, Trained, train_model
from ml.training.recipe import OptimiserSettings, Recipe, TrainingSettings, recipe_from_tables
from ml.training.reproducible import reproducible
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

OPTIMISER = OptimiserSettings(learning_rate=0.01, betas=(0.9, 0.98), weight_decay=0.0, warm_up_steps=0)
SIZES = (5, 4, 2)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


class _Rows:
    inputs = places = predictions = 1

    def to(self, device: torch.device) -> _Rows:
        return self


class _Staged:
    """Notes the epoch of each batch."""

    least_items = 1
    max_length = 3

    def __init__(self, pretraining_epochs: int) -> None:
        self.pretraining_epochs = pretraining_epochs
        self.module = nn.Linear(1, 1)
        self.epoch = 0
        self.epochs: list[int] = []

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> _Rows:
        self.epochs.append(self.epoch)
        return _Rows()

    def loss(self, batch: _Rows, generator: np.random.Generator) -> Tensor:
        return self.module.weight.square().sum() + self.module.bias.square().sum()

    def compile(self) -> None:
        raise AssertionError("nobody asked for it")


def _trained(trainable, qualities: list[float], patience: int = 2) -> Trained:
    """Train for as many epochs as there are qualities, two steps each."""
    waiting = iter(qualities)
    training = TrainingSettings(batch_size=1, max_epochs=len(qualities), patience=patience)
    sequences = Sequences.from_lists([[1], [2]])
    with reproducible(1):
        return train_model(
            trainable, sequences, lambda: next(waiting), OPTIMISER, training, Phase(0, "train", "Staged"), Execution()
        )


def test_batches_are_made_for_their_epoch():
    trainable = _Staged(0)
    _trained(trainable, [0.1, 0.2, 0.3])
    assert trainable.epochs == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("pretraining_epochs", "qualities", "epochs", "best"),
    [
        (0, [0.5, 0.1, 0.1, 0.9], 3, 1),
        (2, [0.5, 0.1, 0.1, 0.1, 0.9], 4, 1),
        (3, [0.5, 0.1, 0.1, 0.1, 0.9], 5, 5),
        (2, [0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.9], 6, 4),
    ],
)
def test_patience_counts_from_the_end_of_pretraining(pretraining_epochs, qualities, epochs, best):
    trained = _trained(_Staged(pretraining_epochs), qualities)
    assert (len(trained.log), trained.best_epoch) == (epochs, best)


def _codes() -> Codes:
    order = np.random.default_rng(0).permutation(ITEMS)
    values = np.stack(np.unravel_index(order, SIZES), axis=1).astype(np.uint8)
    return Codes(values, {"name": "unique", "books": 3, "book_sizes": list(SIZES)})


def _recipe(pretraining_epochs: int, max_epochs: int = 4, **training) -> Recipe:
    tables = {
        "title": "GenRec",
        "source": "none",
        "notes": "",
        "set": "generative",
        "codes": "unique",
        "model": {
            "architecture": "genrec",
            "dimensions": 24,
            "heads": 2,
            "head_dimensions": 12,
            "feed_forward_dimensions": 48,
            "encoder_blocks": 1,
            "decoder_blocks": 1,
            "feed_forward": "relu",
            "dropout": 0.1,
            "max_length": 6,
            "reads": "codes_and_items",
            "user_tokens": 0,
            "tied_heads": False,
            "beam_width": 10,
            "embedding_deviation": 0.3,
        },
        "task": {"name": "masked_then_last", "prefixes": 2, "pretraining_epochs": pretraining_epochs},
        "objective": {"name": "code_cross_entropy"},
        "optimiser": {"learning_rate": 0.005, "betas": [0.9, 0.98], "weight_decay": 0.0, "warm_up_steps": 2},
        "training": {"batch_size": 16, "max_epochs": max_epochs, "patience": max_epochs} | training,
    }
    return recipe_from_tables("genrec", tables, "the test")


def _recommender(recipe: Recipe, folder: Path | None = None, seconds: float = 0.0, **options) -> SequentialRecommender:
    execution = Execution(threads=1, checkpoints=folder, checkpoint_seconds=seconds)
    return SequentialRecommender(recipe, 0, _codes(), execution=execution, **options)


class _Interrupted(Exception):
    pass


@pytest.mark.parametrize("fit_on", ["train", "train+validation"])
def test_interrupted_in_either_stage_it_ends_with_the_same_weights(tmp_path, monkeypatch, fit_on):
    training_set = ring_training_set(40)
    recipe = _recipe(2)
    whole = _recommender(recipe, fit_on=fit_on).fit(training_set)
    steps, save = 0, Checkpoint.save
    stages = set()

    def interrupted(self, state, *arguments):
        nonlocal steps
        save(self, state, *arguments)
        stages.add((self.path.stem, state.epoch > 2))
        steps += 1
        if steps % 4 == 0:
            raise _Interrupted

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    resumed = None
    while resumed is None:
        try:
            resumed = _recommender(recipe, tmp_path, fit_on=fit_on).fit(training_set)
        except _Interrupted:
            continue
    assert steps > 8
    assert stages >= {("search", False), ("search", True)}
    expected = whole.model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.model.state_dict().items())
    assert [(record.loss, record.validation_ndcg_at_10) for record in resumed.log] == [
        (record.loss, record.validation_ndcg_at_10) for record in whole.log
    ]


def test_one_key_of_the_recipe_turns_pretraining_off():
    training_set = ring_training_set(40)
    with_it, without = (_recommender(_recipe(epochs, 3)).fit(training_set) for epochs in (2, 0))
    assert with_it.log[0].loss != without.log[0].loss
    tables = [_recipe(epochs).as_tables() for epochs in (2, 0)]
    assert tables[0].pop("task") == tables[1].pop("task") | {"pretraining_epochs": 2}
    assert tables[0] == tables[1]
