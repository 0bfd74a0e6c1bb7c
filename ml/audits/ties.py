"""How far the results depend on the rule that orders interactions with equal timestamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.audits.audit import CANNOT_TELL, CONCERN, LEAST_USERS, NO_CONCERN, NOT_APPLICABLE, NOTE, Audit
from ml.audits.item_order import (
    PARTLY_SORTED,
    SORTED,
    TOO_FEW,
    ItemOrder,
    ascents_by_moment,
    file_kind,
    file_order,
    measured,
)
from ml.audits.variant_runs import Candidate, Difference, Measured, cheap_candidates, differences, measure, sample_note
from ml.data.timed_interactions import Interactions
from ml.data.training_set import TrainingSet
from ml.data.variants import is_tied_with_previous, why_no_variant, with_tie_order
from ml.number_format import change, listed, p_figure, percent
from ml.registry import Registered
from ml.tables import Chart, Line, Table

REGISTERED = Registered(
    name="ties",
    title="Ties in time",
    description=(
        "The cheap recommenders under each rule for interactions at one moment; whether histories are sorted by item."
    ),
    source="raw2rank",
    path="ml.audits.ties:audit_ties",
    needs=("training_set", "interactions", "candidates", "exclude_seen", "seed"),
    rank=20,
)

TIED_SHARE = 0.05
"""A larger share of targets that a tie rule chose, and not time, is a note."""
SHUFFLES = 3
NAME, TITLE = REGISTERED.name, REGISTERED.title
_INFORMED = ("file", "item")
_TOO_FEW = "there are too few test users to tell whether the results depend on it"
_EXPLANATION = (
    "Where interactions of a user have equal timestamps, a rule, not time, decides which one is last, and so which "
    "item is held out. A model can learn an order by file or by item, but not an order by hash or a random order. The "
    "recommenders are fitted and evaluated again under each rule, for the same users. An effect is a result outside "
    "the range of the hash and random orders that differs significantly from their mean (paired t-test, Holm's "
    "correction). Concern: an effect of an order by file or by item, or histories sorted by item. Note: the rule chose "
    f"more than {percent(TIED_SHARE)} of the targets, or another recommender has the best mean by file or by item."
)
_DETECTOR = (
    " Histories in ascending order of item ids, far more often than the one in n! expected by chance, show that the "
    "file was sorted by item, entirely or within its ties, before it was sorted by time."
)


@dataclass(frozen=True)
class Effect:
    """A recommender whose results under ``file`` or ``item`` differ from those under every hash or random order."""

    title: str
    rule: str
    usual: float
    value: float

    @property
    def relative(self) -> float:
        """Change of nDCG@10 as a share of its usual value; 1 where that is nothing."""
        return self.value / self.usual - 1 if self.usual else 1.0


def audit_ties(
    training_set: TrainingSet,
    interactions: Interactions,
    candidates: Sequence[Candidate] | None = None,
    exclude_seen: bool = False,
    seed: int = 0,
    shuffles: int = SHUFFLES,
) -> Audit:
    """Measure what the tie rule decides, and whether histories stand in the order of items.

    Where the order came with the source no rule of ours decided anything, and histories alone are looked at.

    Args:
        training_set: with item text where candidates read it.
        interactions: it was made of.
        candidates: recommenders to fit under each rule, at least one; by default those of ``cheap_candidates``.
        exclude_seen: whether items of a user's own history are left out of the rankings.
        seed: of samples and resampling.
        shuffles: orders by chance to be measured beside that by hash.
    """
    order = measured(training_set, interactions)
    order_table, order_facts = _order_of_items(training_set, interactions, order)
    is_sorted = order.finding in (SORTED, PARTLY_SORTED)
    order_sentence = (
        f"{percent(order.ascending_share)} of the histories with at least four different items are in ascending order "
        f"of item ids, where {percent(order.expected_share)} are expected by chance: they are {order.finding}"
        if order.finding != TOO_FEW
        else "there are too few histories to tell whether they are sorted by item"
    )
    why_not = (
        "the source gives the order"
        if interactions.has_given_order or interactions.has_given_split
        else why_no_variant(training_set)
    )
    if why_not:
        verdict = f"This audit of ties does not apply, because {why_not}; {order_sentence}."
        facts = {"applies": 0, **order_facts}
        outcome = CONCERN if is_sorted else NOT_APPLICABLE
        return Audit(NAME, TITLE, verdict, outcome, _EXPLANATION + _DETECTOR, (order_table,), facts=facts)

    tied = is_tied_with_previous(interactions)
    in_group = tied | np.append(tied[1:], False)
    tied_share = float(in_group[interactions.split_is("test")].mean())
    facts = {
        "applies": 1,
        "test_users": len(training_set.test_users),
        "tied_interactions": int(in_group.sum()),
        "tied_targets_share": tied_share,
    }
    users = f"{percent(tied_share)} of the test users" if tied_share else "no test user"
    sentence = f"The tie rule chose the held-out item of {users}"
    tables: list[Table] = []
    charts: tuple[Chart, ...] = ()
    effects, other_winner, too_few = [], "", False
    if in_group.any():
        variants = _variants(training_set, interactions, shuffles)
        tables.append(_targets_table(training_set, variants, in_group, tied_share))
        candidates = cheap_candidates(training_set) if candidates is None else candidates
        results = _measured(variants, candidates, exclude_seen, seed)
        tested = _tested(results, candidates, seed)
        tables += _result_tables(training_set, results, candidates, tested)
        charts = (_chart(results, candidates),)
        effects = _effects(results, candidates, tested)
        winners, other_winner = _winners(results, candidates)
        too_few = not effects and len(training_set.test_users) < LEAST_USERS
        sentence += f"; {_TOO_FEW}" if too_few else f"; {_of_effects(effects)}{other_winner}"
        facts |= {"effects": len(effects), "largest_effect": _largest(effects).relative if effects else 0.0}
        facts |= {f"best_under_{rule.replace(' ', '_')}": name for rule, name in winners.items()}
        facts["another_wins"] = int(bool(other_winner))
    if is_sorted:
        sentence += f"; {order_sentence}"
    return Audit(
        name=NAME,
        title=TITLE,
        verdict=f"{sentence}.",
        outcome=(
            CONCERN
            if effects or is_sorted
            else CANNOT_TELL
            if too_few
            else NOTE
            if tied_share > TIED_SHARE or other_winner
            else NO_CONCERN
        ),
        explanation=_EXPLANATION + _DETECTOR,
        tables=(*tables, order_table),
        charts=charts,
        facts=facts | order_facts,
    )


def _variants(training_set: TrainingSet, interactions: Interactions, shuffles: int) -> dict[str, TrainingSet]:
    """The training set under each rule, by the name of the rule; that it was made by comes out as it is."""
    own = int(training_set.protocol.get("seed", 0))
    variants = {rule: with_tie_order(training_set, interactions, rule) for rule in (*_INFORMED, "hash")}
    for shuffle in range(shuffles):
        variants[f"shuffle {own + shuffle}"] = with_tie_order(training_set, interactions, "shuffle", own + shuffle)
    return variants


def _measured(
    variants: Mapping[str, TrainingSet], candidates: Sequence[Candidate], exclude_seen: bool, seed: int
) -> dict[str, dict[str, Measured]]:
    """Results by rule and candidate; rules that give the same order are measured once."""
    by_digest: dict[str, dict[str, Measured]] = {}
    results = {}
    for rule, variant in variants.items():
        digest = variant.digest()
        if digest not in by_digest:
            by_digest[digest] = measure(variant, candidates, exclude_seen, seed)
        results[rule] = by_digest[digest]
    return results


def _order_free(results: Mapping[str, dict[str, Measured]], name: str) -> list[Measured]:
    return [by_name[name] for rule, by_name in results.items() if rule not in _INFORMED]


def _tested(
    results: Mapping[str, dict[str, Measured]], candidates: Sequence[Candidate], seed: int
) -> dict[tuple[str, ...], Difference]:
    """Each candidate under ``file`` and ``item`` against its mean over the orders that know nothing of items."""
    values: dict[tuple[str, ...], np.ndarray] = {}
    for candidate in candidates:
        usual = np.mean([one.ndcg for one in _order_free(results, candidate.name)], axis=0)
        for rule in _INFORMED:
            values[candidate.name, rule] = results[rule][candidate.name].ndcg - usual
    return differences(values, seed)


def _is_outside(results: Mapping[str, dict[str, Measured]], name: str, rule: str) -> bool:
    usual = [one.mean for one in _order_free(results, name)]
    return not min(usual) <= results[rule][name].mean <= max(usual)


def _effects(
    results: Mapping[str, dict[str, Measured]],
    candidates: Sequence[Candidate],
    tested: Mapping[tuple[str, ...], Difference],
) -> list[Effect]:
    titles = {candidate.name: candidate.title for candidate in candidates}
    return [
        Effect(
            titles[name],
            rule,
            float(np.mean([one.mean for one in _order_free(results, name)])),
            results[rule][name].mean,
        )
        for (name, rule), difference in tested.items()
        if difference.is_significant and _is_outside(results, name, rule)
    ]


def _of_effects(effects: Sequence[Effect]) -> str:
    """The largest effect in a clause: that of an inflated result before that of a lowered one."""
    if not effects:
        return "no recommender scores differently under an order by file or by item than under hash and random orders"
    largest = _largest(effects)
    verb = "inflates" if largest.relative > 0 else "lowers"
    by = f" by {percent(abs(largest.relative))}" if largest.usual else ""
    return (
        f"the order by {largest.rule} {verb} the nDCG@10 of {largest.title}{by}, from {largest.usual:.4f} to "
        f"{largest.value:.4f}"
    )


def _largest(effects: Sequence[Effect]) -> Effect:
    return max(effects, key=lambda effect: (effect.relative > 0, abs(effect.relative)))


def _winners(results: Mapping[str, dict[str, Measured]], candidates: Sequence[Candidate]) -> tuple[dict[str, str], str]:
    """The best recommender under each rule, and a clause where ``file`` or ``item`` make another one win than every
    order that knows nothing of items."""
    titles = {candidate.name: candidate.title for candidate in candidates}
    best = {rule: max(titles, key=lambda name: by_name[name].mean) for rule, by_name in results.items()}
    usual = {name for rule, name in best.items() if rule not in _INFORMED}
    moved: dict[str, list[str]] = {}
    for rule in _INFORMED:
        if best[rule] not in usual:
            moved.setdefault(best[rule], []).append(f"by {rule}")
    if not moved:
        return best, ""
    usually = " or ".join(titles[name] for name in titles if name in usual)
    clauses = [f"{titles[name]} is the best {listed(rules)}" for name, rules in moved.items()]
    return best, f"; {listed(clauses)}, but {usually} under hash and random orders"


def _targets_table(
    training_set: TrainingSet, variants: Mapping[str, TrainingSet], in_group: np.ndarray, tied_share: float
) -> Table:
    rows = [
        ("interactions that share their timestamp with another of the user", percent(float(in_group.mean()))),
        ("test users whose held-out item does so", percent(tied_share)),
    ]
    for rule, variant in variants.items():
        differ = float((variant.test_targets != training_set.test_targets).mean())
        rows.append((f"test users with a different held-out item under {rule}", percent(differ)))
    own = training_set.protocol.get("tie_order", "the rule of the run")
    return Table("What the tie rule decides", ("what", "share"), tuple(rows), f"The rule of this run is {own}.")


def _result_tables(
    training_set: TrainingSet,
    results: Mapping[str, dict[str, Measured]],
    candidates: Sequence[Candidate],
    tested: Mapping[tuple[str, ...], Difference],
) -> list[Table]:
    titles = {candidate.name: candidate.title for candidate in candidates}
    values = Table(
        "nDCG@10 under each tie rule",
        ("recommender", *results),
        tuple((title, *(by_name[name].mean for by_name in results.values())) for name, title in titles.items()),
        sample_note(training_set),
    )
    rows = []
    for (name, rule), difference in tested.items():
        interval, outside = difference.interval, _is_outside(results, name, rule)
        finding = "none"
        if outside and difference.is_significant:
            finding = "inflated" if interval.mean > 0 else "lowered"
        usual = float(np.mean([one.mean for one in _order_free(results, name)]))
        rows.append(
            (
                titles[name],
                rule,
                interval.mean,
                interval.low,
                interval.high,
                change(usual, usual + interval.mean),
                p_figure(difference.p_value),
                "outside" if outside else "inside",
                finding,
            )
        )
    effects = Table(
        "Orders by file and by item compared with hash and random orders",
        (
            "recommender",
            "rule",
            "difference of nDCG@10",
            "interval, low",
            "interval, high",
            "in percent",
            "adjusted p",
            "range of hash and shuffles",
            "effect",
        ),
        tuple(rows),
        "Differences from the mean over hash and shuffles, with 95 % bootstrap intervals over users.",
    )
    return [values, effects]


def _chart(results: Mapping[str, dict[str, Measured]], candidates: Sequence[Candidate]) -> Chart:
    titles = tuple(candidate.title for candidate in candidates)
    usual = [[one.mean for one in _order_free(results, candidate.name)] for candidate in candidates]
    lines = [
        Line(
            "hash and shuffles (mean and range)",
            titles,
            tuple(float(np.mean(one)) for one in usual),
            tuple(min(one) for one in usual),
            tuple(max(one) for one in usual),
        )
    ]
    lines += [
        Line(rule, titles, tuple(results[rule][candidate.name].mean for candidate in candidates)) for rule in _INFORMED
    ]
    return Chart("nDCG@10 by tie rule", "recommender", "nDCG@10", tuple(lines))


def _order_of_items(
    training_set: TrainingSet, interactions: Interactions, order: ItemOrder
) -> tuple[Table, dict[str, float | int | str | None]]:
    in_file = measured(training_set, interactions, file_order(interactions))
    rows = [_order_row("histories as split", order)]
    if interactions.has_times:
        within, across = ascents_by_moment(training_set, interactions)
        rows.append(_pairs_row("neighbours with equal timestamps", within))
        rows.append(_pairs_row("neighbours with different timestamps", across))
    rows.append(_order_row("histories in the order of the dump", in_file))
    kind = file_kind(training_set, interactions)
    table = Table(
        "How many histories are in ascending order of item ids",
        (
            "order",
            "histories of four or more",
            "ascending",
            "ascending by chance",
            "pairs of neighbours",
            "ascents among them",
            "finding",
        ),
        tuple(rows),
        f"Half of the neighbours ascend if the order is independent of items. Within users, the dump is {kind}.",
    )
    facts: dict[str, float | int | str | None] = {
        "ascending_share": order.ascending_share,
        "ascending_share_by_chance": order.expected_share,
        "ascents_share": order.ascent_share,
        "order_of_items": order.finding,
        "order_of_the_dump": kind,
    }
    return table, facts


def _order_row(title: str, order: ItemOrder) -> tuple:
    shares = (percent(order.ascending_share), percent(order.expected_share)) if order.users else (None, None)
    return (title, order.users, *shares, order.pairs, order.ascent_share, order.finding)


def _pairs_row(title: str, order: ItemOrder) -> tuple:
    return (title, None, None, None, order.pairs, order.ascent_share if order.pairs else None, "")
