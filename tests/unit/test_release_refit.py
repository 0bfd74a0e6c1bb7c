"""A release may be fitted on everything; what validation decided stays, and nothing is measured on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recommender_factories import digest_of, digest_of_files
from training_toys import LIST_WRITER, fitted, ring_training_set, toy_recipe

import raw2rank
from ml.alignment.recipe import AlignmentRecipe
from ml.baselines.registry import BASELINES
from ml.data.times import Times
from ml.data.training_set import FIT_ON_EVERYTHING, TrainingSet
from ml.fusion.recipe import FusionRecipe
from ml.models.settings import TimeGapSASRecSettings
from ml.recommenders.fused import FusedRecommender
from ml.recommenders.registry import Registry
from ml.recommenders.reranked import Reranked
from ml.release.bundle import BundleError
from ml.release.refit import can_be_refitted, refit_on_everything
from ml.release.write_bundle import write_bundle
from ml.reranking.recipe import RerankingRecipe
from ml.training.everything import fitted_on_everything
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.warm_start import CarriedOver, Start
from ml.training.weights_digest import weights_digest

RECIPE = toy_recipe(training={"max_epochs": 4, "patience": 1})
OWN_REGISTRY = Registry(
    recipes={"toy": RECIPE},
    fusions={"both": FusionRecipe("both", "Both", "none", "", "quick", ("toy", "markov_chain"), depth=40)},
    rerankings={
        "again": RerankingRecipe(
            "again", "Again", "none", "", "quick", "markov_chain", "greedy", ("popularity",), 0.5, candidates=20
        )
    },
)


@pytest.fixture(scope="module")
def ring() -> TrainingSet:
    return ring_training_set()


@pytest.fixture(scope="module")
def measured(ring, tmp_path_factory):
    """Folders of fits as they were measured, by name."""
    root = tmp_path_factory.mktemp("measured")
    toy, chain = fitted(RECIPE, ring), BASELINES["markov_chain"].create().fit(ring)
    recommenders = {
        "toy": toy,
        "markov_chain": chain,
        "both": FusedRecommender({"toy": toy, "markov_chain": chain}, 40).choose(ring),
        "again": Reranked(OWN_REGISTRY.rerankings["again"], chain).choose(ring),
    }
    for name, recommender in recommenders.items():
        (root / name).mkdir()
        recommender.save(root / name)
    return lambda name: root / name


def refitted(name: str, measured, ring: TrainingSet, into: Path):
    before = digest_of_files(measured(name))
    folder_of = refit_on_everything(name, measured, OWN_REGISTRY, ring, into)
    assert digest_of_files(measured(name)) == before
    return folder_of


def test_a_baseline_counts_all_interactions(measured, ring, tmp_path):
    folder = refitted("markov_chain", measured, ring, tmp_path)("markov_chain")
    everything = ring.with_everything_trained_on()
    histories = ring.histories("test")
    one = BASELINES["markov_chain"].load(folder).recommend(histories, 10, False)
    assert digest_of(one) == digest_of(
        BASELINES["markov_chain"].create().fit(everything).recommend(histories, 10, False)
    )
    assert digest_of(one) != digest_of(
        BASELINES["markov_chain"].load(measured("markov_chain")).recommend(histories, 10, False)
    )


def test_a_model_trains_for_as_many_epochs_as_were_best(measured, ring, tmp_path):
    folder = refitted("toy", measured, ring, tmp_path)("toy")
    again, before = SequentialRecommender.load(folder), SequentialRecommender.load(measured("toy"))
    everything = ring.with_everything_trained_on()
    assert again.fit_on == FIT_ON_EVERYTHING
    assert again.best_epoch == len(again.log) == before.best_epoch
    assert {record.fit_on for record in again.log} == {FIT_ON_EVERYTHING}
    assert all(record.validation_ndcg_at_10 is None for record in again.log)
    assert again.training_set_digest == everything.digest() != before.training_set_digest
    assert again.training_counts.sum() == len(everything.train.items)
    assert not (folder / "validation_items.npy").exists()
    # the weights are those of plain training on the same sequences
    plain = replace(RECIPE, training=replace(RECIPE.training, max_epochs=before.best_epoch))
    wanted = fitted(plain, everything)
    assert weights_digest(again.model.state_dict()) == weights_digest(wanted.model.state_dict())


def test_a_fusion_keeps_its_weights_and_has_new_parts(measured, ring, tmp_path):
    folder_of = refitted("both", measured, ring, tmp_path)
    before = json.loads((measured("both") / "fusion.json").read_text())
    assert json.loads((folder_of("both") / "fusion.json").read_text()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "markov_chain", "toy"]
    assert sorted(path.name for path in folder_of("both").iterdir()) == ["fit.json", "fusion.json"]
    assert SequentialRecommender.load(folder_of("toy")).fit_on == FIT_ON_EVERYTHING


@pytest.mark.parametrize("name", ["markov_chain", "toy", "both", "again"])
def test_the_bundle_says_so(name, measured, ring, tmp_path):
    (tmp_path / "fit").mkdir()
    (tmp_path / "bundle").mkdir()
    folder_of = refitted(name, measured, ring, tmp_path / "fit")
    everything = ring.with_everything_trained_on()
    told = {"metrics": {"ndcg@10": 0.5}}
    write_bundle(tmp_path / "bundle", name, folder_of, OWN_REGISTRY, everything, None, told)
    bundle = raw2rank.load(tmp_path / "bundle")
    assert bundle.fitted_on == FIT_ON_EVERYTHING
    assert bundle.interactions.sum() == len(everything.train.items)
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text()
    assert "test items included: no metric can be measured on this fit" in card
    assert "Measured on the fit that did not see the test items" in card
    assert len(bundle.recommend([["0001", "0002"]]).items[0]) == 10


def test_codes_stay_those_of_the_measured_fit(ring, tmp_path):
    recipe = toy_recipe(codes="svd", training={"max_epochs": 1})
    before = fitted(recipe, ring)
    again = fitted_on_everything(before, ring)
    np.testing.assert_array_equal(again.codes.values, before.codes.values)


def test_a_derived_length_stays_that_of_the_measured_fit(ring):
    before = fitted(toy_recipe(model={"max_length": "auto"}, training={"max_epochs": 1}), ring)
    again = fitted_on_everything(before, ring)
    assert again.derived == before.derived != ()
    assert again.model.max_length == before.model.max_length


def refusal(registry: Registry, name: str, tmp_path: Path, ring: TrainingSet) -> str:
    with pytest.raises(BundleError) as error:
        refit_on_everything(name, lambda part: tmp_path / part, registry, ring, tmp_path)
    assert list(tmp_path.iterdir()) == []
    return str(error.value)


def test_what_cannot_be_refitted_is_refused_before_anything_is_fitted(ring, tmp_path):
    student = replace(toy_recipe(**LIST_WRITER), teacher_lists="lists")
    settings = {
        name: value for name, value in RECIPE.as_tables()["model"].items() if name not in ("architecture", "block")
    }
    timed = replace(RECIPE, model=TimeGapSASRecSettings(**settings, buckets=8))
    aligned = AlignmentRecipe("aligned", "Aligned", "none", "", "quick", "student", "ppo", ("popularity",), (1.0,))
    parts = FusionRecipe("mixed", "Mixed", "none", "", "quick", ("markov_chain", "timed"))
    registry = Registry({"student": student, "timed": timed}, {"mixed": parts}, alignments={"aligned": aligned})
    assert "cannot be fitted on everything (student: the model is taught" in refusal(
        registry, "student", tmp_path, ring
    )
    assert "(timed: the model reads times" in refusal(registry, "mixed", tmp_path, ring)
    assert "(aligned: an alignment learns from" in refusal(registry, "aligned", tmp_path, ring)
    assert "release the fit that was measured" in refusal(registry, "aligned", tmp_path, ring)
    assert [can_be_refitted(name, OWN_REGISTRY) for name in ("toy", "both", "again", "random")] == [""] * 4
    with pytest.raises(KeyError, match="there is no recommender nothing"):
        can_be_refitted("nothing", OWN_REGISTRY)


def test_a_model_that_was_started_warm_is_refused_before_anything_is_fitted(ring, measured, tmp_path):
    start = Start(measured("toy"), "a1b2c3d4e5f6a7b8", ring.item_ids, None)
    warm = SequentialRecommender(RECIPE, execution=Execution(threads=1), start=start).fit(ring)
    assert isinstance(warm.started_from, CarriedOver), warm.started_from
    into = tmp_path / "into"
    for folder in (into, tmp_path / "toy"):
        folder.mkdir()
    warm.save(tmp_path / "toy")
    registry = Registry({"toy": RECIPE}, {"both": OWN_REGISTRY.fusions["both"]})

    def folder_of(name: str) -> Path:
        return tmp_path / "toy" if name == "toy" else measured(name)

    for name in ("toy", "both"):
        with pytest.raises(BundleError, match=r"\(toy: .* of release a1b2c3d4e5f6, .*WARM_START=off"):
            refit_on_everything(name, folder_of, registry, ring, into)
    assert list(into.iterdir()) == []
    # of recipes alone that cannot be known
    assert can_be_refitted("toy", registry) == ""


def test_a_model_refuses_it_too(ring):
    with pytest.raises(ValueError, match=r"no validation item is left .* call ml\.training\.everything\."):
        SequentialRecommender(RECIPE, fit_on=FIT_ON_EVERYTHING, execution=Execution(threads=1)).fit(ring)
    one = SequentialRecommender(RECIPE)
    one.aligned = {}
    with pytest.raises(ValueError, match="learns more than the next item"):
        fitted_on_everything(one, ring)


def test_times_of_test_items_are_never_made_up(ring):
    lengths = (len(ring.train.items), len(ring.validation_users), 0, 0)
    timed = Times(*(np.arange(length) for length in lengths)).added_to(ring)
    everything = timed.with_everything_trained_on()
    assert everything.train.times is None
    assert everything.digest() == ring.with_everything_trained_on().digest()
