"""A demo dump: made-up shoppers in the exact layout of the 2018 release, with the dirt of the real one.

Nothing in it is copied from a real dump. It is small, the same for the same seed byte for byte, and made so
that recommenders can be told apart on it:

- **Order matters beyond the last item.** A user works on two projects at a time and mostly serves them in
  turn; the next item is mostly the successor, within its project, of the last item bought for *that* project
  (see :mod:`ml.demo.behaviour`). A first-order Markov chain sees this only where the user stays with a
  project. A model that looks back to the last but one item, and knows by their families which earlier items
  belong together, gains much; who knows the rule by heart gains more still, and noise keeps it from certainty.
- **Text matters.** Titles of one family share project, theme and brand words, so BM25 on the last item's text
  finds items of its project, and beats popularity, but cannot tell which of them comes next.
- **Popularity is skewed**, by a power law over families and within them.

Measured on the default dump (5-core, ties in an order without meaning, last item held out, all items ranked),
nDCG@10: random .006, most popular .022, repeat last .025, BM25 on the last item .076, first-order Markov chain
.135, a small SASRec .26 after 15 seconds, and .47 by the rule itself (families and rings known, the rest
guessed).

:class:`DemoDirt` says how much dirt of each kind is strewn in, :class:`DemoDump` how much there then is.
"""

from __future__ import annotations

import gzip
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ml.data.files import atomic_file
from ml.demo.behaviour import Behaviour, make_catalogue, simulate
from ml.demo.dirt import DemoDirt, MetadataLines, ReviewLines, share
from ml.demo.text import THEMES, Wording

__all__ = ["DATASET", "Behaviour", "DemoDirt", "DemoDump", "write_demo_dump"]

DATASET = "Demo"


@dataclass(frozen=True)
class DemoDump:
    """The files written, and the dirt in them.

    Attributes:
        reviews: the file of reviews.
        metadata: the file of metadata.
        review_lines: lines of the reviews file.
        review_rejects: how many of them are to be rejected, by reason (:mod:`ml.data.sources.amazon.v2018`).
        identical_reviews: lines beyond the first of byte-identical ones.
        reworded_reviews: lines beyond the first that repeat its reviewerID, asin, time and rating in other words.
        mistyped_verified: lines to be kept with an invalid ``verified``.
        interactions: distinct (reviewerID, asin, time, rating) in the lines to be kept.
        users: users with an interaction.
        items: items with an interaction.
        repeated_interactions: interactions beyond the first of a user with an item.
        tied_interactions: interactions that share user and day with another.
        metadata_lines: lines of the metadata file.
        metadata_rejects: how many of them are to be rejected, by reason.
        metadata_asins: distinct ASINs in the others.
        identical_metadata: lines beyond the first of byte-identical ones.
        conflicting_asins: ASINs whose rows differ.
        mistyped_fields: lines to be kept with an invalid field, by its name.
        prices: lines to be kept by what stands for the price: ``plain``, ``thousands``, ``empty``, ``range``,
            ``css``. The first two are sound.
        html_titles: lines to be kept whose title is the start of a tag.
        entity_titles: lines to be kept whose title holds entities.
        older_images: lines to be kept with ``image`` in place of ``imageURL`` and ``imageURLHighRes``.
        reviewed_without_metadata: items with an interaction and no metadata.
        unreviewed_asins: ASINs with metadata and no interaction.
    """

    reviews: Path
    metadata: Path
    review_lines: int
    review_rejects: dict[str, int]
    identical_reviews: int
    reworded_reviews: int
    mistyped_verified: int
    interactions: int
    users: int
    items: int
    repeated_interactions: int
    tied_interactions: int
    metadata_lines: int
    metadata_rejects: dict[str, int]
    metadata_asins: int
    identical_metadata: int
    conflicting_asins: int
    mistyped_fields: dict[str, int]
    prices: dict[str, int]
    html_titles: int
    entity_titles: int
    older_images: int
    reviewed_without_metadata: int
    unreviewed_asins: int

    @property
    def reviews_kept(self) -> int:
        return self.review_lines - sum(self.review_rejects.values())

    @property
    def metadata_kept(self) -> int:
        return self.metadata_lines - sum(self.metadata_rejects.values())


def write_demo_dump(
    folder: Path,
    users: int = 3000,
    items: int = 800,
    seed: int = 0,
    dirt: DemoDirt | None = None,
    behaviour: Behaviour | None = None,
) -> DemoDump:
    """Write ``Demo.json.gz`` and ``meta_Demo.json.gz`` into a folder, made if there is none.

    Equal arguments give equal bytes. The reviews come last, so a folder that holds them holds both.

    Args:
        folder: where to.
        users: number of users, at least 20.
        items: number of items that are bought, at least 40.
        seed: of everything that is drawn.
        dirt: how much of it; the default where ``None``.
        behaviour: how users buy; the default where ``None``.

    Raises:
        ValueError: too few users or items.
    """
    if users < 20 or items < 40:
        raise ValueError(f"a demo dump needs at least 20 users and 40 items, not {users} and {items}")
    dirt, behaviour = dirt or DemoDirt(), behaviour or Behaviour()
    rng = random.Random(seed)
    catalogue = make_catalogue(items, share(dirt.unreviewed_items, items), len(THEMES), behaviour, rng)
    histories = simulate(users, catalogue, behaviour, rng)
    wording = Wording(catalogue, rng)
    reviews = ReviewLines(histories, wording, dirt, rng)
    metadata = MetadataLines(reviews.items, wording, dirt, rng)
    reviewed = {wording.asins[item] for item in reviews.items}
    days = Counter((user, day) for user, _, day, _ in reviews.interactions)
    dump = DemoDump(
        reviews=folder / f"{DATASET}.json.gz",
        metadata=folder / f"meta_{DATASET}.json.gz",
        review_lines=len(reviews.lines),
        review_rejects=dict(sorted(reviews.rejects.items())),
        identical_reviews=reviews.identical,
        reworded_reviews=reviews.reworded,
        mistyped_verified=reviews.mistyped_verified,
        interactions=len(reviews.interactions),
        users=len({user for user, *_ in reviews.interactions}),
        items=len(reviewed),
        repeated_interactions=len(reviews.interactions) - len({key[:2] for key in reviews.interactions}),
        tied_interactions=sum(count for count in days.values() if count > 1),
        metadata_lines=len(metadata.lines),
        metadata_rejects=dict(sorted(metadata.rejects.items())),
        metadata_asins=len(metadata.asins),
        identical_metadata=metadata.identical,
        conflicting_asins=metadata.conflicting,
        mistyped_fields=dict(sorted(metadata.mistyped_fields.items())),
        prices=dict(sorted(metadata.prices.items())),
        html_titles=metadata.html_titles,
        entity_titles=metadata.entity_titles,
        older_images=metadata.older_images,
        reviewed_without_metadata=len(reviewed - metadata.asins),
        unreviewed_asins=len(metadata.asins - reviewed),
    )
    _write_gzip(dump.metadata, metadata.lines)
    _write_gzip(dump.reviews, reviews.lines)
    return dump


def _write_gzip(path: Path, lines: list[bytes]) -> None:
    with atomic_file(path) as new:
        # without a time in its header the bytes depend on the lines alone
        new.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", compresslevel=6, mtime=0))
