"""What Python's json writes and strict JSON forbids does no harm where nobody looks; deep nesting is a reject."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.landing.json_text import DEEPEST, NestedTooDeeply, read_json
from ml.data.landing.schema import INTERACTIONS_SCHEMA, METADATA_SCHEMA, Reject
from ml.data.sources.amazon.v2014 import Metadata2014Lines
from ml.data.sources.amazon.v2018 import MetadataLines, ReviewLines
from ml.data.sources.amazon.v2023 import Metadata2023Lines, Review2023Lines

REVIEW_2018 = b'{"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1393372800, "x": %s}'
REVIEW_2023 = b'{"user_id": "A1", "parent_asin": "B1", "rating": 4.0, "timestamp": 1393372800123, "x": %s}'
READERS = {
    "reviews of 2018": (ReviewLines, REVIEW_2018, INTERACTIONS_SCHEMA),
    "reviews of 2023": (Review2023Lines, REVIEW_2023, INTERACTIONS_SCHEMA),
    "metadata of 2018": (MetadataLines, b'{"asin": "B1", "x": %s}', METADATA_SCHEMA),
    "metadata of 2014": (Metadata2014Lines, b"{'asin': 'B1', 'x': %s}", METADATA_SCHEMA),
    "metadata of 2014 as JSON": (Metadata2014Lines, b'{"asin": "B1", "x": %s}', METADATA_SCHEMA),
    "metadata of 2023": (Metadata2023Lines, b'{"parent_asin": "B1", "x": %s}', METADATA_SCHEMA),
}


def read(reader: str, value: bytes) -> tuple[list[str], list[tuple[int, Reject]]]:
    """Identities of the items that a line with this value in a field gives, and the rejects."""
    make, line, schema = READERS[reader]
    columns = {name: [] for name in schema.names[3:] if name not in getattr(make, "constants", {})}
    added = make().add([line % value], columns)
    assert all(reject.reason in make.reasons for _, reject in added.rejected)
    assert {len(column) for column in columns.values()} == {len(columns["item_id"])}
    return columns["item_id"], added.rejected


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "value",
    [
        b'"\\ud800"',
        b'["half \\udc00 a pair"]',
        b"NaN",
        b"[-Infinity, Infinity]",
        b"1e400",
        b"-1E+400",
        b"123456789012345678901234567890",
        b"9" * 5000,
        b"-" + b"9" * 5000,
        b"[" * (DEEPEST - 200) + b"]" * (DEEPEST - 200),
        b'"a", "x": "b"',
    ],
    ids=lambda value: repr(value[:24]),
)
def test_a_field_that_nobody_reads_keeps_its_line(reader, value):
    if reader == "metadata of 2014":
        value = value.replace(b'"', b"'").replace(b"NaN", b"nan").replace(b"Infinity", b"inf")
    assert read(reader, value) == (["B1"], [])


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("levels", [DEEPEST, 1100, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")], ids=["arrays", "objects"])
def test_a_line_that_is_nested_deeply_is_a_reject(reader, levels, brackets):
    opened, closed = brackets
    began = time.perf_counter()
    items, rejected = read(reader, opened * levels + b"1" + closed * levels)
    assert items == []
    assert [(index, reject.reason) for index, reject in rejected] == [(0, "nested too deeply")]
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("reader", READERS)
def test_brackets_in_a_text_are_no_levels(reader):
    assert read(reader, b'"' + b"[{" * 5000 + b'"') == (["B1"], [])
    assert read(reader, b"[" + b"[],{}," * 5000 + b"[]]") == (["B1"], [])


def test_levels_are_counted():
    for levels in (DEEPEST - 1, DEEPEST):
        text = "[" * levels + "]" * levels
        if levels < DEEPEST:
            assert isinstance(read_json(text), list)
            assert isinstance(read_json(text.encode()), list)
        else:
            with pytest.raises(NestedTooDeeply):
                read_json(text)


@pytest.mark.parametrize("name", ["title", "brand", "price"])
@pytest.mark.parametrize("value", [math.nan, math.inf, "half a pair \ud800"])
def test_what_cannot_be_stored_is_named_as_invalid(name, value):
    columns = {name: [] for name in METADATA_SCHEMA.names[3:]}
    added = MetadataLines().add([json.dumps({"asin": "B1", name: value}).encode()], columns)
    assert (added.rejected, columns[name], columns["invalid_fields"]) == ([], [None], [(name,)])


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | st.text(st.characters(), max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_what_python_writes_is_read_as_it_was(value):
    assert repr(read_json(json.dumps(value).encode())) == repr(value)


def test_numbers_beyond_64_bits_do_not_depend_on_what_else_is_on_the_line():
    big = "123456789012345678901234567890"
    assert read_json(f"[{big}]")[0] == read_json(f"[{big}, NaN]")[0] == float(big)
