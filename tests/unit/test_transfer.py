"""Pre-training on other datasets: what it reads, what it learns, what is kept, and what a model starts from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recommender_factories import digest_of_files
from torch.nn import functional as F
from transfer_toys import pretrained_recipe, text_ring, with_other_held_out_items

from ml.contrast.histories import Histories
from ml.data.files import DamagedFile
from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.models.build import build_model
from ml.models.item_embeddings import DenseItemEmbedding
from ml.objectives.targets import Targets
from ml.recommenders.check_choice import check_audit_model
from ml.recommenders.fit import Conditions, fit
from ml.recommenders.modules import modules_of
from ml.recommenders.registry import Registry, recipes
from ml.release.refit import can_be_refitted
from ml.tasks.next_item import NextItem
from ml.text.shared_space import ARRAYS, TextSpace
from ml.training.everything import fitted_on_everything
from ml.training.pretrained import DESCRIPTION, WEIGHTS, Pretrained
from ml.training.recipe import TableError, load_recipe, recipe_from_tables
from ml.training.runtime import Execution
from ml.training.sequential_recommender import SequentialRecommender
from ml.training.train import train
from ml.transfer.contrasts import DroppedItems, InBatchItems, dropped
from ml.transfer.overlap import overlap
from ml.transfer.pretrain import pretrain, pretrain_into
from ml.transfer.sources import mixed

pytestmark = pytest.mark.usefixtures("one_torch_thread")
ONE_THREAD = Execution(threads=1)
TARGET = text_ring("Target", users=50)


@pytest.fixture(scope="module")
def sources() -> list[TrainingSet]:
    return [text_ring("First"), text_ring("Second", users=60, seed=1)]


@pytest.fixture(scope="module")
def pretrained(sources: list[TrainingSet]) -> Pretrained:
    return pretrain(pretrained_recipe(), sources, TARGET.item_text, 0, ONE_THREAD)[0]


def _saved(pretrained: Pretrained, folder: Path) -> str:
    folder.mkdir()
    pretrained.save(folder)
    return digest_of_files(folder)


# ---- what is read


def test_equal_sources_give_equal_bytes_whatever_their_order(sources, pretrained, tmp_path):
    again, _ = pretrain(pretrained_recipe(), sources[::-1], TARGET.item_text, 0, ONE_THREAD)
    other, _ = pretrain(pretrained_recipe(), sources, TARGET.item_text, 1, ONE_THREAD)
    found = [_saved(one, tmp_path / str(place)) for place, one in enumerate((pretrained, again, other))]
    assert found[0] == found[1] != found[2]


def test_held_out_items_of_the_sources_are_not_read(sources, pretrained, tmp_path):
    changed = [with_other_held_out_items(source) for source in sources]
    assert changed[0].digest() != sources[0].digest()
    again, _ = pretrain(pretrained_recipe(), changed, TARGET.item_text, 0, ONE_THREAD)
    assert _saved(again, tmp_path / "again") == _saved(pretrained, tmp_path / "first")


def test_training_histories_and_texts_of_the_sources_are_read(sources, pretrained):
    first = sources[0]
    fewer = replace(first, train=Sequences(first.train.items[::-1].copy(), first.train.offsets))
    renamed = first.with_text(tuple(f"{text} new" for text in first.item_text))
    for changed in (fewer, renamed):
        again, _ = pretrain(pretrained_recipe(), [changed, sources[1]], TARGET.item_text, 0, ONE_THREAD)
        assert again.digest() != pretrained.digest()
        assert again.described()["sources"][0] != pretrained.described()["sources"][0]


def test_nothing_is_saved_of_single_items_or_users(pretrained):
    sizes = {size for weight in pretrained.weights.values() for size in weight.shape}
    assert not sizes & {40, 80, 120}
    assert not any("weight" in name and "input_embedding.weight" in name for name in pretrained.weights)


# ---- the mixture


def test_items_of_equal_text_are_one_item_and_those_without_text_are_left_out():
    one, other = text_ring("Acme", users=10), text_ring("Brix", users=12)
    texts = list(other.item_text)
    texts[:3] = one.item_text[:3]
    texts[3] = "Title: Unknown Brand: Unknown Category: Unknown Price: $5.00"
    other = other.with_text(tuple(texts))
    space = TextSpace.fit([*one.item_text, *texts])
    together = mixed([one, other], space)
    assert len(together.text) == 40 + 40 - 3 - 1
    assert together.text.any(axis=1).all()
    of_item = {vector.tobytes(): place for place, vector in enumerate(together.text)}
    for training_set, first in ((one, 0), (other, 10)):
        vectors = space.vectors(training_set.item_text)
        for user in range(training_set.users):
            expected = [of_item[vectors[item].tobytes()] for item in training_set.train[user] if vectors[item].any()]
            assert together.histories[first + user].tolist() == expected


def test_a_source_without_a_history_or_word_is_refused(sources):
    empty = sources[0].with_text(("Title: Unknown Brand: Unknown Category: Unknown Price: Unknown",) * 40)
    with pytest.raises(ValueError, match=r"recipe toy: no training history of First has 2 items with a text"):
        pretrain(pretrained_recipe(), [empty], TARGET.item_text, 0, ONE_THREAD)
    with pytest.raises(ValueError, match="no item of any dataset has a title, brand or category with a word"):
        pretrain(pretrained_recipe(), [empty], ("!",), 0, ONE_THREAD)
    with pytest.raises(ValueError, match=r"recipe toy is pre-trained on other datasets, .* PRETRAIN_ON=Beauty,Toys"):
        pretrain(pretrained_recipe(), [], TARGET.item_text, 0, ONE_THREAD)
    with pytest.raises(ValueError, match="First was loaded without its item text"):
        pretrain(pretrained_recipe(), [replace(sources[0], item_text=None)], TARGET.item_text, 0, ONE_THREAD)


# ---- the losses


def test_the_loss_over_the_batch_is_that_of_all_pairs():
    torch.manual_seed(0)
    embedding, states = DenseItemEmbedding(6, 4, 1.0), torch.randn(7, 4)
    items = torch.tensor([2, 5, 2, 0, 1, 5, 5])
    found = InBatchItems()(states, Targets(items), embedding, np.random.default_rng(0))
    scores = states @ embedding(items).T
    # another state with the same item behind it is no negative
    same = (items[:, None] == items) & ~torch.eye(7, dtype=torch.bool)
    expected = F.cross_entropy(scores.masked_fill(same, -torch.inf), torch.arange(7))
    torch.testing.assert_close(found, expected)


@given(st.integers(1, 8), st.integers(1, 9), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_dropped_items_leave_the_others_in_their_order(rows, width, share, seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, width + 1, rows)
    items = np.where(
        np.arange(width) < lengths[:, None], generator.permuted(np.tile(np.arange(1, width + 1), (rows, 1)), axis=1), 0
    )
    histories = Histories(items, lengths, np.zeros(rows, dtype=np.int64))
    view = dropped(histories, share, generator)
    assert (view.lengths >= 1).all()
    for row in range(rows):
        before, after = items[row, : lengths[row]].tolist(), view.items[row, : view.lengths[row]].tolist()
        assert after[0] == before[0]
        assert after == [item for item in before if item in set(after)]
        assert not view.items[row, view.lengths[row] :].any()


def test_as_many_items_are_dropped_as_asked_for():
    items = np.ones((400, 50), dtype=np.int64)
    whole = Histories(items, np.full(400, 50), np.zeros(400, dtype=np.int64))
    kept = dropped(whole, 0.2, np.random.default_rng(0)).lengths
    assert kept.mean() == pytest.approx(1 + 49 * 0.8, abs=0.5)


def test_the_contrast_of_sequences_has_a_gradient_and_no_negatives_with_the_same_item(sources, pretrained):
    together = mixed(sources, pretrained.space)
    recipe = pretrained_recipe()
    model = build_model(recipe.model, len(together.text), 0, None, text=together.text)
    contrast = DroppedItems(0.2, 0.07, NextItem())
    views = contrast.views(together.histories, np.arange(12), 8, np.random.default_rng(0))
    contrast.loss(model, views).backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.blocks.parameters())
    # where the same item follows everywhere, there are no negatives and nothing to learn
    alike = replace(views, targets=torch.zeros_like(views.targets))
    assert contrast.loss(model.eval(), alike).item() == pytest.approx(0, abs=1e-6)


# ---- what a model starts from


def test_the_model_starts_from_the_weights_and_keeps_fresh_rows(pretrained):
    settings = pretrained_recipe().model
    model = build_model(settings, 40, 0, None, text=pretrained.features(TARGET)["text"])
    rows = model.input_embedding.weight.detach().clone()
    pretrained.begin(model, "all")
    own = dict(model.named_parameters())
    for name, weight in pretrained.weights.items():
        torch.testing.assert_close(own[name].detach(), weight, rtol=0, atol=0)
    torch.testing.assert_close(model.input_embedding.weight.detach(), rows, rtol=0, atol=0)
    assert own.keys() - pretrained.weights.keys() == {"input_embedding.weight", "input_embedding.gate"}
    assert all(weight.requires_grad for weight in own.values())


@pytest.mark.parametrize("length", [5, 8, 11])
def test_positions_are_counted_from_the_latest_item(pretrained, length):
    settings = replace(pretrained_recipe().model, max_length=length)
    model = build_model(settings, 40, 0, None, text=pretrained.features(TARGET)["text"])
    fresh = model.positions.detach().clone()
    pretrained.begin(model, "all")
    shared = min(length, 8)
    torch.testing.assert_close(model.positions[-shared:].detach(), pretrained.weights["positions"][-shared:])
    torch.testing.assert_close(model.positions[: length - shared].detach(), fresh[: length - shared])


def test_the_adaptor_alone_is_finetuned_where_the_recipe_says_so(pretrained):
    recipe = pretrained_recipe(finetuned="adaptor")
    model = SequentialRecommender(recipe, pretrained=pretrained, execution=ONE_THREAD).fit(TARGET).model
    for name, weight in model.named_parameters():
        if name in pretrained.weights:
            kept = torch.equal(weight.detach(), pretrained.weights[name])
            assert kept == name.startswith(("positions", "blocks", "norm")), name


def test_a_model_of_other_sizes_is_refused(pretrained):
    other = replace(pretrained_recipe().model, dimensions=8)
    model = build_model(other, 40, 0, None, text=pretrained.features(TARGET)["text"])
    with pytest.raises(ValueError, match="do not fit the model: pre-train it again"):
        pretrained.begin(model, "all")


@pytest.mark.slow
def test_what_was_learnt_on_one_dataset_helps_on_another_before_it_is_finetuned(monkeypatch):
    """Titles follow one another alike in both: pre-trained weights rank the items of the target, fresh ones do not."""
    # so few texts would have too few dimensions to tell them from one another
    monkeypatch.setattr("ml.text.shared_space.ITEMS_PER_DIMENSION", 2)
    source, target = text_ring("Source", users=150, seed=3), text_ring("Target", users=60, seed=3)
    found = {}
    for epochs in (0, 20):
        recipe = pretrained_recipe(epochs=epochs)
        # a step too small to change anything
        still = replace(
            recipe,
            model=replace(recipe.model, item_embedding="text_experts"),
            optimiser=replace(recipe.optimiser, learning_rate=1e-12),
            training=replace(recipe.training, max_epochs=1),
        )
        begun, _ = pretrain(recipe, [source], target.item_text, 0, ONE_THREAD)
        begun = replace(begun, recipe=still.pretraining_digest())
        recommender = SequentialRecommender(still, pretrained=begun, execution=ONE_THREAD).fit(target)
        found[epochs] = recommender.best_validation_ndcg_at_10
    assert found[20] > 0.3
    assert found[0] < 0.2


# ---- folders


def test_a_folder_holds_all_and_is_read_again(sources, pretrained, tmp_path):
    made = pretrain_into(tmp_path / "made", pretrained_recipe(), sources, TARGET.item_text, 0, ONE_THREAD)
    loaded = Pretrained.load(tmp_path / "made")
    assert made.digest() == loaded.digest() == pretrained.digest()
    assert loaded.described() == pretrained.described()
    texts = (*TARGET.item_text[:5], "Title: saw", "!")
    np.testing.assert_array_equal(loaded.space.vectors(texts), pretrained.space.vectors(texts))
    assert len((tmp_path / "made" / "training_log.jsonl").read_text().splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [".versions", "made"]


@pytest.mark.parametrize("name", [WEIGHTS, ARRAYS, DESCRIPTION])
def test_a_damaged_folder_is_named(pretrained, tmp_path, name):
    _saved(pretrained, tmp_path / "saved")
    path = tmp_path / "saved" / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile, match="saved"):
        Pretrained.load(tmp_path / "saved")


def test_other_weights_than_those_described_are_refused(pretrained, tmp_path):
    from safetensors.torch import save_file

    _saved(pretrained, tmp_path / "saved")
    changed = {name: weight + (name == "norm.bias") for name, weight in pretrained.weights.items()}
    save_file(changed, tmp_path / "saved" / WEIGHTS)
    with pytest.raises(DamagedFile, match=r"does not hold the weights that pretraining\.json describes"):
        Pretrained.load(tmp_path / "saved")


def test_a_killed_pretraining_goes_on_to_the_same_bytes(sources, pretrained, tmp_path, monkeypatch):
    calls = []

    class Killed(BaseException):
        pass

    def dies(self, *arguments):
        calls.append(1)
        if len(calls) == 7:
            raise Killed
        return loss(self, *arguments)

    loss = InBatchItems.__call__
    monkeypatch.setattr(InBatchItems, "__call__", dies)
    given = (pretrained_recipe(), sources, TARGET.item_text, 0, replace(ONE_THREAD, checkpoint_seconds=0))
    with pytest.raises(Killed):
        pretrain_into(tmp_path / "made", *given)
    assert not (tmp_path / "made").exists()
    calls.extend([1] * 100)
    before = len(calls)
    assert pretrain_into(tmp_path / "made", *given).digest() == pretrained.digest()
    steps = pretrained.described()["steps"]
    assert len(calls) - before == steps - 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [".versions", "made"]


# ---- recommenders


def test_a_trained_model_says_what_it_started_from_and_stands_alone(pretrained, tmp_path):
    train(pretrained_recipe(), TARGET, tmp_path / "a", progress=False, threads=1, pretrained=pretrained)
    train(pretrained_recipe(), TARGET, tmp_path / "b", progress=False, threads=1, pretrained=pretrained)
    one, other = (SequentialRecommender.load(tmp_path / name) for name in "ab")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["pretrained"] == pretrained.described() == one.pretrained_from
    assert config == json.loads((tmp_path / "b" / "config.json").read_text())
    lists = [each.recommend(TARGET.histories("test"), 5, exclude_seen=True) for each in (one, other)]
    np.testing.assert_array_equal(lists[0].items, lists[1].items)
    (tmp_path / "again").mkdir()
    one.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == config


def test_weights_of_another_seed_give_another_model(sources, pretrained):
    other, _ = pretrain(pretrained_recipe(), sources, TARGET.item_text, 1, ONE_THREAD)
    digests = set()
    for begun in (pretrained, other):
        recommender = SequentialRecommender(pretrained_recipe(), pretrained=begun, execution=ONE_THREAD).fit(TARGET)
        digests.add(recommender._config()["weights_digest"])
    assert len(digests) == 2


def test_weights_that_are_missing_or_not_wanted_are_refused(pretrained):
    with pytest.raises(ValueError, match=r"recipe toy: this model starts from weights .* none were given"):
        SequentialRecommender(pretrained_recipe()).fit(TARGET)
    plain = replace(pretrained_recipe(), pretraining=None)
    with pytest.raises(ValueError, match="pre-trained weights were given to a model that starts at random"):
        SequentialRecommender(plain, pretrained=pretrained).fit(TARGET)
    with pytest.raises(ValueError, match="it was changed after the weights were pre-trained"):
        SequentialRecommender(pretrained_recipe(epochs=3), pretrained=pretrained).fit(TARGET)
    with pytest.raises(ValueError, match="loaded without it"):
        SequentialRecommender(pretrained_recipe(), pretrained=pretrained).fit(replace(TARGET, item_text=None))
    with pytest.raises(ValueError, match=r"recipe toy: .* no item of Target has a title, .* it was pre-trained with"):
        SequentialRecommender(pretrained_recipe(), pretrained=pretrained).fit(TARGET.with_text(("words unheard",) * 40))


def test_fitted_by_name_it_is_pre_trained_with_the_seed_of_the_fit(sources, tmp_path):
    registry = Registry({"toy": pretrained_recipe()}, {})
    conditions = Conditions(seed=1, threads=1, sources=tuple(sources))
    in_memory = fit("toy", TARGET, conditions, registry)
    saved = fit("toy", TARGET, conditions, registry, folder=tmp_path / "toy")
    assert in_memory.pretrained_from == saved.pretrained_from
    assert saved.pretrained_from["seed"] == 1
    assert Pretrained.load(tmp_path / "toy-pretrained").digest() == saved.pretrained_from["digest"]
    with pytest.raises(ValueError, match=r"recipe toy is pre-trained on other datasets, and none is named"):
        fit("toy", TARGET, Conditions(threads=1), registry)


def test_its_folder_alone_cannot_be_fitted_on_everything(pretrained, tmp_path):
    assert "does not hold the weights of other datasets" in can_be_refitted(
        "toy", Registry({"toy": pretrained_recipe()}, {})
    )
    recommender = SequentialRecommender(pretrained_recipe(), pretrained=pretrained, execution=ONE_THREAD).fit(TARGET)
    # with the weights it can
    assert fitted_on_everything(recommender, TARGET).pretrained_from == pretrained.described()
    recommender.save(tmp_path)
    with pytest.raises(ValueError, match="which its folder does not hold: it cannot be fitted on everything"):
        fitted_on_everything(SequentialRecommender.load(tmp_path), TARGET)


# ---- recipes


def test_the_recipe_differs_from_its_plain_one_in_nothing_but_the_pretraining():
    recipe, plain = load_recipe("unisrec_pretrained"), load_recipe("unisrec")
    assert (recipe.family, recipe.plain, recipe.set) == ("text", "unisrec", plain.set)
    assert replace(recipe, pretraining=None).digest() == plain.digest() != recipe.digest()
    assert recipe_from_tables(recipe.name, recipe.as_tables(), "here") == recipe


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("pretraining", "epochs", -1, "epochs must not be negative"),
        ("pretraining", "batch_size", 1, "batch_size must be at least 2"),
        ("pretraining", "learning_rate", 0.0, "learning_rate must be above 0"),
        ("pretraining", "sequence_weight", -0.1, "sequence_weight must not be negative"),
        ("pretraining", "item_drop", 1.0, "item_drop must be above 0 and below 1"),
        ("pretraining", "finetuned", "some", "finetuned"),
        ("pretraining", "word_drop", 0.1, "word_drop"),
        ("model", "item_embedding", "text_and_id", "pretraining needs item_embedding"),
        ("model", "separate_output_embedding", True, "pretraining needs item_embedding"),
        ("model", "text_encoder", "sentence_transformers", "fitted on all datasets; remove text_encoder"),
        ("model", "whitened_text", False, "fitted on all datasets; remove text_encoder"),
    ],
)
def test_tables_that_mean_nothing_are_refused(table, key, value, message):
    tables = pretrained_recipe().as_tables()
    tables[table][key] = value
    with pytest.raises(TableError, match=message):
        recipe_from_tables("toy", tables, "here.toml")


def test_other_architectures_are_refused():
    tables = pretrained_recipe().as_tables()
    tables["model"]["architecture"] = "sasrec"
    del tables["model"]["temperature"]
    with pytest.raises(TableError, match="pretraining goes with the architecture unisrec alone"):
        recipe_from_tables("toy", tables, "here.toml")


def test_the_code_of_the_space_counts_for_pre_trained_models_alone(monkeypatch):
    monkeypatch.setitem(recipes(), "toy", pretrained_recipe())
    assert "ml.text.shared_space" in modules_of("toy")
    assert not any(module.startswith("ml.text") for module in modules_of("tiny_softmax"))


def test_the_audits_do_not_pre_train(monkeypatch):
    monkeypatch.setitem(recipes(), "toy", replace(pretrained_recipe(), plain="tiny_softmax"))
    with pytest.raises(ValueError, match=r"AUDIT_MODEL=toy is not possible: .*; name tiny_softmax"):
        check_audit_model("toy")


# ---- overlap


def test_users_and_items_that_datasets_share_are_counted():
    source = text_ring("Source", users=30)
    target = replace(text_ring("Target", users=20), test_users=np.arange(4, 20, dtype=np.int32))
    target = replace(target, user_ids=np.array([b"%04d" % user for user in range(25, 45)]))
    found = overlap(target, [source])
    # users 25 to 29 are in both, the last of them is tested alone
    assert (found.users, found.test_users, found.items) == (5, 1, 40)
    assert "1 of 16 test users" in found.sentence
    apart = replace(target, user_ids=np.array([b"x%03d" % user for user in range(20)]))
    assert overlap(apart, [source]).test_users == 0
    assert overlap(apart, [source]).sentence == ""
