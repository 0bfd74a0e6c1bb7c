"""The files of ``deploy/kubernetes/``: what they make, by the models of Kubernetes and the configuration of Dagster.

Helm and the chart are no part of the tests: :func:`instance_of` writes the ``dagster.yaml`` that the chart makes of the
values, and refuses values that it does not know. What needs Dagster's and Kubernetes' own classes is skipped where the
extra ``kubernetes`` is not installed.
"""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from orchestration.commands import ui
from orchestration.execution.dagster_sqlite import open_instance
from orchestration.execution.training_pods import USER, pod_settings, pod_spec
from orchestration.paths import Workspace

DEPLOY = Path(__file__).parents[2] / "deploy"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text())
OBJECTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "raw2rank.yaml").read_text()))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
(CODE,) = VALUES["dagster-user-deployments"]["deployments"]
LAUNCHER = VALUES["runLauncher"]["config"]["k8sRunLauncher"]

needs_client = pytest.mark.skipif(
    find_spec("dagster_k8s") is None, reason="dagster-k8s is not installed (extra kubernetes)"
)


def of_kind(kind: str) -> dict[str, Any]:
    (found,) = [each for each in OBJECTS if each["kind"] == kind]
    return found


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def instance_of(values: dict[str, Any]) -> dict[str, Any]:
    """The ``dagster.yaml`` that the chart makes of values, without the parts that are as they are by default.

    Raises:
        AssertionError: a value has a name that the chart does not read.
    """
    values = copy.deepcopy(values)
    daemon, postgres = values["dagsterDaemon"], values["postgresql"]
    storage = {
        "username": postgres["postgresqlUsername"],
        "password": {"env": "DAGSTER_PG_PASSWORD"},
        "hostname": postgres["postgresqlHost"],
        "db_name": postgres["postgresqlDatabase"],
        "port": postgres["service"]["port"],
        "scheme": postgres["postgresqlScheme"],
    }
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    of_runs = launcher.pop("runK8sConfig")
    given = {
        "load_incluster_config": launcher.pop("loadInclusterConfig"),
        "image_pull_policy": launcher.pop("imagePullPolicy"),
        "env_config_maps": [each["name"] for each in launcher.pop("envConfigMaps")],
        "env_secrets": [each["name"] for each in launcher.pop("envSecrets")],
        "env_vars": launcher.pop("envVars"),
        "volumes": launcher.pop("volumes"),
        "volume_mounts": launcher.pop("volumeMounts"),
        "resources": launcher.pop("resources"),
        "security_context": launcher.pop("securityContext"),
        "run_k8s_config": {snake(name): part for name, part in of_runs.items()},
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": "dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "service_account_name": "dagster",
        "job_namespace": "raw2rank",
    }
    assert not launcher, f"the chart reads no {', '.join(launcher)}"
    queue, monitoring = daemon["runCoordinator"]["config"]["queuedRunCoordinator"], daemon["runMonitoring"]
    assert queue.keys() <= {"maxConcurrentRuns", "tagConcurrencyLimits", "dequeueIntervalSeconds"}
    return {
        "storage": {"postgres": {"postgres_db": storage}},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": given},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {snake(name): value for name, value in queue.items()},
        },
        "run_monitoring": {snake(name): value for name, value in monitoring.items()},
        "retention": {
            name: {"purge_after_days": values["retention"][name]["purgeAfterDays"]} for name in ("sensor", "schedule")
        },
        "telemetry": {"enabled": values["telemetry"]["enabled"]},
    }


def test_the_queue_is_the_one_of_the_other_deployments(tmp_path: Path) -> None:
    found = instance_of(VALUES)
    other = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert found["run_coordinator"]["config"] == other["concurrency"]["runs"]
    assert found["retention"] == other["retention"]
    assert found["telemetry"] == other["telemetry"]
    # what needs no cluster and no server is read by Dagster itself
    for name in ("storage", "run_launcher"):
        found.pop(name)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(found))
    with open_instance(tmp_path) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue.max_concurrent_runs == 2
        assert [limit["key"] for limit in queue.tag_concurrency_limits] == ["dagster/partition"]
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_resume_run_attempts == 0


