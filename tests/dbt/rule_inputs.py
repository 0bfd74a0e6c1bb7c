"""Made-up dumps, each of which breaks some rules of the contracts and passes what comes before them.

A shop has 120 users with five to seven interactions each, some 120 items, and metadata; it keeps every rule. An input
is a shop with one thing wrong.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from warehouse_reference import Settings

DAY = 86_400
NOON = 1_400_000_000
Files = dict[str, str | bytes]
Row = dict[str, object]
PLAIN = Settings(k_core=0)
TWO_CORE = Settings(k_core=2)
EARLY_SPLIT = Settings(k_core=0, split="global-temporal", validation_from="2000-01-01", test_from="2000-01-02")


@dataclass(frozen=True)
class RuleInput:
    """An input and what it breaks.

    Attributes:
        breaks: rules, as ``<contract>: <rule>``; the last contract says how far the input has to be carried.
        files: contents by name, beside ``source.toml`` where there is one.
        accepted: the files of the state that was accepted before, for a comparison with it.
        earlier: the files of states that were accepted before that one, the first of them first.
        settings: of the cleaning and the split.
        exclude_seen: whether rankings leave out what a user had.
    """

    breaks: Sequence[str]
    files: Callable[[], Files]
    accepted: Callable[[], Files] | None = None
    earlier: Sequence[Callable[[], Files]] = ()
    settings: Settings = field(default=PLAIN)
    exclude_seen: bool = False


def shop(users: int = 120, items: int = 115, length: Callable[[int], int] = lambda user: 5 + user % 3) -> list[Row]:
    """Interactions of a sound shop, user by user and day by day."""
    rows = []
    for user in range(users):
        for step in range(length(user)):
            number = len(rows)
            row = {"user_id": f"u{user:05d}", "item_id": f"i{number * 7 % items:05d}", "rating": 1 + number % 5}
            rows.append(row | {"timestamp": NOON + DAY * (step * 40 + user % 40), "verified": number % 3 > 0})
    return rows


def changed(rows: list[Row], every: int = 1, **values: object) -> list[Row]:
    """Each ``every``-th row with other values; a callable is given the number of the row."""
    return [
        row | {name: value(n) if callable(value) else value for name, value in values.items()}
        if n % every == 0
        else row
        for n, row in enumerate(rows)
    ]


def without(rows: list[Row], *names: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def table(rows: list[Row]) -> str:
    lines = [",".join(rows[0]), *(",".join("" if v is None else str(v).lower() for v in row.values()) for row in rows)]
    return "\n".join(lines) + "\n"


def described(items: int = 115, **values: object) -> list[Row]:
    """Metadata of the shop's items, one row an item; a callable is given the number of the item."""
    plain = {"asin": lambda n: f"i{n:05d}", "title": lambda n: f"Lorry {n}", "brand": "Acme", "main_cat": "Toys"}
    plain |= {"price": lambda n: f"${5 + n}.99"}
    return [
        {name: value(n) if callable(value) else value for name, value in (plain | values).items()} for n in range(items)
    ]


def lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def files(rows: list[Row] | None = None, metadata: list[Row] | None = None) -> Files:
    """A table and metadata by the names that are found without a description."""
    metadata = described() if metadata is None else metadata
    return {"Shop.csv": table(shop() if rows is None else rows)} | (
        {"meta_Shop.json": lines(metadata)} if metadata else {}
    )


def several(**contents: str | bytes) -> Files:
    """Tables that ``source.toml`` names in their order."""
    names = ", ".join(f'"{name}.csv"' for name in contents)
    found = {f"{name}.csv": content for name, content in contents.items()}
    return found | {
        "meta_Shop.json": lines(described()),
        "source.toml": f'layout = "table"\ninteractions = [{names}]\n',
    }


def cut_short(text: str) -> bytes:
    return gzip.compress(text.encode())[:-40]


def two_of_metadata(one: list[Row], other: list[Row]) -> Files:
    named = 'layout = "table"\ninteractions = ["Shop.csv"]\nmetadata = ["one.json", "other.json"]\n'
    return {"Shop.csv": table(shop()), "one.json": lines(one), "other.json": lines(other), "source.toml": named}


