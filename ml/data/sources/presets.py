"""Published data sets that a source names by a word: ``preset = "movielens"``.

A preset stands for keys of ``source.toml``; a key that the source gives itself counts instead. Each follows the
description that is published with the data:

- ``movielens``: ``ratings.dat`` of MovieLens 1M and 10M, ``UserID::MovieID::Rating::Timestamp``, seconds;
- ``movielens_100k``: ``u.data``, tab separated, user, item, rating, seconds;
- ``movielens_csv``: ``ratings.csv`` of MovieLens 20M, 25M, 32M and "latest";
- ``yambda``: a flat Parquet file of Yambda (``uid``, ``timestamp``, ``item_id``, ``is_organic``, ...). Its times are
  seconds since a start that is not published; they are counted from 1970-01-02, so dates mean nothing, and
  differences do;
- ``retailrocket``: ``events.csv`` (``timestamp`` in milliseconds, ``visitorid``, ``event``, ``itemid``,
  ``transactionid``); views, additions to the cart and purchases are all interactions;
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
            "time_format": "seconds since 1970-01-02",
        },
        "retailrocket": {
            "layout": "table",
            "interactions": ["events.csv"],
            "columns": {"user": "visitorid", "item": "itemid", "timestamp": "timestamp"},
            "separator": ",",
            "time_format": "milliseconds",
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
    from ml.data.lines import LandingError

    own = dict(values)
    name = own.pop("preset", None)
    if name is None:
        return own
    if not isinstance(name, str) or name not in PRESETS:
        raise LandingError(f"{origin}: preset {name!r} is not known; it is one of {', '.join(PRESETS)}")
    return {**PRESETS[name], **own}
