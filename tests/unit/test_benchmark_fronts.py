"""The benchmark of fronts: recipes are fitted with several seeds, once, and compared."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from trade_off_toys import training_set

from ml.alignment.recipe import AlignmentRecipe
from ml.data.item_text import save_item_text
from ml.evaluation.trade_offs.files import load_trade_offs
from ml.recommenders.list_series import Fitted, RerankedLists
from ml.recommenders.registry import library_registry, recipes_folder
from ml.reranking.recipe import RerankingRecipe
from ml.text.vectors import save_text_vectors

# the folder is no installed package
_FILE = Path(__file__).parents[2] / "benchmarks" / "fronts.py"
_SPEC = importlib.util.spec_from_file_location("benchmark_of_fronts", _FILE)
bench = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bench)


@pytest.fixture
def lake(tmp_path):
    data = training_set()
    for name in ("sequences", "item_text", "text_vectors"):
        (tmp_path / "lake" / "training_sets" / name).mkdir(parents=True)
    data.save(tmp_path / "lake" / "training_sets" / "sequences")
    save_item_text(tmp_path / "lake" / "training_sets" / "item_text", data.item_ids, data.item_text)
    save_text_vectors(tmp_path / "lake" / "training_sets" / "text_vectors", data)
    return tmp_path / "lake"


def test_recipes_are_fitted_once_and_compared(lake, tmp_path, monkeypatch):
    assert recipes_folder().parts[-2:] == ("tests", "recipes"), "small enough to be fitted here"
    out = tmp_path / "out"
    call = ["--lake", str(lake), "--out", str(out), "--seeds", "2", "--recipes", "mmr_0.3_of_tiny_fusion"]
    bench.main([*call, "--threads", "1"])
    found = load_trade_offs(out)
    (series,) = found.series
    assert (series.name, series.goal, series.seeds) == ("mmr_0.3_of_tiny_fusion", "co_occurrence_diversity", 2)
    assert {path.name for path in out.iterdir()} == {
        "seed-0", "seed-1", "points.parquet", "trade_offs.json", "fronts.md", "co_occurrence_diversity.png",
    }  # fmt: skip
    assert "Hypervolumes" in (out / "fronts.md").read_text()
    # called again, no model is trained
    monkeypatch.setattr("ml.training.train.train", lambda *_, **__: pytest.fail("a model is trained again"))
    bench.main([*call, "--threads", "1"])
    assert load_trade_offs(out) == found


def test_an_alignment_stands_beside_its_student(lake, tmp_path, monkeypatch):
    recipe = AlignmentRecipe(
        **dict.fromkeys(("name", "title", "source", "notes"), "tiny_ppo"), set="beyond_accuracy",
        student="tiny_student", method="ppo", goals=("category_diversity",), weights=(0.5, 2.0), steps=2, batch_size=8,
        validate_every=1,
    )  # fmt: skip
    known = replace(bench.registry(), alignments={"tiny_ppo": recipe})
    monkeypatch.setattr(bench, "registry", lambda: known)
    monkeypatch.setattr(bench, "title_of", str)
    call = ["--lake", str(lake), "--out", str(tmp_path / "out"), "--seeds", "1", "--threads", "1"]
    bench.main([*call, "--recipes", "tiny_student", "tiny_ppo"])
    found = load_trade_offs(tmp_path / "out")
    assert [(one.name, one.kind, len(one.points)) for one in found.series] == [
        ("tiny_student", "student", 2),
        ("tiny_ppo", "alignment", 3),
    ]
    assert len(found.differences) == 1
    monkeypatch.setattr(bench, "align", lambda *_: pytest.fail("it is aligned again"))
    bench.main([*call, "--recipes", "tiny_student", "tiny_ppo"])
    assert load_trade_offs(tmp_path / "out") == found


def test_without_text_goals_by_text_are_left_out(lake):
    whole = bench.load_training_set(lake)
    assert whole.item_text[0].startswith("Title: thing 0")
    assert "names" in whole.item_text.vectors
    (lake / "training_sets" / "item_text" / "item_text.parquet").unlink()
    assert bench.load_training_set(lake).item_text is None


@pytest.mark.parametrize(("of", "seeds"), [("two_hop_graph", 1), ("random", 2), ("some_model", 2)])
def test_what_no_seed_changes_is_compared_under_one(of, seeds):
    recipe = RerankingRecipe("a", "A", "none", "", "quick", of, "greedy", ("popularity",), "validation")
    data = training_set()
    same = [
        RerankedLists(recipe, "popularity", Fitted(data, library_registry(), lambda name: None, str.title))
        for _ in range(2)
    ]
    assert len(bench._seeds(same)) == seeds
