"""A Kubernetes API server on this machine that holds pods of one namespace and runs their commands as processes.

It knows what the client of trainings asks for: making, reading, listing and deleting pods, and their logs. It can be
told to play a cluster on which pods come to nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "recommenders"
# how a container ends in Kubernetes, by what is played: exit code and reason of its container, of the pod
ENDINGS = {"oom": (137, "OOMKilled", None), "evicted": (137, "Error", "Evicted"), "crash": (3, "Error", None)}
WAITING = {
    "image": ("ImagePullBackOff", 'Back-off pulling image "registry.example.org/none:1"'),
    "container": ("RunContainerError", 'exec: "/opt/venv/bin/python": no such file or directory'),
}


@dataclass
class Pod:
    """One pod: what was asked for, its process, and its log with times."""

    body: dict[str, Any]
    status: dict[str, Any] = field(default_factory=lambda: {"phase": "Pending"})
    process: subprocess.Popen | None = None
    log: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        return self.body["metadata"]["name"]

    @property
    def container(self) -> dict[str, Any]:
        return self.body["spec"]["containers"][0]

    def shown(self) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", **self.body, "status": self.status}

    def be(self, phase: str, state: dict[str, Any], reason: str | None = None, message: str | None = None) -> None:
        container = {
            "name": self.container["name"],
            "image": self.container["image"],
            "imageID": "",
            "ready": "running" in state,
            "restartCount": 0,
            "state": state,
        }
        self.status = {"phase": phase, "containerStatuses": [container], "reason": reason, "message": message}


@dataclass
class Cluster:
    """The server, and what it plays.

    Attributes:
        plays: ``run``, ``hang`` (a container that says and does nothing), ``full`` (no node has what is asked for),
            ``lost`` (the pod is deleted when it runs), ``forbidden``, ``invalid``, or one of :data:`ENDINGS` and
            :data:`WAITING`.
        pods: that are there, by name.
        made: every pod that was ever made.
    """

    plays: str = "run"
    url: str = ""
    pods: dict[str, Pod] = field(default_factory=dict)
    made: list[Pod] = field(default_factory=list)

    def make(self, body: dict[str, Any]) -> Pod:
        pod = Pod(body)
        self.pods[pod.name] = pod
        self.made.append(pod)
        threading.Thread(target=self._live, args=(pod,), daemon=True).start()
        return pod

    def delete(self, pod: Pod) -> None:
        """As in a cluster: SIGTERM, and the pod is there until its process has ended."""
        if pod.process is not None and pod.process.poll() is None:
            pod.process.send_signal(signal.SIGTERM)
            pod.process.wait(20)
        pod.ended.set()
        self.pods.pop(pod.name, None)

    def _live(self, pod: Pod) -> None:
        if self.plays == "full":
            told = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            pod.status = {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": told}],
            }
            return
        if self.plays in WAITING:
            reason, message = WAITING[self.plays]
            pod.be("Pending", {"waiting": {"reason": reason, "message": message}})
            return
        pod.be("Pending", {"waiting": {"reason": "ContainerCreating"}})
        time.sleep(0.1)
        pod.be("Running", {"running": {"startedAt": _now()}})
        code, reason, of_pod = ENDINGS.get(self.plays, (0, "Completed", None))
        if self.plays == "run":
            code = self._execute(pod)
        elif self.plays == "hang":
            pod.ended.wait(60)
            return
        elif self.plays == "lost":
            self.delete(pod)
            return
        if code and reason == "Completed":
            reason = "Error"
        message = "The node was low on resource: memory." if of_pod == "Evicted" else None
        ended = {"terminated": {"exitCode": code, "reason": reason, "message": None}}
        pod.be("Failed" if code else "Succeeded", ended, of_pod, message)
        pod.ended.set()

    def _execute(self, pod: Pod) -> int:
        given = {entry["name"]: entry["value"] for entry in pod.container["env"]}
        # of the machine that runs the tests, what its image would have
        of_image = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR") if name in os.environ}
        pod.process = subprocess.Popen(
            pod.container["command"],
            env={**of_image, **given},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[1],
        )
        assert pod.process.stdout is not None
        for line in pod.process.stdout:
            # times that differ, as those of a node do
            moment = f"{_now()}.{time.monotonic_ns() % 10**9:09}Z"
            pod.log.append(f"{moment} {line.decode().rstrip(chr(10))}\n")
        return pod.process.wait()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Handler(BaseHTTPRequestHandler):
    cluster: Cluster

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.cluster.plays == "forbidden":
            return self._refuse(
                403, 'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods"'
            )
        if self.cluster.plays == "invalid":
            return self._refuse(422, "Pod is invalid: spec.containers[0].image: Required value")
        return self._answer(self.cluster.make(body).shown(), 201)

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path.split("/")[1:], parse_qs(urlsplit(self.path).query)
        if path[:5] != ["api", "v1", "namespaces", NAMESPACE, "pods"]:
            return self._refuse(404, f'namespaces "{path[3]}" not found')
        if len(path) == 5:
            return self._answer({"apiVersion": "v1", "kind": "PodList", "items": self._chosen(query)})
        pod = self.cluster.pods.get(path[5])
        if pod is None:
            return self._refuse(404, f'pods "{path[5]}" not found')
        return self._log(pod) if path[6:] == ["log"] else self._answer(pod.shown())

    def do_DELETE(self) -> None:
        pod = self.cluster.pods.get(self.path.split("?")[0].rsplit("/", 1)[1])
        if pod is None:
            return self._refuse(404, "pods not found")
        threading.Thread(target=self.cluster.delete, args=(pod,), daemon=True).start()
        return self._answer(pod.shown())

    def _chosen(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        pods = list(self.cluster.pods.values())
        for selector in query.get("fieldSelector", []):
            pods = [pod for pod in pods if f"metadata.name={pod.name}" == selector]
        for selector in query.get("labelSelector", []):
            name, _, value = selector.partition("=")
            pods = [pod for pod in pods if pod.body["metadata"].get("labels", {}).get(name) == value]
        return [pod.shown() for pod in pods]

    def _log(self, pod: Pod) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        sent = 0
        while True:
            over = pod.ended.is_set()
            for line in pod.log[sent:]:
                self.wfile.write(line.encode())
                sent += 1
            self.wfile.flush()
            if over:
                return
            time.sleep(0.05)

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _refuse(self, status: int, message: str) -> None:
        self._answer({"kind": "Status", "status": "Failure", "message": message, "code": status}, status)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster on a free port of 127.0.0.1."""
    found = Cluster()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": found}))
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        for pod in list(found.pods.values()):
            found.delete(pod)
        server.shutdown()
        server.server_close()


def kubeconfig(url: str, file: Path) -> Path:
    """The configuration of a client, as ``kubectl`` reads it."""
    named = {"name": "test"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{**named, "cluster": {"server": url}}],
        "users": [{**named, "user": {}}],
        "contexts": [{**named, "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    file.write_text(json.dumps(content))
    return file
