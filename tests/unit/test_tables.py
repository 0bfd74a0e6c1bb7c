"""Tables and charts as data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ml.reports.render.markdown.table import markdown_table
from ml.tables import Line, Table, cell_text, to_text

ROWS = (("a", 1, "3.4\u00a0%", "x"), ("b", None, "< 0.1\u00a0%", "2 more"), ("c", 2.5, "−1.0\u00a0%", None))


def test_cells_as_they_are_printed():
    printed = [cell_text(value) for value in (None, "a", 1234, -5, 0.5, -0.25)]
    assert printed == ["", "a", "1,234", "−5", "0.5000", "−0.2500"]


def test_columns_of_figures_are_aligned_to_the_right():
    table = Table("T", ("a", "b", "c", "d"), ROWS)
    assert table.aligned_right == {1, 2}
    assert Table("T", ("a", "b", "c", "d"), ROWS, right=(3,)).aligned_right == {3}
    assert Table("T", ("a", "b"), (("x", None),)).aligned_right == set()


@pytest.mark.parametrize(
    ("text", "is_figure"),
    [
        ("0.0333 to 0.0413", True),
        ("6 of 15", True),
        ("+0.0006 (-0.0002 to +0.0014)", True),
        ("374 days", True),
        ("2 × 256", True),
        ("> 99.9\u00a0%", True),
        ("last 2", False),
        ("2 books", False),
        ("unchanged", False),
        ("10 to many", False),
    ],
)
def test_which_texts_are_figures(text, is_figure):
    assert (1 in Table("T", ("a", "b"), (("x", text),)).aligned_right) == is_figure


def test_rows_and_lines_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="T: 2 columns, but a row of 1 cells"):
        Table("T", ("a", "b"), (("x",),))
    with pytest.raises(ValueError, match="L: 2 places, 1 values"):
        Line("L", (1.0, 2.0), (1.0,))
    with pytest.raises(ValueError, match="L: 1 places"):
        Line("L", (1.0,), (1.0,), (0.5, 0.6))


def test_aligned_text():
    printed = to_text(Table("T", ("Name", "Users"), (("a", 5), ("longer", 1234))))
    assert printed.splitlines() == ["Name    Users", "------  -----", "a           5", "longer  1,234"]
    shortened = to_text(Table("T", ("Name", "Users"), (("longer", 1234),)), lambda text: text[:3])
    assert shortened.splitlines() == ["Nam  Use", "---  ---", "lon  1,2"]


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(-(10**6), 10**6) | st.none()), max_size=4))
def test_markdown_has_a_row_for_each_row(rows):
    text = markdown_table(Table("T", ("Name", "Users"), tuple(rows)))
    tokens = [token.type for token in MarkdownIt("commonmark").enable("table").parse(text)]
    assert tokens.count("tr_open") == 1 + len(rows)
    assert tokens.count("td_open") == 2 * len(rows)
