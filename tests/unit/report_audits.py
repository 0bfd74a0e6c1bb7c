"""Made-up audits of realistic size, one of each kind, and slices and list metrics to stand beside them."""

from __future__ import annotations

from ml.audits.audit import CONCERN, NO_CONCERN, NOT_APPLICABLE, NOTE, Audit
from ml.reports.content.report import Estimate, LeaderboardRow, SliceRow
from ml.tables import Chart, Line, Table

_BASELINES = ("Popular", "Recently popular", "Markov chain", "Item graph", "BM25 of the last item", "Repeat last")
_RULES = ("file", "item", "hash", "shuffle 1", "shuffle 2", "shuffle 3")


def ties() -> Audit:
    values = {
        name: tuple(
            round(0.012 + 0.009 * place + (0.004 * place if rule == 1 else 0.0007 * rule), 4) for rule in range(6)
        )
        for place, name in enumerate(_BASELINES)
    }
    return Audit(
        name="ties",
        title="Ties in time",
        verdict="For 34.1\u00a0% of the test users the target shares its timestamp with the interaction before it, and "
        "nDCG@10 of BM25 of the last item moves from 0.0480 to 0.0640 with the tie rule alone.",
        outcome=CONCERN,
        explanation="Where times are equal a rule and not time decides which item is to be predicted. Each cheap "
        "recommender was fitted and tested again under every rule, on otherwise equal data.",
        tables=(
            Table(
                "nDCG@10 by the rule for equal times",
                ("Recommender", *_RULES),
                tuple((name, *found) for name, found in values.items()),
                "The shuffles are of three seeds.",
            ),
            Table(
                "Order of the file",
                ("File", "Users", "Rows", "In order of time", "In order of item", "Verdict"),
                (("Made_Up.json.gz", 150, 900, "12.0\u00a0%", "99.8\u00a0%", "sorted by item"),),
            ),
        ),
        charts=(
            Chart(
                "nDCG@10 by the rule for equal times",
                "rule",
                "nDCG@10",
                tuple(
                    Line(name, _RULES, found, tuple(y - 0.004 for y in found), tuple(y + 0.004 for y in found))
                    for name, found in values.items()
                ),
            ),
        ),
        facts={"tied_targets": 0.341, "largest_move": 0.016},
    )


def duplicates() -> Audit:
    rows = tuple(
        (name, 0.05 + 0.01 * place, 0.045 + 0.009 * place, "−10.0\u00a0%") for place, name in enumerate(_BASELINES)
    )
    return Audit(
        name="duplicates",
        title="Duplicates",
        verdict="Keeping the 97 exact duplicates would raise nDCG@10 by 11.4\u00a0% at most, and change no order.",
        outcome=NO_CONCERN,
        explanation="The same review is listed more than once in many dumps. An item that follows itself is easily "
        "predicted, so copies raise the figures of recommenders that repeat.",
        tables=(
            Table("nDCG@10 with and without exact duplicates", ("Recommender", "With", "Without", "Change"), rows),
        ),
    )


def leakage() -> Audit:
    pairs = tuple((f"U{n}", f"U{n + 100}", 12 + n, 1.0 - 0.004 * n) for n in range(30))
    return Audit(
        name="leakage",
        title="Leakage",
        verdict="61.3\u00a0% of the training interactions are later than the earliest test target, so every model "
        "knows of a future that it could not have known.",
        outcome=CONCERN,
        explanation="A leave-one-out split has no common moment that parts the known from the unknown. The "
        "global-temporal split has one.",
        tables=(
            Table(
                "What could tell of test targets",
                ("Leak", "Found", "Of", "Share"),
                (
                    ("training interactions later than the median target", 430, 700, "61.3\u00a0%"),
                    ("targets already in the history", 200, 4000, "5.0\u00a0%"),
                    ("users with a twin", 30, 4000, "0.8\u00a0%"),
                    ("codes fitted on held-out interactions", 0, 2, "0\u00a0%"),
                ),
            ),
            Table("Near-duplicate users", ("User", "Twin", "Shared items", "Overlap"), pairs, "The first 30."),
        ),
    )


