"""Amazon's releases, other JSON, and metadata."""

from __future__ import annotations

import json

from .entry import TIME, Input, item_2018, item_2023, lines, review_2018, review_2023, zipped

R18, R23 = review_2018(), review_2023()
_G = "Reviews of Amazon, and other JSON"
DEEP = '{"reviewerID": "A1", "x": ' + "[" * 1000 + "]" * 1000 + "}"


def reviews(*rows: object, name: str = "shop.json") -> dict[str, str]:
    return {name: lines(*rows)}


_REVIEWS = [
    Input(_G, "2018, plain", reviews(R18), rows=1),
    Input(_G, "2018, gzip", {"shop.json.gz": zipped(lines(R18))}, rows=1),
    Input(_G, "2014", reviews(R18, name="reviews_shop.json"), rows=1),
    Input(_G, "2023", reviews(R23, name="shop.jsonl"), rows=1),
    Input(_G, "a byte order mark", {"shop.json": b"\xef\xbb\xbf" + lines(R18).encode()}, rows=1),
    Input(_G, "2023 under the name of 2018", reviews(R23), rows=1, warns=["LAYOUT=amazon_2023"]),
    Input(_G, "2018 under the name of 2023", reviews(R18, name="shop.jsonl"), rows=1, warns=["LAYOUT=amazon_2018"]),
    Input(_G, "2023, said to be 2018", reviews(R23), source='layout = "amazon_2018"\n', refused="LAYOUT=amazon_2023"),
    Input(_G, "metadata under the name of reviews", reviews(item_2018()), refused="metadata of 2018"),
    Input(_G, "one JSON array", {"shop.json": json.dumps([R18, R18])}, refused="jq -c '.[]'"),
    Input(_G, "objects over several lines", {"shop.json": json.dumps(R18, indent=1)}, refused="jq -c ."),
    Input(
        _G,
        "Yelp",
        reviews({"review_id": "r", "user_id": "u", "business_id": "b", "stars": 4.0, "date": "2014-01-13"}),
        refused="Yelp",
    ),
    Input(
        _G, "Goodreads", reviews({"user_id": "u", "book_id": "b", "rating": 4, "date_added": "x"}), refused="Goodreads"
    ),
    Input(_G, "Steam", reviews({"username": "u", "product_id": "p", "date": "2014-01-13"}), refused="Steam"),
    Input(_G, "Google Maps", reviews({"user_id": "u", "gmap_id": "g", "rating": 4, "time": 1}), refused="Google Maps"),
    Input(_G, "objects of another kind", reviews({"customer": "u", "product": "p"}), refused="customer"),
    Input(_G, "a table under the name of JSON", {"shop.json": "user,item\nu,i\n"}, refused="no JSON objects"),
    Input(_G, "a line that is no JSON", reviews(R18, "{"), rows=1, rejects={"malformed JSON": 1}),
    Input(_G, "a line nested 1,000 levels deep", reviews(R18, DEEP), rows=1, rejects={"nested too deeply": 1}),
    Input(
        _G,
        "half of a surrogate pair, NaN and 1e400 in fields that nobody reads",
        reviews(
            json.dumps(R18)[:-1] + ', "reviewText": "\\ud800"}',
            json.dumps(R18)[:-1] + ', "helpful": NaN}',
            json.dumps(R18)[:-1] + ', "vote": 1e400}',
        ),
        rows=3,
    ),
    Input(
        _G,
        "half of a surrogate pair in the user",
        reviews(R18, json.dumps(R18).replace("A1", "\\ud800")),
        rows=1,
        rejects={"reviewerID not a string": 1},
    ),
    Input(
        _G,
        "a rating of 9, a time of 0, no user",
        reviews(
            R18, R18 | {"overall": 9}, R18 | {"unixReviewTime": 0}, {k: v for k, v in R18.items() if k != "reviewerID"}
        ),
        rows=1,
        rejects={"overall out of range": 1, "unixReviewTime out of range": 1, "reviewerID missing": 1},
    ),
    Input(_G, "blank lines", {"shop.json": "\n\n" + lines(R18) + "\n" * 1000}, rows=1),
    Input(
        _G,
        "every line without a user",
        reviews(*(R18 | {"reviewerID": ""} for _ in range(30))),
        rows=0,
        rejects={"reviewerID missing": 30},
        stops=["rows_in_every_file", "rejected_below_5_percent"],
        warns=["the limit is 1 %"],
        checked=True,
    ),
]

_M = "Metadata"
LITERAL = "{u'asin': 'B1', 'title': \"Anvil's\", 'price': 5.0, 'categories': [['Tools']]}\n"
_METADATA = [
    Input(_M, "`meta_shop.json` of 2018", reviews(R18) | {"meta_shop.json": lines(item_2018())}, rows=1, items=1),
    Input(
        _M,
        "plain `meta_shop.jsonl` beside `shop.jsonl.gz`",
        {"shop.jsonl.gz": zipped(lines(R23)), "meta_shop.jsonl": lines(item_2023())},
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "literals of Python, as 2014 is published",
        reviews(R18, name="reviews_shop.json") | {"meta_shop.json": LITERAL},
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "`DATASET=shop_5` beside `meta_shop.json`",
        reviews(R18, name="shop_5.json") | {"meta_shop.json": lines(item_2018())},
        dataset="shop_5",
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "beside a table",
        {"shop.csv": f"user,item,timestamp\nu,B1,{TIME}\n", "meta_shop.json": lines(item_2018())},
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "a file that looks like metadata and is not named so",
        reviews(R18) | {"metadata.csv": "asin,title\nB1,Anvil\n"},
        rows=1,
        warns=["looks like metadata"],
    ),
    Input(
        _M,
        "reviews under the name of metadata",
        reviews(R18) | {"meta_shop.json": lines(R18)},
        refused="reviews of 2018",
    ),
    Input(
        _M,
        "objects without `asin`",
        reviews(R18) | {"meta_shop.json": lines({"id": "B1", "title": "Anvil"})},
        refused="asin",
    ),
    Input(
        _M,
        "two files that could each be it",
        reviews(R18) | {"meta_shop.json": lines(item_2018()), "meta_shop.jsonl": lines(item_2023())},
        refused="holds both",
    ),
    Input(
        _M,
        "NaN and 1e400 in fields that nobody reads",
        reviews(R18) | {"meta_shop.json": json.dumps(item_2018())[:-1] + ', "rank": 1e400, "x": NaN}\n'},
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "a template of the text: `{title} {description}`",
        reviews(R18) | {"meta_shop.json": lines(item_2018(description=["Heavy."]))},
        source='layout = "amazon_2018"\n[item_text]\ntemplate = "{title} {description}"\n',
        rows=1,
        items=1,
    ),
    Input(
        _M,
        "a template with a field that does not exist",
        reviews(R18) | {"meta_shop.json": lines(item_2018())},
        source='layout = "amazon_2018"\n[item_text]\ntemplate = "{colour}"\n',
        refused="colour",
    ),
]

JSON_DUMPS = (*_REVIEWS, *_METADATA)
