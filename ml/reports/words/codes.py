"""Tables of what codes know of the items, for the page, the model card and the UI."""

from __future__ import annotations

from collections.abc import Sequence

from ml.data.popularity import HEAD_PERCENT, TAIL_PERCENT
from ml.number_format import count, percent
from ml.reports.content.report import CodeBook, CodesReport
from ml.tables import Table


def book_sizes(books: Sequence[CodeBook]) -> str:
    """How many codes each book has: ``8 × 256``, or ``48, 256`` where they differ."""
    sizes = [book.size for book in books]
    if len(set(sizes)) == 1:
        return f"{len(sizes)} × {count(sizes[0])}"
    return ", ".join(map(count, sizes))


def books(report: CodesReport) -> Table:
    """One row a code book."""
    rows = [
        (
            str(place),
            f"{count(book.used)} of {count(book.size)}",
            f"{book.entropy_bits:.2f}",
            None if book.perplexity_share is None else percent(book.perplexity_share),
            count(book.fullest),
        )
        for place, book in enumerate(report.books, start=1)
    ]
    header = ("Book", "Codes in use", "Entropy, bits", "Evenness of use", "Items on the fullest code")
    evenness = "Evenness of use is 2 to the power of the entropy, divided by the size of the book."
    note = evenness if any(book.perplexity_share is not None for book in report.books) else ""
    return Table(f"Code books of {report.name}", header, tuple(rows), note, right=(1, 2, 3, 4))


def knowledge(reports: Sequence[CodesReport]) -> Table | None:
    """One row an assignment: what the codes know of the items; ``None`` where nothing was computed."""
    rows = []
    for report in reports:
        if not report.levels:
            continue
        first, category = report.levels[0], report.category
        rows.append(
            (
                report.name,
                "not resolved" if report.collided_before is None else count(report.collided_before),
                None if report.without_vector is None else count(report.without_vector),
                _share(first.neighbours),
                _share(first.by_chance),
                None if category is None else percent(category.purity),
                None if category is None else percent(category.largest_category),
                None if category is None else f"{category.mutual_information:.3f}",
            )
        )
    if not rows:
        return None
    header = (
        "Assignment",
        "Collisions before repair",
        "Items without a vector",
        "Neighbours with the same first code",
        "The same by chance",
        "Purity of the first code",
        "Largest category",
        "Mutual information with the category",
    )
    note = (
        "Collisions before repair are items that shared all their codes with another one before each item was given "
        "codes of its own. Neighbours are side by side in a training history; by chance are two different items drawn "
        "as often as they occur. Purity is the share of items whose category is the most frequent one of their first "
        "code, to compare with the largest category, which one code for all items would have. Mutual information is "
        "normalised: 0 if first code and category are independent, 1 if each determines the other."
    )
    return Table("What the codes know of the items", header, tuple(rows), note, right=tuple(range(1, 8)))


def prefixes(report: CodesReport) -> Table | None:
    """One row a level, up to the first at which no further items are distinguished; ``None`` without levels."""
    if not report.levels:
        return None
    rows = []
    for place, level in enumerate(report.levels, start=1):
        groups = map(count, level.of_groups)
        children = (f"{level.mean_children:,.1f}", count(level.largest_children))
        shares = (_share(level.neighbours), _share(level.by_chance))
        rows.append((str(place), count(level.prefixes), *children, *shares, *groups))
        if level.prefixes == report.levels[-1].prefixes:
            break
    header = (
        "Level",
        "Prefixes",
        "Children, mean",
        "Children, most",
        "Neighbours with the same prefix",
        "The same by chance",
        "Head",
        "Middle",
        "Tail",
    )
    note = (
        "A prefix is the first codes of an item up to a level; its children are the prefixes of this level that "
        "continue one of the level before. The last three columns count the different prefixes of popular items (head: "
        f"first {HEAD_PERCENT} % of training interactions), of the middle, and of unpopular ones (tail: last "
        f"{TAIL_PERCENT} %)."
    )
    return Table(f"Prefixes of {report.name}", header, tuple(rows), note, right=tuple(range(1, 9)))


def _share(value: float | None) -> str | None:
    return None if value is None else percent(value)
