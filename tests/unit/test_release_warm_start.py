"""When the champion is a start for today's training (ml/release/warm_start.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_toys import ITEMS, ring_training_set, toy_recipe

from ml.data.training_set import TrainingSet
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.registry import Registry
from ml.release.bundle import load
from ml.release.gate.decision import digest_of
from ml.release.warm_start import start_from
from ml.release.write_bundle import write_bundle
from ml.training.everything import fitted_on_everything
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train
from ml.training.warm_start import CarriedOver, ColdStart, Start

pytestmark = pytest.mark.usefixtures("one_torch_thread")

RECIPE = toy_recipe(training={"max_epochs": 1, "patience": 1})
REGISTRY = Registry({"toy": RECIPE}, {})
PROTOCOL = {"split": "leave-one-out", "k_core": 5}


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return replace(ring_training_set(), protocol=PROTOCOL)


def _released(folder: Path, training_set: TrainingSet, fit_on: str = "train", **described) -> Path:
    train(RECIPE, training_set, folder / "toy", progress=False, fit_on=fit_on)
    (folder / "champion").mkdir()
    write_bundle(folder / "champion", "toy", lambda _: folder / "toy", REGISTRY, training_set, None, described)
    return folder / "champion"


@pytest.fixture(scope="module")
def champion(training_set, tmp_path_factory) -> Path:
    return _released(tmp_path_factory.mktemp("released"), training_set)


def _no_text() -> None:
    return None


def test_a_model_starts_from_its_part_of_the_champion(champion, training_set):
    start = start_from(champion, "toy", training_set, _no_text)
    assert isinstance(start, Start)
    bundle = load(champion)
    assert start.source == digest_of(bundle)
    fitted = fit("toy", training_set, Conditions(start_of={"toy": start}.get), REGISTRY)
    assert isinstance(fitted, SequentialRecommender)
    assert fitted.started_from == CarriedOver(digest_of(bundle), ITEMS, 0, 0, 0)
    assert fitted.best_validation_ndcg_at_10 > SequentialRecommender.load(champion / "recommenders" / "toy").log[
        0
    ].validation_ndcg_at_10  # fmt: skip


def test_text_is_asked_for_where_there_are_new_items_alone(champion, training_set):
    def never() -> None:
        raise AssertionError("there is no new item")

    assert isinstance(start_from(champion, "toy", training_set, never), Start)
    grown = replace(training_set, item_ids=np.append(training_set.item_ids[:-1], b"9999"))
    text = np.ones((ITEMS, 2), dtype=np.float32)
    start = start_from(champion, "toy", grown, lambda: text)
    assert isinstance(start, Start)
    assert start.text is text


@pytest.mark.parametrize(
    ("changed", "recipe", "reason"),
    [
        ({}, "another", "has no part of the recipe another"),
        ({"protocol": PROTOCOL | {"k_core": 3}}, "toy", "cleaned or split by other rules"),
        ({"protocol": PROTOCOL | {"split": "cold-items, 0.1 of the items"}}, "toy", "split cold-items"),
        ({"protocol": {"split": "made elsewhere, taken as it is"}}, "toy", "split made elsewhere"),
        ({"protocol": {}}, "toy", "split unknown"),
    ],
)
def test_a_start_is_refused_with_a_reason(champion, training_set, changed, recipe, reason):
    start = start_from(champion, recipe, replace(training_set, **changed), _no_text)
    assert isinstance(start, ColdStart)
    assert reason in start.reason


@pytest.mark.parametrize(
    ("fit_on", "described", "said"),
    [("train+validation", {}, "train+validation"), ("train", {"fitted_on": "everything"}, "everything")],
)
def test_a_champion_that_has_seen_held_out_items_is_no_start(training_set, tmp_path, fit_on, described, said):
    champion = _released(tmp_path, training_set, fit_on, **described)
    start = start_from(champion, "toy", training_set, _no_text)
    assert start == ColdStart(f"the champion was fitted on {said}, and has seen items that users are tested with")


def test_without_a_champion_or_with_a_damaged_one_models_start_cold(training_set, tmp_path):
    assert start_from(tmp_path / "none", "toy", training_set, _no_text) == ColdStart("there is no champion yet")
    champion = _released(tmp_path, training_set)
    (champion / "catalogue.parquet").write_bytes(b"nothing")
    start = start_from(champion, "toy", training_set, _no_text)
    assert isinstance(start, ColdStart)
    assert start.reason.startswith("the champion cannot be read: ")


def test_what_started_warm_cannot_be_fitted_on_everything(champion, training_set):
    start = start_from(champion, "toy", training_set, _no_text)
    warm = SequentialRecommender(RECIPE, start=start).fit(training_set)
    with pytest.raises(ValueError, match="train it with WARM_START=off"):
        fitted_on_everything(warm, training_set)
