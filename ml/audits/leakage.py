"""Leaks from test to training: later interactions, repeated targets, near-duplicate users, and held-out items that
fitting reads.

A leave-one-out split holds out the last item of every user, whenever that was, so recommenders are trained on
interactions that are later than a test case in global time (Ji, Sun, Zhang and Li, "A Critical Study on
Data Leakage in Recommender System Offline Evaluation", ACM Transactions on Information Systems 41(3), 2023). This
cannot be repaired within the split; it can only be reported, and compared with a split by global time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ml.audits.audit import CANNOT_TELL, CONCERN, NO_CONCERN, NOTE, Audit
from ml.audits.near_duplicates import LEAST_ITEMS, LIKENESS, NearDuplicateUsers, near_duplicate_users
from ml.baselines.registry import ALWAYS_RUN, BASELINES
from ml.codes.recipe import CodesRecipe
from ml.data.sequences import Sequences
from ml.data.timed_interactions import Interactions
from ml.data.training_set import FIT_ON_BOTH, FIT_ON_TRAIN, TrainingSet
from ml.data.variants import GLOBAL_TEMPORAL, split_of
from ml.number_format import listed, percent
from ml.recommender import Recommender
from ml.registry import Registered
from ml.tables import Cell, Table

REGISTERED = Registered(
    name="leakage",
    title="Leakage",
    description="What is known of a test case before it is asked for.",
    source="Ji et al., A Critical Study on Data Leakage in Recommender System Offline Evaluation, TOIS 41(3), 2023",
    path="ml.audits.leakage:audit",
    needs=("with_vectors", "interactions", "codes", "fit_on", "exclude_seen", "seed"),
    rank=40,
)

# halfway between a split by global time, which has none, and one that ignores time, which has half
MOST_LATER = 0.25
# share of targets that cannot be recommended, or that a near-duplicate user was trained on, that can move a metric
MOST_AFFECTED = 0.01
GRAPHS = (
    "markov_chain",
    "markov_chain_undirected",
    "two_hop_graph",
    "two_hop_graph_decay",
    "text_graph_last",
    "text_graph_last_two",
)
"""Baselines that walk the graph of the training transitions."""
# methods that assign codes in a few seconds; BPR takes about ten seconds per hundred thousand interactions
CHEAP_CODES = (
    "svd",
    "random",
    "principal_components",
    "residual_kmeans",
    "balanced_tree",
    "product_quantisation",
    "sequential",
    "collaborative",
    "semantic",
    "random_identifiers",
)
HISTORIES = 300
DEPTH = 100
_DAY = 24 * 60 * 60 * 1000

Refit = Callable[[TrainingSet], Sequence[np.ndarray]]


def audit(
    with_vectors: TrainingSet,
    interactions: Interactions,
    codes: Sequence[CodesRecipe],
    fit_on: str,
    exclude_seen: bool,
    seed: int,
) -> Audit:
    """:func:`audit_leakage` with all baselines and the codes that take seconds to assign."""
    refits = baseline_refits(with_vectors, exclude_seen, seed) | code_refits(codes, seed)
    return audit_leakage(with_vectors, interactions, refits, exclude_seen=exclude_seen, fit_on=fit_on, seed=seed)


def audit_leakage(
    training_set: TrainingSet,
    interactions: Interactions | None,
    refits: Mapping[str, Refit],
    *,
    exclude_seen: bool,
    fit_on: str = FIT_ON_TRAIN,
    seed: int = 0,
) -> Audit:
    """Look for four ways in which test cases can leak into training.

    A concern is: more than 1 % of the targets can never be recommended, since seen items are excluded and they are
    seen; more than 1 % of the targets stand in the training history of a user with nearly the same items; something
    that was fitted changes with the held-out items; or on average more than a quarter of the training interactions are
    later than a test case although the split is by global time. Under leave-one-out, which has such interactions by
    construction, they are a note.

    Args:
        training_set: that recommenders are fitted on and tested with.
        interactions: the same with its times; ``None`` where they are not known.
        refits: what is to be fitted again with other held-out items, by title: :func:`baseline_refits`,
            :func:`code_refits`.
        exclude_seen: whether rankings leave out the items of a history.
        fit_on: which splits final fits read.
        seed: of the items that replace those held out.
    """
    later = None
    if interactions is not None and interactions.has_times:
        later = later_than_targets(interactions, fit_on)
    repeated = repeated_targets(training_set)
    doubles = near_duplicate_users(training_set, fit_on)
    can_tell = with_held_out_replaced(training_set, seed).digest() != training_set.digest()
    seeing = {title: sees_held_out(refit, training_set, seed) if can_tell else None for title, refit in refits.items()}
    cases = max(1, len(training_set.test_users))
    names = [title for title, sees in seeing.items() if sees]

    notes: list[str] = []
    concerns: list[str] = []
    if later is not None and later.share_later > MOST_LATER:
        by_construction = split_of(training_set) != GLOBAL_TEMPORAL
        (notes if by_construction else concerns).append(
            f"on average {percent(later.share_later)} of the training interactions are later than a test case"
            + (
                ", as usual unless the split is by time"
                if by_construction
                else ", although the split is by global time"
            )
        )
    if exclude_seen and repeated.any / cases > MOST_AFFECTED:
        concerns.append(
            f"{percent(repeated.any / cases)} of the test targets are in the user's history, and can never be "
            "recommended"
        )
    if doubles.targets_held / cases > MOST_AFFECTED:
        concerns.append(
            f"{percent(doubles.targets_held / cases)} of the test targets are in the training history of a user with "
            "nearly the same items"
        )
    if names:
        concerns.append(f"held-out items change {listed(names)}")
    return Audit(
        name="leakage",
        title="Leakage",
        verdict=_verdict([*concerns, *notes], later, can_tell or not refits),
        outcome=_outcome(concerns, notes, known=later is not None and (can_tell or not refits)),
        explanation=(
            "A recommender should not know anything that happens after the time of the recommendation. The audit looks "
            "for training interactions later than a test case in global time (a leave-one-out split has them by "
            "construction; Ji et al., ACM TOIS 41(3), 2023), targets that are already in the history, users with "
            "nearly the same items, and baselines and codes that change when the held-out items are replaced by random "
            f"ones. Concern: anything that changes, more than {percent(MOST_AFFECTED)} of targets that a "
            "near-duplicate user was trained on or that can never be recommended, or, in a split by global time, a "
            f"mean of more than {percent(MOST_LATER)} later interactions. The same mean under leave-one-out is a note: "
            "results under a split by global time show how much it matters."
        ),
        tables=tuple(
            table
            for table in (
                _time_table(later, interactions, fit_on),
                _target_table(repeated, doubles, cases, exclude_seen),
                _refit_table(seeing),
            )
            if table is not None
        ),
        facts={
            "targets_with_later_training": None if later is None else later.targets_affected,
            "training_later_than_target": None if later is None else later.share_later,
            "median_days_later": None if later is None else later.median_days,
            "targets_only_trained_on_later": None if later is None else later.only_later,
            "repeated_targets": repeated.any / cases,
            "near_duplicate_users": doubles.users / max(1, training_set.users),
            "targets_held_by_duplicates": doubles.targets_held / cases,
            "sees_held_out": "; ".join(names) or None,
        },
    )


@dataclass(frozen=True)
class Later:
    """Training interactions of other users after the moment of a test case.

    Attributes:
        targets_affected: share of the test cases that have any.
        share_later: mean over cases of the share of the training interactions.
        median_days: median over the cases that have any of how many days the median one of them is later.
        only_later: share of the cases whose target was trained on, but by others only after its moment.
    """

    targets_affected: float
    share_later: float
    median_days: float
    only_later: float


def later_than_targets(interactions: Interactions, fit_on: str = FIT_ON_TRAIN) -> Later:
    """Compare the moment of every test target with those of the training interactions of other users.

    An interaction in the same millisecond is not later.

    Raises:
        ValueError: the interactions have no times.
    """
    if not interactions.has_times:
        raise ValueError("the interactions have no times: what is later is not known")
    tested = np.flatnonzero(interactions.split_is("test"))
    trained = np.flatnonzero(_trained_on(interactions, fit_on))
    if len(tested) == 0 or len(trained) == 0:
        return Later(0.0, 0.0, 0.0, 0.0)
    moments = interactions.moments
    target_moments = moments[tested]
    ordered = np.sort(moments[trained])
    places = np.searchsorted(ordered, target_moments, side="right")
    # the moment of the target of each user, where it has one
    of_user = np.full(int(interactions.users.max()) + 1, np.iinfo(np.int64).max)
    of_user[interactions.users[tested]] = target_moments
    own_users = interactions.users[trained]
    own = np.bincount(own_users, minlength=len(of_user))
    own_later = np.bincount(own_users[moments[trained] > of_user[own_users]], minlength=len(of_user))
    users = interactions.users[tested]
    later = len(ordered) - places - own_later[users]
    others = np.maximum(1, len(ordered) - own[users])
    affected = later > 0
    middle = ordered[np.minimum((places + len(ordered)) // 2, len(ordered) - 1)]
    days = (middle - target_moments)[affected] / _DAY
    first = np.full(int(interactions.items.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, interactions.items[trained], moments[trained])
    first_of_target = first[interactions.items[tested]]
    only_later = (first_of_target > target_moments) & (first_of_target < np.iinfo(np.int64).max)
    return Later(
        targets_affected=float(affected.mean()),
        share_later=float((later / others).mean()),
        median_days=float(np.median(days)) if len(days) else 0.0,
        only_later=float(only_later.mean()),
    )


def _trained_on(interactions: Interactions, fit_on: str) -> np.ndarray:
    """Which interactions a final fit reads, bool ``[interactions]``."""
    trained = interactions.split_is("train")
    if fit_on != FIT_ON_BOTH:
        return trained
    validation = interactions.split_is("validation")
    place = np.arange(len(interactions))
    last = np.full(int(interactions.users.max(initial=-1)) + 1, -1)
    last[interactions.users[validation]] = place[validation]
    return trained | validation | (interactions.split_is("history") & (place < last[interactions.users]))


@dataclass(frozen=True)
class Repeated:
    """Test targets that are in their history: anywhere, and as its last item."""

    any: int
    last: int


def repeated_targets(training_set: TrainingSet) -> Repeated:
    """Count the test targets that the history they are asked for with holds already."""
    histories = training_set.histories("test")
    targets = np.asarray(training_set.test_targets)
    row = histories.row_of_each
    held = np.zeros(len(histories), dtype=bool)
    held[row[histories.items == targets[row]]] = True
    filled = histories.lengths > 0
    last = np.full(len(histories), -1)
    last[filled] = histories.items[histories.offsets[1:][filled] - 1]
    return Repeated(int(held.sum()), int((last == targets).sum()))


def sees_held_out(refit: Refit, training_set: TrainingSet, seed: int = 0) -> bool:
    """Whether what is fitted changes when every held-out item is replaced by another one.

    Args:
        refit: fits on a training set and gives what came of it as arrays; deterministic, and reading all it knows of
            held-out items from the training set it is given.
        training_set: with ``fit_on`` of ``train``: validation items are held out too.
        seed: of the replacement.

    Raises:
        ValueError: there is no held-out item, or no other item to replace one by.
    """
    replaced = with_held_out_replaced(training_set, seed)
    if replaced.digest() == training_set.digest():
        raise ValueError(
            f"{training_set.dataset} has no held-out item, or no other item to replace one by: nothing can be found out"
        )
    before, after = refit(training_set), refit(replaced)
    if len(before) != len(after):
        return True
    return any(
        one.shape != other.shape or np.ascontiguousarray(one).tobytes() != np.ascontiguousarray(other).tobytes()
        for one, other in zip(before, after, strict=True)
    )


def with_held_out_replaced(training_set: TrainingSet, seed: int = 0) -> TrainingSet:
    """The same training histories, with every held-out item (of validation, of test, and between the two) replaced by
    another item of the catalogue, drawn uniformly.

    Every case is changed, and so is how often each item is held out: exchanging the items among the cases instead
    would keep their counts, and with them a popularity that was counted on the test targets.
    """
    random = np.random.default_rng(seed)

    def replaced(items: np.ndarray) -> np.ndarray:
        items = np.asarray(items)
        if training_set.items < 2:
            return items
        steps = random.integers(1, training_set.items, len(items))
        return ((items + steps) % training_set.items).astype(items.dtype)

    def between(rows: Sequences | None) -> Sequences | None:
        return None if rows is None else replace(rows, items=replaced(rows.items))

    every = training_set.with_every_test_case()
    changed = replace(
        every,
        validation_targets=replaced(every.validation_targets),
        test_targets=replaced(every.test_targets),
        before_validation=between(every.before_validation),
        before_test=between(every.before_test),
        later_targets=between(every.later_targets),
    )
    return changed.measured_on(training_set.test_users)


def rankings_refit(
    create: Callable[[], Recommender], histories: Sequences, exclude_seen: bool, k: int = DEPTH
) -> Refit:
    """Fit a new recommender and rank these histories with it, whatever training set it was fitted on."""

    def refit(training_set: TrainingSet) -> Sequence[np.ndarray]:
        ranked = create().fit(training_set).recommend(histories, min(k, training_set.items), exclude_seen)
        return ranked.items, ranked.scores

    return refit


def baseline_refits(training_set: TrainingSet, exclude_seen: bool, seed: int = 0) -> dict[str, Refit]:
    """The baselines of every comparison, by title, ranking a few hundred histories of test users; those that read text
    where it is loaded."""
    cases = len(training_set.test_users)
    chosen = np.sort(np.random.default_rng(seed).permutation(cases)[:HISTORIES])
    histories = training_set.histories("test").take(chosen)
    return {
        baseline.title: rankings_refit(partial(baseline.create, seed), histories, exclude_seen)
        for baseline in map(BASELINES.__getitem__, ALWAYS_RUN)
        if training_set.item_text is not None or not baseline.needs_item_text
    }


def code_refits(recipes: Iterable[CodesRecipe], seed: int = 0) -> dict[str, Refit]:
    """Codes by the given recipes, by title, without slow methods (not in :data:`CHEAP_CODES`) and trained vectors."""

    def refit(recipe: CodesRecipe) -> Refit:
        return lambda data: (recipe.assign(data, seed).values,)

    cheap = (recipe for recipe in recipes if recipe.method_name in CHEAP_CODES and not recipe.needs_recipes)
    return {f"Codes by {recipe.title}": refit(recipe) for recipe in cheap}


def _outcome(concerns: list[str], notes: list[str], known: bool) -> str:
    if concerns:
        return CONCERN
    if notes:
        return NOTE
    return NO_CONCERN if known else CANNOT_TELL


def _verdict(found: list[str], later: Later | None, refitted: bool) -> str:
    unknown = [] if later is not None else ["later interactions are not known, because there are no times"]
    if not refitted:
        unknown.append("there is no held-out item that can be replaced by another")
    if found or unknown or later is None:
        sentence = "; ".join([*(found or ["no leak was found"]), *unknown])
        return sentence[0].upper() + sentence[1:] + "."
    if later.targets_affected == 0:
        return "No leak was found, and no training interaction is later than a test case."
    return (
        f"On average, {percent(later.share_later)} of the training interactions are later than a test case, and no "
        "other leak was found."
    )


def _time_table(later: Later | None, interactions: Interactions | None, fit_on: str) -> Table:
    title = "Training interactions of other users later than a test case"
    columns = ("What", "Value")
    if later is None:
        why = "no interactions were given" if interactions is None else "the source has no times"
        return Table(title, columns, (("Later interactions", "not known"),), note=f"Not known: {why}.")
    rows: tuple[tuple[Cell, ...], ...] = (
        ("Test cases with later training interactions", percent(later.targets_affected)),
        ("Later share of the training interactions, mean over cases", percent(later.share_later)),
        ("Days later: median per case, median over cases", f"{later.median_days:,.0f} days"),
        ("Targets that others were trained on only later", percent(later.only_later)),
    )
    note = (
        f"Final fits use {fit_on}. Leave-one-out has such interactions by construction; a split by global time has "
        "none, and a comparison of the results shows how much they matter."
    )
    return Table(title, columns, rows, note)


def _target_table(repeated: Repeated, doubles: NearDuplicateUsers, cases: int, exclude_seen: bool) -> Table:
    def row(what: str, count: int, of: int | None = None) -> tuple[Cell, ...]:
        return what, count, "" if of is None else percent(count / of)

    note = (
        f"Users with nearly the same items: at least {LEAST_ITEMS} different items each, held-out ones included, and a "
        f"Jaccard coefficient of at least {LIKENESS:g}. "
    )
    note += (
        "Seen items are excluded, so a target that is in its history is a miss for every recommender."
        if exclude_seen
        else "Seen items are not excluded, so a target that is in its history can be recommended again."
    )
    if not doubles.searched:
        note += " Too many pairs of users share rare items, so only equal sets were looked for."
    return Table(
        "Repeated targets and near-duplicate users",
        ("What", "Number", "Share of test cases"),
        (
            row("Targets that are in their history", repeated.any, cases),
            row("Targets that are the last item of their history", repeated.last, cases),
            row("Users with the same items as another", doubles.equal_users),
            row("Largest group of users with the same items", doubles.largest_group),
            row("Users with nearly the same items as another", doubles.users),
            row("Targets in the training history of a near-duplicate user", doubles.targets_held, cases),
        ),
        note,
    )


def _refit_table(seeing: Mapping[str, bool | None]) -> Table | None:
    if not seeing:
        return None
    answers = {True: "changed", False: "unchanged", None: "not known: no held-out item can be replaced by another"}
    return Table(
        "Fitted again with every held-out item replaced by a random one",
        ("What", "Result"),
        tuple((title, answers[sees]) for title, sees in seeing.items()),
        f"Codes are compared directly, recommenders by the first {DEPTH:,} items and scores of at most {HISTORIES:,} "
        "histories. Trained models are not trained again; they use validation targets for early stopping.",
    )
