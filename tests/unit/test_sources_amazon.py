"""The releases of 2014 and 2023 give the same rows as that of 2018; a hostile literal is a reject and nothing more."""

import ast
import gzip
import json
import math
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from source_reading import Read, read, read_source

from ml.data.landing.schema import INTERACTIONS_SCHEMA, METADATA_SCHEMA, Reject
from ml.data.sources import SourceDescription, find_source
from ml.data.sources.amazon import v2014 as amazon_2014
from ml.data.sources.amazon import v2023 as amazon_2023
from ml.data.sources.amazon.v2014 import read_metadata_2014
from ml.data.sources.amazon.v2018 import Metadata
from ml.data.sources.amazon.v2023 import Review2023, Review2023Lines, read_metadata_2023, read_review_2023
from ml.data.sources.literals import LONGEST_LITERAL_BYTES, read_literal
from ml.syntax import parse

REVIEW_2018 = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1393372800}
REVIEW_2023 = {
    "user_id": "A1",
    "parent_asin": "B1",
    "asin": "B2",
    "rating": 4.0,
    "timestamp": 1393372800123,
    "verified_purchase": True,
}
ITEM_2014 = {
    "asin": "B1",
    "title": "Men's saw, 5\" blade",
    "price": 12.5,
    "imUrl": "http://images/saw.jpg",
    "brand": "Norvalle",
    "categories": [["Tools", "Saws"], ["Gifts"]],
    "salesRank": {"Tools": 7},
    "related": {"also_bought": ["B2", "B3"]},
}
ITEM_2023 = {
    "parent_asin": "B1",
    "title": "A saw",
    "store": "Norvalle",
    "main_category": "Tools",
    "price": 12.99,
    "categories": ["Tools", "Saws"],
    "images": [
        {"thumb": "thumb.jpg", "large": "large.jpg", "variant": "MAIN", "hi_res": None},
        {"thumb": "other.jpg", "large": "big.jpg", "hi_res": "high.jpg"},
    ],
}


