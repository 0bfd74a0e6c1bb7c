"""Published data sets that a source names by a word: ``preset = "movielens"``.

A preset stands for keys of ``source.toml``; a key that the source gives itself counts instead. Each follows the
description that is published with the data:

- ``movielens``: ``ratings.dat`` of MovieLens 1M and 10M, ``UserID::MovieID::Rating::Timestamp``, seconds;
- ``movielens_100k``: ``u.data``, tab separated, user, item, rating, seconds;
- ``movielens_csv``: ``ratings.csv`` of MovieLens 20M, 25M, 32M and "latest";
- ``yambda``: a flat Parquet file of Yambda (``uid``, ``timestamp``, ``item_id``, ``is_organic``, ...). Its times are
  seconds since a start that is not published; they are counted from 2000-01-01, so dates mean nothing, and
  differences do;
- ``retailrocket``: ``events.csv`` (``timestamp`` in milliseconds, ``visitorid``, ``event``, ``itemid``,
  ``transactionid``); views, additions to the cart and purchases are all interactions, unless ``[keep]`` says otherwise;
- ``yoochoose``: ``yoochoose-clicks.dat`` of the RecSys challenge 2015, ``session,timestamp,item,category``; a session
  stands for a user;
- ``taobao``: ``UserBehavior.csv``, ``user,item,category,behaviour,timestamp`` without a line of names, seconds;
- ``yelp``: ``yelp_academic_dataset_review.json`` of the Yelp Open Dataset, JSON lines;
- ``goodreads``: ``goodreads_reviews_*.json.gz`` of the UCSD Book Graph; the time is that when the book was added to a
  shelf, and a rating of 0 says that there is none;
- ``steam``: ``steam_reviews.json.gz`` of UCSD, Python literals; days, and no ratings;
- ``google_maps``: ``review-*.json.gz`` of Google Local (2021), milliseconds;
- ``gowalla``: ``loc-gowalla_totalCheckins.txt`` of SNAP, tab separated, user, time, latitude, longitude, place;
- ``foursquare``: ``dataset_TSMC2014_*.txt``, tab separated, Latin-1, ``Tue Apr 03 18:00:09 +0000 2012``;
- ``book_crossing``: ``BX-Book-Ratings.csv``, semicolons and quotes, Latin-1; no times, and 0 for an implicit rating;
- ``amazon_ratings``: "ratings only" of Amazon 2014, ``user,item,rating,timestamp`` without a line of names;
- ``amazon_ratings_2018``: "ratings only" of Amazon 2018, ``item,user,rating,timestamp``;
- ``steam_200k``: ``steam-200k.csv``, without names: user, game, behaviour, value, and a column of zeros; no times.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_BY_POSITION = ["user", "item", "rating", "timestamp"]

PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "movielens": {
            "layout": "table",
            "interactions": ["ratings.dat"],
            "columns": _BY_POSITION,
            "separator": "::",
            "time_format": "seconds",
        },
        "movielens_100k": {
            "layout": "table",
            "interactions": ["u.data"],
            "columns": _BY_POSITION,
            "separator": "\t",
            "time_format": "seconds",
        },
        "movielens_csv": {
            "layout": "table",
            "interactions": ["ratings.csv"],
            "columns": {"user": "userId", "item": "movieId", "rating": "rating", "timestamp": "timestamp"},
            "separator": ",",
            "time_format": "seconds",
        },
        "yambda": {
            "layout": "table",
            "interactions": ["listens.parquet"],
            "columns": {"user": "uid", "item": "item_id", "timestamp": "timestamp"},
            "time_format": "seconds since 2000-01-01",
        },
        "retailrocket": {
            "layout": "table",
            "interactions": ["events.csv"],
            "columns": {"user": "visitorid", "item": "itemid", "timestamp": "timestamp"},
            "separator": ",",
            "time_format": "milliseconds",
        },
        "yoochoose": {
            "layout": "table",
            "interactions": ["yoochoose-clicks.dat"],
            "columns": ["user", "timestamp", "item", "category"],
            "separator": ",",
        },
        "taobao": {
            "layout": "table",
            "interactions": ["UserBehavior.csv"],
            "columns": ["user", "item", "category", "behaviour", "timestamp"],
            "separator": ",",
            "time_format": "seconds",
        },
        "yelp": {
            "layout": "json_lines",
            "interactions": ["yelp_academic_dataset_review.json"],
            "columns": {"user": "user_id", "item": "business_id", "timestamp": "date", "rating": "stars"},
        },
        "goodreads": {
            "layout": "json_lines",
            "interactions": ["goodreads_reviews_*.json.gz"],
            "columns": {"user": "user_id", "item": "book_id", "timestamp": "date_added", "rating": "rating"},
            "time_format": "%a %b %d %H:%M:%S %z %Y",
        },
        "steam": {
            "layout": "json_lines",
            "interactions": ["steam_reviews.json.gz"],
            "columns": {"user": "username", "item": "product_id", "timestamp": "date"},
        },
        "google_maps": {
            "layout": "json_lines",
            "interactions": ["review-*.json.gz"],
            "columns": {"user": "user_id", "item": "gmap_id", "timestamp": "time", "rating": "rating"},
            "time_format": "milliseconds",
        },
        "gowalla": {
            "layout": "table",
            "interactions": ["loc-gowalla_totalCheckins.txt"],
            "columns": ["user", "timestamp", "latitude", "longitude", "item"],
            "separator": "\t",
        },
        "foursquare": {
            "layout": "table",
            "interactions": ["dataset_TSMC2014_*.txt"],
            "columns": ["user", "item", "category_id", "category", "latitude", "longitude", "offset", "timestamp"],
            "separator": "\t",
            "time_format": "%a %b %d %H:%M:%S %z %Y",
            "encoding": "latin-1",
        },
        "book_crossing": {
            "layout": "table",
            "interactions": ["BX-Book-Ratings.csv"],
            "columns": {"user": "User-ID", "item": "ISBN", "rating": "Book-Rating"},
            "separator": ";",
            "encoding": "latin-1",
        },
        "amazon_ratings": {
            "layout": "table",
            "columns": _BY_POSITION,
            "separator": ",",
            "time_format": "seconds",
        },
        "amazon_ratings_2018": {
            "layout": "table",
            "columns": ["item", "user", "rating", "timestamp"],
            "separator": ",",
            "time_format": "seconds",
        },
        "steam_200k": {
            "layout": "table",
            "interactions": ["steam-200k.csv"],
            "columns": ["user", "item", "behaviour", "value", "zero"],
            "separator": ",",
        },
    }
)


def with_preset(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The keys of a source together with those of the preset that it names, without ``preset`` itself.

    Raises:
        LandingError: there is no such preset.
    """
    from ml.data.landing.file_lines import LandingError

    own = dict(values)
    name = own.pop("preset", None)
    if name is None:
        return own
    if not isinstance(name, str) or name not in PRESETS:
        raise LandingError(f"{origin}: preset {name!r} is not known; it is one of {', '.join(PRESETS)}")
    return {**PRESETS[name], **own}
