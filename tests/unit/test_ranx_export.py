"""Rankings handed to ranx: its metrics of them are ours."""

from __future__ import annotations

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.baselines.registry import BASELINES
from ml.evaluation.metrics import metric_values, user_metrics
from ml.evaluation.rankings import rank
from ml.evaluation.ranx_export import to_qrels, to_run


@pytest.fixture(scope="module")
def training_set():
    return made_up_training_set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["most_popular", "markov_chain", "repeat_last"])
def test_ranx_measures_what_we_measure(training_set, name: str) -> None:
    from ranx import evaluate

    rankings = rank(BASELINES[name].create().fit(training_set), training_set, name, seed=3)
    run, qrels = to_run(rankings, training_set), to_qrels(training_set)
    assert run.name == name
    assert run.metadata["seed"] == 3
    measured = user_metrics(rankings, training_set)
    for metric in ("ndcg@10", "recall@10", "mrr@10"):
        ours = metric_values(measured, metric)
        assert evaluate(qrels, run, metric) == pytest.approx(float(np.mean(ours)), abs=1e-9)
