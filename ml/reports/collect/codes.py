"""The quality of codes, read from what their assets saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ml.codes.codes import CODES_PER_BOOK
from ml.codes.quality import category_agreement
from ml.data.files import read_json
from ml.data.item_text import FILE, item_categories, load_item_text
from ml.data.popularity import GROUPS
from ml.reports.content.report import CategoryAgreement, CodeBook, CodeLevel, CodesReport

_NOT_OPTIONS = ("name", "books", "book_sizes")


def codes_reports(lake: Path, leaderboard: pa.Table) -> tuple[CodesReport, ...]:
    """The quality report of each code assignment that a model of the leaderboard is built on, by name.

    The agreement with the categories of the item text is computed here for codes that were assigned without text, and
    so without a dependency on it.
    """
    configurations = [lake / "models" / name / "config.json" for name in leaderboard["recommender"].to_pylist()]
    recipes = [read_json(path.parent, path.name)["recipe"] for path in configurations if path.exists()]
    names = sorted({recipe["codes"] for recipe in recipes if recipe.get("codes")})
    described = {name: read_json(lake / "codes" / name, "codes.json") for name in names}
    categories = None
    if any(one["report"].get("category") is None for one in described.values()):
        categories = _categories(lake / "training_sets" / "item_text")
    found = []
    for name, one in described.items():
        report = dict(one["report"])
        if report.get("category") is None and categories is not None:
            first = np.load(lake / "codes" / name / "codes.npy", mmap_mode="r", allow_pickle=False)[:, 0]
            report["category"] = category_agreement(first, categories)
        found.append(codes_report(name, one["method"], report))
    return tuple(found)


def codes_report(name: str, method: Mapping[str, Any], report: Mapping[str, Any]) -> CodesReport:
    """What is shown of codes.

    Args:
        name: of the assignment.
        method: of :class:`ml.codes.codes.Codes`.
        report: of the same; what only later versions report may be missing.
    """
    options = ", ".join(f"{key} {value}" for key, value in method.items() if key not in _NOT_OPTIONS)
    sizes = method.get("book_sizes", [CODES_PER_BOOK] * len(report["by_book"]))
    category = report.get("category")
    before = report.get("before_collisions_were_resolved")
    return CodesReport(
        name=name,
        method=f"{method['name']}, {options}" if options else method["name"],
        items=report["items"],
        books=tuple(
            CodeBook(
                book["codes_used"],
                book["entropy_bits"],
                book["largest_code_items"],
                size,
                book.get("perplexity_share"),
            )
            for book, size in zip(report["by_book"], sizes, strict=True)
        ),
        colliding_items=report["items_in_collisions"],
        largest_collision=report["largest_collision"],
        unseen_items=report["items_never_seen_in_training"],
        collided_before=None if before is None else before["items_in_collisions"],
        without_vector=report.get("items_without_vector"),
        levels=tuple(
            CodeLevel(
                level["prefixes"],
                level["mean_children"],
                level["largest_children"],
                level["neighbours_sharing_prefix"],
                level["sharing_prefix_by_chance"],
                _of_groups(report, place),
            )
            for place, level in enumerate(report.get("by_level", ()))
        ),
        category=None
        if category is None
        else CategoryAgreement(
            category["purity"], category["largest_category"], category["normalised_mutual_information"]
        ),
    )


def _of_groups(report: Mapping[str, Any], level: int) -> tuple[int, int, int]:
    head, middle, tail = (report["by_popularity"][group]["prefixes"][level] for group in GROUPS)
    return head, middle, tail


def _categories(folder: Path) -> Sequence[str | None] | None:
    return item_categories(load_item_text(folder)) if (folder / FILE).exists() else None
