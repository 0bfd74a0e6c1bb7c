"""Trainings in pods of a Kubernetes cluster: whether they are asked for, and what their pods are.

By default a training is a process where the run is. ``RAW2RANK_TRAIN_ON=kubernetes`` sends each to a pod of its own,
which may have a GPU, while the run waits for it. A pod runs the command of
:mod:`orchestration.execution.training_process` on the workspace, which both mount at the same path from one volume.
:mod:`orchestration.execution.pod_client` starts it; this module needs no Kubernetes.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.training.summary import version_of_trained

TRAIN_ON = "RAW2RANK_TRAIN_ON"
IMAGE, CLAIM = "RAW2RANK_POD_IMAGE", "RAW2RANK_POD_CLAIM"
NAMESPACE, RESOURCES = "RAW2RANK_POD_NAMESPACE", "RAW2RANK_POD_RESOURCES"
SERVICE_ACCOUNT, START_MINUTES = "RAW2RANK_POD_SERVICE_ACCOUNT", "RAW2RANK_POD_START_MINUTES"

# which training a pod is of, so that what a killed run has left is found
LABEL = "raw2rank/training"
# the user of deploy/Dockerfile, who owns the files of the workspace
USER = 10001
# Seconds that a training has between SIGTERM and SIGKILL.
SECONDS_TO_END = 15

# what a training reads of its environment
_PASSED_ON = ("RAW2RANK_KEEP", "RAW2RANK_RECIPES")
# Seconds after which every machine sees what one has written; NFS asks anew for a folder after a minute.
_SECONDS_TO_BE_SEEN = 120.0
_PLACES = ("process", "kubernetes")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9./-]*[a-z0-9])?")


class PodError(RuntimeError):
    """A training has come to nothing for a reason of the cluster; the message is a sentence with what to do."""


@dataclass(frozen=True)
class PodSettings:
    """Of the pods of trainings.

    Attributes:
        image: that they run, the one of the run itself.
        claim: the persistent volume claim of the workspace.
        namespace: that they live in; ``None`` for that of the run, and ``default`` outside a cluster.
        resources: what each requests and may use at most, such as ``{"nvidia.com/gpu": "1"}``.
        service_account: that they run as; ``None`` for the default one of the namespace.
        start_minutes: how long one may wait for a node and its image.
    """

    image: str
    claim: str
    namespace: str | None = None
    resources: Mapping[str, str] | None = None
    service_account: str | None = None
    start_minutes: float = 30.0


def pod_settings(environment: Mapping[str, str] = os.environ) -> PodSettings | None:
    """The settings of pods from the environment; ``None`` where trainings are processes.

    Raises:
        ValueError: a variable is missing or holds something that is not possible; the message names it.
    """
    place = environment.get(TRAIN_ON) or _PLACES[0]
    if place not in _PLACES:
        raise ValueError(f"{TRAIN_ON} is {place!r}: it may be {' or '.join(_PLACES)}")
    if place == "process":
        return None
    for name, what in ((IMAGE, "the image of this run"), (CLAIM, "the volume claim of the workspace")):
        if not environment.get(name):
            raise ValueError(f"{TRAIN_ON} is kubernetes, and {name} is not set: name {what} by it")
    return PodSettings(
        image=environment[IMAGE],
        claim=environment[CLAIM],
        namespace=environment.get(NAMESPACE) or None,
        resources=_resources(environment.get(RESOURCES, "")),
        service_account=environment.get(SERVICE_ACCOUNT) or None,
        start_minutes=_minutes(environment.get(START_MINUTES) or "30"),
    )


def _resources(text: str) -> dict[str, str]:
    """Quantities by resource of a text such as ``cpu=4,memory=16Gi,nvidia.com/gpu=1``."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, quantity = part.partition("=")
        # what is not of the name space of Kubernetes itself, as GPUs, is counted
        possible = _QUANTITY if "/" not in name else re.compile(r"\d+")
        if not _RESOURCE.fullmatch(name) or not possible.fullmatch(quantity):
            raise ValueError(
                f"{RESOURCES} holds {part!r}: write resources and quantities as in cpu=4,memory=16Gi,nvidia.com/gpu=1"
            )
        found[name] = quantity
    return found


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 24 * 60:
        raise ValueError(f"{START_MINUTES} is {text!r}: it is a number of minutes above 0 and below a day")
    return minutes


def training_label(settings: PodSettings, folder: Path) -> str:
    """The value of :data:`LABEL` for the training of the model in a folder of the workspace."""
    return hashlib.sha256(f"{settings.claim}\0{folder}".encode()).hexdigest()[:32]


def pod_metadata(settings: PodSettings, folder: Path, dataset: str, recipe: str) -> dict[str, Any]:
    """Labels and annotations of the pod that trains one recipe."""
    return {
        "labels": {LABEL: training_label(settings, folder)},
        # values of labels may not be as long as names of datasets
        "annotations": {"raw2rank/dataset": dataset, "raw2rank/recipe": recipe},
    }


def wait_until_seen(folder: Path, version: str, seconds: float = _SECONDS_TO_BE_SEEN) -> None:
    """Wait until this machine sees the model that a pod on another one has put in place.

    Args:
        folder: of the model.
        version: of it, as the pod has reported it.
        seconds: after which it is not waited for.

    Raises:
        PodError: another version is there, or none.
    """
    until = time.monotonic() + seconds
    while (seen := _version_in(folder)) != version:
        if time.monotonic() > until:
            there = f"version {seen[:12]}" if seen else "nothing"
            raise PodError(
                f"its pod has made version {version[:12]}, and this run sees {there} in {folder}: see that {CLAIM} "
                "names the volume that this run has mounted as its workspace"
            )
        time.sleep(min(1.0, seconds))


def _version_in(folder: Path) -> str:
    try:
        return version_of_trained(folder)
    except (OSError, ValueError):
        return ""


def pod_spec(settings: PodSettings, home: Path, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The pod of a training, without its command.

    Args:
        settings: of pods.
        home: the workspace, where the volume is mounted.
        environment: of the run, of which a training is given what it reads.
    """
    resources = dict(settings.resources or {})
    given = {"RAW2RANK_HOME": str(home)} | {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": SECONDS_TO_END,
        # a training asks the cluster for nothing
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # the volume may hold many files, whose owner is right already
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "training",
                "resources": {"limits": resources, "requests": resources},
                "env": [{"name": name, "value": value} for name, value in given.items()],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "workspace", "mountPath": str(home)},
                    # processes of a training exchange tensors by it, and 64 MiB is what a pod has without
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                ],
            }
        ],
        "volumes": [
            {"name": "workspace", "persistentVolumeClaim": {"claimName": settings.claim}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    return spec
