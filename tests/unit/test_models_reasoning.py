"""ml/models/reasoning.py: steps of all positions at once equal histories that are run one by one through the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ml.data.sequences import Sequences
from ml.models.catalogue import Catalogue
from ml.models.reasoning import ReasoningSASRec
from ml.models.sasrec import SASRec
from ml.models.settings import ReasoningSASRecSettings
from ml.objectives.settings import SoftmaxSettings
from ml.objectives.softmax import Softmax
from ml.tasks.build import build_task
from ml.tasks.settings import NextItemSettings
from ml.training.trainable import ReasonedSequences, trainable_of

ITEMS, WINDOW = 40, 9
SETTINGS = ReasoningSASRecSettings(
    dimensions=12,
    dropout=0.0,
    max_length=WINDOW,
    item_embedding="dense",
    separate_output_embedding=False,
    embedding_deviation=0.7,
    blocks=2,
    heads=3,
    feed_forward_dimensions=20,
    block="pre_norm",
    reasoning_steps=3,
    reasoning_temperature=2.0,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _model() -> ReasoningSASRec:
    torch.manual_seed(0)
    return ReasoningSASRec(SETTINGS, Catalogue(ITEMS)).eval()


def _one_by_one(model: ReasoningSASRec, items: torch.Tensor, start: int) -> list[torch.Tensor]:
    """States of the steps after ``items``, each through all blocks on one longer sequence of inputs."""
    positions = model.positions[start : start + len(items)]
    inputs = (model.input_embedding(items) + positions)[None]
    found = []
    for step in range(SETTINGS.reasoning_steps + 1):
        hidden = inputs
        for block in model.blocks:
            hidden = block(hidden)
        state = model.norm(hidden)[0, -1]
        found.append(state)
        if step < SETTINGS.reasoning_steps:
            inputs = torch.cat([inputs, (state + model.step_vectors[step])[None, None]], dim=1)
    return found[1:]


def test_every_position_reasons_as_a_history_that_ends_there():
    """Also with padding, and where a single state of each history is asked for."""
    model = _model()
    items, lengths = torch.randint(ITEMS, (3, WINDOW)), torch.tensor([4, WINDOW, 1])
    real = torch.arange(WINDOW) < lengths[:, None]
    positions = real.flatten().nonzero()[:, 0]
    every = model.trained_states(items, lengths, lengths, positions)
    for number, position in enumerate(positions.tolist()):
        row, place = divmod(position, WINDOW)
        expected = _one_by_one(model, items[row, : place + 1], WINDOW - int(lengths[row]))
        single = model.trained_states(items, lengths, lengths, torch.tensor([position]))
        for step, state in enumerate(expected):
            scaled = state * 2.0 ** (step - 2)
            torch.testing.assert_close(every[step][number], scaled, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(single[step][0], scaled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(items, lengths, lengths)[row, place], expected[-1], rtol=1e-4, atol=1e-5)


def test_before_it_reasons_it_is_sasrec():
    """The same seed draws the same weights, so that nothing but the steps differs from the plain recipe."""
    reasoning = _model()
    torch.manual_seed(0)
    plain = SASRec(SETTINGS, Catalogue(ITEMS)).eval()
    own = reasoning.state_dict()
    steps = own.pop("step_vectors")
    assert steps.shape == (3, 12)
    assert own.keys() == plain.state_dict().keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in plain.state_dict().items())


def test_all_steps_are_trained():
    """The loss is the mean of the softmax losses of the steps, hotter ones first."""
    model = _model()
    task = build_task(NextItemSettings(), ITEMS)
    trainable = trainable_of(model, task, Softmax(SoftmaxSettings(), np.zeros(1)))
    assert isinstance(trainable, ReasonedSequences)
    generator = np.random.default_rng(0)
    batch = trainable.batch(Sequences.from_lists([[1, 2, 3, 4], [5, 6]]), np.arange(2), generator)
    expected = []
    for row, number, target in ((0, 1, 2), (0, 2, 3), (0, 3, 4), (1, 1, 6)):
        history = torch.tensor([[1, 2, 3], [5]][row])
        states = _one_by_one(model, history[:number], WINDOW - len(history))
        for state, temperature in zip(states, (4.0, 2.0, 1.0), strict=True):
            scores = model.output_embedding.weight @ state / temperature
            expected.append(F.cross_entropy(scores, torch.tensor(target)))
    torch.testing.assert_close(trainable.loss(batch, generator), torch.stack(expected).mean(), rtol=1e-4, atol=1e-5)
