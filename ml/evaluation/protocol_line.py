"""The protocol of a leaderboard: every choice that its numbers depend on, printed with each table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ml.data.training_set import TrainingSet
from ml.evaluation.intervals import CONFIDENCE, RESAMPLES
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.rankings import facts
from ml.evaluation.significance import LEVEL

if TYPE_CHECKING:
    from ml.evaluation.entry import Entry

PROTOCOL = b"protocol"
# in words, as in running text
_NUMBERS = dict(enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=1))


def protocol(leaderboard: pa.Table) -> dict[str, str]:
    """Every choice that the numbers depend on: label and value, in the order to print them."""
    return json.loads((leaderboard.schema.metadata or {})[PROTOCOL])


def protocol_line(leaderboard: pa.Table) -> str:
    """The protocol as one line of text."""
    return "; ".join(f"{label}: {value}" for label, value in protocol(leaderboard).items())


def protocol_of(
    training_set: TrainingSet, digest: str, entries: Sequence[Entry], compared: int, reference: str | None
) -> dict[str, str]:
    """The protocol of a leaderboard, as :func:`protocol` reads it.

    Args:
        training_set: that all were fitted on and ranked for.
        digest: its own.
        entries: best first.
        compared: how many rows were tested against the reference.
        reference: title of the best baseline, ``None`` where there is none.
    """
    choices = {"dataset": training_set.dataset, "dataset digest": digest[:12]}
    choices |= {_label(name): _value(name, value) for name, value in training_set.protocol.items()}
    choices |= {
        "test users": _test_users(training_set),
        **_test_targets(training_set),
        "validation users": f"{len(training_set.validation_users):,}",
        "test history": _test_history(training_set),
        "ranked": f"the whole catalogue, {training_set.items:,} items",
        "seen items": "excluded" if facts(entries[0].user_metrics[0])["exclude_seen"] else "not excluded",
        "equal scores": "by one seeded permutation of the items",
        "fit on": _grouped((one.title, one.fit_on) for one in entries),
    }
    lengths = [(one.title, _length(one)) for one in entries if one.maximum_length is not None]
    if lengths:
        choices["maximum length"] = _grouped(lengths, others="all other models")
    codes = sorted({one.codes for one in entries} - {""})
    if codes:
        choices["codes"] = f"{', '.join(codes)}, assigned on train"
    elsewhere = sorted(f"{one.title} ({one.pretrained_on})" for one in entries if one.pretrained_on)
    if elsewhere:
        choices["pre-trained on"] = ", ".join(elsewhere)
    losses = sorted(f"{one.title} ({one.loss})" for one in entries if one.loss)
    if losses:
        choices["losses"] = ", ".join(dict.fromkeys(losses))
    choices |= _generation(entries)
    choices["seeds"] = _grouped((one.title, ", ".join(map(str, one.seeds))) for one in entries)
    several = any(len(one.seeds) > 1 for one in entries)
    if reference is not None and compared:
        over = (
            "users, and over seeds where a recommender has several (crossed random effects, Satterthwaite's degrees of "
            "freedom)"
            if several
            else "users"
        )
        choices["tests"] = (
            f"{compared} two-sided t-test{'' if compared == 1 else 's'} of {HEADLINE.replace('ndcg', 'nDCG')}, paired "
            f"by user, over {over}, corrected by Holm, level {LEVEL:g}"
        )
        choices["compared with"] = (
            f"{reference}, the best training-free baseline; it was selected on the same test users, which favours it"
        )
    bootstrap = f"bootstrap over users, {RESAMPLES:,} resamples"
    alone = f"{bootstrap} with one seed, t over users and seeds with several" if several else bootstrap
    choices["intervals"] = f"{100 * CONFIDENCE:.0f} % for each recommender ({alone})"
    if reference is not None and compared:
        choices["intervals"] += "; intervals of differences belong to the tests and are corrected like them"
    return choices


def _generation(entries: Sequence[Entry]) -> dict[str, str]:
    """How the lists of models that generate identifiers or write lists were found; empty without such a model."""
    choices = {}
    beams = [
        (one.title, f"{one.beam:,}" if one.beam else "scores of all items") for one in entries if one.beam is not None
    ]
    if beams:
        choices["beam"] = _grouped(beams, others="")
    written = [
        (
            one.title,
            f"list of {_NUMBERS.get(one.written, one.written)} generated item by item, further places by the first "
            "step's probabilities",
        )
        for one in entries
        if one.written is not None
    ]
    if written:
        choices["written lists"] = _grouped(written, others="")
    counted = [(one.title, counts) for one in entries if (counts := one.list_counts) is not None]
    for label, name in (("lists certified to be exact", "certified"), ("lists filled by popularity", "filled")):
        if counted:
            found = ((title, f"{counts[name]:,} of {counts['lists']:,}") for title, counts in counted)
            choices[label] = _grouped(found, others="")
    return choices


def _test_users(training_set: TrainingSet) -> str:
    """How many users every metric is a mean over, and of how many they were drawn."""
    measured = len(training_set.test_users)
    if training_set.unmeasured is None:
        return f"{measured:,}"
    return f"{measured:,}, a seeded sample of {measured + len(training_set.unmeasured.users):,}"


def _test_targets(training_set: TrainingSet) -> dict[str, str]:
    """How many targets a user has and how they are counted, where it may be several."""
    if training_set.later_targets is None:
        return {}
    lengths = training_set.relevant().lengths
    low, high = (int(lengths.min()), int(lengths.max())) if len(lengths) else (0, 0)
    many = f"{low}" if low == high else f"{low} to {high}"
    return {"test targets": f"{many} different items a user, each metric is a user's own and then a mean over users"}


def _test_history(training_set: TrainingSet) -> str:
    """Whether a test user's history holds the validation item, as :meth:`TrainingSet.histories` makes it."""
    between = any(
        part is not None and len(part.items) for part in (training_set.before_validation, training_set.before_test)
    )
    rest = ", and the interactions between these and the target" if between else ""
    if not len(training_set.validation_users):
        return f"training items (there is no validation item){rest}"
    both = len(np.intersect1d(training_set.validation_users, training_set.test_users))
    users = "" if both == len(training_set.test_users) else f" of the {both:,} users who have one"
    return f"training items and the validation item{users}{rest}"


def _length(entry: Entry) -> str:
    derived = f", derived: {entry.derived_from}" if entry.derived_from else ""
    return f"{entry.maximum_length:,} items{derived}"


def _grouped(pairs: Iterable[tuple[str, str]], others: str = "all others") -> str:
    """Values with the titles they are of; those of the commonest are called ``others``, where it is not empty."""
    titles: dict[str, list[str]] = {}
    for title, value in pairs:
        titles.setdefault(value, []).append(title)
    if others and len(titles) == 1:
        return next(iter(titles))
    told = {value: ", ".join(sorted(set(titles[value]))) for value in sorted(titles)}
    if others:
        commonest = max(told, key=lambda value: len(titles[value]))
        told = {value: named for value, named in told.items() if value != commonest} | {commonest: others}
    return ", ".join(f"{value} ({named})" for value, named in told.items())


def _label(name: str) -> str:
    return {"k_core": "k-core", "tie_order": "order of ties in time"}.get(name, name.replace("_", " "))


def _value(name: str, value: object) -> str:
    if name == "k_core" and value == 0:
        return "none"
    if name == "validation_users" and value == 0:
        return "all"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def choices_as_metadata(choices: Mapping[str, str]) -> dict[bytes, bytes]:
    """The protocol as a leaderboard keeps it in its schema."""
    return {PROTOCOL: json.dumps(choices).encode()}