def write(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(gzip.compress(b"\n".join([*lines, b""])))


def read_items(folder: Path, dataset: str, description: SourceDescription | None = None) -> Read:
    (unit,) = find_source(folder, dataset, description).metadata
    return read(unit, METADATA_SCHEMA)


def as_json(row: object) -> bytes:
    return json.dumps(row).encode()


# --- 2014 ----------------------------------------------------------------------------------------------------


def test_the_release_of_2014_is_read(tmp_path):
    write(tmp_path / "reviews_Tools_5.json.gz", [as_json(REVIEW_2018)])
    write(tmp_path / "meta_Tools.json.gz", [repr(ITEM_2014).encode(), as_json(ITEM_2014), b"{'asin': "])
    assert find_source(tmp_path, "Tools").layout == "amazon_2014"
    reviews = read_source(tmp_path, "Tools", INTERACTIONS_SCHEMA)
    assert reviews.values("user_id", "item_id", "rating", "timestamp", "millisecond", "verified", "given_position") == [
        ("A1", "B1", 4.0, 1393372800, 0, None, 0)
    ]
    items = read_items(tmp_path, "Tools")
    assert items.reasons() == [(3, "malformed literal")]
    for row in items.rows:
        assert row["source_file"] == "meta_Tools.json.gz"
        assert {name: row[name] for name in METADATA_SCHEMA.names[3:]} == {
            "item_id": "B1",
            "title": "Men's saw, 5\" blade",
            "brand": "Norvalle",
            "main_cat": None,
            "price": "12.5",
            "category": ["Tools", "Saws"],
            "image_url": "http://images/saw.jpg",
            "item_text": None,
            "invalid_fields": [],
        }


def test_metadata_of_2014_beside_sequences_is_seen_by_its_first_line(tmp_path):
    (tmp_path / "Tools.txt").write_text("A1 B1\n")
    write(tmp_path / "meta_Tools.json.gz", [repr(ITEM_2014).encode()])
    assert [row["item_id"] for row in read_items(tmp_path, "Tools").rows] == ["B1"]
    write(tmp_path / "meta_Tools.json.gz", [as_json({"asin": "B2", "main_cat": "Tools"})])
    assert [row["main_cat"] for row in read_items(tmp_path, "Tools").rows] == ["Tools"]


@pytest.mark.parametrize(
    ("changes", "invalid", "category"),
    [
        ({"categories": ["Tools"]}, ("categories",), None),
        ({"categories": [["Tools"], [1]]}, ("categories",), None),
        ({"categories": []}, (), []),
        ({"categories": None}, (), None),
        ({"title": 5, "imUrl": ["x"], "price": [1]}, ("title", "price", "imUrl"), ["Tools", "Saws"]),
    ],
)
def test_fields_of_2014_of_another_type_are_named(changes, invalid, category):
    item = read_metadata_2014(repr({**ITEM_2014, **changes}).encode())
    assert (item.invalid_fields, item.category) == (invalid, category)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(
        ["it's", 'say "no"', "both ' and \"", "a\\b", "\n\t\x00\x85", "True", "u'x'", "{'a': 1}", "é\u2028"]
    ),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(plain_values)
def test_what_repr_writes_is_read_as_python_reads_it(value):
    assert read_literal(repr(value).encode()) == value
    assert read_literal(ascii(value).encode()) == value
    assert read_literal(json.dumps(value).encode()) == value


def test_what_python_2_writes_is_read():
    line = (
        b"{u'asin': u'B1', 'title': u'it\\'s', u'x': [u\"a'b\", 'u\\'x', u'\\U0001f600', u'\\ud83d\\ude00'], 'p': nan}"
    )
    value = read_literal(line)
    assert value.pop("p") != 0
    assert value == {"asin": "B1", "title": "it's", "x": ["a'b", "u'x", "\U0001f600", "\U0001f600"]}


pieces = st.lists(
    st.sampled_from(
        [
            *"{}[]():,'\"\\",
            "'a'",
            '"b"',
            "None",
            "True",
            "nan",
            "1",
            "-2.5",
            "1e5",
            "0x1f",
            "u",
            "b'x'",
            "f'{1}'",
            "'\\x41'",
            "'\\N{DASH}'",
            "'\\ud800'",
            "'\\777'",
            " ",
            "\t",
            "true",
            "null",
            "_",
            "__import__('os')",
            "1_000",
            "'asin'",
            "é",
        ]
    ),
    max_size=12,
)


class _WordsOfJson(ast.NodeTransformer):
    """The words of JSON, and what ``repr`` writes of a float that is no number, as constants."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        words = {"true": True, "null": None, "nan": math.nan}
        return ast.Constant(words[node.id]) if node.id in words else node


@pytest.mark.filterwarnings("ignore:invalid (octal )?escape sequence:DeprecationWarning")
@settings(max_examples=400, deadline=None)
@given(pieces.map("".join))
@example("'true'")
@example("['null', null, true]")
def test_what_is_read_of_anything_is_what_python_or_json_says(text):
    try:
        value = read_literal(text.encode())
    except ValueError:
        return
    try:
        expected = json.loads(text)
    except ValueError:
        # the words of JSON as names, not where they stand in a text
        expected = ast.literal_eval(_WordsOfJson().visit(parse(text.strip(), mode="eval")))
    # nan is not equal to itself
    assert repr(value) == repr(expected)


HOSTILE = [
    b"__import__('os').system('true')",
    b"{'asin': __import__('os')}",
    b"{'asin': open('/etc/passwd').read()}",
    b"{'asin': (lambda: 1)()}",
    b"{'asin': f'{1}'}",
    b"{'asin': b'B1'}",
    b"{'asin': 'B' + '1'}",
    b"{'asin': 'B' * 1000000000}",
    b"{'asin': 9**9**9}",
    b"{'asin': ('B1',)}",
    b"{'asin', 'B1'}",
    b"{'asin': 'B1'",
    b"{'asin': 'B1\\ud800'}",
    b"{'asin': 'B1\\U00110000'}",
    b"{'asin': '\\N{DASH}'}",
    b"{'asin': 'B1\\'}",
    b"{'asin': 'B1\x00'}",
    b"[" * 10_000_000,
    b"[" * 2_000_000 + b"]" * 2_000_000,
    b"{'a':" * 100_000 + b"1" + b"}" * 100_000,
    b"-" * 1_000_000 + b"1",
    b"(" * 1_000_000,
    b"'" * 3_000_001,
    b"\\" * 3_000_000,
    b"'\\" * 1_500_000,
    b"'a'" * 1_000_000,
    b"{'asin': 'B1'} # more",
    b"{'asin': '\xff'}",
    b"'B1'",
    b"",
    b"\x0b",
]


@pytest.mark.parametrize("line", HOSTILE, ids=lambda line: repr(line[:40]))
def test_hostile_literals_are_rejects(line):
    tracemalloc.start()
    start = time.perf_counter()
    reject = read_metadata_2014(line)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(reject, Reject), reject
    assert reject.reason in amazon_2014.REASONS
    assert len(reject.detail) < 300
    assert seconds < 20
    assert peak < 40 * len(line) + (1 << 20)


def test_a_literal_may_be_only_so_long():
    assert read_metadata_2014(repr({"asin": "B1", "x": "y" * 100_000}).encode()).item_id == "B1"
    reject = read_metadata_2014(repr({"asin": "B1", "x": "y" * LONGEST_LITERAL_BYTES}).encode())
    assert reject.reason == "malformed literal"
    assert f"{LONGEST_LITERAL_BYTES:,}" in reject.detail


# --- 2023 ----------------------------------------------------------------------------------------------------


def test_the_release_of_2023_is_read(tmp_path):
    write(
        tmp_path / "Tools.jsonl.gz",
        [as_json(REVIEW_2023), as_json({**REVIEW_2023, "parent_asin": None, "user_id": "A-2"}), b"{}"],
    )
    write(tmp_path / "meta_Tools.jsonl.gz", [as_json(ITEM_2023)])
    assert find_source(tmp_path, "Tools").layout == "amazon_2023"
    reviews = read_source(tmp_path, "Tools", INTERACTIONS_SCHEMA)
    assert reviews.values("user_id", "item_id", "rating", "timestamp", "millisecond", "verified", "given_position") == [
        ("A1", "B1", 4.0, 1393372800, 123, True, 0),
        ("A-2", "B2", 4.0, 1393372800, 123, True, 0),
    ]
    assert reviews.reasons() == [(3, "user_id missing")]
    (row,) = read_items(tmp_path, "Tools").rows
    assert {name: row[name] for name in METADATA_SCHEMA.names[3:]} == {
        "item_id": "B1",
        "title": "A saw",
        "brand": "Norvalle",
        "main_cat": "Tools",
        "price": "12.99",
        "category": ["Tools", "Saws"],
        "image_url": "high.jpg",
        "item_text": None,
        "invalid_fields": [],
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": 5}, "user_id not a string"),
        ({"user_id": "A\x01"}, "user_id with control characters"),
        ({"parent_asin": None, "asin": None}, "parent_asin missing"),
        ({"parent_asin": " ", "asin": 5}, "asin not a string"),
        ({"parent_asin": 5}, "parent_asin not a string"),
        ({"rating": None}, "rating missing"),
        ({"rating": True}, "rating not a number"),
        ({"rating": 0}, "rating out of range"),
        ({"timestamp": None}, "timestamp missing"),
        ({"timestamp": "1393372800123"}, "timestamp not an integer"),
        ({"timestamp": 1393372800123.5}, "timestamp not an integer"),
        ({"timestamp": 1393372800}, "timestamp out of range"),
        ({"timestamp": 4_102_444_800_000}, "timestamp out of range"),
    ],
)
def test_reviews_of_2023_that_are_none_say_why(changes, reason):
    line = as_json({**REVIEW_2023, **changes})
    assert read_review_2023(line).reason == reason
    assert reason in amazon_2023.REVIEW_REASONS


changes = st.dictionaries(
    st.sampled_from([*REVIEW_2023, "other"]),
    st.none()
    | st.booleans()
    | st.integers(-1, 6)
    | st.floats(0, 5e12)
    | st.sampled_from(["", " ", "A-1", "Ä1", "\x01"]),
    max_size=3,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(changes, max_size=5))
def test_the_short_test_of_2023_agrees_with_the_long_one(several):
    lines = [as_json({**REVIEW_2023, **change}) for change in several]
    names = [name for name in INTERACTIONS_SCHEMA.names[3:] if name not in Review2023Lines.constants]
    columns = {name: [] for name in names}
    added = Review2023Lines().add(lines, columns)
    read_one_by_one = [read_review_2023(line) for line in lines]
    assert added.rejected == [(index, one) for index, one in enumerate(read_one_by_one) if isinstance(one, Reject)]
    kept = [one for one in read_one_by_one if isinstance(one, Review2023)]
    for name in ("user_id", "item_id", "rating", "verified", "invalid_fields"):
        assert columns[name] == [getattr(one, name) for one in kept]
    seconds = zip(columns["timestamp"], columns["millisecond"], strict=True)
    assert list(seconds) == [divmod(one.milliseconds, 1000) for one in kept]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"price": None, "store": None}, {"price": None, "brand": None}),
        ({"price": "from 12.99"}, {"price": "from 12.99"}),
        ({"price": [1]}, {"price": None, "invalid_fields": ("price",)}),
        ({"categories": "Tools"}, {"category": None, "invalid_fields": ("categories",)}),
        ({"images": []}, {"image_url": None}),
        ({"images": [{"thumb": "t.jpg"}, {"large": "l.jpg"}]}, {"image_url": "l.jpg"}),
        ({"images": ["t.jpg"]}, {"image_url": None, "invalid_fields": ("images",)}),
        ({"images": [{"hi_res": 5}]}, {"image_url": None, "invalid_fields": ("images",)}),
        ({"parent_asin": None, "asin": "B9"}, {"item_id": "B9"}),
    ],
)
def test_metadata_of_2023(changes, expected):
    item = read_metadata_2023(as_json({**ITEM_2023, **changes}))
    assert isinstance(item, Metadata)
    assert {name: getattr(item, name) for name in expected} == expected
