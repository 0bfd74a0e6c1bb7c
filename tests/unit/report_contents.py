"""Made-up report contents, and a made-up lake folder that one can be collected from."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import report_audits

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.evaluation.columns import LEADERBOARD, columns, schema_of
from ml.evaluation.entry import Entry
from ml.evaluation.intervals import Interval
from ml.evaluation.leaderboard import build_leaderboard
from ml.evaluation.metrics import METRICS, user_metrics
from ml.evaluation.protocol_line import choices_as_metadata
from ml.evaluation.rankings import rank, write_table
from ml.evaluation.trade_offs.content import (
    Bought,
    ExampleLists,
    HypervolumeDifference,
    ListsOfUser,
    Point,
    Reference,
    SeriesResult,
    TradeOffs,
)
from ml.recommender import Recommendations
from ml.recommenders.answer_facts import AnswerFacts, Bounded
from ml.release.over_time import Figure, Standing
from ml.release.progress import Result
from ml.reports.content.answers import Answers
from ml.reports.content.beyond_accuracy import BeforeAndAfter, BeyondAccuracy, ListedItem
from ml.reports.content.generation import BeamWidth, Generation, TupleFigures
from ml.reports.content.report import (
    CategoryAgreement,
    Check,
    CodeBook,
    CodeLevel,
    CodesReport,
    Described,
    DumpFile,
    Example,
    ExampleItem,
    Examples,
    Funnel,
    FunnelStep,
    Leaderboard,
    LeaderboardRow,
    Provenance,
    RejectedLine,
    ReportContent,
    RunFacts,
    TrainingCurve,
)
from ml.reports.render.write import write_report


def row(name: str, trained: bool, ndcg: float, difference: float | None = None, **changes: Any) -> LeaderboardRow:
    """A row whose headline has an interval of ± .004, and whose difference, where it has one, of ± .002.

    A difference beyond that is a finding, with the p-values of one. ``changes`` are values of columns, ``note``, and
    ``fused`` for a fusion.
    """
    left_out = {*METRICS} - {"ndcg@10", "recall@10", "mrr@10"}
    values: dict[str, Any] = dict.fromkeys(column.name for column in LEADERBOARD if column.name not in left_out)
    values |= {"recommender": name, "title": name.capitalize(), "kind": "model" if trained else "baseline"}
    values |= {"ndcg@10": ndcg, "ndcg@10_low": ndcg - 0.004, "ndcg@10_high": ndcg + 0.004}
    values |= {"recall@10": 2 * ndcg, "mrr@10": ndcg / 2, "beats": "", "seed": 0, "seeds": 1, "fit_on": "train"}
    if difference is not None:
        differs = abs(difference) > 0.002
        finding = ("better" if difference > 0 else "worse") if differs else "not significantly different"
        values |= {"finding": finding, "p_value": 0.004 if differs else 0.2, "difference_confidence": 0.95}
        values |= {"p_value_adjusted": 3 * values["p_value"], "difference": difference}
        values |= {"difference_low": difference - 0.002, "difference_high": difference + 0.002}
    note = changes.pop("note", "")
    if changes.pop("fused", False):
        values["kind"] = "fusion"
    return LeaderboardRow(values | changes, note)


def changed(one: LeaderboardRow, **changes: Any) -> LeaderboardRow:
    """The row with other values."""
    return dataclasses.replace(one, values={**one.values, **changes})


def board(*rows: LeaderboardRow, test_users: int = 4000) -> Leaderboard:
    """Rows in the order given, as ranks 1, 2, ..."""
    reference = next((one.recommender for one in rows if not one.trained), None)
    whole = {"users": test_users, "catalogue": 700}
    placed = (
        changed(one, **whole, position=place, reference=reference if one.difference else None)
        for place, one in enumerate(rows, start=1)
    )
    return Leaderboard(tuple(placed), test_users, 700, (("split", "leave-one-out"), ("k-core", "5")))


def write_leaderboard(found: Leaderboard, path: Path) -> Path:
    """The Parquet file that the rows could have been read from."""
    schema = schema_of(columns(found.columns)).with_metadata(choices_as_metadata(dict(found.protocol)))
    pq.write_table(pa.Table.from_pylist([dict(one.values) for one in found.rows], schema), path)
    return path


def write_made_up_report(content: ReportContent, folder: Path, run: RunFacts | None = None) -> None:
    """Every file of a report, of a leaderboard that holds the rows of the content."""
    with tempfile.TemporaryDirectory() as elsewhere:
        leaderboard = write_leaderboard(content.leaderboard, Path(elsewhere) / "leaderboard.parquet")
        write_report(content, folder, leaderboard, run)


_WIDTHS = (BeamWidth(10, 0.4, 0.9, 0.058), BeamWidth(50, 0.94, 0.99, 0.06), BeamWidth(400, 1.0, 1.0, 0.06))


def _around(value: float, reach: float) -> Interval:
    return Interval(value, value - reach, value + reach)


def trade_offs() -> TradeOffs:
    """A re-ranking and an alignment for diversity, and a re-ranking for popularity; one goal was not to be had."""
    goal, far = "category_diversity", "popularity"

    def series(name: str, title: str, kind: str, goal: str, area: float, **changes: Any) -> SeriesResult:
        rising = goal != far
        points = tuple(
            Point(
                tradeoff,
                _around(0.06 - 0.02 * place, 0.004),
                _around((0.4 + 0.2 * place) if rising else (0.9 - 0.2 * place), 0.01),
                0.9 - 0.1 * place,
                0.2 + 0.1 * place,
                on_front=place != 1,
                chosen=place == 1,
            )
            for place, tradeoff in enumerate((0.0, 0.5, 1.0))
        )
        gain = 0.2 if rising else -0.2
        bought = Bought(1, 0.5, 0.041, _around(0.333, 0.05), _around(gain, 0.01), _around(gain / 0.4, 0.02))
        one = SeriesResult(name, title, kind, goal, "Tower", "tradeoff", 1, points, _around(area, 0.001), bought)
        return dataclasses.replace(one, **changes)

    aligned = {"start": "Student", "parameter": "weight", "seeds": 3, "bought": None}
    return TradeOffs(
        users=4000,
        validation_users=512,
        series=(
            series("mmr", "MMR of Tower", "re-ranking", goal, 0.012),
            series("ppo", "PPO of Student", "aligned policies", goal, 0.015, **aligned),
            series("greedy", "Greedy of Tower", "re-ranking", far, 0.011),
        ),
        references=(Reference(goal, 0.0, 0.4), Reference(far, 0.0, 0.9)),
        differences=(HypervolumeDifference(goal, "ppo", "mmr", _around(0.003, 0.001), 0.004, 0.004),),
        left_out=("the items of Made_Up have no text, so the goal text_diversity cannot be measured; choose another",),
        examples=ExampleLists("PPO of Student", goal, "Student", "weight", 0.5, (ListsOfUser(1, (2, 1), (1, 0)),)),
    )


def answer_facts() -> AnswerFacts:
    """Of a model that likes what it is shown early, and says nonsense now and then."""
    return AnswerFacts(
        of="small",
        model="tiny-instruct",
        prompt="recency",
        candidates=4,
        shuffles=3,
        cases=4000,
        asked=150,
        behind_budget=12,
        questions=450,
        shown=1800,
        valid=1750,
        missing=50,
        hallucinated=7,
        wrong_numbers=2,
        repeated=1,
        unusable=0,
        tokens_read=120_000,
        tokens_written=9_000,
        tokens_counted=True,
        cost=0.42,
        position=Bounded(0.31, 0.25, 0.37, 150),
        rank_by_place=(1.8, 2.3, 2.8, 3.1),
        popularity=Bounded(0.2, 0.1, 0.3, 140),
        popularity_of_part=Bounded(0.25, 0.15, 0.35, 140),
        popularity_difference=Bounded(-0.05, -0.12, 0.02, 140),
        first=Bounded(0.6, 0.55, 0.65, 150),
        first_of_part=Bounded(0.62, 0.57, 0.67, 150),
        first_of_targets=Bounded(0.5, 0.3, 0.7, 20),
        ndcg=0.0512,
        ndcg_of_part=0.0498,
        ndcg_difference=Bounded(0.0014, -0.0021, 0.0049, 150),
        p_value=0.43,
    )


AHEAD = Result(
    release="2d" * 16,
    title="Chain",
    interactions=120,
    lost=0,
    late=1,
    new_users=9,
    users=80,
    new_items=4,
    ndcg=0.041,
    ndcg_low=0.03,
    ndcg_high=0.052,
    recall=0.08,
    popular_ndcg=0.012,
    difference_low=0.018,
    difference_high=0.04,
)


def over_time() -> tuple[Standing, ...]:
    """A first release, other data whose candidate is refused, and another core."""
    first = Standing(
        leaderboard="1c" * 16,
        training_set="1a" * 6,
        code="0.2.0",
        interactions=800,
        users=140,
        recommenders=4,
        best=Figure("Chain", 0.048, 0.041, 0.056),
        in_charge=Figure("Chain", 0.048, 0.041, 0.056),
        release="2d" * 16,
        verdict="promote",
        protocol={"split": "leave-one-out", "k-core": "5"},
    )
    second = dataclasses.replace(
        first,
        leaderboard="3c" * 16,
        training_set="3a" * 6,
        interactions=900,
        users=150,
        best=Figure("Tower", 0.051, 0.044, 0.059),
        in_charge=Figure("Chain", 0.047, 0.04, 0.055),
        verdict="refuse",
    )
    third = dataclasses.replace(
        second,
        leaderboard="4c" * 16,
        training_set="4a" * 6,
        code="0.3.0",
        interactions=950,
        best=Figure("Tower", 0.06, 0.052, 0.068),
        in_charge=Figure("Tower", 0.06, 0.052, 0.068),
        release="5d" * 16,
        verdict="promote",
        protocol={"split": "leave-one-out", "k-core": "3"},
    )
    return first, second, third


def made_up_content() -> ReportContent:
    """A report with something in every section."""
    item = ExampleItem("B01", "Blue pens, 12 pack")
    unknown = ExampleItem("B02")
    target = ExampleItem("B03", "Paper, A4", is_target=True, in_history=True)
    tower = {"note": "sampled softmax", "parameters": 1_200_000, "model_bytes": 4_800_000, "cut_tied": 0.0}
    rows = (
        row("tower", True, 0.06, 0.01, seeds=3, seed_deviation=0.0008, loss="sampled softmax", **tower),
        row("chain", False, 0.05, cut_tied=0.21),
        row("small", True, 0.049, -0.001, note="binary cross-entropy", parameters=90_000),
        row("popular", False, 0.01, -0.04),
    )
    return ReportContent(
        dataset="Made_Up",
        leaderboard=board(*rows),
        recommenders=(
            Described("Tower", "Two towers.", "A paper, 2020", {"model": "tower", "optimiser: learning rate": "0.001"}),
            Described("Chain", "What followed the last item.", ""),
        ),
        list_metrics=report_audits.list_metrics(rows),
        slices=report_audits.slices(rows),
        audits=report_audits.all_audits(),
        funnels=(
            Funnel(
                "reviews",
                "line",
                (
                    FunnelStep("Rows read", 1000, "stage"),
                    FunnelStep("rejected: malformed JSON", 3, "removed"),
                    FunnelStep("duplicates", 97, "removed"),
                    FunnelStep("byte-identical", 90, "of which"),
                    FunnelStep("Interactions kept", 900, "stage"),
                    FunnelStep("training", 700, "part"),
                    FunnelStep("validation", 50, "part"),
                    FunnelStep("test", 150, "part"),
                ),
            ),
        ),
        over_time=over_time(),
        progress=(AHEAD,),
        statistics={
            "users": 150,
            "items": 700,
            "interactions": 900,
            "density": 900 / 150 / 700,
            "mean_history_length": 6.0,
            "users_with_test": 150,
            "tied_interactions": 60,
            "test_targets_tied": 1000,
            "test_targets_repeated": 200,
            "items_with_title": 100,
            "items_with_price": 0,
            "first_timestamp": 1_393_372_800,
            "tie_order": "hash",
        },
        history_lengths=((2, 5), (3, 100), (4, 40), (60, 5)),
        training=(
            TrainingCurve("Tower", "sampled softmax", (1, 2, 3), (5.0, 4.0, 3.5), (0.01, 0.05, 0.04), 2, 1_200_000),
            TrainingCurve("Small", "binary cross-entropy", (1, 2), (0.7, 0.6), (None, None), 2),
        ),
        codes=(
            CodesReport("svd", "truncated SVD", 700, (CodeBook(256, 7.9, 9), CodeBook(250, 7.5, 20)), 4, 2),
            CodesReport(
                "text",
                "residual k-means",
                700,
                (CodeBook(16, 3.5, 90, 16, 0.707), CodeBook(60, 5.7, 20, 64, 0.812)),
                0,
                1,
                3,
                collided_before=41,
                without_vector=2,
                levels=(
                    CodeLevel(16, 16.0, 16, 0.2134, 0.0611, (9, 14, 16)),
                    CodeLevel(700, 43.75, 90, None, None, (20, 180, 500)),
                ),
                category=CategoryAgreement(0.61, 0.25, 0.374),
            ),
        ),
        generation=(
            Generation(
                "Tower", "svd", 2, 50, 0, 150, 141, 12, 1, TupleFigures(4, 0.06, 0.0613, 0.12, 0.125), 150, _WIDTHS
            ),
            Generation("Small", "text", 2, 0, 100),
        ),
        beyond_accuracy=BeyondAccuracy(
            trade_offs(),
            (
                BeforeAndAfter(
                    "u1",
                    (ListedItem("B01", "Blue pens, 12 pack", "Pens|Office"), ListedItem("B02")),
                    (ListedItem("B03", "Paper, A4", "Paper"), ListedItem("B01", "Blue pens, 12 pack", "Pens|Office")),
                ),
            ),
        ),
        answers=(Answers("Small, re-ranked", "Small", answer_facts()),),
        rejected=(RejectedLine("Made_Up.json.gz", 17, "malformed JSON", "unexpected end", '{"asin": "B0'),),
        checks=(
            Check("no_missing_ids", "staging/reviews", True),
            Check("some_prices", "marts/items", False, "warning", "0 of 700 items have a price"),
        ),
        examples=Examples(
            "Tower",
            "Users at even steps.",
            (
                Example("U1", 9, (item, unknown), target, (unknown, target, item), 2, 20),
                Example("U2", 2, (item, unknown), target, (unknown, item), None, 20),
            ),
        ),
        provenance=Provenance(
            files=(
                DumpFile(
                    *("reviews", "Made_Up.json.gz", 123_456, "ab" * 32, 1000, 3, 97, 0, 900, "table"),
                    reading=("columns: user = reviewerID, item = asin", "times: seconds", 'separator: ","'),
                ),
            ),
            data_versions={"marts/interactions": "cd" * 16},
            settings={"k core": "5"},
            versions={"numpy": "2.4.6"},
            code_version="0.1.0",
            command="make run DATASET=Made_Up",
        ),
    )


def made_up_run() -> RunFacts:
    return RunFacts(
        finished="2024-05-01T10:00:00+00:00",
        made_by={"Dagster run": "0f" * 8},
        machine={"processor": "abacus, 2 cores"},
        fit_seconds={"tower": 130.0, "small": 12.0},
        other_seconds={"ranking": 0.5},
        over_time=tuple((f"2024-0{month}-15T03:00:00+00:00", f"0{month}" * 16) for month in (3, 4, 5)),
    )


def with_texts(content: Any, change: Callable[[str], str]) -> Any:
    """The same content with every free text changed; words of a fixed vocabulary and empty texts stay."""
    fixed = {"role", "severity", "finding", "outcome", "kind", "family", "part"}
    if isinstance(content, str):
        return change(content) if content else content
    if isinstance(content, tuple):
        return tuple(with_texts(part, change) for part in content)
    if isinstance(content, Mapping):
        # names of metrics and statistics are the project's own
        own = any(name in content for name in ("ndcg@10", "users", "coverage@10"))
        return {
            name if own else with_texts(name, change): value if name in fixed else with_texts(value, change)
            for name, value in content.items()
        }
    if dataclasses.is_dataclass(content):
        names = [field.name for field in dataclasses.fields(content) if field.name not in fixed]
        return dataclasses.replace(content, **{name: with_texts(getattr(content, name), change) for name in names})
    return content


class _InOrder:
    """Ranks items by index, starting from a given one."""

    def __init__(self, first: int, items: int) -> None:
        self.order = (np.arange(items, dtype=np.int32) + first) % items

    def recommend(self, histories: Sequences, k: int, exclude_seen: bool) -> Recommendations:
        items = np.tile(self.order[:k], (len(histories), 1))
        return Recommendations(items, np.tile(-np.arange(k, dtype=np.float32), (len(histories), 1)))


def made_up_reading(with_warning: bool) -> dict:
    """What landing writes down of how a file was read."""
    return {
        "file_position": 1,
        "layout": "table",
        "ordered_by": "position",
        "columns_used": '{"user": "visitor", "item": "sku"}',
        "unused_columns": ["event_time"],
        "separator": "\t",
        "time_unit": None,
        "reading_warnings": "no column of times was found; event_time looks like one" if with_warning else None,
    }


def write_made_up_lake(lake: Path) -> TrainingSet:
    """A lake folder as the assets leave it: 6 users with 4 interactions each, 22 items, one model, one baseline.

    The dump has 40 lines: 4 rejected, 5 duplicates (3 byte-identical), 7 outside the 2-core, 24 kept. Users u0
    to u2 have their last two interactions on one day; the target of u3 is in their history already.
    """
    items, users = 22, 6
    histories = [[u, u + 1, u + 2, u + 3] for u in range(users)]
    histories[3][3] = 4
    interactions = [
        {"user_id": f"u{u}", "position": p, "item_id": f"i{item:02d}", "timestamp": 1000 * (p - (u < 3 and p == 3))}
        for u, history in enumerate(histories)
        for p, item in enumerate(history)
    ]
    splits = [
        {**one, "split": "test" if one["position"] == 3 else "validation" if _second_last(one) else "train"}
        for one in interactions
    ]
    # every user and item of the catalogue needs an identity; the items beyond the histories have no interaction
    training_set = TrainingSet(
        dataset="Made_Up",
        item_ids=np.array([f"i{item:02d}" for item in range(items)], dtype="S3"),
        user_ids=np.array([f"u{u}" for u in range(users)], dtype="S2"),
        train=Sequences.from_lists([history[: 2 if u < 2 else 3] for u, history in enumerate(histories)]),
        validation_users=np.array([0, 1], dtype=np.int32),
        validation_targets=np.array([histories[0][2], histories[1][2]], dtype=np.int32),
        test_users=np.arange(users, dtype=np.int32),
        test_targets=np.array([history[3] for history in histories], dtype=np.int32),
        protocol={"split": "leave-one-out", "k_core": 2},
    )
    for folder in ("training_sets/sequences", "marts", "evaluation", "settings", "codes/svd", "models/tower"):
        (lake / folder).mkdir(parents=True)
    training_set.save(lake / "training_sets" / "sequences")
    _write_marts(lake / "marts", splits, items)
    _write_landing(lake / "landing")
    entries = []
    for name, first, kind in (("tower", 3, "model"), ("popular", 12, "baseline")):
        rankings = rank(_InOrder(first, items), training_set, name, seed=0)
        write_table(rankings, lake / "rankings" / f"{name}.parquet")
        trained = {"loss": "sampled_softmax", "parameters": 1234} if kind == "model" else {}
        entries.append(Entry(name.capitalize(), kind, (user_metrics(rankings, training_set),), **trained))
    write_table(build_leaderboard(entries, training_set), lake / "evaluation" / "leaderboard.parquet")
    _write_evaluation(lake)
    # the last two are of a final fit, with a clock of its own
    log = [
        ("train", 1, 3.0, 0.1),
        ("train", 2, 2.0, 0.3),
        ("train", 3, 1.5, 0.3),
        ("train+validation", 1, 3.0, None),
        ("train+validation", 2, 2.0, None),
    ]
    names = ("fit_on", "epoch", "loss", "validation_ndcg_at_10")
    lines = [
        json.dumps({**dict(zip(names, entry, strict=True)), "step": entry[1], "seconds": 1.5 * entry[1]})
        for entry in log
    ]
    (lake / "models" / "tower" / "training_log.jsonl").write_text("\n".join(lines) + "\n")
    (lake / "models" / "tower" / "config.json").write_text(json.dumps({"best_epoch": 2, "recipe": {"codes": "svd"}}))
    (lake / "settings" / "dataset.json").write_text(json.dumps({"k_core": 2, "seed": 0}))
    (lake / "settings" / "comparison.json").write_text(json.dumps({"recipes": []}))
    books = [{"book": 0, "codes_used": 20, "entropy_bits": 4.2, "largest_code_items": 2}]
    quality = {"items": items, "by_book": books, "items_in_collisions": 4, "largest_collision": 2}
    described = {
        "method": {"name": "truncated SVD", "books": 1, "seed": 0},
        "report": {**quality, "items_never_seen_in_training": 13},
    }
    (lake / "codes" / "svd" / "codes.json").write_text(json.dumps(described))
    return training_set


def _write_evaluation(lake: Path) -> None:
    """Slices, list metrics and two audits; of a recommender that is not compared, too."""
    lists, slices = [], []
    for recommender in ("left_over", "popular", "tower"):
        lists.append({"recommender": recommender, "coverage@10": 0.5, "category_diversity@10": None})
        for place, bucket in enumerate(("2", "3"), start=1):
            found = {"slice": "history length", "bucket": bucket, "place": place, "users": 7 - 3 * place}
            found |= {"recommender": recommender, "ndcg@10": 0.1, "recall@10": 0.2}
            slices.append(found | {"ndcg@10_low": None, "ndcg@10_high": None})
    pq.write_table(pa.Table.from_pylist(lists), lake / "evaluation" / "list_metrics.parquet")
    pq.write_table(pa.Table.from_pylist(slices), lake / "evaluation" / "slices.parquet")
    (lake / "audits").mkdir()
    for audit in (report_audits.duplicates(), report_audits.ties()):
        (lake / "audits" / f"{audit.name}.json").write_text(json.dumps(audit.as_json()))


def _second_last(interaction: dict) -> bool:
    return interaction["position"] == 2 and interaction["user_id"] in ("u0", "u1")


def _write_marts(marts: Path, splits: list[dict], items: int) -> None:
    reviews = {"source": "reviews", "source_file": "Made_Up.json.gz", "rows_read": 40, "rejected": 4, "duplicates": 5}
    reviews |= {"byte_identical_duplicates": 3, "dropped_by_k_core": 7, "not_in_catalogue": 0, "kept": 24}
    metadata = {"source": "metadata", "source_file": "meta_Made_Up.json.gz", "rows_read": 9, "rejected": 0}
    metadata |= {"duplicates": 2, "byte_identical_duplicates": 2, "dropped_by_k_core": 0, "not_in_catalogue": 1}
    rules = ("time_window", "verified_only", "min_rating", "first_interaction_only", "min_history")
    none = {"repeated": 0, **{f"dropped_by_{rule}": 0 for rule in rules}, "unexplained": 0}
    reconciliation = [{**one, **none} for one in (reviews, {**metadata, "kept": 6})]
    statistics = {"users": 6, "items": items, "interactions": 24, "users_with_test": 6, "k_core": 2}
    statistics |= {"k_core_users": 2, "k_core_items": 2, "from_date": None, "until_date": None, "verified_only": False}
    statistics |= {"min_rating": 0.0, "first_interaction_only": False, "min_history": 0}
    titles = [{"item_id": f"i{item:02d}", "title": f"Item {item}" if item % 2 else None} for item in range(items)]
    tables = {
        "reconciliation": reconciliation,
        "statistics": [statistics],
        "splits": splits,
        "users": [{"user_id": f"u{u}", "interactions": 4} for u in range(6)],
        "items": titles,
    }
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), marts / f"{name}.parquet")


def _write_landing(landing: Path) -> None:
    schema = pa.schema(
        [
            ("source_file", pa.string()),
            ("line_number", pa.int64()),
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("line", pa.binary()),
        ]
    )
    reasons = ["malformed JSON"] * 3 + ["asin missing"]
    lines = [b'{"asin": ', b"\xff\x00 not text", b"x" * 5000, b"{}"]
    rejects = [
        {"source_file": "Made_Up.json.gz", "line_number": 10 + n, "reason": reason, "detail": "", "line": line}
        for n, (reason, line) in enumerate(zip(reasons, lines, strict=True))
    ]
    for source, name, rows in (("reviews", "Made_Up.json.gz", rejects), ("metadata", "meta_Made_Up.json.gz", [])):
        folder = landing / source
        (folder / "rejects").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / "rejects" / "one.parquet", row_group_size=2)
        files = [{"source_file": name, "bytes": 321, "sha256": "ef" * 32} | made_up_reading(source == "reviews")]
        pq.write_table(pa.Table.from_pylist(files), folder / "files.parquet")
