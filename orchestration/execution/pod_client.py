"""The client that trains in a pod, and tells in a sentence why a pod came to nothing.

Dagster's own client (``dagster_k8s.PipesK8sClient``) makes the pod, takes the messages of the training from its log and
deletes it. What it does while it waits is replaced: it would wait a day for a pod that no node can take, that was
evicted before it began, or that somebody has deleted, and tells other failures with the whole description of the pod.

Needs the extra ``kubernetes``; import it where a pod is started.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes
from dagster_k8s import PipesK8sClient
from dagster_k8s.client import DagsterK8sError
from dagster_k8s.utils import detect_current_namespace
from kubernetes.client import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from orchestration.execution.training_pods import (
    IMAGE,
    LABEL,
    NAMESPACE,
    RESOURCES,
    SECONDS_TO_END,
    START_MINUTES,
    PodError,
    PodSettings,
    pod_metadata,
    pod_spec,
    training_label,
)

# Seconds between two looks at a pod.
_PAUSE = 2.0
# Seconds that a cluster takes to forget a pod that has ended.
_SECONDS_TO_BE_GONE = 15.0
# Seconds for which a cluster may not answer before a training is given up.
_SILENCE = 120.0
# Dagster's variable for the seconds after which it asks anew for a log in which nothing is written, so that a node that
# is lost is noticed; an hour by default.
_LOG_TIMEOUT = "DAGSTER_PIPES_K8S_CONSUME_POD_LOGS_REQUEST_TIMEOUT"
_NO_IMAGE = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_NOT_STARTED = frozenset({"CrashLoopBackOff", "RunContainerError", "CreateContainerError"})
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_GO_ON = "run it again, which goes on from the last checkpoint"


class _Pod:
    """One pod, looked at until it has started or ended."""

    def __init__(self, api: Any, namespace: str, name: str, pause: float) -> None:
        self._api, self.namespace, self.name, self._pause = api, namespace, name, pause

    def now(self) -> Any | None:
        """The pod as the cluster knows it; ``None`` where it has none of its name."""
        until = time.monotonic() + _SILENCE
        while True:
            try:
                return self._api.read_namespaced_pod(self.name, self.namespace)
            except ApiException as error:
                if error.status == 404:
                    return None
                if error.status not in _TRANSIENT or time.monotonic() > until:
                    raise
            except HTTPError:
                if time.monotonic() > until:
                    raise
            time.sleep(self._pause)

    def wait_until_started(self, minutes: float) -> None:
        """Wait until its container has begun, or ended already.

        Raises:
            PodError: it will not begin.
        """
        until = time.monotonic() + minutes * 60
        while True:
            pod = self._existing()
            state = _container_state(pod)
            if state is not None and (state.running or state.terminated):
                return
            self._refuse_failed(pod)
            self._refuse_waiting(pod, state.waiting if state else None, late=time.monotonic() > until, minutes=minutes)
            time.sleep(self._pause)

    def wait_until_ended(self) -> None:
        """Wait until its container has ended in order.

        Raises:
            PodError: it was killed, or the pod is gone.
        """
        while True:
            pod = self._existing()
            state = _container_state(pod)
            if state is not None and state.terminated:
                code, reason = state.terminated.exit_code, state.terminated.reason
                if code == 0:
                    return
                self._refuse_failed(pod, code=code, reason=reason)
            self._refuse_failed(pod)
            time.sleep(self._pause)

    def delete(self) -> None:
        """Have it ended, and wait until it is gone.

        Raises:
            PodError: it does not end in the time that a training may take for that.
        """
        try:
            self._api.delete_namespaced_pod(self.name, self.namespace)
        except ApiException as error:
            if error.status != 404:
                raise
        until = time.monotonic() + SECONDS_TO_END + _SECONDS_TO_BE_GONE
        while self.now() is not None:
            if time.monotonic() > until:
                raise PodError(
                    f"the pod {self.name}, which an earlier run has left, does not end, and may still write: see what "
                    "has become of its node, and delete the pod (kubectl delete pod --force) once that is off"
                )
            time.sleep(self._pause)

    def _existing(self) -> Any:
        pod = self.now()
        if pod is None:
            raise PodError(f"its pod {self.name} was deleted in the cluster, by somebody or with its node; {_GO_ON}")
        return pod

    def _refuse_failed(self, pod: Any, code: int | None = None, reason: str | None = None) -> None:
        reason = pod.status.reason or reason
        if reason == "OOMKilled":
            raise PodError(
                f"its pod {self.name} needed more memory than it may use: raise memory in {RESOURCES}, and {_GO_ON}"
            )
        if code is None and pod.status.phase != "Failed":
            return
        how = f"ended with exit code {code}" if reason in (None, "Error") else f"was ended ({reason})"
        told = f": {_one_line(pod.status.message)}" if pod.status.message else ""
        raise PodError(f"its pod {self.name} {how}{told}; {_GO_ON}")

    def _refuse_waiting(self, pod: Any, waiting: Any | None, late: bool, minutes: float) -> None:
        reason, told = (waiting.reason, _one_line(waiting.message)) if waiting else (None, "")
        if reason in _NO_IMAGE or (late and reason == "ErrImagePull"):
            image = pod.spec.containers[0].image
            raise PodError(
                f"the cluster cannot pull the image {image} ({told or reason}): name one that its nodes can pull by "
                f"{IMAGE}"
            )
        if reason in _NOT_STARTED:
            raise PodError(
                f"the container of its pod {self.name} cannot start ({told or reason}): check that {IMAGE} is the "
                "image of the run itself"
            )
        if late:
            why = told or _not_scheduled(pod) or reason or "its node has not started it"
            raise PodError(
                f"its pod {self.name} has not begun within {minutes:g} minutes ({why}): see that a node has what "
                f"{RESOURCES} asks for and can mount the volume, or wait longer by {START_MINUTES}"
            )


class TrainingPods(PipesK8sClient):
    """Trains each model in a pod.

    Args:
        settings: of the pods.
    """

    def __init__(self, settings: PodSettings) -> None:
        # the client of Kubernetes looks at KUBECONFIG when it is imported, and Dagster in a cluster not at all
        super().__init__(kubeconfig_file=os.environ.get("KUBECONFIG") or None, poll_interval=_PAUSE)
        self._settings = settings

    @contextmanager
    def consume_pod_logs(self, context: Any, client: Any, namespace: str, pod_name: str, **_: Any) -> Iterator[None]:
        """Take the messages of a training from the log of its pod, to its end; called by :meth:`run`."""
        pod = _Pod(client.core_api, namespace, pod_name, self.poll_interval)
        pod.wait_until_started(self._settings.start_minutes)
        os.environ.setdefault(_LOG_TIMEOUT, "120")
        try:
            self.message_reader.consume_pod_logs(
                context=context, core_api=client.core_api, namespace=namespace, pod_name=pod_name
            )
        except (ApiException, HTTPError) as error:
            # what has become of the pod says more than what has become of its log
            context.log.warning(f"The log of the pod {pod_name} broke off: {_one_line(str(error))}")
        pod.wait_until_ended()
        yield

    def train(
        self, context: dg.AssetExecutionContext, command: Sequence[str], folder: Path, home: Path, recipe: str
    ) -> Any:
        """Run a command in a pod to its end; what it has reported, as of Dagster's other Pipes clients.

        Args:
            context: of the step.
            command: that trains and reports (:func:`orchestration.execution.training_process.reporting`).
            folder: of the model that it makes. A pod of it that is left by a killed run is ended first: whoever
                trains holds the lock of the dataset, so nobody waits for it.
            home: the workspace.
            recipe: that is trained.

        Raises:
            PodError: the cluster is at fault.
        """
        with _in_a_sentence(self._settings):
            self._load_k8s_config()
            api = kubernetes.client.CoreV1Api()
            namespace = self._settings.namespace or detect_current_namespace(self.kubeconfig_file) or "default"
            chosen = f"{LABEL}={training_label(self._settings, folder)}"

            def end_all() -> list[str]:
                found = [pod.metadata.name for pod in api.list_namespaced_pod(namespace, label_selector=chosen).items]
                for name in found:
                    _Pod(api, namespace, name, self.poll_interval).delete()
                return found

            if left := end_all():
                context.log.info(f"Ended {', '.join(left)}, which a killed run had left.")
            try:
                return self.run(
                    context=context,
                    image=self._settings.image,
                    # messages stand in the log of the pod, a line each, and a progress bar would run into them
                    command=[*command, "--quiet"],
                    namespace=namespace,
                    base_pod_meta=pod_metadata(self._settings, folder, context.partition_key, recipe),
                    base_pod_spec=pod_spec(self._settings, home),
                )
            except BaseException:
                # it was told to end; the lock of the dataset is given back once it has
                with suppress(PodError, ApiException, HTTPError):
                    end_all()
                raise


def _container_state(pod: Any) -> Any | None:
    statuses = pod.status.container_statuses
    return statuses[0].state if statuses else None


def _not_scheduled(pod: Any) -> str:
    """Why no node takes a pod; empty where one has."""
    told = [
        _one_line(condition.message)
        for condition in pod.status.conditions or []
        if condition.type == "PodScheduled" and condition.status == "False"
    ]
    return told[0] if told else ""


@contextmanager
def _in_a_sentence(settings: PodSettings) -> Iterator[None]:
    """Turn errors of the cluster into one that says what to do."""
    try:
        yield
    except (PodError, ConfigException, ApiException, HTTPError, DagsterK8sError) as error:
        # the pod may be gone when it is to be deleted, and why it is gone is said before that
        if (found := _reason_in(error)) is not None:
            raise found from error
        raise PodError(_said(error, settings)) from error


def _reason_in(error: BaseException | None) -> PodError | None:
    while error is not None:
        if isinstance(error, PodError):
            return error
        error = error.__context__
    return None


def _said(error: Exception, settings: PodSettings) -> str:
    if isinstance(error, ConfigException):
        return (
            f"no Kubernetes cluster is named here ({_one_line(str(error))}): run in one, or name the file of its "
            "configuration by KUBECONFIG"
        )
    if isinstance(error, DagsterK8sError):
        return f"its pod was lost ({_one_line(str(error))}); {_GO_ON}"
    host = kubernetes.client.Configuration.get_default_copy().host
    if not isinstance(error, ApiException):
        return (
            f"the Kubernetes cluster at {host} cannot be reached ({_one_line(str(error))}): check the address and the "
            f"network, and {_GO_ON}"
        )
    told = _told_by(error)
    namespace = settings.namespace or "its own"
    if error.status in (401, 403):
        return (
            f"the cluster does not let this run train in the namespace {namespace} ({told}): let its service account "
            "create, get, list and delete pods and get pods/log there"
        )
    if error.status == 404:
        return f"the cluster has no such place for a pod ({told}): name a namespace that exists by {NAMESPACE}"
    if error.status in (400, 422):
        return f"the cluster refuses the pod ({told}): correct the variables RAW2RANK_POD_*"
    return f"the cluster at {host} has failed ({told}); {_GO_ON}"


def _told_by(error: ApiException) -> str:
    try:
        return _one_line(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return _one_line(f"{error.status} {error.reason}")


def _one_line(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= 300 else f"{line[:300]}..."
