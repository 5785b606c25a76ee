"""Checks the Helm chart and the manifests made from it: ``python -m tools.chart [write]``, by script/chart.

``HELM`` and ``VALIDATE`` name the programs helm and kubernetes-validate. The plain manifests are what the
chart renders from its default values, so that they can't drift apart. Kinds of the Prometheus operator have
no schema in Kubernetes and are only rendered.
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
VERSIONS = ("1.27", "1.31", "1.34")  # the oldest that the chart allows, and newer ones
HEAD = """\
# The manifests of the Helm chart in deploy/helm/tieline with its default values, for use without Helm.
# `script/chart write` makes this file: change the chart, not this. docs/installing.md says what it needs.
"""
SECRET = r"/run/secrets/tieline/([\w.-]+)"
OPERATOR_KINDS = ("PodMonitor", "PrometheusRule")


def main(words: list[str]) -> int:
    """The exit status: 1 if anything is wrong, which was then printed."""
    if words == ["write"]:
        PLAIN.write_text(HEAD + rendered(None))
    elif words:
        print(f"tools.chart: {words[0]!r} is not known: give nothing, or write")
        return 2
    faults = [*lint_faults(), *schema_faults(), *secret_faults()]
    if HEAD + rendered(None) != PLAIN.read_text():
        faults.append(f"{PLAIN.relative_to(ROOT)} is not what the chart renders: run script/chart write")
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
    """Secrets that a container is told to read and that are not mounted there, by each set of values."""
    for values in (None, *sorted(VALUES.glob("*.yaml"))):
        for manifest in yaml.safe_load_all(rendered(values)):
            yield from _missing_secrets(manifest or {})


def _missing_secrets(manifest: dict[str, Any]) -> Iterator[str]:
    spec = manifest.get("spec", {})
    pod = spec.get("jobTemplate", {}).get("spec", spec).get("template", {}).get("spec", {})
    secrets = (volume.get("secret", {}) for volume in pod.get("volumes") or ())
    mounted = {item["path"] for secret in secrets for item in secret.get("items") or ()}
    for name in sorted(set(re.findall(SECRET, yaml.safe_dump(pod.get("containers") or []))) - mounted):
        yield f"{manifest['kind']} {manifest['metadata']['name']} reads {name}, which is not mounted"


def _refusals(path: Path, version: str) -> Iterator[str]:
    command = [os.environ["VALIDATE"], "--strict", "--kubernetes-version", version, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    unknown = [
        line for line in lines if line.startswith("WARN") and not any(k in line for k in OPERATOR_KINDS)
    ]
    if done.returncode or unknown or not any(line.startswith("INFO") for line in lines):
        words = unknown or [line for line in lines if not line.startswith("INFO")] or lines
        yield f"Kubernetes {version} refuses {path.stem}: {' '.join(words)[:600]}"


def _helm(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [os.environ["HELM"], *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