def user_number(row: Row) -> int:
    return int(str(row["user_id"]).removeprefix("u"))


def careless() -> list[Row]:
    """One rating, verified hardly ever known, some times of 2099, and a part of the lines twice."""
    rows = changed(shop(), rating=5, verified=lambda n: None if n % 5 else True)
    return changed(rows, every=80, timestamp=4_070_908_800) + rows[:150]


def targets_in_histories() -> list[Row]:
    return [row | {"item_id": f"i{user_number(row) % 115:05d}"} if n % 2 else row for n, row in enumerate(shop())]


def half(rows: list[Row]) -> list[list[Row]]:
    return [rows[: len(rows) // 2], rows[len(rows) // 2 :]]


FIRST, SECOND = (table(part) for part in half(shop()))
LANDED, LANDED_METADATA = "landing/reviews", "landing/metadata"
STAGED, STAGED_METADATA = "staging/stg_reviews", "staging/stg_metadata"

RULE_INPUTS: dict[str, RuleInput] = {
    "gzip that is cut short": RuleInput(
        [f"{LANDED}: file_is_whole"],
        lambda: {"Shop.csv.gz": cut_short(table(shop())), "meta_Shop.json": lines(described())},
    ),
    "a file without a user": RuleInput(
        [f"{LANDED}: rows_in_every_file", f"{LANDED}: rejected_below_5_percent"],
        lambda: several(one=FIRST, other=table(changed(half(shop())[1], user_id=""))),
    ),
    "one row in 50 without a user": RuleInput(
        [f"{LANDED}: rejected_below_1_percent"], lambda: files(changed(shop(), every=50, user_id=""))
    ),
    "one file with times and one without": RuleInput(
        [f"{LANDED}: one_order"], lambda: several(one=FIRST, other=table(without(half(shop())[1], "timestamp")))
    ),
    "no times": RuleInput([f"{LANDED}: times_are_known"], lambda: files(without(shop(), "timestamp"))),
    "files with other columns": RuleInput(
        [f"{LANDED}: same_columns_in_every_file"],
        lambda: several(one=FIRST, other=SECOND.replace("user_id", "customer_id")),
    ),
    "blanks around identities": RuleInput(
        [f"{LANDED}: read_without_doubt"],
        lambda: files(changed(shop(), every=90, user_id=lambda n: f"u{n // 6:05d} ")),
    ),
    "one file under two names": RuleInput([f"{LANDED}: no_file_twice"], lambda: several(one=FIRST, other=FIRST)),
    "no metadata": RuleInput([f"{LANDED_METADATA}: a_file_landed"], lambda: files(metadata=[])),
    "metadata that is cut short": RuleInput(
        [f"{LANDED_METADATA}: file_is_whole"],
        lambda: {"Shop.csv": table(shop()), "meta_Shop.json.gz": cut_short(lines(described(2000)))},
    ),
    "metadata without identities": RuleInput(
        [f"{LANDED_METADATA}: rows_in_every_file", f"{LANDED_METADATA}: rejected_below_5_percent"],
        lambda: two_of_metadata(described(), described(20, asin="")),
    ),
    "some metadata without identities": RuleInput(
        [f"{LANDED_METADATA}: rejected_below_1_percent"],
        lambda: files(metadata=described(asin=lambda n: f"i{n:05d}" if n % 50 else "")),
    ),
    "metadata under two names": RuleInput(
        [f"{LANDED_METADATA}: no_file_twice"], lambda: two_of_metadata(described(), described())
    ),
    "times of 1980": RuleInput(
        [f"{STAGED}: timestamps_are_unix_seconds"], lambda: files(changed(shop(), timestamp=lambda n: 320_000_000 + n))
    ),
    "one time for all": RuleInput([f"{STAGED}: timestamps_differ"], lambda: files(changed(shop(), timestamp=NOON))),
    "an item of its own on every row": RuleInput(
        [f"{STAGED}: items_come_back"], lambda: files(changed(shop(), item_id=lambda n: f"review{n}"))
    ),
    "a user of its own on every row": RuleInput(
        [f"{STAGED}: users_come_back"], lambda: files(changed(shop(), user_id=lambda n: f"visit{n}"))
    ),
    "a careless export": RuleInput(
        [
            *(f"{STAGED}: {rule}" for rule in ("timestamps_within_the_life_of_the_shop", "ratings_use_the_scale")),
            *(f"{STAGED}: {rule}" for rule in ("verified_is_mostly_known", "few_identical_lines")),
            f"{STAGED_METADATA}: prices_are_dollars",
        ],
        lambda: files(careless(), described(price="$59,900.00")),
    ),
    "titles with markup": RuleInput(
        [f"{STAGED_METADATA}: titles_are_cleaned"],
        lambda: files(metadata=described(title=lambda n: f"List<String> {n}" if n % 10 == 0 else f"Lorry {n}")),
    ),
    "metadata that says nothing": RuleInput(
        [
            *(f"{STAGED_METADATA}: most_items_have_a_{name}" for name in ("title", "brand", "category")),
            f"{STAGED_METADATA}: some_items_have_a_price",
        ],
        lambda: files(metadata=described(title=None, brand=None, main_cat=None, price=None)),
    ),
    "a third of everything": RuleInput(
        [
            *(f"{STAGED}.drift: {rule}" for rule in ("not_fewer_than_half", "about_as_many", "few_users_lost")),
            *(f"{STAGED_METADATA}.drift: {rule}" for rule in ("not_fewer_than_half", "about_as_many")),
        ],
        lambda: files(shop(users=40), described(40)),
        accepted=files,
    ),
    "columns that are gone": RuleInput(
        [
            *(f"{STAGED}.drift: ratings_{rule}" for rule in ("not_lost", "missing_as_before")),
            f"{STAGED}.drift: verified_missing_as_before",
            *(f"{STAGED_METADATA}.drift: {name}_missing_as_before" for name in ("titles", "brands", "prices")),
            f"{STAGED_METADATA}.drift: titles_not_lost",
        ],
        lambda: files(without(shop(), "rating", "verified"), described(title=None, brand=None, price=None)),
        accepted=files,
    ),
    "every rating another": RuleInput(
        [f"{STAGED}.drift: {rule}" for rule in ("ratings_not_another_scale", "ratings_spread_as_before")],
        lambda: files(changed(shop(), rating=lambda n: 1 if n % 50 else 1 + n % 3)),
        accepted=files,
    ),
    "users and items named otherwise": RuleInput(
        [
            *(f"{STAGED}.drift: {rule}" for rule in ("users_still_known", "not_mostly_new_users")),
            *(
                f"{contract}.drift: {rule}"
                for contract in (STAGED, STAGED_METADATA)
                for rule in ("items_still_known", "few_items_lost", "not_mostly_new_items")
            ),
        ],
        lambda: files(
            changed(shop(), user_id=lambda n: f"customer{n // 6}", item_id=lambda n: f"article{n * 7 % 115}"),
            described(asin=lambda n: f"article{n}"),
        ),
        accepted=files,
    ),
    "other ratings and longer histories": RuleInput(
        [
            *(f"{STAGED}.drift: {rule}" for rule in ("ratings_stable", "ratings_of_the_reference")),
            *(f"{STAGED}.drift: histories_{rule}" for rule in ("as_long", "of_the_reference")),
        ],
        lambda: files(changed(shop(length=lambda user: 9 + user % 3), rating=lambda n: 1 if n % 2 else 1 + n % 5)),
        accepted=files,
    ),
    "other items and prices": RuleInput(
        [
            f"{STAGED}.drift: popular_items_stay",
            *(f"{contract}.drift: items_of_the_reference" for contract in (STAGED, STAGED_METADATA)),
            *(f"{STAGED_METADATA}.drift: {rule}" for rule in ("texts_as_before", "most_prices_as_before")),
            *(f"{STAGED_METADATA}.drift: prices_{rule}" for rule in ("spread_as_before", "of_the_reference")),
        ],
        lambda: files(
            changed(shop(), item_id=lambda n: f"i{60 + n * 7 % 115:05d}"),
            described(asin=lambda n: f"i{60 + n:05d}", price=lambda n: f"${900 + n}.99"),
        ),
        accepted=files,
    ),
    "half as much as ever": RuleInput(
        [
            *(f"{contract}.drift: size_near_the_median" for contract in (STAGED, STAGED_METADATA)),
            f"{STAGED}.drift: mean_rating_near_the_median",
        ],
        lambda: files(changed(shop(users=60), rating=1), described(60)),
        accepted=files,
        earlier=[lambda: files(shop(users=118), described(114)), lambda: files(shop(users=119), described(113))],
    ),
    "one user": RuleInput(
        ["marts/interactions: several_users"], lambda: files(shop(users=1, items=30, length=lambda user: 60))
    ),
    "a robot": RuleInput(
        ["marts/interactions: no_endless_history"],
        lambda: files(
            shop() + changed(shop(users=1, length=lambda user: 10_001), user_id="robot", timestamp=lambda n: NOON + n)
        ),
    ),
    "one item": RuleInput(
        ["marts/items: several_items", "marts/statistics: few_repeats"],
        lambda: files(changed(shop(), item_id="i00000")),
    ),
    "items bought once or twice and hardly described": RuleInput(
        [
            *(f"marts/items: most_items_{rule}" for rule in ("have_metadata", "have_a_title")),
            *(f"marts/items: {rule}" for rule in ("titles_tell_items_apart", "most_items_were_bought_five_times")),
            "training_sets/sequences: most_items_are_trained",
        ],
        lambda: files(shop(items=500), described(40, title="Lorry")),
    ),
    "a file that the k-core drops": RuleInput(
        ["marts/reconciliation: something_of_every_file"],
        lambda: several(one=FIRST + SECOND.split("\n", 1)[1], other=table(changed(shop()[:1], user_id="once"))),
        settings=TWO_CORE,
    ),
    "a file that repeats another": RuleInput(
        ["marts/reconciliation: few_duplicates"], lambda: several(one=FIRST, other=table(half(shop())[0][::-1]))
    ),
    "one interaction a user": RuleInput(
        ["marts/splits: train_and_test_are_there"], lambda: files(shop(users=700, length=lambda user: 1))
    ),
    "a split before the first interaction": RuleInput(
        ["marts/splits: train_and_test_are_there"], files, settings=EARLY_SPLIT
    ),
    "two interactions a user": RuleInput(
        [
            "marts/splits: validation_is_there",
            "marts/statistics: histories_to_learn_from",
            "marts/users: histories_differ_in_length",
        ],
        lambda: files(shop(users=300, length=lambda user: 2)),
    ),
    "three interactions a user": RuleInput(
        ["marts/splits: most_rows_are_for_training"], lambda: files(shop(users=240, length=lambda user: 3))
    ),
    "a tiny catalogue": RuleInput(
        ["marts/statistics: catalogue_holds_ranking_depth", "marts/statistics: catalogue_is_larger_than_a_list"],
        lambda: files(shop(items=9), described(9)),
    ),
    "metadata of another category": RuleInput(
        ["marts/statistics: metadata_belongs_to_the_reviews"],
        lambda: files(metadata=described(asin=lambda n: f"other{n}")),
    ),
    "many users with one interaction": RuleInput(
        ["marts/statistics: few_users_too_short"],
        lambda: files(shop(users=400, length=lambda user: 6 if user % 3 == 0 else 1)),
    ),
    "few users with one day each": RuleInput(
        ["marts/statistics: few_ties", "marts/statistics: enough_users_to_test_with"],
        lambda: files([row | {"timestamp": NOON + user_number(row) * DAY} for row in shop(users=50)]),
    ),
    "targets that are in the history": RuleInput(
        ["training_sets/sequences: few_targets_are_excluded"],
        lambda: files(targets_in_histories()),
        exclude_seen=True,
    ),
}
