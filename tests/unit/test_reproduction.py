"""ml/reproduction: claims are read strictly, and judged by what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml.baselines.registry import BASELINES
from ml.config import TableError
from ml.fusion.recipe import load_fusions
from ml.reproduction.claims import Claim, load_claims, load_protocols
from ml.reproduction.results import MISSED, NOT_RUN, REACHED, REPORTED, Result, judge
from ml.reproduction.table import page
from ml.training.recipe import load_recipes
from orchestration.commands.reproduce import named

CLAIM = Claim(
    name="one",
    title="One",
    protocol="beauty_2014",
    recommender="markov_chain",
    fit_on="train",
    source="a paper",
    lowest=0.4,
    highest=0.6,
    seeds=2,
)


def result(mean: float, seed: int = 0, spread: float = 0.1, users: int = 400) -> Result:
    values = mean + spread * np.random.default_rng(seed).standard_normal(users)
    return Result("key", "markov_chain", seed, 2.0, "a machine", values - values.mean() + mean)


@pytest.mark.parametrize(
    ("means", "finding", "words"),
    [
        ((0.5, 0.48), REACHED, "reached"),
        ((0.41, 0.38), MISSED, "0.0050 below 0.4000"),
        ((0.7, 0.6), MISSED, "0.0500 above 0.6000"),
        ((0.5,), MISSED, "1 of 2 seeds not run"),
        ((), NOT_RUN, "not run"),
    ],
)
def test_a_claim_is_judged_by_the_mean_over_seeds(means, finding, words):
    verdict = judge(CLAIM, [result(mean, seed) for seed, mean in enumerate(means)], {})
    assert verdict.finding == finding
    assert words in verdict.sentence
    if means:
        assert verdict.interval.low < np.mean(means) < verdict.interval.high
        assert verdict.interval.mean == pytest.approx(np.mean(means))


def test_nothing_asked_is_reported():
    assert judge(replace(CLAIM, lowest=None, highest=None), [result(0.1), result(0.1, 1)], {}).finding == REPORTED


def test_what_must_be_above_must_be_told_apart():
    claim = replace(CLAIM, lowest=None, highest=None, above=("bm25_last_item",), seeds=1)
    ours = result(0.5)
    clearly_below = replace(ours, values=ours.values - 0.05 + 0.01 * np.random.default_rng(3).standard_normal(400))
    hardly_below = replace(ours, values=ours.values - 0.0005 + 0.1 * np.random.default_rng(4).standard_normal(400))
    assert judge(claim, [ours], {"bm25_last_item": [clearly_below]}).finding == REACHED
    assert judge(claim, [ours], {"bm25_last_item": [hardly_below]}).finding == MISSED
    assert "bm25_last_item not run" in judge(claim, [ours], {"bm25_last_item": []}).sentence


def test_results_are_read_as_written(tmp_path):
    ours = result(0.5)
    assert Result.load(tmp_path / "one") is None
    ours.save(tmp_path / "one")
    read = Result.load(tmp_path / "one")
    np.testing.assert_array_equal(read.values, ours.values)
    assert replace(read, values=None) == replace(ours, values=None)


def test_the_claims_that_ship_name_what_there_is():
    known = {*BASELINES, *(recipe.name for recipe in load_recipes()), *(fusion.name for fusion in load_fusions())}
    claims = load_claims()
    assert {name for claim in claims.values() for name in (claim.recommender, *claim.above)} <= known
    assert {claim.protocol for claim in claims.values()} == set(load_protocols())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the key title is missing"),
        ('protocol = "x"', "the key title is missing"),
        ('title="a"\nprotocol="nowhere"\nrecommender="b"\nfit_on="train"\nsource="c"', "no protocol 'nowhere'"),
        ('title="a"\nprotocol="ml1m"\nrecommender="b"\nfit_on="both"\nsource="c"', "fit_on must be one of"),
        (
            'title="a"\nprotocol="ml1m"\nrecommender="b"\nfit_on="train"\nsource="c"\nlowest=0.3\nhighest=0.2',
            "is above highest",
        ),
    ],
)
def test_a_wrong_claim_is_refused(tmp_path, text, message):
    (tmp_path / "one.toml").write_text(text)
    with pytest.raises(TableError, match=message):
        load_claims(tmp_path)


def test_the_page_says_what_was_found_and_what_was_not_run():
    reached = judge(CLAIM, [result(0.5), result(0.52, 1)], {})
    gpu = judge(replace(CLAIM, name="two", title="Two", device="cuda"), [], {})
    text = page([reached, gpu], load_protocols(), "make reproduce")
    row = next(line for line in text.splitlines() if line.startswith("| One |"))
    assert "| 0.4000 to 0.6000 | 0.5100 |" in row
    assert "0.5000, 0.5200 (sd 0.0141)" in row
    assert row.endswith("| reached |")
    assert next(line for line in text.splitlines() if line.startswith("| Two |")).endswith("| needs a GPU |")
    assert text.count("| Recommender |") == 1


def test_the_page_names_the_strongest_row_and_what_a_source_does_not_state():
    known = {"published": 0.4, "not_stated": "the rule for ties", "strongest": 0.6, "strongest_source": "Better et al."}
    text = page([judge(replace(CLAIM, **known), [result(0.5)], {})], load_protocols(), "make reproduce")
    assert "| 0.4000 † | 0.6000 | 0.4000 to 0.6000 |" in next(
        line for line in text.splitlines() if line.startswith("| One |")
    )
    assert "† Not stated: the rule for ties. Strongest of its kind: Better et al." in text
    for wrong, message in (
        ({"strongest": 0.6}, "given together"),
        ({"strongest_source": "X"}, "given together"),
        ({**known, "strongest": 0.3}, "is below published"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(CLAIM, **wrong)


def test_every_claim_against_the_literature_names_the_strongest_row_of_its_kind():
    """No claim of the same kind has a higher published figure than the one that is called the strongest."""
    claims = load_claims().values()
    for claim in claims:
        same = [one for one in claims if (one.protocol, one.fit_on) == (claim.protocol, claim.fit_on)]
        published = [one.published for one in same if one.published is not None]
        if claim.protocol != "industrial_2018" and published:
            assert max(filter(None, (claim.published, claim.strongest))) >= max(published), claim.name


def test_better_takes_the_spread_of_seeds_in():
    claim = replace(CLAIM, lowest=None, highest=None, above=("bm25_last_item",), seeds=3)
    random = np.random.default_rng(0)
    base = result(0.3)
    noise = 0.05 * random.standard_normal((3, len(base.values)))

    def ours(spread: float) -> list:
        shifts = (spread, 0.0, -spread)
        return [
            replace(base, seed=seed, values=base.values + 0.02 + shift + noise[seed])
            for seed, shift in enumerate(shifts)
        ]

    assert judge(claim, ours(0.001), {"bm25_last_item": [base]}).finding == REACHED
    missed = judge(claim, ours(0.03), {"bm25_last_item": [base]})
    assert missed.finding == MISSED
    assert "against bm25_last_item" in missed.sentence


def test_claims_are_chosen_by_name_or_pattern():
    claims = load_claims()
    chosen = [claim.name for claim in named("beauty_tiger, ml1m_*", claims)]
    assert chosen == ["beauty_tiger", *(name for name in claims if name.startswith("ml1m_"))]
    assert named("", claims) == []
    with pytest.raises(ValueError, match=r"there is no claim ml2m_\*; there are beauty_best, "):
        named("beauty_tiger,ml2m_*", claims)
