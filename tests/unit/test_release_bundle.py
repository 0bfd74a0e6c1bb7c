"""A bundle answers as the recommender that it holds, and says clearly what it cannot answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import bundles
import numpy as np
import pytest
from bundles import bundle_of, ids_and_times
from costs import others_slow
from recommender_factories import FACTORIES, OF_EVERY_KIND, Factory, made_up_training_set

import raw2rank
from ml.baselines.registry import BASELINES
from ml.data.files import sha256_of_file
from ml.data.training_set import TrainingSet
from ml.fusion.recipe import FusionRecipe
from ml.recommender import NO_ITEM, Recommendations
from ml.recommenders.fused import FusedRecommender
from ml.recommenders.registry import Registry
from ml.release.bundle import Bundle, BundleError
from ml.release.contents import copy_recommender
from ml.release.write_bundle import write_bundle

SEED = 3
# all but the one that asks a language model, which a bundle does not hold
RELEASED = [factory for factory in FACTORIES if factory.name != "llm_rerank"]
# their answer to an empty history is not the popular items as they are: drawn, fused of several fits, or re-ranked
NOT_BY_POPULARITY = {"random", "popularity_sampling", "fusion_refit", "reranked_by_mmr", "reranked_by_greedy",
                     "reranked_by_sog"}  # fmt: skip


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


@pytest.fixture(scope="module")
def histories(training_set):
    """Of the test users, as a bundle sees them: it knows no user."""
    return replace(training_set.histories("test"), users=None)


@pytest.fixture(scope="module")
def given(training_set, histories):
    return ids_and_times(training_set, histories)


@pytest.fixture(scope="module")
def released(training_set, tmp_path_factory) -> Callable[[str], tuple[Path, Recommendations]]:
    """Of a recommender by its name, fitted once: the folder of its bundle, and the lists that it has to give."""
    histories = replace(training_set.histories("test"), users=None)

    @cache
    def release(name: str) -> tuple[Path, Recommendations]:
        (factory,) = (one for one in RELEASED if one.name == name)
        folder = tmp_path_factory.mktemp(name)
        (folder / "saved").mkdir()
        recommender = factory.create(SEED).fit(training_set)
        bundle_of(factory, recommender, training_set, folder / "saved", folder / "bundle")
        return folder / "bundle", recommender.recommend(histories, 10, exclude_seen=True)

    return release


@pytest.fixture(scope="module")
def other_process(released, given, tmp_path_factory):
    """What a process that is given folders of bundles alone answers."""
    asked = tmp_path_factory.mktemp("asked") / "histories.json"
    asked.write_text(json.dumps({"ids": given[0], "times": given[1]}))
    # with a folder of recipes that has none of those the bundles were made from
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "RAW2RANK_RECIPES": str(asked.parent)}
    folders = [str(released(one.name)[0]) for one in RELEASED if one.installed]
    command = [sys.executable, bundles.__file__, str(asked), *folders]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# that each is saved and loaded as it is, is tested in test_recommenders.py
QUICK = [one.name for one in RELEASED if one.name in OF_EVERY_KIND]


@pytest.fixture(scope="module", params=others_slow({one.name: one for one in RELEASED}, *QUICK))
def factory(request) -> Factory:
    if not request.param.installed:
        needed = request.param.library or f"extra {request.param.extra!r}"
        pytest.skip(f"{needed} is not installed: no {request.param.name} to test")
    return request.param


@pytest.fixture(scope="module")
def bundle(factory, released) -> Bundle:
    return raw2rank.load(released(factory.name)[0])


def ids_of(training_set: TrainingSet, items: np.ndarray) -> list[list[str]]:
    return [[training_set.item_ids[item].decode() for item in row if item != NO_ITEM] for row in items]


def test_answers_as_the_recommender_does(factory, bundle, released, given, training_set):
    lists = bundle.recommend(given[0], k=10, exclude_seen=True, times=given[1])
    wanted = released(factory.name)[1]
    assert lists.items == ids_of(training_set, wanted.items)
    filled = wanted.items != NO_ITEM
    assert lists.scores == [row[kept].tolist() for row, kept in zip(wanted.scores, filled, strict=True)]
    assert lists.skipped == [0] * len(given[0])


@pytest.mark.slow
def test_another_process_answers_the_same(factory, bundle, released, given, other_process):
    lists = bundle.recommend(given[0], k=10, exclude_seen=True, times=given[1])
    assert other_process[str(released(factory.name)[0])] == [lists.items, lists.scores, lists.skipped]


def test_unknown_ids_are_skipped_and_counted(bundle, training_set):
    lists = bundle.recommend([["nowhere", "I001", "I1"], ["I001"], [""]], times=[[1, 2, 3], [2], [9]])
    assert lists.items[0] == lists.items[1]
    assert lists.skipped == [2, 0, 1]


def test_histories_without_a_known_item_have_the_popular_ones(factory, bundle, training_set, released):
    empty, unknown = bundle.recommend([[], ["X", "Y"]]).items
    assert empty == unknown
    popular = raw2rank.load(released("most_popular")[0]).recommend([[]]).items[0]
    assert (empty == popular) == (factory.name not in NOT_BY_POPULARITY)


def test_lists_hold_allowed_items_alone(bundle, given, training_set):
    allowed = {"I001", "I004", "I030", "I039", "of another shop"}
    some = [row[:20] for row in given[0]], [row[:20] for row in given[1]]
    lists = bundle.recommend(some[0], k=3, exclude_seen=True, allowed=allowed, excluded=["I004"], times=some[1])
    whole = bundle.recommend(some[0], k=training_set.items, exclude_seen=True, times=some[1])
    for items, history, everything in zip(lists.items, some[0], whole.items, strict=True):
        left = allowed - {"I004", "of another shop"} - set(history)
        assert set(items) <= left
        assert len(items) == min(3, len(left))
        assert items == [item for item in everything if item in left][:3]


def test_similar_items_are_others_and_differ(bundle):
    similar = bundle.similar_items("I003", k=7)
    items, scores = [item for item, _ in similar], [score for _, score in similar]
    assert "I003" not in items
    assert len(set(items)) == len(items) == 7
    assert scores == sorted(scores, reverse=True)


# that each is fitted the same twice, and saved the same, is tested in test_recommenders.py: of a count, a model, a
# re-ranking and a fusion the bundle around it is written again here
@pytest.mark.parametrize(
    "factory",
    others_slow({one.name: one for one in RELEASED}, "markov_chain", "gru4rec", "reranked_by_mmr", "fusion_refit"),
    indirect=True,
)
def test_writes_the_same_bytes_again(factory, bundle, training_set, tmp_path):
    (tmp_path / "saved").mkdir()
    again = bundle_of(factory, factory.create(SEED).fit(training_set), training_set, tmp_path / "saved", tmp_path / "b")
    files = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(bundle.folder) for path in bundle.folder.rglob("*") if path.is_file())
    for file in files:
        assert (again / file).read_bytes() == (bundle.folder / file).read_bytes(), file


@pytest.fixture
def copied(released, tmp_path) -> Path:
    """A bundle of a baseline that may be damaged."""
    return Path(shutil.copytree(released("markov_chain")[0], tmp_path / "bundle"))


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as error:
        raw2rank.load(folder)
    return str(error.value)


def test_a_damaged_file_is_named(copied):
    counts = copied / "recommenders" / "markov_chain" / "counts.npy"
    counts.write_bytes(counts.read_bytes()[:-1] + b"\x01")
    message = refused(copied)
    assert "damaged (recommenders/markov_chain/counts.npy is not as it was written)" in message
    assert "release the recommender again" in message


@pytest.mark.parametrize("file", ["catalogue.parquet", "item_graph/graph_weights.npy", "bundle.json"])
def test_a_missing_file_is_named(copied, file):
    (copied / file).unlink()
    assert file in refused(copied)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    assert f"{tmp_path / 'none'} does not exist" in refused(tmp_path / "none")
    assert "holds no bundle.json, so it is no bundle" in refused(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_a_description_that_is_no_json_object_is_refused(copied, text):
    (copied / "bundle.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    assert "damaged (bundle.json" in refused(copied)


def changed(folder: Path, **values) -> Path:
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, **values}))
    return folder


def test_a_newer_format_is_refused_with_what_to_do(copied):
    message = refused(changed(copied, format="raw2rank-bundle-9"))
    assert "'raw2rank-bundle-9', and this version of raw2rank reads 'raw2rank-bundle-1'" in message
    assert "use the version that wrote the bundle" in message


@pytest.mark.parametrize(
    "values",
    [
        {"items": "40"},
        {"exclude_seen": None},
        {"recommenders": {}},
        {"recommenders": {"markov_chain": {"kind": "magic"}}},
        {"recommenders": {"../markov_chain": {"kind": "baseline"}}},
        {"name": "another"},
        {"files": {}},
        {"files": {"/etc/passwd": ""}},
        {"files": {"../bundle.json": ""}},
        {"items": 41},
    ],
)
def test_a_description_that_cannot_be_is_refused(copied, values):
    assert "is damaged" in refused(changed(copied, **values))


def test_the_card_may_be_edited(copied):
    (copied / "MODEL_CARD.md").write_text("Approved by the owner of the shop.")
    assert raw2rank.load(copied).recommend([[]]).skipped == [0]


def test_files_of_another_version_of_the_project_are_named(copied):
    file = copied / "recommenders" / "markov_chain" / "recommender.json"
    file.write_text(file.read_text().replace("raw2rank-baseline-1", "raw2rank-baseline-7"))
    files = json.loads((copied / "bundle.json").read_text())["files"]
    changed(copied, files={**files, "recommenders/markov_chain/recommender.json": sha256_of_file(file)})
    bundle = raw2rank.load(copied)
    with pytest.raises(BundleError, match=r"markov_chain .* cannot be loaded .*raw2rank-baseline-7"):
        bundle.recommend([["I001"]])


@pytest.fixture(scope="module")
def popular(released) -> Bundle:
    return raw2rank.load(released("most_popular")[0])


@pytest.mark.parametrize("k", [0, -1, 41, 2.0, True, "10", None])
def test_a_length_that_cannot_be_is_refused(popular, k):
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 40"):
        popular.recommend([["I001"]], k=k)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 40"):
        popular.similar_items("I001", k=k)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ("I001", "histories are a list of lists of item ids, not a text"),
        (["I001"], r"history 0 is 'I001', and must be a list of item ids: recommend\(\[\[id, id\]\]\)"),
        ([["I001"], 7], "history 1 is 7"),
        ([[1]], "item ids are texts, and 1 is none"),
        ([["I001", None]], "item ids are texts, and None is none"),
        ([[b"I001"]], "item ids are texts"),
    ],
)
def test_histories_that_are_no_lists_of_ids_are_refused(popular, histories, message):
    with pytest.raises(ValueError, match=message):
        popular.recommend(histories)


def test_a_text_is_no_collection_of_ids(popular):
    with pytest.raises(ValueError, match="allowed is a collection of item ids, not a text"):
        popular.recommend([[]], allowed="I001")
    with pytest.raises(ValueError, match="excluded is a collection of item ids, not a text"):
        popular.recommend([[]], excluded="I001")


def test_nothing_allowed_leaves_nothing(popular):
    assert popular.recommend([["I001"], []], allowed=["X"]).items == [[], []]
    assert popular.recommend([[]], allowed=[]).items == [[]]
    assert popular.recommend([]).items == []


def test_odd_ids_are_unknown(popular):
    odd = ["I001\0", "\0", "I001 ", "ı001", "\udcff", "I" * 1000]
    assert popular.recommend([odd]).skipped == [6]


def test_no_item_is_similar_to_an_unknown_one(popular):
    with pytest.raises(ValueError, match="the catalogue of Made_Up holds no item 'X'"):
        popular.similar_items("X")


def test_a_model_that_reads_times_asks_for_them(released):
    bundle = raw2rank.load(released("tisasrec")[0])
    assert bundle.reads_times
    with pytest.raises(ValueError, match="reads when the items of a history were interacted with: give times"):
        bundle.recommend([["I001"]])
    for times in ([[]], [[1, 2]], [[1], [2]]):
        with pytest.raises(ValueError, match="each as long as its history"):
            bundle.recommend([["I001"]], times=times)
    with pytest.raises(ValueError, match="whole seconds"):
        bundle.recommend([["I001"]], times=[[1.5]])
    for moment in (1 << 63, -(1 << 63) - 1, 10**30):
        with pytest.raises(ValueError, match="times are whole seconds since 1970"):
            bundle.recommend([["I001"]], times=[[moment]])
    assert len(bundle.recommend([[], ["X"]]).items[0]) == 10


def test_a_model_of_users_says_that_it_knows_none(released):
    for name, knows in (("mf_bpr", True), ("fpmc", True), ("caser", True), ("tiger", True), ("sasrec", False)):
        bundle = raw2rank.load(released(name)[0])
        assert bundle.about["knows_users"] == knows
        assert ("every user is answered" in (bundle.folder / "MODEL_CARD.md").read_text()) == knows


def in_a_process_without(modules: list[str], folder: Path) -> subprocess.CompletedProcess:
    code = (
        "import sys\n"
        f"for name in {modules!r}: sys.modules[name] = None\n"
        "import raw2rank\n"
        f"bundle = raw2rank.load({str(folder)!r})\n"
        "print(bundle.recommend([['I001']], k=3).items)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_needs_what_its_recommender_needs_alone(released):
    core = ["dagster", "dbt", "great_expectations", "orchestration", "duckdb", "transformers", "optuna", "matplotlib"]
    assert in_a_process_without([*core, "torch"], released("markov_chain")[0]).returncode == 0
    assert in_a_process_without(core, released("sasrec")[0]).returncode == 0
    lacking = in_a_process_without(["torch"], released("sasrec")[0])
    assert lacking.returncode == 1
    assert "needs torch, which is not installed: pip install 'raw2rank[train]'" in lacking.stderr


def test_clocks_and_leftovers_stay_behind(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "tensorboard").mkdir(parents=True)
    (source / ".checkpoints").mkdir()
    (source / "inner").mkdir()
    target.mkdir()
    for name in ("training_run.json", "fit.json", "validation_items.npy", "tensorboard/events", ".checkpoints/last"):
        (source / name).write_text("{}")
    (source / "inner" / "weights.npy").write_bytes(b"1")
    (source / "log.jsonl").write_text('{"epoch": 1, "seconds": 2.5, "lists_per_second": null, "loss": 0.1}\n')
    copy_recommender(source, target)
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert found == {"inner/weights.npy", "log.jsonl"}
    kept = '{"epoch": 1, "seconds": 0.0, "lists_per_second": null, "loss": 0.1}\n'
    assert (target / "log.jsonl").read_text() == kept


def test_parts_are_taken_from_their_own_folders(training_set, tmp_path):
    """As the assets of a run leave them: a fusion beside its parts."""
    folders = {name: tmp_path / name for name in ("markov_chain", "bm25_last_item", "both")}
    fitted = {name: BASELINES[name].create(SEED).fit(training_set) for name in ("markov_chain", "bm25_last_item")}
    for name, recommender in fitted.items():
        folders[name].mkdir()
        recommender.save(folders[name])
    fused = FusedRecommender(fitted, depth=40).choose(training_set)
    folders["both"].mkdir()
    described = {"items": training_set.items, **fused.fusion.as_json()}
    (folders["both"] / "fusion.json").write_text(json.dumps(described))
    (folders["both"] / "fit.json").write_text('{"fit_on": "train+validation"}')
    recipe = FusionRecipe("both", "Both of them", "none", "for tests", "quick", tuple(fitted), depth=40)
    (tmp_path / "bundle").mkdir()
    registry = Registry(recipes={}, fusions={"both": recipe})
    write_bundle(tmp_path / "bundle", "both", folders.__getitem__, registry, training_set, None, {})
    bundle = raw2rank.load(tmp_path / "bundle")
    assert (bundle.title, bundle.kind, bundle.fitted_on) == ("Both of them", "fusion", "train+validation")
    histories = training_set.histories("test")
    wanted = fused.recommend(histories, 10, exclude_seen=False)
    assert bundle.ranked(histories, 10).items.tolist() == wanted.items.tolist()
    folders["bm25_last_item"].rename(tmp_path / "elsewhere")
    (tmp_path / "again").mkdir()
    with pytest.raises(BundleError, match="bm25_last_item does not exist: fit bm25_last_item before it is released"):
        write_bundle(tmp_path / "again", "both", folders.__getitem__, registry, training_set, None, {})


def test_what_is_described_is_in_the_card(training_set, tmp_path):
    (tmp_path / "saved").mkdir()
    popular = next(factory for factory in FACTORIES if factory.name == "most_popular")
    fitted = popular.create(SEED).fit(training_set)
    told = {"exclude_seen": True, "metrics": {"ndcg@10": 0.123456}, "fitted_on": "everything", "commit": "abc|def"}
    bundle = raw2rank.load(bundle_of(popular, fitted, training_set, tmp_path / "saved", tmp_path / "b", **told))
    assert bundle.exclude_seen
    assert bundle.fitted_on == "everything"
    assert bundle.described == told
    assert bundle.recommend([["I000"]], k=39).items[0].count("I000") == 0
    assert (bundle.titles[0], bundle.titles[1], bundle.titles[3]) == ("Steel saw", "", "A | pipe")
    assert bundle.interactions.tolist() == np.bincount(training_set.train.items, minlength=40).tolist()
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    for line in (
        "| ndcg@10 | 0.1235 |",
        "| commit | abc\\|def |",
        "all interactions, test items included",
        f"| training_set | {training_set.digest()} |",
        "left out of lists",
    ):
        assert line in card


def test_an_item_id_that_is_no_text_cannot_be_released(training_set, tmp_path):
    ids = np.sort(np.append(training_set.item_ids[1:], [b"\xff\xfe"]))
    (tmp_path / "saved").mkdir()
    popular = next(factory for factory in FACTORIES if factory.name == "most_popular")
    fitted = popular.create(SEED).fit(training_set)
    with pytest.raises(BundleError, match=r"the item id b'\\xff\\xfe' is no UTF-8 text"):
        bundle_of(popular, fitted, replace(training_set, item_ids=ids), tmp_path / "saved", tmp_path / "b")


def test_a_bundle_stays_with_the_version_it_was_opened_in(training_set, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, users in zip(folders, (70, 30), strict=True):
        folder.mkdir()
        (folder / "saved").mkdir()
        popular = next(factory for factory in FACTORIES if factory.name == "most_popular")
        of = made_up_training_set(seed=users, users=users)
        bundle_of(popular, popular.create(SEED).fit(of), of, folder / "saved", folder / "bundle")
    pointer = tmp_path / "champion"
    pointer.symlink_to(folders[0] / "bundle")
    opened = raw2rank.load(pointer)
    pointer.unlink()
    pointer.symlink_to(folders[1] / "bundle")
    assert opened.folder == folders[0] / "bundle"
    assert opened.recommend([[]]).items == raw2rank.load(folders[0] / "bundle").recommend([[]]).items
    assert raw2rank.load(pointer).folder == folders[1] / "bundle"


def test_a_recommender_that_asks_a_language_model_is_not_released(training_set, tmp_path):
    asking = next(factory for factory in FACTORIES if factory.name == "llm_rerank")
    (tmp_path / "saved").mkdir()
    with pytest.raises(BundleError, match=r"llm_rerank asks a language model that is in no bundle.*release what it"):
        bundle_of(asking, asking.create(SEED).fit(training_set), training_set, tmp_path / "saved", tmp_path / "bundle")
