"""Parquet, folders, partitions and presets."""

from __future__ import annotations

import pyarrow as pa

from .entry import TIME, Input, parquet, table

T = TIME
PAIR = {"user": ["u", "v"], "item": ["i", "j"]}
TIMED = parquet(PAIR | {"timestamp": [T, T + 1]})

_G = "Parquet and folders"
_PARQUET = [
    Input(_G, "a file", {"shop.parquet": TIMED}, rows=2, kept=[("u", "i", T), ("v", "j", T + 1)]),
    Input(
        _G,
        "a folder of parts, as Spark writes it",
        {"shop.parquet/part-10.parquet": TIMED, "shop.parquet/part-2.parquet": TIMED, "shop.parquet/_SUCCESS": ""},
        rows=4,
    ),
    Input(
        _G,
        "times as Arrow timestamps in nanoseconds",
        {"shop.parquet": parquet(PAIR | {"timestamp": pa.array([T * 10**9, T * 10**9], pa.timestamp("ns"))})},
        rows=2,
        kept=[("u", "i", T), ("v", "j", T)],
    ),
    Input(
        _G,
        "a missing time",
        {"shop.parquet": parquet(PAIR | {"timestamp": pa.array([T, None], pa.int64())})},
        rows=1,
        rejects={"timestamp missing": 1},
    ),
    Input(
        _G,
        "dates beyond the year 9999",
        {"shop.parquet": parquet(PAIR | {"date": pa.array([16_000, 10**7], pa.int32()).cast(pa.date32())})},
        rows=1,
        rejects={"timestamp out of range": 1},
    ),
    Input(
        _G,
        "identities as whole numbers and as floats",
        {"shop.parquet": parquet({"user": [1, 2], "item": [7.0, 8.0], "timestamp": [T, T]})},
        rows=2,
        kept=[("1", "7", T), ("2", "8", T)],
        warns=[".0"],
    ),
    Input(
        _G,
        "lists of items",
        {"shop.parquet": parquet({"user": ["u"], "item": [["i", "j"]], "timestamp": [T]})},
        refused="list",
    ),
    Input(_G, "a Parquet file that is cut short", {"shop.parquet": TIMED[:-20]}, refused="shop.parquet"),
    Input(_G, "a table of text called `.parquet`", {"shop.parquet": "user,item\nu,i\n"}, refused="shop.parquet"),
    Input(
        _G,
        "the day in the name of the folder (Hive)",
        {
            "shop/day=2020-01-02/part.parquet": parquet(PAIR),
            "shop/day=2020-01-10/part.parquet": parquet(PAIR),
        },
        source='layout = "table"\ninteractions = ["shop/**/*.parquet"]\n',
        rows=4,
    ),
    Input(
        _G,
        "another column in the name of the folder",
        {"shop/country=nl/part.parquet": TIMED},
        source='layout = "table"\ninteractions = ["shop/**/*.parquet"]\n',
        rows=2,
    ),
    Input(
        _G,
        "a day that is none",
        {"shop/day=soon/part.parquet": parquet(PAIR)},
        source='layout = "table"\ninteractions = ["shop/**/*.parquet"]\n',
        rows=0,
        rejects={"timestamp not a number or date": 2},
        stops=["rows_in_every_file", "rejected_below_5_percent"],
        warns=["the limit is 1 %"],
        checked=True,
    ),
]


def preset(name: str) -> str:
    return f'preset = "{name}"\n'


_P = "Presets"
_PRESETS = [
    Input(
        _P,
        "`movielens`: `ratings.dat`",
        {"ratings.dat": f"1::7::5::{T}\n1::8::4::{T}\n"},
        source=preset("movielens"),
        rows=2,
    ),
    Input(_P, "`movielens_100k`: `u.data`", {"u.data": f"1\t7\t5\t{T}\n"}, source=preset("movielens_100k"), rows=1),
    Input(
        _P,
        "`movielens_csv`: `ratings.csv`",
        {"ratings.csv": table("userId,movieId,rating,timestamp", f"1,7,4.5,{T}")},
        source=preset("movielens_csv"),
        rows=1,
    ),
    Input(
        _P,
        "`yambda`: `listens.parquet`",
        {
            "listens.parquet": parquet(
                {
                    "uid": pa.array([100, 101] * 20, pa.uint32()),
                    "timestamp": pa.array(list(range(0, 200, 5)), pa.uint32()),
                    "item_id": pa.array([1, 2, 3, 4] * 10, pa.uint32()),
                }
            )
        },
        source=preset("yambda"),
        rows=40,
        checked=True,
    ),
    Input(
        _P,
        "`retailrocket`: `events.csv`",
        {"events.csv": table("timestamp,visitorid,event,itemid,transactionid", f"{T}000,257597,view,355908,")},
        source=preset("retailrocket"),
        rows=1,
        kept=[("257597", "355908", T)],
    ),
    Input(
        _P,
        "`amazon_ratings`: user first",
        {"shop.csv": f"A1,B1,5.0,{T}\n"},
        source=preset("amazon_ratings"),
        rows=1,
        kept=[("A1", "B1", T)],
    ),
    Input(
        _P,
        "`amazon_ratings_2018`: item first",
        {"shop.csv": f"B1,A1,5.0,{T}\n"},
        source=preset("amazon_ratings_2018"),
        rows=1,
        kept=[("A1", "B1", T)],
    ),
    Input(
        _P,
        "`steam_200k`: no times",
        {"steam-200k.csv": '1,"Skyrim, again",purchase,1.0,0\n1,Spore,play,14.9,0\n'},
        source=preset("steam_200k"),
        rows=2,
        warns=["time"],
    ),
    Input(
        _P, "a preset that does not exist", {"shop.csv": f"u,i,5,{T}\n"}, source=preset("netflix"), refused="netflix"
    ),
]

PARQUET_FILES = (*_PARQUET, *_PRESETS)
