"""ml/training/touched_rows.py and what it stands on: the weights of Adam, at the cost of the rows that are read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_toys import GBCE, SAMPLED_SOFTMAX, fitted, ring_training_set, toy_recipe

from ml.data.training_set import TrainingSet
from ml.models.build import build_model
from ml.models.row_table import RowTable
from ml.tasks.build import build_task
from ml.training import loop, row_choice
from ml.training.checkpoint import Checkpoint, TrainingState
from ml.training.contrasted import trained_as
from ml.training.derived import derive
from ml.training.distributed import World
from ml.training.loop import build_optimiser, set_learning_rate
from ml.training.moving_average import WeightAverage
from ml.training.recipe import OptimiserSettings, Recipe, load_recipe, load_recipes
from ml.training.reproducible import reproducible
from ml.training.row_choice import choose_rows
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.touched_rows import AdamOfTouchedRows, catch_up, reading_rows
from ml.training.train import train
from ml.training.unread_steps import suits

CPU = torch.device("cpu")
ROWS, WIDTH = 6, 3


class Tables(nn.Module):
    """Two tables that are read by their rows, and a weight that is not."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.items, self.users = (_Table(torch.randn(ROWS, WIDTH, generator=generator).double()) for _ in range(2))
        self.rest = nn.Parameter(torch.ones(WIDTH).double())


class _Table(nn.Module, RowTable):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, rows: Tensor) -> Tensor:
        table, places = self.table_for(rows)
        return F.embedding(places, table)


class Run:
    """Steps with gradients that are drawn, of the rows that are drawn."""

    def __init__(self, optimiser: OptimiserSettings, averaging: float, kind: torch.dtype = torch.float64) -> None:
        self.settings = optimiser
        self.model = Tables().to(kind)
        self.average = WeightAverage(self.model, averaging)
        self.optimiser = build_optimiser(self.model, optimiser, self.average)
        self.steps = 0

    def step(self, seed: int, scale: float) -> None:
        random = np.random.default_rng([seed, self.steps])
        loss = self.model.rest.sum() * scale
        with reading_rows(self.optimiser):
            # one table is read twice, and one at times not at all
            for table, most in ((self.model.items, 3), (self.model.items, 2), (self.model.users, 2)):
                rows = torch.from_numpy(random.integers(ROWS, size=random.integers(0 if most == 2 else 1, most + 1)))
                loss = loss + (table(rows) * torch.from_numpy(random.normal(size=(len(rows), WIDTH)) * scale)).sum()
        for parameter in self.model.parameters():
            parameter.grad = None
        loss.backward()
        set_learning_rate(self.optimiser, self.settings, self.steps)
        self.optimiser.step()
        self.average.update(self.model)
        self.steps += 1

    def tensors(self) -> dict[str, Tensor]:
        catch_up(self.optimiser)
        found = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        found |= {f"average of {name}": average.clone() for name, average in self.average.averages.items()}
        for name, weight in self.model.named_parameters():
            state = self.optimiser.state[weight]
            found |= {f"{key} of {name}": state[key].clone() for key in ("step", "exp_avg", "exp_avg_sq")}
        return found


def _adam(**changed) -> OptimiserSettings:
    values = {"learning_rate": 2e-3, "betas": (0.9, 0.98), "weight_decay": 0.0, "warm_up_steps": 0}
    return OptimiserSettings(**values | changed)


def _compare(one: dict[str, Tensor], other: dict[str, Tensor], most: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        message = partial("{}: {}".format, name)
        torch.testing.assert_close(one[name], other[name], rtol=1e-7, atol=most, msg=message)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    steps=st.integers(1, 25),
    scale=st.sampled_from([1.0, 1e-3, 1e-6, 1e-8, 1e-11]),
    betas=st.sampled_from([(0.9, 0.98), (0.9, 0.999), (0.8, 0.95), (0.0, 0.9)]),
    weight_decay=st.sampled_from([0.0, 0.5]),
    warm_up_steps=st.sampled_from([0, 7]),
    averaging=st.sampled_from([0.0, 0.5, 0.99]),
    looked_at=st.integers(1, 25),
)
def test_weights_and_averages_are_those_of_adam(
    seed, steps, scale, betas, weight_decay, warm_up_steps, averaging, looked_at
):
    """Against torch's own, in float64. Where the gradient is about as small as Adam's epsilon, the movement of the
    missed steps, some learning rates, is right to 1 % early on; else to rounding."""
    adam = _adam(betas=betas, weight_decay=weight_decay, warm_up_steps=warm_up_steps)
    all_rows, touched = (Run(replace(adam, rows=rows), averaging) for rows in ("all", "touched"))
    assert [isinstance(run.optimiser, AdamOfTouchedRows) for run in (all_rows, touched)] == [False, True]
    most = 1e-9 if scale >= 1e-3 else 1e-4
    for step in range(steps):
        for run in (all_rows, touched):
            run.step(seed, scale)
        if step == looked_at:
            # in the middle, as at the end of an epoch
            _compare(touched.tensors(), all_rows.tensors(), most)
    _compare(touched.tensors(), all_rows.tensors(), most)


