"""The audit of calibration: its figures against the scores of the model itself, and its verdict on bad and good."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from training_toys import GBCE, ITEMS, fitted, ring_training_set, toy_recipe

from ml.audits.audit import CANNOT_TELL, NO_CONCERN, NOTE
from ml.audits.calibration import (
    audit_calibration,
    measure_calibration,
    probability_of,
    wilson_interval,
    without_sampling,
)
from ml.objectives.binary_cross_entropy import score_offset
from ml.objectives.settings import (
    BayesianPersonalisedRankingSettings,
    BinaryCrossEntropySettings,
    GeneralisedBinaryCrossEntropySettings,
    LambdaRankSettings,
    SampledSoftmaxSettings,
    SoftmaxSettings,
)

OBJECTIVES = {"softmax": {"name": "softmax"}, "gbce": GBCE}


@pytest.fixture(scope="module")
def training_set():
    return ring_training_set()


@pytest.fixture(scope="module")
def surprised(training_set):
    """The same with test targets that follow from nothing."""
    return replace(training_set, test_targets=np.random.default_rng(0).permutation(training_set.test_targets))


@pytest.fixture(scope="module")
def models(training_set):
    return {name: fitted(toy_recipe(objective), training_set) for name, objective in OBJECTIVES.items()}


def with_objectives(models):
    return {name: (model, model.recipe.objective) for name, model in models.items()}


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_predicted_and_observed_are_those_of_the_models_own_scores(name, exclude_seen, models, surprised):
    model, kind = models[name], probability_of(models[name].recipe.objective)[0]
    rows = np.arange(0, len(surprised.test_users), 3)
    found = measure_calibration(model, kind, surprised, rows, exclude_seen)
    histories = surprised.histories("test").take(rows)
    scores = np.empty((len(rows), ITEMS))
    everything = model.recommend(histories, ITEMS, False)
    np.put_along_axis(scores, everything.items.astype(np.int64), everything.scores.astype(np.float64), axis=1)
    probability = 1 / (1 + np.exp(-scores))
    if kind == "softmax":
        probability = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ranked = model.recommend(histories, 10, exclude_seen).items
    targets = surprised.test_targets[rows]
    assert found.predicted == pytest.approx(np.take_along_axis(probability, ranked, axis=1).mean(axis=0), rel=1e-4)
    assert found.observed.tolist() == (ranked == targets[:, None]).mean(axis=0).tolist()
    assert found.error == pytest.approx(np.abs(found.predicted - found.observed).mean())
    assert found.users == len(rows)


def test_an_offset_of_the_loss_is_part_of_the_probability(models, surprised):
    """The sigmoid of the score and the offset that the loss added to it."""
    model, rows = models["gbce"], np.arange(20)
    plain = measure_calibration(model, "sigmoid", surprised, rows, exclude_seen=False, depth=1)
    objective = replace(model.recipe.objective, prior_offset=True)
    shifted = replace(model.recipe, objective=objective)
    try:
        model.recipe, own = shifted, model.recipe
        found = measure_calibration(model, "sigmoid", surprised, rows, exclude_seen=False, depth=1)
    finally:
        model.recipe = own
    best = model.recommend(surprised.histories("test").take(rows), 1, False).scores.astype(np.float64)
    expected = 1 / (1 + np.exp(-(best + score_offset(objective, ITEMS))))
    assert found.predicted[0] == pytest.approx(expected.mean(), rel=1e-4)
    assert found.predicted[0] < plain.predicted[0]


def test_a_model_that_is_sure_of_what_does_not_come_is_a_note(models, surprised):
    audit = audit_calibration(with_objectives(models), surprised, exclude_seen=False)
    assert audit.outcome == NOTE
    assert audit.verdict.startswith("Overconfident: softmax predicts")
    assert audit.facts["overconfident"] == "softmax; gbce"
    assert audit.charts[0].diagonal
    assert json.loads(json.dumps(audit.as_json(), allow_nan=False))["name"] == "calibration"


def test_a_model_that_is_sure_of_what_comes_is_none(models, training_set):
    chosen = {"softmax": with_objectives(models)["softmax"]}
    audit = audit_calibration(chosen, training_set, exclude_seen=False)
    assert audit.outcome == NO_CONCERN
    assert audit.verdict.startswith("No model is overconfident: ")
    assert audit.facts["softmax: predicted at 1"] > 0.5
    assert audit.facts["softmax: observed at 1"] > 0.8
    assert audit == audit_calibration(chosen, training_set, exclude_seen=False)


def test_what_may_be_chance_is_called_so(models, surprised):
    chosen = {"gbce": with_objectives(models)["gbce"]}
    few = audit_calibration(chosen, surprised, exclude_seen=False, users=1)
    assert few.outcome == CANNOT_TELL
    assert few.verdict.startswith("Too few users to tell")
    assert few.facts["overconfident"] is None
    assert "A seeded sample of 1 test users" in few.tables[0].note
    # one user without a hit says little of a probability below its interval's bound
    assert wilson_interval(np.array([0]), 1)[1][0] > 0.79


def test_losses_that_compare_scores_are_left_out_by_name(models, training_set):
    given_models = {
        "Pairs": (models["softmax"], BayesianPersonalisedRankingSettings()),
        "Lists": (models["softmax"], LambdaRankSettings()),
        "Soft": with_objectives(models)["softmax"],
    }
    audit = audit_calibration(given_models, training_set, exclude_seen=False)
    assert [row[0] for row in audit.tables[-1].rows] == ["Pairs", "Lists"]
    assert audit.tables[-1].title == "Models without a probability"
    assert audit.facts["models"] == 1
    del given_models["Soft"]
    assert "no trained model has a loss" in audit_calibration(given_models, training_set, exclude_seen=False).verdict
    assert audit_calibration({}, training_set, exclude_seen=False).verdict == "Not known: there is no trained model."


@pytest.mark.parametrize(
    ("objective", "kind"),
    [
        (SoftmaxSettings(), "softmax"),
        (SampledSoftmaxSettings(16, True), "softmax"),
        (SampledSoftmaxSettings(16, False), "softmax"),
        (SampledSoftmaxSettings(16, True, "popularity"), "softmax"),
        (SampledSoftmaxSettings(16, False, "popularity"), None),
        (SampledSoftmaxSettings(0, False, "in_batch"), None),
        (BinaryCrossEntropySettings(), "sigmoid"),
        (GeneralisedBinaryCrossEntropySettings(16, 0.5, "batch"), "sigmoid"),
        (BayesianPersonalisedRankingSettings(), None),
        (LambdaRankSettings(), None),
    ],
)
def test_which_losses_give_a_probability(objective, kind):
    found, why_not = probability_of(objective)
    assert found == kind
    assert bool(why_not) == (kind is None)


@given(st.floats(1e-4, 0.9), st.integers(1, 999), st.sampled_from([0.0, 0.3, 0.75, 1.0]))
def test_undoing_the_sampling_gives_the_probability_back(true, negatives, calibration):
    objective = (
        GeneralisedBinaryCrossEntropySettings(negatives, calibration, "batch")
        if calibration
        else BinaryCrossEntropySettings(negatives)
    )
    rate = negatives / 999
    weight = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    # where the expected loss is least: -weight * true * log(q) - rate * (1 - true) * log(1 - q)
    least = weight * true / (weight * true + rate * (1 - true))
    grid = np.clip(least * (1 + np.linspace(-0.01, 0.01, 21)), 1e-9, 1 - 1e-9)
    losses = -weight * true * np.log(grid) - rate * (1 - true) * np.log(1 - grid)
    assert losses[10] <= losses.min() + 1e-12
    assert without_sampling(least, objective, 1000) == pytest.approx(true, rel=1e-6)


def test_a_fully_calibrated_loss_and_a_softmax_have_nothing_to_undo():
    assert without_sampling(0.3, GeneralisedBinaryCrossEntropySettings(10, 1.0, "batch"), 1000) == pytest.approx(0.3)
    assert without_sampling(0.3, SoftmaxSettings(), 1000) is None


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_intervals_are_scipys(cases, data):
    hits = data.draw(st.integers(0, cases))
    expected = binomtest(hits, cases).proportion_ci(method="wilson")
    low, high = wilson_interval(np.array([hits]), cases)
    assert (low[0], high[0]) == (pytest.approx(expected.low, abs=1e-12), pytest.approx(expected.high, abs=1e-12))


def test_users_without_a_history_are_not_asked(models, training_set):
    with pytest.raises(ValueError, match="needs test users with a history"):
        measure_calibration(models["softmax"], "softmax", training_set, np.empty(0, dtype=np.int64), False)
