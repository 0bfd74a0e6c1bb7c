"""Lists for every user as an asset: from the release in charge, restricted as the settings say."""

import json
from pathlib import Path

import dagster as dg
import polars as pl
import pyarrow.parquet as pq
import pytest
from small_dataset import small_training_set

import raw2rank
from ml.baselines.registry import BASELINES
from ml.recommenders.registry import Registry
from ml.release.recommendations import SCHEMA
from ml.release.write_bundle import write_bundle
from orchestration.assets.recommendations import FILE, recommendations
from orchestration.dataset_settings import check_settings, chosen, version_of
from orchestration.paths import DatasetPaths, Workspace
from orchestration.resources import DEFAULTS, Settings


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace with a training set, items and settings."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    for folder in (("training_sets", "sequences"), ("settings",), ("marts",), ("release",)):
        paths.asset(*folder).mkdir(parents=True, exist_ok=True)
    training_set = small_training_set()
    training_set.save(paths.asset("training_sets", "sequences"))
    ids = [item.decode() for item in training_set.item_ids.tolist()]
    prices = [float(place) for place in range(len(ids))]
    pl.DataFrame({"item_id": ids, "price": prices}).write_parquet(paths.table("marts", "items"))
    choose(paths)
    return paths


def choose(paths: DatasetPaths, **values: object) -> None:
    wanted = {name: value for name, value in DEFAULTS.items() if name.startswith("recommend_")} | values
    (paths.asset("settings") / "recommendations.json").write_text(json.dumps(wanted))


def put_in_charge(paths: DatasetPaths, name: str = "markov_chain") -> None:
    training_set = small_training_set()
    saved = paths.home / "saved" / name
    saved.mkdir(parents=True)
    BASELINES[name].create(0).fit(training_set).save(saved)
    paths.champion.mkdir(parents=True)
    titles = {item.decode(): f"Title of {item.decode()}" for item in training_set.item_ids.tolist()}
    write_bundle(paths.champion, name, lambda _: saved, Registry({}, {}), training_set, titles, {"exclude_seen": True})


def make() -> dg.MaterializeResult:
    made = recommendations(dg.build_asset_context(partition_key="Small"))
    assert isinstance(made, dg.MaterializeResult)
    return made


def rows(paths: DatasetPaths) -> pl.DataFrame:
    return pl.read_parquet(paths.asset("release") / FILE)


def test_every_user_has_lists_of_the_release_in_charge(paths: DatasetPaths) -> None:
    put_in_charge(paths)
    made = make()
    training_set = small_training_set()
    found, bundle = rows(paths), raw2rank.load(paths.champion)
    assert made.metadata["users"] == training_set.users
    assert made.metadata["release"] == "First-order Markov chain"
    assert found["user"].unique().sort().to_list() == sorted(user.decode() for user in training_set.user_ids.tolist())
    whole = training_set.with_everything_trained_on().train
    histories = [[training_set.item_ids[item].decode() for item in whole[row]] for row in range(len(whole))]
    lists = bundle.recommend(histories).items
    assert found["item"].to_list() == [item for items in lists for item in items]
    assert found["title"].to_list() == [f"Title of {item}" for items in lists for item in items]
    assert make().data_version == made.data_version


def test_items_are_chosen_by_the_settings(paths: DatasetPaths) -> None:
    put_in_charge(paths)
    ids = [item.decode() for item in small_training_set().item_ids.tolist()]
    (paths.home / "stock.txt").write_text("\n".join([*ids[:20], "of another shop"]))
    (paths.home / "sold out.txt").write_text(ids[11])
    choose(paths, recommend_items=3, recommend_where="price >= 10", recommend_only="stock.txt",
           recommend_without=str(paths.home / "sold out.txt"))  # fmt: skip
    made = make()
    found = rows(paths)
    assert set(found["item"]) <= set(ids[10:20]) - {ids[11]}
    assert found.group_by("user").len()["len"].max() == 3
    assert made.metadata["users with fewer items"] == 0


def test_more_items_than_the_catalogue_are_the_catalogue(paths: DatasetPaths) -> None:
    put_in_charge(paths)
    choose(paths, recommend_items=1000)
    assert make().metadata["users with fewer items"] == small_training_set().users
    assert rows(paths)["rank"].max() <= small_training_set().items


def test_before_the_first_release_there_is_no_row(paths: DatasetPaths) -> None:
    made = make()
    assert made.metadata["release"] == "none"
    assert pq.read_table(paths.asset("release") / FILE).schema.equals(SCHEMA)
    assert rows(paths).is_empty()


def test_what_allows_nothing_fails_in_one_sentence(paths: DatasetPaths) -> None:
    put_in_charge(paths)
    for values, message in (
        ({"recommend_where": "prize < 3"}, "'prize < 3' is no condition on .*the columns are item_id, price"),
        ({"recommend_where": "price < 0"}, "'price < 0' holds for no item"),
        ({"recommend_only": "none.txt"}, r"none\.txt does not exist: give a text file"),
    ):
        choose(paths, **values)
        with pytest.raises(dg.Failure, match=f"Small: .*{message}"):
            make()


def test_the_content_of_a_list_is_a_part_of_the_choice(paths: DatasetPaths) -> None:
    settings = Settings(recommend_only="stock.txt")
    versions = []
    for text in (None, "a", "b"):
        if text is not None:
            (paths.home / "stock.txt").write_text(text)
        versions.append(version_of(chosen(settings, "recommendations")))
    assert len(set(versions)) == 3
    with pytest.raises(ValueError, match=r"RECOMMEND_ONLY=gone\.txt is not possible: .*gone\.txt does not exist"):
        check_settings(Settings(recommend_only="gone.txt"))
    check_settings(settings)


def test_the_lists_are_at_the_end_of_the_lineage() -> None:
    from orchestration.definitions import defs

    graph = defs.resolve_asset_graph()
    key = dg.AssetKey(["release", "recommendations"])
    assert dg.AssetKey(["release", "champion"]) in graph.get(key).parent_keys
    assert not graph.get(key).child_keys
