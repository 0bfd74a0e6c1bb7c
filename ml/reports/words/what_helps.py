"""Sentences, tables and charts of the section "What helps here", for the page, the model card and the UI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ml.evaluation.what_helps.content import (
    ALL_USERS,
    COLD_TARGETS,
    SHORT_HISTORIES,
    TAIL_TARGETS,
    Gain,
    WhatHelps,
)
from ml.number_format import LEVEL, count, duration, interval, metric_value, of, p_figure, p_value, signed_metric
from ml.tables import Chart, Line, Table

FAMILIES = {
    "text": "Text",
    "time": "Time",
    "attributes": "Attributes",
    "contrast": "Contrast",
    "memory": "Long memory",
    "layers": "Other layers",
    "neighbours": "Neighbours and rules",
    "language_models": "Language models",
}
_BETTER, _WORSE, _EQUAL = "significantly better", "significantly worse", "not significantly different"
_PARTS = {
    ALL_USERS: "all test users",
    SHORT_HISTORIES: "histories of fewer than five items",
    TAIL_TARGETS: "targets in the tail of the catalogue",
    COLD_TARGETS: "targets in no training history",
}


def introduction(found: WhatHelps) -> str:
    """What the section compares, in a few sentences."""
    users = next((gain.users for gain in found.gains if gain.part == ALL_USERS), 0)
    tests = of(len(found.gains), "test")
    sentences = [
        "Each recommender is compared with a plain counterpart. That of a trained model has the same sizes and "
        "training, and lacks only what the family adds. Baselines are compared with the two-hop graph, and language "
        "models with BM25 on the last item, or with what they re-rank.",
        f"Differences are of nDCG@10, paired over the same {of(users, 'test user')}. P-values are corrected by Holm's "
        f"method for all {tests} of this section, and intervals agree with them.",
    ]
    if all(gain.seeds == gain.plain_seeds == 1 for gain in found.gains):
        sentences.append(
            "Each model was trained with one seed, so the tests do not cover how results vary when it is trained again."
        )
    else:
        sentences.append("Users and training seeds are both treated as samples.")
    return " ".join(sentences)


def families(found: WhatHelps) -> tuple[str, ...]:
    """Keys of the families that something was run of, in reading order."""
    present = dict.fromkeys(gain.family for gain in found.gains)
    return (*(family for family in FAMILIES if family in present), *(one for one in present if one not in FAMILIES))


def family_title(family: str) -> str:
    """The family as a heading; its key where a report of another version is read."""
    return FAMILIES.get(family, family)


def summary(found: WhatHelps, family: str) -> str:
    """Whether a family helps, by the findings on all test users."""
    findings = [finding(gain) for gain in _of_family(found, family) if gain.part == ALL_USERS]
    better, worse = (findings.count(outcome) for outcome in (_BETTER, _WORSE))
    counted = (
        f"{better} of {len(findings)} significantly better than the plain counterpart, {worse} significantly worse"
    )
    if better and worse:
        return f"It depends on the recommender: {counted}."
    if better:
        return f"It helps: {counted}."
    if worse:
        return f"It does not help: {counted}."
    return f"No significant difference was found: {counted}."


def sentences(found: WhatHelps, family: str) -> tuple[str, ...]:
    """The findings on all test users, a sentence a recommender."""
    return tuple(_sentence(gain) for gain in _of_family(found, family) if gain.part == ALL_USERS)


def _sentence(gain: Gain) -> str:
    outcome, difference = finding(gain), gain.compared.difference
    evidence = [signed_metric(difference.mean)]
    if not math.isnan(_adjusted(gain)):
        evidence += [interval(difference.low, difference.high, signed=True), p_value(_adjusted(gain))]
    preposition = "from" if outcome == _EQUAL else "than"
    sentence = f"{gain.title}: {outcome} {preposition} {gain.plain_title} ({'; '.join(evidence)})."
    if outcome == _EQUAL and gain.detectable > 0:
        sentence += (
            f" With {of(gain.users, 'test user')}, a difference of {metric_value(gain.detectable)} would probably have "
            "been found (80 % power, a single test)."
        )
    return sentence


def finding(gain: Gain) -> str:
    """``significantly better``, ``significantly worse`` or ``not significantly different``."""
    if not _adjusted(gain) < LEVEL:
        return _EQUAL
    return _BETTER if gain.compared.difference.mean > 0 else _WORSE


def _adjusted(gain: Gain) -> float:
    return gain.compared.p_value_adjusted


def left_out(found: WhatHelps) -> tuple[str, ...]:
    """What could not be compared, a sentence each."""
    return tuple(
        f"{title} is not compared, because {plain} was not run: add it to RECIPES." for title, plain in found.left_out
    )


def differences(found: WhatHelps, family: str) -> Table:
    """All differences of a family, for all test users and for parts of them."""
    rows = [
        (
            gain.title,
            gain.plain_title,
            part_title(gain.part),
            count(gain.users),
            metric_value(gain.value),
            metric_value(gain.plain_value),
            signed_metric(gain.compared.difference.mean),
            interval(gain.compared.difference.low, gain.compared.difference.high, signed=True),
            p_figure(_adjusted(gain)),
            finding(gain),
        )
        for gain in _of_family(found, family)
    ]
    header = (
        *("Recommender", "Compared with", "Test users", "Users", "nDCG@10", "Plain", "Difference", "Interval"),
        *("p corrected", "Finding"),
    )
    return Table(f"{family_title(family)}: differences of nDCG@10", header, tuple(rows), right=(3, 4, 5, 6, 7, 8))


def part_title(part: str) -> str:
    """A part of the test users in words; its name where a report of another version is read."""
    return _PARTS.get(part, part)


def chart(found: WhatHelps, family: str) -> Chart:
    """The differences of a family with their intervals, a line for each part of the test users."""
    gains = _of_family(found, family)
    lines = []
    for part in dict.fromkeys(gain.part for gain in gains):
        shown = [gain for gain in gains if gain.part == part]
        bounds = [gain.compared.difference for gain in shown]
        lines.append(
            Line(
                part_title(part),
                tuple(gain.title for gain in shown),
                tuple(bound.mean for bound in bounds),
                tuple(bound.low for bound in bounds),
                tuple(bound.high for bound in bounds),
            )
        )
    return Chart(
        f"{family_title(family)}: difference of nDCG@10 to the plain counterpart",
        "recommender",
        "difference of nDCG@10, with interval",
        tuple(lines),
    )


def training(found: WhatHelps, seconds: Mapping[str, float]) -> Table | None:
    """Training time beside that of the plain counterpart; ``None`` where no two times are known.

    Args:
        seconds: of fitting, by name of the recommender.
    """
    rows = [
        (
            gain.title,
            gain.plain_title,
            duration(seconds[gain.recommender]),
            duration(seconds[gain.plain]),
            f"{seconds[gain.recommender] / seconds[gain.plain]:.2f}",
        )
        for gain in found.gains
        if gain.part == ALL_USERS and gain.recommender in seconds and seconds.get(gain.plain, 0) > 0
    ]
    if not rows:
        return None
    note = "Of the whole training, which stops when validation no longer improves."
    header = ("Recommender", "Compared with", "Training time", "Of the plain one", "Ratio")
    return Table("Training time", header, tuple(rows), note, right=(2, 3, 4))


def _of_family(found: WhatHelps, family: str) -> Sequence[Gain]:
    return [gain for gain in found.gains if gain.family == family]
