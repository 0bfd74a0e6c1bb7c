"""Sentences, tables and a chart on the answers of language models, for the page, the model card and the UI."""

from __future__ import annotations

from collections.abc import Sequence

from ml.number_format import LEVEL, count, interval, listed, metric_value, of, p_figure, p_value, percent, signed_metric
from ml.recommenders.answer_facts import AnswerFacts, Bounded
from ml.reports.content.answers import Answers
from ml.tables import Chart, Line, Table

INTRODUCTION = (
    "A language model was asked to rank the first candidates of another recommender by their titles. Test users that "
    "it was not asked about have the lists of the other recommender, so the leaderboard shows less of a difference "
    "than the figures here, which count only the test users that it was asked about."
)


def sentences(one: Answers) -> tuple[str, ...]:
    """What was asked, whether the answers could be used, what swayed them, and what they took."""
    facts = one.facts
    if not facts.questions:
        return (f"{one.title}: {_asked(one)}",)
    return tuple(
        f"{one.title}: {sentence}" if place == 0 else sentence
        for place, sentence in enumerate((_asked(one), _usable(facts), *_biases(one), *_accuracy(one), _cost(facts)))
    )


def _asked(one: Answers) -> str:
    facts = one.facts
    orders = f"{facts.shuffles} random orders" if facts.shuffles > 1 else "a random order"
    said = (
        f"{facts.model} was asked about the first {facts.candidates} items of {one.part_title} for "
        f"{count(facts.asked)} of {of(facts.cases, 'test user')}: {of(facts.questions, 'different question')} of the "
        f"form “{facts.prompt}”, each list in {orders}."
    )
    if facts.behind_budget:
        said += (
            f" The budget of tokens was spent before {of(facts.behind_budget, 'more test user')} could be asked about."
        )
    return said


def _usable(facts: AnswerFacts) -> str:
    said = f"Its answers rank {percent(facts.valid / facts.shown)} of the candidates"
    flaws = [
        of(number, singular, plural)
        for number, singular, plural in (
            (facts.hallucinated, "entry is no candidate", "entries are no candidates"),
            (facts.wrong_numbers, "number is wrong", "numbers are wrong"),
            (facts.repeated, "candidate is named again", "candidates are named again"),
            (facts.unusable, "answer ranks no candidate", "answers rank no candidate"),
        )
        if number
    ]
    return f"{said}; {listed(flaws)}." if flaws else f"{said}."


def _biases(one: Answers) -> tuple[str, ...]:
    facts, said = one.facts, []
    if facts.position is not None:
        direction = _direction(facts.position)
        outcome = {
            1: "Candidates that the prompt shows early are ranked higher",
            -1: "Candidates that the prompt shows late are ranked higher",
            0: "No bias for the place in the prompt was found",
        }[direction]
        said.append(f"{outcome} (Spearman’s correlation {_figures(facts.position)}).")
    if facts.popularity_difference is not None:
        outcome = {
            1: f"Popular candidates are ranked higher than by {one.part_title}",
            -1: f"Popular candidates are ranked lower than by {one.part_title}",
            0: f"No difference to {one.part_title} in how high popular candidates are ranked was found",
        }[_direction(facts.popularity_difference)]
        said.append(f"{outcome} (difference of Spearman’s correlations {_figures(facts.popularity_difference)}).")
    return tuple(said)


def _direction(found: Bounded) -> int:
    """1 or -1 where the interval is above or below zero, else 0."""
    return int(found.low > 0) - int(found.high < 0)


def _figures(found: Bounded) -> str:
    return f"{signed_metric(found.mean)}; {interval(found.low, found.high, signed=True)}"


def _accuracy(one: Answers) -> tuple[str, ...]:
    facts = one.facts
    if facts.ndcg is None or facts.ndcg_of_part is None or facts.ndcg_difference is None or facts.p_value is None:
        return ()
    if facts.p_value < LEVEL:
        better = facts.ndcg_difference.mean > 0
        outcome = f"significantly {'better' if better else 'worse'} than {one.part_title}"
    else:
        outcome = f"not significantly different from {one.part_title}"
    reached = f"nDCG@10 {metric_value(facts.ndcg)} and {metric_value(facts.ndcg_of_part)}"
    tested = f"{_figures(facts.ndcg_difference)}; {p_value(facts.p_value)}, a single test"
    return (f"Over these test users it is {outcome}: {reached} ({tested}).",)


def _cost(facts: AnswerFacts) -> str:
    said = f"{of(facts.tokens_read, 'token was', 'tokens were')} read and {count(facts.tokens_written)} written"
    if not facts.tokens_counted:
        said += " at most; the server did not count all of them"
    return f"{said}; at the prices of the recipe that is {facts.cost:,.2f}." if facts.cost is not None else f"{said}."


