"""The soak plans the same by the same seed, spoils files as it says, and sees what is broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks import soak_dumps
from benchmarks.soak import FAULTS, FILE_FAULTS, FULL_DISK, NONE, Row, _fits, plan, report
from benchmarks.soak_dumps import FIRST, METADATA, Dumps, lines_of


@pytest.fixture
def dumps(tmp_path: Path) -> Dumps:
    return Dumps.begin(tmp_path / "dumps", users=40, later=30, items=60, seed=0)


def test_a_seed_decides_on_all_nights() -> None:
    nights = plan(50, seed=3, users=20)
    assert nights == plan(50, seed=3, users=20)
    assert nights != plan(50, seed=4, users=20)
    assert nights[0].fault == NONE
    planted = [night.fault for night in nights]
    assert {planted.count(fault) for fault in FAULTS} <= {3, 4, 5}
    assert all(10 <= night.users <= 20 for night in nights)


def test_a_dump_grows_by_users_and_loses_no_line(dumps: Dumps) -> None:
    first, metadata = lines_of(dumps.folder / FIRST), (dumps.folder / METADATA).read_bytes()
    waiting = [line for lines in dumps.waiting for line in lines]
    assert dumps.grow(10, in_new_file=True).startswith("new night_001.json.gz, +")
    assert dumps.grow(1000, in_new_file=False).startswith("replaced night_001.json.gz, +")
    assert not dumps.waiting
    assert [path.name for path in dumps.reviews] == [FIRST, "night_001.json.gz"]
    assert lines_of(dumps.folder / FIRST) == first
    assert lines_of(dumps.reviews[1]) == waiting
    assert (dumps.folder / METADATA).read_bytes() == metadata


def test_what_is_planted_is_taken_out_again(dumps: Dumps) -> None:
    path = dumps.folder / FIRST
    before = path.read_bytes()
    lines = lines_of(path)
    for change in (soak_dumps.truncated, soak_dumps.damaged, soak_dumps.empty):
        dumps.plant(path, change)
        with pytest.raises((EOFError, OSError, gzip.zlib.error, IndexError)):
            assert lines_of(path)[0]
        dumps.clear()
        assert path.read_bytes() == before
    dumps.plant(path, soak_dumps.cut_lines)
    cut = [one != other for one, other in zip(lines_of(path), lines, strict=True)]
    assert 0.02 < sum(cut) / len(cut) < 0.04
    dumps.clear()
    dumps.plant(path, soak_dumps.thinned_out)
    assert len(lines_of(path)) == -(-len(lines) // 3)
    dumps.clear()
    dumps.plant(path, soak_dumps.another_rating)
    assert sum(b'"overall": "stars"' in line for line in lines_of(path)) > len(lines) / 4


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_message_that_does_not_name_the_fault_is_seen(dumps: Dumps, fault: str) -> None:
    path = dumps.folder / (METADATA if fault == "drift" else FIRST)
    dumps.plant(path, soak_dumps.empty)
    named = f"error: {path.name}: {FILE_FAULTS[fault][1][0]}"
    assert not _fits(fault, Row(1, "", fault, exit=1), named, dumps)
    assert _fits(fault, Row(1, "", fault, exit=1), "error: something is wrong", dumps)
    assert _fits(fault, Row(1, "", fault, exit=0), named, dumps)
    assert _fits(fault, Row(1, "", fault, exit=1), f"{named}\nTraceback (most recent call last)", dumps)


def test_a_full_disk_has_to_be_named_and_an_exit_code_has_to_fit(dumps: Dumps) -> None:
    assert not _fits(FULL_DISK, Row(1, "", "", exit=1), "error: the disk that holds x is full", dumps)
    assert _fits(FULL_DISK, Row(1, "", "", exit=1), "error: no", dumps)
    assert not _fits("kill", Row(1, "", "", exit=-9), "", dumps)
    assert _fits("kill", Row(1, "", "", exit=1), "", dumps)
    assert _fits(NONE, Row(1, "", "", exit=1), "", dumps)


def test_the_report_lists_what_was_broken() -> None:
    row = Row(2, "new x, +3 rows", "kill after 3 assets", exit=-9, message="a | b", broken=["the champion is gone"])
    page = report([row], "one run.")
    assert "1 invariants were broken." in page
    assert "- refresh 2, kill after 3 assets: the champion is gone" in page
    assert r"a \| b" in page
    assert "No invariant was broken." in report([Row(1, "", NONE)], "")
