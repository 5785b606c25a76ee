"""The lab is a distribution of its own: its commands are there exactly when it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.places import ROOT

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
COMMANDS = ("demo", "stack", "standins")
IMAGE_PROJECTS = ("pyproject.toml", "client/pyproject.toml")
TIELINE = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from controller.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is installed here, except for the lab."""
    return link_packages(tmp_path_factory.mktemp("site-packages"))


def link_packages(place: Path) -> Path:
    """Fills a directory with everything that is installed here, except for the lab."""
    for path in SITE_PACKAGES.iterdir():
        if "tieline_lab" not in path.name:
            (place / path.name).symlink_to(path)
    return place


def tieline(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `tieline` with nothing but the packages in ``site``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", TIELINE, str(site), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def commands_in(help_text: str) -> set[str]:
    """The commands that the help lists."""
    return {line.split()[0] for line in help_text.splitlines() if line.startswith("    ") and line.strip()}


def test_the_lab_adds_its_commands() -> None:
    """Where both are installed, as in `.venv`, `tieline --help` lists them, and each has its own help."""
    help_text = tieline(SITE_PACKAGES, "--help").stdout
    assert commands_in(help_text) > {*COMMANDS, "controller", "status"}
    assert "`tieline stack` runs" in help_text
    for command in COMMANDS:
        described = tieline(SITE_PACKAGES, command, "--help")
        assert described.returncode == 0, described.stderr
        assert described.stdout.startswith(f"usage: tieline {command}")


def test_without_the_lab_nothing_speaks_of_it(site: Path) -> None:
    """`tieline --help` lists the product's commands alone, and the product works without the lab."""
    help_text = tieline(site, "--help").stdout
    assert commands_in(help_text) >= {"controller", "status", "probe"}
    assert not commands_in(help_text) & set(COMMANDS)
    assert "stack" not in help_text
    assert tieline(site, "status", "--help").returncode == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_lab_says_how_to_get_it(site: Path, command: str) -> None:
    """Without the lab its commands end with status 2 and one sentence that names the remedy."""
    answer = tieline(site, command)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr == (
        f"tieline {command}: this command is part of the distribution tieline-lab, which is not installed: "
        "install it from the directory lab of a checkout of Tieline (pip install -e lab)\n"
    )


def test_the_image_of_the_lab_has_its_commands(tmp_path: Path) -> None:
    """There the lab is files on the path, and docker/metadata.py writes what an installer would note."""
    site = link_packages(tmp_path)
    subprocess.run(
        [sys.executable, ROOT / "docker/metadata.py", ROOT / "lab/pyproject.toml", site], check=True
    )
    (site / "image.pth").write_text(f"{ROOT}\n")
    assert commands_in(tieline(site, "--help").stdout) > set(COMMANDS)
    (metadata,) = site.glob("tieline_lab-*.dist-info/METADATA")
    project = tomllib.loads((ROOT / "lab/pyproject.toml").read_text())["project"]
    assert f"Name: {project['name']}\nVersion: {project['version']}\n" in metadata.read_text()


def test_the_production_image_knows_its_version(tmp_path: Path) -> None:
    """There every distribution is files on the path with the metadata that docker/metadata.py writes."""
    for path in SITE_PACKAGES.iterdir():
        if "tieline" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    for project in IMAGE_PROJECTS:
        subprocess.run([sys.executable, ROOT / "docker/metadata.py", ROOT / project, tmp_path], check=True)
    (tmp_path / "image.pth").write_text(f"{ROOT}\n{ROOT / 'client'}\n")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tieline(tmp_path, "--version").stdout == f"tieline {version}\n"
    assert f"for project in {' '.join(IMAGE_PROJECTS)}; do" in (ROOT / "docker/Dockerfile").read_text()


def test_the_production_image_copies_nothing_of_the_lab() -> None:
    """Its Dockerfile names neither the lab nor the examples; the lab's Dockerfile builds on that image."""
    copied = copied_paths("docker/Dockerfile")
    assert {"controller", "gateway", "streams", "client/tieline"} <= copied
    assert not {path for path in copied if path.startswith(("lab", "examples"))}
    assert {"lab", "examples"} <= copied_paths("docker/lab/Dockerfile")
    assert "FROM ${IMAGE}\n" in (ROOT / "docker/lab/Dockerfile").read_text()


def test_every_package_of_the_controllers_wheel_is_in_its_image() -> None:
    """The Dockerfile copies it, and the files that images are built from hold it."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in pyproject["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied_paths("docker/Dockerfile")
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert packages <= kept


def test_the_image_has_the_packages_of_every_command() -> None:
    """Also those of extras, such as the picker's: an image has every command."""
    printed = subprocess.run(
        [sys.executable, ROOT / "docker" / "dependencies.py"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {line for extra in project["optional-dependencies"].values() for line in extra}
    named = {line for line in project["dependencies"] if not line.startswith("tieline[")}
    assert extras | named <= set(printed)


def copied_paths(dockerfile: str) -> set[str]:
    """What a Dockerfile copies from the project."""
    lines = (ROOT / dockerfile).read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    return {path for paths in copies for path in paths}


def test_compose_runs_the_lab_in_its_own_image() -> None:
    """Stand-ins, plan and traffic use the image with the lab; the product's own services do not."""
    services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    in_lab = {name for name, service in services.items() if "TIELINE_LAB_IMAGE" in service["image"]}
    in_production = {name for name, service in services.items() if "{TIELINE_IMAGE" in service["image"]}
    words = {
        name: [*service.get("entrypoint", ()), *service.get("command", ())]
        for name, service in services.items()
    }
    of_lab = {
        name for name in words if any(word == "standins" or word.startswith("lab.") for word in words[name])
    }
    assert in_lab == of_lab == {"azure", "gcp", "oci", "coreweave", "plan", "traffic"}
    assert in_production == {"controller", "prober", "tieline"}
