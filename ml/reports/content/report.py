"""What a report says, as plain data: no files, no formatting, no clock.

Everything that depends on when or where a run took place is kept apart in :class:`RunFacts`, so that two runs
on equal input have equal :class:`ReportContent`, and reports that differ in one section alone.

All text may come from a dump and is never trusted: whoever shows it escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml.audits.audit import Audit
from ml.evaluation.folds.content import FoldResults
from ml.evaluation.metrics import HEADLINE
from ml.evaluation.what_helps.content import WhatHelps
from ml.release.gate.decision import Decision
from ml.release.over_time import Standing
from ml.release.progress import Result
from ml.reports.content.answers import Answers
from ml.reports.content.beyond_accuracy import BeyondAccuracy
from ml.reports.content.evaluation import Described, Estimate, Leaderboard, LeaderboardRow, SliceRow
from ml.reports.content.generation import Generation

__all__ = [
    "HEADLINE",
    "Audit",
    "CategoryAgreement",
    "Check",
    "CodeBook",
    "CodeLevel",
    "CodesReport",
    "Described",
    "DumpFile",
    "Estimate",
    "Example",
    "ExampleItem",
    "Examples",
    "Funnel",
    "FunnelStep",
    "Generation",
    "Leaderboard",
    "LeaderboardRow",
    "Provenance",
    "RejectedLine",
    "ReportContent",
    "RunFacts",
    "SliceRow",
    "TrainingCurve",
]

# what a report's JSON says under `format`
FORMAT = "raw2rank-report-1"


@dataclass(frozen=True)
class FunnelStep:
    """One step from the dump to the split.

    Attributes:
        label: what is counted.
        rows: how many.
        role: ``stage`` (what is left at this point), ``removed`` (taken out since the stage above),
            ``of which`` (a share of the removed rows above) or ``part`` (a share of the stage above; parts add
            up to it).
    """

    label: str
    rows: int
    role: str

    def __post_init__(self) -> None:
        if self.role not in ("stage", "removed", "of which", "part"):
            raise ValueError(f"a funnel step is a stage, removed, of which or part, not {self.role!r}")


@dataclass(frozen=True)
class Funnel:
    """The way of one kind of rows (``reviews``, ``metadata``) from the dump to what is used."""

    source: str
    unit: str
    steps: tuple[FunnelStep, ...]

    @property
    def unexplained(self) -> int:
        """Rows that vanish between two stages without a reason, or between a stage and its parts."""
        missing = 0
        stage: FunnelStep | None = None
        removed = parts = 0
        has_parts = False
        for step in (*self.steps, None):
            if step is None or step.role == "stage":
                if stage is not None and has_parts:
                    missing += abs(stage.rows - parts)
                if stage is not None and step is not None:
                    missing += abs(stage.rows - removed - step.rows)
                stage, removed, parts, has_parts = step, 0, 0, False
            elif step.role == "removed":
                removed += step.rows
            elif step.role == "part":
                parts, has_parts = parts + step.rows, True
        return missing


@dataclass(frozen=True)
class TrainingCurve:
    """One model's training, an entry an epoch.

    Attributes:
        title: name of the model shown to readers.
        loss_name: the objective by name.
        epochs: 1-based epoch numbers.
        loss: mean training loss of each epoch.
        validation: headline metric on the validation users after each epoch, ``None`` where it was not
            measured.
        best_epoch: the epoch whose weights were kept.
        parameters: trained numbers.
    """

    title: str
    loss_name: str
    epochs: tuple[int, ...]
    loss: tuple[float, ...]
    validation: tuple[float | None, ...]
    best_epoch: int | None = None
    parameters: int | None = None

    @property
    def kept_validation(self) -> float | None:
        """The headline metric on the validation users at the epoch that was kept."""
        reached: dict[int | None, float | None] = dict(zip(self.epochs, self.validation, strict=True))
        return reached.get(self.best_epoch)


@dataclass(frozen=True)
class CodeBook:
    """How evenly one code book is used.

    Attributes:
        used: codes that some item has.
        entropy_bits: of their use; the binary logarithm of the size of the book where all are used equally.
        fullest: items on the code that most items have.
        size: codes of the book.
        perplexity_share: share of the book that as many equally used codes would be as have this entropy; ``None``
            where it was not computed.
    """

    used: int
    entropy_bits: float
    fullest: int
    size: int = 256
    perplexity_share: float | None = None


@dataclass(frozen=True)
class CodeLevel:
    """The prefixes of codes up to one level: different first codes of items.

    Attributes:
        prefixes: how many different ones there are.
        mean_children: how many of them continue one prefix of the level before, in the mean.
        largest_children: and at most.
        neighbours: share of neighbours in training histories that have the same prefix; ``None`` without neighbours.
        by_chance: that share of two items drawn as often as they occur.
        of_groups: different prefixes that items of the head, the middle and the tail of the catalogue have.
    """

    prefixes: int
    mean_children: float
    largest_children: int
    neighbours: float | None
    by_chance: float | None
    of_groups: tuple[int, int, int]


@dataclass(frozen=True)
class CategoryAgreement:
    """How far the first code of an item says its category.

    Attributes:
        purity: share of the items whose category is the most frequent one of their first code.
        largest_category: what one code for all items would have.
        mutual_information: of first code and category, normalised: 0 none, 1 all.
    """

    purity: float
    largest_category: float
    mutual_information: float


@dataclass(frozen=True)
class CodesReport:
    """How well an assignment of codes distinguishes items, and what the codes know of them.

    Attributes:
        name: of the assignment.
        method: how it was made.
        items: items with codes.
        books: the code books in order.
        colliding_items: items that share their whole tuple of codes with another.
        largest_collision: most items with one and the same tuple.
        unseen_items: items in no training history, about which the assignment knows nothing.
        collided_before: colliding items before collisions were resolved; ``None`` where they were not resolved.
        without_vector: items whose vector is zero; ``None`` where no vectors are quantised.
        levels: the prefixes, from the first code to the whole tuple.
        category: ``None`` where fewer than two categories are known.
    """

    name: str
    method: str
    items: int
    books: tuple[CodeBook, ...]
    colliding_items: int
    largest_collision: int
    unseen_items: int = 0
    collided_before: int | None = None
    without_vector: int | None = None
    levels: tuple[CodeLevel, ...] = ()
    category: CategoryAgreement | None = None


@dataclass(frozen=True)
class RejectedLine:
    """A line of a dump that was not taken: where it stands, why, and its first characters."""

    source_file: str
    line_number: int
    reason: str
    detail: str
    line: str


@dataclass(frozen=True)
class Check:
    """The result of one data check.

    Attributes:
        name: of the rule or test.
        asset: what it was run on.
        passed: its result.
        severity: ``error`` (blocks what is downstream) or ``warning``.
        detail: what was found, or why the rule is there.
    """

    name: str
    asset: str
    passed: bool
    severity: str = "error"
    detail: str = ""


@dataclass(frozen=True)
class ExampleItem:
    """An item in an example: identity, title (``None`` when unknown) and marks: it is the next item, the user had it
    before, it is a target after the next item."""

    item_id: str
    title: str | None = None
    is_target: bool = False
    in_history: bool = False
    is_later_target: bool = False


@dataclass(frozen=True)
class Example:
    """What one user did, what came next, and what was recommended.

    Attributes:
        user_id: identity of the user.
        history_length: items in the whole history that was ranked from.
        history: its last items, oldest first.
        target: the held-out item, of several the first.
        recommended: best first.
        target_rank: 1-based rank of the target in the ranking that was kept; ``None`` when it is not in it.
        depth: length of that ranking.
        later_targets: the held-out items after the first, in their order.
    """

    user_id: str
    history_length: int
    history: tuple[ExampleItem, ...]
    target: ExampleItem
    recommended: tuple[ExampleItem, ...]
    target_rank: int | None
    depth: int
    later_targets: tuple[ExampleItem, ...] = ()


@dataclass(frozen=True)
class Examples:
    """Example recommendations of one recommender (by title), and the rule the users were chosen by."""

    title: str
    rule: str
    users: tuple[Example, ...]


@dataclass(frozen=True)
class DumpFile:
    """A raw file, and where its lines went.

    Attributes:
        source: ``reviews`` or ``metadata``.
        name: base name.
        bytes: size as it landed (compressed).
        sha256: of these bytes, in hexadecimal.
        rows_read: lines in it, or interactions where a line holds several; they are rejected, duplicates (or said
            again by another file of the split), unused (left out by a cleaning rule, or outside the catalogue) or
            kept.
        layout: how it was read, by name.
        reading: columns used and not used, separator, unit of time and order, a part each; only what is known.
        warnings: of its reading.
    """

    source: str
    name: str
    bytes: int
    sha256: str
    rows_read: int
    rejected: int
    duplicates: int
    unused: int
    kept: int
    layout: str = ""
    reading: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: equal for equal input, settings and code.

    Attributes:
        files: the raw files.
        training_set: content digest of the training set that all was fitted on and ranked for.
        data_versions: content digest by asset key (``marts/interactions``).
        settings: what the run was asked for, seeds included, by name.
        versions: library versions by name.
        code_version: version or commit of this project.
        command: that makes the same from the same dumps.
    """

    files: tuple[DumpFile, ...] = ()
    training_set: str = ""
    data_versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code_version: str = ""
    command: str = ""