def test_a_second_run_of_a_dataset_waits_in_the_queue_and_one_of_another_does_not() -> None:
    from dagster._utils.tags import TagConcurrencyLimitsCounter

    def run(dataset: str) -> dg.DagsterRun:
        return dg.DagsterRun("data", tags={"dagster/partition": dataset})

    limits = instance_of(VALUES)["run_coordinator"]["config"]["tag_concurrency_limits"]
    queue = TagConcurrencyLimitsCounter(limits, [run("Beauty")])
    assert queue.is_blocked(run("Beauty"))
    assert not queue.is_blocked(run("Toys"))
    assert not queue.is_blocked(dg.DagsterRun("register"))
    assert not TagConcurrencyLimitsCounter([], [run("Beauty")]).is_blocked(run("Beauty")), "the lock alone is left"


def test_the_database_is_reached_by_the_driver_that_is_installed() -> None:
    if find_spec("dagster_postgres") is None:
        pytest.skip("dagster-postgres is not installed (extra postgres)")
    import sqlalchemy
    from dagster_postgres.utils import get_conn_string

    given = instance_of(VALUES)["storage"]["postgres"]["postgres_db"] | {"password": "of-this-test", "port": "5432"}
    assert sqlalchemy.create_engine(get_conn_string(**given)).driver == "psycopg2"


def test_code_daemon_and_ui_know_one_code_location() -> None:
    assert CODE["name"] == ui.LOCATION, "the chart names the location after the deployment"
    command = ["dagster", "api", "grpc", "--host", "0.0.0.0", "--port", str(CODE["port"]), *CODE["dagsterApiGrpcArgs"]]
    assert command == COMPOSE["services"]["code"]["command"]
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["args"][:4] == COMPOSE["services"]["webserver"]["command"][:4]
    assert container["args"][4] == f"--code-server={CODE['name']}:{CODE['port']}"


def test_all_run_one_image() -> None:
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    image = f"{CODE['image']['repository']}:{CODE['image']['tag']}"
    assert VALUES["dagsterDaemon"]["image"] == CODE["image"]
    assert container["image"] == of_kind("ConfigMap")["data"]["RAW2RANK_POD_IMAGE"] == image


def test_nothing_is_reached_from_outside_the_cluster_and_nothing_without_a_token() -> None:
    assert VALUES["dagsterWebserver"] == {"replicaCount": 0}
    assert VALUES["ingress"] == {"enabled": False}
    assert of_kind("Service")["spec"]["type"] == "ClusterIP"
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"secretRef": {"name": "raw2rank-ui"}} in container["envFrom"]
    assert not any("token" in argument for argument in container["args"])


def test_secrets_are_in_no_file() -> None:
    assert not [each for each in OBJECTS if each["kind"] == "Secret"]
    text = "".join(file.read_text() for file in (DEPLOY / "kubernetes").glob("*.yaml"))
    assert "postgresqlPassword" not in text
    assert "RAW2RANK_UI_TOKEN:" not in text


def test_all_pods_are_of_the_user_who_owns_the_workspace() -> None:
    ui_pod = of_kind("Deployment")["spec"]["template"]["spec"]
    settings = pod_settings(of_kind("ConfigMap")["data"])
    assert settings is not None, "trainings have pods of their own"
    training = pod_spec(settings, Path("/workspace"))
    of_pods = [
        CODE["podSecurityContext"],
        VALUES["dagsterDaemon"]["podSecurityContext"],
        LAUNCHER["runK8sConfig"]["podSpecConfig"]["securityContext"],
        ui_pod["securityContext"],
        training["securityContext"],
    ]
    assert all(each == of_pods[0] for each in of_pods)
    assert of_pods[0]["runAsUser"] == of_pods[0]["fsGroup"] == USER
    of_containers = [
        CODE["securityContext"],
        VALUES["dagsterDaemon"]["securityContext"],
        LAUNCHER["securityContext"],
        ui_pod["containers"][0]["securityContext"],
        training["containers"][0]["securityContext"],
    ]
    assert all(each == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}} for each in of_containers)


