"""All recommenders side by side, under one protocol.

The leaderboard is a table that equal input makes equal, byte for byte: nothing in it depends on the clock.
Seconds, where known, are handed to the functions that print it.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import CONFIDENCE, RESAMPLES, Interval, bootstrap_interval
from ml.evaluation.metrics import HEADLINE, METRICS, mean_metrics
from ml.evaluation.rankings import RankingError, facts

BASELINE = "baseline"
MODEL = "model"
FUSION = "fusion"
_PROTOCOL = b"protocol"
# columns of the printed tables, as far as they were computed
_PRINTED = ("recall@10", "mrr@10", "recall@1", "recall@20")


@dataclass(frozen=True)
class Entry:
    """What the leaderboard is told of one recommender.

    Attributes:
        title: name shown to readers.
        kind: ``baseline`` (training-free), ``model``, or ``fusion`` of the lists of several of these.
        user_metrics: of :func:`ml.evaluation.metrics.user_metrics`.
        fit_on: the splits that its final fit saw.
        loss: objective by name, empty for a baseline.
        parameters: trained numbers, where it has any.
        model_bytes: size of what ``save`` writes; of a fusion with that of its parts.
        codes: name of the code assignment that it is built on, empty for none.
    """

    title: str
    kind: str
    user_metrics: pa.Table
    fit_on: str = "train"
    loss: str = ""
    parameters: int | None = None
    model_bytes: int | None = None
    codes: str = ""

    def __post_init__(self) -> None:
        if self.kind not in (BASELINE, MODEL, FUSION):
            raise ValueError(f"a recommender is a {BASELINE}, a {MODEL} or a {FUSION}, not {self.kind!r}")


def build_leaderboard(entries: Sequence[Entry], training_set: TrainingSet, seed: int = 0) -> pa.Table:
    """One row a recommender, best nDCG@10 first.

    Columns: ``position`` (1-based), ``recommender``, ``title``, ``kind``; the mean of each metric;
    ``ndcg@10_low`` and ``ndcg@10_high``, a 95 % interval over users; ``reference`` (the best training-free
    recommender, which all other rows are compared with), ``difference`` in nDCG@10, ``difference_low`` and
    ``difference_high`` (paired, 95 %), ``finding`` (``better``, ``worse`` or ``not told apart``) and the same
    as a sentence, ``verdict``, all null in the row of the reference; ``users``, ``catalogue``, ``seed``,
    ``fit_on``, ``loss``, ``parameters``, ``model_bytes``. :func:`protocol` reads the protocol kept with it.

    Each comparison is made at 95 % by itself: among many, some may be found better or worse by chance.

    Args:
        entries: in any order.
        training_set: that all were fitted on and ranked for.
        seed: of the intervals.

    Raises:
        RankingError: there is nothing to compare, or the entries do not share training set, users, depth or
            the treatment of seen items, or one stands twice, or their rankings are too short for nDCG@10.
    """
    shared = _shared_facts(entries, training_set)
    rows = []
    for entry in entries:
        known = facts(entry.user_metrics)
        values = entry.user_metrics[HEADLINE].to_numpy()
        means = mean_metrics(entry.user_metrics)
        interval = bootstrap_interval(values, seed)
        rows.append((entry, known, values, means, interval))
    rows.sort(key=lambda row: (-row[3][HEADLINE], -row[3]["recall@10"], row[1]["recommender"], row[1]["seed"]))
    reference = next((row for row in rows if row[0].kind == BASELINE), None)

    table: list[dict] = []
    for position, row in enumerate(rows, start=1):
        entry, known, values, means, interval = row
        difference = None
        if reference is not None and row is not reference:
            difference = bootstrap_interval(values - reference[2], seed)
        table.append(
            {
                "position": position,
                "recommender": known["recommender"],
                "title": entry.title,
                "kind": entry.kind,
                **means,
                f"{HEADLINE}_low": interval.low,
                f"{HEADLINE}_high": interval.high,
                "reference": reference[1]["recommender"] if difference else None,
                "difference": difference.mean if difference else None,
                "difference_low": difference.low if difference else None,
                "difference_high": difference.high if difference else None,
                "finding": _finding(difference) if difference else None,
                "verdict": _verdict(difference, reference[0].title) if difference else None,
                "users": len(values),
                "catalogue": training_set.items,
                "seed": known["seed"],
                "fit_on": entry.fit_on,
                "loss": entry.loss or None,
                "parameters": entry.parameters,
                "model_bytes": entry.model_bytes,
            }
        )
    choices = _protocol(training_set, shared, rows)
    return pa.Table.from_pylist(table, _schema(shared["depth"], choices))


def protocol(leaderboard: pa.Table) -> dict[str, str]:
    """Every choice that the numbers depend on: label and value, in the order to print them."""
    return json.loads((leaderboard.schema.metadata or {})[_PROTOCOL])


def protocol_line(leaderboard: pa.Table) -> str:
    """The protocol as one line of text."""
    return "; ".join(f"{label}: {value}" for label, value in protocol(leaderboard).items())


def _schema(depth: int, choices: Mapping[str, str]) -> pa.Schema:
    texts = ("recommender", "title", "kind")
    metrics = [metric for metric in METRICS if int(metric.split("@")[1]) <= depth]
    intervals = [f"{HEADLINE}_low", f"{HEADLINE}_high"]
    differences = ["difference", "difference_low", "difference_high"]
    return pa.schema(
        [
            ("position", pa.int16()),
            *((name, pa.string()) for name in texts),
            *((name, pa.float64()) for name in metrics + intervals),
            ("reference", pa.string()),
            *((name, pa.float64()) for name in differences),
            ("finding", pa.string()),
            ("verdict", pa.string()),
            ("users", pa.int64()),
            ("catalogue", pa.int64()),
            ("seed", pa.int32()),
            ("fit_on", pa.string()),
            ("loss", pa.string()),
            ("parameters", pa.int64()),
            ("model_bytes", pa.int64()),
        ],
        metadata={_PROTOCOL: json.dumps(choices).encode()},
    )


def _shared_facts(entries: Sequence[Entry], training_set: TrainingSet) -> dict:
    """What all entries have in common, once it is sure that they do."""
    if not entries:
        raise RankingError("there is no recommender to make a leaderboard of")
    known = [facts(entry.user_metrics) for entry in entries]
    digest = training_set.digest()
    for one in known:
        if one["training_set"] != digest:
            raise RankingError(
                f"{one['recommender']} was evaluated on another training set ({one['dataset']}) than "
                f"{training_set.dataset}: rank it again"
            )
    for name in ("depth", "exclude_seen"):
        if len({one[name] for one in known}) > 1:
            said = ", ".join(f"{one['recommender']} {one[name]}" for one in known)
            raise RankingError(f"recommenders can only be compared at one {name} ({said}): rank again")
    names = [(one["recommender"], one["seed"]) for one in known]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RankingError(f"{twice[0][0]} with seed {twice[0][1]} stands twice among the recommenders")
    users = entries[0].user_metrics["user_index"]
    for entry, one in zip(entries, known, strict=True):
        if not entry.user_metrics["user_index"].equals(users):
            raise RankingError(f"{one['recommender']} was evaluated on other users than the rest: evaluate again")
    if HEADLINE not in entries[0].user_metrics.schema.names:
        raise RankingError(f"rankings of depth {known[0]['depth']} are too short for {HEADLINE}: rank 10 or more")
    return known[0]


def _finding(difference: Interval) -> str:
    if difference.holds_zero:
        return "not told apart"
    return "better" if difference.mean > 0 else "worse"


def _verdict(difference: Interval, reference: str) -> str:
    bounds = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
    if difference.holds_zero:
        return f"not told apart from {reference}: difference {difference.mean:+.4f}, {bounds}"
    return f"{_finding(difference)} than {reference} by {abs(difference.mean):.4f} ({bounds})"


def _protocol(training_set: TrainingSet, shared: Mapping, rows: Sequence[tuple]) -> dict[str, str]:
    choices = {_label(name): _value(name, value) for name, value in training_set.protocol.items()}
    choices |= {
        "test users": f"{len(training_set.test_users):,}",
        "validation users": f"{len(training_set.validation_users):,}",
        "ranked": f"the whole catalogue, {training_set.items:,} items",
        "seen items": "excluded" if shared["exclude_seen"] else "not excluded",
        "equal scores": "by one seeded permutation of the items",
        "fit on": "; ".join(sorted({row[0].fit_on for row in rows})),
        "seeds": ", ".join(str(seed) for seed in sorted({row[1]["seed"] for row in rows})),
    }
    codes = sorted({row[0].codes for row in rows} - {""})
    if codes:
        choices["codes"] = f"{', '.join(codes)}, assigned on train"
    losses = sorted(f"{row[0].title} ({row[0].loss})" for row in rows if row[0].loss)
    if losses:
        choices["losses"] = ", ".join(dict.fromkeys(losses))
    choices["intervals"] = f"{100 * CONFIDENCE:.0f} % bootstrap over users, {RESAMPLES:,} resamples"
    return choices


def _label(name: str) -> str:
    return {"k_core": "k-core", "tie_order": "order of ties in time"}.get(name, name.replace("_", " "))


def _value(name: str, value: object) -> str:
    if name == "k_core" and value == 0:
        return "none"
    if name == "validation_users" and value == 0:
        return "all"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def to_text_table(leaderboard: pa.Table, seconds: Mapping[str, float] | None = None) -> str:
    """The leaderboard as aligned text for a terminal, and the protocol below it.

    Args:
        leaderboard: of :func:`build_leaderboard`.
        seconds: time of fitting by name of recommender, for one more column.
    """
    header, rows, right = _cells(leaderboard, seconds)
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  ".join(aligned).rstrip()

    lines = [line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)]
    below = textwrap.wrap(f"Protocol: {protocol_line(leaderboard)}.", width=max(80, len(lines[1])))
    return "\n".join([*lines, "", *below, ""])


def _cells(leaderboard: pa.Table, seconds: Mapping[str, float] | None) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, rows, and which columns are aligned to the right."""
    metrics = [metric for metric in _PRINTED if metric in leaderboard.schema.names]
    header = ["#", "Recommender", "Kind", "nDCG@10", "95 % interval"]
    header += [metric.replace("recall", "Recall").replace("mrr", "MRR") for metric in metrics]
    header.append("Against best baseline")
    right = [True, False, False, True, False, *(True for _ in metrics), False]
    records = leaderboard.to_pylist()
    several = {record["seed"] for record in records if record["kind"] == MODEL}
    rows = []
    for record in records:
        title = record["title"]
        if len(several) > 1 and record["kind"] == MODEL:
            title = f"{title}, seed {record['seed']}"
        row = [str(record["position"]), title, record["kind"], f"{record[HEADLINE]:.4f}"]
        row.append(f"{record[f'{HEADLINE}_low']:.4f} to {record[f'{HEADLINE}_high']:.4f}")
        row += [f"{record[metric]:.4f}" for metric in metrics]
        row.append(_against(record))
        rows.append(row)
    if seconds is not None:
        header.append("Fit, s")
        right.append(True)
        for record, row in zip(records, rows, strict=True):
            taken = seconds.get(record["recommender"])
            row.append("" if taken is None else f"{taken:.1f}")
    return header, rows, right


def _against(record: Mapping) -> str:
    if record["difference"] is None:
        return "best baseline" if record["kind"] == BASELINE else ""
    return f"{record['difference']:+.4f}, {record['finding']}"
