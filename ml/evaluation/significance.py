"""Significance: paired tests over users and seeds, corrected for multiple comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.evaluation.intervals import CONFIDENCE, Interval
from ml.number_format import LEVEL


@dataclass(frozen=True)
class SeedValues:
    """A metric of each user under each seed of one recommender.

    Attributes:
        by_seed: float64 ``[seeds, users]``, rows in the order of ``seeds``.
        seeds: the recommender was fitted with; one where nothing in it is random.
    """

    by_seed: np.ndarray
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if self.by_seed.ndim != 2 or len(self.by_seed) != len(self.seeds) or not self.seeds:
            raise ValueError(
                f"values are [seeds, users], one row for each of {len(self.seeds)} seeds, not {self.by_seed.shape}"
            )

    @classmethod
    def of_one_seed(cls, values: np.ndarray) -> SeedValues:
        """Values of a recommender with one seed, or none: float64 ``[users]``."""
        return cls(np.asarray(values, dtype=np.float64)[None])

    @property
    def users(self) -> int:
        return self.by_seed.shape[1]

    @property
    def mean_by_user(self) -> np.ndarray:
        """The mean over the seeds, float64 ``[users]``."""
        return self.by_seed.mean(axis=0)


@dataclass(frozen=True)
class MeanDifference:
    """A mean difference with what a two-sided t-test needs.

    Attributes:
        difference: mean over users and seeds; above zero where the first recommender is better.
        error: its standard error; nan where there are fewer than two users.
        freedom: degrees of freedom, not always a whole number.
    """

    difference: float
    error: float
    freedom: float

    @property
    def p_value(self) -> float:
        """Two-sided. Without any variance 1 if the difference is zero, and 0 if it is not; nan with one user."""
        from scipy.special import stdtr

        if np.isnan(self.error):
            return float("nan")
        if self.error == 0:
            return float(self.difference == 0)
        return float(2 * stdtr(self.freedom, -abs(self.difference) / self.error))

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The t-interval, which leaves zero out where ``p_value`` is below ``1 - confidence``.

        Without bounds (nan) where there are fewer than two users.
        """
        from scipy.special import stdtrit

        reach = 0.0 if self.error == 0 else float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error
        return Interval(self.difference, self.difference - reach, self.difference + reach)


def paired_test(values: SeedValues, reference: SeedValues) -> MeanDifference:
    """Test the mean difference of two recommenders, in which both users and training seeds are samples.

    A test over users alone asks whether these fits differ for other users. What a leaderboard claims is that a
    recommender is better when it is trained again, so users and seeds are both random factors. With ``d[s, u]`` the
    difference under seed ``s`` for user ``u``, the variance of the mean over ``n`` users and ``S`` seeds is estimated
    from the mean squares of the two-way crossed design:

        ``(MS_users + max(0, MS_seeds - MS_rest)) / (n S)``

    The first term alone is the paired t-test of the means over seeds; the second is what the seeds have in common for
    all users. The degrees of freedom are Satterthwaite's. With one seed on both sides the second term is absent, and
    the test is Student's paired t-test. The test is never surer than that over users alone.

    Recommenders with the same seeds are paired by seed, since the parts of a fusion share its seed. With other seeds
    each recommender adds the term of its own seeds. A recommender with one seed adds none: either nothing in it is
    random, or nothing is known about its spread.

    In the simulations of the tests, 5 % of the differences that are only chance are called significant with two, three
    and five seeds, as long as the standard deviation between seeds is no larger than the standard error over users.
    Where seeds spread much more than that, it is up to 8 % with three seeds and 13 % with two.

    Args:
        values: of the recommender.
        reference: of the one it is compared with, the same users in the same order.

    Source: Clark, "The language-as-fixed-effect fallacy", Journal of Verbal Learning and Verbal Behavior 12 (1973), for
    the test with two crossed random factors; Satterthwaite, "An approximate distribution of estimates of variance
    components", Biometrics Bulletin 2 (1946); Hillis, "A comparison of denominator degrees of freedom methods for
    multiple observer ROC analysis", Statistics in Medicine 26 (2007), for the same design with readers as seeds.

    Raises:
        ValueError: the numbers of users differ.
    """
    if values.users != reference.users:
        raise ValueError(f"tests are over the same users, not {values.users:,} and {reference.users:,}")
    one_sided = len(values.seeds) == 1 or len(reference.seeds) == 1
    if one_sided or values.seeds == reference.seeds:
        by_seed = values.by_seed - reference.by_seed
        return _combined(by_seed.mean(axis=0), [_of_seeds(by_seed)])
    difference = values.mean_by_user - reference.mean_by_user
    return _combined(difference, [_of_seeds(values.by_seed), _of_seeds(reference.by_seed)])


