"""Which versions of a folder or file stay: the last ones, and those that are pinned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data.files import DamagedFile, atomic_file
from ml.data.versions import (
    PINS,
    VERSIONS,
    bytes_of,
    keep_file,
    kept_before,
    pins_of,
    remove_old,
    set_pins,
    versioned_folder,
    versions_of,
    with_versions,
)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write_folder(path: Path, text: str, keep: int) -> None:
    with versioned_folder(path, keep) as folder:
        (folder / "one.txt").write_text(text)


def write_file(path: Path, text: str, keep: int) -> None:
    with atomic_file(path) as file:
        file.write_text(text)
    keep_file(path, keep)


WRITERS = {"folder": write_folder, "file": write_file}


def content(path: Path) -> str:
    return (path / "one.txt" if path.is_dir() else path).read_text()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abcdef")),
        st.tuples(st.just("pin"), st.integers(0, 5)),
        st.tuples(st.just("unpin"), st.none()),
        st.tuples(st.just("remove"), st.integers(0, 3)),
        st.tuples(st.just("look"), st.integers(0, 3)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=60, deadline=None)
@given(keep=st.integers(0, 3), steps=STEPS)
def test_the_last_versions_and_the_pinned_ones_stay_whatever_happens(tmp_path_factory, kind, keep, steps):
    path = tmp_path_factory.mktemp("lake") / "target"
    # the latest first, as they have to be on disk
    model: list[str] = []
    pinned: set[str] = set()

    def left(kept: int) -> list[str]:
        return [text for place, text in enumerate(model) if place <= kept or text in pinned]

    for step, value in steps:
        if step == "write":
            WRITERS[kind](path, value, keep)
            model = [value, *(text for text in model if text != value)]
            model = left(keep)
        elif step == "pin" and value < len(model):
            pinned.add(model[value])
            set_pins(
                path, {version.digest: ["champion"] for version in versions_of(path) if content(version.path) in pinned}
            )
        elif step == "unpin":
            pinned.clear()
            set_pins(path, {})
        elif step in ("remove", "look") and model:
            gone = remove_old(path, value, dry_run=step == "look")
            remaining = {version.digest for version in versions_of(path)}
            assert {version.digest for version, _ in gone} & remaining == (
                {version.digest for version, _ in gone} if step == "look" else set()
            )
            assert len(gone) == len(model) - len(left(value))
            assert all(size > 0 for _, size in gone)
            if step == "remove":
                model = left(value)
        found = versions_of(path)
        assert [content(version.path) for version in found] == model
        assert [version.is_current for version in found] == [True, *[False] * (len(model) - 1)][: len(model)]
        assert {content(version.path) for version in found if version.pinned_by} == pinned & set(model)
        if model:
            assert content(path) == model[0]
            assert sorted(os.listdir(path.parent)) == [VERSIONS, "target"]


@pytest.mark.parametrize(("text", "before"), [(None, 2), ("", 2), ("2", 1), (" 10 ", 9)])
def test_the_variable_counts_the_current_version(monkeypatch, tmp_path, text, before):
    if text is None:
        monkeypatch.delenv("RAW2RANK_KEEP", raising=False)
    else:
        monkeypatch.setenv("RAW2RANK_KEEP", text)
    assert kept_before() == before
    for number in range(12):
        with versioned_folder(tmp_path / "target") as folder:
            (folder / "one.txt").write_text(str(number))
    assert len(versions_of(tmp_path / "target")) == before + 1


@pytest.mark.parametrize("text", ["1", "0", "-3", "three", "2.5", "²"])
def test_an_impossible_number_is_refused_before_anything_is_written(monkeypatch, tmp_path, text):
    monkeypatch.setenv("RAW2RANK_KEEP", text)
    said = f"RAW2RANK_KEEP={text} is not possible: give a whole number, at least 2"
    with pytest.raises(ValueError, match=said), versioned_folder(tmp_path / "target"):
        raise AssertionError("not reached")
    assert list(tmp_path.iterdir()) == []


def test_where_pins_cannot_be_read_nothing_is_removed(tmp_path):
    path = tmp_path / "target"
    for text in "abc":
        write_folder(path, text, 5)
    (tmp_path / VERSIONS / "target" / PINS).write_text('{"half')
    with pytest.raises(DamagedFile, match=PINS):
        pins_of(path)
    assert remove_old(path, 0) == []
    write_folder(path, "d", 0)
    assert len([one for one in (tmp_path / VERSIONS / "target").iterdir() if one.is_dir()]) == 4
    set_pins(path, {})
    assert len(remove_old(path, 0)) == 3


def test_a_kept_file_costs_no_disk_while_it_is_the_current_one(tmp_path):
    path = tmp_path / "leaderboard.parquet"
    write_file(path, "a" * 5000, 3)
    (version,) = versions_of(path)
    assert version.path.samefile(path)
    assert bytes_of(version.path) == 0
    write_file(path, "b" * 5000, 3)
    assert not versions_of(path)[1].path.samefile(path)
    assert bytes_of(versions_of(path)[1].path) >= 5000


def test_a_kept_file_stays_where_links_are_not_possible(tmp_path, monkeypatch):
    import errno

    def refused(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "leaderboard.parquet"
    write_file(path, "a", 3)
    write_file(path, "b", 3)
    assert [content(version.path) for version in versions_of(path)] == ["b", "a"]


def test_what_has_versions_is_found_at_any_depth_and_not_within_versions(tmp_path):
    write_folder(tmp_path / "models" / "sasrec", "a", 1)
    write_file(tmp_path / "evaluation" / "leaderboard.parquet", "a", 1)
    with versioned_folder(tmp_path / "release" / "champion") as folder:
        write_folder(folder / "inner", "a", 1)
    found = [path.relative_to(tmp_path).as_posix() for path in with_versions(tmp_path)]
    assert found == ["evaluation/leaderboard.parquet", "models/sasrec", "release/champion"]
    assert with_versions(tmp_path / "none") == []
