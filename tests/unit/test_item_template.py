"""The text of an item by a template, from the dump to the text."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_reading import read

from ml.data.item_text import item_texts
from ml.data.landing.file_lines import LandingError
from ml.data.landing.schema import METADATA_SCHEMA
from ml.data.sources import find_source
from ml.data.sources.item_template import FIELDS, fields_of, filled

TEMPLATE = "{title} by {brand}: {categories} {features} {description} {details}"
ITEM_2018 = {
    "asin": "B1",
    "title": "Saw",
    "brand": "Norvalle",
    "category": ["Tools", "Saws"],
    "feature": ["sharp", "", "light"],
    "description": ["A saw.", "For <b>wood</b>"],
    "details": {"Weight:": " 2 lbs", "Size": None},
}
ITEM_2023 = {
    "parent_asin": "B1",
    "title": "Saw",
    "store": "Norvalle",
    "categories": ["Tools", "Saws"],
    "features": ["sharp", "light"],
    "description": ["A saw.", "For <b>wood</b>"],
    "details": {"Weight": " 2 lbs"},
}
ITEM_2014 = {
    "asin": "B1",
    "title": "Saw",
    "brand": "Norvalle",
    "categories": [["Tools", "Saws"]],
    "description": "A saw. For <b>wood</b>",
    "feature": ["sharp", "light"],
    "details": {"Weight": " 2 lbs"},
}


def describe(folder: Path, layout: str, template: str) -> None:
    (folder / "source.toml").write_text(f'layout = "{layout}"\n[item_text]\ntemplate = {json.dumps(template)}\n')


@pytest.mark.parametrize(
    ("layout", "name", "line"),
    [
        ("amazon_2018", "Shop.json", json.dumps(ITEM_2018)),
        ("amazon_2023", "Shop.jsonl", json.dumps(ITEM_2023)),
        ("amazon_2014", "reviews_Shop.json", repr(ITEM_2014)),
        ("sequence", "Shop.txt", json.dumps(ITEM_2018)),
    ],
)
def test_a_template_fills_the_text_of_each_release(tmp_path, layout, name, line):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "meta_Shop.json").write_text(f"{line}\n")
    describe(tmp_path, layout, TEMPLATE)
    source = find_source(tmp_path, "Shop")
    assert source.item_text == TEMPLATE
    (row,) = read(source.metadata[0], METADATA_SCHEMA).rows
    assert row["item_text"] == "Saw by Norvalle: Tools Saws sharp light A saw. For <b>wood</b> Weight: 2 lbs"
    (tmp_path / "source.toml").write_text(f'layout = "{layout}"\n')
    source = find_source(tmp_path, "Shop")
    assert (source.item_text, read(source.metadata[0], METADATA_SCHEMA).rows[0]["item_text"]) == (None, None)


def test_what_a_row_does_not_say_is_left_out():
    assert filled("{title} ({price})", {"title": "Saw"}) == "Saw ()"
    assert filled("{title} ({price})", {"title": None, "price": 12.5}) == " (12.5)"
    assert filled("{title} {details}", {"asin": "B1", "title": " ", "details": {"a": [None, True]}}) is None
    assert filled("{title}", {"title": "half \ud800"}) == "half ?"
    assert filled("{{title}} {title}", {"title": "Saw"}) == "{title} Saw"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{titel}", r"item_text\.template: \{titel\} is not known; there are \{title\}, "),
        ("{title!r}", r"\{title!r\} is not known"),
        ("{title:>9}", r"\{title:>9\} is not known"),
        ("{title.__class__}", r"is not known"),
        ("{0}", r"\{0\} is not known"),
        ("{title", "is no template"),
        ("title", "names no field"),
    ],
)
def test_a_template_that_is_none_is_an_error(tmp_path, template, message):
    describe(tmp_path, "amazon_2018", template)
    with pytest.raises(LandingError, match=message):
        find_source(tmp_path, "Shop")


@pytest.mark.parametrize(
    "text", ["item_text = 'x'", "[item_text]\n", "[item_text]\ntemplate = 1", "[item_text]\nform = ''"]
)
def test_a_description_of_the_text_that_is_none_is_an_error(tmp_path, text):
    (tmp_path / "source.toml").write_text(f"layout = 'amazon_2018'\n{text}\n")
    with pytest.raises(LandingError, match="item_text has to be a table of its own"):
        find_source(tmp_path, "Shop")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([key for keys in FIELDS.values() for key in keys]), anything))
def test_any_row_gives_a_text_that_can_be_stored(row):
    template = " ".join("{" + name + "}" for name in FIELDS)
    assert fields_of(template) == tuple(FIELDS)
    text = filled(template, row)
    assert text is None or text.encode()


def test_the_text_of_an_item_is_that_of_the_template_where_there_is_one():
    rows = [
        {"item_id": "B1", "title": "Saw", "price": 1.0, "item_text": " a  saw\n"},
        {"item_id": "B2", "title": "Axe", "price": 2.0, "item_text": None},
        {"item_id": "B3", "title": None, "price": None, "item_text": " "},
    ]
    columns = {name: pa.string() for name in ("item_id", "title", "brand", "category", "item_text")}
    table = pa.Table.from_pylist(rows, schema=pa.schema({**columns, "price": pa.float64()}))
    assert item_texts(table, np.array([b"B1", b"B2", b"B3"])) == (
        "a saw",
        "Title: Axe Brand: Unknown Category: Unknown Price: $2.00",
        "Title: Unknown Brand: Unknown Category: Unknown Price: Unknown",
    )
