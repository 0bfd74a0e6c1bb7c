"""The contracts: every rule is seen to fail, and what a broken one does to a run."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from orchestration.contracts.checks import (
    Contract,
    ContractError,
    contract_checks,
    load_contracts,
    read_columns,
    to_markdown,
    validate,
)
from orchestration.pages.contracts import PAGE, page
from orchestration.paths import REPOSITORY

# of Dagster's own tester of automation conditions
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

CONTRACTS = {contract.name: contract for contract in load_contracts()}
RULES = [(contract.name, rule.id) for contract in CONTRACTS.values() for rule in contract.rules]


def files() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source_file": ["Toys_5.json.gz", "Games_5.json.gz"],
            "bytes": [900, 800],
            "sha256": ["aa", "bb"],
            "layout": "amazon-2018",
            "lines_read": [1000, 500],
            "rows_read": [1000, 500],
            "rows_kept": [998, 420],
            "rows_rejected": [2, 0],
            "rows_repeated": [0, 80],
            "problem": None,
            "ordered_by": "time",
            "columns_used": '{"user": "user_id"}',
            "unused_columns": None,
            "reading_warnings": None,
            "reject_reasons": "",
        }
    )


def reviews() -> pd.DataFrame:
    rows = 200
    number = np.arange(rows)
    return pd.DataFrame(
        {
            "source_file": "Toys_5.json.gz",
            "line_number": number + 1,
            "line_digest": number.astype("uint64"),
            "user_id": [f"user {n % 40}" for n in number],
            "item_id": [f"item {n % 25}" for n in number],
            "rating": 1.0 + number % 5,
            "timestamp": 1_400_000_000 + 86_400 * (number % 90),
            "given_position": 0,
            "verified": pd.Series([None, True, False, True] * (rows // 4), dtype="object"),
        }
    )


def metadata() -> pd.DataFrame:
    rows = 60
    return pd.DataFrame(
        {
            "item_id": [f"item {n}" for n in range(rows)],
            "source_file": "meta_Toys.json.gz",
            "line_number": np.arange(rows) + 1,
            "title": [f"Red lorry {n}, 1 < 2 & {{so on}}" for n in range(rows)],
            "brand": "Ada",
            "category": "Toys",
            "price": np.where(np.arange(rows) % 2 == 0, 12.99, np.nan),
        }
    )


def interactions() -> pd.DataFrame:
    users, length = 30, 6
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"user {n}" for n in range(users)], length),
            "item_id": [f"item {n % 25}" for n in range(users * length)],
            "position": np.tile(np.arange(length), users),
        }
    )


def items() -> pd.DataFrame:
    rows = 25
    return pd.DataFrame(
        {
            "item_id": [f"item {n}" for n in range(rows)],
            "has_metadata": [True] * (rows - 1) + [False],
            "title": [f"lorry {n}" for n in range(rows - 1)] + [None],
            "interactions": np.arange(rows) + 5,
        }
    )


def splits() -> pd.DataFrame:
    frame = interactions()
    names = np.array(["train"] * 4 + ["validation", "test"])
    return frame.assign(split=names[frame.position])


def statistics() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "k_core": [5],
            "tie_order": ["hash"],
            "users": [300],
            "items": [100],
            "interactions": [1800],
            "users_with_test": [290],
            "users_too_short": [10],
            "tied_interactions": [200],
            "repeated_interactions": [10],
            "items_with_metadata": [39],
            "metadata_asins": [500],
            "mean_history_length": [6.0],
        }
    )


def users() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": ["user 0", "user 1", "user 2", "user 3"],
            "interactions": [6, 5, 9, 5],
            "role": ["test", "validation and test", "training only", "test"],
        }
    )


def reconciliation() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": ["metadata", "reviews", "reviews"],
            "source_file": ["meta_Toys.json.gz", "Games_5.json.gz", "Toys_5.json.gz"],
            "rows_read": [60, 500, 1000],
            "repeated": [0, 500, 0],
            "duplicates": [10, 0, 20],
            "kept": [50, 0, 900],
        }
    )


def reviews_drift() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rows": [210],
            "accepted_rows": [200],
            "rows_ratio": [1.05],
            "rating_missing_change": [0.0],
            "verified_missing_change": [0.01],
            "rating_distance": [0.02],
            "rating_psi": [0.01],
            "history_distance": [0.03],
            "popular_overlap": [0.9],
            "new_users_share": [0.1],
            "lost_users_share": [0.0],
            "new_items_share": [0.05],
            "lost_items_share": [0.01],
            "rows_to_median": [1.2],
            "mean_rating_from_median": [0.05],
            "reference_rating_psi": [0.02],
            "reference_history_distance": [0.1],
            "reference_lost_items_share": [0.03],
        }
    )


def metadata_drift() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rows": [61],
            "accepted_rows": [60],
            "rows_ratio": [61 / 60],
            "title_missing_change": [0.0],
            "brand_missing_change": [0.01],
            "price_missing_change": [-0.02],
            "text_changed_share": [0.01],
            "price_changed_share": [0.2],
            "price_psi": [0.02],
            "new_items_share": [0.05],
            "lost_items_share": [0.01],
            "rows_to_median": [1.1],
            "reference_price_psi": [0.1],
            "reference_lost_items_share": [0.02],
        }
    )


def sequences() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "users": [300],
            "items": [40],
            "train_interactions": [1200],
            "validation_cases": [50],
            "test_cases": [290],
            "items_never_trained": [2],
            "users_in_marts": [300],
            "items_in_marts": [40],
            "test_cases_in_marts": [290],
            "seen_targets": [2],
            "test_targets": [290],
            "exclude_seen": [True],
        }
    )


GOOD: dict[str, Callable[[], pd.DataFrame]] = {
    "landing/reviews": files,
    "landing/metadata": files,
    "staging/stg_reviews": reviews,
    "staging/stg_reviews.drift": reviews_drift,
    "staging/stg_metadata": metadata,
    "staging/stg_metadata.drift": metadata_drift,
    "marts/interactions": interactions,
    "marts/items": items,
    "marts/splits": splits,
    "marts/users": users,
    "marts/reconciliation": reconciliation,
    "marts/statistics": statistics,
    "training_sets/sequences": sequences,
}

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def empty(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def fill(**values: object) -> Spoil:
    """Every row of some columns set to a value."""
    return lambda frame: frame.assign(**values)


def first(column: str, value: object, rows: int = 1) -> Spoil:
    """The first rows of a column set to a value."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame[column].astype("object") if isinstance(value, str) else frame[column].copy()
        changed.iloc[:rows] = value
        return frame.assign(**{column: changed})

    return spoil


