"""Checks the Helm chart and the manifests made from it: ``python -m tools.chart [write]``, by script/chart.

``HELM`` and ``VALIDATE`` name the programs helm and kubernetes-validate. The plain manifests are what the
chart renders, so that they can't drift apart: one file from the default values, and one with what the values
``callers`` add to these. Kinds of the Prometheus operator and of the Gateway API Inference Extension have no
schema in Kubernetes and are only rendered.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "tieline"
VALUES = ROOT / "deploy" / "helm" / "values"
PLAIN = ROOT / "deploy" / "kubernetes" / "tieline.yaml"
PLAIN_CALLERS = PLAIN.with_name("callers.yaml")
CALLERS = VALUES / "callers.yaml"
VERSIONS = ("1.27", "1.31", "1.34")  # the oldest that the chart allows, and newer ones
HEAD = """\
# The manifests of the Helm chart in deploy/helm/tieline with its default values, for use without Helm.
# `script/chart write` makes this file: change the chart, not this. docs/installing.md says what it needs.
"""
HEAD_CALLERS = """\
# Gateway, picker and Envoy, for use beside tieline.yaml and without Helm: what the Helm chart adds with the
# values of deploy/helm/values/callers.yaml. Leave out what you don't need, and change the two ConfigMaps.
# `script/chart write` makes this file: change the chart, not this. docs/installing.md says what it needs.
"""
SECRET = r"/run/secrets/tieline/([\w.-]+)"
KINDS_WITHOUT_SCHEMA = ("PodMonitor", "PrometheusRule", "InferencePool")


def main(words: list[str]) -> int:
    """The exit status: 1 if anything is wrong, which was then printed."""
    if words == ["write"]:
        for path, text in plain_files().items():
            path.write_text(text)
    elif words:
        print(f"tools.chart: {words[0]!r} is not known: give nothing, or write")
        return 2
    faults = [*lint_faults(), *schema_faults(), *secret_faults()]
    for path, text in plain_files().items():
        if not path.exists() or path.read_text() != text:
            faults.append(f"{path.relative_to(ROOT)} is not what the chart renders: run script/chart write")
    for fault in faults:
        print(f"tools.chart: {fault}")
    if not faults:
        print(f"the chart renders as it should, and Kubernetes {', '.join(VERSIONS)} would accept it")
    return 1 if faults else 0


def rendered(values: Path | None) -> str:
    """All manifests by one file of values, or by the defaults. Raises CalledProcessError."""
    command: list[str | Path] = [
        "template",
        "tieline",
        CHART,
        "--namespace",
        "tieline",
        "--kube-version",
        f"{VERSIONS[-1]}.0",
    ]
    return _helm(*command, *(("--values", values) if values else ())).stdout


def plain_files() -> dict[Path, str]:
    """The manifests for installations without Helm, by file. Raises CalledProcessError."""
    default = rendered(None)
    of_default = set(_documents(default))
    added = [document for document in _documents(rendered(CALLERS)) if document not in of_default]
    return {PLAIN: HEAD + default, PLAIN_CALLERS: HEAD_CALLERS + "".join(f"---\n{text}" for text in added)}


def _documents(text: str) -> list[str]:
    return [document for document in re.split(r"^---\n", text, flags=re.MULTILINE) if document.strip()]


def lint_faults() -> Iterator[str]:
    """What helm itself finds."""
    done = _helm("lint", "--strict", "--quiet", CHART, check=False)
    if done.returncode:
        yield f"helm lint: {done.stdout.strip()} {done.stderr.strip()}"


def schema_faults() -> Iterator[str]:
    """Manifests that a version of Kubernetes would refuse, by each set of values."""
    sets = [None, *sorted(VALUES.glob("*.yaml"))]
    with tempfile.TemporaryDirectory() as directory:
        for values in sets:
            name = values.stem if values else "default"
            path = Path(directory) / f"{name}.yaml"
            try:
                path.write_text(rendered(values))
            except subprocess.CalledProcessError as error:
                yield f"{name}: {error.stderr.strip()}"
                continue
            for version in VERSIONS:
                yield from _refusals(path, version)


def secret_faults() -> Iterator[str]:
    """Secrets that a container is told to read by its arguments, its variables or its ConfigMap, and that
    are not mounted there, by each set of values."""
    for values in (None, *sorted(VALUES.glob("*.yaml"))):
        manifests = [manifest for manifest in yaml.safe_load_all(rendered(values)) if manifest]
        files = {
            manifest["metadata"]["name"]: yaml.safe_dump(manifest["data"])
            for manifest in manifests
            if manifest["kind"] == "ConfigMap"
        }
        for manifest in manifests:
            yield from _missing_secrets(manifest, files)


def _missing_secrets(manifest: dict[str, Any], files: dict[str, str]) -> Iterator[str]:
    spec = manifest.get("spec", {})
    pod = spec.get("jobTemplate", {}).get("spec", spec).get("template", {}).get("spec", {})
    volumes = pod.get("volumes") or ()
    mounted = {item["path"] for volume in volumes for item in volume.get("secret", {}).get("items") or ()}
    texts = [files.get(volume.get("configMap", {}).get("name", ""), "") for volume in volumes]
    text = "\n".join((yaml.safe_dump(pod.get("containers") or []), *texts))
    for name in sorted(set(re.findall(SECRET, text)) - mounted):
        yield f"{manifest['kind']} {manifest['metadata']['name']} reads {name}, which is not mounted"


def _refusals(path: Path, version: str) -> Iterator[str]:
    command = [os.environ["VALIDATE"], "--strict", "--kubernetes-version", version, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    unknown = [
        line for line in lines if line.startswith("WARN") and not any(k in line for k in KINDS_WITHOUT_SCHEMA)
    ]
    if done.returncode or unknown or not any(line.startswith("INFO") for line in lines):
        words = unknown or [line for line in lines if not line.startswith("INFO")] or lines
        yield f"Kubernetes {version} refuses {path.stem}: {' '.join(words)[:600]}"


def _helm(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [os.environ["HELM"], *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
