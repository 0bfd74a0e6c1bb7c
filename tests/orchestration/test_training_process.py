"""Training in a process of its own, through Dagster Pipes: the same model, and what it says in the log of the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from costs import others_slow

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from ml.training.checkpoint import Checkpoint, TrainingState, checkpoint_folder
from orchestration.assets.models import model_assets
from orchestration.execution.crash_recovery import checkpoint_of, clean_tree, discard_checkpoints
from orchestration.execution.training_process import command, failure_of, run
from orchestration.execution.trainings import trainings
from orchestration.faults import killed_by
from orchestration.paths import REPOSITORY, DatasetPaths, Workspace
from orchestration.resources import Settings, training_client

NAME = "tiny_softmax"
(MODEL,) = [asset for asset in model_assets if asset.key.path[-1] == NAME]


def made_up(users: int = 40, items: int = 30) -> TrainingSet:
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, items, rng.integers(3, 9)) for _ in range(users)]
    everyone = np.arange(users, dtype=np.int32)
    return TrainingSet(
        dataset="Small",
        item_ids=np.array([f"i{item:02}" for item in range(items)], dtype="S3"),
        user_ids=np.array([f"u{user:02}" for user in range(users)], dtype="S3"),
        train=Sequences.from_lists([history[:-2] for history in histories]),
        validation_users=everyone,
        validation_targets=np.array([history[-2] for history in histories], dtype=np.int32),
        test_users=everyone,
        test_targets=np.array([history[-1] for history in histories], dtype=np.int32),
    )


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace that holds what a model reads."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path))
    return with_what_a_model_reads()


def with_what_a_model_reads() -> DatasetPaths:
    """Write the training set and the settings of a dataset into the workspace."""
    paths = Workspace.current().dataset("Small")
    folder = paths.asset("training_sets", "sequences")
    folder.mkdir(parents=True)
    made_up().save(folder)
    paths.asset("settings").mkdir()
    write_settings(paths)
    return paths


def write_settings(paths: DatasetPaths, fit_on: str = "train", exclude_seen: bool = False) -> None:
    values = {"training": {"seed": 3}, "fit": {"fit_on": fit_on}, "ranking": {"exclude_seen": exclude_seen}}
    for name, content in values.items():
        (paths.asset("settings") / f"{name}.json").write_text(json.dumps(content))


def trained(**settings) -> tuple[dg.ExecuteInProcessResult, list[str]]:
    """The model made anew, and the log of the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("dataset", ["Small"])
        result = dg.materialize(
            [MODEL],
            instance=instance,
            partition_key="Small",
            resources={
                "settings": Settings(recipes=[NAME], **settings),
                "training_client": training_client(),
                "trainings": trainings,
            },
            raise_on_error=False,
        )
        return result, [entry.user_message for entry in instance.all_logs(result.run_id)]


def made(result: dg.ExecuteInProcessResult) -> tuple[str, dict]:
    (event,) = result.asset_materializations_for_node(f"models__{NAME}")
    return event.tags["dagster/data_version"], {name: value.value for name, value in event.metadata.items()}


def test_the_same_model_in_a_process_of_its_own(paths: DatasetPaths) -> None:
    write_settings(paths, "train+validation", exclude_seen=True)
    here, said_here = trained()
    there, said_there = trained(training_process="subprocess")
    assert here.success
    assert there.success
    (one, facts), (other, told) = made(here), made(there)
    assert one == other
    assert facts.keys() == told.keys()
    changing = {"seconds", "sequences_per_second", "peak_memory_in_bytes", "validation curve", "loss curve"}
    assert {name: facts[name] for name in facts.keys() - changing} == {
        name: told[name] for name in told.keys() - changing
    }
    assert told["fit_on"] == "train+validation"
    assert told["objective"].startswith("sampled softmax")
    assert told["device"] == "cpu"
    for said in (said_here, said_there):
        epochs = [line.split(",")[0] for line in said if line.startswith("epoch ")]
        assert epochs == ["epoch 1 on train", "epoch 2 on train", "epoch 1 on train+validation"]


