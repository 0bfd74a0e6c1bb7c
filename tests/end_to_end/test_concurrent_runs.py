"""Two runs at once: on two datasets neither disturbs the other, on one they take turns or the second says why not."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from threading import Timer

import dagster as dg
import pytest
from processes import Run, digests, leftovers, start
from workbench import write_small_dump

from orchestration.dataset_lock import dataset_lock
from orchestration.definitions import defs
from orchestration.paths import Workspace


def land(folder: Path, dataset: str) -> Path:
    write_small_dump(folder / dataset, dataset)
    return folder / dataset


def check(home: Path, dumps: Path, dataset: str, *options: str) -> Run:
    return start(home, dumps, *options, dataset=dataset, command="check_data")


def assert_done(run: Run) -> None:
    assert run.wait() == 0, run.said


@pytest.mark.slow
def test_two_datasets_and_two_runs_on_one(tmp_path: Path) -> None:
    home, alone = tmp_path / "workspace", tmp_path / "alone" / "workspace"
    alone.parent.mkdir()
    left, right = land(tmp_path / "dumps", "Left"), land(tmp_path / "dumps", "Right")
    # both make the workspace and the storage of Dagster at the same moment; nothing is trained, to be done sooner
    first, other = check(home, left, "Left"), check(home, right, "Right")
    single = check(alone, right, "Right")
    first.wait_for("making")
    refused = check(home, left, "Left", "--no-wait")
    queued = check(home, left, "Left")
    assert refused.wait() == 1, first.said
    (error,) = [line for line in refused.said.splitlines() if line.startswith("error: ")]
    assert f"dataset Left is in use by make check-data (process {first.process.pid}, since " in error
    assert "Traceback" not in refused.said
    for run in (first, other, queued):
        assert_done(run)
    assert "making" in first.said
    assert f"waiting for make check-data (process {first.process.pid}" in queued.said
    assert "making" not in queued.said
    assert not leftovers(home)
    assert_done(single)
    assert digests(home, "Right") == digests(alone, "Right")


def data_job() -> dg.JobDefinition:
    return defs.resolve_job_def("data")


def test_a_run_of_the_ui_waits_for_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    paths = Workspace.current().dataset("Small")
    written = paths.asset("settings") / "dataset.json"
    early = []
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance, ExitStack() as held:
        instance.add_dynamic_partitions("dataset", ["Small"])
        held.enter_context(dataset_lock(paths, "make run"))

        def end_the_other() -> None:
            early.append(written.exists())
            held.close()

        Timer(3, end_the_other).start()
        result = dg.execute_job(
            dg.reconstructable(data_job),
            instance,
            tags={"dagster/partition": "Small"},
            asset_selection=[dg.AssetKey(["settings", "dataset"])],
        )
        said = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert result.success
    assert early == [False]
    assert written.exists()
    assert any(text.startswith("Waiting for dataset Small, in use by ") for text in said)
    # and gives it back
    with dataset_lock(paths, "make run", wait=False):
        pass