def test_the_workspace_is_one_volume_that_many_nodes_may_write() -> None:
    claim = of_kind("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    name = claim["metadata"]["name"]
    settings = pod_settings(of_kind("ConfigMap")["data"])
    assert settings is not None
    assert settings.claim == name
    ui_pod = of_kind("Deployment")["spec"]["template"]["spec"]
    for volumes, mounts in (
        (CODE["volumes"], CODE["volumeMounts"]),
        (LAUNCHER["volumes"], LAUNCHER["volumeMounts"]),
        (ui_pod["volumes"], ui_pod["containers"][0]["volumeMounts"]),
    ):
        assert {"name": "workspace", "persistentVolumeClaim": {"claimName": name}} in volumes
        assert {"name": "workspace", "mountPath": "/workspace"} in mounts
    home = Workspace(Path("/workspace")).dagster_home
    assert VALUES["global"]["dagsterHome"] == str(home)
    # commands in the pods of code and UI write their records where the services do
    for mounts in (CODE["volumeMounts"], ui_pod["containers"][0]["volumeMounts"]):
        assert {"name": "instance", "mountPath": f"{home}/dagster.yaml", "subPath": "dagster.yaml"} in mounts


def test_the_place_of_the_configuration_is_made_by_the_owner_of_the_workspace() -> None:
    """The node would make it as root, who may not write to many network drives."""
    (made,) = of_kind("Deployment")["spec"]["template"]["spec"]["initContainers"]
    assert made["volumeMounts"] == [{"name": "workspace", "mountPath": "/workspace"}]
    assert made["command"][-1] == f"mkdir -p {VALUES['global']['dagsterHome']} && touch dagster/dagster.yaml"


@needs_client
def test_objects_and_values_are_such_as_kubernetes_has() -> None:
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
    from kubernetes import client

    def check(kind: type, value: dict[str, Any]) -> None:
        # raises on a name that the kind does not have
        k8s_model_from_dict(kind, k8s_snake_case_dict(kind, value))

    kinds = {
        "PersistentVolumeClaim": client.V1PersistentVolumeClaim,
        "ConfigMap": client.V1ConfigMap,
        "Service": client.V1Service,
        "Deployment": client.V1Deployment,
    }
    for each in OBJECTS:
        check(kinds[each["kind"]], each)
    for part in (CODE, VALUES["dagsterDaemon"]):
        check(client.V1PodSecurityContext, part["podSecurityContext"])
        check(client.V1SecurityContext, part["securityContext"])
        check(client.V1ResourceRequirements, part["resources"])
        for probe in ("livenessProbe", "readinessProbe"):
            given = {name: value for name, value in part.get(probe, {}).items() if name != "enabled"}
            check(client.V1Probe, given)
    for volume in CODE["volumes"]:
        check(client.V1Volume, volume)
    for mount in CODE["volumeMounts"]:
        check(client.V1VolumeMount, mount)
    settings = pod_settings(of_kind("ConfigMap")["data"])
    assert settings is not None
    check(client.V1PodSpec, pod_spec(settings, Path("/workspace")))
    with pytest.raises(Exception, match="mountpath"):
        check(client.V1VolumeMount, {"name": "workspace", "mountpath": "/workspace"})


@needs_client
def test_dagster_makes_the_job_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._config import process_config
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job

    given = instance_of(VALUES)["run_launcher"]["config"]
    processed = process_config(dg.Field(K8sRunLauncher.config_type()).config_type, given)
    assert processed.success, processed.errors
    wrong = process_config(dg.Field(K8sRunLauncher.config_type()).config_type, given | {"volumeMounts": []})
    assert not wrong.success

    # there is no cluster whose account could be read
    monkeypatch.setattr("kubernetes.config.load_incluster_config", lambda: None)
    launcher = K8sRunLauncher(inst_data=None, **processed.value)
    context = K8sContainerContext.create_for_run(dg.DagsterRun("data"), launcher, include_run_tags=False)
    config = context.get_k8s_job_config("registry.example.org/raw2rank:0.2.0", launcher)
    job = construct_dagster_k8s_job(config, ["dagster"], "a-run", context.run_k8s_config).to_dict()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["security_context"]["run_as_user"] == USER
    assert pod["security_context"]["run_as_non_root"] is True
    assert pod["termination_grace_period_seconds"] == 60
    assert pod["service_account_name"] == "dagster"
    assert container["security_context"]["allow_privilege_escalation"] is False
    assert container["resources"]["limits"] == {"memory": "8Gi"}
    # Dagster hands the configuration of its storage on in the arguments
    assert [mount["mount_path"] for mount in container["volume_mounts"]] == ["/workspace"]
    assert [volume["name"] for volume in pod["volumes"]] == ["workspace"]
    assert [source["config_map_ref"]["name"] for source in container["env_from"] if source["config_map_ref"]] == [
        "raw2rank"
    ]
    names = {entry["name"] for entry in container["env"]}
    assert {"DAGSTER_HOME", "DAGSTER_PG_PASSWORD"} <= names