def test_a_row_that_misses_more_steps_than_are_summed_moves_as_it_should():
    """Two rows are read in turn in the first 30 steps, and again after 280 more, of which none reads either."""
    runs = [Run(_adam(weight_decay=0.1, warm_up_steps=20, rows=rows), 0.99) for rows in ("all", "touched")]
    for run in runs:
        for step in range(320):
            rows = torch.tensor([step % 2 if step < 30 or step >= 310 else 2])
            for parameter in run.model.parameters():
                parameter.grad = None
            with reading_rows(run.optimiser):
                (run.model.items(rows).sum() * 1e-2 + run.model.users(rows[:1]).sum()).backward()
            run.model.rest.grad = torch.zeros(WIDTH).double()
            set_learning_rate(run.optimiser, run.settings, step)
            run.optimiser.step()
            run.average.update(run.model)
    assert runs[1].optimiser.unread.window < 280
    _compare(runs[1].tensors(), runs[0].tensors(), 1e-9)


def test_a_row_that_nobody_reads_stays_what_it_is_to_the_last_bit():
    run = Run(_adam(rows="touched"), 0.99, torch.float32)
    before = run.model.items.weight.detach().clone()
    for step in range(30):
        with reading_rows(run.optimiser):
            (run.model.items(torch.tensor([0, 3])).pow(2).sum() + run.model.rest.sum()).backward()
        set_learning_rate(run.optimiser, run.settings, step)
        run.optimiser.step()
        run.average.update(run.model)
    after = run.tensors()
    assert (after["items.weight"] != before).any(dim=1).tolist() == [row in (0, 3) for row in range(ROWS)]
    assert torch.equal(after["average of items.weight"][[1, 2, 4, 5]], before[[1, 2, 4, 5]])


# ---- a whole training


def _large(training_set: TrainingSet, items: int) -> TrainingSet:
    """The same histories in a larger catalogue."""
    return replace(training_set, item_ids=np.array([b"%06d" % item for item in range(items)]))


def _recipe(rows: str, objective: dict | None = None, **training) -> Recipe:
    table = {"rows": rows, "weight_decay": 0.0, "learning_rate": 2e-3}
    return toy_recipe(objective, optimiser=table, training={"weight_averaging": 0.9, "max_epochs": 3} | training)


@pytest.mark.parametrize("objective", [None, GBCE | {"negatives_drawn_for": "position"}], ids=["batch", "position"])
def test_a_fit_has_the_same_weights_and_rankings_either_way(objective):
    training_set = _large(ring_training_set(), 700)
    one, other = (fitted(_recipe(rows, objective), training_set) for rows in ("all", "touched"))
    assert [record.loss for record in one.log] == pytest.approx([record.loss for record in other.log], rel=1e-6)
    weights = other.model.state_dict()
    for name, weight in one.model.state_dict().items():
        # the loss does not depend on the bias of keys: its gradient is rounding, of which Adam makes whole steps
        if not name.endswith("key_value.bias"):
            torch.testing.assert_close(weights[name], weight, rtol=0, atol=2e-6)
    histories = training_set.histories("test")
    lists = [each.recommend(histories, 10, exclude_seen=True).items for each in (one, other)]
    assert (lists[0] == lists[1]).mean() > 0.999
    assert one.best_epoch == other.best_epoch
    # a table is a plain one again
    assert other.model.input_embedding.reader is None


