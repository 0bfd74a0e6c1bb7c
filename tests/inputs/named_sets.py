"""JSON lines of any kind, presets, and files that are nearly called after the dataset."""

from __future__ import annotations

import json

from .entry import TIME, Input, item_2018, lines, review_2018, table, zipped

T = TIME
_J = "JSON lines of any kind"
EVENT = {"account": "u", "product": "i", "when": "2014-01-13", "stars": 4, "colour": "blue"}
LAYOUT = 'layout = "json_lines"\n'
COLUMNS = f'{LAYOUT}[columns]\nuser = "account"\nitem = "product"\ntimestamp = "when"\n'
_JSON = [
    Input(
        _J,
        "keys that are known",
        {"shop.jsonl": lines({"user": "u", "item": "i", "ts": T})},
        source=LAYOUT,
        rows=1,
        kept=[("u", "i", T)],
    ),
    Input(
        _J,
        "keys that are given",
        {"shop.jsonl": lines(EVENT)},
        source=COLUMNS,
        rows=1,
        kept=[("u", "i", 1_389_571_200)],
    ),
    Input(
        _J, "keys that are not known", {"shop.jsonl": lines({"who": "u", "what": "i"})}, source=LAYOUT, refused="user"
    ),
    Input(
        _J,
        "a key inside another",
        {"shop.jsonl": lines({"user": {"id": "u"}, "item": "i", "ts": T})},
        source=f'{LAYOUT}[columns]\nuser = "user.id"\n',
        refused="jq",
    ),
    Input(
        _J,
        "an array as the user",
        {
            "shop.jsonl": lines(
                *({"user": "u", "item": f"i{n}", "ts": T} for n in range(5)), {"user": ["u"], "item": "i", "ts": T}
            )
        },
        source=LAYOUT,
        rows=5,
        rejects={"user of a wrong type": 1},
    ),
    Input(
        _J,
        "literals of Python",
        {"shop.jsonl": "{'user': 'u', 'item': 'i', 'ts': 1400000000}\n"},
        source=LAYOUT,
        rows=1,
        kept=[("u", "i", T)],
    ),
    Input(
        _J,
        "a key that an object does not have",
        {"shop.jsonl": lines({"user": "u", "item": "i", "ts": T, "rating": 4}, {"user": "v", "item": "j", "ts": T})},
        source=LAYOUT,
        rows=2,
    ),
]

_P = "Presets"


def preset(name: str) -> str:
    return f'preset = "{name}"\n'


