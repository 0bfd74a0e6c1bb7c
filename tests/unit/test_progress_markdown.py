"""Results of progressive evaluation as the UI shows them."""

from dataclasses import replace

from ml.release.progress import Result
from ml.reports.render.markdown.progress import progress

RESULT = Result(
    release="0123456789abcdef",
    title="SASRec",
    interactions=120,
    lost=1,
    late=2,
    new_users=3,
    users=40,
    new_items=5,
    ndcg=0.05,
    ndcg_low=0.04,
    ndcg_high=0.06,
    recall=0.1,
    popular_ndcg=0.02,
    difference_low=0.02,
    difference_high=0.04,
)


def test_results_are_a_plot_and_a_table_with_the_last_first() -> None:
    text = progress([RESULT, replace(RESULT, title="BERT4Rec", users=50)])
    assert text.startswith("![nDCG@10 of releases on what came after them](data:image/png;base64,")
    rows = text.splitlines()[4:]
    assert [row.split(" | ")[2] for row in rows] == ["BERT4Rec", "SASRec"]
    assert "| 0123456789ab | SASRec | 120 | 2 | 1 | 3 | 40 | 5 | 0.0500 |" in rows[1]


def test_a_result_without_users_has_no_figure() -> None:
    nothing = replace(RESULT, users=0, ndcg=None, ndcg_low=None, ndcg_high=None, recall=None, popular_ndcg=None)
    assert progress([replace(nothing, difference_low=None, difference_high=None)]).startswith("| Result |")
    assert progress([nothing, RESULT]).startswith("![")


def test_before_the_first_result_a_sentence_says_what_is_to_come() -> None:
    assert progress([]).startswith("No new interactions")
