"""Several files: which they are, and in which order they count; compression; what cannot be read."""

from __future__ import annotations

import pyarrow as pa

from .entry import TIME, Input, table, tar, zipped

T = TIME
PLAIN = "user,item,timestamp"
PAIRS = "user,item"


def named(*names: str) -> str:
    return 'layout = "table"\ninteractions = [{}]\n'.format(", ".join(f'"{name}"' for name in names))


def pairs(*items: str) -> str:
    return table(PAIRS, *(f"u,{item}" for item in items))


def timed(*items: str, name: str = "timestamp") -> str:
    return table(f"user,item,{name}", *(f"u{n % 9},{item}{n % 9},{T + n}" for item in items for n in range(20)))


ROW = table(PLAIN, f"u,i,{T}", f"v,j,{T}")
ZSTD = pa.compress(ROW.encode(), codec="zstd", asbytes=True)
_G = "Several files"
_SEVERAL = [
    Input(
        _G,
        "two files without times, named old first",
        {"old.csv": pairs("a", "b"), "new.csv": pairs("c")},
        source=named("old.csv", "new.csv"),
        rows=3,
        warns=["time", "time"],
    ),
    Input(
        _G,
        "a pattern: `part_2` before `part_10`",
        {"part_10.csv": timed("b"), "part_2.csv": timed("a")},
        source=named("part_*.csv"),
        rows=40,
    ),
    Input(
        _G,
        "the column of times is called otherwise in one file",
        {"one.csv": timed("a"), "other.csv": timed("b", name="order_date")},
        source=named("one.csv", "other.csv"),
        rows=40,
        warns=[
            "one.csv uses",
        ],
        checked=True,
    ),
    Input(
        _G,
        "one file has times and the next has none",
        {"one.csv": timed("a"), "other.csv": timed("b", name="when_bought")},
        source=named("one.csv", "other.csv"),
        rows=40,
        warns=["when_bought", "when_bought", "one.csv uses"],
        stops=["one_order"],
        checked=True,
    ),
    Input(
        _G,
        "the same file under two names",
        {"one.csv": timed("a"), "copy.csv": timed("a")},
        source=named("one.csv", "copy.csv"),
        rows=40,
        warns=["has the same content as another file", "The number of different lines is 50 %"],
        checked=True,
    ),
    Input(_G, "a file that is not there", {"one.csv": ROW}, source=named("one.csv", "two.csv"), refused="two.csv"),
    Input(_G, "a file named twice", {"one.csv": ROW}, source=named("one.csv", "one.csv"), refused="names a file twice"),
    Input(_G, "a pattern that matches nothing", {"one.csv": ROW}, source=named("two*.csv"), refused="two*.csv"),
    Input(_G, '`interactions = ["***"]`', {"one.csv": ROW}, source=named("***"), refused="***"),
    Input(
        _G,
        "a name of 300 letters",
        {"one.csv": ROW},
        source=named("a" * 300 + ".csv"),
        refused="longer than file systems allow",
    ),
    Input(_G, "a file outside the folder", {"one.csv": ROW}, source=named("../one.csv"), refused="../one.csv"),
    Input(_G, "brackets in a name", {"orders_[2020].csv": ROW}, source=named("orders_[2020].csv"), rows=2),
    Input(
        _G,
        "two files that could each be the dataset",
        {"shop.csv": ROW, "shop.tsv": ROW.replace(",", "\t")},
        refused="take away all but one",
    ),
    Input(
        _G,
        "a newer file beside the dataset",
        {"shop.csv": ROW, "shop_new.csv": ROW, "README.txt": "Orders of the shop.\n", "shop_2024.csv.gz.part": "cut"},
        rows=2,
        warns=["shop_new.csv is not read, since the interactions of shop are in shop.csv"],
    ),
    Input(
        _G,
        "a file of another layout beside the dataset",
        {"shop.csv": ROW, "orders.jsonl": "{}\n"},
        rows=2,
        warns=["orders.jsonl is not read"],
    ),
    Input(_G, "a file of another name", {"orders.csv": ROW}, refused="holds nothing that is recognised as shop"),
    Input(_G, "`source.toml` that is no TOML", {"shop.csv": ROW}, source="layout = table\n", refused="source.toml"),
    Input(
        _G,
        "a key that `source.toml` does not know",
        {"shop.csv": ROW},
        source='layout = "table"\nseperator = ";"\n',
        refused="seperator",
    ),
    Input(_G, "a layout that does not exist", {"shop.csv": ROW}, source='layout = "excel"\n', refused="excel"),
]

_C = "Compression and damage"
_COMPRESSION = [
    Input(_C, "gzip", {"shop.csv.gz": zipped(ROW)}, rows=2),
    Input(_C, "zstd", {"shop.csv.zst": ZSTD}, rows=2),
    Input(_C, "not compressed, though it is called `.gz`", {"shop.csv.gz": ROW}, rows=2),
    Input(_C, "gzip, though it is not called so", {"shop.csv": zipped(ROW)}, rows=2),
    Input(_C, "two gzip members end to end", {"shop.csv.gz": zipped(ROW) + zipped(f"w,k,{T}\n")}, rows=3),
    Input(
        _C,
        "gzip that is cut short",
        {"shop.csv.gz": zipped(timed(*"abcdefgh"))[:-60]},
        rows=156,
        rejects={"cut short": 1},
        stops=["file_is_whole"],
        checked=True,
    ),
    Input(_C, "gzip in gzip", {"shop.csv.gz": zipped(zipped(ROW))}, refused="compressed with gzip twice"),
    Input(_C, "tar in gzip", {"shop.csv.gz": zipped(tar("shop.csv", ROW))}, refused="unpack it"),
    Input(_C, "zstd in gzip", {"shop.csv.gz": zipped(ZSTD)}, refused="compressed twice"),
    Input(_C, "zip in gzip", {"shop.csv.gz": zipped(b"PK\x03\x04" + bytes(60))}, refused="unpack it"),
    Input(_C, "7z", {"shop.csv": b"7z\xbc\xaf\x27\x1c" + bytes(60)}, refused="unpack it"),
    Input(_C, "RAR", {"shop.csv": b"Rar!\x1a\x07\x00" + bytes(60)}, refused="unpack it"),
    Input(_C, "bzip2", {"shop.csv": b"BZh91AY&SY" + bytes(60)}, refused="decompress"),
    Input(_C, "lz4", {"shop.csv": b"\x04\x22\x4d\x18" + bytes(60)}, refused="decompress"),
    Input(_C, "zip", {"shop.csv": b"PK\x03\x04" + bytes(60)}, refused="unpack it"),
    Input(_C, "xz", {"shop.csv": b"\xfd7zXZ\x00" + bytes(60)}, refused="decompress"),
    Input(
        _C,
        "a web page in place of the file",
        {"shop.csv": "<!DOCTYPE html><html>Not found</html>\n"},
        refused="web page",
    ),
    Input(
        _C,
        "a pointer of Git LFS",
        {"shop.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"},
        refused="Git LFS",
    ),
    Input(_C, "a file of zeros", {"shop.csv": bytes(4096)}, refused="nor text"),
]

FILES = (*_SEVERAL, *_COMPRESSION)
