"""Small sources that are landed and held against the landing contract: each rule fires on files as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.data.landing.files_read import file_read
from ml.data.landing.land import INTERACTIONS_SCHEMA, land
from ml.data.sources import find_source
from orchestration.contracts.checks import load_contracts
from orchestration.contracts.frames import landed_files
from orchestration.contracts.results import ContractResult, validate
from orchestration.files_read import to_text

CONTRACTS = {contract.name: contract for contract in load_contracts()}
REVIEWS = CONTRACTS["landing/reviews"]
DAY = 86_400
TIMED = "user_id,item_id,timestamp\n" + "".join(f"u{n},i{n},{1_400_000_000 + n * DAY}\n" for n in range(20))
UNTIMED = "user_id,item_id\n" + "".join(f"u{n},i{n}\n" for n in range(20))


def checked(folder: Path, **files: str | bytes) -> ContractResult:
    """The files, named in their order in ``source.toml``, landed and held against the contract of the reviews."""
    names = [name.replace("__", ".") for name in files]
    for name, content in zip(names, files.values(), strict=True):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    listed = ", ".join(f'"{name}"' for name in names)
    (folder / "source.toml").write_text(f'layout = "table"\ninteractions = [{listed}]\n')
    land(find_source(folder, "Small").interactions, folder / "landed", INTERACTIONS_SCHEMA, processes=1)
    return validate(REVIEWS, landed_files(folder / "landed", REVIEWS))


def broken(result: ContractResult) -> set[str]:
    return {entry.rule.id for entry in result.results if not entry.passed}


def test_files_with_and_without_times_are_refused(tmp_path):
    result = checked(tmp_path, old__csv=UNTIMED, new__csv=TIMED)
    assert "one_order" in broken(result)
    assert not result.kept


def test_a_table_without_times_warns(tmp_path):
    result = checked(tmp_path, old__csv=UNTIMED)
    assert "times_are_known" in broken(result)
    assert result.kept


def test_a_sound_table_is_kept(tmp_path):
    assert broken(checked(tmp_path, old__csv=TIMED)) == set()


def test_files_keep_the_order_in_which_they_are_named(tmp_path):
    import pyarrow.parquet as pq

    checked(tmp_path, old__csv=UNTIMED, new__csv=UNTIMED.replace("u", "v").replace("vser", "user"))
    files = pq.read_table(tmp_path / "landed" / "files.parquet").to_pylist()
    assert [(file["file_position"], file["source_file"]) for file in files] == [(1, "old.csv"), (2, "new.csv")]
    text = to_text([file_read("reviews", file) for file in files])
    assert "no times: the order of the lines counts (file 2 of the source)" in text


@pytest.mark.parametrize(("bad", "rules"), [(1, {"rejected_below_1_percent"}), (10, {"rejected_below_5_percent"})])
def test_rejects_are_told_with_counts_reason_and_example(tmp_path, bad, rules):
    latin1 = "".join(f"caf\xe9{n},i{n},{1_400_000_000 + n * DAY}\n" for n in range(bad)).encode("latin-1")
    result = checked(tmp_path, old__csv=TIMED.encode() + TIMED.split("\n", 1)[1].encode() * 2 + latin1)
    assert rules <= broken(result)
    [entry] = [entry for entry in result.results if entry.rule.id == "rejected_below_1_percent"]
    assert f"{bad} of {60 + bad} rows of old.csv" in entry.finding()
    assert f"invalid UTF-8: {bad} of {60 + bad}, such as line 62 of old.csv" in entry.finding()
    assert "save the file as UTF-8" in entry.finding()


def test_times_beyond_tomorrow_warn_though_landing_takes_them():
    import pandas as pd

    contract = CONTRACTS["staging/stg_reviews"]
    now, far = 1_700_000_000, 4_070_908_800  # 2099-01-01
    rows = {name: [None] * 40 for name in contract.columns}
    rows |= {"source_file": ["f"] * 40, "line_number": list(range(40)), "line_digest": list(range(40))}
    rows |= {"user_id": ["u", "v"] * 20, "item_id": ["i", "j"] * 20, "given_position": [0] * 40}
    for last, expected in ((now, False), (now + DAY, False), (far, True)):
        frame = pd.DataFrame(rows | {"timestamp": [now - n for n in range(39)] + [last]})
        assert ("timestamps_within_the_life_of_the_shop" in broken(validate(contract, frame, now=now))) == expected
