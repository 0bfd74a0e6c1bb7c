"""The versions of a dataset on disk: what a release refers to stays, and what can go goes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.data.files import working_folder
from ml.data.versions import keep_file, pins_of, versioned_folder, versions_of
from orchestration.commands import clean as clean_command
from orchestration.commands import history as history_command
from orchestration.dataset_lock import DatasetLock
from orchestration.paths import DatasetPaths, Workspace, WorkspaceError
from orchestration.versions import clean, history, leaderboards, pin_released

NAME = "Small"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    monkeypatch.delenv("RAW2RANK_KEEP", raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    paths = Workspace.current().dataset(NAME)
    paths.register(None)
    return paths


def _sequences(paths: DatasetPaths, digest: str) -> None:
    with versioned_folder(paths.asset("training_sets", "sequences")) as folder:
        (folder / "training_set.json").write_text(json.dumps({"digest": digest}))


def _leaderboard(paths: DatasetPaths, digest: str, ndcg: float, started_from: str | None = None) -> None:
    rows = [
        {"title": "Most popular", "ndcg@10": 0.01, "users": 7, "started_from": None},
        {"title": "SASRec", "ndcg@10": ndcg, "users": 7, "started_from": started_from},
    ]
    protocol = json.dumps({"dataset": NAME, "dataset digest": digest[:12]}).encode()
    paths.leaderboard.parent.mkdir(parents=True, exist_ok=True)
    aside = paths.leaderboard.with_name("aside")
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"protocol": protocol}), aside)
    aside.replace(paths.leaderboard)
    keep_file(paths.leaderboard, 1)


def _champion(paths: DatasetPaths, digest: str) -> str:
    with versioned_folder(paths.asset("release", "champion"), keep=1) as folder:
        (folder / "bundle.json").write_text(json.dumps({"digests": {"training_set": digest}}))
    return f"champion {versions_of(paths.asset('release', 'champion'))[0].digest[:12]}"


def _digests(paths: DatasetPaths) -> list[str]:
    found = versions_of(paths.asset("training_sets", "sequences"))
    return [json.loads((version.path / "training_set.json").read_text())["digest"] for version in found]


def _run(paths: DatasetPaths, digest: str, ndcg: float = 0.1) -> None:
    """What the runs of a dataset do, as far as versions go."""
    pin_released(paths)
    _sequences(paths, digest)
    _leaderboard(paths, digest, ndcg)


DIGESTS = [f"{number:x}" * 64 for number in range(1, 9)]


def test_what_the_champions_were_made_of_outlives_any_number_of_runs(paths: DatasetPaths) -> None:
    for place, digest in enumerate(DIGESTS):
        _run(paths, digest)
        if place in (0, 2):
            _champion(paths, digest)
    assert _digests(paths) == [*DIGESTS[:4:-1], DIGESTS[2], DIGESTS[0]]
    assert [board.training_set for board in leaderboards(paths)] == [
        digest[:12] for digest in (DIGESTS[7], DIGESTS[6], DIGESTS[2], DIGESTS[0])
    ]
    pinned = {one.digest: one.pinned_by for one in history(paths) if one.asset == "training_sets/sequences"}
    assert len([holders for holders in pinned.values() if holders]) == 2


def test_a_champion_that_is_gone_pins_nothing_any_more(paths: DatasetPaths) -> None:
    for place, digest in enumerate(DIGESTS):
        _run(paths, digest)
        if place < 3:
            # one champion before the current one is kept, so that the first is gone
            _champion(paths, digest)
    assert DIGESTS[0] not in _digests(paths)
    assert _digests(paths)[-2:] == [DIGESTS[2], DIGESTS[1]]


def test_what_a_damaged_champion_needed_stays_pinned(paths: DatasetPaths) -> None:
    _run(paths, DIGESTS[0])
    holder = _champion(paths, DIGESTS[0])
    pin_released(paths)
    (paths.asset("release", "champion") / "bundle.json").write_text("{")
    for digest in DIGESTS[1:]:
        _run(paths, digest)
    assert _digests(paths)[-1] == DIGESTS[0]
    assert [holder] in pins_of(paths.asset("training_sets", "sequences")).values()


def test_pins_that_cannot_be_read_are_written_anew(paths: DatasetPaths) -> None:
    _run(paths, DIGESTS[0])
    _champion(paths, DIGESTS[0])
    place = paths.asset("training_sets") / ".versions" / "sequences" / "pins.json"
    place.write_text("{")
    for digest in DIGESTS[1:]:
        _run(paths, digest)
    assert _digests(paths)[-1] == DIGESTS[0]


def _in_excess(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAW2RANK_KEEP", "8")
    for place, digest in enumerate(DIGESTS):
        _run(paths, digest)
        if place == 1:
            _champion(paths, digest)
    pin_released(paths)
    monkeypatch.setenv("RAW2RANK_KEEP", "2")


def _all_files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_cleaning_frees_what_is_neither_current_nor_kept_nor_pinned(paths: DatasetPaths, monkeypatch) -> None:
    _in_excess(paths, monkeypatch)
    before = _all_files(paths.lake)
    would = list(clean(paths, dry_run=True))
    assert _all_files(paths.lake) == before
    assert list(clean(paths)) == would
    assert len(would) == 5
    assert all(freed.bytes > 0 for freed in would)
    assert _digests(paths) == [DIGESTS[7], DIGESTS[6], DIGESTS[1]]
    assert list(clean(paths)) == []


def test_cleaning_leaves_the_champions_and_reports_that_their_writers_keep(paths: DatasetPaths) -> None:
    for folder in (paths.champion, paths.asset("evaluation", "report")):
        for number in range(6):
            with versioned_folder(folder, keep=4) as working:
                (working / "file").write_text(str(number))
    assert list(clean(paths)) == []
    assert len(versions_of(paths.champion)) == 5


def test_cleaning_removes_what_killed_processes_left_and_not_what_is_being_written(paths: DatasetPaths) -> None:
    folder = paths.lake / "models"
    killed = folder / ".writing-0123456789abcdef"
    killed.mkdir(parents=True)
    (killed / "half").write_text("half of a model")
    with working_folder(folder.parent / "codes") as living:
        (living / "half").write_text("half of a model")
        (freed,) = clean(paths)
        assert (living / "half").exists()
    assert freed.what == f"{NAME}/models: what a killed process left"
    assert not killed.exists()


def test_the_history_is_printed(paths: DatasetPaths, capsys) -> None:
    _run(paths, DIGESTS[0], 0.125)
    holder = _champion(paths, DIGESTS[0])
    pin_released(paths)
    _sequences(paths, DIGESTS[1])
    _leaderboard(paths, DIGESTS[1], 0.25, "c0ffee" * 10)
    assert history_command.main([NAME]) == 0
    told = capsys.readouterr().out
    assert f"pinned by {holder}" in told
    assert "training_sets/sequences" in told
    lines = [line for line in told.splitlines() if "SASRec" in line]
    assert "0.2500" in lines[0]
    assert "current, trained from c0ffeec0ffee" in lines[0]
    assert "0.1250" in lines[1]
    assert DIGESTS[0][:12] in lines[1]


def test_a_dataset_without_versions_has_no_history(paths: DatasetPaths, capsys) -> None:
    assert history_command.main([NAME]) == 1
    assert "has no versions yet" in capsys.readouterr().err


def test_the_command_says_how_much_and_waits_for_nobody_where_told_so(paths: DatasetPaths, monkeypatch, capsys) -> None:
    _in_excess(paths, monkeypatch)
    assert clean_command.main([NAME, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.count("training_sets/sequences") == 5
    assert "would be freed" in told.splitlines()[-1]
    lock = DatasetLock(paths)
    assert lock.take("make run")
    try:
        assert clean_command.main([f"--dataset={NAME}", "--no-wait"]) == 1
        assert "in use by" in capsys.readouterr().err
        assert len(_digests(paths)) == 8
    finally:
        lock.release()
    assert clean_command.main([]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" freed")
    assert len(_digests(paths)) == 3
    assert clean_command.main([NAME]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "nothing freed"


def test_an_impossible_number_of_versions_is_refused_before_a_run(paths: DatasetPaths, monkeypatch) -> None:
    monkeypatch.setenv("RAW2RANK_KEEP", "1")
    with pytest.raises(WorkspaceError, match="RAW2RANK_KEEP=1 is not possible"):
        Workspace.current().check()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["Nowhere"], "there is no dataset Nowhere"), (["../up"], "cannot name a dataset")]
)
def test_a_dataset_that_is_none_is_refused(paths: DatasetPaths, arguments, said, capsys) -> None:
    assert clean_command.main(arguments) == 1
    assert said in capsys.readouterr().err
