"""Tables and charts of models that generate identifiers, for the page, the model card and the UI."""

from __future__ import annotations

from collections.abc import Sequence

from ml.number_format import count, percent, signed_metric
from ml.reports.content.generation import Generation
from ml.reports.content.report import CodesReport
from ml.tables import Chart, Line, Table


def decoding(found: Sequence[Generation]) -> Table:
    """One row a model: its identifiers, how its lists are generated, and how many are certain to be exact."""
    rows = [
        (
            one.title,
            one.codes,
            str(one.levels),
            _decoding(one),
            *(_part(number, one.lists) for number in (one.certified, one.repeated, one.filled)),
        )
        for one in found
    ]
    header = ("Model", "Codes", "Levels", "Lists by", "Certified", "Searched again", "Filled by popularity")
    note = (
        "A list is certified if the search cut nothing that could have scored higher: it is then the list that "
        "scores of all items give. Where it is not, the search is repeated with a wider beam. A list is filled by "
        "popularity if the model gives fewer items a probability above 0. Scores of all items are always exact."
    )
    return Table("How the lists were generated", header, tuple(rows), note, right=(2, 4, 5, 6))


def inflation(found: Sequence[Generation]) -> Table | None:
    """Metrics of items beside metrics of identifiers; ``None`` where no collision was resolved."""
    rows = []
    for one in found:
        if (tuples := one.tuples) is not None:
            pairs = ((tuples.ndcg, tuples.ndcg_of_tuples), (tuples.recall, tuples.recall_of_tuples))
            figures = [(of_items, of_tuples, signed_metric(of_tuples - of_items)) for of_items, of_tuples in pairs]
            rows.append((one.title, count(tuples.shared), *figures[0], *figures[1]))
    if not rows:
        return None
    header = (
        "Model",
        "Items that shared an identifier",
        "nDCG@10 of items",
        "nDCG@10 of identifiers",
        "Inflation",
        "Recall@10 of items",
        "Recall@10 of identifiers",
        "Inflation",
    )
    note = (
        "All other tables of this report are metrics of items. Published figures of generative models are often "
        "metrics of identifiers: any item that had the identifier of the held-out one, before each item was given "
        "one of its own, counts as a hit."
    )
    return Table("What metrics of identifiers would give", header, tuple(rows), note, right=tuple(range(1, 8)))


def widths(found: Sequence[Generation]) -> Table | None:
    """Beam width against exactness; ``None`` without a model that searches."""
    rows = [
        (one.title, count(each.width), percent(each.certified), percent(each.equal), each.ndcg)
        for one in found
        for each in one.widths
    ]
    if not rows:
        return None
    header = ("Model", "Beam width", "Certified", "Equal to the widest beam", "nDCG@10")
    users = max(one.users for one in found)
    note = (
        f"Lists of ten for {count(users)} test users at even steps, each width alone, without a repetition where a "
        "list is not certified. The widest beam is what the others are compared with; where its lists are "
        "certified, they are exact."
    )
    return Table("Beam width against exactness", header, tuple(rows), note, right=(1, 2, 3, 4))


def width_charts(found: Sequence[Generation]) -> tuple[Chart, ...]:
    """Certified lists, equal lists and nDCG@10 by beam width, a line a model."""
    searching = [one for one in found if one.widths]
    if not searching:
        return ()
    shown = (
        ("Lists certified to be exact", "share of lists", "certified"),
        ("Lists equal to those of the widest beam", "share of lists", "equal"),
        ("nDCG@10 by beam width", "nDCG@10", "ndcg"),
    )
    return tuple(
        Chart(
            title,
            "beam width",
            label,
            tuple(
                Line(
                    one.title,
                    tuple(float(each.width) for each in one.widths),
                    tuple(float(getattr(each, name)) for each in one.widths),
                )
                for one in searching
            ),
        )
        for title, label, name in shown
    )


def book_chart(codes: Sequence[CodesReport]) -> Chart | None:
    """Neighbours with equal prefixes by level beside chance, two lines an assignment; ``None`` without levels."""
    lines = []
    for report in codes:
        levels = [level for level in report.levels if level.neighbours is not None and level.by_chance is not None]
        # levels at which nothing is distinguished any more say nothing new
        distinct = [level.prefixes for level in levels]
        levels = levels[: distinct.index(distinct[-1]) + 1] if distinct else []
        for title, name in ((report.name, "neighbours"), (f"{report.name}, by chance", "by_chance")):
            if levels:
                places = tuple(float(place) for place in range(1, len(levels) + 1))
                lines.append(Line(title, places, tuple(getattr(level, name) for level in levels)))
    if not lines:
        return None
    title = "Neighbours in training histories with equal prefixes"
    return Chart(title, "codes of the prefix", "share of neighbours", tuple(lines))


def _decoding(one: Generation) -> str:
    found = f"beam of {count(one.beam)}" if one.beam else "scores of all items"
    return f"{found}, the first {count(one.candidates)} ranked by dot products" if one.candidates else found


def _part(number: int | None, whole: int | None) -> str:
    if number is None or not whole:
        return ""
    return f"{count(number)} ({percent(number / whole)})"
