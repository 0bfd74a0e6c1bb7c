"""The benchmark of what helps: fits are kept, taken up again, and compared with their plain counterparts."""

import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trade_off_toys import training_set
from transfer_toys import pretrained_recipe

from ml.data.item_text import load_item_text, save_item_text
from ml.recommenders.registry import library_registry, recipes
from ml.text.vectors import save_text_vectors

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench():
    """The benchmark, whose folder is no installed package."""
    sys.path.insert(0, str(_ROOT))
    try:
        yield importlib.import_module("benchmarks.knowledge")
    finally:
        sys.path.remove(str(_ROOT))


@pytest.fixture
def lake(tmp_path):
    data = training_set()
    folder = tmp_path / "lake" / "Toys"
    for name in ("sequences", "item_text", "text_vectors"):
        (folder / "training_sets" / name).mkdir(parents=True)
    (folder / "settings").mkdir()
    (folder / "settings" / "ranking.json").write_text('{"exclude_seen": false}', encoding="utf-8")
    data.save(folder / "training_sets" / "sequences")
    save_item_text(folder / "training_sets" / "item_text", data.item_ids, data.item_text)
    save_text_vectors(folder / "training_sets" / "text_vectors", data)
    return folder


def _call(lake, out, *more):
    return ["--lake", str(lake), "--out", str(out), "--processes", "0", "--seeds", "2", *more]


def test_recommenders_are_fitted_once_and_compared(bench, lake, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    arguments = _call(lake, out, "--recipes", "bm25_last_item", "tiny_softmax")
    bench.main(arguments)
    said = capsys.readouterr()
    assert "two_hop_graph, seed 0" in said.err, "what BM25 is compared with is fitted too"
    assert "bm25_last_item, seed 1" not in said.err, "nothing in it is random"
    assert "tiny_softmax, seed 1" in said.err
    assert (out / "Toys.md").read_text(encoding="utf-8") in said.out
    assert "| bm25\\_last\\_item | two\\_hop\\_graph | all test users |" in said.out

    monkeypatch.setattr(bench, "fit", None)
    bench.main(arguments)
    again = capsys.readouterr()
    assert again.out == said.out
    assert again.err == ""


def test_a_table_alone_shows_what_is_there(bench, lake, tmp_path, capsys):
    bench.main(_call(lake, tmp_path / "out", "--recipes", "bm25_last_item", "--only-table"))
    said = capsys.readouterr().out
    assert "all 0 tests" in said
    assert "bm25" not in said


def test_another_protocol_is_fitted_again(bench, lake, tmp_path, capsys):
    bench.main(_call(lake, tmp_path / "out", "--recipes", "most_popular"))
    bench.main(_call(lake, tmp_path / "out", "--recipes", "most_popular", "--exclude-seen"))
    assert capsys.readouterr().err.count("most_popular, seed 0") == 2


def test_plain_recommenders_come_first(bench):
    assert bench.with_plain(["bm25_last_item", "most_popular"], library_registry()) == [
        "two_hop_graph",
        "bm25_last_item",
        "most_popular",
    ]


def test_a_recommender_that_refuses_the_data_stops_no_other(bench, lake, tmp_path, capsys):
    shutil.rmtree(lake / "training_sets" / "item_text")
    bench.main(_call(lake, tmp_path / "out", "--recipes", "bm25_last_item", "most_popular"))
    said = capsys.readouterr()
    assert "bm25_last_item, seed 0: not fitted: " in said.err
    assert "bm25" not in said.out
    assert "most\\_popular" in said.out


def test_other_pairs_are_compared_where_they_are_named(bench, lake, tmp_path, capsys):
    arguments = ["--recipes", "bm25_last_item", "--pairs", "bm25_last_item:most_popular"]
    bench.main(_call(lake, tmp_path / "out", *arguments))
    said = capsys.readouterr()
    assert "most_popular, seed 0" in said.err, "what is compared is fitted"
    assert "| bm25\\_last\\_item | most\\_popular | all test users |" in said.out


def test_a_pair_names_two_recommenders(bench, lake, tmp_path, capsys):
    with pytest.raises(SystemExit):
        bench.main(_call(lake, tmp_path / "out", "--recipes", "bm25_last_item", "--pairs", "bm25_last_item"))
    assert "write two recommenders" in capsys.readouterr().err


def test_other_datasets_are_pre_trained_on_and_count_for_what_is_kept(bench, lake, tmp_path, capsys, monkeypatch):
    other = lake.parent / "Other"
    shutil.copytree(lake, other)
    recipe = replace(pretrained_recipe("finetuned"), set="knowledge", family="text", plain="tiny_softmax")
    monkeypatch.setitem(recipes(), "finetuned", recipe)
    arguments = _call(lake, tmp_path / "out", "--recipes", "finetuned", "--seeds", "1")
    bench.main(arguments)
    said = capsys.readouterr()
    assert (
        "finetuned, seed 0: not fitted: recipe finetuned is pre-trained on other datasets, and none is named"
        in said.err
    )
    bench.main([*arguments, "--pretrain-on", str(other)])
    said = capsys.readouterr()
    assert "finetuned, seed 0: ." in said.err or "finetuned, seed 0: 0." in said.err
    assert "| finetuned | tiny\\_softmax | all test users |" in said.out
    bench.main([*arguments, "--pretrain-on", str(other)])
    assert capsys.readouterr().err == ""
    # another dataset with the same name is another result
    texts = load_item_text(other / "training_sets" / "item_text")
    save_item_text(other / "training_sets" / "item_text", training_set().item_ids, texts[::-1])
    shutil.rmtree(other / "training_sets" / "text_vectors")
    bench.main([*arguments, "--pretrain-on", str(other)])
    assert "finetuned, seed 0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="which is the dataset itself"):
        bench.main([*arguments, "--pretrain-on", str(lake)])
