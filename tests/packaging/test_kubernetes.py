"""The manifests of deploy/kubernetes: hardened pods whose commands, settings, files and names fit together.

`script/chart` shows that they are what the Helm chart renders, and that Kubernetes takes them; it needs helm
and the schemas. What is shown here needs neither.
"""

import re
from typing import Any

import pytest
import yaml

from controller.cli import COMMANDS, _parser
from controller.process import settings
from gateway.configuration import parse_gateway
from gateway.worker import TELL_WITHIN_S
from picker.settings import parse_picker_file
from tests.places import ROOT

FILES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
DOCUMENTS = [document for file in FILES for document in yaml.safe_load_all(file.read_text()) if document]
DEPLOYMENTS = [document for document in DOCUMENTS if document["kind"] == "Deployment"]
CONFIG_MAPS = {
    document["metadata"]["name"]: document["data"]
    for document in DOCUMENTS
    if document["kind"] == "ConfigMap"
}
BY_SELECTOR = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
SETTINGS = {
    value for value in vars(settings).values() if isinstance(value, str) and value.startswith("TIELINE_")
}
OF_SERVERS = ("TIELINE_KAFKA_", "TIELINE_REDIS_", "TIELINE_CREDENTIAL_")  # families of variables
HOME = "/run/secrets/tieline/"
each_deployment = pytest.mark.parametrize(
    "deployment", DEPLOYMENTS, ids=lambda entry: entry["metadata"]["name"]
)


def named(name: str) -> dict[str, Any]:
    """A deployment."""
    [only] = [entry for entry in DEPLOYMENTS if entry["metadata"]["name"] == name]
    deployment: dict[str, Any] = only
    return deployment


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """What its pods are."""
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    """The container of its pods that runs Tieline: the only one, except beside Envoy."""
    [entry] = [each for each in pod_of(deployment)["containers"] if each["image"].startswith("tieline:")]
    only: dict[str, Any] = entry
    return only


def configuration(deployment: dict[str, Any]) -> str:
    """The files that the manifests give to its pods; those of ConfigMaps of the operator's are not there."""
    names = [volume.get("configMap", {}).get("name") for volume in pod_of(deployment)["volumes"]]
    return "\n".join(text for name in names for text in CONFIG_MAPS.get(name, {}).values())