@dataclass(frozen=True)
class RunFacts:
    """What differs from run to run on equal input: the clock and the machine.

    Attributes:
        finished: when, as text (ISO 8601 with zone), or empty.
        machine: label and value (processor, cores, memory, operating system, accelerator).
        fit_seconds: seconds of fitting by name of recommender.
        other_seconds: seconds of other steps, by what they did.
        made_by: what made the report, by label, as the identity of the Dagster run.
        over_time: when each result over time was made, and in which run; in the order of the results.
    """

    finished: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)
    fit_seconds: Mapping[str, float] = field(default_factory=dict)
    other_seconds: Mapping[str, float] = field(default_factory=dict)
    made_by: Mapping[str, str] = field(default_factory=dict)
    over_time: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """Everything in a report but the clock and the machine.

    Attributes:
        dataset: its name.
        leaderboard: the recommenders compared.
        recommenders: what each of them is, in the order of the leaderboard.
        list_metrics: what is recommended, by name of recommender and of metric; ``None`` where it cannot be
            computed, as diversity by category where no item has one.
        slices: users grouped by a property, one row for each recommender.
        audits: what may weaken the leaderboard, in the order to read them.
        funnels: reviews first, then metadata.
        statistics: the one row of ``marts.statistics`` by column name, and what :mod:`ml.reports.collect.report`
            adds: ``test_targets_tied``, test users whose target shares its timestamp with the interaction
            before it, and ``test_targets_repeated``, test users whose target is already in their history.
        history_lengths: ``(interactions, users with so many)``, ascending.
        training: one curve a trained model.
        codes: one report a code assignment.
        generation: one entry a model that generates identifiers.
        beyond_accuracy: accuracy against goals beyond it; ``None`` where no recommender trades it.
        what_helps: recommenders beside their plain counterparts; ``None`` where none with such a one was run.
        folds: recommenders in several temporal folds; ``None`` where the split has none.
        answers: one entry a re-ranking by a language model.
        left_out: a sentence on each recommender that was chosen and cannot be made for the dataset.
        release: the decision on the candidate, without measured times; ``None`` where there was none.
        over_time: one entry for each leaderboard of the dataset, without the clock, the oldest first.
        progress: what releases were worth for the interactions that came after them, the oldest first.
        rejected: examples of rejected lines; the counts are in the funnels.
        checks: results of contracts and dbt tests.
        examples: recommendations for a few users.
        provenance: where the numbers come from.
    """

    dataset: str
    leaderboard: Leaderboard
    recommenders: tuple[Described, ...] = ()
    list_metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    slices: tuple[SliceRow, ...] = ()
    audits: tuple[Audit, ...] = ()
    funnels: tuple[Funnel, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    history_lengths: tuple[tuple[int, int], ...] = ()
    training: tuple[TrainingCurve, ...] = ()
    codes: tuple[CodesReport, ...] = ()
    generation: tuple[Generation, ...] = ()
    beyond_accuracy: BeyondAccuracy | None = None
    what_helps: WhatHelps | None = None
    folds: FoldResults | None = None
    answers: tuple[Answers, ...] = ()
    left_out: tuple[str, ...] = ()
    release: Decision | None = None
    over_time: tuple[Standing, ...] = ()
    progress: tuple[Result, ...] = ()
    rejected: tuple[RejectedLine, ...] = ()
    checks: tuple[Check, ...] = ()
    examples: Examples | None = None
    provenance: Provenance = field(default_factory=Provenance)
