"""A training that starts from the weights of an earlier model (ml/training/warm_start.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_models_all
import test_models_generating
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from training_toys import IDENTIFIER_TREE, ITEMS, fitted, identifiers, ring_training_set, toy_recipe

from ml.codes.codes import Codes
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.belonging import (
    FROM_CATALOGUE,
    OF_ITEMS,
    OF_NODES,
    OF_NOTHING,
    OF_USER_NUMBERS,
    OF_USERS,
    belonging_of_weights,
)
from ml.models.build import build_model
from ml.models.settings import MODEL_SETTINGS, reads_categories, reads_text, reads_words
from ml.recommenders.facts import facts_of
from ml.training.checkpoint import checkpoint_folder
from ml.training.item_features import features_digest, save_features
from ml.training.recipe import Recipe
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train
from ml.training.warm_start import CannotStartWarm, CarriedOver, ColdStart, Start, carried_over, load_start

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SHORT = {"training": {"max_epochs": 2, "patience": 2}}


def _built(architecture: str, table: dict, items: int, users: int, categories: int = 4) -> torch.nn.Module:
    chosen = MODEL_SETTINGS[architecture](**table)
    codes = None
    if getattr(chosen, "item_embedding", "") == "joint_product_quantised":
        codes = np.random.default_rng(0).integers(256, size=(items, 4), dtype=np.uint8)
    if (architecture, table) in test_models_generating.MODELS.values():
        codes = np.stack(np.unravel_index(np.arange(items), test_models_generating.SIZES), axis=1).astype(np.uint8)
    text = np.random.default_rng(0).normal(size=(items, 7)).astype(np.float32) if reads_text(chosen) else None
    torch.manual_seed(0)
    return build_model(
        chosen,
        items,
        users,
        codes,
        test_models_generating.SIZES if architecture in ("item_codes", "tiger", "gptrec_codes") else None,
        text=text,
        categories=np.arange(items) % categories if reads_categories(chosen) else None,
        words=test_models_all._words()[:items] if reads_words(chosen) else None,
    )


@pytest.mark.parametrize("case", [*test_models_all.MODELS.values(), *test_models_generating.MODELS.values()], ids=str)
def test_what_grows_with_the_catalogue_or_the_users_belongs_to_them(case):
    """A weight of a new architecture that has a row an item, and does not say so, fails here."""
    architecture, table = case
    small, more_items, more_users = (_built(architecture, table, *sizes) for sizes in ((20, 6), (22, 6), (20, 8)))
    kinds = belonging_of_weights(small)
    of_nodes = {name for name, kind in kinds.items() if kind == OF_NODES}

    def growing(other: torch.nn.Module) -> set[str]:
        grown = other.state_dict()
        return {name for name, tensor in small.state_dict().items() if tensor.shape != grown[name].shape}

    by_items, by_users = growing(more_items), growing(more_users)
    assert by_items - of_nodes == {name for name, kind in kinds.items() if kind in (OF_ITEMS, FROM_CATALOGUE)}
    assert by_users == {name for name, kind in kinds.items() if kind == OF_USERS}
    # what the settings of a model say of users without a row each
    assert all("users" in name for name, kind in kinds.items() if kind == OF_USER_NUMBERS)


@st.composite
def _catalogues(draw):
    """Ids of two catalogues that share at least one item, and text vectors of the second, some of them missing."""
    ids = st.lists(st.integers(0, 25), min_size=1, max_size=20, unique=True).map(sorted)
    old, new = draw(ids), draw(ids)
    if not set(old) & set(new):
        new = sorted({*new, old[0]})
    text = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(len(new), 3)).astype(np.float32)
    text[draw(st.lists(st.booleans(), min_size=len(new), max_size=len(new)))] = 0
    return old, new, draw(st.sampled_from([text, None]))


def _ids(numbers: list[int]) -> np.ndarray:
    return np.array([b"%04d" % number for number in numbers])


def _written(folder: Path, recipe: Recipe, model: torch.nn.Module, **config) -> Path:
    """What warm starts read of a saved recommender."""
    folder.mkdir(exist_ok=True)
    known = {"recipe_digest": recipe.digest(), "weights_digest": "0" * 64, **config}
    (folder / "config.json").write_text(json.dumps(known))
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    return folder


def _of_recipe(recipe: Recipe, items: int, seed: int, users: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(recipe.model, items, users, None)


@settings(max_examples=60, deadline=None)
@given(_catalogues())
def test_items_are_carried_over_by_id_and_new_ones_are_a_mean(tmp_path_factory, catalogues):
    old_ids, new_ids, text = catalogues
    recipe = toy_recipe()
    folder = tmp_path_factory.mktemp("start")
    earlier, model = _of_recipe(recipe, len(old_ids), 1), _of_recipe(recipe, len(new_ids), 2)
    start = Start(_written(folder / "old", recipe, earlier), "a", _ids(old_ids), text)
    weights, carried = carried_over(start, recipe, model, _ids(new_ids), _ids([]))

    old, found = earlier.state_dict(), weights["input_embedding.weight"]
    known = [item for item in new_ids if item in old_ids]
    vector = {item: old["input_embedding.weight"][old_ids.index(item)] for item in known}
    for row, item in enumerate(new_ids):
        if item in vector:
            assert torch.equal(found[row], vector[item])
            continue
        mates = known
        described = [other for other in known if text is not None and text[new_ids.index(other)].any()]
        if text is not None and text[row].any() and described:
            cosine = {
                other: float(np.dot(text[row], text[place]) / np.linalg.norm(text[row]) / np.linalg.norm(text[place]))
                for other in described
                for place in [new_ids.index(other)]
            }
            mates = sorted(described, key=lambda other: -cosine[other])[:10]
        torch.testing.assert_close(found[row], torch.stack([vector[other] for other in mates]).mean(dim=0))
    for name, tensor in old.items():
        if name != "input_embedding.weight":
            assert torch.equal(weights[name], tensor)
    assert (carried.known_items, carried.new_items) == (len(known), len(new_ids) - len(known))
    assert carried.dropped_items == len(old_ids) - len(known)
    model.load_state_dict(weights)


def _grown(training_set: TrainingSet, left_out: tuple[int, ...]) -> TrainingSet:
    """The training set without some items: yesterday's."""
    kept = np.array([item for item in range(training_set.items) if item not in left_out])
    place = np.full(training_set.items, -1)
    place[kept] = np.arange(len(kept))
    rows = [place[history][place[history] >= 0] for history in training_set.train]
    validated = place[training_set.validation_targets] >= 0
    tested = place[training_set.test_targets] >= 0
    return replace(
        training_set,
        item_ids=training_set.item_ids[kept],
        train=Sequences.from_lists(rows),
        validation_users=training_set.validation_users[validated],
        validation_targets=place[training_set.validation_targets][validated].astype(np.int32),
        test_users=training_set.test_users[tested],
        test_targets=place[training_set.test_targets][tested].astype(np.int32),
    )


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return ring_training_set()


