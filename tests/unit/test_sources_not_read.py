"""Files beside those of a dataset that are not read: named with what to do, and only those that look like its data."""

import json
import tomllib
from pathlib import Path

import pytest

from ml.data.sources import find_source

REVIEW = json.dumps({"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1_393_372_800}) + "\n"
ITEM = json.dumps({"asin": "B1", "title": "A saw"}) + "\n"
TABLE = "user,item,timestamp\nu,i,1400000000\n"
FORMS = {".json": REVIEW, ".csv": TABLE}


def folder_of(home: Path, *names: str) -> Path:
    """A folder called as the dataset ``Small``, with files of these names."""
    folder = home / "Small"
    folder.mkdir()
    for name in names:
        content = ITEM if "meta" in name else FORMS.get(Path(name).suffix, "text\n")
        (folder / name).write_text(content)
    return folder


def notes_on(home: Path, *names: str) -> tuple[str, ...]:
    return find_source(folder_of(home, *names), "Small").notes


def test_a_second_file_is_named_and_what_is_said_to_do_reads_both(tmp_path):
    folder = folder_of(tmp_path, "Small.json", "Small_new.json")
    (note,) = find_source(folder, "Small").notes
    said = 'layout = "amazon_2018" and interactions = ["Small.json", "Small_new.json"]'
    assert note == (
        "Small_new.json is not read, since the interactions of Small are in Small.json; to read it too, say "
        f"{said} in source.toml; to read it instead, give it that name; otherwise take it out of the folder"
    )
    source = said.replace(" and ", "\n")
    assert tomllib.loads(source)["interactions"] == ["Small.json", "Small_new.json"]
    (folder / "source.toml").write_text(source)
    found = find_source(folder, "Small")
    assert [file.name for file in found.files] == ["Small.json", "Small_new.json"]
    assert found.notes == ()


def test_many_files_are_one_sentence(tmp_path):
    (note,) = notes_on(tmp_path, "Small.csv", *(f"Small_{number}.csv" for number in range(5)))
    assert note.startswith("Small_0.csv, Small_1.csv, Small_2.csv and 2 more are not read, since the interactions of")
    assert 'interactions = ["Small.csv", "Small_0.csv", "Small_1.csv", "Small_2.csv", ...] in source.toml' in note


def test_a_file_of_another_form_can_be_read_instead(tmp_path):
    (note,) = notes_on(tmp_path, "Small.json", "orders.csv")
    assert note == (
        "orders.csv is not read, since the interactions of Small are in Small.json, and all of them are read in one "
        "layout; to read it instead, take Small.json away and name it after the dataset; otherwise take it out of the "
        "folder"
    )


def test_second_metadata_is_named(tmp_path):
    (note,) = notes_on(tmp_path, "Small.json", "meta_Small.json", "meta_Small_new.json")
    assert "meta_Small_new.json is not read, since the metadata of Small is in meta_Small.json" in note
    assert 'metadata = ["meta_Small.json", "meta_Small_new.json"] in source.toml' in note


@pytest.mark.parametrize(
    "name",
    [
        *("README.txt", "LICENSE.txt", "dataset_info.json", "md5sums.txt", "notes.txt", "SHA256SUMS"),
        *("Small_new.json.gz.part", ".Small_new.json.swp", "._Small.json", "_SUCCESS", "Small.png", "Small.zip"),
    ],
)
def test_of_what_is_no_data_nothing_is_said(tmp_path, name):
    assert notes_on(tmp_path, "Small.json", "meta_Small.json", name) == ()


def test_another_dataset_in_a_folder_of_many_is_no_surprise(tmp_path):
    folder = folder_of(tmp_path, "Small.json", "meta_Small.json", "Small_new.json", "Toys.json", "meta_Toys.json")
    folder = folder.rename(tmp_path / "dumps")
    assert find_source(folder, "Small").notes == ()
    # of this nobody can make a dataset
    (folder / "Small (1).json").write_text(REVIEW)
    (note,) = find_source(folder, "Small").notes
    assert note.startswith("Small (1).json is not read")


def test_files_that_the_user_names_leave_the_others_out_knowingly(tmp_path):
    folder = folder_of(tmp_path, "orders_1.csv", "orders_2.csv", "returns.csv")
    (folder / "source.toml").write_text('layout = "table"\ninteractions = ["orders_*.csv"]\n')
    assert find_source(folder, "Small").notes == ()


def test_the_parts_of_a_table_are_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = folder_of(tmp_path)
    for name in ("Small.parquet", "Small_2024.parquet"):
        (folder / name).mkdir()
        pq.write_table(pa.table({"user": ["u"], "item": ["i"], "timestamp": [1]}), folder / name / "part-0.parquet")
    (note,) = find_source(folder, "Small").notes
    assert note.startswith(
        "Small_2024.parquet is not read, since the interactions of Small are in Small.parquet/part-0"
    )


def test_the_files_of_a_split_have_names_of_their_own(tmp_path):
    folder = folder_of(tmp_path, "Small_items.csv")
    for part in ("train/input", "val/input", "val/output", "test/input", "test/output"):
        (folder / part).parent.mkdir(exist_ok=True)
        (folder / f"{part}.txt").write_text("1 2\n")
    found = find_source(folder, "Small")
    assert (found.layout, found.notes) == ("given_split", ())
