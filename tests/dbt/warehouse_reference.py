"""What the warehouse must hold, worked out row by row in plain Python, as the models' descriptions say it.

Nothing here is fast, and nothing is shared with the SQL.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from statistics import fmean, median
from typing import NamedTuple

from warehouse_landing import Landing

FIELDS = ("title", "brand", "category", "price", "image_url")


RULES = ("time_window", "verified_only", "min_rating", "first_interaction_only", "min_history")
GIVEN_SPLITS = ("train", "history", "validation", "test")


@dataclass(frozen=True)
class Settings:
    """The variables of the dbt project."""

    from_date: str = ""
    until_date: str = ""
    verified_only: bool = False
    min_rating: float = 0
    first_interaction_only: bool = False
    min_history: int = 0
    k_core: int = 5
    k_core_users: int = -1
    k_core_items: int = -1
    k_core_rows_in_memory: int = 4_000_000
    tie_order: str = "hash"
    seed: int = 0
    split: str = "leave-one-out"
    validation_users: int = 512
    validation_from: str = "0.8"
    test_from: str = "0.9"
    last_items: int = 5
    cold_items: float = 0.1

    def k_core_of(self, side: str) -> int:
        k = {"users": self.k_core_users, "items": self.k_core_items}[side]
        return self.k_core if k == -1 else k


class Interaction(NamedTuple):
    """What makes an interaction; rows that agree in it are duplicates."""

    user: str
    item: str
    timestamp: int | None
    millisecond: int
    rating: float | None
    given_position: int
    given_split: str | None


def counted_on(landing: Landing) -> Landing:
    """Given positions counted on from file to file, in the order in which the source names them."""
    files = landing.tables()["reviews/files"].to_pylist()
    before = {
        file["source_file"]: sum(
            other["rows_read"] for other in files if other["file_position"] < file["file_position"]
        )
        for file in files
    }
    rows = [
        row | {"given_position": row["given_position"] + before[row["source_file"]]}
        if row.get("given_position")
        else row
        for row in landing.reviews
    ]
    return replace(landing, reviews=rows)


def interaction_of(row: dict) -> Interaction:
    return Interaction(
        row["user_id"],
        row["item_id"],
        row["timestamp"],
        row["millisecond"] or 0,
        row["rating"],
        row["given_position"],
        row["given_split"],
    )


def md5(*parts: object) -> str:
    return hashlib.md5("|".join(str(part) for part in parts if part is not None).encode()).hexdigest()


def k_core(edges: list[tuple], users_need: int, items_need: int) -> list[tuple]:
    """Edges (user first, item second) left when users and items with too few have been removed, again and again."""
    while True:
        users, items = Counter(edge[0] for edge in edges), Counter(edge[1] for edge in edges)
        left = [edge for edge in edges if users[edge[0]] >= users_need and items[edge[1]] >= items_need]
        if len(left) == len(edges):
            return left
        edges = left


def start_of_day(date: str) -> int:
    return int(datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp())


def place(line: dict) -> tuple[str, int]:
    return line["source_file"], line["line_number"]


def any_true(values: list[bool | None]) -> bool | None:
    known = [value for value in values if value is not None]
    return any(known) if known else None


def nulls_last(value: object) -> tuple:
    return (value is None, 0 if value is None else value)


def order_key(settings: Settings, interaction: Interaction, where: tuple[int, int]) -> tuple:
    user, item, timestamp, *_ = interaction
    ties = {
        "hash": md5(user, item, timestamp),
        "shuffle": md5(settings.seed, user, item, timestamp),
        "file": where,
        "item": item,
    }
    split = interaction.given_split
    return (
        nulls_last(timestamp),
        interaction.millisecond,
        interaction.given_position,
        nulls_last(None if split is None else GIVEN_SPLITS.index(split)),
        ties[settings.tie_order],
        item,
        nulls_last(interaction.rating),
    )


def judged(
    interactions: list[Interaction], verified: dict[Interaction, bool | None], settings: Settings
) -> dict[Interaction, str | None]:
    """Which rule drops each of the interactions, which come in the order of their histories."""
    from_second = start_of_day(settings.from_date) if settings.from_date else None
    until_second = start_of_day(settings.until_date) if settings.until_date else None

    def outside(timestamp: int | None) -> bool:
        if timestamp is None:
            return from_second is not None or until_second is not None
        return (from_second is not None and timestamp < from_second) or (
            until_second is not None and timestamp >= until_second
        )

    dropped: dict[Interaction, str | None] = {}
    pairs = set()
    for one in interactions:
        dropped[one] = None
        if one.given_split is not None:
            continue
        if outside(one.timestamp):
            dropped[one] = "time_window"
        elif settings.verified_only and not verified[one]:
            dropped[one] = "verified_only"
        elif settings.min_rating and (one.rating is None or one.rating < settings.min_rating):
            dropped[one] = "min_rating"
        elif settings.first_interaction_only and one[:2] in pairs:
            dropped[one] = "first_interaction_only"
        else:
            pairs.add(one[:2])
    lengths = Counter(one.user for one in interactions if one.given_split is None and dropped[one] is None)
    for one in interactions:
        if one.given_split is None and dropped[one] is None and lengths[one.user] < settings.min_history:
            dropped[one] = "min_history"
    return dropped


def boundary(text: str, timestamps: list[int]) -> int | None:
    if "-" in text:
        return start_of_day(text)
    return sorted(timestamps)[math.ceil(Fraction(text) * len(timestamps)) - 1] if timestamps else None


def sampled(users: list[str], settings: Settings) -> set[str]:
    ordered = sorted(users, key=lambda user: md5(settings.seed, user))
    return set(ordered[: settings.validation_users] if settings.validation_users else ordered)


def hold_out_the_last(
    histories: dict[str, list[Interaction]], settings: Settings, targets: int
) -> dict[str, list[str]]:
    undivided = {user for user, history in histories.items() if all(one.given_split is None for one in history)}
    sample = sampled([user for user in undivided if len(histories[user]) >= targets + 2], settings)
    labels = {}
    for user, history in histories.items():
        labels[user] = ["train"] * len(history)
        if user in undivided and len(history) > targets:
            labels[user][-targets:] = ["test"] * targets
        if user in sample:
            labels[user][-targets - 1] = "validation"
    return labels


def global_temporal(
    histories: dict[str, list[Interaction]], settings: Settings, validation_from: int, test_from: int
) -> dict[str, list[str]]:
    labels, to_validate = {}, []
    for user, history in histories.items():
        windows = [
            "train" if one.timestamp < validation_from else "history" if one.timestamp < test_from else "unused"
            for one in history
        ]
        labels[user] = windows
        if any(one.given_split is not None for one in history):
            continue
        if "train" in windows and "history" in windows:
            to_validate.append(user)
        if windows[0] != "unused" and "unused" in windows:
            windows[windows.index("unused")] = "test"
    for user in sampled(to_validate, settings):
        labels[user][labels[user].index("history")] = "validation"
    return labels


def cold_items(histories: dict[str, list[Interaction]], settings: Settings) -> tuple[set[str], set[str]]:
    given = {one.item for history in histories.values() for one in history if one.given_split is not None}
    items = {one.item for history in histories.values() for one in history} - given
    ordered = sorted(items, key=lambda item: md5("cold", settings.seed, item))
    wanted = max(1, math.floor(len(items) * Fraction(str(settings.cold_items))))
    return set(ordered[:wanted]), set(ordered[wanted : 2 * wanted])


def hold_out_items(histories: dict[str, list[Interaction]], settings: Settings) -> dict[str, list[str]]:
    of_test, of_validation = cold_items(histories, settings)
    cold = of_test | of_validation
    tested, validated = {}, {}
    for user, history in histories.items():
        if any(one.given_split is not None for one in history):
            continue
        warm = [place for place, one in enumerate(history) if one.item not in cold]
        after = [place for place in range(len(history)) if warm and place > warm[0]]
        tested[user] = max((place for place in after if history[place].item in of_test), default=None)
        end = len(history) if tested[user] is None else tested[user]
        places = [place for place in after if place < end and history[place].item in of_validation]
        if places:
            validated[user] = max(places)
    sample = sampled(list(validated), settings)
    labels = {}
    for user, history in histories.items():
        target, checked = tested.get(user), validated[user] if user in sample else None
        labels[user] = []
        for place, one in enumerate(history):
            if target is not None and place >= target:
                label = "test" if place == target else "unused"
            elif place == checked:
                label = "validation"
            elif one.item in cold:
                label = "unused"
            elif checked is not None and place > checked:
                label = "history" if target is not None else "unused"
            else:
                label = "train"
            labels[user].append(label)
    return labels


def role(labels: set[str]) -> str:
    targets = [label for label in ("validation", "test") if label in labels]
    return " and ".join(targets) or ("training only" if "train" in labels else "not used")


def cleaned(line: dict) -> dict:
    """Metadata of the made-up landing, whose texts are plain but for one HTML fragment."""
    price = line["price"]
    return {
        "item_id": line["item_id"],
        "title": None if line["title"] == "<span" else line["title"],
        "brand": line["brand"] or None,
        "category": line["main_cat"],
        "price": float(price[1:]) if price and "-" not in price else None,
        "image_url": line["image_url"],
        "item_text": line["item_text"],
    }


def _metadata_rank(line: dict, where: tuple[int, int]) -> tuple:
    row = cleaned(line)
    values = [row[name] for name in FIELDS]
    texts = [value or (0.0 if name == "price" else "") for name, value in zip(FIELDS, values, strict=True)]
    unreadable_price = (line["price"] or "") if row["price"] is None else ""
    by_template = row["item_text"] or ""
    return -sum(value is not None for value in values), *texts, unreadable_price, by_template, where


def reference_marts(landing: Landing, settings: Settings) -> dict[str, list[dict]]:
    """Rows of each mart, in the order of their primary key."""
    landing = counted_on(landing)
    positions = {kind: landing.file_positions(kind) for kind in ("reviews", "metadata")}

    def where(line: dict, kind: str = "reviews") -> tuple[int, int]:
        return positions[kind][line["source_file"]], line["line_number"]

    groups: dict[Interaction, list[dict]] = defaultdict(list)
    for line in landing.reviews:
        if "reason" not in line:
            groups[interaction_of(line)].append(line)
    first = {one: min(lines, key=where) for one, lines in groups.items()}
    verified = {one: any_true([line["verified"] for line in lines]) for one, lines in groups.items()}
    ordered = sorted(groups, key=lambda one: (one.user, order_key(settings, one, where(first[one]))))
    dropped = judged(ordered, verified, settings)
    own = [one for one in ordered if dropped[one] is None and one.given_split is None]
    own_core = set(k_core(own, settings.k_core_of("users"), settings.k_core_of("items")))
    core = [one for one in ordered if one.given_split is not None or one in own_core]

    histories: dict[str, list[Interaction]] = defaultdict(list)
    for one in core:
        histories[one.user].append(one)
    interactions = [
        {
            "user_id": user,
            "item_id": one.item,
            "timestamp": one.timestamp,
            "millisecond": one.millisecond,
            "rating": one.rating,
            "verified": verified[one],
            "position": position,
            "given_position": one.given_position,
            "given_split": one.given_split,
            "source_file": first[one]["source_file"],
            "file_position": where(first[one])[0],
            "line_number": first[one]["line_number"],
            "duplicate_rows": len(groups[one]) - 1,
        }
        for user, history in histories.items()
        for position, one in enumerate(history)
    ]

    validation_from = test_from = None
    if settings.split in ("leave-one-out", "leave-last-k"):
        targets = 1 if settings.split == "leave-one-out" else settings.last_items
        labels = hold_out_the_last(histories, settings, targets)
    elif settings.split == "cold-items":
        labels = hold_out_items(histories, settings)
    else:
        times = [one.timestamp for one in own_core]
        validation_from, test_from = boundary(settings.validation_from, times), boundary(settings.test_from, times)
        labels = global_temporal(histories, settings, validation_from, test_from)
    for user, history in histories.items():
        labels[user] = [one.given_split or label for one, label in zip(history, labels[user], strict=True)]
    splits = [
        {name: row[name] for name in ("user_id", "position", "item_id", "timestamp")}
        | {"split": labels[row["user_id"]][row["position"]]}
        for row in interactions
    ]

    users = []
    for user, history in histories.items():
        times = [one.timestamp for one in history if one.timestamp is not None]
        moments = Counter(one[2:4] for one in history if one.timestamp is not None and one.given_position == 0)
        users.append(
            {
                "user_id": user,
                "interactions": len(history),
                "first_timestamp": min(times, default=None),
                "last_timestamp": max(times, default=None),
                "tied_interactions": sum(count for count in moments.values() if count > 1),
                "role": role(set(labels[user])),
            }
        )

    described: dict[str, list[dict]] = defaultdict(list)
    for line in landing.metadata:
        if "reason" not in line:
            described[line["item_id"]].append(line)
    chosen = {
        item: min(lines, key=lambda line: _metadata_rank(line, where(line, "metadata")))
        for item, lines in described.items()
    }
    popularity = Counter(one.item for one in core)
    items = [
        dict.fromkeys((*FIELDS, "item_text"))
        | (cleaned(chosen[item]) if item in chosen else {})
        | {"item_id": item, "has_metadata": item in chosen, "interactions": popularity[item]}
        for item in sorted(popularity)
    ]

    kept = set(core)
    fates: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for source, lines in (("reviews", landing.reviews), ("metadata", landing.metadata)):
        seen = {}
        for line in sorted(lines, key=lambda line: where(line, source)):
            fate = fates[source, line["source_file"]]
            fate["rows_read"] += 1
            if "reason" in line:
                fate["rejected"] += 1
                continue
            if source == "reviews":
                one = interaction_of(line)
                is_first = place(line) == place(first[one])
                last_fate = "kept" if one in kept else f"dropped_by_{dropped[one] or 'k_core'}"
            else:
                is_first = line is chosen[line["item_id"]]
                last_fate = "kept" if line["item_id"] in popularity else "not_in_catalogue"
            fate[last_fate if is_first else "duplicates"] += 1
            first_place = seen.setdefault(line["line_digest"], place(line))
            fate["byte_identical_duplicates"] += not is_first and first_place != place(line)
    for file, repeated in landing.repeated.items():
        fates["reviews", file].update(rows_read=repeated, repeated=repeated)
    names = ("rows_read", "rejected", "repeated", "duplicates", "byte_identical_duplicates")
    dropped_by = [f"dropped_by_{rule}" for rule in (*RULES, "k_core")]
    reconciliation = [
        {"source": source, "source_file": file}
        | {name: fate[name] for name in (*names, *dropped_by, "not_in_catalogue", "kept")}
        | {"unexplained": 0}
        for (source, file), fate in sorted(fates.items())
    ]

    lengths = [row["interactions"] for row in users]
    times = [one.timestamp for one in core if one.timestamp is not None]
    statistics = {
        "users": len(users),
        "items": len(items),
        "interactions": len(core),
        "density": len(core) / (len(users) * len(items)) if core else None,
        "mean_history_length": fmean(lengths) if core else None,
        "median_history_length": median(lengths) if core else None,
        "users_with_test": sum("test" in row["role"] for row in users),
        "users_with_validation": sum("validation" in row["role"] for row in users),
        "users_too_short": sum(row["role"] in ("training only", "not used") for row in users),
        "tied_interactions": sum(row["tied_interactions"] for row in users),
        "repeated_interactions": len(core) - len({one[:2] for one in core}),
        "items_with_metadata": sum(row["has_metadata"] for row in items),
        **{f"items_with_{name}": sum(row[name] is not None for row in items) for name in FIELDS[:4]},
        "metadata_rows": sum(map(len, described.values())),
        "metadata_asins": len(described),
        "first_timestamp": min(times, default=None),
        "last_timestamp": max(times, default=None),
        "has_timestamps": len(times) == len(core),
        "from_date": settings.from_date or None,
        "until_date": settings.until_date or None,
        "k_core_users": settings.k_core_of("users"),
        "k_core_items": settings.k_core_of("items"),
        "tie_order": "given" if core and all(one.given_position for one in core) else settings.tie_order,
        "split": "given" if core and all(one.given_split for one in core) else settings.split,
        "validation_from": validation_from,
        "test_from": test_from,
        **{
            name: getattr(settings, name)
            for name in (
                *("verified_only", "min_rating", "first_interaction_only", "min_history"),
                *("k_core", "seed", "validation_users"),
            )
        },
    }
    return {
        "interactions": interactions,
        "splits": splits,
        "users": users,
        "items": items,
        "reconciliation": reconciliation,
        "statistics": [statistics],
    }
