"""Trainings in pods, against a server that speaks the API of Kubernetes and runs the command of a pod as a process.

The server is ``tests/kubernetes_server.py``; Dagster's client and that of Kubernetes are the real ones. Tests that need
them are skipped where the extra ``kubernetes`` is not installed.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import dagster as dg
import pytest
from kubernetes_server import NAMESPACE, Cluster, cluster, kubeconfig
from test_training_process import NAME, made, made_up, trained, with_what_a_model_reads, write_settings

from ml.data.sequences import Sequences
from ml.data.training_set import TrainingSet
from orchestration.execution.training_pods import (
    LABEL,
    USER,
    PodError,
    PodSettings,
    pod_settings,
    pod_spec,
    training_label,
    wait_until_seen,
)
from orchestration.paths import DatasetPaths

needs_client = pytest.mark.skipif(
    find_spec("dagster_k8s") is None, reason="dagster-k8s is not installed (extra kubernetes)"
)
IMAGE = "registry.example.org/raw2rank:1"


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetPaths:
    """A workspace that holds what a model reads."""
    monkeypatch.setenv("RAW2RANK_HOME", str(tmp_path / "workspace"))
    return with_what_a_model_reads()


@pytest.fixture
def kubernetes(paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Trainings go to a cluster on this machine."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("orchestration.execution.pod_client._PAUSE", 0.05)
    with cluster() as found:
        variables = {
            "RAW2RANK_TRAIN_ON": "kubernetes",
            "RAW2RANK_POD_IMAGE": IMAGE,
            "RAW2RANK_POD_CLAIM": "workspace",
            "RAW2RANK_POD_NAMESPACE": NAMESPACE,
            "RAW2RANK_POD_RESOURCES": "cpu=2,memory=4Gi,nvidia.com/gpu=1",
            "KUBECONFIG": str(kubeconfig(found.url, tmp_path / "kubeconfig")),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield found


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    description = result.failure_data_for_node(f"models__{NAME}").user_failure_data.description
    assert "Traceback" not in description
    assert "\n" not in description
    return description


def files_of(folder: Path) -> dict[str, bytes]:
    """What a training makes, but for what holds times and memory."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("training_log.jsonl", "training_run.json")
    }


@needs_client
def test_a_pod_trains_the_same_model(paths: DatasetPaths, kubernetes: Cluster, monkeypatch) -> None:
    write_settings(paths, "train+validation", exclude_seen=True)
    folder = paths.asset("models", NAME)
    leave_behind(kubernetes, "of-this-model", folder)
    leave_behind(kubernetes, "of-another", paths.asset("models", "sasrec"))
    there, said = trained()
    assert there.success, said
    in_a_pod = files_of(folder)
    monkeypatch.setenv("RAW2RANK_TRAIN_ON", "process")
    here, said_here = trained()
    assert here.success
    assert "model.safetensors" in in_a_pod
    assert in_a_pod == files_of(folder)
    (version, facts), (other, told) = made(there), made(here)
    assert version == other
    assert facts.keys() == told.keys()
    epochs = [[line.split(",")[0] for line in lines if line.startswith("epoch ")] for lines in (said, said_here)]
    assert epochs[0] == epochs[1] == ["epoch 1 on train", "epoch 2 on train", "epoch 1 on train+validation"]

    # a killed run has left one of this model, which would have written beside the new one
    assert any("Ended of-this-model, which a killed run had left" in line for line in said)
    assert list(kubernetes.pods) == ["of-another"], "this run's own is deleted too"
    pod = kubernetes.made[-1]
    spec, container = pod.body["spec"], pod.container
    assert container["image"] == IMAGE
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["workspace"] == str(paths.home)
    assert {"name": "workspace", "persistentVolumeClaim": {"claimName": "workspace"}} in spec["volumes"]
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsUser"] == USER
    assert pod.body["metadata"]["annotations"] == {"raw2rank/dataset": "Small", "raw2rank/recipe": NAME}


