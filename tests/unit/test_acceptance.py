"""How far a state of a dataset is from the one accepted last, and what becomes the accepted one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from ml.data.drift import AcceptanceError, accept, compare, profile


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
    }
    found = profile("metadata", metadata(tmp_path / "m.parquet", 8, 6))
    assert (found["rows"], found["items"], found["title_missing"], found["brand_missing"]) == (8, 8, 2, 8)
    assert found["price_missing"] == 0


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
    assert found.row == pytest.approx(
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
        }
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
    assert sorted(path.name for path in accepted.iterdir()) == ["accepted.json", "items.parquet", "users.parquet"]


def test_what_is_accepted_by_hand_begins_anew(tmp_path: Path):
    accepted = tmp_path / "accepted"
    accept("reviews", reviews(tmp_path / "r.parquet", 100), accepted)
    half = reviews(tmp_path / "s.parquet", 20)
    accept("reviews", half, accepted, by_hand=True)
    found = compare("reviews", half, accepted)
    assert found.row["rows_ratio"] is None
    assert "by hand" in found.note
    assert compare("reviews", reviews(tmp_path / "t.parquet", 10), accepted).row["rows_ratio"] == 0.5


@pytest.mark.parametrize("content", ["{", json.dumps({"format": "another"}), "[]"])
def test_a_record_that_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, content: str):
    accepted = tmp_path / "accepted"
    accepted.mkdir()
    (accepted / "accepted.json").write_text(content)
    with pytest.raises(AcceptanceError, match=r"accepted\.json .* remove .*accepted to begin anew"):
        compare("reviews", reviews(tmp_path / "r.parquet", 10), accepted)
