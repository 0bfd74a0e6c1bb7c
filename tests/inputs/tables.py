"""Tables of text: names of columns, separators, quotes, identities, ratings."""

from __future__ import annotations

from .entry import TIME, Input, table

T = TIME
PLAIN = "user,item,rating,timestamp"
ROW, OTHER = f"u,i,4,{T}", f"v,j,3,{T + 1}"
POSITION = 'layout = "table"\ncolumns = ["user", "item", "rating", "timestamp"]\n'
BOM = b"\xef\xbb\xbf"


def csv(*rows: str, header: str = PLAIN, name: str = "shop.csv", end: str = "\n") -> dict[str, str]:
    return {name: table(header, *rows, end=end)}


_COLUMNS = [
    Input("Columns of tables", "names that are known", csv(ROW), rows=1, kept=[("u", "i", T)]),
    Input(
        "Columns of tables",
        "other names that are known: `visitor_id`, `sku`, `stars`, `event_time`",
        csv(ROW, header="visitor_id,sku,stars,event_time"),
        rows=1,
        kept=[("u", "i", T)],
    ),
    Input(
        "Columns of tables",
        "types of RecBole: `user_id:token`, `timestamp:float`",
        {"shop.inter": table("user_id:token\titem_id:token\trating:float\ttimestamp:float", f"u\ti\t4.0\t{T}.0")},
        rows=1,
        kept=[("u", "i", T)],
    ),
    Input(
        "Columns of tables",
        "names that are not known",
        csv(ROW, header="who,what,rating,timestamp"),
        refused="no column is known as the user",
    ),
    Input(
        "Columns of tables",
        "names that are not known, and are given",
        csv(ROW, header="who,what,rating,timestamp"),
        source='layout = "table"\n[columns]\nuser = "who"\nitem = "what"\n',
        rows=1,
    ),
    Input(
        "Columns of tables",
        "a given name that is not there",
        csv(ROW),
        source='layout = "table"\n[columns]\nuser = "customer"\n',
        refused="'customer'",
    ),
    Input(
        "Columns of tables",
        "two columns that could be the user",
        csv(f"u,w,i,4,{T}", header="customer_id,visitor_id,item,rating,timestamp"),
        refused="could each be the user",
    ),
    Input(
        "Columns of tables",
        "two columns of one name that is needed",
        csv(f"u,i,4,5,{T}", header="user,item,rating,rating,timestamp"),
        refused="rating",
    ),
    Input(
        "Columns of tables",
        "columns that are not used",
        csv(f"u,i,4,{T},blue,9.99", header="user,item,rating,timestamp,colour,price"),
        rows=1,
    ),
    Input(
        "Columns of tables",
        "an index without a name, as pandas writes it",
        csv(f"0,u,i,4,{T}", f"1,v,j,3,{T}", header=",user,item,rating,timestamp"),
        rows=2,
        kept=[("u", "i", T), ("v", "j", T)],
    ),
    Input(
        "Columns of tables",
        "no line of names",
        csv(OTHER, header=ROW),
        refused="looks like an interaction",
    ),
    Input(
        "Columns of tables",
        "no line of names, columns named by position",
        csv(OTHER, header=ROW),
        source=POSITION,
        rows=2,
        kept=[("u", "i", T), ("v", "j", T + 1)],
    ),
    Input(
        "Columns of tables",
        "columns named by position, and a line of names after all",
        csv(ROW, header="userId,movieId,stars,when"),
        source=POSITION,
        rows=1,
    ),
    Input("Columns of tables", "the line of names again further on", csv(ROW, PLAIN, OTHER), rows=2, warns=["names"]),
    Input(
        "Columns of tables",
        "the line of names again, two columns",
        csv("u,i", "user,item", "v,j", header="user,item"),
        rows=2,
        kept=[("u", "i", None), ("v", "j", None)],
        warns=["no column is known as the time", "names"],
    ),
    Input(
        "Columns of tables",
        "histories in one column: `item_id_list:token_seq`",
        {"shop.inter": table("user_id:token\titem_id_list:token_seq\titem_id:token", "u\ti1 i2\ti3")},
        refused="item_id_list",
    ),
    Input(
        "Columns of tables",
        "histories in one column: `history_item_id`",
        csv("u,i1 i2,i3", header="user_id,history_item_id,item_id"),
        refused="history_item_id",
    ),
    Input(
        "Columns of tables",
        "histories in one column that is said to be unused",
        csv(f"u,i1 i2,i3,{T}", header="user_id,history_item_id,item_id,timestamp"),
        source='layout = "table"\nunused = ["history_item_id"]\n',
        rows=1,
    ),
]

