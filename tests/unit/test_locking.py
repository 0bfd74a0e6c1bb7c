"""The lock of a dataset: one holder at a time, named, released by death, and shared with children."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from orchestration.dataset_lock import DatasetBusy, DatasetLock, Holder, dataset_lock, shared_with_children
from orchestration.execution.crash_recovery import clear_up
from orchestration.paths import Workspace

# Takes the lock of dataset Small, signs it, and stays; with a word more, starts a child that shares it and stays.
HOLD = """
import subprocess, sys, time
from pathlib import Path
from orchestration.dataset_lock import dataset_lock, shared_with_children
from orchestration.paths import Workspace
paths = Workspace(Path(sys.argv[1])).dataset("Small")
with dataset_lock(paths, "make run") as lock:
    lock.sign("some run")
    if len(sys.argv) > 2:
        with shared_with_children(paths):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
    else:
        print("held", flush=True)
    time.sleep(60)
"""


def holder(home: Path, *words: str) -> tuple[subprocess.Popen, str]:
    """A process that holds the lock, and the line it said."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home), *words], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


def is_free(lock: DatasetLock) -> bool:
    """Whether the lock is free within a moment."""
    for _ in range(20):
        if lock.take("test"):
            lock.release()
            return True
        time.sleep(0.05)
    return False


def test_one_holder_at_a_time_and_datasets_apart(tmp_path: Path) -> None:
    small, other = Workspace(tmp_path).dataset("Small"), Workspace(tmp_path).dataset("Other")
    with dataset_lock(small, "make run") as lock:
        lock.sign()
        with (
            pytest.raises(DatasetBusy, match=rf"Small is in use by make run \(process {os.getpid()}"),
            dataset_lock(small, "make run", wait=False),
        ):
            pass
        with dataset_lock(other, "make run", wait=False):
            pass
    with dataset_lock(small, "make run", wait=False):
        pass
    assert small.lock.read_text() == ""


def test_who_waits_is_told_for_whom_once_and_gets_it(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    process, _ = holder(tmp_path)
    told = []

    def tell(text: str) -> None:
        told.append(text)
        end(process)

    with dataset_lock(paths, "make run", on_wait=tell) as lock:
        killed = lock.holder()
        assert killed == Holder(process.pid, "make run", killed.since, "some run", platform.node())
        assert not killed.alive()
        assert "which was killed" in str(killed)
    assert len(told) == 1
    assert told[0].startswith(f"make run (process {process.pid}, since 20")


def test_a_child_that_shares_the_lock_outlives_a_killed_holder(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    process, child = holder(tmp_path, "child")
    end(process)
    try:
        assert not is_free(DatasetLock(paths))
        with pytest.raises(DatasetBusy, match="what is left of make run"), dataset_lock(paths, "make run", wait=False):
            pass
    finally:
        os.kill(int(child), signal.SIGKILL)
    assert is_free(DatasetLock(paths))


def test_sharing_gives_the_standard_input_back(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    before = os.fstat(0)
    with shared_with_children(paths):
        assert os.path.samestat(os.fstat(0), before)
    with dataset_lock(paths, "make run"):
        with shared_with_children(paths):
            assert os.path.samestat(os.fstat(0), paths.lock.stat())
        assert os.path.samestat(os.fstat(0), before)
    assert is_free(DatasetLock(paths))


def test_a_lock_file_that_was_removed_locks_nobody_out_of_the_new_one(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    lock = DatasetLock(paths)
    assert lock.take("make run")
    paths.lock.unlink()
    assert is_free(DatasetLock(paths))


_SOUND = {"pid": 1, "command": "make run", "since": "today", "run_id": ""}


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[1]",
        b"\xff\xfe\x00",
        b"null",
        b'{"pid": 1}',
        json.dumps({"pid": 1, "unknown": 2}).encode(),
        *(
            json.dumps(_SOUND | wrong).encode()
            for wrong in ({"pid": -1}, {"pid": 0}, {"pid": "1"}, {"run_id": None}, {"host": 1})
        ),
    ],
)
def test_a_record_that_cannot_be_read_names_somebody_unknown_to_clear_up_after(tmp_path: Path, text: bytes) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    paths.lock.parent.mkdir(parents=True)
    paths.lock.write_bytes(text)
    with dataset_lock(paths, "make run") as lock:
        holder = lock.holder()
        assert holder is not None
        assert "damaged" in str(holder)
        assert not holder.alive()
        lock.sign()
        assert lock.holder().command == "make run"


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_record_names_nobody(tmp_path: Path, text: str) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    paths.lock.parent.mkdir(parents=True)
    paths.lock.write_text(text)
    assert DatasetLock(paths).holder() is None


def test_the_number_of_a_process_may_be_of_any_size(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    paths.lock.parent.mkdir(parents=True)
    paths.lock.write_text(json.dumps(_SOUND | {"pid": 10**30}))
    assert "which was killed" in str(DatasetLock(paths).holder())


def test_of_a_process_on_another_machine_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    with dataset_lock(paths, "make run") as lock:
        lock.sign()
        monkeypatch.setattr("platform.node", lambda: "another-pod")
        with (
            pytest.raises(DatasetBusy, match=rf"in use by make run \(process {os.getpid()} on .*, since [^)]*\)$"),
            dataset_lock(paths, "make run", wait=False),
        ):
            pass


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
def test_locks_that_do_not_reach_across_machines_are_noticed(tmp_path: Path, status: dg.DagsterRunStatus) -> None:
    """Another machine's run is under way, and this one finds its lock free, as on NFS mounted with ``nolock``."""
    paths = Workspace(tmp_path).dataset("Small")
    paths.lock.parent.mkdir(parents=True)
    record = json.dumps(_SOUND | {"pid": 7, "run_id": "a-run-elsewhere", "host": "another-pod"})
    paths.lock.write_text(record)
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.add_run(dg.DagsterRun("data", run_id="a-run-elsewhere", status=status))
        told = (
            r"Small was last in use by make run \(process 7 on another-pod, since today\), .* run a-run-el as under way"
        )
        with pytest.raises(DatasetBusy, match=told), dataset_lock(paths, "make run") as lock:
            clear_up(instance, paths, lock)
        assert paths.lock.read_text() == record, "whoever comes next is refused too"
        assert not instance.get_run_by_id(run.run_id).is_finished, "it goes on"
        # as Dagster's run monitoring does of a pod that is lost
        instance.report_run_failed(run)
        with dataset_lock(paths, "make run") as lock:
            assert clear_up(instance, paths, lock).host == "another-pod"
        assert paths.lock.read_text() == ""


def test_on_one_machine_a_killed_run_is_cleared_up_at_once(tmp_path: Path) -> None:
    paths = Workspace(tmp_path).dataset("Small")
    paths.lock.parent.mkdir(parents=True)
    paths.lock.write_text(json.dumps(_SOUND | {"pid": 10**9, "run_id": "killed", "host": platform.node()}))
    with dg.DagsterInstance.ephemeral() as instance, dataset_lock(paths, "make run") as lock:
        run = instance.add_run(dg.DagsterRun("data", run_id="killed", status=dg.DagsterRunStatus.STARTED))
        assert clear_up(instance, paths, lock).pid == 10**9
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
