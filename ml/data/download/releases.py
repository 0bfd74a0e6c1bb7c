"""Addresses of the files of each release, and the choice of files."""

from __future__ import annotations

import difflib
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ml.data.download.errors import DownloadError


@dataclass(frozen=True)
class Release:
    """Paths of the files of one release below its address; ``{}`` stands for the category.

    Attributes:
        base_url: its public address.
        categories: names of all categories.
        everything: path of all reviews of a category.
        core: path of the 5-core (every user and item with five reviews or more); ``None``: there is none.
        metadata: path of the items of a category.
    """

    base_url: str
    categories: tuple[str, ...]
    everything: str
    core: str | None
    metadata: str


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


RELEASES = {
    "2014": Release(
        base_url="https://snap.stanford.edu/data/amazon/productGraph",
        categories=_names(
            """
            Amazon_Instant_Video Apps_for_Android Automotive Baby Beauty Books CDs_and_Vinyl
            Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics
            Grocery_and_Gourmet_Food Health_and_Personal_Care Home_and_Kitchen Kindle_Store Movies_and_TV
            Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies Sports_and_Outdoors
            Tools_and_Home_Improvement Toys_and_Games Video_Games
            """
        ),
        everything="categoryFiles/reviews_{}.json.gz",
        core="categoryFiles/reviews_{}_5.json.gz",
        metadata="categoryFiles/meta_{}.json.gz",
    ),
    "2018": Release(
        base_url="https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2",
        categories=_names(
            """
            AMAZON_FASHION All_Beauty Appliances Arts_Crafts_and_Sewing Automotive Books CDs_and_Vinyl
            Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry Digital_Music Electronics Gift_Cards
            Grocery_and_Gourmet_Food Home_and_Kitchen Industrial_and_Scientific Kindle_Store Luxury_Beauty
            Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden
            Pet_Supplies Prime_Pantry Software Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games
            Video_Games
            """
        ),
        everything="categoryFiles/{}.json.gz",
        core="categoryFilesSmall/{}_5.json.gz",
        metadata="metaFiles2/meta_{}.json.gz",
    ),
    "2023": Release(
        base_url="https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023",
        categories=_names(
            """
            All_Beauty Amazon_Fashion Appliances Arts_Crafts_and_Sewing Automotive Baby_Products
            Beauty_and_Personal_Care Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry
            Digital_Music Electronics Gift_Cards Grocery_and_Gourmet_Food Handmade_Products
            Health_and_Household Health_and_Personal_Care Home_and_Kitchen Industrial_and_Scientific
            Kindle_Store Magazine_Subscriptions Movies_and_TV Musical_Instruments Office_Products
            Patio_Lawn_and_Garden Pet_Supplies Software Sports_and_Outdoors Subscription_Boxes
            Tools_and_Home_Improvement Toys_and_Games Unknown Video_Games
            """
        ),
        everything="raw/review_categories/{}.jsonl.gz",
        core=None,
        metadata="raw/meta_categories/meta_{}.jsonl.gz",
    ),
}


def wanted_urls(
    dataset: str, release: str, core: bool | None = None, metadata: bool = True, base_url: str | None = None
) -> list[str]:
    """Addresses of the files of one category, the reviews first.

    Args:
        dataset: the category, as in ``Industrial_and_Scientific``.
        release: ``2014``, ``2018`` or ``2023``.
        core: the 5-core or all reviews; ``None``: the 5-core where the release has one.
        metadata: whether the items are wanted too.
        base_url: of a mirror with the same layout below it, instead of the public address.

    Raises:
        DownloadError: there is no such category in the release, no 5-core, or the address is not http(s).
    """
    layout = RELEASES[release]
    check_category(dataset, release)
    if core and layout.core is None:
        raise DownloadError(f"the {release} release has no file of 5-core reviews; ask for all of them (--all)")
    base = (base_url or layout.base_url).rstrip("/")
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise DownloadError(f"{base} cannot be downloaded from: give an address that starts with http:// or https://")
    reviews = layout.everything if core is False or layout.core is None else layout.core
    paths = [reviews, layout.metadata] if metadata else [reviews]
    return [f"{base}/{path.format(dataset)}" for path in paths]


def check_category(dataset: str, release: str) -> None:
    """Pass a category of the release.

    Raises:
        DownloadError: it is none; the message names the nearest ones, and the releases that have it.
    """
    categories = RELEASES[release].categories
    if dataset in categories:
        return
    plain = {name.lower(): name for name in categories}
    spelt = re.sub(r"[^a-z0-9]+", "_", dataset.lower())
    near = [plain[name] for name in difflib.get_close_matches(spelt, plain, n=3, cutoff=0.6)]
    # a part of a long name is a likely slip too: Scientific, Jewelry
    near += [name for low, name in plain.items() if len(spelt) > 3 and spelt in low and name not in near]
    others = [other for other in RELEASES if dataset in RELEASES[other].categories]
    text = f"the {release} release has no category {dataset!r}"
    if others:
        text += f" (the release {' and '.join(others)} has)"
    if near:
        text += f"; the nearest: {', '.join(near[:4])}"
    else:
        text += f"; it has: {', '.join(categories)}"
    raise DownloadError(text)


def check_no_other_reviews(folder: Path, dataset: str, wanted: str) -> None:
    """Pass a folder that holds no other file of reviews of the category than the wanted one.

    Raises:
        DownloadError: it holds the 5-core and all reviews are wanted, or the reverse, or another release's.
    """
    for release in RELEASES.values():
        for path in (release.everything, release.core):
            name = path.format(dataset).rsplit("/", 1)[-1] if path else wanted
            if name != wanted and (folder / name).exists():
                raise DownloadError(
                    f"{folder} holds {name}, and {wanted} beside it would count reviews twice; take {name} away, or "
                    "fetch into another folder (--into)"
                )
