"""What the evaluation hands to a report: the leaderboard and the slices, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml.evaluation.columns import HIGH, LOW
from ml.evaluation.findings import BETTER, NOT_DIFFERENT, WORSE
from ml.evaluation.metrics import HEADLINE, METRICS
from ml.recommender import ALIGNMENT, BASELINE, FUSION, LANGUAGE_MODEL, MODEL, RERANKING


@dataclass(frozen=True)
class Estimate:
    """A mean over users, or a difference of two, and its interval, whose bounds are ``None`` where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LeaderboardRow:
    """One row of the leaderboard, and what a report derives from it.

    ``row["seeds"]`` is the value of a column of :data:`ml.evaluation.columns.LEADERBOARD`, ``None`` where
    it is missing.

    Attributes:
        values: by name of the column.
        note: what tells the recommender from others in a few words (loss, splits of the fit, seed); may be empty.

    Raises:
        ValueError: the finding is none that the leaderboard makes.
    """

    values: Mapping[str, Any]
    note: str = ""

    def __post_init__(self) -> None:
        if self["finding"] not in (None, BETTER, WORSE, NOT_DIFFERENT):
            raise ValueError(f"a finding is {BETTER}, {WORSE} or {NOT_DIFFERENT}, not {self['finding']!r}")

    def __getitem__(self, column: str) -> Any:
        return self.values.get(column)

    @property
    def recommender(self) -> str:
        """Its name in files and tables."""
        return self.values["recommender"]

    @property
    def title(self) -> str:
        """Its name for readers."""
        return self.values["title"]

    @property
    def trained(self) -> bool:
        """Whether it is a trained model, a fusion or a re-ranking; ``False`` for a training-free baseline."""
        return self.values["kind"] != BASELINE

    @property
    def fused(self) -> bool:
        """Whether it combines the lists of other recommenders; ``trained`` is true of it too."""
        return self.values["kind"] == FUSION

    @property
    def reranked(self) -> bool:
        """Whether it re-ranks the lists of another recommender; ``trained`` is true of it too."""
        return self.values["kind"] == RERANKING

    @property
    def aligned(self) -> bool:
        """Whether it is a trained model that was aligned with a goal; ``trained`` is true of it too."""
        return self.values["kind"] == ALIGNMENT

    @property
    def of_language_model(self) -> bool:
        """Whether a language model makes its lists; ``trained`` is true of it too."""
        return self.values["kind"] == LANGUAGE_MODEL

    @property
    def is_model(self) -> bool:
        """Whether it was trained itself, and not made of the lists of others."""
        return self.values["kind"] == MODEL

    @property
    def headline(self) -> Estimate:
        """The mean of nDCG@10 and its interval."""
        return Estimate(self.values[HEADLINE], self[LOW], self[HIGH])

    @property
    def metrics(self) -> dict[str, float]:
        """The mean of every metric that was computed, by name."""
        return {metric: self.values[metric] for metric in METRICS if self[metric] is not None}

    @property
    def difference(self) -> Estimate | None:
        """The paired difference of nDCG@10 from the reference; ``None`` for the reference itself."""
        if self["difference"] is None:
            return None
        return Estimate(self["difference"], self["difference_low"], self["difference_high"])

    @property
    def beats(self) -> tuple[str, ...]:
        """Names of the recommenders that it is significantly better than."""
        return tuple(name for name in (self["beats"] or "").split(", ") if name)


@dataclass(frozen=True)
class Described:
    """What a recommender is.

    Attributes:
        title: name shown to readers.
        text: how it ranks, in a sentence or two; empty where that is not known.
        source: where it comes from; may be empty.
        settings: what decides its weights beside data, codes and seed, and the seed, by name; none for a baseline.
    """

    title: str
    text: str
    source: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaderboard:
    """All recommenders, best first, under one protocol.

    Attributes:
        rows: in falling order of the headline metric.
        test_users: users every metric is a mean over.
        catalogue: items that were ranked for each of them.
        protocol: label and value of every choice that the numbers depend on, in the order to print them.
    """

    rows: tuple[LeaderboardRow, ...]
    test_users: int
    catalogue: int
    protocol: tuple[tuple[str, str], ...] = ()

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of the leaderboard; ``None`` where it has no row to tell."""
        return tuple(self.rows[0].values) if self.rows else None

    @property
    def reference(self) -> LeaderboardRow | None:
        """The best training-free baseline, which every other row is compared with."""
        return next((row for row in self.rows if not row.trained), None)

    @property
    def best_trained(self) -> LeaderboardRow | None:
        """The best model that was trained itself, so neither a fusion nor a re-ranking."""
        return next((row for row in self.rows if row.is_model), None)

    @property
    def best_fused(self) -> LeaderboardRow | None:
        """The best fusion of the lists of other rows."""
        return next((row for row in self.rows if row.fused), None)


@dataclass(frozen=True)
class SliceRow:
    """One recommender on the test users of one bucket of a slice.

    Attributes:
        slice: the property that users are grouped by (``history length``).
        bucket: the users of this row (``5 to 9``).
        place: order of the buckets of a slice.
        users: how many they are.
        recommender: name in files and tables.
        headline: mean of the headline metric over them.
        recall: mean recall@10 over them.
    """

    slice: str
    bucket: str
    place: int
    users: int
    recommender: str
    headline: Estimate
    recall: float
