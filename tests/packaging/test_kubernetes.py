"""The manifests of deploy/kubernetes: hardened pods whose commands, settings and names fit together.

`script/chart` shows that they are what the Helm chart renders, and that Kubernetes takes them; it needs helm
and the schemas. What is shown here needs neither.
"""

from typing import Any

import pytest
import yaml

from controller.cli import COMMANDS, _parser
from controller.process import settings
from tests.places import ROOT

PLAIN = ROOT / "deploy" / "kubernetes" / "tieline.yaml"
DOCUMENTS = [document for document in yaml.safe_load_all(PLAIN.read_text()) if document]
DEPLOYMENTS = [document for document in DOCUMENTS if document["kind"] == "Deployment"]
SETTINGS = {
    value for value in vars(settings).values() if isinstance(value, str) and value.startswith("TIELINE_")
}
OF_SERVERS = ("TIELINE_KAFKA_", "TIELINE_REDIS_", "TIELINE_CREDENTIAL_")  # families of variables
each_deployment = pytest.mark.parametrize(
    "deployment", DEPLOYMENTS, ids=lambda entry: entry["metadata"]["name"]
)


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    """The only container of its pods."""
    [entry] = deployment["spec"]["template"]["spec"]["containers"]
    only: dict[str, Any] = entry
    return only


@each_deployment
def test_pods_are_hardened(deployment: dict[str, Any]) -> None:
    """No root, no capability, a root that can't be written, no token of Kubernetes, and a limit of memory."""
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    security = container(deployment)["securityContext"]
    assert security == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container(deployment)["resources"]["limits"]


@each_deployment
def test_pods_are_asked_whether_they_live_and_are_ready(deployment: dict[str, Any]) -> None:
    """At the monitor's port, which is the one that the setting names. A start may take a minute."""
    entry = container(deployment)
    ports = {port["name"]: port["containerPort"] for port in entry["ports"]}
    variables = {variable["name"]: variable["value"] for variable in entry["env"]}
    assert variables["TIELINE_MONITOR"] == f"0.0.0.0:{ports['monitor']}"
    assert entry["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "monitor"}
    assert entry["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "monitor"}
    start = entry["startupProbe"]
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
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in entry["volumeMounts"]}
    assert set(mounts.values()) == set(volumes)
    keys = {item["path"] for item in volumes["secrets"]["secret"]["items"]}
    words = [variable["value"] for variable in entry["env"]] + [
        word.partition("=")[2] for word in entry["args"]
    ]
    home = "/run/secrets/tieline/"
    assert {word.removeprefix(home) for word in words if word.startswith(home)} == keys
    assert not [v for v in entry["env"] if "valueFrom" in v or v["name"].endswith("PASSWORD")]
    assert all(word.startswith((home, "/etc/tieline/")) for word in words if word.startswith("/"))


def test_every_selector_finds_pods() -> None:
    """Services, budgets and network policies speak of pods that a deployment makes."""
    pods = [entry["spec"]["template"]["metadata"]["labels"].items() for entry in DEPLOYMENTS]
    for document in DOCUMENTS:
        spec = document.get("spec", {})
        selectors = [spec.get("podSelector"), spec.get("selector")]
        for selector in filter(None, selectors):
            labels = selector.get("matchLabels", selector).items()
            assert any(labels <= pod for pod in pods), document["metadata"]["name"]


def test_controllers_are_never_all_away_on_purpose() -> None:
    """Two of them on different hosts; a roll-out or a drain of a node takes one away, once another is
    ready."""
    [controllers] = [entry for entry in DEPLOYMENTS if entry["metadata"]["name"] == "tieline-controller"]
    spec = controllers["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    budgets = {d["metadata"]["name"]: d["spec"] for d in DOCUMENTS if d["kind"] == "PodDisruptionBudget"}
    assert budgets["tieline-controller"]["maxUnavailable"] == 1
