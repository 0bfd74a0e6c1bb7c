"""What the evaluation hands to a report: the leaderboard and the slices, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ml.evaluation.leaderboard import BETTER, NOT_DIFFERENT, WORSE


@dataclass(frozen=True)
class Estimate:
    """A mean over users, or a difference of two, and its interval, whose bounds are ``None`` where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LeaderboardRow:
    """One recommender's metrics on the test users.

    Attributes:
        recommender: name in files and tables.
        title: name shown to readers.
        trained: whether it is a trained model; ``False`` for a training-free baseline.
        metrics: mean by metric name (``ndcg@10``, ``recall@20``, ...).
        difference: paired difference of the headline metric, this recommender less the reference, over the
            same users, with an interval that agrees with the corrected test; ``None`` for the reference itself or
            where it was not computed.
        difference_confidence: of its interval, at least .95.
        finding: ``better``, ``worse`` or ``not significantly different`` from the reference, as the leaderboard
            decided it after correction for the number of comparisons; empty where nothing decided it.
        verdict: the same as a sentence.
        beats: names of all recommenders that it is better than, each pair tested and corrected for all pairs.
        p_value: of the paired test against the reference, by itself.
        p_value_adjusted: the same, corrected for all comparisons of the leaderboard.
        note: what it is in a few words (loss, size, ...).
        seed: it was fitted or draws with; the first of several.
        seeds: how many it was fitted with; metrics are means over them.
        seed_deviation: standard deviation of the headline metric over the seeds; ``None`` with one.
        cut_tied: share of the users for whom equal scores stand at ranks 10 and 11, so that the rule for equal
            scores chose the last of the ten.
        fit_on: the splits that its final fit saw.
        loss: objective as recipes name it, empty where there is none.
        parameters: trained numbers, where it has any.
        model_bytes: size of what is kept of it on disk.
        fused: whether it is made of the lists of other rows; ``trained`` is true of it too.
    """

    recommender: str
    title: str
    trained: bool
    metrics: Mapping[str, Estimate]
    difference: Estimate | None = None
    difference_confidence: float | None = None
    finding: str = ""
    verdict: str = ""
    beats: tuple[str, ...] = ()
    p_value: float | None = None
    p_value_adjusted: float | None = None
    note: str = ""
    seed: int = 0
    seeds: int = 1
    seed_deviation: float | None = None
    cut_tied: float | None = None
    fit_on: str = "train"
    loss: str = ""
    parameters: int | None = None
    model_bytes: int | None = None
    fused: bool = False

    def __post_init__(self) -> None:
        if self.finding not in ("", BETTER, WORSE, NOT_DIFFERENT):
            raise ValueError(f"a finding is {BETTER}, {WORSE} or {NOT_DIFFERENT}, not {self.finding!r}")


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
    def reference(self) -> LeaderboardRow | None:
        """The best training-free baseline, which every other row is compared with."""
        return next((row for row in self.rows if not row.trained), None)

    @property
    def best_trained(self) -> LeaderboardRow | None:
        """The best model that was trained itself, so that is no fusion."""
        return next((row for row in self.rows if row.trained and not row.fused), None)

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