def shortcuts() -> Audit:
    cuts = (1, 2, 5, 50)
    return Audit(
        name="shortcuts",
        title="Shortcut solvability",
        verdict="The dataset can tell models apart: cutting every history to its last item costs the best model "
        "38.0\u00a0% of nDCG@10.",
        outcome=NO_CONCERN,
        explanation="Where the last item alone decides, a table of transitions does as well as any model (after "
        "arXiv 2605.07125).",
        tables=(
            Table(
                "nDCG@10 with histories cut",
                ("Recommender", "last 1", "last 2", "last 5", "whole"),
                (
                    ("Tower", 0.037, 0.048, 0.058, 0.06),
                    ("Chain", 0.05, 0.05, 0.05, 0.05),
                    ("Small", None, 0.03, 0.04, 0.049),
                ),
            ),
        ),
        charts=(
            Chart(
                "nDCG@10 by items of the history that are kept",
                "items kept",
                "nDCG@10",
                (Line("Tower", cuts, (0.037, 0.048, 0.058, 0.06)), Line("Chain", cuts, (0.05, 0.05, 0.05, 0.05))),
            ),
        ),
    )


def calibration() -> Audit:
    places = tuple(round(0.1 * n, 1) for n in range(1, 10))
    truth = tuple(round(0.3 * x**2, 4) for x in places)
    return Audit(
        name="calibration",
        title="Calibration",
        verdict="Small is overconfident: where it predicts 0.90 on average, 0.24 of the items are right.",
        outcome=NOTE,
        explanation="Sampled negatives without a correction make scores too high; the order of items may be right all "
        "the same.",
        charts=(
            Chart(
                "Predicted probability against precision",
                "mean predicted probability",
                "share that is right",
                (
                    Line("Small", places, truth, tuple(0.9 * y for y in truth), tuple(1.1 * y for y in truth)),
                    Line("Tower", places, tuple(round(0.95 * x, 4) for x in places)),
                ),
                diagonal=True,
            ),
        ),
        tables=(Table("By probability", ("Predicted", "Right"), tuple(zip(places, truth, strict=True))),),
    )


def temporal() -> Audit:
    return Audit(
        name="temporal",
        title="Global-temporal split",
        verdict="This audit does not apply: the dataset has no times.",
        outcome=NOT_APPLICABLE,
        explanation="Beside leave-one-out every recommender is tested on what comes after one common moment.",
        facts={"applies": 0},
    )


def all_audits() -> tuple[Audit, ...]:
    return (duplicates(), ties(), leakage(), shortcuts(), calibration(), temporal())


_SLICES = {
    "history length": ("1", "2 to 4", "5 to 9", "10 to 19", "20 to 49", "50 or more"),
    "target popularity": ("head", "middle", "tail"),
    "target in training": ("seen", "unseen"),
    "time since the last interaction": (
        "same moment",
        "up to 1 day",
        "1 to 7 days",
        "7 to 30 days",
        "more than 30 days",
    ),
    "repeated target": ("new", "already in the history"),
}


def slices(rows: tuple[LeaderboardRow, ...]) -> tuple[SliceRow, ...]:
    found = []
    for name, buckets in _SLICES.items():
        for place, bucket in enumerate(buckets, start=1):
            users = 3000 // place**2
            for row in rows:
                value = row["ndcg@10"] * (1.4 - 0.2 * place)
                reach = 0.2 / users**0.5
                estimate = Estimate(value, max(0.0, value - reach), value + reach) if users > 1 else Estimate(value)
                found.append(SliceRow(name, bucket, place, users, row.recommender, estimate, 1.8 * value))
    return tuple(found)


def list_metrics(rows: tuple[LeaderboardRow, ...]) -> dict[str, dict[str, float | None]]:
    names = ("coverage", "gini", "popularity", "popularity_percentile", "novelty", "text_diversity", "personalisation")
    return {
        row.recommender: {
            **{f"{name}@10": (0.9 - 0.02 * number) / (1 + 0.1 * place) for number, name in enumerate(names)},
            "category_diversity@10": None if place else 0.4,
            "category_diversity_left_out@10": 0.1,
        }
        for place, row in enumerate(rows)
    }