# For each rule a table that is bad in its way, and how many rows of it break the rule (None: the table does).
LANDING_BAD: dict[str, tuple[Spoil, int | None]] = {
    "file_is_whole": (first("problem", "cut short after 1,000 lines"), 1),
    "rows_in_every_file": (first("rows_kept", 0), 1),
    "rejected_below_5_percent": (fill(rows_read=[1000, 500], rows_rejected=[50, 24]), 1),
    "rejected_below_1_percent": (fill(rows_read=[1000, 500], rows_rejected=[10, 4]), 1),
    "no_file_twice": (fill(sha256="aa"), 2),
}
REVIEWS_BAD: dict[str, tuple[Spoil, int | None]] = LANDING_BAD | {
    "read_without_doubt": (first("reading_warnings", "No column is known as the time."), 1),
    "one_order": (fill(ordered_by=["time", "position"]), None),
    "rows_all_have_times_or_none": (first("ordered_by", "both"), 1),
    "times_are_known": (fill(layout="table", ordered_by="position"), 2),
    "same_columns_in_every_file": (fill(layout="table", columns_used=['{"user": "user_id"}', '{"user": "uid"}']), None),
}
BAD: dict[str, dict[str, tuple[Spoil, int | None]]] = {
    "landing/reviews": REVIEWS_BAD,
    "landing/metadata": LANDING_BAD | {"a_file_landed": (empty, None)},
    "staging/stg_reviews": {
        "timestamps_are_unix_seconds": (lambda f: f.assign(timestamp=f.timestamp // 1000), 200),
        "timestamps_within_the_life_of_the_shop": (first("timestamp", 0), 1),
        "timestamps_differ": (fill(timestamp=1_400_000_000), None),
        "ratings_use_the_scale": (fill(rating=5.0), None),
        "verified_is_mostly_known": (first("verified", None, rows=150), 162),
        "items_come_back": (lambda f: f.assign(item_id=f.line_number.astype(str)), None),
        "users_come_back": (lambda f: f.assign(user_id=f.line_number.astype(str)), None),
        "few_identical_lines": (first("line_digest", 7, rows=40), None),
    },
    "staging/stg_metadata": {
        "titles_are_cleaned": (first("title", '<span class="a-size-medium a-color-secondary"', rows=4), 4),
        "most_items_have_a_title": (first("title", None, rows=31), 31),
        "most_items_have_a_brand": (first("brand", None, rows=31), 31),
        "most_items_have_a_category": (first("category", None, rows=31), 31),
        "some_items_have_a_price": (fill(price=np.nan), 60),
        "prices_are_dollars": (first("price", 1_299_000.0), 1),
    },
    "staging/stg_reviews.drift": {
        "not_fewer_than_half": (fill(rows_ratio=0.49), 1),
        "about_as_many": (fill(rows_ratio=2.01), 1),
        "ratings_not_lost": (fill(rating_missing_change=0.51), 1),
        "ratings_missing_as_before": (fill(rating_missing_change=-0.06), 1),
        "verified_missing_as_before": (fill(verified_missing_change=0.06), 1),
        "ratings_not_another_scale": (fill(rating_distance=0.51), 1),
        "ratings_spread_as_before": (fill(rating_distance=0.11), 1),
        "users_still_known": (fill(lost_users_share=0.91), 1),
        "items_still_known": (fill(lost_items_share=0.91), 1),
        "few_users_lost": (fill(lost_users_share=0.11), 1),
        "few_items_lost": (fill(lost_items_share=0.11), 1),
        "not_mostly_new_users": (fill(new_users_share=0.51), 1),
        "not_mostly_new_items": (fill(new_items_share=0.51), 1),
        "ratings_stable": (fill(rating_psi=0.26), 1),
        "histories_as_long": (fill(history_distance=0.11), 1),
        "popular_items_stay": (fill(popular_overlap=0.49), 1),
        "size_near_the_median": (fill(rows_to_median=0.74), 1),
        "mean_rating_near_the_median": (fill(mean_rating_from_median=-0.31), 1),
        "ratings_of_the_reference": (fill(reference_rating_psi=0.26), 1),
        "histories_of_the_reference": (fill(reference_history_distance=0.31), 1),
        "items_of_the_reference": (fill(reference_lost_items_share=0.26), 1),
    },
    "staging/stg_metadata.drift": {
        "not_fewer_than_half": (fill(rows_ratio=0.49), 1),
        "about_as_many": (fill(rows_ratio=0.89), 1),
        "titles_not_lost": (fill(title_missing_change=0.51), 1),
        "titles_missing_as_before": (fill(title_missing_change=0.06), 1),
        "brands_missing_as_before": (fill(brand_missing_change=0.06), 1),
        "prices_missing_as_before": (fill(price_missing_change=-0.06), 1),
        "items_still_known": (fill(lost_items_share=0.91), 1),
        "few_items_lost": (fill(lost_items_share=0.11), 1),
        "not_mostly_new_items": (fill(new_items_share=0.51), 1),
        "texts_as_before": (fill(text_changed_share=0.11), 1),
        "most_prices_as_before": (fill(price_changed_share=0.51), 1),
        "prices_spread_as_before": (fill(price_psi=0.26), 1),
        "size_near_the_median": (fill(rows_to_median=3.1), 1),
        "prices_of_the_reference": (fill(reference_price_psi=0.51), 1),
        "items_of_the_reference": (fill(reference_lost_items_share=0.26), 1),
    },
    "marts/interactions": {
        "several_users": (fill(user_id="user 0"), None),
        "no_endless_history": (first("position", 10_000), 1),
    },
    "marts/items": {
        "several_items": (lambda f: f.iloc[:1], None),
        "most_items_have_metadata": (first("has_metadata", False, rows=3), 4),
        "most_items_have_a_title": (first("title", None, rows=13), 14),
        "titles_tell_items_apart": (first("title", "lorry", rows=13), 13),
        "most_items_were_bought_five_times": (first("interactions", 4, rows=13), 13),
    },
    "marts/splits": {
        "one_test_item_a_user": (first("split", "test"), 2),
        "one_validation_item_a_user": (first("split", "validation"), 2),
        "train_and_test_are_there": (lambda f: f[f.split != "test"], None),
        "validation_is_there": (lambda f: f[f.split != "validation"], None),
        "most_rows_are_for_training": (lambda f: f[f.position != 0][f.position != 1][f.position != 2], 60),
    },
    "marts/users": {
        "histories_differ_in_length": (fill(interactions=5), None),
    },
    "marts/reconciliation": {
        "something_of_every_file": (first("kept", 0), 1),
        "few_duplicates": (first("duplicates", 31), 1),
    },
    "training_sets/sequences": {
        "no_user_lost": (fill(users=299), 1),
        "no_item_lost": (fill(items=39), 1),
        "no_test_case_lost": (fill(test_cases=291), 1),
        "most_items_are_trained": (fill(items_never_trained=9), 1),
        "few_targets_are_excluded": (fill(seen_targets=145), 1),
    },
    "marts/statistics": {
        "catalogue_holds_ranking_depth": (fill(items=9), 1),
        "catalogue_is_larger_than_a_list": (fill(items=99), 1),
        "metadata_belongs_to_the_reviews": (fill(items_with_metadata=0), 1),
        "enough_users_to_test_with": (fill(users_with_test=99), 1),
        "few_users_too_short": (fill(users_too_short=151), 1),
        "few_ties": (fill(tied_interactions=901), 1),
        "few_repeats": (fill(repeated_interactions=361), 1),
        "histories_to_learn_from": (fill(mean_history_length=2.9), 1),
    },
}


def result_for(result, rule_id: str):
    return next(entry for entry in result.results if entry.rule.id == rule_id)


@pytest.mark.parametrize("asset", CONTRACTS)
def test_a_good_table_keeps_its_contract(asset: str):
    contract = CONTRACTS[asset]
    result = validate(contract, GOOD[asset]())
    assert [entry.rule.id for entry in result.results if not entry.passed] == []
    assert [entry.rule for entry in result.results] == list(contract.rules)
    assert result.rows == len(GOOD[asset]())


@pytest.mark.filterwarnings("ignore:Boolean Series key will be reindexed")
@pytest.mark.parametrize(("asset", "rule_id"), RULES)
def test_every_rule_is_seen_to_fail(asset: str, rule_id: str):
    if rule_id not in BAD[asset]:
        pytest.fail(f"{asset}: rule {rule_id} has no bad table in this test; give it one on which it fails")
    spoil, rows = BAD[asset][rule_id]
    # this rule alone; what a table keeps and breaks of all of them is tested above and below
    contract = replace(CONTRACTS[asset], rules=tuple(rule for rule in CONTRACTS[asset].rules if rule.id == rule_id))
    result = validate(contract, spoil(GOOD[asset]()))
    failed = result_for(result, rule_id)
    assert not failed.passed
    assert not failed.error
    assert failed.unexpected_rows == rows
    assert failed in result.failed(failed.rule.severity)
    assert result.kept == (not result.failed("critical"))
    sentence = failed.to_sentence()
    assert failed.finding()
    assert not {"{", "}"} & set(failed.finding()), "a sentence, not a template"
    assert not any(name in failed.finding() for name in ("_value", "mostly"))
    assert rule_id in sentence
    assert failed.rule.reason in sentence
    assert failed.rule.remedy in sentence
    assert rule_id in to_markdown(result)
    if rows is None:
        assert failed.observed
    else:
        assert 0 < failed.share <= 1
        assert len(failed.examples) == min(rows, 5)
        for example in failed.examples:
            assert set(contract.keys) <= set(example), "an example must say which row it is"
    json.dumps(failed.to_json(), allow_nan=False)


def test_no_bad_table_is_left_over():
    known = {(asset, rule_id) for asset, bad in BAD.items() for rule_id in bad}
    assert known == set(RULES)
    assert set(GOOD) == set(CONTRACTS)


def test_no_metadata_is_allowed():
    landed = validate(CONTRACTS["landing/metadata"], empty(files()))
    assert landed.kept
    assert [entry.rule.id for entry in landed.failed("warning")] == ["a_file_landed"]
    staged = validate(CONTRACTS["staging/stg_metadata"], empty(metadata()))
    assert all(entry.passed for entry in staged.results)
    nothing = statistics().assign(items_with_metadata=0, metadata_asins=0)
    assert validate(CONTRACTS["marts/statistics"], nothing).kept


def test_a_source_without_times_ratings_and_flags_keeps_the_rules_about_them():
    order_alone = reviews().assign(timestamp=np.nan, rating=np.nan, verified=None, line_digest=7, given_position=1)
    result = validate(CONTRACTS["staging/stg_reviews"], order_alone)
    assert [entry.rule.id for entry in result.results if not entry.passed] == []
    without = order_alone.drop(columns=["rating", "given_position"])
    broken = validate(CONTRACTS["staging/stg_reviews"], without).failed("critical")
    assert {entry.rule.id for entry in broken} == {"ratings_use_the_scale", "few_identical_lines"}


def test_the_first_state_has_nothing_to_be_compared_with_and_says_so():
    for name in ("staging/stg_reviews.drift", "staging/stg_metadata.drift"):
        first_state = GOOD[name]().assign(**{column: None for column in GOOD[name]() if column != "rows"})
        first_state.attrs["note"] = "Nothing to compare with."
        result = validate(CONTRACTS[name], first_state)
        assert [entry.rule.id for entry in result.results if not entry.passed] == []
        assert result.note == "Nothing to compare with."


def test_another_threshold_is_another_contract_but_another_reason_is_not():
    contract = CONTRACTS["marts/splits"]
    rule = contract.rules[0]
    reworded = replace(contract, rules=(replace(rule, reason="Because.", remedy="Mend it."), *contract.rules[1:]))
    eased = replace(contract, rules=(replace(rule, severity="warning"), *contract.rules[1:]))
    assert reworded.digest == contract.digest
    assert eased.digest != contract.digest


def test_examples_name_the_rows_that_break_the_rule():
    frame = splits()
    frame.loc[[0, 1], "split"] = "test"  # positions 0 and 1 of user 0, beside position 5
    failed = result_for(validate(CONTRACTS["marts/splits"], frame), "one_test_item_a_user")
    assert failed.unexpected_rows == 3
    assert [dict(example) for example in failed.examples] == [
        {"user_id": "user 0", "position": position} for position in (0, 1, 5)
    ]
    assert failed.share == pytest.approx(3 / 32)
    failed = result_for(
        validate(CONTRACTS["marts/statistics"], statistics().assign(items=8)),
        "catalogue_holds_ranking_depth",
    )
    assert "items = 8" in failed.to_sentence()
    assert "K_CORE" in failed.to_sentence()


def test_missing_values_among_the_examples_are_shown_as_missing():
    frame = metadata().assign(title=None)
    failed = result_for(validate(CONTRACTS["staging/stg_metadata"], frame), "most_items_have_a_title")
    assert failed.examples[0]["title"] is None
    assert failed.examples[0]["item_id"] == "item 0"


def test_an_example_of_endless_text_is_cut_short():
    frame = metadata().assign(title="<style>" + ".a-box {color: red} " * 500)
    result = validate(CONTRACTS["staging/stg_metadata"], frame)
    failed = result_for(result, "titles_are_cleaned")
    assert len(failed.examples[0]["title"]) == 201
    assert len(to_markdown(result)) < 5000


def test_a_frame_is_forgotten_once_it_is_validated():
    """A process holds one table after the other against its contracts, each of millions of rows."""
    frame = splits()
    data = weakref.ref(frame)
    result = validate(CONTRACTS["marts/splits"], frame)
    assert result.kept
    del frame
    gc.collect()
    assert data() is None
    assert validate(CONTRACTS["marts/splits"], splits().iloc[:60]).rows == 60


def test_validating_prints_nothing(capfd: pytest.CaptureFixture):
    validate(CONTRACTS["marts/splits"], splits())
    assert capfd.readouterr() == ("", "")


# `make test` asks it of all definitions (tests/orchestration/test_boundaries.py)
@pytest.mark.slow
def test_definitions_load_without_the_heavy_libraries():
    code = (
        "import sys, orchestration.contracts.checks as c; checks = c.contract_checks(c.load_contracts(), None, None); "
        "print([m for m in ('great_expectations', 'pandas', 'pyarrow') if m in sys.modules], len(checks))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 3"
    assert "Warning" not in done.stderr


def test_a_missing_column_breaks_the_rules_that_read_it_whatever_their_severity():
    result = validate(CONTRACTS["marts/items"], items().drop(columns="interactions"))
    failed = result_for(result, "most_items_were_bought_five_times")
    assert "interactions" in failed.error
    assert failed in result.failed("critical")
    assert not result.kept
    assert result_for(result, "most_items_have_a_title").passed
    result = validate(CONTRACTS["marts/statistics"], statistics().drop(columns="tied_interactions"))
    assert "tied_share" in result_for(result, "few_ties").error


def test_many_broken_rows_are_counted_and_a_few_are_shown():
    """Index columns in results of Great Expectations cost 40 s a million unexpected rows; this way 1 s."""
    rows = 300_000
    frame = pd.DataFrame({"item_id": np.arange(rows).astype(str), "title": pd.Series([None] * rows)})
    frame = frame.assign(source_file="f", line_number=1, brand="b", category="c", price=1.0)
    failed = result_for(validate(CONTRACTS["staging/stg_metadata"], frame), "most_items_have_a_title")
    assert failed.unexpected_rows == rows
    assert len(failed.examples) == 5


def test_a_table_read_for_a_contract_holds_what_the_contract_reads(tmp_path: Path):
    path = tmp_path / "items.parquet"
    items().assign(image_url="x").drop(columns="title").to_parquet(path)
    frame = read_columns(path, CONTRACTS["marts/items"].columns)
    assert set(frame) == {"item_id", "has_metadata", "interactions"}
    with pytest.raises(FileNotFoundError, match=r"nowhere\.parquet does not exist; materialise"):
        read_columns(tmp_path / "nowhere.parquet", ["item_id"])


CONTRACT = """
asset: marts/orders
promise: Orders are orders.
keys: [order_id]
derived:
  spent: price * pieces
rules:
  - id: mostly_paid
    reason: Orders that cost nothing are samples.
    severity: critical
    remedy: Take the samples out.
    expectation: expect_column_values_to_be_between
    kwargs: {column: spent, min_value: 1, mostly: 0.5}
    finding: "{broken} of {looked_at} orders ({share:%}) cost less than {min_value}; at most {allowed:%} may."
    columns: [price, pieces]
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "marts").mkdir(exist_ok=True)
    (tmp_path / "marts" / "orders.yml").write_text(text)
    return tmp_path


def test_a_contract_is_read(tmp_path: Path):
    (contract,) = load_contracts(written(tmp_path, CONTRACT))
    assert contract.key == dg.AssetKey(["marts", "orders"])
    assert contract.columns == ("order_id", "price", "pieces")
    frame = pd.DataFrame({"order_id": [1, 2, 3], "price": [1, 0, 0], "pieces": [1, 5, 3]})
    (failed,) = validate(contract, frame).results
    assert failed.examples == ({"order_id": 2, "spent": 0}, {"order_id": 3, "spent": 0})
    with pytest.raises(ContractError, match=r"orders\.yml: derived column spent = price \* pieces"):
        validate(contract, frame.assign(price="much", pieces="many"))


def test_the_example_of_the_readme_is_a_contract(tmp_path: Path):
    readme = (Path(__file__).parents[2] / "data_contracts" / "README.md").read_text()
    example = readme.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "marts").mkdir()
    (tmp_path / "marts" / "statistics.yml").write_text(example)
    (contract,) = load_contracts(tmp_path)
    assert [entry.passed for entry in validate(contract, statistics()).results] == [True]
    failed = validate(contract, statistics().assign(tied_interactions=901)).failed("warning")
    assert [entry.rule.id for entry in failed] == ["few_ties"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("asset: marts/orders", "asset: marts/order", "its place says 'marts/orders'"),
        ("promise: Orders are orders.", "", "lacks promise"),
        ("keys: [order_id]", "keys: order_id", "keys: must be a list of column names"),
        ("keys: [order_id]", "keys: [order_id]\nkeys: [other]", "a key is given twice"),
        ("keys: [order_id]", "keys: [order_id]\nowner: me", "unknown field owner"),
        ("price * pieces", "open('x')", "more than arithmetic"),
        ("price * pieces", "price +", "is not an expression"),
        ("severity: critical", "severity: fatal", "rule mostly_paid: severity is 'fatal'"),
        ("    remedy: Take the samples out.\n", "", "rule mostly_paid: a critical rule needs a remedy"),
        ("expect_column_values_to_be_between", "be_between", "rule mostly_paid: 'be_between' does not name"),
        ("mostly: 0.5}", "row_condition: x}", "rule mostly_paid: kwargs may not hold row_condition"),
        ("columns: [price, pieces]", "columns: [price]", "rule mostly_paid: reads pieces, which its columns"),
        ("columns: [price, pieces]", "columns: []", "rule mostly_paid: names no column"),
        ("    reason: Orders that cost nothing are samples.\n", "", "rule mostly_paid: lacks reason"),
        ("{broken} of", "{nothing} of", "rule mostly_paid: finding: names {nothing}, which is no column"),
        ("{share:%}", "{share:.1%}", "rule mostly_paid: finding: has the format '.1%'"),
        ("min_value: 1, mostly: 0.5}", "min_value: 1}", "finding: names {allowed}, and the rule has no mostly"),
        ("mostly: 0.5}", "mostly: 0.5}\n    guards: nothing", "rule mostly_paid: guards is 'nothing'"),
        ("id: mostly_paid", "id: 3", "rule number 1: id: must be text"),
        ("kwargs: {column: spent", "kwargs: [column, spent]\n    where: {a: 1", "kwargs: must be a mapping"),
        ("keys: [order_id]", "keys: [order_id", "not YAML"),
        ("mostly: 0.5}", "mostly: 0.5}\n    needs_values: maybe", "rule mostly_paid: needs_values is 'maybe'"),
        (
            "expect_column_values_to_be_between\n    kwargs: {column: spent, min_value: 1, mostly: 0.5}",
            "expect_table_row_count_to_be_between\n    kwargs: {min_value: 1}\n    needs_values: true",
            "rule mostly_paid: needs_values is for a rule about one column",
        ),
    ],
)
def test_a_contract_that_cannot_be_used_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str):
    assert old in CONTRACT
    with pytest.raises(ContractError) as caught:
        load_contracts(written(tmp_path, CONTRACT.replace(old, new)))
    assert "orders.yml" in str(caught.value)
    assert message in str(caught.value)


def test_a_folder_without_contracts_and_two_rules_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(ContractError, match="holds no contract"):
        load_contracts(tmp_path)
    rule = CONTRACT[CONTRACT.index("  - id") :]
    with pytest.raises(ContractError, match="more than one rule is called mostly_paid"):
        load_contracts(written(tmp_path, CONTRACT + rule))


@pytest.mark.parametrize(
    ("old", "new"), [("values_to_be_between", "values_to_be_lovely"), ("mostly: 0.5", "mostly: 7")]
)
def test_an_expectation_that_does_not_exist_is_refused_by_name(tmp_path: Path, old: str, new: str):
    (contract,) = load_contracts(written(tmp_path, CONTRACT.replace(old, new)))
    frame = pd.DataFrame({"order_id": [1], "price": [1], "pieces": [1]})
    with pytest.raises(ContractError, match=r"orders\.yml, rule mostly_paid: expect_column"):
        validate(contract, frame)


datasets = dg.DynamicPartitionsDefinition(name="contract_test_datasets")
# a step for each contract is what a run of the graph costs: all of them once, otherwise one of each kind of asset
FEW = ("landing/reviews", "staging/stg_reviews", "marts/splits", "marts/statistics")
MADE: list[str] = []


def data(contracts: Iterable[str]) -> list[dg.AssetKey]:
    """The assets of some contracts that are made before the training set."""
    return sorted({CONTRACTS[name].key for name in contracts if not name.startswith("training_sets/")})


def _definitions(frames: dict[str, pd.DataFrame], contracts: Iterable[str] = FEW) -> dg.Definitions:
    """A small graph under real contracts: landing -> warehouse (one step) -> training set.

    The given frames are those of dataset Demo; all others are good.
    """

    def load(contract: Contract, dataset: str) -> pd.DataFrame:
        assert dataset in ("Demo", "Other")
        good = GOOD[contract.name]()
        frame = frames.get(contract.name, good) if dataset == "Demo" else good
        return frame[[column for column in contract.columns if column in frame]]

    condition = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()

    def materialised(key: dg.AssetKey) -> dg.MaterializeResult:
        MADE.append("/".join(key.path))
        return dg.MaterializeResult(asset_key=key)

    def landing(name: str) -> dg.AssetsDefinition:
        @dg.asset(key=["landing", name], partitions_def=datasets)
        def landed() -> dg.MaterializeResult:
            return materialised(dg.AssetKey(["landing", name]))

        return landed

    tables = [key for key in data(contracts) if key.path[0] != "landing"]

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(key, deps=[["landing", "reviews"], ["landing", "metadata"]], partitions_def=datasets)
            for key in tables
        ]
    )
    def warehouse():
        for key in tables:
            yield materialised(key)

    @dg.asset(
        key=["training_sets", "sequences"],
        deps=[["marts", "splits"]],
        partitions_def=datasets,
        automation_condition=condition,
    )
    def training_set() -> dg.MaterializeResult:
        return materialised(dg.AssetKey(["training_sets", "sequences"]))

    return dg.Definitions(
        assets=[landing("reviews"), landing("metadata"), warehouse, training_set],
        asset_checks=contract_checks([CONTRACTS[name] for name in contracts], datasets, load),
    )


@pytest.fixture
def instance():
    MADE.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(datasets.name, ["Demo", "Other"])
        yield instance


def run(
    frames: dict[str, pd.DataFrame],
    instance: dg.DagsterInstance,
    selection=None,
    dataset: str = "Demo",
    contracts: Iterable[str] = FEW,
):
    job = _definitions(frames, contracts).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, partition_key=dataset, raise_on_error=False, asset_selection=selection
    )


def verdicts(result) -> dict[tuple[str, str], object]:
    return {("/".join(e.asset_key.path), e.check_name): e for e in result.get_asset_check_evaluations()}


def test_data_that_keeps_its_contracts_is_trained_on(instance: dg.DagsterInstance):
    result = run({}, instance, contracts=CONTRACTS)
    assert result.success
    assert "training_sets/sequences" in MADE
    found = verdicts(result)
    assert {
        asset if check == "contract" else f"{asset}.{check}" for asset, check in found if "_warn" not in check
    } == set(CONTRACTS)
    assert all(evaluation.passed for evaluation in found.values())
    contract = found["marts/splits", "contract"]
    assert contract.blocking
    assert contract.partition == "Demo"
    assert not found["marts/splits", "contract_warnings"].blocking


# the training set reads marts/splits alone: what is broken elsewhere in the warehouse stops it too
@pytest.mark.parametrize(
    ("asset", "spoil", "rule_id", "example"),
    [
        ("marts/splits", first("split", "test"), "one_test_item_a_user", "user 0"),
        ("marts/statistics", fill(items_with_metadata=0), "metadata_belongs_to_the_reviews", "metadata_used = 0.0"),
        pytest.param(
            *("staging/stg_reviews", fill(timestamp=12), "timestamps_are_unix_seconds", "Toys_5.json.gz"),
            marks=pytest.mark.slow,
        ),
        ("landing/reviews", fill(rows_kept=0), "rows_in_every_file", "Toys_5.json.gz"),
    ],
)
def test_a_broken_contract_stops_training(
    instance: dg.DagsterInstance, asset: str, spoil: Spoil, rule_id: str, example: str
):
    result = run({asset: spoil(GOOD[asset]())}, instance)
    assert not result.success
    assert asset in MADE or asset.startswith("landing/")
    assert "training_sets/sequences" not in MADE
    assert ("marts/splits" in MADE) == (not asset.startswith("landing/"))
    evaluation = verdicts(result)[asset, "contract"]
    assert not evaluation.passed
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert rule_id in evaluation.description
    assert example in evaluation.description
    assert rule_id in evaluation.metadata["report"].value
    assert evaluation.metadata["rows_checked"].value == len(GOOD[asset]())
    failed = {entry["rule"]: entry for entry in evaluation.metadata["failed_rules"].value}
    assert failed[rule_id]["unexpected_rows"] > 0
    assert failed[rule_id]["examples"]
    if asset == "marts/statistics":
        assert verdicts(result)[asset, "contract_warnings"].description == "Nothing unusual."


def test_a_warning_is_shown_and_stops_nothing(instance: dg.DagsterInstance):
    result = run({"marts/statistics": statistics().assign(tied_interactions=1700)}, instance)
    assert result.success
    assert "training_sets/sequences" in MADE
    found = verdicts(result)
    blocking, shown = found["marts/statistics", "contract"], found["marts/statistics", "contract_warnings"]
    assert blocking.passed
    assert not shown.passed
    assert shown.severity == dg.AssetCheckSeverity.WARN
    assert "few_ties" in shown.description
    assert [entry["rule"] for entry in shown.metadata["failed_rules"].value] == ["few_ties"]
    assert blocking.description == "Every critical rule is kept; broken ones that are shown as warnings: 1."


@pytest.mark.parametrize(
    ("spoil", "requested"),
    [
        pytest.param(lambda frame: frame, 1, id="kept", marks=pytest.mark.slow),
        pytest.param(lambda frame: frame[frame.position > 2], 1, id="warning"),
        pytest.param(first("split", "test"), 0, id="broken"),
    ],
)
def test_automation_waits_for_a_broken_contract_but_not_for_a_warning(
    instance: dg.DagsterInstance, spoil: Spoil, requested: int
):
    definitions = _definitions({"marts/splits": spoil(splits())})
    selection = data(FEW)
    before = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
    assert before.total_requested == 0
    run({"marts/splits": spoil(splits())}, instance, selection)
    after = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=before.cursor)
    assert after.total_requested == requested
    assert "training_sets/sequences" not in MADE


def test_the_verdict_on_one_dataset_is_not_that_on_another(instance: dg.DagsterInstance):
    frames = {"marts/splits": first("split", "test")(splits())}
    definitions = _definitions(frames)
    selection = data(FEW)
    before = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
    run(frames, instance, selection, "Other")
    run(frames, instance, selection, "Demo")
    after = dg.evaluate_automation_conditions(defs=definitions, instance=instance, cursor=before.cursor)
    requested = after.get_requested_partitions(dg.AssetKey(["training_sets", "sequences"]))
    assert requested == {"Other"}


def test_checks_without_partitions():
    @dg.asset(key=["marts", "items"])
    def table() -> None: ...

    @dg.asset(deps=[table])
    def reader() -> None: ...

    contracts = [CONTRACTS["marts/items"]]
    for frame, succeeds in ((items(), True), (items().iloc[:1], False)):
        checks = contract_checks(contracts, None, lambda contract, dataset, frame=frame: frame)
        result = dg.materialize([table, reader, *checks], raise_on_error=False)
        assert result.success == succeeds
        assert bool(result.asset_materializations_for_node("reader")) == succeeds


def test_a_check_can_be_chosen(instance: dg.DagsterInstance):
    definitions = _definitions({})
    wanted = dg.AssetCheckKey(dg.AssetKey(["marts", "splits"]), "contract")
    unwanted = dg.AssetSelection.all_asset_checks() - dg.AssetSelection.checks(wanted)
    job = dg.define_asset_job("some", selection=dg.AssetSelection.all() - unwanted)
    chosen = dg.Definitions(assets=definitions.assets, asset_checks=definitions.asset_checks, jobs=[job])
    result = chosen.resolve_job_def("some").execute_in_process(instance=instance, partition_key="Demo")
    assert list(verdicts(result)) == [("marts/splits", "contract")]
    assert "training_sets/sequences" in MADE


def test_the_page_of_the_contracts_is_made_from_them():
    made = page()
    assert (REPOSITORY / PAGE).read_text() == made, "run python -m orchestration.pages.contracts"
    for name, rule_id in RULES:
        assert f"`{rule_id}`" in made, name