YELP = {"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0, "date": "2018-07-07 22:09:11"}
GOODREADS = {"user_id": "u", "book_id": "7", "rating": 5, "date_added": "Fri Aug 25 13:55:02 -0700 2017"}
CHECK_IN = "470\tv1\tc\tCaf\xe9\t40.7\t-74.0\t-240\tTue Apr 03 18:00:09 +0000 2012\n"
_PRESETS = [
    Input(
        _P,
        "`yelp`",
        {"yelp_academic_dataset_review.json": lines(YELP)},
        source=preset("yelp"),
        rows=1,
        kept=[("u", "b", 1_531_001_351)],
    ),
    Input(
        _P,
        "`goodreads`",
        {"goodreads_reviews_poetry.json.gz": zipped(lines(GOODREADS))},
        source=preset("goodreads"),
        rows=1,
        kept=[("u", "7", 1_503_694_502)],
    ),
    Input(
        _P,
        "`steam`: literals of Python",
        {
            "steam_reviews.json.gz": zipped(
                "{u'username': u'it\\'s me', u'product_id': u'725280', u'date': u'2017-12-17'}\n"
            )
        },
        source=preset("steam"),
        rows=1,
        kept=[("it's me", "725280", 1_513_468_800)],
    ),
    Input(
        _P,
        "`google_maps`",
        {
            "review-Hawaii.json.gz": zipped(
                lines({"user_id": "101463", "gmap_id": "0x7e:0x3b", "rating": 5, "time": T * 1000})
            )
        },
        source=preset("google_maps"),
        rows=1,
        kept=[("101463", "0x7e:0x3b", T)],
    ),
    Input(
        _P,
        "`gowalla`",
        {"loc-gowalla_totalCheckins.txt": "0\t2010-10-19T23:55:27Z\t30.2\t-97.7\t22847\n"},
        source=preset("gowalla"),
        rows=1,
        kept=[("0", "22847", 1_287_532_527)],
    ),
    Input(
        _P,
        "`taobao`",
        {"UserBehavior.csv": "1,2268318,2520377,pv,1511544070\n"},
        source=preset("taobao"),
        rows=1,
        kept=[("1", "2268318", 1_511_544_070)],
    ),
    Input(
        _P,
        "`yoochoose`",
        {"yoochoose-clicks.dat": "9,2014-04-07T10:51:09.277Z,214536502,0\n"},
        source=preset("yoochoose"),
        rows=1,
        kept=[("9", "214536502", 1_396_867_869)],
    ),
    Input(
        _P,
        "`foursquare`: Latin-1",
        {"dataset_TSMC2014_NYC.txt": CHECK_IN.encode("latin-1")},
        source=preset("foursquare"),
        rows=1,
        kept=[("470", "v1", 1_333_476_009)],
    ),
    Input(
        _P,
        "`book_crossing`: no times",
        {"BX-Book-Ratings.csv": '"User-ID";"ISBN";"Book-Rating"\n"276727";"044\xe9";"5"\n'.encode("latin-1")},
        source=preset("book_crossing"),
        rows=1,
        kept=[("276727", "044\xe9", None)],
        warns=["no column is known as the time"],
    ),
    Input(
        _P,
        '`retailrocket` with `[keep] event = ["transaction"]`',
        {
            "events.csv": table(
                "timestamp,visitorid,event,itemid,transactionid", f"{T}000,1,view,7,", f"{T}000,1,transaction,8,9"
            )
        },
        source=preset("retailrocket") + '[keep]\nevent = ["transaction"]\n',
        rows=1,
        kept=[("1", "8", T)],
        warns=["1"],
    ),
]

_F = "Several files"
TABLE = table("user,item,timestamp", f"u,i,{T}")
_NEARLY = [
    *(
        Input(_F, f"`{name}`", {name: TABLE}, refused=part)
        for name, part in {
            "shop.CSV": "capital letters count",
            "Shop.csv": "capital letters count",
            "shop.csv.bz2": "unpack or decompress it",
            "shop.tar.gz": "unpack or decompress it",
            "shop/part-0.csv": 'interactions = ["shop/*.csv"]',
        }.items()
    ),
    Input(
        _F,
        "a key below `[columns]` that belongs in front of it",
        {"shop.csv": TABLE},
        source='layout = "table"\n[columns]\nuser = "user"\ninteractions = ["shop.csv"]\n',
        refused="stands below [columns]",
    ),
    Input(
        _F,
        "one file under two ways of writing its name",
        {"shop.csv": TABLE},
        source='layout = "table"\ninteractions = ["shop.csv", "./shop.csv"]\n',
        rows=1,
    ),
]

_R = "Reviews of Amazon, and other JSON"
R18 = review_2018()
_REVIEWS = [
    Input(_R, "literals of Python as reviews", {"reviews_shop.json": f"{R18}\n"}, rows=1, kept=[("A1", "B1", T)]),
    Input(
        _R,
        "white space around users and items",
        {"shop.json": lines(review_2018(" A1 ", "B1 "))},
        rows=1,
        kept=[("A1", "B1", T)],
    ),
    Input(_R, "several objects on a line", {"shop.json": json.dumps(R18) + json.dumps(R18) + "\n"}, refused="jq"),
    Input(
        _R, "objects with commas between them", {"shop.json": ",\n".join([json.dumps(R18)] * 3) + "\n"}, refused="comma"
    ),
    Input(
        _R,
        "a table that pandas wrote by column",
        {"shop.json": json.dumps({"user": {"0": "u"}, "item": {"0": "i"}})},
        refused="pandas",
    ),
    Input(
        "Metadata",
        "metadata in a table",
        {"shop.json": lines(R18), "meta_shop.csv": "asin,title\nB1,Anvil\n"},
        rows=1,
        warns=["metadata is JSON lines"],
    ),
    Input(
        "Metadata",
        "white space around items",
        {"shop.json": lines(R18), "meta_shop.json": lines(item_2018(" B1 "))},
        rows=1,
        items=1,
    ),
]

NAMED_SETS = (*_JSON, *_PRESETS, *_NEARLY, *_REVIEWS)
