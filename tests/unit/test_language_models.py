"""Language models that write queries: recipes, training sequences, queries, and the lists that are made of these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recommender_factories import made_up_training_set

from ml.config import TableError
from ml.data.sequences import Sequences
from ml.language_models.queries import Query, write_queries
from ml.language_models.query_search import QuerySearch
from ml.language_models.recipe import (
    LANGUAGE_MODELS,
    FinetuningSettings,
    GeneratorSettings,
    QueryRecipe,
    QuerySettings,
    load_language_model,
    load_language_models,
    recipe_of_settings,
    settings_of,
)
from ml.language_models.sequences import IGNORED, TitleTokens
from ml.language_models.titles import title_of_text
from ml.recommender import NO_ITEM
from ml.retrieval.bm25 import index_texts, query_words

RECIPE = QueryRecipe(
    *("tiny", "Tiny", "none", "for tests", "quick"),
    GeneratorSettings(vocabulary=290, dimensions=16, layers=1, heads=2),
    FinetuningSettings(steps=6, batch_size=16, learning_rate=0.01, warm_up_steps=2, validate_every=3),
    QuerySettings(history=3, title_tokens=8, queries=3),
)
TOKENS = TitleTokens(((5, 6), (7,), (), (8, 9)), start=1, end=2)
TEXTS = ("steel drill", "brass drill", "copper wire", "steel wire")


def test_prompts_hold_the_last_titles_each_with_its_end() -> None:
    assert TOKENS.prompt([0, 3, 2, 1], 2) == [1, 8, 9, 2, 7, 2]
    assert TOKENS.prompt([2, 2], 3) == []
    assert TOKENS.prompt([], 3) == []


def test_windows_learn_every_title_but_the_first_once() -> None:
    histories = Sequences.from_lists([[0, 1, 2, 3, 0, 1], [2, 3], [3, 2, 1]])
    windows = TOKENS.windows(histories, 2)
    learned = [[label for label in labels if label != IGNORED] for _, labels in windows]
    # from the end of each history, each window a title longer than a prompt; item 2 has no title
    assert learned == [[5, 6, 2, 7, 2], [7, 2, 8, 9, 2], [7, 2]]
    for tokens, labels in windows:
        assert len(tokens) == len(labels)
        assert all(label in (IGNORED, token) for token, label in zip(tokens, labels, strict=True))


def test_titles_are_those_of_the_usual_text_or_the_whole_of_another() -> None:
    assert title_of_text("Title: A  saw Brand: X Category: Y Price: Unknown") == "A saw"
    assert title_of_text("Title: Unknown Brand: X Category: Y Price: Unknown") == ""
    assert title_of_text("a text of its own") == "a text of its own"
    assert title_of_text("!") == ""


def search(merge: str) -> QuerySearch:
    index = index_texts(TEXTS)
    return QuerySearch(index.stems, index.weights, np.array([1, 2, 3, 4]), merge)


def test_weighted_lists_add_up_the_scores_of_the_queries() -> None:
    index = index_texts(TEXTS)
    queries = (Query("drill", 0.3), Query("steel wire", 0.7))
    scores = (query_words([query.text for query in queries], index.stems) @ index.weights).toarray()
    expected = 0.3 * scores[0] + 0.7 * scores[1]
    lists = search("weighted").lists([queries], Sequences.from_lists([[0]]), 4, False)
    assert lists.items[0].tolist() == np.argsort(-expected).tolist()
    np.testing.assert_allclose(lists.scores[0], 1 + np.sort(expected)[::-1], rtol=1e-5)


def test_lists_in_turns_take_the_best_of_each_query_first() -> None:
    queries = (Query("brass drill", 0.5), Query("copper wire", 0.5))
    lists = search("in_turns").lists([queries, ()], Sequences.from_lists([[0], []]), 4, False)
    # the other drill before the other wire; without queries the most popular
    assert lists.items.tolist() == [[1, 2, 0, 3], [3, 2, 1, 0]]
    seen = search("in_turns").lists([queries], Sequences.from_lists([[1, 2]]), 4, True)
    assert seen.items.tolist() == [[0, 3, NO_ITEM, NO_ITEM]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('method = "other"', "method must be one of query_generation, rerank"),
        ("[generator]\nheads = 3", r"generator\.dimensions must be a multiple of heads"),
        ('[finetuning]\nmethod = "lora"', "needs a model to start from"),
        ("[query]\nqueries = 0", r"query\.queries must be at least 1"),
        ("[query]\nbeams = 5", r"unknown key query\.beams"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_by_its_file(tmp_path: Path, text: str, message: str) -> None:
    words = "\n".join(f'{name} = "quick"' for name in ("title", "source", "notes", "set"))
    method = "" if text.startswith("method") else 'method = "query_generation"\n'
    path = tmp_path / "wrong.toml"
    path.write_text(f"{method}{words}\n{text}\n")
    with pytest.raises(TableError, match=rf"wrong\.toml: .*{message}"):
        load_language_model(path)


def test_shipped_recipes_are_read_and_kept_as_settings() -> None:
    recipe, reranking = load_language_models(LANGUAGE_MODELS)
    assert (recipe.name, recipe.set) == ("llm_query", "slow")
    assert (reranking.name, reranking.set) == ("llm_rerank", "slow")
    assert isinstance(recipe, QueryRecipe)
    assert recipe_of_settings(settings_of(recipe)).digest() == recipe.digest()
    assert replace(recipe, title="Another", set="slow").digest() == recipe.digest()
    assert replace(recipe, query=replace(recipe.query, history=4)).digest() != recipe.digest()
    assert load_language_models(Path("none")) == []


def test_queries_are_the_most_probable_continuations() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from ml.language_models.generator import fresh_generator

    torch.manual_seed(0)
    generator = fresh_generator(RECIPE.generator, ["ab", "ba"], 20)
    vocabulary, prompt = generator.model.config.vocab_size, [generator.start, 5, 6, generator.end]
    # as wide as the vocabulary, a beam of one token and its end leaves nothing out
    found, again = write_queries(generator, [prompt, prompt], vocabulary, 1)
    assert found == again
    with torch.no_grad():
        first = generator.model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(0)
        longer = torch.tensor([[*prompt, token] for token in range(vocabulary)])
        second = generator.model(longer).logits[:, -1].double().log_softmax(1)
    first[generator.end] = -torch.inf
    best = (first[:, None] + second).flatten().topk(vocabulary)
    np.testing.assert_allclose([query.probability for query in found], best.values.softmax(0), rtol=1e-4)
    tokens = (best.indices // vocabulary).tolist()
    assert found[0].text == " ".join(generator.tokenizer.decode(tokens[:1]).split())
    assert write_queries(generator, [[]], 3, 2) == [()]


def test_what_has_no_titles_is_refused_by_the_name_of_the_recipe() -> None:
    pytest.importorskip("transformers")
    from ml.recommenders.query_generation import QueryGeneration

    training_set = made_up_training_set()
    with pytest.raises(ValueError, match=r"recipe tiny: .*has no item text"):
        QueryGeneration(RECIPE).fit(replace(training_set, item_text=None))
    with pytest.raises(ValueError, match=r"recipe tiny: .*no item of Made_Up has one"):
        QueryGeneration(RECIPE).fit(training_set.with_text(("!",) * training_set.items))


@pytest.mark.parametrize("method", ["none", "full", "lora"])
def test_a_model_of_a_folder_is_finetuned(method: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    if method == "lora":
        pytest.importorskip("peft")
    from ml.recommenders.query_generation import QueryGeneration

    training_set = made_up_training_set()
    trained = QueryGeneration(RECIPE, 1).fit(training_set)
    (tmp_path / "model").mkdir()
    trained.generator.save(tmp_path / "model")
    settings = replace(RECIPE.finetuning, method=method)
    recipe = replace(RECIPE, generator=GeneratorSettings(folder="model"), finetuning=settings)
    again = QueryGeneration(recipe, 1, recipes=tmp_path).fit(training_set)
    equal = trained.described()["weights_digest"] == again.described()["weights_digest"]
    assert equal == (method == "none")
    (tmp_path / "saved").mkdir()
    again.save(tmp_path / "saved")
    loaded = QueryGeneration.load(tmp_path / "saved")
    assert loaded.described()["weights_digest"] == again.described()["weights_digest"]
    with pytest.raises(ValueError, match=r"recipe tiny: .*lower query\.history"):
        QueryGeneration(replace(recipe, query=QuerySettings(history=50)), recipes=tmp_path).fit(training_set)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from ml.language_models.generator import load_generator

    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_generator(tmp_path / "none")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load_generator(tmp_path)


def test_validation_items_are_trained_on_where_the_final_fit_reads_them() -> None:
    pytest.importorskip("transformers")
    from ml.recommenders.query_generation import QueryGeneration

    training_set = made_up_training_set()
    one = QueryGeneration(RECIPE, 1).fit(training_set)
    both = QueryGeneration(RECIPE, 1, fit_on="train+validation").fit(training_set)
    assert both.best_step == one.best_step
    assert [each.validation_ndcg_at_10 for each in both.log] == [each.validation_ndcg_at_10 for each in one.log]
    assert one.described()["weights_digest"] != both.described()["weights_digest"]