def leave_behind(kubernetes: Cluster, name: str, folder: Path) -> None:
    """A pod that trains a model and that no run waits for."""
    settings = pod_settings()
    assert settings is not None
    labels = {LABEL: training_label(settings, folder)}
    container = {"name": "training", "image": IMAGE, "command": ["sleep", "60"], "env": []}
    kubernetes.make({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}})


@needs_client
def test_what_went_wrong_is_told_in_the_words_of_the_training(paths: DatasetPaths, kubernetes: Cluster) -> None:
    training_set = made_up()
    one_each = Sequences.from_lists([history[:1] for history in training_set.train])
    TrainingSet(**{**vars(training_set), "train": one_each}).save(paths.asset("training_sets", "sequences"))
    assert "no training history has" in failure_of(trained()[0])
    assert not kubernetes.pods


@needs_client
@pytest.mark.parametrize(
    ("plays", "told"),
    [
        ("image", f"cannot pull the image {IMAGE} .*: name one that its nodes can pull by RAW2RANK_POD_IMAGE"),
        ("container", "cannot start .*no such file or directory.*: check that RAW2RANK_POD_IMAGE"),
        ("full", r"not begun within 0\.005 minutes \(0/3 nodes .* nvidia.com/gpu.\): see that a node has what"),
        ("oom", "needed more memory than it may use: raise memory in RAW2RANK_POD_RESOURCES"),
        ("evicted", r"was ended \(Evicted\): The node was low on resource: memory.; run it again"),
        ("crash", "ended with exit code 3; run it again, which goes on from the last checkpoint"),
        ("lost", "was deleted in the cluster, by somebody or with its node; run it again"),
        ("forbidden", "does not let this run train in the namespace recommenders .*: let its service account create"),
        ("invalid", "the cluster refuses the pod .*: correct the variables RAW2RANK_POD_"),
    ],
)
def test_a_pod_that_comes_to_nothing_is_told_in_a_sentence(
    paths: DatasetPaths, kubernetes: Cluster, monkeypatch, plays: str, told: str
) -> None:
    kubernetes.plays = plays
    monkeypatch.setenv("RAW2RANK_POD_START_MINUTES", "0.005" if plays == "full" else "5")
    failure = failure_of(trained()[0])
    assert failure.startswith(f"Small: {NAME}: ")
    assert re.search(told, failure), failure
    assert not kubernetes.pods, "the pod is deleted"
    assert not paths.asset("models", NAME).exists(), "nothing is published"


@needs_client
def test_a_cluster_that_cannot_be_reached_is_told_in_a_sentence(kubernetes: Cluster, tmp_path: Path) -> None:
    kubeconfig("http://127.0.0.1:9", Path(os.environ["KUBECONFIG"]))
    assert "the Kubernetes cluster at http://127.0.0.1:9 cannot be reached" in failure_of(trained()[0])


@needs_client
def test_a_namespace_that_does_not_exist_is_told_in_a_sentence(kubernetes: Cluster, monkeypatch) -> None:
    monkeypatch.setenv("RAW2RANK_POD_NAMESPACE", "nowhere")
    assert 'namespaces "nowhere" not found): name a namespace that exists' in failure_of(trained()[0])


