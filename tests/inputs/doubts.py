"""What is nearly a sound table or sequence file, and rows that are left out on purpose."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa

from .entry import TIME, Input, parquet, table

T = TIME
NAMES = "user_id,item_id,rating,timestamp"
ROWS = [f"u{n % 4},i{n % 7},{1 + n % 5},{T + n}" for n in range(28)]
USERS = [(f"u{user}", [f"i{(7 * user + place) % 11}" for place in range(3 + user % 3)]) for user in range(12)]
MARK = "\ufeff"


def shop(*lines: str) -> dict[str, str]:
    return {"shop.csv": "".join(f"{line}\n" for line in lines)}


def said(*lines: str) -> str:
    return "".join(f"{line}\n" for line in ('layout = "table"', *lines))


_C, _S, _Q = "Columns of tables", "Separators", "Text and quotes"
_WRITTEN = [
    Input(_S, "another separator is said", shop(NAMES, *ROWS), source=said('separator = ";"'), refused="but ',' does"),
    Input(_C, "a title in front of the names", shop("Orders of 2020", "", NAMES, *ROWS), refused="line 3 looks"),
    Input(
        _C, "a comment in front of the names", shop("# made by hand", NAMES, *ROWS), refused="take the lines in front"
    ),
    Input(
        _C,
        "an index without a name on every row",
        shop(NAMES, *(f"{n},{row}" for n, row in enumerate(ROWS))),
        refused='columns = ["index", "user_id", "item_id"',
    ),
    Input(_C, "a separator at the end of every row", shop(NAMES, *(f"{row}," for row in ROWS)), refused='"unused"]'),
    Input(
        _C,
        "the line of names again under other names that are known",
        shop(NAMES, *ROWS, "customer,product,stars,time", *ROWS),
        rows=56,
        warns=["the line of names stands 1 more times"],
    ),
    Input(
        _C,
        "names further on in another order",
        shop(NAMES, *ROWS, "item_id,user_id,rating,timestamp", f"i1,u1,5,{T}"),
        refused="line 30 names the columns again",
    ),
    Input(
        _C,
        "histories in one column: `click_history`",
        shop("user,item,click_history", "u,i,a b c"),
        refused="'click_history'",
    ),
    Input(
        _C,
        "`unused` names a column that is not there",
        shop(NAMES, *ROWS),
        source=said('unused = ["price"]'),
        rows=28,
        warns=["'price', which is no column"],
    ),
    Input(
        _Q,
        "lines that stand in quotes as a whole",
        shop(*(f'"{line}"' for line in (NAMES, *ROWS))),
        refused="in quotes as a whole",
    ),
    Input(
        _Q, "byte order marks where files were put together", shop(MARK + NAMES, *ROWS, MARK + f"u9,i9,5,{T}"), rows=29
    ),
    Input(
        _Q, "JSON lines called `.csv`", {"shop.csv": '{"user": "u", "item": "i"}\n'}, refused='layout = "json_lines"'
    ),
    Input(
        _Q,
        "Windows-1252 with `encoding`",
        {"shop.csv": f"user,item,timestamp\nJürgen,Café,{T}\n".encode("cp1252")},
        source=said('encoding = "cp1252"'),
        rows=1,
        kept=[("Jürgen", "Café", T)],
    ),
    Input(
        _Q,
        "an encoding that does not exist",
        shop(NAMES, *ROWS),
        source=said('encoding = "klingon"'),
        refused="klingon",
    ),
]

_I = "Identities and ratings"
_MISTAKES = {
    "`NULL` as a user": (["NULL", "u1", "NULL"], "a word for a missing value"),
    "users rounded by a spreadsheet": (["1.23457E+18", "u1", "1.2E+12"], "may have been rounded"),
    "invisible characters": (["u1\u200b", "u1", "\u200bu1"], "invisible characters"),
    "accents in decomposed Unicode": (["e\u0301", "é", "u"], "accents as separate characters"),
    "users in single quotes": (["'u1'", "'u2'", "u3"], "in single quotes"),
    "lists as users": (["['a'; 'b']", "[1; 2]", "u"], "are lists"),
}
_VALUES = [
    *(
        Input(
            _I,
            title,
            shop("user,item,timestamp", *(f"{user},i,{T + n}" for n, user in enumerate(users))),
            rows=3,
            warns=[warning],
        )
        for title, (users, warning) in _MISTAKES.items()
    ),
    Input(
        _I,
        "`NULL`, `None`, `N/A` as a rating",
        shop(NAMES, *(f"u,i,{word},{T}" for word in ("NULL", "None", "N/A"))),
        rows=3,
    ),
    Input(
        "Times",
        "hours of the calendar: `2014051316`",
        shop("user,item,timestamp", "u,i,2014051316"),
        rows=1,
        kept=[("u", "i", 1_399_996_800)],
    ),
    Input(
        "Times",
        "minutes of the calendar: `201405131653`",
        shop("user,item,timestamp", "u,i,201405131653"),
        rows=1,
        kept=[("u", "i", 1_399_999_980)],
    ),
    Input(
        "Times",
        "a placeholder among days of the calendar",
        shop("user,item,timestamp", "u,h,99999999", "u,i,20140513", "u,j,20140514"),
        rows=2,
        rejects={"timestamp not a number or date": 1},
    ),
    Input(
        "Times",
        "times of a day without the day",
        shop("user,item,time", *(f"u{n},i,10:{n:02}:00" for n in range(9))),
        refused="without the day",
    ),
]

_K = "Rows that are left out"
EVENTS = table("user,item,event,timestamp", f"u,i,view,{T}", f"u,j,purchase,{T}", f"v,k,purchase,{T}")
_KEPT = [
    Input(
        _K,
        '`[keep] event = ["purchase"]`',
        {"shop.csv": EVENTS},
        source=said("[keep]", 'event = ["purchase"]'),
        rows=2,
        kept=[("u", "j", T), ("v", "k", T)],
        warns=["1"],
    ),
    Input(
        _K,
        "a column that is not there",
        {"shop.csv": EVENTS},
        source=said("[keep]", 'kind = ["purchase"]'),
        refused="kind",
    ),
    Input(
        _K,
        "values that no row has",
        {"shop.csv": EVENTS},
        source=said("[keep]", 'event = ["refund"]'),
        rows=0,
        stops=["rows_in_every_file"],
        warns=["in the file event is 'purchase', 'view'"],
        checked=True,
    ),
]

_P = "Parquet and folders"
PAIR = {"user": ["u", "v"], "item": ["i", "j"]}
_PARQUET = [
    Input(
        _P,
        "decimals without a fraction",
        {
            "shop.parquet": parquet(
                {"user": pa.array([Decimal("7.00"), Decimal("8.00")]), "item": ["i", "j"], "timestamp": [T, T]}
            )
        },
        rows=2,
        kept=[("7", "i", T), ("8", "j", T)],
    ),
    Input(
        _P,
        "times as floats of 32 bits",
        {"shop.parquet": parquet(PAIR | {"timestamp": pa.array([1.4e9, 1.4e9], pa.float32())})},
        rows=2,
        warns=["exact to some two minutes only"],
    ),
    Input(
        _P,
        "columns named by position",
        {"shop.parquet": parquet(PAIR | {"timestamp": [T, T]})},
        source=said('columns = ["user", "item", "timestamp"]'),
        refused="shop.parquet",
    ),
    Input(
        _P,
        "a day and an hour in the names of folders",
        {"shop/dt=20200102/hour=9/part.parquet": parquet({"user": ["u"], "item": ["i"]})},
        source=said('interactions = ["shop/**/*.parquet"]'),
        rows=1,
        kept=[("u", "i", 1_577_955_600)],
    ),
    Input(
        _P,
        "the number of a day in the name of the folder",
        {"shop/day=7/part.parquet": parquet(PAIR)},
        source=said('interactions = ["shop/**/*.parquet"]'),
        refused="holds numbers up to 7",
    ),
]

_T = "Sequences"


def text(*lines: str) -> dict[str, str]:
    return {"shop.txt": "".join(f"{line}\n" for line in lines)}


def with_items(write, start: str = "") -> dict[str, str]:
    return text(
        *(f"{user}{start} {' '.join(write(item, place) for place, item in enumerate(items))}" for user, items in USERS)
    )


_SEQUENCES = [
    Input(
        _T,
        "a time behind each item: `i5:1400000000`",
        with_items(lambda item, place: f"{item}:{T + place}"),
        refused="times behind",
    ),
    Input(
        _T,
        "a rating behind each item: `i5|4`",
        with_items(lambda item, place: f"{item}|{1 + place % 5}"),
        refused="ratings behind",
    ),
    Input(
        _T,
        "a time as every other word",
        with_items(lambda item, place: f"{item} {T + place}"),
        refused="every other word",
    ),
    Input(_T, "a colon behind the user", with_items(lambda item, _: item, ":"), refused="ends with a colon"),
    Input(
        _T,
        "the number of items in front of them",
        text(*(f"{user} {len(items)} {' '.join(items)}" for user, items in USERS)),
        refused="is the number of items that follow",
    ),
    Input(
        _T,
        "a user, an item and a count of plays",
        text(*(f"{user} {item} {17 + 3 * place}" for user, items in USERS for place, item in enumerate(items))),
        refused="a user, an item and a number",
    ),
    Input(
        _T,
        "tabs around fields that hold blanks",
        text(*(f"{n}\tv{n % 4}\tArts & Crafts{' Store' * (n % 3)}\t40.71{n}\t{T + n}" for n in range(9))),
        refused="with tabs between them",
    ),
    Input(
        _T,
        "the layout of the Netflix prize",
        text("1:", "1488844,3,2005-09-06", "822109,5,2005-05-13", "2:", "7,4,2005-10-19"),
        refused="awk",
    ),
    Input(
        _T,
        "a table with a line of names",
        text("user_id,item_id,rating", "u,i,5", "u,j,4"),
        refused="is a table with the columns",
    ),
    Input(
        _T,
        "`<pad>` that fills up the lines",
        text("u1 <pad> <pad> i5 i2", "u2 <pad> <pad> <pad> i9"),
        rows=3,
        warns=["<pad>"],
    ),
    Input(
        _T,
        "lines that may be items alone",
        text(*(" ".join(items) for _, items in USERS)),
        rows=36,
        warns=["put a user in front"],
    ),
]

DOUBTS = (*_WRITTEN, *_VALUES, *_KEPT, *_PARQUET, *_SEQUENCES)
