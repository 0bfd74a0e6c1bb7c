"""Recommendations for every user, in parts that give the same bytes as one, and the items they are chosen from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from bundles import TITLES, bundle_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recommender_factories import FACTORIES, made_up_training_set

import raw2rank
from ml.data.build_training_set import build_training_set
from ml.data.times import build_times, times_of_everything
from ml.data.training_set import TrainingSet
from ml.release.bundle import Bundle, BundleError
from ml.release.candidates import item_ids_where, read_item_ids
from ml.release.recommendations import Users, join_recommendations, write_recommendations

SEED = 3


@pytest.fixture(scope="module")
def training_set() -> TrainingSet:
    return made_up_training_set()


@pytest.fixture(scope="module")
def users(training_set) -> Users:
    return Users.of(training_set)


def released(name: str, training_set: TrainingSet, folder: Path) -> Bundle:
    factory = next(factory for factory in FACTORIES if factory.name == name)
    (folder / "saved").mkdir(parents=True)
    fitted = factory.create(SEED).fit(training_set)
    return raw2rank.load(bundle_of(factory, fitted, training_set, folder / "saved", folder / "bundle"))


# one that rounds as other rows stand beside a row, one that does not, and one that pads
BUNDLES = ("markov_chain", "sasrec", "gru4rec", "fusion")


@pytest.fixture(scope="module")
def bundles(training_set, tmp_path_factory) -> dict[str, Bundle]:
    return {name: released(name, training_set, tmp_path_factory.mktemp(name)) for name in BUNDLES}


@pytest.fixture(scope="module")
def bundle(bundles) -> Bundle:
    return bundles["markov_chain"]


def rows_of(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize("name", BUNDLES)
def test_rows_are_the_lists_of_the_whole_histories(name, bundles, users, training_set, tmp_path):
    bundle = bundles[name]
    written = write_recommendations(tmp_path / "r.parquet", bundle, users, k=5, exclude_seen=True)
    histories = [[training_set.item_ids[item].decode() for item in users.histories[row]] for row in range(70)]
    lists = bundle.recommend(histories, k=5, exclude_seen=True)
    expected = [
        {
            "user": training_set.user_ids[row].decode(),
            "rank": rank + 1,
            "item": item,
            "score": score,
            "title": TITLES.get(item, ""),
        }
        for row in range(70)
        for rank, (item, score) in enumerate(zip(lists.items[row], lists.scores[row], strict=True))
    ]
    assert rows_of(tmp_path / "r.parquet") == expected
    assert (written.users, written.rows, written.short) == (70, len(expected), 0)


@pytest.mark.parametrize("name", ["markov_chain", "gru4rec"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parts_give_the_same_bytes_as_one(name, data, bundles, users, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    block = data.draw(st.integers(1, 80), "users in a block")
    parts = data.draw(st.integers(1, 9), "parts")
    options = data.draw(st.sampled_from([{}, {"allowed": ["I001", "I002", "I039"], "excluded": ["I002"]}]))
    options |= {"k": data.draw(st.integers(1, 40)), "exclude_seen": data.draw(st.booleans()), "block": block}
    files = [folder / f"part-{part}.parquet" for part in range(parts)]
    of_parts = [
        write_recommendations(file, bundles[name], users, **options, part=part, parts=parts)
        for part, file in enumerate(files)
    ]
    whole = write_recommendations(folder / "whole.parquet", bundles[name], users, **options)
    rows = join_recommendations(data.draw(st.permutations(files)), folder / "joined.parquet")
    assert (folder / "joined.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    assert rows == whole.rows == sum(part.rows for part in of_parts)
    assert whole.users == sum(part.users for part in of_parts) == 70
    assert whole.short == sum(part.short for part in of_parts)


def test_a_newer_catalogue_is_carried_over(bundle, training_set, users, tmp_path):
    """A champion may be older than the training set."""
    newer_ids = np.sort(np.append(training_set.item_ids, [b"I0005", b"I020a", b"Z"]))
    moved = np.searchsorted(newer_ids, training_set.item_ids).astype(np.int32)
    newer = replace(users, histories=replace(users.histories, items=moved[users.histories.items]), item_ids=newer_ids)
    write_recommendations(tmp_path / "one.parquet", bundle, users, k=5)
    write_recommendations(tmp_path / "other.parquet", bundle, newer, k=5)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_users_who_cannot_have_all_are_counted(bundle, users, tmp_path):
    written = write_recommendations(tmp_path / "r.parquet", bundle, users, k=3, allowed=["I001", "I000", "I002"],
                                    exclude_seen=True)  # fmt: skip
    rows = rows_of(tmp_path / "r.parquet")
    assert {row["item"] for row in rows} == {"I000", "I001", "I002"}
    by_user = {user: sum(row["user"] == user for row in rows) for user in {row["user"] for row in rows}}
    assert written.short == 70 - sum(number == 3 for number in by_user.values()) > 0


def test_nobody_has_no_rows(bundle, users, tmp_path):
    nobody = replace(users, user_ids=users.user_ids[:0], histories=users.histories.take(np.arange(0)))
    assert write_recommendations(tmp_path / "r.parquet", bundle, nobody).rows == 0
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 0


def test_candidates_that_are_none_are_refused_and_the_old_file_stays(bundle, users, tmp_path):
    write_recommendations(tmp_path / "r.parquet", bundle, users)
    before = (tmp_path / "r.parquet").read_bytes()
    with pytest.raises(BundleError, match="none of the items that may be recommended is in the catalogue of 40 items"):
        write_recommendations(tmp_path / "r.parquet", bundle, users, allowed=["another shop's"])
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 40"):
        write_recommendations(tmp_path / "r.parquet", bundle, users, k=41)
    with pytest.raises(ValueError, match="there is no part 2 of 2: parts are counted from 0"):
        write_recommendations(tmp_path / "r.parquet", bundle, users, part=2, parts=2)
    assert (tmp_path / "r.parquet").read_bytes() == before


def test_a_model_that_reads_times_is_refused_without_them(training_set, users, tmp_path):
    timed = released("sasrec_time_gaps", training_set, tmp_path)
    with pytest.raises(BundleError, match="sasrec_time_gaps reads when items were interacted with"):
        write_recommendations(tmp_path / "r.parquet", timed, users)
    times = np.arange(len(users.histories.items), dtype=np.int64)
    with_times = replace(users, histories=replace(users.histories, times=times))
    assert write_recommendations(tmp_path / "r.parquet", timed, with_times, k=3).rows == 210


def test_parts_that_do_not_go_together_are_refused(bundle, users, tmp_path):
    files = [tmp_path / f"{name}.parquet" for name in "abc"]
    write_recommendations(files[0], bundle, users, part=0, parts=2, block=16)
    write_recommendations(files[1], bundle, users, part=1, parts=2, block=16)
    write_recommendations(files[2], bundle, users, part=1, parts=2, block=16, k=3)
    target = tmp_path / "joined.parquet"
    with pytest.raises(BundleError, match="1 files for 2 parts, part 1 is missing"):
        join_recommendations(files[:1], target)
    with pytest.raises(BundleError, match=r"c\.parquet and .*a\.parquet are no parts of the same recommendations"):
        join_recommendations([files[0], files[2]], target)
    with pytest.raises(BundleError, match="3 files for 2 parts, a part is there twice"):
        join_recommendations([*files[:2], files[0]], target)
    files[2].write_text("no Parquet")
    with pytest.raises(BundleError, match=r"c\.parquet is no part of recommendations"):
        join_recommendations(files, target)
    with pytest.raises(BundleError, match="there are no parts to join"):
        join_recommendations([], target)
    assert not target.exists()


@pytest.fixture
def items(tmp_path) -> Path:
    path = tmp_path / "items.parquet"
    table = {
        "item_id": ["I000", "I001", "I002", "I003"],
        "category": ["Saws", "Saws|Blades", "Hoses", None],
        "price": [12.5, None, 3.0, 30.0],
    }
    pl.DataFrame(table).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("price < 20", ["I000", "I002"]),
        ("category like '%Saws%'", ["I000", "I001"]),
        ("price is null or category = 'Hoses'", ["I001", "I002"]),
        ("item_id in ('I003', 'I009')", ["I003"]),
    ],
)
def test_items_are_chosen_by_a_condition(items, condition, expected):
    assert item_ids_where(items, condition) == expected


@pytest.mark.parametrize("condition", ["prize < 20", "price <", "price", "select 1", "", "category < 3"])
def test_what_is_no_condition_is_refused_with_the_columns(items, condition):
    with pytest.raises(
        BundleError, match=r"is no condition on .*items\.parquet .*columns are item_id, category, price"
    ):
        item_ids_where(items, condition)


def test_a_condition_that_holds_for_nothing_is_refused(items, tmp_path):
    with pytest.raises(BundleError, match="'price < 0' holds for no item"):
        item_ids_where(items, "price < 0")
    with pytest.raises(BundleError, match=r"none\.parquet does not exist"):
        item_ids_where(tmp_path / "none.parquet", "price < 0")


def test_items_are_read_from_a_list(tmp_path):
    (tmp_path / "stock.txt").write_bytes(b"\xef\xbb\xbfI001\r\n\r\n  I002\t\nI 3")
    assert read_item_ids(tmp_path / "stock.txt") == ["I001", "I002", "I 3"]
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("empty.txt", "holds no item id"), ("binary.txt", "is no UTF-8 text"),
                          ("none.txt", "does not exist"), ("", "is a folder")):  # fmt: skip
        with pytest.raises(BundleError, match=message):
            read_item_ids(tmp_path / name)


def test_times_of_all_interactions_come_from_the_splits(tmp_path):
    rows = {
        "user_id": ["b", "b", "b", "a", "a", "c"],
        "position": [0, 1, 2, 0, 1, 0],
        "item_id": ["i1", "i2", "i3", "i2", "i1", "i3"],
        # the last item of b follows the target, so nothing that is measured reads it
        "split": ["train", "test", "unused", "train", "test", "train"],
        "timestamp": [1, 2, 3, 10, 20, 7],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "splits.parquet")
    made = build_training_set("tiny", tmp_path / "splits.parquet", {})
    timed = build_times(tmp_path / "splits.parquet", made).added_to(made)
    times = times_of_everything(tmp_path / "splits.parquet", timed)
    whole = Users.of(timed, times).histories
    assert [whole[row].tolist() for row in range(3)] == [[1, 0], [0, 1, 2], [2]]
    assert whole.times.tolist() == [10, 20, 1, 2, 3, 7]
    assert Users.of(timed).histories.times is None
    pl.DataFrame(rows | {"timestamp": [1, 2, None, 10, 20, 7]}).write_parquet(tmp_path / "splits.parquet")
    assert times_of_everything(tmp_path / "splits.parquet", timed) is None
    pl.DataFrame({name: values[:5] for name, values in rows.items()}).write_parquet(tmp_path / "splits.parquet")
    with pytest.raises(ValueError, match="5 times for 6 interactions of tiny"):
        times_of_everything(tmp_path / "splits.parquet", made)