def usability(found: Sequence[Answers]) -> Table:
    """One row a re-ranking: what the answers name of what they were asked about."""
    rows = tuple(
        (
            one.title,
            one.facts.model,
            *(count(number) for number in (one.facts.questions, one.facts.shown)),
            *(_part(number, one.facts.shown) for number in (one.facts.valid, one.facts.missing)),
            *(count(number) for number in (one.facts.hallucinated, one.facts.wrong_numbers, one.facts.repeated)),
            _part(one.facts.unusable, one.facts.questions),
            *(count(number) for number in (one.facts.tokens_read, one.facts.tokens_written)),
        )
        for one in found
    )
    header = (
        *("Re-ranking", "Language model", "Questions", "Candidates shown", "Ranked", "Missing", "Invented"),
        *("Wrong numbers", "Repeated", "Answers that rank none", "Tokens read", "Tokens written"),
    )
    note = (
        "Candidates that an answer does not name stand behind those that it does. Invented are entries that match the "
        "title of no candidate."
    )
    return Table("Whether the answers could be used", header, rows, note, right=tuple(range(2, 12)))


def biases(found: Sequence[Answers]) -> Table | None:
    """Position and popularity bias, a row a measure; ``None`` where nothing could be measured."""
    rows = []
    for one in found:
        facts, same = one.facts, f"The same of {one.part_title}"
        correlations = (
            ("Correlation of the place in the prompt with the rank", facts.position),
            ("Correlation of popularity with the height in the list", facts.popularity),
            (same, facts.popularity_of_part),
            ("Difference of the two", facts.popularity_difference),
        )
        percentiles = (
            ("Popularity percentile of the first item", facts.first),
            (same, facts.first_of_part),
            ("The same of the held-out item, where it is a candidate", facts.first_of_targets),
        )
        for signed, measures in ((True, correlations), (False, percentiles)):
            write = signed_metric if signed else metric_value
            rows += [
                (one.title, label, write(value.mean), interval(value.low, value.high, signed), count(value.histories))
                for label, value in measures
                if value is not None
            ]
    if not rows:
        return None
    header = ("Re-ranking", "Measure", "Mean", "95 % interval", "Test users")
    note = (
        "Correlations are Spearman’s, within the candidates of a test user. Prompts show candidates in a random order, "
        "so without a position bias the first one is 0; it is above 0 where candidates that are shown early are ranked "
        "higher. Popularity is the number of training interactions; percentiles are among the candidates, from 0 (the "
        "least popular one) to 1."
    )
    return Table("What sways the answers", header, tuple(rows), note, right=(2, 3, 4))


def accuracy(found: Sequence[Answers]) -> Table | None:
    """Accuracy beside that of the candidates as they came; ``None`` where nothing could be measured."""
    rows = [
        (
            one.title,
            one.part_title,
            count(facts.asked),
            metric_value(facts.ndcg),
            metric_value(facts.ndcg_of_part),
            signed_metric(facts.ndcg_difference.mean),
            interval(facts.ndcg_difference.low, facts.ndcg_difference.high, signed=True),
            p_figure(facts.p_value),
        )
        for one in found
        if (facts := one.facts).ndcg is not None
        and facts.ndcg_of_part is not None
        and facts.ndcg_difference is not None
    ]
    if not rows:
        return None
    header = (
        "Re-ranking",
        "Compared with",
        "Test users",
        "nDCG@10",
        "As they came",
        "Difference",
        "95 % interval",
        "p",
    )
    note = "Of the test users that the language model was asked about; Student’s paired t-test, not corrected."
    return Table("Accuracy where the language model was asked", header, tuple(rows), note, right=tuple(range(2, 8)))


def tables(found: Sequence[Answers]) -> tuple[Table, ...]:
    """All tables of the section, in reading order."""
    return tuple(table for table in (usability(found), accuracy(found), biases(found)) if table is not None)


def chart(found: Sequence[Answers]) -> Chart | None:
    """Mean given rank by place in the prompt, a line a re-ranking; ``None`` where nothing was ranked."""
    lines = []
    for one in found:
        points = [
            (float(place), rank) for place, rank in enumerate(one.facts.rank_by_place, start=1) if rank is not None
        ]
        if points:
            lines.append(Line(one.title, tuple(x for x, _ in points), tuple(y for _, y in points)))
    if not lines:
        return None
    return Chart("Mean rank by place in the prompt", "place in the prompt", "mean rank in the answers", tuple(lines))


def _part(number: int, whole: int) -> str:
    return f"{count(number)} ({percent(number / whole)})" if whole else count(number)
