"""Recommenders compared over all temporal folds.

Users occur in several folds, so the measurements of one user are not independent, and a test over all of them as if
they were would find too much. Here a user is one unit with everything that was measured of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ml.data.folds import FoldSizes
from ml.evaluation.folds.content import FoldResults, OverFolds
from ml.evaluation.metrics import HEADLINE, metric_values
from ml.evaluation.rankings import RankingError
from ml.evaluation.significance import Compared, MeanDifference, holm, holm_confidence, with_seed_terms

_RECALL = "recall@10"


def over_folds(
    measured: Mapping[str, Sequence[pa.Table]], titles: Mapping[str, str], folds: Sequence[FoldSizes]
) -> FoldResults:
    """The result of each recommender in each fold, and a comparison of all with the best.

    Args:
        measured: by name of the recommender its user metrics in each fold, the earliest first.
        titles: by name.
        folds: the earliest first.

    Raises:
        RankingError: recommenders were not measured on the same users in every fold.
    """
    users = _users(measured, len(folds))
    values = {name: [metric_values(table, HEADLINE) for table in tables] for name, tables in measured.items()}
    means = {name: tuple(float(one.mean()) for one in of_folds) for name, of_folds in values.items()}
    rows = [
        OverFolds(
            recommender=name,
            title=titles[name],
            ndcg=own,
            recall=tuple(float(metric_values(table, _RECALL).mean()) for table in measured[name]),
            places=tuple(1 + sum(other[at] > value for other in means.values()) for at, value in enumerate(own)),
            mean=float(np.mean(own)),
            deviation=float(np.std(own, ddof=1)) if len(own) > 1 else float("nan"),
        )
        for name, own in means.items()
    ]
    rows.sort(key=lambda row: (-row.mean, row.title))
    leader = values[rows[0].recommender]
    tests = [
        paired_test_over_folds([one - best for one, best in zip(values[row.recommender], leader, strict=True)], users)
        for row in rows[1:]
    ]
    p_values = [test.p_value for test in tests]
    corrected = zip(holm(p_values).tolist(), holm_confidence(p_values).tolist(), strict=True)
    compared = [
        Compared(test.interval(confidence), confidence, test.p_value, adjusted)
        for test, (adjusted, confidence) in zip(tests, corrected, strict=True)
    ]
    _, occurrences = np.unique(np.concatenate(users), return_counts=True)
    return FoldResults(
        folds=tuple(folds),
        rows=(rows[0], *(replace(row, compared=one) for row, one in zip(rows[1:], compared, strict=True))),
        users=len(occurrences),
        users_in_several=int((occurrences > 1).sum()),
    )


def paired_test_over_folds(differences: Sequence[np.ndarray], users: Sequence[np.ndarray]) -> MeanDifference:
    """Test the mean difference of two recommenders over folds in which users occur again.

    What is estimated is the mean over the folds of the mean difference in each, so a fold with many users counts as
    much as one with few. With ``d[f, u]`` the difference for user ``u`` in fold ``f``, ``n[f]`` users and ``F`` folds,
    each user contributes ``e[u] = sum over f of (d[f, u] - mean of fold f) / (F n[f])``, and the variance of the mean
    is ``U / (U - 1) * sum of e[u]^2`` over the ``U`` different users: the variance of a stratified mean that is robust
    to any dependence between what is measured of one user. The degrees of freedom are ``U - 1``. With one fold it is
    Student's paired t-test.

    Users are the sample; the folds are those that there are. The test says whether the mean difference in these folds
    would differ from zero for other users, and nothing of how the difference varies from one stretch of time to
    another.

    Args:
        differences: of each user of each fold, float64 ``[users of the fold]``.
        users: who these are, int ``[users of the fold]``; nobody twice in a fold.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986), for
    the variance; Cameron and Miller, "A practitioner's guide to cluster-robust inference", Journal of Human Resources
    50 (2015), for its correction and the degrees of freedom.
    """
    means = np.array([one.mean() for one in differences])
    shares = np.concatenate([(one - one.mean()) / (len(means) * len(one)) for one in differences])
    _, unit = np.unique(np.concatenate(users), return_inverse=True)
    of_users = np.bincount(unit, weights=shares)
    # one value a user, whose mean is that of the folds and whose variance is the above
    return with_seed_terms(means.mean() + len(of_users) * of_users, ())


def _users(measured: Mapping[str, Sequence[pa.Table]], folds: int) -> list[np.ndarray]:
    """The users of each fold, whom all recommenders were measured on."""
    found: list[np.ndarray] | None = None
    for name, tables in measured.items():
        own = [table["user_index"].to_numpy() for table in tables]
        found = own if found is None else found
        if len(own) != folds or not all(map(np.array_equal, own, found)):
            raise RankingError(
                f"{name} was not measured on the users of all {folds} folds: make evaluation/earlier_folds"
            )
    if found is None:
        raise RankingError("there is no recommender to measure in folds")
    return found
