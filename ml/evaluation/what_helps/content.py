"""What the comparison of recommenders with their plain counterparts found, and the table that it is saved as."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ml.data.files import whole
from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import Interval
from ml.evaluation.rankings import write_table
from ml.evaluation.significance import Compared, SeedValues
from ml.evaluation.what_helps.comparison import Counterpart, compare, parts_of

_LEFT_OUT = b"left_out"
_TEXTS = ("recommender", "title", "family", "plain", "plain_title", "part")
_COUNTS = ("seeds", "plain_seeds", "users")
_NUMBERS = ("ndcg@10", "plain_ndcg@10", "difference")
# not known where nothing varies
_OPEN = ("difference_low", "difference_high", "confidence", "p_value", "p_value_adjusted", "detectable_difference")
COLUMNS = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in _TEXTS),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        *(pa.field(name, pa.float64(), nullable=False) for name in _NUMBERS),
        *(pa.field(name, pa.float64()) for name in _OPEN),
    ]
)


@dataclass(frozen=True)
class Gain:
    """A recommender beside its plain counterpart, on one part of the test users.

    Attributes:
        recommender: its name.
        title: for readers.
        family: what it adds.
        plain: name of the plain counterpart.
        plain_title: for readers.
        seeds: the recommender was fitted with.
        plain_seeds: the plain counterpart was fitted with.
        part: one of the names of :func:`ml.evaluation.what_helps.comparison.parts_of`.
        users: of the part.
        value: mean nDCG@10.
        plain_value: mean nDCG@10 of the plain counterpart.
        compared: the paired difference, corrected for all tests of the comparison.
        detectable: the smallest difference that a single test of these users finds in four of five cases.
    """

    recommender: str
    title: str
    family: str
    plain: str
    plain_title: str
    seeds: int
    plain_seeds: int
    part: str
    users: int
    value: float
    plain_value: float
    compared: Compared
    detectable: float


@dataclass(frozen=True)
class WhatHelps:
    """The whole comparison.

    Attributes:
        gains: by family, recommender and part.
        left_out: names of recommenders whose plain counterpart was not run, and of that.
    """

    gains: tuple[Gain, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def what_helps(
    values: Mapping[str, SeedValues],
    counterparts: Iterable[Counterpart],
    titles: Mapping[str, str],
    training_set: TrainingSet,
) -> WhatHelps:
    """Compare recommenders with their plain counterparts on the test users of a training set.

    Args:
        values: nDCG@10 of each test user by name of the recommender.
        counterparts: what to compare; those whose plain one has no values are left out.
        titles: by name of the recommender.
        training_set: that was ranked for.
    """
    asked = list(counterparts)
    compared = [one for one in asked if one.plain in values]
    differences = compare(values, compared, parts_of(training_set))
    return WhatHelps(
        tuple(
            Gain(
                recommender=one.counterpart.recommender,
                title=titles[one.counterpart.recommender],
                family=one.counterpart.family,
                plain=one.counterpart.plain,
                plain_title=titles[one.counterpart.plain],
                seeds=len(values[one.counterpart.recommender].seeds),
                plain_seeds=len(values[one.counterpart.plain].seeds),
                part=one.part,
                users=one.users,
                value=one.value,
                plain_value=one.plain_value,
                compared=one.compared,
                detectable=one.detectable,
            )
            for one in differences
        ),
        tuple((titles[one.recommender], one.plain) for one in asked if one.plain not in values),
    )


def gains_table(found: WhatHelps) -> pa.Table:
    """One row a recommender and part, columns :data:`COLUMNS`; the schema's metadata say what was left out."""
    rows = [
        {
            **{name: getattr(gain, name) for name in (*_TEXTS, *_COUNTS)},
            "ndcg@10": gain.value,
            "plain_ndcg@10": gain.plain_value,
            "difference": gain.compared.difference.mean,
            "difference_low": _known(gain.compared.difference.low),
            "difference_high": _known(gain.compared.difference.high),
            "confidence": _known(gain.compared.confidence),
            "p_value": _known(gain.compared.p_value),
            "p_value_adjusted": _known(gain.compared.p_value_adjusted),
            "detectable_difference": _known(gain.detectable),
        }
        for gain in found.gains
    ]
    left_out = json.dumps(found.left_out, ensure_ascii=False).encode()
    return pa.Table.from_pylist(rows, COLUMNS.with_metadata({_LEFT_OUT: left_out}))


def save_what_helps(found: WhatHelps, path: Path) -> None:
    """Write the table of :func:`gains_table` as Parquet, whole or not at all."""
    write_table(gains_table(found), path)


def load_what_helps(path: Path) -> WhatHelps:
    """Read what :func:`save_what_helps` wrote.

    Raises:
        DamagedFile: it is not there, or not as it was written.
    """
    with whole(path):
        table = pq.read_table(path)
        if not table.schema.equals(COLUMNS, check_metadata=False):
            raise ValueError("it has other columns")
        left_out = json.loads((table.schema.metadata or {})[_LEFT_OUT])
        return WhatHelps(tuple(map(_gain, table.to_pylist())), tuple((title, plain) for title, plain in left_out))


def _gain(row: dict) -> Gain:
    number = {name: np.nan if row[name] is None else row[name] for name in _OPEN}
    difference = Interval(row["difference"], number["difference_low"], number["difference_high"])
    return Gain(
        **{name: row[name] for name in (*_TEXTS, *_COUNTS)},
        value=row["ndcg@10"],
        plain_value=row["plain_ndcg@10"],
        compared=Compared(difference, number["confidence"], number["p_value"], number["p_value_adjusted"]),
        detectable=number["detectable_difference"],
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
