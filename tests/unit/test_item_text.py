"""Item text: one line an item, in the order of the training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.data.item_text import item_text_digest, item_texts, load_item_text, save_item_text

ROWS = [
    # in another order than the training set's, with one item that it does not have
    {"item_id": "B3", "title": None, "brand": None, "category": None, "price": None},
    {"item_id": "B1", "title": "Red lorry", "brand": "Ada", "category": "Toys", "price": 12.99},
    {"item_id": "B9", "title": "Elsewhere", "brand": "Ada", "category": "Toys", "price": 1.0},
    {"item_id": "B2", "title": "Lorry |  yellow\n", "brand": " ", "category": "Café & bar", "price": 1234.5},
]
SCHEMA = pa.schema(
    {name: pa.string() for name in ("item_id", "title", "brand", "category", "image_url")} | {"price": pa.float64()}
)
ITEM_IDS = np.array([b"B1", b"B2", b"B3"])
TEXTS = (
    "Title: Red lorry Brand: Ada Category: Toys Price: $12.99",
    "Title: Lorry | yellow Brand: Unknown Category: Café & bar Price: $1234.50",
    "Title: Unknown Brand: Unknown Category: Unknown Price: Unknown",
)


def table(rows=ROWS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_texts_stand_in_the_order_of_the_items(tmp_path: Path):
    assert item_texts(table(), ITEM_IDS) == TEXTS
    pq.write_table(table(), tmp_path / "items.parquet", row_group_size=1)
    assert item_texts(tmp_path / "items.parquet", ITEM_IDS) == TEXTS
    assert item_texts(table(), ITEM_IDS[::-1]) == TEXTS[::-1]
    assert item_texts(table(), ITEM_IDS[:0]) == ()


@pytest.mark.parametrize(
    ("price", "shown"),
    [(5, "$5.00"), (0.99, "$0.99"), (19.999, "$20.00"), (None, "Unknown"), (float("nan"), "Unknown")],
)
def test_prices_have_two_decimals(price: float | None, shown: str):
    row = {**ROWS[1], "price": price}
    assert item_texts(table([row]), ITEM_IDS[:1])[0].endswith(f" Price: {shown}")


words = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))


@given(st.lists(st.tuples(words, words, words, st.none() | st.floats(0.01, 1e6)), min_size=1, max_size=6))
def test_a_text_is_one_line_in_the_given_form(fields: list[tuple]):
    rows = [
        {"item_id": f"B{n}", "title": title, "brand": brand, "category": category, "price": price}
        for n, (title, brand, category, price) in enumerate(fields)
    ]
    item_ids = np.array([row["item_id"].encode() for row in rows])
    for text, (title, brand, category, price) in zip(item_texts(table(rows), item_ids), fields, strict=True):
        assert len(text.splitlines()) == 1
        shown = [" ".join((value or "").split()) or "Unknown" for value in (title, brand, category)]
        assert text.startswith(f"Title: {shown[0]} Brand: {shown[1]} Category: {shown[2]} Price: ")
        assert text.endswith("Unknown" if price is None else f"${price:.2f}")


def test_an_item_that_is_missing_or_there_twice_is_named(tmp_path: Path):
    path = tmp_path / "items.parquet"
    pq.write_table(table(ROWS[:2]), path)
    with pytest.raises(ValueError, match=r"items\.parquet: 1 items of the training set are not in it: B2;"):
        item_texts(path, ITEM_IDS)
    pq.write_table(table([*ROWS, ROWS[0]]), path)
    with pytest.raises(ValueError, match=r"items\.parquet: more than one row for item B3"):
        item_texts(path, ITEM_IDS)
    pq.write_table(table().drop_columns(["brand", "price"]), path)
    with pytest.raises(ValueError, match=r"items\.parquet: lacks column brand, price"):
        item_texts(path, ITEM_IDS)


def test_what_is_saved_is_loaded(tmp_path: Path):
    save_item_text(tmp_path, ITEM_IDS, TEXTS)
    first = (tmp_path / "item_text.parquet").read_bytes()
    assert load_item_text(tmp_path) == TEXTS
    assert load_item_text(tmp_path, ITEM_IDS) == TEXTS
    assert pq.read_table(tmp_path / "item_text.parquet").column_names == ["item_id", "text"]
    save_item_text(tmp_path, ITEM_IDS, TEXTS)
    assert (tmp_path / "item_text.parquet").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["item_text.parquet"]
    with pytest.raises(ValueError, match="another catalogue"):
        load_item_text(tmp_path, ITEM_IDS[::-1])
    with pytest.raises(ValueError, match="2 texts for 3 items"):
        save_item_text(tmp_path, ITEM_IDS, TEXTS[:2])
    with pytest.raises(FileNotFoundError, match="make the item text first"):
        load_item_text(tmp_path / "nowhere")


def test_the_digest_tells_texts_apart_and_nothing_else():
    digest = item_text_digest(ITEM_IDS, TEXTS)
    assert digest == item_text_digest(ITEM_IDS.copy(), list(TEXTS))
    assert digest != item_text_digest(ITEM_IDS, (TEXTS[0] + ".", *TEXTS[1:]))
    assert digest != item_text_digest(ITEM_IDS[::-1], TEXTS)
    assert item_text_digest(np.array([b"A", b"B"]), ("x", "y")) != item_text_digest(np.array([b"AB"]), ("xy",))
    ids = np.array([b"A", b"B"])
    assert item_text_digest(ids, ("x", "yz")) != item_text_digest(ids, ("xy", "z"))
