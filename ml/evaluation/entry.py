"""One recommender as a leaderboard compares it: metrics of each user under each seed, and facts of the fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml.evaluation.metrics import HEADLINE, seed_values
from ml.evaluation.rankings import RankingError, facts
from ml.evaluation.significance import SeedValues
from ml.recommender import KINDS


@dataclass(frozen=True)
class Entry:
    """One recommender of a leaderboard.

    Attributes:
        title: name shown to readers.
        kind: ``baseline`` (training-free), ``model``, ``fusion`` of the lists of several of these,
            ``reranking`` of the lists of one, or ``alignment`` of a model with a goal.
        user_metrics: of :func:`ml.evaluation.metrics.user_metrics`, one table a seed.
        fit_on: the splits that its final fit saw.
        loss: objective by name, empty for a baseline.
        parameters: trained numbers, where it has any.
        model_bytes: size of what ``save`` writes; of a fusion or re-ranking with that of its parts.
        codes: name of the code assignment that it is built on, empty for none.
        maximum_length: how many of the last items of a history it reads, ``None`` where that has no limit.
        derived_from: why it is so long, where the length was derived from the training histories; else empty.
        beam: width of the beam that its lists are generated with, 0 where a model of identifiers scores all items,
            ``None`` for all other recommenders.
        written: how many items of a list are written one by one, ``None`` where all are ranked by the same scores.
        pretrained_on: other datasets that it was trained on first, empty for none.
        started_from: the release whose weights training started from, empty for fresh weights.
    """

    title: str
    kind: str
    user_metrics: tuple[pa.Table, ...]
    fit_on: str = "train"
    loss: str = ""
    parameters: int | None = None
    model_bytes: int | None = None
    codes: str = ""
    maximum_length: int | None = None
    derived_from: str = ""
    beam: int | None = None
    written: int | None = None
    pretrained_on: str = ""
    started_from: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a recommender is one of {', '.join(KINDS)}, not {self.kind!r}")
        if not isinstance(self.user_metrics, tuple) or not self.user_metrics:
            raise ValueError(f"{self.title} needs a tuple of user metrics, one table a seed")
        names = sorted({facts(table)["recommender"] for table in self.user_metrics})
        if len(names) > 1:
            raise RankingError(f"the user metrics of {self.title} are of several recommenders: {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise RankingError(f"the user metrics of {names[0]} hold a seed twice: {', '.join(map(str, self.seeds))}")

    @property
    def recommender(self) -> str:
        """Its name."""
        return facts(self.user_metrics[0])["recommender"]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds it was fitted with, ascending."""
        return tuple(sorted(facts(table)["seed"] for table in self.user_metrics))

    @property
    def list_counts(self) -> dict[str, int] | None:
        """How the lists of all seeds were generated, the fields of :class:`ml.generation.lists.ListCounts`; ``None``
        where they do not come from a beam search."""
        of_seeds = [facts(table).get("generated") for table in self.user_metrics]
        known = [counts for counts in of_seeds if counts is not None]
        if not known:
            return None
        return {name: sum(counts[name] for counts in known) for name in known[0]}

    def values(self, metric: str = HEADLINE) -> np.ndarray:
        """A metric of each user, the mean over the seeds, float64 ``[users]``."""
        return self.seed_values(metric).mean_by_user

    def seed_values(self, metric: str = HEADLINE) -> SeedValues:
        """A metric of each user under each seed."""
        return seed_values(self.user_metrics, metric)
