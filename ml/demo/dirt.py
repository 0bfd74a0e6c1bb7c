"""The lines of the demo dump: sound rows, and the dirt of the real releases strewn among them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ml.demo.behaviour import Purchase
from ml.demo.text import Wording


@dataclass(frozen=True)
class DemoDirt:
    """The amount of each kind of dirt.

    Shares of the reviews that users wrote, each kind in reviews of its own:
        identical_reviews: written twice, byte for byte.
        reworded_reviews: written again with the same reviewerID, asin, time and rating, in other words.
        second_ratings: written again on the same day with another rating; these are interactions of their own.
        mistyped_verified: ``verified`` is not a boolean; the rest is sound.
        malformed_reviews: a spoilt copy stands beside it that is no JSON object.
        mistyped_reviews: a spoilt copy stands beside it with a wrong type or value.

    Shares of the items:
        missing_metadata: reviewed items without metadata.
        unreviewed_items: items with metadata that nobody reviewed, beside the others.
        identical_metadata: items whose metadata stands there twice, byte for byte.
        conflicting_metadata: items with a second row of other title and price.
        malformed_metadata, mistyped_metadata: spoilt copies, as of the reviews.
        mistyped_fields: items with a wrong type in title, brand or category; the rest is sound.
        empty_prices, price_ranges, price_css, price_thousands: what stands for a price; the last is a sound
            one with a thousands comma.
        html_titles: titles that are the start of an HTML tag.
        entity_titles: titles with HTML entities.
        older_images: rows of the release with ``image`` in place of ``imageURL`` and ``imageURLHighRes``.
    """

    identical_reviews: float = 0.018
    reworded_reviews: float = 0.006
    second_ratings: float = 0.001
    mistyped_verified: float = 0.001
    malformed_reviews: float = 0.003
    mistyped_reviews: float = 0.003
    missing_metadata: float = 0.03
    unreviewed_items: float = 0.05
    identical_metadata: float = 0.08
    conflicting_metadata: float = 0.03
    malformed_metadata: float = 0.01
    mistyped_metadata: float = 0.005
    mistyped_fields: float = 0.01
    empty_prices: float = 0.2
    price_ranges: float = 0.03
    price_css: float = 0.03
    price_thousands: float = 0.02
    html_titles: float = 0.05
    entity_titles: float = 0.06
    older_images: float = 0.15


def share(of: float, count: int) -> int:
    """A share of a number of things, rounded; one at least where the share is not zero."""
    return min(count, max(1, round(of * count))) if of > 0 else 0


# How a sound line is spoilt until it is no JSON object, and the reason it is then rejected for.
_MALFORMED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("malformed JSON", lambda line: line[: len(line) // 2]),
    ("invalid UTF-8", lambda line: line[:-3] + b"\xff" + line[-3:]),
    ("not an object", lambda line: b"null"),
    ("not an object", lambda line: b"[" + line + b"]"),
    ("malformed JSON", lambda line: b"<html><body>503 Service Unavailable</body></html>"),
    ("malformed JSON", lambda line: line[:20] + bytes(8) + line[28:]),
    ("nested too deeply", lambda line: line[:-1] + b', "helpful": ' + b"[" * 1000 + b"]" * 1000 + b"}"),
)
# What a field is set to, and the reason the line is then rejected for; ``...`` takes the key away.
_MISTYPED_REVIEWS = (
    ("overall not a number", "overall", "5.0"),
    ("overall out of range", "overall", 0.0),
    ("overall missing", "overall", None),
    ("unixReviewTime not an integer", "unixReviewTime", "1393372800"),
    ("unixReviewTime out of range", "unixReviewTime", -86400),
    ("unixReviewTime missing", "unixReviewTime", ...),
    ("reviewerID missing", "reviewerID", ...),
    ("reviewerID not a string", "reviewerID", 20140226),
    ("asin missing", "asin", ""),
    ("asin not a string", "asin", ["B0"]),
    ("overall not a number", "overall", True),
)
_MISTYPED_METADATA = (
    ("asin missing", "asin", ...),
    ("asin not a string", "asin", 316769487),
    ("asin missing", "asin", None),
)
_MISTYPED_FIELDS = (("title", ["Untitled"]), ("category", "Demo > Unsorted"), ("brand", 42))

_HTML_TITLES = ('<span class="a-size-large a-text-normal"', '<div id="title-block" class="a-row"')
_ENTITIES = (" with Case &amp; Clip", ", Maker&#39;s Choice", ", 6&#34; Long")
_CSS = (
    ".price-box-inner{background-color:#fff}#price-widget .selected{border-color:#e70;box-shadow:0 0 3px "
    "rgba(200,120,20,.5)}#price-widget .unavailable{color:gray}"
)


class _Spoilt:
    """Spoilt copies of sound lines, one kind after the other, counted by the reason they are rejected for."""

    def __init__(self) -> None:
        self.rejects: Counter[str] = Counter()
        self._malformed = 0
        self._mistyped = 0

    def malformed(self, line: bytes) -> bytes:
        reason, spoil = _MALFORMED[self._malformed % len(_MALFORMED)]
        self._malformed += 1
        self.rejects[reason] += 1
        return spoil(line)

    def mistyped(self, row: dict, kinds: tuple[tuple[str, str, object], ...]) -> bytes:
        reason, name, value = kinds[self._mistyped % len(kinds)]
        self._mistyped += 1
        self.rejects[reason] += 1
        spoilt = {key: row[key] for key in row if key != name} if value is ... else {**row, name: value}
        return _line(spoilt)


class ReviewLines:
    """The lines of the reviews file, grouped by ASIN as in the releases.

    Attributes:
        lines: without line endings.
        interactions: user, item, day and rating of the sound ones, each once.
        items: the items in them, ascending.
    """

    def __init__(self, histories: list[list[Purchase]], wording: Wording, dirt: DemoDirt, rng: random.Random) -> None:
        reviewers = wording.reviewers(len(histories))
        written = [(user, purchase) for user, history in enumerate(histories) for purchase in history]
        ratings = rng.choices((1, 2, 3, 4, 5), (4, 4, 7, 15, 70), k=len(written))
        rows = [
            wording.review(reviewers[user], purchase, rating)
            for (user, purchase), rating in zip(written, ratings, strict=True)
        ]
        take = _Takes(len(rows), rng)
        mistyped_verified = take(dirt.mistyped_verified)
        for index in mistyped_verified:
            rows[index]["verified"] = "true"
        lines = [(row["asin"], _line(row)) for row in rows]
        self.interactions = {
            (user, purchase.item, purchase.day, rating)
            for (user, purchase), rating in zip(written, ratings, strict=True)
        }
        self.items = sorted({purchase.item for _, purchase in written})
        self.mistyped_verified = len(mistyped_verified)

        identical = take(dirt.identical_reviews)
        lines += [lines[index] for index in identical]
        self.identical = len(identical)
        reworded = take(dirt.reworded_reviews)
        for index in reworded:
            text, summary = wording.opinion(written[index][1].item, ratings[index])
            again = {**rows[index], "reviewText": f"Update: {text}", "summary": summary}
            lines.append((again["asin"], _line(again)))
        self.reworded = len(reworded)
        for index in take(dirt.second_ratings):
            user, purchase = written[index]
            rating = ratings[index] - 1 or 5
            self.interactions.add((user, purchase.item, purchase.day, rating))
            again = {**rows[index], "overall": float(rating)}
            lines.append((again["asin"], _line(again)))
        spoilt = _Spoilt()
        for index in take(dirt.malformed_reviews):
            lines.append((rows[index]["asin"], spoilt.malformed(lines[index][1])))
        for index in take(dirt.mistyped_reviews):
            lines.append((rows[index]["asin"], spoilt.mistyped(rows[index], _MISTYPED_REVIEWS)))
        self.rejects = spoilt.rejects
        self.lines = _grouped(lines, rng)


class MetadataLines:
    """The lines of the metadata file.

    Attributes:
        lines: without line endings.
        asins: the ASINs of the sound ones.
    """

    def __init__(self, bought: list[int], wording: Wording, dirt: DemoDirt, rng: random.Random) -> None:
        missing = set(rng.sample(bought, share(dirt.missing_metadata, len(bought))))
        items = [item for item in range(len(wording.asins)) if item not in missing]
        take = _Takes(len(items), rng)
        html_titles, entity_titles = set(take(dirt.html_titles)), set(take(dirt.entity_titles))
        mistyped = {index: place for place, index in enumerate(take(dirt.mistyped_fields))}
        identical, conflicting = take(dirt.identical_metadata), take(dirt.conflicting_metadata)
        take = _Takes(len(items), rng)
        kinds = {
            index: kind
            for kind, of in (
                ("empty", dirt.empty_prices),
                ("range", dirt.price_ranges),
                ("css", dirt.price_css),
                ("thousands", dirt.price_thousands),
            )
            for index in take(of)
        }
        older = set(_Takes(len(items), rng)(dirt.older_images))

        self.prices: Counter[str] = Counter()
        self.mistyped_fields: Counter[str] = Counter()
        self.html_titles = self.entity_titles = self.older_images = 0
        rows = []
        for index, item in enumerate(items):
            kind = kinds.get(index, "plain")
            row = wording.metadata(item, _price(kind, rng), rng.sample(items, min(len(items), 8)))
            if index in html_titles:
                row["title"] = rng.choice(_HTML_TITLES)
            if index in entity_titles:
                row["title"] += rng.choice(_ENTITIES)
            if index in mistyped:
                name, value = _MISTYPED_FIELDS[mistyped[index] % len(_MISTYPED_FIELDS)]
                row[name] = value
            rows.append(_older_release(row) if index in older else row)
        lines = [(row["asin"], _line(row)) for row in rows]
        copies = list(identical)
        lines += [lines[index] for index in identical]
        for index in conflicting:
            other = {**rows[index], "title": f"{wording.titles[items[index]]}, Renewed", "price": "$7.77"}
            lines.append((other["asin"], _line(other)))
            self.prices["plain"] += 1
            self.older_images += index in older
        for index in (*range(len(rows)), *copies):
            self.prices[kinds.get(index, "plain")] += 1
            self.html_titles += index in html_titles
            self.entity_titles += index in entity_titles
            self.older_images += index in older
            if index in mistyped:
                self.mistyped_fields[_MISTYPED_FIELDS[mistyped[index] % len(_MISTYPED_FIELDS)][0]] += 1
        self.asins = {row["asin"] for row in rows}
        self.identical, self.conflicting = len(identical), len(conflicting)
        spoilt = _Spoilt()
        take = _Takes(len(items), rng)
        for index in take(dirt.malformed_metadata):
            lines.append((rows[index]["asin"], spoilt.malformed(lines[index][1])))
        for index in take(dirt.mistyped_metadata):
            lines.append((rows[index]["asin"], spoilt.mistyped(rows[index], _MISTYPED_METADATA)))
        self.rejects = spoilt.rejects
        self.lines = _grouped(lines, rng)


class _Takes:
    """Shares of some things, drawn so that no two of them overlap."""

    def __init__(self, count: int, rng: random.Random) -> None:
        self._count = count
        self._left = rng.sample(range(count), count)

    def __call__(self, of: float) -> list[int]:
        wanted = share(of, self._count)
        taken, self._left = self._left[:wanted], self._left[wanted:]
        return sorted(taken)


def _price(kind: str, rng: random.Random) -> str:
    amount = 3 + rng.expovariate(1 / 25)
    if kind == "empty":
        return ""
    if kind == "css":
        return _CSS * rng.randint(1, 12)
    if kind == "range":
        return f"${amount:.2f} - ${amount * 1.8:.2f}"
    if kind == "thousands":
        return f"${1000 + amount * 10:,.2f}"
    return f"${min(amount, 999.99):.2f}"


def _older_release(row: dict) -> dict:
    """The keys of the release that had one list of images, in its order."""
    older = {}
    for name, value in row.items():
        if name not in ("imageURL", "imageURLHighRes"):
            older[name] = value
        if name == "also_buy":
            older["image"] = row["imageURL"]
    return older


def _line(row: dict) -> bytes:
    return json.dumps(row).encode()


def _grouped(lines: list[tuple[str, bytes]], rng: random.Random) -> list[bytes]:
    """In the order of ASINs, and in no order within one."""
    rng.shuffle(lines)
    lines.sort(key=lambda line: line[0])
    return [line for _, line in lines]