def test_what_the_final_fit_reads_makes_another_version(paths: DatasetPaths) -> None:
    versions = set()
    for fit_on, exclude_seen in (("train", False), ("train+validation", False), ("train", True)):
        write_settings(paths, fit_on, exclude_seen)
        versions.add(made(trained()[0])[0])
    assert len(versions) == 3


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_training_that_was_broken_off_goes_on(paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed, _ = made(trained()[0])
    monkeypatch.setenv("RAW2RANK_CHECKPOINT_SECONDS", "0")
    folder = paths.asset("models", NAME)
    saved, save, restore = [], Checkpoint.save, Checkpoint.restore

    def save_and_die(checkpoint: Checkpoint, state: TrainingState, *rest) -> None:
        save(checkpoint, state, *rest)
        saved.append(state.step)
        if len(saved) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        assert not trained()[0].success
    clean_tree(paths.lake)
    assert list(checkpoint_of(folder).glob("*.safetensors"))
    taken_up = []

    def remember(checkpoint: Checkpoint, *rest) -> TrainingState | None:
        state = restore(checkpoint, *rest)
        taken_up.append(state.step if state else None)
        return state

    monkeypatch.setattr(Checkpoint, "restore", remember)
    assert made(trained()[0])[0] == undisturbed
    assert taken_up == [saved[-1]]
    assert not checkpoint_of(folder).exists()


def test_checkpoints_that_nobody_will_take_up_are_removed(paths: DatasetPaths) -> None:
    kept, removed = (checkpoint_of(paths.asset("models", name)) for name in ("tiny_gsasrec", NAME))
    for folder in (kept, removed):
        folder.mkdir(parents=True)
        (folder / "search.safetensors").write_bytes(b"")
    discard_checkpoints(paths, [NAME, "tiny_fusion"])
    assert kept.exists()
    assert not removed.exists()


@pytest.mark.slow
def test_several_processes_share_the_work(paths: DatasetPaths) -> None:
    result, _ = trained(training_processes=2)
    assert result.success
    _, told = made(result)
    assert told["machine"]["processes"] == 2
    assert told["epochs"] == 2


# how a process that fails is told is tested in test_trainings.py, too
@pytest.mark.parametrize("process", others_slow(["in_process", "subprocess"], "in_process"))
def test_what_went_wrong_is_told_in_the_words_of_the_training(paths: DatasetPaths, process: str) -> None:
    folder = paths.asset("training_sets", "sequences")
    training_set = made_up()
    one_each = Sequences.from_lists([history[:1] for history in training_set.train])
    TrainingSet(**{**vars(training_set), "train": one_each}).save(folder)
    result, _ = trained(training_process=process)
    assert not result.success
    failure = result.failure_data_for_node(f"models__{NAME}").user_failure_data
    assert "no training history has" in failure.description
    assert failure.description.startswith("Small: ")
    assert "Traceback" not in failure.description


def test_a_command_that_says_nothing_useful_is_quoted() -> None:
    told: list[str] = []
    code, words = run(["sh", "-c", "printf 'first\\rsecond\\n' >&2; exit 3"], told.append)
    assert (code, words, told) == (3, "first\nsecond", [])


def test_checkpoints_are_looked_for_where_training_leaves_them(tmp_path: Path) -> None:
    assert checkpoint_of(tmp_path / "sasrec") == checkpoint_folder(tmp_path / "sasrec")


def test_a_training_that_a_signal_ends_is_said_to_have_been_killed() -> None:
    code, _ = run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], print)
    assert code == -signal.SIGKILL
    assert "was killed by SIGKILL" in killed_by(code)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_training_ends_with_the_process_that_started_it(number: int, tmp_path: Path) -> None:
    child = "import os, sys, time; print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "orchestration.execution.training_process",
        str(tmp_path),
        sys.executable,
        "-c",
        child,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        training = int(process.stderr.readline())
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(training, 0)


# what torchrun ends with, some forty lines that are all the same but for these
PAGE_OF_TORCHRUN = """Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 5511)
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 5512)  (SIGKILL)
"""


def test_of_several_processes_the_one_that_was_killed_is_told() -> None:
    said = failure_of(1, PAGE_OF_TORCHRUN)
    assert said is not None
    assert said.startswith(
        "one of the processes of the training was killed by SIGKILL, as Linux does where memory runs"
    )
    assert "\n" not in said


def test_an_error_is_told_whatever_the_starter_of_the_processes_says_behind_it() -> None:
    shown = "error: the recipe is wrong\n" + "noise\n" * 60
    assert run([sys.executable, "-c", f"import sys; sys.exit({shown!r})"], print) == (1, "the recipe is wrong")


def test_how_processes_share_a_model_reaches_the_command(tmp_path: Path) -> None:
    places: Any = {name: tmp_path / name for name in ("recipe", "training_set", "out")}
    options: Any = {"codes": None, "teacher_lists": None, "seed": 0, "fit_on": "train", "exclude_seen": False}
    machine: Any = {"device": "cpu", "precision": "float32", "checkpoint_seconds": 60.0}
    plain = command(**places, **options, **machine)
    assert "--sharding" not in plain
    assert "--compile" not in plain
    chosen = command(**places, **options, **machine, sharding="full", compile=True, processes=2)
    assert chosen[chosen.index("--sharding") + 1] == "full"
    assert "--compile" in chosen


@pytest.mark.slow
def test_torchrun_and_a_killed_process_leave_one_sentence_and_no_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "set").mkdir()
    made_up(users=400).save(tmp_path / "set")
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ml.training"]
    started += ["--recipe", "sasrec_sampled_softmax", "--training-set", str(tmp_path / "set"), "--out", str(out)]

    def kill_one(process: subprocess.Popen) -> None:
        def when_it_trains() -> None:
            while process.poll() is None and not checkpoint_folder(out).exists():
                time.sleep(0.05)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            (second,) = (child for child in children if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes())
            os.kill(int(second), signal.SIGKILL)

        threading.Thread(target=when_it_trains).start()

    code, last_words = run([*started, "--checkpoint-seconds", "0", "--sharding", "full"], print, began=kill_one)
    assert code == 1
    said = failure_of(code, last_words)
    assert said is not None
    assert said.startswith("one of the processes of the training was killed by SIGKILL")
    assert not out.exists()
