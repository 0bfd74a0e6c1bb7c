"""Lines of words that hold more than users and items: refused with the remedy, or read with a warning."""

from pathlib import Path

import pytest
from source_reading import Read, read_source

from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import INTERACTIONS_SCHEMA

USERS = [(f"u{user}", [f"i{(7 * user + place) % 11}" for place in range(3 + user % 3)]) for user in range(12)]
TIME = 1_400_000_000


def read_lines(folder: Path, lines: list[str]) -> Read:
    (folder / "Shop.txt").write_text("".join(f"{line}\n" for line in lines))
    return read_source(folder, "Shop", INTERACTIONS_SCHEMA)


def with_items(write, start: str = "") -> list[str]:
    return [
        f"{user}{start} {' '.join(write(item, place) for place, item in enumerate(items))}" for user, items in USERS
    ]


REFUSED = {
    "a time behind a colon": (with_items(lambda item, place: f"{item}:{TIME + place}"), "items have times behind them"),
    "a time behind a comma": (with_items(lambda item, place: f"{item}@{TIME * 1000 + place}"), "items have times"),
    "a rating behind a pipe": (with_items(lambda item, place: f"{item}|{1 + place % 5}"), "items have ratings behind"),
    "a time behind each item": (with_items(lambda item, place: f"{item} {TIME + place}"), "every other word of a line"),
    "a colon behind the user": (with_items(lambda item, _: item, ":"), "the first word of each line ends with a colon"),
    "names of fields": (
        ["product/productId: B001", "review/userId: A1", "review/score: 5.0", "review/time: 1303862400"] * 3,
        "if it names a field of a record, write a table",
    ),
    "the length in front": (
        [f"{user} {len(items)} {' '.join(items)}" for user, items in USERS],
        "the second word of each line is the number of items that follow",
    ),
    "a count of plays": (
        [f"{user} {item} {17 + 3 * place}" for user, items in USERS for place, item in enumerate(items)],
        "looks like a table of a user, an item and a number",
    ),
    "tabs around fields with blanks": (
        [f"{n}\tv{n % 4}\tArts & Crafts{' Store' * (n % 3)}\t40.71{n}\t{TIME + n}" for n in range(9)],
        'looks like a table of 5 columns with tabs between them, .*separator = "\\\\t"',
    ),
    "the Netflix prize": (["1:", "1488844,3,2005-09-06", "822109,5,2005-05-13", "2:", "7,4,2005-10-19"], "awk -F, "),
    "a table with names": (
        ["user_id,item_id,rating", "u,i,5", "u,j,4"],
        "is a table with the columns user_id, item_id",
    ),
    "old Macs": (["u i j\rv i j\rw k l"], r"line 1 holds line ends of old Macs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sequence_is_refused_with_the_remedy(tmp_path, name):
    lines, message = REFUSED[name]
    with pytest.raises(LandingError, match=message) as error:
        read_lines(tmp_path, lines)
    assert str(error.value).startswith(str(tmp_path / "Shop.txt"))


@pytest.mark.parametrize("filler", ["-1", "<pad>", "[PAD]", "00"])
@pytest.mark.parametrize("end", ["start", "end"])
def test_other_words_than_0_fill_up_lines(tmp_path, filler, end):
    length = max(len(items) for _, items in USERS)
    fillers = [[filler] * (length - len(items)) for _, items in USERS]
    filled = [
        [user, *more, *items] if end == "start" else [user, *items, *more]
        for (user, items), more in zip(USERS, fillers, strict=True)
    ]
    found = read_lines(tmp_path, [" ".join(words) for words in filled])
    assert found.values("user_id", "item_id") == [(user, item) for user, items in USERS for item in items]
    (warning,) = found.counts[0].reading.warnings
    assert f"item {filler} fills up lines at their {end}" in warning


def test_lines_that_may_be_items_alone_are_warned_of(tmp_path):
    found = read_lines(tmp_path, [" ".join(items) for _, items in USERS])
    assert any(
        "if the lines hold items alone, put a user in front" in text for text in found.counts[0].reading.warnings
    )
    # numbers are users as well as items in many data sets
    found = read_lines(tmp_path, [f"{n} {(n + 1) % 12} {(n + 2) % 12} {(n + 5) % 12}" for n in range(12)])
    assert found.counts[0].reading.warnings == ()


def test_lines_of_three_words_with_users_on_several_are_warned_of(tmp_path):
    found = read_lines(tmp_path, [f"{n % 4} {n % 7} {(3 * n + 1) % 7}" for n in range(28)])
    assert len(found.rows) == 56
    (warning,) = found.counts[0].reading.warnings
    assert 'columns = ["user", "item", "rating"]' in warning


def test_a_comment_in_front_is_no_user(tmp_path):
    found = read_lines(tmp_path, ["# user items", "u i j", "v i k l"])
    assert {user for (user,) in found.values("user_id")} == {"u", "v"}


def test_long_numbers_are_items(tmp_path):
    lines = [f"{user} {' '.join(str(TIME + 7 * place) for place in range(2 * len(items)))}" for user, items in USERS]
    assert len(read_lines(tmp_path, lines).rows) == sum(2 * len(items) for _, items in USERS)


def test_byte_order_marks_where_files_were_put_together_are_dropped(tmp_path):
    found = read_lines(tmp_path, ["\ufeffu i j k", "v i j", "\ufeffu l m", "v k"])
    assert {user for (user,) in found.values("user_id")} == {"u", "v"}