@pytest.mark.parametrize("at_step", [6, 11])
def test_broken_off_and_started_again_it_ends_with_the_same_weights(tmp_path, monkeypatch, at_step):
    training_set = ring_training_set(60)
    recipe = _recipe("touched", SAMPLED_SOFTMAX | {"negatives": 3}, max_epochs=3)
    options = {"progress": False, "threads": 1, "checkpoint_seconds": 0}
    whole = train(recipe, training_set, tmp_path / "whole", **options)
    started = set_learning_rate

    def broken_off(optimiser, optimiser_settings, step):
        if step == at_step:
            raise KeyboardInterrupt
        started(optimiser, optimiser_settings, step)

    monkeypatch.setattr(loop, "set_learning_rate", broken_off)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, training_set, tmp_path / "again", **options)
    steps = []
    monkeypatch.setattr(loop, "set_learning_rate", lambda *given: (steps.append(given[2]), started(*given)))
    assert train(recipe, training_set, tmp_path / "again", **options).weights_digest == whole.weights_digest
    assert steps[0] == at_step


@pytest.mark.parametrize(("first", "then", "goes_on"), [("all", "touched", True), ("touched", "all", False)])
def test_a_checkpoint_of_the_other_way(tmp_path, first, then, goes_on):
    """Rows that are not up to date are of no use where all are updated; the other way round nothing is missing."""
    run, other = (Run(_adam(rows=rows), 0.9) for rows in (first, then))
    for _ in range(5):
        run.step(0, 1.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "binding", 0)
    checkpoint.save(TrainingState(step=5), run.model, run.optimiser, run.average)
    assert (checkpoint.restore(other.model, other.optimiser, other.average) is not None) == goes_on
    if goes_on:
        other.steps = 5
        for each in (run, other):
            each.step(1, 1.0)
        _compare(other.tensors(), run.tensors(), 1e-9)


