"""What the warehouse must hold, worked out row by row in plain Python, as the models' descriptions say it.

Nothing here is fast, and nothing is shared with the SQL.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean, median

from warehouse_landing import Landing

FIELDS = ("title", "brand", "category", "price", "image_url")


@dataclass(frozen=True)
class Settings:
    """The variables of the dbt project."""

    k_core: int = 5
    tie_order: str = "hash"
    seed: int = 0
    validation_users: int = 512


def md5(*parts: object) -> str:
    return hashlib.md5("|".join(map(str, parts)).encode()).hexdigest()


def k_core(edges: list[tuple], k: int) -> list[tuple]:
    """Edges (user first, item second) left when all of less than k have been removed, again and again."""
    while True:
        users, items = Counter(edge[0] for edge in edges), Counter(edge[1] for edge in edges)
        left = [edge for edge in edges if users[edge[0]] >= k and items[edge[1]] >= k]
        if len(left) == len(edges):
            return left
        edges = left


def place(line: dict) -> tuple[str, int]:
    return line["source_file"], line["line_number"]


def any_true(values: list[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def tie_key(settings: Settings, user: str, item: str, timestamp: int, where: tuple[str, int]) -> object:
    if settings.tie_order == "hash":
        return md5(user, item, timestamp)
    if settings.tie_order == "shuffle":
        return md5(settings.seed, user, item, timestamp)
    return where if settings.tie_order == "file" else item


def cleaned(line: dict) -> dict:
    """Metadata of the made-up landing, whose texts are plain but for one HTML fragment."""
    price = line["price"]
    return {
        "item_id": line["asin"],
        "title": None if line["title"] == "<span" else line["title"],
        "brand": line["brand"] or None,
        "category": line["main_cat"],
        "price": float(price[1:]) if price and "-" not in price else None,
        "image_url": line["image_url"],
    }


def _metadata_rank(line: dict) -> tuple:
    row = cleaned(line)
    values = [row[name] for name in FIELDS]
    texts = [value or (0.0 if name == "price" else "") for name, value in zip(FIELDS, values, strict=True)]
    unreadable_price = (line["price"] or "") if row["price"] is None else ""
    return -sum(value is not None for value in values), *texts, unreadable_price, place(line)


def reference_marts(landing: Landing, settings: Settings) -> dict[str, list[dict]]:
    """Rows of each mart, in the order of their primary key."""
    reviews = [line for line in landing.reviews if "reason" not in line]
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for line in reviews:
        groups[line["reviewer_id"], line["asin"], line["unix_review_time"], line["overall"]].append(line)
    core = k_core(list(groups), settings.k_core)

    histories: dict[str, list[tuple]] = defaultdict(list)
    for edge in core:
        histories[edge[0]].append(edge)
    interactions = []
    for user in sorted(histories):
        ordered = sorted(
            histories[user],
            key=lambda edge: (
                edge[2],
                tie_key(settings, edge[0], edge[1], edge[2], min(map(place, groups[edge]))),
                edge[1],
                edge[3],
            ),
        )
        for position, edge in enumerate(ordered):
            source_file, line_number = min(map(place, groups[edge]))
            interactions.append(
                {
                    "user_id": user,
                    "item_id": edge[1],
                    "timestamp": edge[2],
                    "rating": edge[3],
                    "verified": any_true([line["verified"] for line in groups[edge]]),
                    "position": position,
                    "source_file": source_file,
                    "line_number": line_number,
                }
            )

    eligible = sorted((user for user in histories if len(histories[user]) >= 3), key=lambda u: md5(settings.seed, u))
    sample = set(eligible[: settings.validation_users] if settings.validation_users else eligible)
    splits = []
    for row in interactions:
        length = len(histories[row["user_id"]])
        split = "train"
        if length >= 2 and row["position"] == length - 1:
            split = "test"
        elif row["user_id"] in sample and row["position"] == length - 2:
            split = "validation"
        splits.append({name: row[name] for name in ("user_id", "position", "item_id", "timestamp")} | {"split": split})

    users = []
    for user in sorted(histories):
        times = Counter(edge[2] for edge in histories[user])
        users.append(
            {
                "user_id": user,
                "interactions": len(histories[user]),
                "first_timestamp": min(times),
                "last_timestamp": max(times),
                "tied_interactions": sum(count for count in times.values() if count > 1),
                "role": "validation and test"
                if user in sample
                else "test"
                if len(histories[user]) >= 2
                else "training only",
            }
        )

    described: dict[str, list[dict]] = defaultdict(list)
    for line in landing.metadata:
        if "reason" not in line:
            described[line["asin"]].append(line)
    chosen = {item: min(lines, key=_metadata_rank) for item, lines in described.items()}
    popularity = Counter(edge[1] for edge in core)
    items = [
        dict.fromkeys(FIELDS)
        | (cleaned(chosen[item]) if item in chosen else {})
        | {"item_id": item, "has_metadata": item in chosen, "interactions": popularity[item]}
        for item in sorted(popularity)
    ]

    kept_edges = set(core)
    fates: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for source, lines in (("reviews", landing.reviews), ("metadata", landing.metadata)):
        seen = set()
        for line in sorted(lines, key=place):
            fate = fates[source, line["source_file"]]
            fate["lines_read"] += 1
            if "reason" in line:
                fate["rejected"] += 1
                continue
            if source == "reviews":
                edge = (line["reviewer_id"], line["asin"], line["unix_review_time"], line["overall"])
                first = place(line) == min(map(place, groups[edge]))
                last_fate = "kept" if edge in kept_edges else "dropped_by_k_core"
            else:
                first = line is chosen[line["asin"]]
                last_fate = "kept" if line["asin"] in popularity else "not_in_catalogue"
            fate[last_fate if first else "duplicates"] += 1
            fate["byte_identical_duplicates"] += not first and line["line_digest"] in seen
            seen.add(line["line_digest"])
    names = ("lines_read", "rejected", "duplicates", "byte_identical_duplicates", "dropped_by_k_core")
    reconciliation = [
        {"source": source, "source_file": file}
        | {name: fate[name] for name in (*names, "not_in_catalogue", "kept")}
        | {"unexplained": 0}
        for (source, file), fate in sorted(fates.items())
    ]

    lengths = [row["interactions"] for row in users]
    times = [row["timestamp"] for row in interactions]
    statistics = {
        "users": len(users),
        "items": len(items),
        "interactions": len(core),
        "density": len(core) / (len(users) * len(items)) if core else None,
        "mean_history_length": fmean(lengths) if core else None,
        "median_history_length": median(lengths) if core else None,
        "users_with_test": sum(length >= 2 for length in lengths),
        "users_with_validation": len(sample),
        "users_too_short": sum(length < 2 for length in lengths),
        "tied_interactions": sum(row["tied_interactions"] for row in users),
        "repeated_interactions": len(core) - len({edge[:2] for edge in core}),
        "items_with_metadata": sum(row["has_metadata"] for row in items),
        **{f"items_with_{name}": sum(row[name] is not None for row in items) for name in FIELDS[:4]},
        "metadata_rows": sum(map(len, described.values())),
        "metadata_asins": len(described),
        "first_timestamp": min(times, default=None),
        "last_timestamp": max(times, default=None),
        "k_core": settings.k_core,
        "tie_order": settings.tie_order,
        "seed": settings.seed,
        "validation_users": settings.validation_users,
    }
    return {
        "interactions": interactions,
        "splits": splits,
        "users": users,
        "items": items,
        "reconciliation": reconciliation,
        "statistics": [statistics],
    }