def mean_test(values: SeedValues) -> MeanDifference:
    """The mean of one recommender against zero, users and seeds being samples: :meth:`MeanDifference.interval` is its
    confidence interval."""
    return paired_test(values, SeedValues.of_one_seed(np.zeros(values.users)))


@dataclass(frozen=True)
class SeedTerm:
    """Contribution of seeds to the variance of a mean.

    Attributes:
        variance: not below zero.
        squares: the terms that it was estimated from, each as ``(mean square, degrees of freedom)``.
    """

    variance: float
    squares: tuple[tuple[float, float], ...] = ()


def with_seed_terms(difference: np.ndarray, terms: Iterable[SeedTerm]) -> MeanDifference:
    """Like :func:`paired_test`, with a known variance of the seeds.

    Args:
        difference: of each user, float64 ``[users]``.
        terms: what the seeds of each recommender add.
    """
    return _combined(np.asarray(difference, dtype=np.float64), list(terms))


def _of_seeds(by_seed: np.ndarray) -> SeedTerm:
    """The term of the seeds, from values or differences ``[seeds, users]``."""
    seeds, users = by_seed.shape
    if seeds < 2 or users < 2:
        return SeedTerm(0.0)
    means = by_seed.mean(axis=1)
    rest = by_seed - means[:, None] - by_seed.mean(axis=0) + means.mean()
    freedom = (seeds - 1) * (users - 1)
    of_seeds = float(means.var(ddof=1)) / seeds
    of_rest = float(np.einsum("su,su->", rest, rest)) / freedom / (seeds * users)
    return SeedTerm(max(0.0, of_seeds - of_rest), ((of_seeds, seeds - 1), (of_rest, freedom)))


def _combined(difference: np.ndarray, terms: Sequence[SeedTerm]) -> MeanDifference:
    users = len(difference)
    mean = float(difference.mean()) if users else float("nan")
    if users < 2:
        return MeanDifference(mean, float("nan"), float("nan"))
    of_users = float(difference.var(ddof=1)) / users
    variance = of_users + sum(term.variance for term in terms)
    of_seeds = [square for term in terms for square in term.squares]
    freedom = users - 1.0
    if of_seeds and variance > 0:
        spread = sum(square**2 / known for square, known in [(of_users, freedom), *of_seeds])
        freedom = min(freedom, variance**2 / spread)
    return MeanDifference(mean, float(np.sqrt(variance)), freedom)


@dataclass(frozen=True)
class PairedTests:
    """Tests of several recommenders against one reference, ``[recommenders]`` each.

    Attributes:
        difference: mean difference; above zero where the recommender is better.
        statistic: Student's t.
        p_value: two-sided.
    """

    difference: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray


def paired_t_tests(values: np.ndarray, reference: np.ndarray) -> PairedTests:
    """Two-sided paired t-tests over users of several recommenders, each with one seed, against one.

    :func:`paired_test` is the same test for one pair, and takes several seeds.

    Where the differences of all users are the same there is no variance to test with: p is 1 if they are all zero
    (scipy says nan), 0 if they are all another number (as in scipy). With fewer than two users t and p are nan.

    Args:
        values: one row a recommender, float64 ``[recommenders, users]``.
        reference: of the same users in the same order, float64 ``[users]``.

    Source: Student, "The probable error of a mean", Biometrika 1908; for rankings, Smucker, Allan and Carterette,
    "A comparison of statistical significance tests for information retrieval evaluation", CIKM 2007.

    Raises:
        ValueError: the numbers of users differ.
    """
    from scipy.special import stdtr

    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if values.ndim != 2 or values.shape[1:] != reference.shape:
        raise ValueError(f"values are [recommenders, users], reference [users], not {values.shape}, {reference.shape}")
    users = len(reference)
    if users < 2:
        nothing = np.full(len(values), np.nan)
        return PairedTests(values.mean(axis=1) - reference.mean() if users else nothing, nothing, nothing)
    mean, variance = np.empty(len(values)), np.empty(len(values))
    # one recommender at a time: no second table of the size of the first
    for row, one in enumerate(values):
        difference = one - reference
        mean[row], variance[row] = difference.mean(), difference.var(ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = mean / np.sqrt(variance / users)
    statistic[(mean == 0) & (variance == 0)] = 0.0
    return PairedTests(mean, statistic, 2 * stdtr(users - 1, -np.abs(statistic)))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """P-values adjusted for their number by Holm's step-down method, in the order given.

    Rejecting what is below a level keeps the probability of one false finding or more below that level, whatever the
    tests have to do with one another. A nan stays one, and does not count as a comparison.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    adjusted = p_values.copy()
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def holm_confidence(p_values: Sequence[float] | np.ndarray, level: float = LEVEL) -> np.ndarray:
    """The confidence of an interval of each difference that agrees with Holm's method, in the order given.

    Holm's method compares the smallest p-value with ``level / m``, the next with ``level / (m - 1)``, and so on, up to
    the first that is not below: what it compares a p-value with (for the first that is not below and all after it, the
    last one used) is 1 less the confidence here. So the interval of a test leaves zero out exactly where the adjusted
    p-value is below the level. Each interval alone holds the true difference with at least ``1 - level``.

    A nan, which is of no test, has ``1 - level``.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    confidence = np.full(len(p_values), 1 - level)
    tested = np.flatnonzero(~np.isnan(p_values))
    stopped = None
    for place, row in enumerate(tested[np.argsort(p_values[tested], kind="stable")]):
        own = level / (len(tested) - place)
        if stopped is None and not p_values[row] < own:
            stopped = own
        confidence[row] = 1 - (own if stopped is None else stopped)
    return confidence


@dataclass(frozen=True)
class Compared:
    """A recommender against a reference, corrected for all that are compared with it.

    Attributes:
        difference: of the means, with the interval that agrees with the corrected test.
        confidence: of the interval.
        p_value: of the test alone; nan where there are fewer than two users.
        p_value_adjusted: by Holm's method.
    """

    difference: Interval
    confidence: float
    p_value: float
    p_value_adjusted: float

    @property
    def is_significant(self) -> bool:
        # a nan is not below the level
        return self.p_value_adjusted < LEVEL


def compare_with_reference(values_by_name: Mapping[str, SeedValues], reference: str) -> dict[str, Compared]:
    """Compare all recommenders with one of them by :func:`paired_test`, corrected by Holm's method for their number.

    Args:
        values_by_name: a metric of each user by name of the recommender, users in one order.
        reference: a name of these.

    Returns:
        One entry for each other name, in the order given.
    """
    base = values_by_name[reference]
    tests = {name: paired_test(one, base) for name, one in values_by_name.items() if name != reference}
    p_values = [test.p_value for test in tests.values()]
    corrected = zip(holm(p_values).tolist(), holm_confidence(p_values).tolist(), strict=True)
    return {
        name: Compared(test.interval(confidence), confidence, test.p_value, adjusted)
        for (name, test), (adjusted, confidence) in zip(tests.items(), corrected, strict=True)
    }


@dataclass(frozen=True)
class AllPairs:
    """Every recommender against every other.

    Attributes:
        names: of the recommenders.
        p_values: two-sided, paired, not corrected; symmetric, nan on the diagonal, float64 ``[names, names]``.
        adjusted: the same after Holm's correction over all pairs.
        beats: for each name the others that it is better than at a level of .05 after the correction, in the order
            of the names.
    """

    names: tuple[str, ...]
    p_values: np.ndarray
    adjusted: np.ndarray
    beats: Mapping[str, tuple[str, ...]]


def compare_all(values_by_name: Mapping[str, SeedValues | np.ndarray], level: float = LEVEL) -> AllPairs:
    """Compare all recommenders with one another by :func:`paired_test`, corrected by Holm's method over all pairs.

    With fewer than two users no two differ significantly.

    Args:
        values_by_name: a metric of each user by name of the recommender, users in one order; an array
            ``[users]`` where there is one seed.
        level: of significance, after the correction.

    Raises:
        ValueError: the numbers of users differ.
    """
    names = tuple(values_by_name)
    values = [one if isinstance(one, SeedValues) else SeedValues.of_one_seed(one) for one in values_by_name.values()]
    if len({one.users for one in values}) > 1:
        raise ValueError("recommenders can only be compared over the same users")
    p_values = np.full((len(names), len(names)), np.nan)
    for row, one in enumerate(values):
        for column, other in enumerate(values[:row]):
            p_values[row, column] = p_values[column, row] = paired_test(one, other).p_value
    adjusted = np.full_like(p_values, np.nan)
    pairs = np.tril_indices(len(names), -1)
    adjusted[pairs] = adjusted[pairs[::-1]] = holm(p_values[pairs])
    means = [one.by_seed.mean() if one.users else 0.0 for one in values]
    beats = {
        name: tuple(
            other for column, other in enumerate(names) if adjusted[row, column] < level and means[row] > means[column]
        )
        for row, name in enumerate(names)
    }
    return AllPairs(names, p_values, adjusted, beats)
