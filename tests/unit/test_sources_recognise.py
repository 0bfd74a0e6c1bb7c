"""Which files a dataset is made of: by their names, by a description, and what is said where it is not clear."""

import subprocess
import sys
from pathlib import Path

import pytest

from ml.data.landing.file_lines import LandingError
from ml.data.sources import LAYOUTS, SourceDescription, datasets_in, find_source
from ml.data.sources.given_split import PARTS


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("compression", [".gz", "", ".zst"])
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("Shop.json", "amazon_2018"),
        ("Shop_5.json", "amazon_2018"),
        ("reviews_Shop.json", "amazon_2014"),
        ("reviews_Shop_5.json", "amazon_2014"),
        ("Shop.jsonl", "amazon_2023"),
        ("Shop.inter", "table"),
        ("Shop.csv", "table"),
        ("Shop.tsv", "table"),
        ("Shop.parquet", "table"),
        ("Shop.txt", "sequence"),
    ],
)
@pytest.mark.parametrize("metadata", [(), ("meta_Shop.json.gz",), ("meta_Shop.jsonl",)])
def test_layouts_are_recognised_by_name(tmp_path, name, compression, layout, metadata):
    if not name.endswith(".parquet"):
        name += compression
    touch(tmp_path, name, "odd name.csv", "Other.csv.part", ".x.json.gz", "sub/Else.csv", *metadata)
    source = find_source(tmp_path, "Shop")
    assert source.layout == layout
    assert [(file.name, file.path) for file in source.files] == [(n, tmp_path / n) for n in (name, *metadata)]
    assert [unit.layout for unit in source.interactions] == [layout]
    if metadata:
        release = {"meta_Shop.jsonl": "amazon_2023"}.get(metadata[0], "amazon_2018")
        is_2014 = layout == "amazon_2014" and release == "amazon_2018"
        assert [unit.layout for unit in source.metadata] == ["amazon_2014" if is_2014 else release]
    assert datasets_in(tmp_path) == ["Shop"]


def test_a_split_is_found_under_any_name_and_after_named_files(tmp_path):
    folder = touch(tmp_path / "films", *[f"{part}.txt" for part in PARTS])
    assert find_source(folder, "ml-1m").layout == "given_split"
    assert datasets_in(folder) == ["films"]
    touch(folder, "ml-1m.txt.gz", "meta_ml-1m.json.gz")
    assert find_source(folder, "ml-1m").layout == "sequence"
    assert find_source(folder, "films").layout == "given_split"
    assert find_source(folder, "ml-1m", SourceDescription("given_split")).layout == "given_split"
    assert datasets_in(folder) == ["films", "ml-1m"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Shop.json.gz", "Shop_5.json.gz"), r"Shop_5\.json\.gz is part of Shop\.json\.gz; take Shop_5.* away.*5-core"),
        (
            ("reviews_Shop.json.gz", "reviews_Shop_5.json.gz"),
            r"take reviews_Shop_5\.json\.gz away to work on all reviews.*layout = \"amazon_2014\"",
        ),
        (
            ("Shop.json.gz", "Shop.jsonl.gz"),
            r"Shop\.json\.gz \(amazon_2018\) and Shop\.jsonl\.gz \(amazon_2023\); take away all but one, or give the "
            r"layout: amazon_2018 or amazon_2023",
        ),
        (("Shop.json.gz", "Shop.json"), r"holds Shop\.json\.gz and Shop\.json; take away all but one"),
        (("Shop.json", "Shop_5.json.zst"), r"Shop_5\.json\.zst is part of Shop\.json; take Shop_5.* away.*5-core"),
        (("Shop.csv", "Shop.parquet"), r"holds Shop\.csv and Shop\.parquet; .*interactions = \[\"Shop\.csv\"\]"),
        (("Shop.txt", "meta_Shop.json.gz", "meta_Shop.jsonl.gz"), r"both meta_Shop\.json\.gz and meta_Shop\.jsonl\.gz"),
    ],
)
def test_what_could_be_read_in_two_ways_is_an_error(tmp_path, names, message):
    with pytest.raises(LandingError, match=message):
        find_source(touch(tmp_path, *names), "Shop")


def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path):
    touch(tmp_path, "Other.json.gz", "meta_Shop.json.gz")
    with pytest.raises(LandingError) as error:
        find_source(tmp_path, "Shop")
    for part in (
        str(tmp_path),
        "Shop.json.gz",
        "Shop_5.json.gz",
        "Shop.jsonl.gz",
        "Shop.csv",
        "Shop.txt",
        ".zst",
        "source.toml",
        "Other",
    ):
        assert part in str(error.value)
    (tmp_path / "Other.json.gz").unlink()
    with pytest.raises(LandingError, match=r"its files: meta_Shop\.json\.gz"):
        find_source(tmp_path, "Shop")
    with pytest.raises(LandingError, match="is not a folder"):
        find_source(tmp_path / "absent", "Shop")
    assert datasets_in(tmp_path / "absent") == []
    for name in ("../Shop", "", "meta_Shop", "Sh op", ".Shop", "Shop\n"):
        with pytest.raises(LandingError, match="cannot be the name of a dataset"):
            find_source(tmp_path, name)