@pytest.fixture(scope="module")
def yesterday(training_set, tmp_path_factory) -> Start:
    folder = tmp_path_factory.mktemp("yesterday") / "toy"
    before = _grown(training_set, (3, 17))
    train(toy_recipe(), before, folder, progress=False)
    return Start(folder, "c0ffee", before.item_ids)


@pytest.fixture
def shortly(yesterday, tmp_path) -> Start:
    """The same start for a training of few epochs: their number is no part of what the toy was trained for."""
    return replace(yesterday, folder=_with_recipe(yesterday.folder, toy_recipe(**SHORT), tmp_path / "old"))


def test_a_warm_training_says_what_it_started_from_and_starts_better(training_set, shortly, tmp_path):
    recipe, folder = toy_recipe(**SHORT), tmp_path / "toy"
    train(recipe, training_set, folder, progress=False, start=shortly)
    cold = fitted(recipe, training_set)
    warm = SequentialRecommender.load(folder)
    assert warm.log[0].validation_ndcg_at_10 > 0.2 + cold.log[0].validation_ndcg_at_10
    assert warm.started_from == CarriedOver("c0ffee", ITEMS - 2, 2, 0, 0)
    run = json.loads((folder / "training_run.json").read_text())
    assert run["started_from"] == warm.started_from.as_json()
    lines = [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]
    assert [line.get("started_from") for line in lines] == ["c0ffee", None]
    assert "started from the weights of c0ffee" in warm.log[0].in_words()


