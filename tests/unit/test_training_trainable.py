"""ml/training/trainable.py: the loop trains what is not scored by dot products too."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_toys import ITEMS, fitted, ring_training_set, toy_recipe

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.objectives.build import build_objective
from ml.tasks.next_item import NextItem
from ml.training.checkpoint import Checkpoint
from ml.training.loop import Phase, Trained, train_model
from ml.training.recipe import OptimiserSettings, TrainingSettings
from ml.training.reproducible import generator_for, reproducible
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.trainable import ScoredSequences

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_model.md"
OPTIMISER = OptimiserSettings(learning_rate=0.01, betas=(0.9, 0.98), weight_decay=0.01, warm_up_steps=2)
TRAINING = TrainingSettings(batch_size=32, max_epochs=12, patience=12, weight_averaging=0.9)
# digits of base 7: items share prefixes, and no two have all digits in common
CODES = torch.stack([torch.arange(ITEMS) // 7, torch.arange(ITEMS) % 7], dim=1)


@pytest.fixture(scope="module")
def page() -> SimpleNamespace:
    """What the example of the page defines."""
    section = PAGE.read_text(encoding="utf-8").split("## A model that is not scored by dot products\n")[1]
    blocks = re.findall(r"^```python\n(.*?)^```$", section.split("\n## ")[0], re.M | re.S)
    assert len(blocks) == 1
    defined: dict[str, object] = {}
    exec(compile(blocks[0], str(PAGE), "exec"), defined)
    return SimpleNamespace(**defined)


def _generator(page: SimpleNamespace) -> nn.Module:
    generator_for(0, 0)
    return page.Generator(CODES, 7, 32)


def _generated(module: nn.Module, histories: Sequences) -> Tensor:
    batch = NextItem().history_batch(histories, np.arange(len(histories)), 8)
    with torch.inference_mode():
        return module.generate(module.states(batch.items, batch.positions))


def _train(trainable, training_set: TrainingSet, training=TRAINING, checkpoint=None, **execution) -> Trained:
    """Train it, by the share of validation users whose target it generates."""

    def validate() -> float:
        trainable.module.eval()
        wanted = CODES[torch.from_numpy(training_set.validation_targets).long()]
        generated = _generated(trainable.module, training_set.histories("validation"))
        return float((generated == wanted).all(dim=1).double().mean())

    with reproducible(1):
        return train_model(
            trainable,
            training_set.histories("train"),
            validate,
            OPTIMISER,
            training,
            Phase(0, "train", "Generator", checkpoint=checkpoint),
            Execution(**execution),
        )


def test_a_generator_learns_to_generate_the_next_item(page):
    training_set = ring_training_set()
    module = _generator(page)
    trained = _train(page.GeneratedCodes(module, 8), training_set)
    losses = [record.loss for record in trained.log]
    assert losses[-1] < 0.2 * losses[0]
    assert trained.log[trained.best_epoch - 1].validation_ndcg_at_10 == max(
        record.validation_ndcg_at_10 for record in trained.log
    )
    wanted = CODES[torch.from_numpy(training_set.test_targets).long()]
    found = (_generated(module, training_set.histories("test")) == wanted).all(dim=1).double().mean()
    assert found > 0.9


class _Interrupted(Exception):
    pass


def test_an_interrupted_generator_ends_with_the_same_weights(page, tmp_path):
    training_set = ring_training_set(96)
    training = TrainingSettings(batch_size=32, max_epochs=4, patience=4, weight_averaging=0.9)
    whole = _train(page.GeneratedCodes(_generator(page), 8), training_set, training)

    class Interrupting(page.GeneratedCodes):
        steps = 0

        def loss(self, batch, generator):
            self.steps += 1
            if self.steps == 5:
                raise _Interrupted
            return super().loss(batch, generator)

    lives, resumed = 0, None
    while resumed is None:
        lives += 1
        checkpoint = Checkpoint(tmp_path / "search.safetensors", "this run", every_seconds=0)
        try:
            resumed = _train(Interrupting(_generator(page), 8), training_set, training, checkpoint)
        except _Interrupted:
            assert checkpoint.path.exists()
    assert lives == 3  # twelve steps, four of them in each life
    assert resumed.weights.keys() == whole.weights.keys()
    assert all(torch.equal(resumed.weights[name], whole.weights[name]) for name in whole.weights)
    assert [(record.loss, record.validation_ndcg_at_10) for record in resumed.log] == [
        (record.loss, record.validation_ndcg_at_10) for record in whole.log
    ]


@dataclass(frozen=True)
class _Rows:
    """A batch that is nothing but the rows of it."""

    rows: Tensor
    inputs: int
    places: int
    predictions: int

    def to(self, device: torch.device) -> _Rows:
        return _Rows(self.rows.to(device), self.inputs, self.places, self.predictions)


class _Counting:
    """The loss of a batch is the mean of its row numbers, of which row ``n`` counts ``n + 1`` times."""

    least_items = 2
    max_length = 3
    pretraining_epochs = 0

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1)
        self.compiled = 0
        self.epochs: list[int] = []

    def start_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def batch(self, sequences: Sequences, rows: np.ndarray, generator: np.random.Generator) -> _Rows:
        return _Rows(torch.from_numpy(rows), len(rows), 4 * len(rows), int((rows + 1).sum()))

    def loss(self, batch: _Rows, generator: np.random.Generator) -> Tensor:
        assert self.module.training
        weights = batch.rows + 1
        return (batch.rows * weights).sum() / weights.sum() + 0 * self.module.weight.sum() + 0 * self.module.bias.sum()

    def compile(self) -> None:
        self.compiled += 1


def test_batches_of_any_kind_count_by_their_predictions():
    sequences = Sequences.from_lists([[1, 2], [3], [1, 2, 3, 4, 5], [1, 2], [5, 6, 7], [8]])
    trainable = _Counting()
    trained = train_model(
        trainable,
        sequences,
        None,
        OPTIMISER,
        TrainingSettings(batch_size=3, max_epochs=2, patience=1),
        Phase(0, "train", "Counting"),
        Execution(compile=True),
    )
    rows = np.array([0, 2, 3, 4])  # those of two items and more
    assert [record.loss for record in trained.log] == pytest.approx([np.average(rows, weights=rows + 1)] * 2)
    assert [record.step for record in trained.log] == [2, 4]
    assert trained.best_epoch == 2
    assert trained.share_of_padding == 0.75
    assert trainable.compiled == 1


def test_a_scored_model_gives_the_loss_of_its_objective():
    training_set = ring_training_set(20)
    recipe = toy_recipe({"name": "softmax"}, model={"dropout": 0.0}, training={"max_epochs": 1})
    model = fitted(recipe, training_set).model
    trainable = ScoredSequences(model, NextItem(), build_objective(recipe.objective, np.ones(ITEMS, dtype=np.int64)))
    batch = trainable.batch(training_set.train, np.arange(20), np.random.default_rng(0))
    assert batch.predictions == batch.inputs == np.minimum(training_set.train.lengths - 1, 8).sum()
    assert batch.places == batch.items.numel()
    states = model.states(batch.items, batch.lengths, batch.users, batch.positions)
    expected = nn.functional.cross_entropy(states @ model.output_embedding.weight.T, batch.targets.items)
    torch.testing.assert_close(trainable.loss(batch, np.random.default_rng(0)), expected)


def test_a_recommender_validates_with_the_weights_it_has():
    training_set = ring_training_set()
    recommender = fitted(toy_recipe(training={"max_epochs": 3}), training_set)
    assert recommender.validate(training_set) == recommender.best_validation_ndcg_at_10
    with torch.no_grad():
        recommender.model.output_embedding.weight.zero_()
    # all scores are equal, so every target has its place in the order of ties
    assert recommender.validate(training_set) != recommender.best_validation_ndcg_at_10
    with pytest.raises(ValueError, match="no validation users"):
        recommender.validate(training_set.to_fit_on("train+validation"))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_has_the_same_losses():
    recipe = toy_recipe(model={"dropout": 0.0}, training={"max_epochs": 3})
    plain, compiled = (
        [record.loss for record in SequentialRecommender(recipe, execution=execution).fit(ring_training_set(60)).log]
        for execution in (Execution(), Execution(compile=True))
    )
    np.testing.assert_allclose(compiled, plain, rtol=1e-5)
