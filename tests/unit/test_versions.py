"""Folders that are replaced in one step: whole at every moment, with their previous versions."""

import errno
import itertools
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from costs import others_slow
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.data import versions
from ml.data.files import atomic_file, clean_leftovers
from ml.data.versions import (
    VERSIONS,
    NoSymbolicLinks,
    content_name,
    current_version,
    kept_before,
    versioned_folder,
    versions_of,
)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Nothing here is about a loss of power; what is flushed is watched where it matters."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def write(target: Path, text: str, keep: int = 1) -> Path:
    """A version of two files, one of them in a folder; where it lies."""
    with versioned_folder(target, keep) as folder:
        (folder / "below").mkdir()
        (folder / "one.txt").write_text(text)
        (folder / "below" / "two.txt").write_text(text)
    found = current_version(target)
    assert found is not None
    return found


def write_half(target: Path, error: BaseException) -> None:
    with versioned_folder(target) as folder:
        (folder / "one.txt").write_text("half")
        raise error


def texts(target: Path) -> set[str]:
    """What the files of a version hold; one text where it is whole."""
    assert sorted(os.listdir(target)) == ["below", "one.txt"]
    return {(target / name).read_text() for name in ("one.txt", "below/two.txt")}


def stored(target: Path) -> list[set[str]]:
    """What all versions on disk hold, the latest first."""
    return [texts(version.path) for version in versions_of(target)]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "deep" / "target"
    first = write(target, "old")
    with versioned_folder(target) as folder:
        assert os.listdir(folder) == []
        (folder / "only.txt").write_text("new")
        assert texts(target) == {"old"}
    assert os.listdir(target) == ["only.txt"]
    assert texts(first) == {"old"}
    assert sorted(os.listdir(tmp_path / "deep")) == [VERSIONS, "target"]
    assert not os.path.isabs(os.readlink(target))


def test_all_of_a_version_is_on_disk_before_the_link_leads_to_it(tmp_path, monkeypatch):
    target, flushed = tmp_path / "target", []
    replace = os.replace

    def watched(source, place):
        version = (tmp_path / os.readlink(source)).resolve()
        inodes = {path.stat().st_ino for path in (version, *version.rglob("*"), version.parent)}
        assert inodes <= set(flushed)
        replace(source, place)
        flushed.clear()

    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "replace", watched)
    write(target, "new")
    assert flushed == [tmp_path.stat().st_ino]


def test_an_error_leaves_the_folder_as_it_was(tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RuntimeError, match="no luck"):
        write_half(target, RuntimeError("no luck"))
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "other", KeyboardInterrupt())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_and_its_versions_can_be_moved(tmp_path):
    write(tmp_path / "here" / "target", "old")
    write(tmp_path / "here" / "target", "new")
    (tmp_path / "here").rename(tmp_path / "there")
    assert stored(tmp_path / "there" / "target") == [{"new"}, {"old"}]


def test_so_many_previous_versions_stay(tmp_path):
    for keep in range(4):
        target = tmp_path / str(keep)
        for number in range(6):
            write(target, str(number), keep)
        assert stored(target) == [{str(number)} for number in (5, 4, 3, 2)[: keep + 1]]
        assert [version.is_current for version in versions_of(target)] == [True] + [False] * keep


def test_the_version_before_the_last_write_can_still_be_read(tmp_path):
    reader = write(tmp_path / "target", "old")
    write(tmp_path / "target", "new")
    assert texts(reader) == {"old"}
    write(tmp_path / "target", "newer")
    assert not reader.exists()


def test_equal_content_is_kept_once_and_becomes_the_latest(tmp_path):
    target = tmp_path / "target"
    first = write(target, "old", keep=3)
    inode = (first / "one.txt").stat().st_ino
    write(target, "new", keep=3)
    assert write(target, "old", keep=3) == first
    assert (first / "one.txt").stat().st_ino == inode
    assert stored(target) == [{"old"}, {"new"}]


def test_versions_are_in_order_where_the_clock_was_set_back(tmp_path, monkeypatch):
    times = iter([5_000_000_000, 3_000_000_000, 1_000_000_000])
    monkeypatch.setattr(versions.time, "time_ns", lambda: next(times))
    for text in "abc":
        write(tmp_path / "target", text, keep=2)
    assert stored(tmp_path / "target") == [{"c"}, {"b"}, {"a"}]


def test_a_damaged_version_is_not_taken_for_the_content_of_its_name(tmp_path):
    target = tmp_path / "target"
    first = write(target, "whole")
    (first / "one.txt").write_text("damaged")
    again = write(target, "whole")
    assert again != first
    assert texts(target) == {"whole"}
    # removed first, as the message on a damaged folder asks for
    (again / "one.txt").unlink()
    target.unlink()
    write(target, "whole")
    assert texts(target) == {"whole"}


