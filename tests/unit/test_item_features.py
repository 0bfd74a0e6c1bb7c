"""What models read of items beside their ids: where it comes from, what is refused, and that a saved model stands
alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training_command import _arguments, _toml
from training_toys import ITEMS, ring_training_set, toy_recipe

from ml.data.categories import category_numbers
from ml.data.files import DamagedFile
from ml.data.item_text import save_item_text
from ml.data.training_set import TrainingSet
from ml.models.build import build_model
from ml.models.settings import needs_item_text, needs_text_vectors, reads_categories, reads_text
from ml.text.vectors import save_text_vectors, text_vectors, vectors_for_models
from ml.text.whitening import whitened_components
from ml.training.__main__ import main
from ml.training.item_features import FILE, item_features, modules_of_features
from ml.training.recipe import TableError
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender

TEXTS = tuple(
    f"Title: thing number{item} Brand: b{item % 5} Category: c{item % 3} Price: $1.00" for item in range(ITEMS)
)


def _training_set(texts: tuple[str, ...] = TEXTS) -> TrainingSet:
    return ring_training_set(60).with_text(texts)


def _recipe(**model):
    return toy_recipe(model={"item_embedding": "text", **model}, training={"max_epochs": 2})


def _recommender(**model) -> SequentialRecommender:
    return SequentialRecommender(_recipe(**model), execution=Execution(threads=1))


def test_a_model_reads_what_its_settings_say():
    training_set = _training_set()
    assert item_features(toy_recipe().model, training_set) == {}
    found = item_features(_recipe().model, training_set)
    # one dimension for every ten items
    np.testing.assert_allclose(found["text"], whitened_components(text_vectors(training_set)[:, :4]), atol=1e-6)
    plain = item_features(_recipe(whitened_text=False).model, training_set)
    np.testing.assert_array_equal(plain["text"], text_vectors(training_set))
    both = SimpleNamespace(reads_text=True, text_encoder="tf_idf_svd", whitened_text=True, reads_categories=True)
    assert item_features(both, training_set).keys() == {"text", "categories"}
    assert (
        "sentence_transformers"
        in modules_of_features(SimpleNamespace(**vars(both) | {"text_encoder": "sentence_transformers"}))[-1]
    )


def test_whitened_vectors_are_computed_once():
    training_set = _training_set()
    assert vectors_for_models(training_set) is vectors_for_models(training_set)


def test_what_a_model_reads_decides_what_it_is_given():
    settings = _recipe().model
    assert reads_text(settings)
    assert needs_item_text(settings)
    assert needs_text_vectors(settings)
    assert not needs_text_vectors(_recipe(text_encoder="sentence_transformers").model)
    assert not reads_categories(settings)
    plain = toy_recipe().model
    assert not reads_text(plain)
    assert not needs_item_text(plain)
    assert not needs_text_vectors(plain)
    assert modules_of_features(plain) == []
    assert modules_of_features(settings) == ["ml.text.vectors", "ml.text.tf_idf_svd"]


def test_recipes_without_text_keep_their_digests():
    assert {"text_encoder", "whitened_text"}.isdisjoint(toy_recipe().as_tables()["model"])
    assert _recipe().as_tables()["model"].keys() == toy_recipe().as_tables()["model"].keys()
    assert _recipe(whitened_text=False).as_tables()["model"]["whitened_text"] is False


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"item_embedding": "dense", "whitened_text": False}, "whitened_text goes with an item_embedding"),
        ({"item_embedding": "dense", "text_encoder": "sentence_transformers"}, "text_encoder goes with"),
        ({"text_encoder": "tf_idf_svt"}, r"not 'tf_idf_svt' \(did you mean tf_idf_svd\?\)"),
    ],
)
def test_settings_that_mean_nothing_are_refused(model, message):
    with pytest.raises(TableError, match=message):
        _recipe(**model)


def test_a_saved_model_stands_alone(tmp_path):
    training_set = _training_set()
    recommender = _recommender().fit(training_set)
    recommender.save(tmp_path)
    loaded = SequentialRecommender.load(tmp_path)
    histories = training_set.histories("test")
    answer, again = (each.recommend(histories, 10, exclude_seen=True) for each in (recommender, loaded))
    np.testing.assert_array_equal(answer.items, again.items)
    np.testing.assert_array_equal(answer.scores, again.scores)
    # the text is no weight, and stands in its own file alone
    assert not any("text" in name for name in recommender.model.state_dict())
    (tmp_path / "again").mkdir()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / FILE).read_bytes() == (tmp_path / FILE).read_bytes()


def test_a_model_without_its_features_or_with_others_is_damaged(tmp_path):
    _recommender().fit(_training_set()).save(tmp_path)
    (tmp_path / FILE).rename(tmp_path / "aside")
    with pytest.raises(DamagedFile, match=FILE):
        SequentialRecommender.load(tmp_path)
    (tmp_path / "aside").rename(tmp_path / FILE)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"item_features_digest": "0" * 64}))
    with pytest.raises(DamagedFile, match="does not hold the features"):
        SequentialRecommender.load(tmp_path)


def test_a_model_that_reads_ids_alone_has_no_features(tmp_path):
    SequentialRecommender(toy_recipe(training={"max_epochs": 1}), execution=Execution(threads=1)).fit(
        ring_training_set(60)
    ).save(tmp_path)
    assert not (tmp_path / FILE).exists()
    assert "item_features_digest" not in json.loads((tmp_path / "config.json").read_text())


def test_no_text_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(SequentialRecommender, "_train", lambda *_: pytest.fail("it trains"))
    with pytest.raises(ValueError, match=r"recipe toy: this model reads the text .* --item-text"):
        _recommender().fit(ring_training_set(60))
    unknown = "Title: Unknown Brand: Unknown Category: Unknown Price: Unknown"
    for wordless in ("", "!?", "the of and", "🎸🎻", unknown):
        with pytest.raises(ValueError, match=r"recipe toy: .* no item of .* with a word"):
            _recommender().fit(_training_set((wordless,) * ITEMS))


def test_a_build_without_text_or_with_that_of_other_items_is_refused():
    settings, text = _recipe().model, np.ones((ITEMS, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="need text vectors of the items"):
        build_model(settings, ITEMS, 0, None)
    with pytest.raises(ValueError, match="a model that does not read them"):
        build_model(toy_recipe().model, ITEMS, 0, None, text=text)
    with pytest.raises(ValueError, match="text vectors are of 9 items"):
        build_model(settings, ITEMS, 0, None, text=text[:9])


def test_categories_are_numbered_in_the_order_of_their_labels():
    labels = ["Toys", None, "Animation|Comedy", "Comedy", "Unknown", " Animation ", "Größe|A"]
    labels += [None] * (ITEMS - len(labels))
    training_set = _training_set(
        tuple(f"Title: t Brand: b Category: {label or 'Unknown'} Price: $1.00" for label in labels)
    )
    assert category_numbers(training_set)[:7].tolist() == [4, 0, 1, 2, 0, 1, 3]
    assert not category_numbers(training_set)[7:].any()
    assert category_numbers(training_set).dtype == np.int64
    with pytest.raises(ValueError, match=r"no item of .* has one"):
        category_numbers(training_set.with_text(("words alone",) * ITEMS))
    with pytest.raises(ValueError, match="without its item text"):
        category_numbers(replace(training_set, item_text=None))


@pytest.fixture
def files(tmp_path):
    training_set = _training_set()
    for name in ("set", "text", "vectors"):
        (tmp_path / name).mkdir()
    training_set.save(tmp_path / "set")
    save_item_text(tmp_path / "text", training_set.item_ids, TEXTS)
    save_text_vectors(tmp_path / "vectors", training_set)
    (tmp_path / "reader.toml").write_text(_toml(_recipe().as_tables()))
    return tmp_path


@pytest.mark.parametrize("vectors", [False, True])
def test_the_command_trains_with_item_text(files, vectors, capsys):
    options = {"item_text": str(files / "text")} | ({"text_vectors": str(files / "vectors")} if vectors else {})
    assert main(_arguments(files, "reader", **options)) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    fresh = _recommender().fit(_training_set())
    assert SequentialRecommender.load(files / "out").best_validation_ndcg_at_10 == fresh.best_validation_ndcg_at_10
    assert result["best_validation_ndcg_at_10"] == fresh.best_validation_ndcg_at_10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "recipe reader: this model reads the text of the items"),
        ({"text_vectors": "vectors"}, "--text-vectors goes with --item-text"),
        ({"item_text": "set"}, "make the item text first"),
        ({"item_text": "text", "text_vectors": "set"}, "text_vectors.json"),
    ],
)
def test_the_command_says_in_a_line_what_is_missing(files, options, message, capsys):
    assert main(_arguments(files, "reader", **{name: str(files / value) for name, value in options.items()})) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (files / "out").exists()


@dataclass(frozen=True)
class Settings:
    """Of a model of one's own that reads text and categories."""

    dimensions: int = 2
    max_length: int = 5
    text_encoder: str = "tf_idf_svd"
    whitened_text: bool = True
    reads_text: bool = True
    reads_categories: bool = True


class Model(torch.nn.Module):
    def __init__(self, settings, catalogue):
        super().__init__()
        self.catalogue = catalogue


def test_a_catalogue_holds_what_a_model_of_ones_own_reads():
    features = item_features(Settings(), _training_set())
    catalogue = build_model(Settings(), ITEMS, 0, None, **features).catalogue
    np.testing.assert_array_equal(catalogue.text, features["text"])
    np.testing.assert_array_equal(catalogue.categories, 1 + np.arange(ITEMS) % 3)
