"""Models that read times: what they compute, that they see no later time, and what they refuse."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recommender_factories import made_up_training_set
from test_training_command import _toml
from torch.nn import functional as F
from training_toys import toy_recipe

from ml.config import TableError
from ml.data.times import Times, save_times
from ml.models.build import build_model
from ml.models.matrix_factorisation import MatrixFactorisation
from ml.models.settings import (
    MatrixFactorisationSettings,
    SASRecSettings,
    TimeGapSASRecSettings,
    TiSASRecSettings,
    reads_times,
)
from ml.models.timed_sasrec import gap_buckets
from ml.models.tisasrec import TiSASRec, intervals
from ml.training.__main__ import main
from ml.training.recipe import Recipe, load_recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ITEMS, LENGTH = 30, 7
SIZES = {
    "dimensions": 12,
    "dropout": 0.0,
    "max_length": LENGTH,
    "item_embedding": "dense",
    "separate_output_embedding": False,
    "embedding_deviation": 0.5,
    "blocks": 2,
    "heads": 3,
    "feed_forward_dimensions": 20,
}
SETTINGS = {
    "time_gaps": TimeGapSASRecSettings(**SIZES, buckets=40),
    "tisasrec": TiSASRecSettings(**SIZES, longest_interval=6),
}


def model_of(settings):
    torch.manual_seed(0)
    model = build_model(settings, ITEMS, 0, None).eval()
    for parameter in model.parameters():
        # biases that start at zero would hide what they do
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def histories() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([3, LENGTH, 1, 5])
    items = torch.randint(ITEMS, (4, LENGTH), generator=generator)
    gaps = torch.tensor([0, 0, 3, 50, 86_400, 7_000_000])
    times = gaps[torch.randint(len(gaps), (4, LENGTH), generator=generator)].cumsum(1) + 1_500_000_000
    last = torch.arange(LENGTH).minimum(lengths[:, None] - 1)
    return items, lengths, torch.full((4,), -1), times.gather(1, last)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_state_sees_a_later_time(name):
    model = model_of(SETTINGS[name])
    items, _, users, times = histories()
    whole = torch.full((4,), LENGTH)
    later = times.clone()
    # a second after the fifth item, which is a shorter gap than any but those of none
    later[:, 5:] = times[:, 4:5] + torch.tensor([1, 90])
    before, after = model(items, whole, users, times), model(items, whole, users, later)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all()


@pytest.mark.parametrize("name", SETTINGS)
def test_states_depend_on_gaps_and_neither_on_dates_nor_on_padding(name):
    model = model_of(SETTINGS[name])
    items, lengths, users, times = histories()
    together = model(items, lengths, users, times)
    torch.testing.assert_close(model(items, lengths, users, times - 1_000_000_000), together)
    for row, length in enumerate(lengths.tolist()):
        part = slice(row, row + 1)
        alone = model(items[part, :length], lengths[part], users[part], times[part, :length])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(items, lengths, users), together)


def test_without_a_bias_time_gaps_are_the_plain_model():
    timed = build_model(SETTINGS["time_gaps"], ITEMS, 0, None).eval()
    plain = build_model(SASRecSettings(**SIZES, block="pre_norm"), ITEMS, 0, None).eval()
    weights = {name: weight for name, weight in timed.state_dict().items() if "gap_bias" not in name}
    assert set(weights) == set(plain.state_dict())
    plain.load_state_dict(weights)
    items, lengths, users, times = histories()
    expected = plain(items, lengths, users)
    # biases start at zero
    torch.testing.assert_close(timed(items, lengths, users, times), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(timed(items, lengths, users), expected)
    with torch.no_grad():
        timed.blocks[0].attention.gap_bias.normal_()
    assert not torch.allclose(timed(items, lengths, users, times), expected)
    # an unknown time adds nothing, whatever was learnt
    torch.testing.assert_close(timed(items, lengths, users), expected)


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=6))
def test_a_bucket_is_half_a_doubling_of_the_gap(times):
    found = gap_buckets(torch.tensor([times]), 64)[0]
    for later, time in enumerate(times):
        for earlier, other in enumerate(times):
            gap = time - other
            bucket = int(found[later, earlier])
            if gap <= 0:
                assert bucket == 0
            else:
                assert abs(bucket - 1 - math.floor(2 * math.log2(gap))) <= (gap > 2**20)
    assert gap_buckets(torch.tensor([times]), 3).max() <= 2


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 9))
def test_intervals_are_counted_in_the_shortest_gap_so_far(gaps, longest):
    times = np.cumsum(gaps)
    found = intervals(torch.from_numpy(times)[None], longest)[0]
    for later, time in enumerate(times):
        steps = [int(step) for step in np.diff(times[: later + 1]) if step > 0]
        for earlier, other in enumerate(times):
            gap = max(int(time - other), 0)
            assert int(found[later, earlier]) == (min(gap // min(steps), longest) if steps else 0)


def naive_tisasrec(model: TiSASRec, items, lengths, times) -> list[torch.Tensor]:
    """States by equations 6 to 8 of the paper, row by row and pair by pair, with a vector for each pair."""
    found = []
    for row, length in enumerate(lengths.tolist()):
        index = intervals(times[row : row + 1, :length], model.longest_interval)[0]
        places = torch.arange(length) - length + model.max_length
        hidden = model.input_embedding(items[row, :length])
        for block in model.blocks:
            attention = block.attention
            normalised = block.attention_norm(hidden)
            queries = attention.query(normalised)
            keys, values = attention.key_value(normalised).chunk(2, dim=-1)
            attended = torch.zeros_like(hidden)
            width = hidden.shape[1] // attention.heads
            for head in range(attention.heads):
                part = slice(head * width, (head + 1) * width)
                for later in range(length):
                    pairs = range(later + 1)
                    key = torch.stack(
                        [keys[j] + model.key_intervals[index[later, j]] + model.key_positions[places[j]] for j in pairs]
                    )[:, part]
                    value = torch.stack(
                        [
                            values[j] + model.value_intervals[index[later, j]] + model.value_positions[places[j]]
                            for j in pairs
                        ]
                    )[:, part]
                    weights = F.softmax(key @ queries[later, part] / math.sqrt(width), dim=0)
                    attended[later, part] = weights @ value
            hidden = hidden + attention.output(attended)
            hidden = hidden + block.feed_forward(block.feed_forward_norm(hidden))
        found.append(model.norm(hidden))
    return found


@torch.no_grad()
def test_tisasrec_equals_the_published_formula():
    model = model_of(SETTINGS["tisasrec"])
    items, lengths, _, times = histories()
    states = model(items, lengths, lengths, times)
    for row, expected in enumerate(naive_tisasrec(model, items, lengths, times)):
        torch.testing.assert_close(states[row, : len(expected)], expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_items_without_times_follow_each_other_at_equal_gaps():
    model = model_of(SETTINGS["tisasrec"])
    items, lengths, users, _ = histories()
    daily = (torch.arange(LENGTH) * 86_400).expand(4, -1)
    torch.testing.assert_close(model(items, lengths, users), model(items, lengths, users, daily))


def small(settings) -> Recipe:
    recipe = toy_recipe()
    return replace(
        recipe,
        name="reader",
        architecture="tisasrec" if isinstance(settings, TiSASRecSettings) else "time_gap_sasrec",
        model=replace(settings, max_length=5),
        training=replace(recipe.training, max_epochs=2),
    )


def fitted(training_set, settings=SETTINGS["tisasrec"]) -> SequentialRecommender:
    return SequentialRecommender(small(settings), 0, execution=Execution(threads=1)).fit(training_set)


@pytest.mark.parametrize("name", SETTINGS)
def test_times_decide_what_is_learnt_and_recommended(name):
    training_set = made_up_training_set()
    recommender = fitted(training_set, SETTINGS[name])
    times = np.asarray(training_set.train.times)
    other = replace(training_set, train=replace(training_set.train, times=times // 7 + np.arange(len(times)) ** 2))
    assert recommender._config()["weights_digest"] != fitted(other, SETTINGS[name])._config()["weights_digest"]
    assert recommender._config()["times_digest"] != fitted(other, SETTINGS[name])._config()["times_digest"]
    histories_ = training_set.histories("test")
    with_times = recommender.recommend(histories_, 5, False)
    without = recommender.recommend(replace(histories_, times=None), 5, False)
    assert not np.array_equal(with_times.scores, without.scores)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (lambda size: None, "recipe reader: this model reads the times of interactions, and Made_Up has none"),
        (lambda size: np.arange(size) * 86_400, "those of Made_Up say nothing: 100% of the gaps"),
        (lambda size: np.zeros(size, dtype=np.int64), "all interactions of each user have the same time"),
    ],
)
def test_data_without_real_times_are_refused_by_the_name_of_the_recipe(times, reason):
    training_set = made_up_training_set()
    train = replace(training_set.train, times=times(len(training_set.train.items)))
    with pytest.raises(ValueError, match=reason):
        fitted(replace(training_set, train=train))


def test_the_command_trains_with_times(tmp_path, capsys):
    training_set = made_up_training_set()
    for name in ("set", "times"):
        (tmp_path / name).mkdir()
    training_set.save(tmp_path / "set")
    none = np.empty(0, dtype=np.int64)
    save_times(
        tmp_path / "times", Times(training_set.train.times, training_set.validation_times, none, none), training_set
    )
    recipe = tmp_path / "reader.toml"
    recipe.write_text(_toml(small(SETTINGS["tisasrec"]).as_tables()))
    arguments = ["--recipe", str(recipe), "--training-set", str(tmp_path / "set"), "--out", str(tmp_path / "out")]
    arguments += ["--quiet", "--threads", "1"]
    assert main(arguments) == 1
    assert "recipe reader: this model reads the times" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--times", str(tmp_path / "times")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["best_validation_ndcg_at_10"] == fitted(training_set).best_validation_ndcg_at_10


@pytest.mark.parametrize("name", ["sasrec_time_gaps", "tisasrec"])
def test_recipes_differ_from_the_plain_one_in_what_they_read_alone(name):
    recipe, plain = load_recipe(name), load_recipe("sasrec_sampled_softmax")
    assert (recipe.set, recipe.family, recipe.plain) == ("knowledge", "time", plain.name)
    assert reads_times(recipe.model)
    assert (recipe.task, recipe.objective, recipe.optimiser, recipe.training) == (
        plain.task,
        plain.objective,
        plain.optimiser,
        plain.training,
    )
    for key in SIZES:
        assert getattr(recipe.model, key) == getattr(plain.model, key)


@dataclass(frozen=True)
class Settings:
    """Of a model of one's own that says it reads times, while its class does not."""

    reads_times: ClassVar[bool] = True


class Model(MatrixFactorisation):
    def __init__(self, settings, catalogue):
        super().__init__(MatrixFactorisationSettings(4, 5, 0.1), catalogue)


def test_a_class_that_ignores_the_times_its_settings_ask_for_is_refused():
    with pytest.raises(ValueError, match="reads_times must be the same"):
        build_model(Settings(), ITEMS, 3, None)


def test_contrast_has_no_times_to_show():
    tables = load_recipe("tisasrec").as_tables()
    tables["contrast"] = {"method": "dropout", "weight": 0.1, "temperature": 1.0, "similarity": "dot"}
    with pytest.raises(TableError, match="have no times to read"):
        recipe_from_tables("mixed", tables, "mixed.toml")