def test_a_removed_link_is_a_removed_folder(tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    target.unlink()
    clean_leftovers(tmp_path)
    assert not os.path.lexists(target)
    assert current_version(target) is None
    write(target, "new")
    assert stored(target) == [{"new"}, {"old"}]


def test_a_link_to_a_removed_version_is_replaced(tmp_path):
    target = tmp_path / "target"
    write(target, "old")
    shutil.rmtree(tmp_path / VERSIONS)
    assert versions_of(target) == []
    write(target, "new")
    assert stored(target) == [{"new"}]


def test_a_link_of_somebody_else_is_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "real"
    write(elsewhere, "old")
    (tmp_path / "link").symlink_to(tmp_path / "again")
    (tmp_path / "again").symlink_to(Path("elsewhere") / "real")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert stored(elsewhere) == [{"new"}, {"old"}]
    assert sorted(os.listdir(tmp_path)) == ["again", "elsewhere", "link"]
    assert versions_of(tmp_path / "link") == versions_of(elsewhere)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        write(tmp_path / "circle", "new")


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="move it away"):
        write(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_an_earlier_release_becomes_a_version(tmp_path):
    target = tmp_path / "target"
    made = write(tmp_path / "elsewhere" / "target", "old")
    shutil.copytree(made, target)
    assert stored(target) == [{"old"}]
    write(target, "new")
    assert stored(target) == [{"new"}, {"old"}]
    # copied with links followed, as cp -rL does: the folder counts, and what it equals is replaced
    shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-copy"))
    copy = tmp_path.with_name(f"{tmp_path.name}-copy") / "target"
    assert not copy.is_symlink()
    write(copy, "newer", keep=3)
    assert stored(copy) == [{"newer"}, {"new"}, {"old"}]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_links_is_named_before_anything_is_made(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "symlink", refuse)
    begun = False
    with pytest.raises(NoSymbolicLinks, match=f"{tmp_path} has no symbolic links"), versioned_folder(tmp_path / "x"):
        begun = True
    assert not begun
    assert os.listdir(tmp_path) == []


# ---- faults at every step of a write

STEPS = ("mkdir", "symlink", "rename", "replace", "utime", "fsync", "unlink", "open")

# Counts the calls of STEPS that a write makes, and dies before one of them, or lets it fail.
AT = """
import os, sys
from pathlib import Path
from ml.data.versions import versioned_folder
target, at, how, steps, died = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(","), []
calls = 0
def watched(known):
    def call(*given, **named):
        global calls
        if given and "__pycache__" in str(given[0]):
            return known(*given, **named)
        calls += 1
        if calls == at and how == "dies":
            os._exit(9)
        if calls == at and how == "fails":
            raise OSError(5, "input/output error")
        return known(*given, **named)
    return call
for step in steps:
    setattr(os, step, watched(getattr(os, step)))
try:
    with versioned_folder(target) as folder:
        (folder / "below").mkdir()
        (folder / "one.txt").write_text("new")
        (folder / "below" / "two.txt").write_text("new")
except OSError as error:
    assert error.errno == 5, error
    sys.exit(7)
print(calls)
"""


def run_at(target: Path, at: int, how: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", AT, str(target), str(at), how, ",".join(STEPS)],
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(tmp_path: Path, before: str) -> Path:
    """A folder as a write may find it: none, a version with one before it, or one that is no link."""
    target = tmp_path / "parent" / "target"
    if before == "versions":
        write(target, "older")
        write(target, "old")
    elif before == "plain folder":
        made = write(tmp_path / "made" / "target", "old")
        shutil.copytree(made, target)
    else:
        target.parent.mkdir(parents=True)
    return target


@pytest.mark.parametrize("before", others_slow(["nothing", "versions", "plain folder"], "versions"))
def test_a_fault_at_any_step_leaves_the_old_folder_or_the_new_one(tmp_path, before):
    whole = run_at(prepare(tmp_path / "whole", before), 0, "dies")
    assert whole.returncode == 0, whole.stderr
    steps = int(whole.stdout)
    assert steps > 20
    code = compile(AT, "<write>", "exec")
    outcomes = set()
    for at, how in itertools.product(range(1, steps + 1), ("dies", "fails")):
        target = prepare(tmp_path / f"{at}-{how}", before)
        if how == "dies":
            assert _forked(code, target, at) == 9, at
        else:
            # an error in clearing up is passed over
            assert _failing(code, target, at) in (0, 7), at
        gap = before == "plain folder" and not target.exists()
        clean_leftovers(target.parent)
        # nothing but the folder and its versions
        assert set(os.listdir(target.parent)) <= {"target", VERSIONS}, (at, how)
        if before == "nothing" and not target.exists():
            assert not os.path.lexists(target)
            outcomes.add("nothing")
        else:
            found = texts(target)
            assert found in ({"old"}, {"new"}), (at, how)
            outcomes |= found
        outcomes |= {"gap"} if gap else set()
        if before != "nothing":
            assert {"old"} in [*stored(target), texts(target)], (at, how)
        # and the next write is as good as any
        write(target, "next")
        assert texts(target) == {"next"}
        assert all(len(found) == 1 for found in stored(target))
        assert len(os.listdir(target.parent / VERSIONS / "target")) <= 2
        shutil.rmtree(target.parent.parent)
    # the old one before the last step, the new one after it; and a folder that is no link is away for a moment, once
    expected = {"nothing": {"nothing", "new"}, "versions": {"old", "new"}, "plain folder": {"old", "new", "gap"}}
    assert outcomes == expected[before]


def _forked(code, target: Path, at: int) -> int:
    """Exit code of :data:`AT` in a fork of this process, which dies at a step."""
    child = os.fork()
    if child == 0:
        try:
            sys.argv = ["-c", str(target), str(at), "dies", ",".join(STEPS)]
            exec(code, {"__name__": "__main__"})
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _failing(code, target: Path, at: int) -> int:
    """Exit code of :data:`AT`, one step of which fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["-c", str(target), str(at), "fails", ",".join(STEPS)])
        for step in STEPS:
            # so that it is restored
            patch.setattr(os, step, getattr(os, step))
        try:
            exec(code, {"__name__": "__main__"})
        except SystemExit as error:
            return int(error.code or 0)
    return 0


def test_what_a_killed_writer_completed_and_did_not_put_in_place_is_no_version(tmp_path):
    target = tmp_path / "target"
    write(target, "older")
    write(target, "old")
    abandoned = tmp_path / VERSIONS / "target" / ("0" * 32)
    shutil.copytree(current_version(target), abandoned)
    latest = current_version(target).stat().st_mtime_ns
    os.utime(abandoned, ns=(latest + 1, latest + 1))
    assert stored(target) == [{"old"}, {"older"}]
    write(target, "new")
    assert stored(target) == [{"new"}, {"old"}]
    assert not abandoned.exists()


def test_writers_at_the_same_time_leave_one_whole_folder(tmp_path):
    target, failures, stop = tmp_path / "target", [], threading.Event()
    write(target, "start")

    def write_often(name: str) -> None:
        try:
            for number in range(40):
                write_both(f"{name}{number % 3}")
        except (OSError, AssertionError) as error:
            failures.append(error)

    def write_both(text: str) -> None:
        with versioned_folder(target) as folder:
            (folder / "below").mkdir()
            (folder / "one.txt").write_text(text)
            (folder / "below" / "two.txt").write_text(text)
        with atomic_file(tmp_path / "file.txt") as file:
            file.write_text(text)

    def read_often() -> None:
        try:
            while not stop.is_set():
                # the plain path leads to a whole folder at every moment
                assert (target / "one.txt").read_text()
        except (OSError, AssertionError) as error:
            failures.append(error)

    writers = [threading.Thread(target=write_often, args=(name,)) for name in "abcd"]
    reader = threading.Thread(target=read_often)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert failures == []
    assert sorted(os.listdir(tmp_path)) == [VERSIONS, "file.txt", "target"]
    assert len(os.listdir(tmp_path / VERSIONS / "target")) == 1 + kept_before()
    assert [len(found) for found in stored(target)] == [1] * (1 + kept_before())


# ---- names of versions

_NAMES = st.text("abAB.- é", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
_TREES = st.recursive(
    st.binary(max_size=4), lambda inner: st.dictionaries(_NAMES, inner, max_size=3), max_leaves=6
).filter(lambda tree: isinstance(tree, dict))


def lay(tree: dict, folder: Path, reverse: bool) -> None:
    folder.mkdir(parents=True)
    for name, inner in sorted(tree.items(), reverse=reverse):
        if isinstance(inner, dict):
            lay(inner, folder / name, reverse)
        else:
            (folder / name).write_bytes(inner)


@settings(max_examples=60, deadline=None)
@given(one=_TREES, other=_TREES)
def test_versions_have_the_same_name_where_their_content_is_equal_and_only_there(one, other, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    lay(one, folder / "one", reverse=False)
    lay(one, folder / "again", reverse=True)
    lay(other, folder / "other", reverse=False)
    assert content_name(folder / "one") == content_name(folder / "again")
    assert (content_name(folder / "one") == content_name(folder / "other")) == (one == other)
    shutil.rmtree(folder)
