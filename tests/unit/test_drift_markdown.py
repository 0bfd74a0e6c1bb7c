"""The accepted states of a dataset as the UI shows them."""

from ml.data.drift.comparison import figures
from ml.reports.render.markdown.drift import accepted_states


def _state(rows: int, users: int = 10, rated: int | None = None) -> dict:
    ratings = {"4.0": rows} if rated is None else {"4.0": rated}
    return figures(
        "reviews",
        {
            "rows": rows,
            "users": users,
            "items": 5,
            "rating_missing": 0,
            "verified_missing": rows // 2,
            "ratings": ratings,
        },
    )


def test_states_are_a_plot_and_a_table():
    found = accepted_states("reviews", [_state(100), _state(150, users=12)])
    assert found.startswith("![Accepted states of the reviews](data:image/png;base64,")
    lines = found.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert lines[2].startswith("| State | Rows | Users | Items |")
    assert lines[4:] == [
        "| 1 | 100 | 10 | 5 | 0.0 % | 50.0 % | 4.00 | 10.00 |",
        "| 2 | 150 | 12 | 5 | 0.0 % | 50.0 % | 4.00 | 12.50 |",
    ]


def test_an_empty_first_state_can_be_drawn():
    empty = _state(0, users=0)
    assert empty["mean_rating"] is None
    assert "| 1 | 0 | 0 | 5 |" in accepted_states("reviews", [empty, _state(10)])
