"""Recommenders compared over temporal folds: figures, the test with users as units, the file, and the section."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from report_contents import made_up_content, write_made_up_lake, write_made_up_report

from ml.data.files import DamagedFile
from ml.data.folds import Fold, FoldSizes
from ml.evaluation.folds.comparison import over_folds, paired_test_over_folds
from ml.evaluation.folds.content import FoldResults
from ml.evaluation.folds.files import load_folds, save_folds
from ml.evaluation.rankings import RankingError
from ml.evaluation.significance import SeedValues, paired_test
from ml.reports.collect.folds import folds_over_time
from ml.reports.collect.report import collect
from ml.reports.render.markdown.folds import folds as markdown
from ml.reports.words import folds as words

DAY = 86_400
DEPTH = 20
FOLDS = tuple(
    FoldSizes(Fold(at + 1, at * DAY, (at + 1) * DAY, (at + 2) * DAY if at < 2 else None), 50, 5, users, 3, 2)
    for at, users in enumerate((40, 60, 50))
)
TITLES = {"graph": "Two-hop graph", "tower": "Tower", "popular": "Most popular"}


def tables(skill: dict[str, tuple[float, ...]], seed: int = 0) -> dict[str, list[pa.Table]]:
    """User metrics of users who come again in later folds; each recommender finds a share of the targets."""
    generator = np.random.default_rng(seed)
    users = [np.sort(generator.choice(90, size=one.tested, replace=False)) for one in FOLDS]
    return {
        name: [
            ranked(name, own, np.where(generator.random(len(own)) < share, generator.integers(1, DEPTH, len(own)), 0))
            for own, share in zip(users, shares, strict=True)
        ]
        for name, shares in skill.items()
    }


def ranked(name: str, users: np.ndarray, ranks: np.ndarray) -> pa.Table:
    """As :func:`user_metrics` writes it; rank 0 stands for not in the list."""
    facts = {"dataset": "Small", "training_set": "", "recommender": name, "seed": 0, "depth": DEPTH}
    columns = {
        "user_index": pa.array(users, pa.int32()),
        "target_rank": pa.array(ranks.astype(np.int16), mask=ranks == 0),
    }
    about = json.dumps(facts | {"exclude_seen": False}).encode()
    return pa.table(columns).replace_schema_metadata({b"raw2rank": about})


def results(skill: dict[str, tuple[float, ...]] | None = None) -> FoldResults:
    skill = skill or {"graph": (0.9, 0.9, 0.3), "tower": (0.5, 0.4, 0.9), "popular": (0.1, 0.2, 0.1)}
    return over_folds(tables(skill), TITLES, FOLDS)


def test_figures_are_those_of_plain_arithmetic():
    measured = tables({"graph": (0.9, 0.9, 0.3), "tower": (0.5, 0.4, 0.9), "popular": (0.1, 0.2, 0.1)})
    found = over_folds(measured, TITLES, FOLDS)
    frame = pl.DataFrame(
        [
            {"name": name, "fold": fold, "user": user, "rank": rank}
            for name, of_folds in measured.items()
            for fold, table in enumerate(of_folds)
            for user, rank in zip(table["user_index"].to_pylist(), table["target_rank"].to_pylist(), strict=True)
        ]
    ).with_columns(hit=pl.col("rank").fill_null(99) <= 10, gain=1 / (pl.col("rank") + 1).log(2))
    by_fold = (
        frame.group_by("name", "fold")
        .agg(ndcg=(pl.col("hit") * pl.col("gain").fill_null(0)).mean(), recall=pl.col("hit").mean())
        .with_columns(place=pl.col("ndcg").rank("min", descending=True).over("fold"))
        .sort("fold")
    )
    assert [row.mean for row in found.rows] == sorted((row.mean for row in found.rows), reverse=True)
    for row in found.rows:
        own = by_fold.filter(name=row.recommender)
        assert row.title == TITLES[row.recommender]
        assert row.ndcg == pytest.approx(own["ndcg"].to_list())
        assert row.recall == pytest.approx(own["recall"].to_list())
        assert list(row.places) == own["place"].to_list()
        assert row.mean == pytest.approx(own["ndcg"].mean())
        assert row.deviation == pytest.approx(own["ndcg"].std())
    often = frame.filter(name="graph").group_by("user").len()
    assert (found.users, found.users_in_several) == (len(often), (often["len"] > 1).sum())
    assert [row.recommender for row in found.winners] == ["graph", "graph", "tower"]
    assert found.changes_of_winner == 1
    leader, *others = found.rows
    assert leader.compared is None
    for row in others:
        assert row.compared is not None
        # the mean of the folds, however many users each has
        assert row.compared.difference.mean == pytest.approx(row.mean - leader.mean)


def test_with_one_fold_it_is_the_paired_test_over_users():
    generator = np.random.default_rng(1)
    values, others = generator.random((2, 80))
    expected = paired_test(SeedValues.of_one_seed(values), SeedValues.of_one_seed(others))
    found = paired_test_over_folds([values - others], [generator.permutation(80)])
    assert (found.difference, found.error, found.freedom) == pytest.approx(
        (expected.difference, expected.error, expected.freedom)
    )


def test_the_error_is_that_of_the_sum_over_each_user():
    generator = np.random.default_rng(2)
    users = [generator.choice(30, size=size, replace=False) for size in (20, 11)]
    differences = [generator.normal(size=len(own)) for own in users]
    scores = dict.fromkeys(set(users[0].tolist()) | set(users[1].tolist()), 0.0)
    for own, difference in zip(users, differences, strict=True):
        for user, one in zip(own.tolist(), difference.tolist(), strict=True):
            scores[user] += (one - difference.mean()) / (2 * len(own))
    number = len(scores)
    found = paired_test_over_folds(differences, users)
    assert found.difference == pytest.approx((differences[0].mean() + differences[1].mean()) / 2)
    assert found.error == pytest.approx((number / (number - 1) * sum(one**2 for one in scores.values())) ** 0.5)
    assert found.freedom == number - 1


def test_chance_is_called_significant_as_often_as_the_level_says_though_users_come_again():
    generator = np.random.default_rng(3)
    found = {"units": 0, "pooled": 0}
    trials = 600
    for _ in range(trials):
        taste = generator.normal(size=120)
        users = [generator.choice(120, size=size, replace=False) for size in (60, 100, 80, 90)]
        differences = [taste[own] + generator.normal(scale=0.5, size=len(own)) for own in users]
        found["units"] += paired_test_over_folds(differences, users).p_value < 0.05
        pooled = np.concatenate(differences)
        zero = SeedValues.of_one_seed(np.zeros(len(pooled)))
        found["pooled"] += paired_test(SeedValues.of_one_seed(pooled), zero).p_value < 0.05
    assert 0.03 < found["units"] / trials < 0.075
    assert found["pooled"] / trials > 0.15


def test_recommenders_of_other_users_cannot_be_compared():
    measured = tables({"graph": (0.9, 0.9, 0.9), "tower": (0.5, 0.4, 0.9)})
    for wrong in (measured["tower"][:2], [*measured["tower"][:2], measured["tower"][2].slice(1)]):
        with pytest.raises(RankingError, match="tower was not measured on the users of all 3 folds"):
            over_folds(measured | {"tower": wrong}, TITLES, FOLDS)
    with pytest.raises(RankingError, match="no recommender"):
        over_folds({}, TITLES, FOLDS)


def test_what_is_saved_is_read_again(tmp_path):
    path = tmp_path / "folds.parquet"
    for found in (results(), results({"graph": (0.5, 0.5, 0.5)}), FoldResults()):
        save_folds(found, path)
        assert load_folds(path) == found
    path.write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match=r"folds\.parquet cannot be used"):
        load_folds(path)


def test_sentences_say_who_wins_and_how_often_that_changes():
    told = " ".join(words.summary(results()))
    assert "Two-hop graph has the highest mean nDCG@10" in told
    assert "the highest in two of three" in told
    assert "Two recommenders win a fold: Two-hop graph and Tower. The winner changes" in told
    assert "in one of two cases" in told
    one = results({"graph": (0.9, 0.9, 0.9), "popular": (0.1, 0.1, 0.1)})
    assert "The winner is the same in every fold." in words.summary(one)
    assert (
        words.summary(one)[-1] == "Over all folds, every other recommender is significantly worse than Two-hop graph."
    )
    assert "Over all folds, one of 2 others is not significantly different from Two-hop graph." in told
    table = words.results(one)
    assert table.rows[0][-1] == "leader"
    assert table.rows[1][-1] == "worse"
    assert words.dates(one).rows[-1][3] == "the end"
    alone = results({"graph": (0.9, 0.9, 0.9)})
    assert len(words.summary(alone)) == 2
    many = {f"r{number}": (number / 9, 0.5, 0.5) for number in range(7)}
    drawn = words.chart(over_folds(tables(many), {name: name for name in many}, FOLDS))
    assert len(drawn.lines) == 5
    assert "the best 5 of 7" in drawn.title


@pytest.mark.usefixtures("empty_drawings")
def test_the_section_is_in_the_page_the_card_and_a_file(tmp_path):
    found = results()
    content = replace(made_up_content(), folds=found)
    write_made_up_report(content, tmp_path)
    page, card = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    section = page[page.index('<section id="folds"') : page.index("folds.csv")]
    assert 'href="#folds"' in page
    assert section.count('role="img"') == 1
    assert section.count("<table") == 3
    assert "### Folds over time" in card
    assert "data:image" not in card
    assert "data:image" in markdown(found)
    assert len((tmp_path / "folds.csv").read_text().splitlines()) == 1 + 9


def test_without_folds_there_is_no_section(tmp_path):
    write_made_up_lake(tmp_path)
    assert folds_over_time(tmp_path) is None, "of a lake of an earlier release"
    save_folds(FoldResults(), tmp_path / "evaluation" / "folds.parquet")
    assert folds_over_time(tmp_path) is None
    save_folds(results(), tmp_path / "evaluation" / "folds.parquet")
    assert collect(tmp_path, "Made_Up").folds == results()