def test_a_given_layout_decides(tmp_path):
    touch(tmp_path, "Shop.json.gz", "Shop.jsonl.gz", "Shop_5.json.gz")
    assert find_source(tmp_path, "Shop", SourceDescription("amazon_2023")).files[0].name == "Shop.jsonl.gz"
    with pytest.raises(
        LandingError, match=r"Shop\.json\.gz and Shop_5\.json\.gz, which could each be the amazon_2018 of Shop"
    ):
        find_source(tmp_path, "Shop", SourceDescription("amazon_2018"))
    chosen = SourceDescription("amazon_2018", interactions=("Shop_5.json.gz",))
    assert find_source(tmp_path, "Shop", chosen).files[0].name == "Shop_5.json.gz"
    with pytest.raises(LandingError, match=r"holds no sequence of Shop: looked for Shop\.txt \(text may be plain"):
        find_source(tmp_path, "Shop", SourceDescription("sequence"))
    (tmp_path / "Shop.jsonl.gz").unlink()
    (tmp_path / "Shop_5.json.gz").unlink()
    assert find_source(tmp_path, "Shop", SourceDescription("amazon_2023")).files[0].name == "Shop.json.gz"
    with pytest.raises(LandingError, match=r"no whole split: train/input\.txt, val/input\.txt"):
        find_source(tmp_path, "Shop", SourceDescription("given_split"))


def test_a_description_in_the_folder_is_used(tmp_path):
    folder = touch(tmp_path / "orders", "a.csv", "b.csv", "items.jsonl.gz", "Shop.txt")
    (folder / "source.toml").write_text(
        'layout = "table"\ninteractions = ["a.csv", "b.csv"]\nmetadata = ["items.jsonl.gz"]\n'
        '[columns]\nuser = "customer"\n'
    )
    source = find_source(folder, "Shop")
    assert source.layout == "table"
    assert [file.name for file in source.files] == ["a.csv", "b.csv", "items.jsonl.gz"]
    assert datasets_in(folder) == ["orders"]
    assert find_source(folder, "Shop", SourceDescription("sequence")).layout == "sequence"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"source\.toml: layout is missing; it is one of amazon_2018, "),
        ("layout = 5", r"layout has to be a string"),
        ('layout = "tables"', r"source\.toml: layout 'tables' is not known; it is one of .*table"),
        ("layout = ", r"source\.toml is not TOML: "),
        ("a = " + "[" * 10_000, r"source\.toml is not TOML: "),
        ('layout = "table"\ncolumn = 1', r"source\.toml: column is not known; there are layout, interactions"),
        ('layout = "table"\ninteractions = "a.csv"', r"interactions has to be a list of names of files"),
        ('layout = "table"\ninteractions = ["../a.csv"]', r"names '\.\./a\.csv'; give names of files in the folder"),
        ('layout = "table"\nmetadata = ["/a.csv"]', r"metadata names '/a\.csv'"),
        ('layout = "table"\ninteractions = ["a.csv", "a.csv"]', r"interactions names a file twice"),
        ('layout = "table"\ninteractions = ["absent.csv"]', r"source\.toml names absent\.csv, which is not in"),
        ('layout = "table"\ncolumns = "a"', r"columns has to be a table of its own"),
        ('layout = "table"\ncolumns = [1]', r"columns has to be a list of names"),
        ('layout = "table"\ncolumns = ["a", "a"]', r"columns names a column twice"),
        ('layout = "table"\n[columns]\nuser = false', r"columns\.user cannot be false"),
        ('layout = "table"\nseparator = ""', r"separator = '' cannot separate fields"),
        ('layout = "table"\nseparator = 5', r"separator has to be a string"),
        ('layout = "table"\ntime_format = "often"', r"time_format = 'often' is not understood .*days since"),
        ('layout = "table"\nunused = "a"', r"unused has to be a list of names"),
        ('layout = "amazon_2018"\nseparator = ";"', r"separator is for a table, and the layout is amazon_2018"),
        ('layout = "table"\n[columns]\nuser = 1', r"columns\.user has to be the name of a column"),
        ('layout = "table"\n[columns]\nbuyer = "b"', r"columns\.buyer is not known; under \[columns\] are user, item"),
        ('layout = "table"\n[columns]\nuser = "b"\nitem = "b"', r"columns\.user and columns\.item are both 'b'"),
        ('layout = "sequence"\n[columns]\nuser = "b"', r"columns is for a table, and the layout is sequence"),
        ('layout = "given_split"\ninteractions = ["train"]', r"leave interactions out"),
    ],
)
def test_a_description_that_is_not_possible_is_an_error(tmp_path, text, message):
    (tmp_path / "source.toml").write_text(text)
    with pytest.raises(LandingError, match=message):
        find_source(tmp_path, "Shop")


def test_a_description_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(LandingError, match=r"own\.toml does not exist"):
        SourceDescription.from_toml(tmp_path / "own.toml")
    (tmp_path / "own.toml").write_bytes(b"layout = '\xff'")
    with pytest.raises(LandingError, match=r"own\.toml is not TOML"):
        SourceDescription.from_toml(tmp_path / "own.toml")
    assert "table" in LAYOUTS


def test_a_description_may_name_files_by_a_pattern(tmp_path):
    touch(tmp_path, "orders_2.csv", "orders_1.csv", "other.csv")
    described = SourceDescription("table", interactions=("orders_*.csv",))
    assert [file.name for file in find_source(tmp_path, "Shop", described).files] == ["orders_1.csv", "orders_2.csv"]
    with pytest.raises(LandingError, match=r"names sales_\*.csv, which matches no file"):
        find_source(tmp_path, "Shop", SourceDescription("table", interactions=("sales_*.csv",)))


def test_the_package_is_light_to_import():
    code = "import sys, ml.data.sources; sys.exit(bool({'numpy', 'pyarrow', 'orjson'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
