"""The words on how a split was made."""

import polars as pl
import pytest

from ml.data.protocol import split_protocol

SETTINGS = {
    "k_core": 5,
    "k_core_users": -1,
    "k_core_items": -1,
    "from_date": "",
    "until_date": "",
    "verified_only": False,
    "min_rating": 0.0,
    "first_interaction_only": False,
    "min_history": 0,
    "tie_order": "hash",
    "split": "leave-one-out",
    "validation_from": "0.8",
    "test_from": "0.9",
    "validation_users": 512,
    "seed": 0,
}


@pytest.fixture
def interactions(tmp_path):
    def write(position: int = 0, split: str | None = None):
        path = tmp_path / "interactions.parquet"
        schema = {"given_position": pl.Int64, "given_split": pl.String}
        pl.DataFrame({"given_position": [position], "given_split": [split]}, schema=schema).write_parquet(path)
        return path

    return write


def test_what_was_not_chosen_is_not_said(interactions):
    assert split_protocol(SETTINGS, interactions()) == {
        "split": "leave-one-out",
        "duplicates": "exact ones (user, item, time, rating) removed",
        "k_core": 5,
        "tie_order": "hash",
        "validation_users": 512,
        "seed": 0,
    }


def test_every_choice_is_said(interactions):
    choices = {
        "k_core_items": 3,
        "from_date": "2014-01-01",
        "until_date": "2015-01-01",
        "verified_only": True,
        "min_rating": 3.5,
        "first_interaction_only": True,
        "min_history": 4,
        "split": "global-temporal",
    }
    said = split_protocol({**SETTINGS, **choices}, interactions())
    assert said["split"] == "global-temporal, validation from 0.8, test from 0.9"
    assert said["k_core"] == "5 a user, 3 an item"
    assert (said["from"], said["until"], said["rated"]) == ("2014-01-01", "2015-01-01", "3.5 or higher")
    assert {"reviews", "repeats", "users"} <= set(said)


def test_an_order_and_a_split_that_came_with_the_source_stand_for_the_settings(interactions):
    ordered = split_protocol(SETTINGS, interactions(position=1))
    assert ordered["order"] == "as given"
    assert "tie_order" not in ordered
    assert split_protocol(SETTINGS, interactions(position=1, split="train")) == {
        "split": "made elsewhere, taken as it is",
        "duplicates": "exact ones (user, item, time, rating) removed",
        "k_core": 0,
        "order": "as given",
    }