_SEPARATORS = [
    Input("Separators", "semicolons", csv(ROW.replace(",", ";"), header=PLAIN.replace(",", ";")), rows=1),
    Input(
        "Separators",
        "semicolons, and a comma in a name",
        csv("u;i;Pen, blue;4", "v;j;Cup;3", header="user;item;title, long;rating"),
        rows=2,
        warns=["no column is known as the time"],
    ),
    Input("Separators", "pipes", csv(ROW.replace(",", "|"), header=PLAIN.replace(",", "|")), rows=1),
    Input(
        "Separators", "`::` with a line of names", csv(ROW.replace(",", "::"), header=PLAIN.replace(",", "::")), rows=1
    ),
    Input("Separators", "commas in a file called `.tsv`", csv(ROW, name="shop.tsv"), rows=1),
    Input(
        "Separators",
        "tabs in a file called `.csv`",
        csv(ROW.replace(",", "\t"), header=PLAIN.replace(",", "\t")),
        rows=1,
    ),
    Input(
        "Separators",
        "`sep=;` as the first line, as Excel writes it",
        {"shop.csv": table("sep=;", PLAIN.replace(",", ";"), ROW.replace(",", ";"))},
        rows=1,
    ),
    Input(
        "Separators",
        "a separator that is given",
        csv(ROW.replace(",", "~"), header=PLAIN.replace(",", "~")),
        source='layout = "table"\nseparator = "~"\n',
        rows=1,
    ),
    Input(
        "Separators",
        "a separator that is not known",
        csv(ROW.replace(",", "~"), header=PLAIN.replace(",", "~")),
        refused='separator = "~"',
    ),
]