@each_deployment
def test_pods_are_hardened(deployment: dict[str, Any]) -> None:
    """No root, no capability, a root that can't be written, no token of Kubernetes, and a limit of memory."""
    pod = pod_of(deployment)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for entry in pod["containers"]:
        assert entry["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in entry["resources"]["limits"]


@each_deployment
def test_pods_are_asked_whether_they_live_and_are_ready(deployment: dict[str, Any]) -> None:
    """At the monitor's port, which is the one that the setting names. A start may take a minute."""
    entry = container(deployment)
    ports = {port["name"]: port["containerPort"] for port in entry["ports"]}
    variables = {variable["name"]: variable["value"] for variable in entry["env"]}
    assert variables["TIELINE_MONITOR"] == f"0.0.0.0:{ports['monitor']}"
    assert entry["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "monitor"}
    assert entry["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "monitor"}
    for each in pod_of(deployment)["containers"]:
        assert {"livenessProbe", "readinessProbe"} <= set(each)
        start = each["startupProbe"]
        assert start["periodSeconds"] * start["failureThreshold"] >= 60


@each_deployment
def test_commands_and_settings_exist(deployment: dict[str, Any]) -> None:
    """Tieline's own parser takes the arguments, and every variable is one that it reads."""
    entry = container(deployment)
    args = _parser(COMMANDS, entry["args"][0]).parse_args(entry["args"])
    assert args.command == entry["args"][0]
    for variable in entry["env"]:
        assert variable["name"] in SETTINGS or variable["name"].startswith(OF_SERVERS), variable


@each_deployment
def test_secrets_are_files_that_are_mounted(deployment: dict[str, Any]) -> None:
    """No variable holds a secret; each file that is named lies in a volume, under a key that is taken from
    the secret; and each volume is there."""
    entry = container(deployment)
    volumes = {volume["name"]: volume for volume in pod_of(deployment)["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in entry["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    keys = {item["path"] for item in volumes["secrets"]["secret"]["items"]}
    words = [variable["value"] for variable in entry["env"]] + [
        word.partition("=")[2] for word in entry["args"]
    ]
    words += re.findall(r"/run/secrets/[\w./-]+", configuration(deployment))
    assert {word.removeprefix(HOME) for word in words if word.startswith(HOME)} == keys
    assert not [v for v in entry["env"] if "valueFrom" in v or v["name"].endswith("PASSWORD")]
    of_envoy = tuple(word for word in entry["args"] if word.startswith("--authorities="))
    places = (*mounts, *(word.partition("=")[2] for word in of_envoy))
    assert all(word.startswith(places) for word in words if word.startswith("/"))


def test_the_gateway_gets_the_time_that_its_end_may_take() -> None:
    """Kubernetes kills it only after its notice, what is under way, and what it tells then. It serves where
    the Service leads, and its file is one that it takes."""
    deployment = named("tieline-gateway")
    file = parse_gateway(configuration(deployment))
    end_s = file.draining.notice_s + file.draining.within_s + TELL_WITHIN_S
    assert pod_of(deployment)["terminationGracePeriodSeconds"] >= end_s + 5
    ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
    assert file.listen == f"0.0.0.0:{ports['api']}"
    assert file.tls is not None


def test_the_picker_gets_the_time_that_its_end_may_take() -> None:
    """So that open requests of Envoy end well. An InferencePool leads to the port of its Service."""
    deployment = named("tieline-picker")
    file = parse_picker_file(configuration(deployment))
    assert pod_of(deployment)["terminationGracePeriodSeconds"] >= file.drain_s + 10
    ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
    assert file.listen == f"0.0.0.0:{ports['grpc']}"
    [pool] = [document for document in DOCUMENTS if document["kind"] == "InferencePool"]
    [service] = [
        document
        for document in DOCUMENTS
        if document["kind"] == "Service"
        and document["metadata"]["name"] == pool["spec"]["endpointPickerRef"]["name"]
    ]
    assert pool["spec"]["endpointPickerRef"]["port"]["number"] == service["spec"]["ports"][0]["port"]


def test_envoy_and_tieline_share_their_files_and_end_in_time() -> None:
    """Envoy reads what `tieline envoy` writes, and can't write it. Both wait before they end, Tieline for
    longer, so that it hears how the last requests ended, and Kubernetes waits for both."""
    deployment = named("tieline-envoy")
    tieline, envoy = pod_of(deployment)["containers"]
    mounts = [
        next(mount for mount in each["volumeMounts"] if mount["name"] == "files") for each in (tieline, envoy)
    ]
    assert mounts[0]["mountPath"] == mounts[1]["mountPath"]
    assert [mount.get("readOnly", False) for mount in mounts] == [False, True]
    assert tieline["args"][1].startswith(mounts[0]["mountPath"])
    waits_s = [
        int(" ".join(each["lifecycle"]["preStop"]["exec"]["command"]).split()[-1])
        for each in (envoy, tieline)
    ]
    assert waits_s[0] < waits_s[1] < pod_of(deployment)["terminationGracePeriodSeconds"] - 10
    words = dict(word.split("=", 1) for word in tieline["args"] if "=" in word and "route" not in word)
    assert words["--front"] == f"0.0.0.0:{envoy['ports'][0]['containerPort']}"


def test_every_selector_finds_pods() -> None:
    """Services, budgets and network policies speak of pods that a deployment makes."""
    pods = [entry["spec"]["template"]["metadata"]["labels"].items() for entry in DEPLOYMENTS]
    for document in DOCUMENTS:
        spec = document.get("spec", {}) if document["kind"] in BY_SELECTOR else {}
        selectors = [spec.get("podSelector"), spec.get("selector")]
        for selector in filter(None, selectors):
            labels = selector.get("matchLabels", selector).items()
            assert any(labels <= pod for pod in pods), document["metadata"]["name"]


def test_controllers_are_never_all_away_on_purpose() -> None:
    """Two of them on different hosts; a roll-out or a drain of a node takes one away, once another is
    ready."""
    spec = named("tieline-controller")["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    budgets = {d["metadata"]["name"]: d["spec"] for d in DOCUMENTS if d["kind"] == "PodDisruptionBudget"}
    assert budgets["tieline-controller"]["maxUnavailable"] == 1