class _Sizes(TorchDispatchMode):
    """Number of rows of the largest tensor that an operation has made, not changed in place or shown a part of."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        given = {each.untyped_storage().data_ptr() for each in tree_leaves(arguments) if isinstance(each, Tensor)}
        for each in tree_leaves(made):
            if isinstance(each, Tensor) and each.untyped_storage().data_ptr() not in given:
                self.most = max(self.most, each.numel())
        return made


@pytest.mark.parametrize("negatives_drawn_for", ["batch", "position"])
def test_a_step_makes_nothing_of_the_size_of_the_table(negatives_drawn_for):
    training_set = _large(ring_training_set(60), 50_000)
    found = {}
    for rows in ("all", "auto"):
        recipe = _recipe(rows, GBCE | {"negatives_drawn_for": negatives_drawn_for})
        recommender = SequentialRecommender(recipe)
        model = recommender._build(recipe, training_set.items, 0, np.ones(training_set.items, dtype=np.int64))
        trainable = trained_as(recipe, model, recommender.task, np.ones(training_set.items, dtype=np.int64))
        recipe, _ = choose_rows(recipe, trainable, CPU, False)
        average = WeightAverage(model, 0.9)
        optimiser = build_optimiser(model, recipe.optimiser, average)
        batch = trainable.batch(training_set.train, np.arange(16), np.random.default_rng(0))
        with reading_rows(optimiser):
            for step in range(3):
                with _Sizes() as sizes:
                    for parameter in model.parameters():
                        parameter.grad = None
                    trainable.loss(batch, np.random.default_rng(step)).backward()
                    set_learning_rate(optimiser, recipe.optimiser, step)
                    optimiser.step()
                    average.update(model)
        found[rows] = sizes.most
    assert found["all"] >= 50_000 * 32
    assert found["auto"] < 50_000


def test_a_table_that_is_read_as_a_whole_is_named():
    run = Run(_adam(rows="touched"), 0.0)
    run.model.items.weight.sum().backward()
    with pytest.raises(RuntimeError, match=r'reads all of items\.weight.*rows = "all"'):
        run.optimiser.step()


# ---- which way is taken


def _choice(recipe: Recipe, compiled: bool = False, device: torch.device = CPU):
    recommender = SequentialRecommender(recipe)
    counts = np.ones(40, dtype=np.int64)
    trainable = trained_as(recipe, recommender._build(recipe, 40, 3, counts), recommender.task, counts)
    return choose_rows(recipe, trainable, device, compiled)


def test_small_tables_are_updated_whole_and_say_nothing():
    recipe = _recipe("auto")
    assert _choice(recipe) == (recipe, ())
    assert "rows" not in recipe.as_tables()["optimiser"]


def test_large_tables_are_updated_by_the_rows_that_are_read(monkeypatch, tmp_path):
    monkeypatch.setattr(row_choice, "LEAST_ROWS", 40)
    options = {"fit_on": "train+validation", "progress": False, "threads": 1}
    train(_recipe("auto", max_epochs=1), ring_training_set(60), tmp_path / "toy", **options)
    recommender = SequentialRecommender.load(tmp_path / "toy")
    assert recommender.recipe == replace(_recipe("auto", max_epochs=1), name="toy")
    assert [str(each) for each in recommender.derived] == ["optimiser.rows = touched (a table has 40 rows, 40 or more)"]
    assert _choice(_recipe("all")) == (_recipe("all"), ())


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (_recipe("auto", {"name": "softmax"}), "the objective softmax reads all items"),
        (toy_recipe(optimiser={"decay": "in_gradient"}), "weight decay in the gradient makes a gradient of every row"),
        (toy_recipe(optimiser={"betas": [0.9, 0.9]}), r"betas are \[0.9, 0.9\]"),
        (toy_recipe(optimiser={"learning_rate": 2.0, "weight_decay": 0.5}), "learning_rate times weight_decay"),
    ],
    ids=["softmax", "decay in the gradient", "betas", "large decay"],
)
def test_what_cannot_be_trained_so_is_updated_whole_and_refused_where_it_is_asked_for(monkeypatch, recipe, why):
    monkeypatch.setattr(row_choice, "LEAST_ROWS", 40)
    chosen, (derived,) = _choice(recipe)
    assert chosen.optimiser.rows == derived.value == "all"
    assert derived.reason.startswith("a table has 40 rows, which each step updates, since ")
    with pytest.raises(ValueError, match=f'cannot be "touched", since .*{why}'):
        _choice(replace(recipe, optimiser=replace(recipe.optimiser, rows="touched")))


def test_what_a_machine_cannot_do_so_is_done_the_other_way(monkeypatch):
    """To the same weights, so a recipe that asks for it is not refused."""
    for on, why in (({"compiled": True}, "torch.compile"), ({"device": torch.device("cuda")}, "GPU")):
        chosen, (derived,) = _choice(_recipe("touched"), **on)
        assert chosen.optimiser.rows == "all"
        assert why in derived.reason
    monkeypatch.setattr(World, "current", lambda: World(0, 2))
    assert "several processes" in _choice(_recipe("touched"))[1][0].reason


def test_the_usual_betas_suit():
    assert all(suits(betas) for betas in {tuple(recipe.optimiser.betas) for recipe in load_recipes()})
    assert [suits(betas) for betas in ((0.9, 0.95), (0.99, 0.999))] == [False, False]


@pytest.mark.parametrize("name", ["icsrec", "fpmc", "mf_bpr", "sasrec_reasoning", "nextitnet"])
def test_models_that_read_tables_several_times_or_of_users_take_the_same_steps(monkeypatch, name):
    monkeypatch.setattr(row_choice, "LEAST_ROWS", 1)
    with reproducible(1):
        one, other = (_losses(load_recipe(name), rows) for rows in ("all", "auto"))
    assert one == pytest.approx(other, rel=1e-5)


def _losses(recipe: Recipe, rows: str) -> list[float]:
    training_set = ring_training_set(40)
    counts = np.bincount(training_set.train.items, minlength=training_set.items)
    recipe, _ = derive(recipe, training_set.train.lengths)
    recipe = replace(recipe, optimiser=replace(recipe.optimiser, rows=rows))
    torch.manual_seed(0)
    model = build_model(recipe.model, training_set.items, training_set.users, None)
    trainable = trained_as(recipe, model, build_task(recipe.task, training_set.items), counts)
    chosen, _ = choose_rows(recipe, trainable, CPU, False)
    assert chosen.optimiser.rows == ("all" if rows == "all" else "touched"), recipe.name
    optimiser = build_optimiser(model, chosen.optimiser)
    losses = []
    for step in range(3):
        torch.manual_seed(step)
        batch = trainable.batch(training_set.train, np.arange(16), np.random.default_rng(step))
        for parameter in model.parameters():
            parameter.grad = None
        with reading_rows(optimiser):
            loss = trainable.loss(batch, np.random.default_rng(step))
        loss.backward()
        set_learning_rate(optimiser, chosen.optimiser, step)
        optimiser.step()
        losses.append(loss.item())
    return losses