_TEXT = [
    Input(
        "Text and quotes",
        "a line end in a quoted field",
        csv(f'u,i,"two\nlines",{T}', f"v,j,one,{T}", header="user,item,text,timestamp"),
        rows=2,
    ),
    Input(
        "Text and quotes",
        "a quoted line that looks like a row",
        csv(f'u,i,"see\nghost,i,boo,{T}\n",{T}', f"v,j,one,{T}", header="user,item,text,timestamp"),
        rows=2,
        kept=[("u", "i", T), ("v", "j", T)],
    ),
    Input(
        "Text and quotes",
        "quotes escaped by backslashes",
        csv(f'u,i,"a \\"b\\", c",{T}', f"v,j,one,{T}", header="user,item,text,timestamp"),
        rows=2,
    ),
    Input(
        "Text and quotes",
        "a quote that does not end",
        csv(f"u,i,one,{T}", f'v,j,"two,{T}', f"w,k,three,{T}", header="user,item,text,timestamp"),
        rows=2,
        rejects={"malformed quotes": 1},
    ),
    Input(
        "Text and quotes",
        "single quotes in a tab-separated file",
        {"shop.tsv": table("user\titem\ttitle\ttimestamp", f'u\ti\t7" vinyl\t{T}', f"v\tj\tLP\t{T}")},
        rows=2,
    ),
    Input(
        "Text and quotes",
        "balanced quotes in a tab-separated file",
        {"shop.tsv": table("user\titem\ttitle\ttimestamp", f'u\ti\t"a\tb"\t{T}', f"v\tj\tLP\t{T}")},
        rows=2,
    ),
    Input(
        "Text and quotes",
        "a line of names in Latin-1",
        {"shop.csv": "user,item,caf\xe9\nu,i,1\n".encode("latin-1")},
        refused="UTF-8",
    ),
    Input("Text and quotes", "a byte order mark", {"shop.csv": BOM + table(PLAIN, ROW).encode()}, rows=1),
    Input(
        "Text and quotes",
        "line ends of Windows",
        csv(ROW, OTHER, end="\r\n"),
        rows=2,
        kept=[("u", "i", T), ("v", "j", T + 1)],
    ),
    Input("Text and quotes", "line ends of old Macs", csv(ROW, OTHER, end="\r"), refused="line ends of old Macs"),
    Input("Text and quotes", "blank lines", csv(ROW, "", "  ", OTHER), rows=2),
    Input(
        "Text and quotes",
        "rows of another number of fields",
        csv(ROW, "u,i", f"u,i,4,{T},5"),
        rows=1,
        rejects={"wrong number of fields": 2},
    ),
    Input(
        "Text and quotes",
        "all of it Latin-1",
        {
            "shop.csv": b"".join(
                [table(PLAIN).encode(), *(f"caf\xe9{n},i,4,{T}\n".encode("latin-1") for n in range(20))]
            )
        },
        rows=0,
        rejects={"invalid UTF-8": 20},
        stops=["rows_in_every_file", "rejected_below_5_percent"],
        warns=["the limit is 1 %"],
        checked=True,
    ),
    Input("Text and quotes", "UTF-16", {"shop.csv": table(PLAIN, ROW).encode("utf-16")}, refused="UTF-16"),
    Input("Text and quotes", "no row behind the line of names", csv(), refused="holds no row"),
    Input("Text and quotes", "an empty file", {"shop.csv": ""}, refused="is empty"),
]

_IDENTITIES = [
    Input(
        "Identities and ratings",
        "blanks around identities, also behind a comma",
        csv(f"u , i,4,{T}", f"u,i ,4,{T + 1}"),
        rows=2,
        kept=[("u", "i", T), ("u", "i", T + 1)],
        warns=["white space"],
    ),
    Input(
        "Identities and ratings",
        "whole numbers written as `12.0`",
        csv(f"7.0,12.0,4,{T}", f"7,12,4,{T + 1}"),
        rows=2,
        kept=[("7", "12", T), ("7", "12", T + 1)],
        warns=[".0"],
    ),
    Input(
        "Identities and ratings",
        "a row without a user, one without an item",
        csv(ROW, f",i,4,{T}", f"u,,4,{T}"),
        rows=1,
        rejects={"user missing": 1, "item missing": 1},
    ),
    Input(
        "Identities and ratings",
        "a rating that is no number",
        csv(ROW, f"u,i,good,{T}"),
        rows=1,
        rejects={"rating not a number": 1},
    ),
    Input("Identities and ratings", "an empty rating", csv(ROW, f"u,i,,{T}"), rows=2),
    Input(
        "Identities and ratings",
        "a decimal comma in the rating",
        csv(f"u;i;4,5;{T}", header=PLAIN.replace(",", ";")),
        rows=1,
    ),
    Input(
        "Identities and ratings",
        "thousands in the rating",
        csv(f"u;i;1,234;{T}", f"v;j;4;{T}", header=PLAIN.replace(",", ";")),
        rows=1,
        rejects={"rating not a number": 1},
    ),
    Input(
        "Identities and ratings",
        "infinity as a rating",
        csv(ROW, f"u,i,1e400,{T}"),
        rows=1,
        rejects={"rating not a number": 1},
    ),
]

TABLES = (*_COLUMNS, *_SEPARATORS, *_TEXT, *_IDENTITIES)
