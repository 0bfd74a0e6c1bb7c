"""How far a state of a dataset is from the one accepted last, and what becomes the accepted one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from ml.data.drift import AcceptanceError, accept, compare, profile, states


def reviews(path: Path, rows: int, first_user: int = 0, rating: float | None = None) -> Path:
    """Reviews of 20 users on 10 items, ``rows`` in all; ratings 1 to 5 in turn, or one for all."""
    number = range(rows)
    pd.DataFrame(
        {
            "user_id": [f"user {first_user + n % 20}" for n in number],
            "item_id": [f"item {n % 10}" for n in number],
            "rating": [1.0 + n % 5 if rating is None else rating for n in number],
            "verified": pd.Series([None, True] * (rows // 2), dtype="boolean"),
        }
    ).to_parquet(path)
    return path


def metadata(path: Path, items: int, titles: int) -> Path:
    pd.DataFrame(
        {
            "item_id": [f"item {n}" for n in range(items)],
            "title": pd.Series(["a lorry"] * titles + [None] * (items - titles), dtype="string"),
            "brand": pd.Series([None] * items, dtype="string"),
            "price": [1.0] * items,
        }
    ).to_parquet(path)
    return path


def test_the_profile_says_what_is_there(tmp_path: Path):
    found = profile("reviews", reviews(tmp_path / "r.parquet", 100))
    assert {name: value for name, value in found.items() if not name.endswith("_digest")} == {
        "rows": 100,
        "rating_missing": 0,
        "verified_missing": 50,
        "users": 20,
        "items": 10,
        "ratings": dict.fromkeys(["1.0", "2.0", "3.0", "4.0", "5.0"], 20),
        "history_lengths": {"5": 20},
        # of items with equally many rows by identity
        "popular": [f"item {n}" for n in range(10)],
    }
    found = profile("metadata", metadata(tmp_path / "m.parquet", 8, 6))
    assert (found["rows"], found["items"], found["title_missing"], found["brand_missing"]) == (8, 8, 2, 8)
    assert found["price_missing"] == 0
    assert found["prices"] == {"0": 8}


def test_the_profile_sees_other_identities_but_not_another_order(tmp_path: Path):
    path = reviews(tmp_path / "r.parquet", 100)
    found = profile("reviews", path)
    pd.read_parquet(path).iloc[::-1].to_parquet(tmp_path / "turned.parquet")
    assert profile("reviews", tmp_path / "turned.parquet") == found
    other = profile("reviews", reviews(tmp_path / "other.parquet", 100, first_user=1))
    assert {name for name in found if found[name] != other[name]} == {"users_digest"}


def test_the_first_state_has_nothing_to_be_compared_with(tmp_path: Path):
    found = compare("reviews", reviews(tmp_path / "r.parquet", 100), tmp_path / "accepted")
    assert found.row["rows"] == 100
    assert {value for name, value in found.row.items() if name != "rows"} == {None}
    assert found.note.startswith("Nothing to compare with")


def test_distances_are_those_counted_by_hand(tmp_path: Path):
    accepted = tmp_path / "accepted"
    accept("reviews", reviews(tmp_path / "r.parquet", 100), accepted)
    found = compare("reviews", reviews(tmp_path / "s.parquet", 50, first_user=15, rating=5.0), accepted)
    from_last = {name: value for name, value in found.row.items() if not name.startswith("reference_")}
    assert {name: value for name, value in from_last.items() if not name.endswith("_psi")} == pytest.approx(
        {
            "rows": 50,
            "accepted_rows": 100,
            "rows_ratio": 0.5,
            "rating_missing_change": 0.0,
            "verified_missing_change": 0.0,
            "new_users_share": 15 / 20,
            "lost_users_share": 15 / 20,
            "new_items_share": 0.0,
            "lost_items_share": 0.0,
            # a fifth was 5 stars, now all are
            "rating_distance": 0.8,
            # all 20 users had 5 rows, now ten have 3 and ten have 2
            "history_distance": 1.0,
            "popular_overlap": 1.0,
            # of one accepted state
            "rows_to_median": None,
            "users_to_median": None,
            "items_to_median": None,
            "mean_history_to_median": None,
            "mean_rating_from_median": None,
        }
    )
    # four bins of a fifth are empty now, which counts as a ten-thousandth
    assert from_last["rating_psi"] == pytest.approx(0.8 * math.log(5) + 4 * (0.0001 - 0.2) * math.log(0.0001 / 0.2))
    assert {name.removeprefix("reference_") for name in found.row.keys() - from_last.keys()} <= from_last.keys()
    assert all(
        found.row[f"reference_{name}"] == value for name, value in from_last.items() if f"reference_{name}" in found.row
    )
    assert found.note.startswith("Compared with the state that was accepted at 2")


def test_what_is_missing_more_often_is_told_by_its_share(tmp_path: Path):
    accept("metadata", metadata(tmp_path / "m.parquet", 8, 6), tmp_path / "accepted")
    row = compare("metadata", metadata(tmp_path / "n.parquet", 4, 1), tmp_path / "accepted").row
    assert row["title_missing_change"] == pytest.approx(0.75 - 0.25)
    assert row["lost_items_share"] == pytest.approx(0.5)
    nothing = compare("metadata", metadata(tmp_path / "o.parquet", 0, 0), tmp_path / "accepted").row
    assert nothing["rows_ratio"] == 0
    assert nothing["title_missing_change"] is None


def test_ratings_that_one_side_lacks_have_no_distance(tmp_path: Path):
    accept("reviews", reviews(tmp_path / "r.parquet", 100), tmp_path / "accepted")
    row = compare("reviews", reviews(tmp_path / "s.parquet", 100, rating=float("nan")), tmp_path / "accepted").row
    assert row["rating_distance"] is None
    assert row["rating_missing_change"] == 1


def test_the_accepted_state_is_found_as_it_was_when_it_was_accepted(tmp_path: Path):
    """However often it is held against its contract, it is not compared with itself."""
    accepted = tmp_path / "accepted"
    accept("reviews", reviews(tmp_path / "r.parquet", 100), accepted)
    second = reviews(tmp_path / "s.parquet", 80)
    before = compare("reviews", second, accepted)
    accept("reviews", second, accepted)
    stored = (accepted / "accepted.json").read_bytes()
    assert compare("reviews", second, accepted).row == before.row
    assert before.row["rows_ratio"] == 0.8
    accept("reviews", second, accepted)
    assert (accepted / "accepted.json").read_bytes() == stored
    assert sorted(path.name for path in accepted.iterdir()) == [
        "accepted.json",
        "items.parquet",
        "reference",
        "users.parquet",
    ]


def test_what_is_accepted_by_hand_begins_anew(tmp_path: Path):
    accepted = tmp_path / "accepted"
    accept("reviews", reviews(tmp_path / "r.parquet", 100), accepted)
    half = reviews(tmp_path / "s.parquet", 20)
    accept("reviews", half, accepted, by_hand=True)
    found = compare("reviews", half, accepted)
    assert found.row["rows_ratio"] is None
    assert "by hand" in found.note
    assert compare("reviews", reviews(tmp_path / "t.parquet", 10), accepted).row["rows_ratio"] == 0.5


def test_slow_drift_shows_beside_the_reference_and_the_median(tmp_path: Path):
    """Of five states each has a tenth less than the one before: no step is large, all of them together are."""
    accepted = tmp_path / "accepted"
    for rows in (1000, 900, 810, 730):
        accept("reviews", reviews(tmp_path / "r.parquet", rows), accepted)
    row = compare("reviews", reviews(tmp_path / "s.parquet", 656), accepted).row
    assert row["rows_ratio"] == pytest.approx(656 / 730)
    assert row["reference_rows_ratio"] == pytest.approx(656 / 1000)
    assert row["rows_to_median"] == pytest.approx(656 / 855)
    assert [state["rows"] for state in states("reviews", accepted)] == [1000, 900, 810, 730]


def test_what_is_accepted_by_hand_is_the_new_reference(tmp_path: Path):
    accepted = tmp_path / "accepted"
    for rows in (1000, 900):
        accept("reviews", reviews(tmp_path / "r.parquet", rows), accepted)
    accept("reviews", reviews(tmp_path / "r.parquet", 100), accepted, by_hand=True)
    accept("reviews", reviews(tmp_path / "r.parquet", 110), accepted)
    row = compare("reviews", reviews(tmp_path / "s.parquet", 120), accepted).row
    assert row["reference_rows_ratio"] == pytest.approx(1.2)
    assert [state["rows"] for state in states("reviews", accepted)] == [100, 110]


def test_changed_texts_and_prices_are_counted_among_common_items(tmp_path: Path):
    accepted = tmp_path / "accepted"
    accept("metadata", metadata(tmp_path / "m.parquet", 10, 10), accepted)
    table = pd.read_parquet(metadata(tmp_path / "n.parquet", 8, 8))
    table.loc[0, "title"] = "a ship"
    table.loc[[1, 2], "price"] = [100.0, float("nan")]
    table.to_parquet(tmp_path / "n.parquet")
    row = compare("metadata", tmp_path / "n.parquet", accepted).row
    assert row["text_changed_share"] == pytest.approx(1 / 8)
    assert row["price_changed_share"] == pytest.approx(2 / 8)
    assert row["lost_items_share"] == pytest.approx(0.2)
    assert row["price_psi"] > 0.1


def test_a_changed_text_is_another_state(tmp_path: Path):
    table = pd.read_parquet(metadata(tmp_path / "m.parquet", 10, 10))
    found = profile("metadata", tmp_path / "m.parquet")
    table.loc[0, "title"] = "a ship"
    table.to_parquet(tmp_path / "n.parquet")
    assert profile("metadata", tmp_path / "n.parquet") != found


def test_a_state_that_an_earlier_version_accepted_is_compared_by_what_it_has(tmp_path: Path):
    accepted = tmp_path / "accepted"
    path = metadata(tmp_path / "m.parquet", 10, 10)
    accept("metadata", path, accepted)
    record = json.loads((accepted / "accepted.json").read_text())
    del record["states"], record["profile"]["prices"], record["profile"]["described_digest"]
    (accepted / "accepted.json").write_text(json.dumps(record))
    pd.read_parquet(accepted / "items.parquet")[["id"]].to_parquet(accepted / "items.parquet")
    row = compare("metadata", path, accepted).row
    assert row["rows_ratio"] == 1
    assert row["lost_items_share"] == 0
    assert row["text_changed_share"] is None
    assert row["price_psi"] is None
    accept("metadata", path, accepted)
    assert [state["rows"] for state in states("metadata", accepted)] == [10, 10]
    assert compare("metadata", metadata(tmp_path / "n.parquet", 9, 9), accepted).row["text_changed_share"] == 0


@pytest.mark.parametrize("content", ["{", json.dumps({"format": "another"}), "[]"])
def test_a_record_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, content: str):
    accepted = tmp_path / "accepted"
    accepted.mkdir()
    (accepted / "accepted.json").write_text(content)
    with pytest.raises(AcceptanceError, match=r"accepted\.json .* remove .*accepted to begin anew"):
        compare("reviews", reviews(tmp_path / "r.parquet", 10), accepted)