@needs_client
def test_without_a_configuration_of_a_cluster(kubernetes: Cluster, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "no Kubernetes cluster is named here" in failure_of(trained()[0])


def test_a_model_on_another_volume_is_not_taken_for_the_one_that_was_made(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = paths.asset("models", NAME)
    with pytest.raises(
        PodError, match=f"made version abcdef, and this run sees nothing in {folder}: see that RAW2RANK_"
    ):
        wait_until_seen(folder, "abcdef", seconds=0.01)
    # as NFS does, which shows another machine's link after a while
    seen = iter(["before", "before", "abcdef"])
    monkeypatch.setattr("orchestration.execution.training_pods.version_of_trained", lambda _: next(seen))
    monkeypatch.setattr("orchestration.execution.training_pods.time.sleep", lambda _: None)
    wait_until_seen(folder, "abcdef")
    assert not list(seen)


@needs_client
def test_a_run_that_is_stopped_ends_its_pod(paths: DatasetPaths, kubernetes: Cluster) -> None:
    kubernetes.plays = "hang"

    def stop() -> None:
        while not any(pod.status["phase"] == "Running" for pod in kubernetes.made):
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    result, _ = trained()
    assert not result.success
    assert result.failure_data_for_node(f"models__{NAME}").error.cls_name == "DagsterExecutionInterruptedError"
    assert len(kubernetes.made) == 1
    assert not kubernetes.pods


def test_the_extra_is_asked_for(paths: DatasetPaths, monkeypatch) -> None:
    monkeypatch.setattr("ml.extras.NEEDED", {"kubernetes": ("not_there",)})
    for name, value in {"TRAIN_ON": "kubernetes", "POD_IMAGE": IMAGE, "POD_CLAIM": "workspace"}.items():
        monkeypatch.setenv(f"RAW2RANK_{name}", value)
    told = "a training in a pod needs not_there, which is not installed: pip install 'raw2rank[kubernetes]'"
    assert told in failure_of(trained()[0])


def test_by_default_a_training_is_a_process() -> None:
    assert pod_settings({}) is None
    assert pod_settings({"RAW2RANK_TRAIN_ON": "process", "RAW2RANK_POD_IMAGE": IMAGE}) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"RAW2RANK_TRAIN_ON": "docker"}, "RAW2RANK_TRAIN_ON is 'docker': it may be process or kubernetes"),
        ({"RAW2RANK_POD_IMAGE": ""}, "RAW2RANK_POD_IMAGE is not set"),
        ({"RAW2RANK_POD_CLAIM": ""}, "RAW2RANK_POD_CLAIM is not set"),
        ({"RAW2RANK_POD_RESOURCES": "gpu"}, "RAW2RANK_POD_RESOURCES holds 'gpu'"),
        ({"RAW2RANK_POD_RESOURCES": "nvidia.com/gpu=0.5"}, "RAW2RANK_POD_RESOURCES holds 'nvidia.com/gpu=0.5'"),
        ({"RAW2RANK_POD_RESOURCES": "memory=16GB"}, "RAW2RANK_POD_RESOURCES holds 'memory=16GB'"),
        ({"RAW2RANK_POD_START_MINUTES": "0"}, "RAW2RANK_POD_START_MINUTES is '0'"),
        ({"RAW2RANK_POD_START_MINUTES": "soon"}, "RAW2RANK_POD_START_MINUTES is 'soon'"),
    ],
)
def test_settings_that_are_not_possible_are_named(given: dict[str, str], told: str) -> None:
    sound = {"RAW2RANK_TRAIN_ON": "kubernetes", "RAW2RANK_POD_IMAGE": IMAGE, "RAW2RANK_POD_CLAIM": "workspace"}
    assert pod_settings(sound) == PodSettings(IMAGE, "workspace", resources={})
    with pytest.raises(ValueError, match=told):
        pod_settings({**sound, **given})


def test_the_pod_of_a_training_has_no_rights_and_no_secrets(tmp_path: Path) -> None:
    environment = {"RAW2RANK_KEEP": "9", "RAW2RANK_POSTGRES_URL": "secret", "RAW2RANK_UI_TOKEN": "secret"}
    spec = pod_spec(PodSettings(IMAGE, "workspace", service_account="trainer"), tmp_path, environment)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["serviceAccountName"] == "trainer"
    given = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    assert given == {"RAW2RANK_HOME": str(tmp_path), "RAW2RANK_KEEP": "9"}, "what a training reads, and no secret"