def _with_recipe(folder: Path, recipe: Recipe, target: Path) -> Path:
    """A copy of a saved model that claims to be of a recipe."""
    target.mkdir()
    config = json.loads((folder / "config.json").read_text()) | {"recipe_digest": recipe.digest()}
    (target / "config.json").write_text(json.dumps(config))
    (target / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return target


@pytest.mark.slow
def test_equal_starts_give_equal_weights_and_other_starts_others(training_set, yesterday):
    def digest(start: Start | ColdStart | None) -> str:
        return fitted(toy_recipe(), training_set, start=start)._config()["weights_digest"]

    assert digest(yesterday) == digest(yesterday)
    assert digest(yesterday) != digest(None)
    assert digest(ColdStart("the champion is another model")) == digest(None)


def test_a_cold_training_writes_what_it_always_wrote(training_set, tmp_path):
    recipe = toy_recipe(**SHORT)
    for name, start in (("plain", None), ("refused", ColdStart("there is no champion"))):
        train(recipe, training_set, tmp_path / name, progress=False, start=start)
    configs = [(tmp_path / name / "config.json").read_bytes() for name in ("plain", "refused")]
    assert configs[0] == configs[1]
    assert b"started_from" not in configs[0]
    runs = [json.loads((tmp_path / name / "training_run.json").read_text()) for name in ("plain", "refused")]
    assert "started_from" not in runs[0]
    assert runs[1]["started_from"] == {"cold": "there is no champion"}


def test_the_final_fit_starts_from_the_same_weights(training_set, shortly):
    warm = fitted(toy_recipe(**SHORT), training_set, fit_on="train+validation", start=shortly)
    assert [record.fit_on for record in warm.log if record.started_from] == ["train", "train+validation"]


def test_another_recipe_starts_cold_with_a_reason(training_set, yesterday):
    other = toy_recipe(optimiser={"learning_rate": 0.02}, **SHORT)
    warm = fitted(other, training_set, start=yesterday)
    assert warm.started_from == ColdStart("the recipe toy has changed since")
    assert warm._config()["weights_digest"] == fitted(other, training_set)._config()["weights_digest"]


def test_another_size_is_refused(tmp_path):
    # as where the longest history is derived from the data
    short, long = (toy_recipe(model={"max_length": length}) for length in (6, 8))
    old = _written(tmp_path / "old", long, _of_recipe(short, 5, 1))
    with pytest.raises(CannotStartWarm, match=r"positions has the size \[8, 32\], and had \[6, 32\]"):
        carried_over(Start(old, "a", _ids([*range(5)])), long, _of_recipe(long, 5, 2), _ids([*range(5)]), _ids([]))


def test_other_pretrained_weights_are_refused(tmp_path):
    recipe, items = toy_recipe(), _ids([*range(5)])
    old = _written(tmp_path / "old", recipe, _of_recipe(recipe, 5, 1), pretrained={"digest": "a"})
    model = _of_recipe(recipe, 5, 2)
    for pretrained in (None, "b"):
        with pytest.raises(CannotStartWarm, match="other pre-trained weights"):
            carried_over(Start(old, "a", items), recipe, model, items, _ids([]), pretrained=pretrained)
    carried_over(Start(old, "a", items), recipe, model, items, _ids([]), pretrained="a")


def test_another_catalogue_is_refused(tmp_path):
    recipe = toy_recipe()
    old = _written(tmp_path / "old", recipe, _of_recipe(recipe, 2, 1))
    with pytest.raises(CannotStartWarm, match="none of the items was known"):
        carried_over(Start(old, "a", _ids([1, 2])), recipe, _of_recipe(recipe, 2, 2), _ids([3, 4]), _ids([]))


def test_checkpoints_are_bound_to_the_start(training_set, yesterday, tmp_path):
    def binding(start: Start | ColdStart | None) -> str:
        recommender = SequentialRecommender(
            toy_recipe(), start=start, execution=Execution(checkpoints=checkpoint_folder(tmp_path / "toy"))
        )
        checkpoint = recommender._checkpoint("search", False)
        assert checkpoint is not None
        return checkpoint.binding

    others = [
        yesterday,
        replace(yesterday, source="another"),
        replace(yesterday, item_ids=yesterday.item_ids[::-1].copy()),
        replace(yesterday, text=np.ones((ITEMS, 2), dtype=np.float32)),
        None,
    ]
    assert len({binding(start) for start in others}) == len(others)
    assert binding(yesterday) == binding(replace(yesterday))
    assert binding(ColdStart("why")) == binding(None)


def test_a_start_is_saved_for_a_process_of_its_own(yesterday, tmp_path):
    start = replace(yesterday, text=np.eye(ITEMS, 3, dtype=np.float32))
    start.save(tmp_path)
    loaded = load_start(tmp_path)
    assert isinstance(loaded, Start)
    assert loaded.digest() == start.digest()
    assert loaded.user_ids is None
    (tmp_path / "cold").mkdir()
    ColdStart("there is no champion").save(tmp_path / "cold")
    assert load_start(tmp_path / "cold") == ColdStart("there is no champion")


MATRIX_FACTORISATION = toy_recipe(
    model={"architecture": "matrix_factorisation", "dimensions": 4, "max_length": 8, "embedding_deviation": 0.1}
)


@pytest.mark.parametrize("is_known", [True, False])
def test_users_are_carried_over_where_their_ids_are_known(tmp_path, is_known):
    recipe, items = MATRIX_FACTORISATION, _ids([0, 1, 2])
    earlier, model = _of_recipe(recipe, 3, 1, users=2), _of_recipe(recipe, 3, 2, users=3)
    old = _written(tmp_path / "old", recipe, earlier)
    start = Start(old, "a", items, user_ids=_ids([1, 5]) if is_known else None)
    weights, carried = carried_over(start, recipe, model, items, _ids([0, 1, 5]))
    fresh = model.state_dict()["users.weight"]
    before = earlier.state_dict()["users.weight"]
    expected = torch.cat([fresh[:1], before]) if is_known else fresh
    assert torch.equal(weights["users.weight"], expected)
    assert carried.fresh == (() if is_known else ("users.weight",))
    assert torch.equal(weights["item_vectors.weight"], earlier.state_dict()["item_vectors.weight"])


def _quantised(tmp_path: Path, codes: np.ndarray, new_codes: np.ndarray) -> tuple[dict, torch.nn.Module]:
    recipe = toy_recipe(codes="svd")
    items = _ids([*range(len(codes))])
    torch.manual_seed(1)
    earlier = build_model(recipe.model, len(codes), 0, codes)
    torch.manual_seed(2)
    model = build_model(recipe.model, len(codes), 0, new_codes)
    old = _written(tmp_path / "old", recipe, earlier)
    return carried_over(Start(old, "a", items), recipe, model, items, _ids([]))[0], earlier


def test_renumbered_codes_keep_every_item_vector(tmp_path):
    random = np.random.default_rng(0)
    codes = random.integers(256, size=(50, 4), dtype=np.uint8)
    renumbered = np.stack([random.permutation(256)[codes[:, book]] for book in range(4)], axis=1).astype(np.uint8)
    weights, earlier = _quantised(tmp_path, codes, renumbered)
    assert torch.equal(weights["input_embedding.codes"], torch.from_numpy(renumbered))

    def vectors(centroids: torch.Tensor, of: np.ndarray) -> torch.Tensor:
        return centroids[torch.arange(4), torch.from_numpy(of).long()]

    before = vectors(earlier.state_dict()["input_embedding.centroids"], codes)
    assert torch.equal(vectors(weights["input_embedding.centroids"], renumbered), before)


def test_codes_that_cannot_be_mapped_are_refused(tmp_path):
    random = np.random.default_rng(0)
    old, new = (random.integers(4, size=(200, 4), dtype=np.uint8) for _ in range(2))
    with pytest.raises(CannotStartWarm, match=r"codes were assigned anew: .* of the variance"):
        _quantised(tmp_path, old, new)


def test_identifiers_must_be_the_same(training_set, tmp_path):
    recipe = toy_recipe(**IDENTIFIER_TREE, **SHORT)
    codes = identifiers()
    earlier = SequentialRecommender(recipe, 0, codes).fit(training_set)
    earlier.save(tmp_path)
    start = Start(tmp_path, "a", training_set.item_ids)
    again = SequentialRecommender(recipe, 0, codes, start=start).fit(training_set)
    assert isinstance(again.started_from, CarriedOver)
    others = Codes(np.roll(codes.values, 1, axis=0), codes.method)
    other = SequentialRecommender(recipe, 0, others, start=start).fit(training_set)
    assert other.started_from == ColdStart(f"{ITEMS} of {ITEMS} items have another identifier")


def test_text_must_lie_in_the_same_space(tmp_path):
    recipe = toy_recipe(model={"item_embedding": "text"})
    items, text = _ids([0, 1, 2, 3]), np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)

    def built(features: np.ndarray) -> torch.nn.Module:
        torch.manual_seed(0)
        return build_model(recipe.model, len(features), 0, None, text=features)

    old = _written(tmp_path / "old", recipe, built(text), item_features_digest=features_digest({"text": text}))
    save_features(old, {"text": text})
    start = Start(old, "a", items)
    grown = np.concatenate([text, np.ones((1, 5), dtype=np.float32)])
    weights, _ = carried_over(start, recipe, built(grown), _ids([*range(5)]), _ids([]), {"text": grown})
    assert belonging_of_weights(built(grown))["input_embedding.projection.weight"] == OF_NOTHING
    assert torch.equal(
        weights["input_embedding.projection.weight"],
        load_file(old / "model.safetensors")["input_embedding.projection.weight"],
    )
    turned = grown[:, ::-1].copy()
    with pytest.raises(CannotStartWarm, match="it reads vectors of the items' text"):
        carried_over(start, recipe, built(turned), _ids([*range(5)]), _ids([]), {"text": turned})


def test_the_leaderboard_knows_what_a_model_started_from(training_set, shortly, tmp_path):
    from ml.recommenders.registry import registry

    train(toy_recipe(**SHORT), training_set, tmp_path / "warm", progress=False, start=shortly)
    train(toy_recipe(**SHORT), training_set, tmp_path / "cold", progress=False)
    known = registry()
    found = {
        name: facts_of("tiny_softmax", lambda _, name=name: tmp_path / name, known, ITEMS) for name in ("warm", "cold")
    }
    assert found["warm"]["started_from"] == "c0ffee"
    assert found["cold"]["started_from"] == ""
